"""A box for Vagrant with libvirt, made on this machine: no box catalogue, no registry, no package repository is asked.

It is a small Debian with its own kernel for virtual machines, and everything on it that the playbooks would otherwise
download: containerd, kubeadm, kubelet, the CNI plugins, and the images of kubeadm's pods and of flannel, unpacked.

<cache>/boxes/<key>/cnilab-node-v<version>-<key>.box
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from pathlib import Path

from harness import timeouts
from harness.components import disk, rootfs
from harness.components.apt import heartbeat
from harness.components.lock import architecture
from harness.components.node_image import IMAGES
from harness.components.store import Store
from harness.errors import PreflightError, UsageError
from harness.model.wellknown import CRICTL_CONFIG

FORMAT = 2
"""Counts changes of this writer: part of the box's name."""

NAME = "cnilab/node"
"""What a box is called where it is added, and in specs."""

GIBIBYTES = 12
"""Of the disk; the file has only what is in it."""

PACKAGES = (
    "ca-certificates", "conntrack", "containerd", "curl", "dbus", "e2fsprogs", "ethtool", "grub-common", "grub-pc-bin",
    "ifupdown", "initramfs-tools", "iproute2", "ipset", "iptables", "iputils-ping", "isc-dhcp-client", "kmod",
    "linux-image-cloud-amd64", "nftables", "openssh-server", "procps", "python3", "python3-apt", "runc", "socat",
    "sudo", "systemd", "systemd-sysv", "tcpdump", "udev", "util-linux",
)  # fmt: skip
"""A machine that boots, that Vagrant finds its way around in as in Debian's own box, and that Ansible can work on."""

INSECURE_KEY = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct"
    "1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUec"
    "p4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hruc"
    "XzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key"
)
"""Vagrant's well-known key: at its first login it puts a new one in this one's place."""

_COMPONENTS = ("kubernetes", "kubeadm", "containerd", "runc", "crictl")
_KEY = re.compile(r"(ssh-(rsa|ed25519)|ecdsa-sha2-nistp\d+) [A-Za-z0-9+/]+=*( .*)?")
_LABEL = "cnilab-root"
_UID = 1000

_COMMAND_LINE = (
    f"root=LABEL={_LABEL} ro net.ifnames=0 quiet console=tty0 console=ttyS0 tsc=reliable nowatchdog mitigations=off "
    "init_on_alloc=0 rcupdate.rcu_expedited=1"
)
"""NICs are called eth0 and eth1, as everywhere in this project. An emulated processor's time stamps are one for all its
cores, though the kernel cannot know: told nothing, it reads a chip instead, which takes a hundred times as long. Nobody
but the lab is in there: nothing is protected from anybody, nor are pages cleared twice."""

_GRUB = f"""\
set timeout=0
linux /vmlinuz {_COMMAND_LINE}
initrd /initrd.img
boot
"""

_GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "normal", "configfile", "linux")

_BLOCK = 4096
_BLOCKS = ((GIBIBYTES << 30) - disk.FIRST * disk.SECTOR) // _BLOCK
# All of it is written now, instead of by the kernel of every machine in its first minutes; and it has no feature that
# GRUB does not know.
_FILE_SYSTEM = (
    *("-q", "-F", "-b", str(_BLOCK), "-L", _LABEL, "-m", "0", "-O", "^metadata_csum_seed"),
    *("-E", f"offset={disk.FIRST * disk.SECTOR},lazy_itable_init=0,lazy_journal_init=0"),
)
_COMPRESSED = ("-c", "-o", "compression_type=zstd", "-m", "4", "-W")

_HOST_KEYS = """\
[Unit]
Description=Keys of this machine's own for ssh
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -N "" -t ecdsa -f /etc/ssh/ssh_host_ecdsa_key
ExecStart=/usr/bin/ssh-keygen -q -N "" -t ed25519 -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=multi-user.target
"""

SETTINGS = {
    "boot/grub/grub.cfg": _GRUB,
    "etc/crictl.yaml": CRICTL_CONFIG,
    "etc/fstab": f"LABEL={_LABEL} / ext4 noatime,errors=remount-ro 0 1\n",
    "etc/hostname": "node\n",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 node\n::1 localhost\n",
    "etc/network/interfaces": "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n",
    "etc/resolv.conf": "",
    # Empty: every machine gets one of its own at its first boot.
    "etc/machine-id": "",
    "etc/ssh/sshd_config.d/cnilab.conf": (
        "HostKey /etc/ssh/ssh_host_ed25519_key\nHostKey /etc/ssh/ssh_host_ecdsa_key\nPasswordAuthentication no\n"
        "UseDNS no\n"
    ),
    "etc/systemd/system/cnilab-host-keys.service": _HOST_KEYS,
}
"""Path in the box to its text."""

_ENABLED = {
    "cnilab-host-keys.service": "/etc/systemd/system/cnilab-host-keys.service",
    "containerd.service": "/lib/systemd/system/containerd.service",
    "ssh.service": "/lib/systemd/system/ssh.service",
}

_REMOVED = (
    "etc/ssh/ssh_host_*",
    # A lab's machine lives for hours, and does not look after itself.
    "etc/systemd/system/timers.target.wants/*",
    "lib/systemd/system/timers.target.wants/*",
    "var/cache/apt/archives/*.deb",
    "var/lib/apt/lists/*_*",
    "var/log/*.log",
)

VAGRANTFILE = """\
Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |machine|
    machine.disk_bus = "virtio"
    machine.nic_model_type = "virtio"
  end
end
"""


def deliver(store: Store, key: str = INSECURE_KEY, *, again: bool = False) -> Path:
    """The box, from the cache, or made now.

    Args:
        store: Delivers what it is made of, and keeps it.
        key: Public key of who may log in as `vagrant`.
        again: Make the box even if the cache has it.

    Raises:
        UsageError: The key is no public key of ssh.
        PreflightError: Something that it is made of is not available, or this is not root, or no PC.
    """
    if not is_public_key(key):
        msg = "the key is not an SSH public key"
        raise UsageError(msg, cause=f"it begins with {key[:10]!r}", next_step="give a file such as id_ed25519.pub")
    _can_be_made()
    name = _name(store, key)
    path = store.cache / "boxes" / name.rpartition("-")[2] / f"{name}.box"
    if path.is_file() and not again:
        path.parent.touch()
        return path
    with store.journal.step("components.box", path.name), store.exclusive("box") as scratch:
        if not path.is_file() or again:
            made = scratch / "made"
            made.mkdir()
            root = _tree(store, scratch / "root", key)
            pack(_image(store, root, scratch), made / path.name)
            store.publish(made, path.parent)
    store.forget_old(path.parent.parent)
    return path


def is_public_key(text: str) -> bool:
    """Whether it is one line of an `authorized_keys` file (sshd(8)), without options."""
    return _KEY.fullmatch(text) is not None


def _can_be_made() -> None:
    if architecture() != "amd64":
        msg = "the box is for PCs only: it boots with their BIOS"
        raise PreflightError(msg, cause=f"this machine is {architecture()}", next_step="use a published box")
    if os.geteuid():
        msg = "making a box needs root: its files belong to root"
        raise PreflightError(msg, next_step="run cnilab as root")


def _name(store: Store, key: str) -> str:
    """Another one as soon as anything in it is another."""
    settings = json.dumps([SETTINGS, _ENABLED, _REMOVED, VAGRANTFILE, GIBIBYTES])
    return f"cnilab-node-{rootfs.stamp(store, FORMAT, PACKAGES, _COMPONENTS, IMAGES, settings, key)}"


def _tree(store: Store, root: Path, key: str) -> Path:
    """Everything that is on the disk, as a directory."""
    system = rootfs.system(
        store,
        PACKAGES,
        what="the box's system",
        instead="use a published box: debian/bookworm64",
    )
    rootfs.grow(store, system, root)
    for pattern in _REMOVED:
        for path in root.glob(pattern):
            path.unlink()
    for name, text in SETTINGS.items():
        rootfs.write(root / name, text.encode())
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    for unit, target in _ENABLED.items():
        (wanted / unit).unlink(missing_ok=True)
        (wanted / unit).symlink_to(target)
    _user(root, key)
    places = {
        "containerd": "usr/bin",
        "runc": "usr/sbin",
        "crictl": "usr/bin",
        "kubernetes": "usr/bin",
        "kubeadm": "usr/bin",
        **dict.fromkeys(store.cni_components(), "opt/cni/bin"),
    }
    rootfs.programs(store, root, places)
    rootfs.load(store, root, IMAGES)
    return root


def _user(root: Path, key: str) -> None:
    """The user `vagrant`, without a password, who may do everything: what Vagrant expects of a box."""
    lines = {
        "passwd": f"vagrant:x:{_UID}:{_UID}::/home/vagrant:/bin/bash",
        "group": f"vagrant:x:{_UID}:",
        "shadow": "vagrant:*:19000:0:99999:7:::",
        "gshadow": "vagrant:*::",
    }
    for name, line in lines.items():
        path = root / "etc" / name
        info = path.stat()
        rootfs.write(path, path.read_bytes() + f"{line}\n".encode(), info.st_mode & 0o777)
        os.chown(path, info.st_uid, info.st_gid)
    rootfs.write(root / "etc/sudoers.d/vagrant", b"vagrant ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    home = root / "home/vagrant"
    rootfs.write(home / ".ssh/authorized_keys", f"{key}\n".encode(), 0o600)
    (home / ".ssh").chmod(0o700)
    for path in (home, home / ".ssh", home / ".ssh/authorized_keys"):
        os.chown(path, _UID, _UID)


def _image(store: Store, root: Path, scratch: Path) -> Path:
    """The disk, as qcow2."""
    mkfs, qemu_img = _tools(store)
    raw, image = scratch / "disk.raw", scratch / "box.img"
    with raw.open("wb") as file:
        file.truncate(GIBIBYTES << 30)
    grub = ("grub-mkimage", "-O", "i386-pc", "-o", "/boot/grub/core.img", "-p", "(hd0,msdos1)/boot/grub")
    store.runner.run(["chroot", root, *grub, *_GRUB_MODULES])

    def run(what: str, *words: str | Path) -> None:
        with heartbeat(lambda text: store.journal.note("components.box", text), what):
            store.runner.run(words, timeout=timeouts.BUILD)

    run("writing the disk", mkfs, *_FILE_SYSTEM, "-d", root, raw, str(_BLOCKS))
    boot = root / "usr/lib/grub/i386-pc/boot.img"
    disk.make_bootable(raw, boot.read_bytes(), (root / "boot/grub/core.img").read_bytes())
    run("compressing the disk", qemu_img, "convert", "-f", "raw", "-O", "qcow2", *_COMPRESSED, raw, image)
    raw.unlink()
    return image


def _tools(store: Store) -> tuple[Path, Path]:
    names = ("mkfs.ext4", "qemu-img")
    tools = store.tools.need(*names)
    if lacking := [name for name in names if name not in tools]:
        packages = " ".join(store.lock.tool[name].package for name in lacking)
        msg = f"the disk cannot be made: these programs are missing: {', '.join(lacking)}"
        raise PreflightError(msg, next_step=f"apt-get install --no-install-recommends {packages}")
    return tools[names[0]], tools[names[1]]


def pack(image: Path, box: Path) -> None:
    """Write the archive that `vagrant box add` takes; what is large in it is compressed already.

    Args:
        image: The disk, as qcow2; it is moved.
        box: The archive to be made.
    """
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": GIBIBYTES}
    folder = image.parent / "box"
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="ascii")
    (folder / "Vagrantfile").write_text(VAGRANTFILE, encoding="ascii")
    shutil.move(image, folder / "box.img")
    with tarfile.open(box, "w:gz", compresslevel=0, format=tarfile.GNU_FORMAT) as tar:
        for name in ("metadata.json", "Vagrantfile", "box.img"):
            tar.add(folder / name, name)
