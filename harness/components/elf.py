"""For which kind of machine a program is, from its header (elf(5))."""

from __future__ import annotations

from pathlib import Path

from harness.components.lock import architecture

_MAGIC = b"\x7fELF"
_CLASS, _DATA, _MACHINE = 4, 5, slice(18, 20)
_NAMES = {3: "386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv"}
"""Values of e_machine, as Go calls these machines."""


def foreign(path: Path) -> str:
    """The machine that a program is for, when it is not this one; empty for this one, and for what is no program.

    Args:
        path: Of a file; a script and an archive run on all machines.
    """
    with path.open("rb") as file:
        head = file.read(20)
    if not head.startswith(_MAGIC) or len(head) < _MACHINE.stop:
        return ""
    machine = int.from_bytes(head[_MACHINE], "little" if head[_DATA] == 1 else "big")
    found = _NAMES.get(machine, f"machine {machine}")
    return "" if (found, head[_CLASS]) == (architecture(), 2) else found


def complaint(path: Path) -> str:
    """The same as a sentence."""
    found = foreign(path)
    return f"{path.name} is a program for {found}, and this machine is {architecture()}" if found else ""
