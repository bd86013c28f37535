"""A small virtual machine that runs this machine's own programs under another kernel.

Its root file system is this machine's, read-only, over virtio-fs; what it writes goes to a disk of its own. So the
kernel is the only thing that differs: the same harness, the same components, the same paths.

- `initramfs`: what the kernel starts first. Pure.
- `qemu`: words for qemu and virtiofsd. Pure.
- `machine`: starts the machine and finds it again; it ends with the lab's control group.
- `guest`: PID 1 inside, and the programs that others ask it to run.
- `channel`: runs programs inside.
"""
