"""Words for qemu-system(1) and virtiofsd(1). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Accelerator = Literal["kvm", "tcg"]

ADDRESS = "10.0.2.15"
GATEWAY = "10.0.2.2"
AGENT_PORT = 1022

COMMAND_LINE = (
    "console=ttyS0 quiet panic=-1 net.ifnames=0 tsc=reliable clocksource=tsc mitigations=off nowatchdog "
    "rcupdate.rcu_expedited=1"
)
"""An emulated processor's time stamps are one for all its cores, though the kernel cannot know: told nothing, it reads
a clock chip instead. That costs a hundred times as much, and Go's runtime reads the clock all the time. Nobody but the
lab is in there, so nothing needs to be protected from anybody; and namespaces end, which they do all the time, without
waiting for the kernel's next round."""

CLEARED: dict[Accelerator, str] = {"kvm": "init_on_alloc=0", "tcg": "init_on_alloc=1"}
"""Whether pages are cleared before they are used. A processor would only do it twice. An emulator keeps what it
translated of a page's code until the machine itself writes to that page, and finds it by the physical page (CF_PCREL of
qemu's target/i386); what virtiofsd writes into a page it does not see. Then a page that had other code before ran that:
with qemu 10.0 and Linux 6.12 Python ended with a segmentation fault, each time; cleared before, it never did."""


@dataclass(frozen=True)
class Hardware:
    """What the machine has.

    Args:
        cores: Virtual processors.
        memory: MiB.
        accelerator: `kvm`, or `tcg` for emulation in software.
        steady: Emulated, its clock counts instructions: on a busy machine time goes slowly in there, and nothing in
            there is late. One core then does the work of all.
    """

    cores: int = 2
    memory: int = 4096
    accelerator: Accelerator = "tcg"
    steady: bool = False


@dataclass(frozen=True)
class Boot:
    """What the machine starts with.

    Args:
        kernel: Its image.
        arguments: Words for its command line, after our own: of two that say the same, the last one counts.
    """

    kernel: Path
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Files:
    """Where things of one machine are.

    Args:
        folder: Everything below is in it.
    """

    folder: Path

    @property
    def disk(self) -> Path:
        """What the machine writes."""
        return self.folder / "disk.img"

    @property
    def initramfs(self) -> Path:
        """Made for this machine alone: it holds the secret of the channel."""
        return self.folder / "initramfs.img"

    @property
    def console(self) -> Path:
        """What the kernel says."""
        return self.folder / "console.log"

    @property
    def errors(self) -> Path:
        """What qemu and virtiofsd say."""
        return self.folder / "qemu.log"

    @property
    def view(self) -> Path:
        """Mount point of the read-only view of this machine, in a mount namespace of virtiofsd's own."""
        return self.folder / "view"

    def socket(self, tag: str) -> Path:
        """Between qemu and a virtiofsd."""
        return self.folder / f"{tag}.sock"


def command(
    program: str, files: Files, hardware: Hardware, boot: Boot, tags: tuple[str, ...], ports: dict[int, int]
) -> list[str]:
    """The vector of qemu.

    Args:
        program: qemu-system-….
        files: Of the machine.
        hardware: What it has.
        boot: What it starts with.
        tags: Shared directories, each with a virtiofsd at its socket.
        ports: Port on this machine's loopback to port of the guest. Nothing else gets in, and nothing gets out.
    """
    memory = f"{hardware.memory}M"
    threads = {"kvm": "", "tcg": ",thread=single" if hardware.steady else ",thread=multi"}[hardware.accelerator]
    clock = ("-icount", "shift=0,sleep=on") if hardware.steady else ()
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{here}-{ADDRESS}:{there}" for here, there in ports.items())
    words = [
        program,
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-monitor", "none"),
        *(
            "-accel",
            hardware.accelerator + threads,
            *clock,
            "-cpu",
            "max,la57=off",
            "-smp",
            str(hardware.cores),
            "-m",
            memory,
        ),
        # virtiofsd reads and writes the guest's memory, so it must be shared.
        *("-object", f"memory-backend-memfd,id=memory,size={memory},share=on", "-numa", "node,memdev=memory"),
        *("-kernel", str(boot.kernel), "-initrd", str(files.initramfs)),
        *("-append", " ".join([COMMAND_LINE, CLEARED[hardware.accelerator], *boot.arguments])),
        # Not `-serial file:…`, which takes commas as they are.
        *("-chardev", f"file,id=console,path={_escaped(files.console)}", "-serial", "chardev:console"),
        # The disk is thrown away with the machine: nothing needs to survive a crash of this one.
        *("-drive", f"file={_escaped(files.disk)},if=virtio,format=raw,cache=unsafe,discard=unmap"),
        *("-device", "virtio-rng-pci"),
        *("-netdev", f"user,id=net,restrict=on{forwards}", "-device", "virtio-net-pci,netdev=net,romfile="),
    ]
    for tag in tags:
        words += ["-chardev", f"socket,id={tag},path={_escaped(files.socket(tag))}"]
        words += ["-device", f"vhost-user-fs-pci,chardev={tag},tag={tag}"]
    return words


def _escaped(path: Path) -> str:
    """A path inside a list of options: qemu wants a comma doubled."""
    return str(path).replace(",", ",,")


def shared(program: str, socket: Path, directory: Path, *, writable: bool) -> list[str]:
    """The vector of the virtiofsd that comes with qemu 5 to 7.

    Args:
        program: Its path.
        socket: Where qemu finds it.
        directory: What it shares.
        writable: The guest changes it; then it must not rely on what it saw before.
    """
    cache = "auto" if writable else "always"
    source = str(directory).replace("\\", "\\\\").replace(",", "\\,")  # libfuse splits options at commas
    options = ["-o", f"source={source}", "-o", f"cache={cache}", "-o", "sandbox=chroot", "-o", "log_level=warn"]
    return [program, f"--socket-path={socket}", *options]


def shared_rust(program: str, socket: Path, directory: Path, *, writable: bool) -> list[str]:
    """The vector of the virtiofsd that is a project of its own, and came after that."""
    cache = "auto" if writable else "always"
    words = [f"--shared-dir={directory}", f"--cache={cache}", "--sandbox=chroot", "--log-level=warn"]
    return [program, f"--socket-path={socket}", *words]
