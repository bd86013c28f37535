from __future__ import annotations

import struct
from pathlib import Path

import pytest

from harness.components import disk


def test_the_partition_is_where_the_file_system_begins_and_goes_on_to_the_end(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(4 << 20))
    disk.make_bootable(image, b"\xeb\x63" + bytes(510), b"core" * 100)
    record = image.read_bytes()[: disk.SECTOR]
    status, kind, first, count = struct.unpack("<B3xB3xII", record[446:462])
    assert (status, kind, first * disk.SECTOR, (first + count) * disk.SECTOR) == (0x80, 0x83, 1 << 20, 4 << 20)
    assert record[:2] == b"\xeb\x63"
    assert record[510:] == b"\x55\xaa"
    assert record[462:510] == bytes(48)


def test_the_core_image_is_in_the_second_sector_and_the_size_stays(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(2 << 20))
    disk.make_bootable(image, bytes(512), b"core")
    data = image.read_bytes()
    assert data[disk.SECTOR : disk.SECTOR + 4] == b"core"
    assert len(data) == 2 << 20


def test_code_of_grub_never_reaches_the_partition_table() -> None:
    record = disk.boot_record(b"\xff" * 512, 1)
    assert record[:440] == b"\xff" * 440
    assert record[440:446] == bytes(6)


def test_a_core_image_that_would_run_into_the_partition_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(2 << 20))
    with pytest.raises(ValueError, match="core image"):
        disk.make_bootable(image, bytes(512), bytes(1 << 20))
    assert image.read_bytes() == bytes(2 << 20)
