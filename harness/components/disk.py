"""A disk that a BIOS can boot, made of files alone: no loop device, nothing mounted.

Sector 0 has GRUB's boot.img and the partition table, the sectors behind it GRUB's core image, which boot.img reads from
there unless told otherwise; the one partition begins at the first mebibyte. GRUB's manual calls that the MBR gap
(section "BIOS installation").
"""

from __future__ import annotations

import struct
from pathlib import Path

SECTOR = 512
FIRST = 2048
"""Sector where the partition begins: room for GRUB before it, and a boundary of any disk's blocks."""

_CODE = 440
"""Bytes of sector 0 that are code; a signature and the partition table follow."""

_LINUX = 0x83
_BOOTABLE = 0x80
_ANYWHERE = b"\xfe\xff\xff"
"""Cylinder, head and sector of a partition that is found by its number of sectors."""


def boot_record(code: bytes, sectors: int) -> bytes:
    """Sector 0.

    Args:
        code: GRUB's boot.img.
        sectors: Of the one partition.
    """
    entry = struct.pack("<B3sB3sII", _BOOTABLE, _ANYWHERE, _LINUX, _ANYWHERE, FIRST, sectors)
    return code[:_CODE].ljust(_CODE, b"\0") + bytes(6) + entry + bytes(48) + b"\x55\xaa"


def make_bootable(image: Path, boot: bytes, core: bytes) -> None:
    """Write what a BIOS starts, and the partition table, before the file system of an image.

    Args:
        image: A raw disk; its file system begins at sector `FIRST` and goes on to the end.
        boot: GRUB's boot.img.
        core: GRUB's core image for i386-pc.

    Raises:
        ValueError: The core image does not fit before the partition.
    """
    if SECTOR + len(core) > FIRST * SECTOR:
        msg = f"GRUB's core image has {len(core)} bytes, which is too large"
        raise ValueError(msg)
    with image.open("r+b") as file:
        file.write(boot_record(boot, image.stat().st_size // SECTOR - FIRST))
        file.write(core)
