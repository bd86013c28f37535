"""Reader of pcap files, as tcpdump writes them (draft-ietf-opsawg-pcap)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.errors import CnilabError

ETHERNET: Final = 1
RAW_IP: Final = 101
LINUX_SLL: Final = 113
LINUX_SLL2: Final = 276

_MAGICS: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1),
    b"\xa1\xb2\xc3\xd4": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1000),
}
_FILE_HEADER = 24
_RECORD_HEADER = 16


class CaptureError(CnilabError):
    """A capture file is not what it should be."""

    exit_code = 11


@dataclass(frozen=True)
class Frame:
    """A captured frame.

    Args:
        t_us: Microseconds since the epoch.
        link: Link type of the capture (LINKTYPE_…).
        data: What was kept of it.
        length: Bytes that it had on the wire.
    """

    t_us: int
    link: int
    data: bytes
    length: int


def frames(content: bytes, where: str = "") -> Iterator[Frame]:
    """All whole frames of a capture; one that was cut off at the end of the file ends it.

    Args:
        content: Of the file. Less than a header has no frames: tcpdump has only just begun, or never did.
        where: Path, for the error.

    Raises:
        CaptureError: It is not a pcap file.
    """
    if len(content) < _FILE_HEADER and content[:4] in (b"", *_MAGICS):
        return
    if content[:4] not in _MAGICS:
        msg = "not a pcap file"
        raise CaptureError(msg, cause=f"it starts with {content[:4].hex(' ')}", where=where)
    order, divisor = _MAGICS[content[:4]]
    link = struct.unpack_from(order + "I", content, 20)[0] & 0xFFFF
    offset = _FILE_HEADER
    while offset + _RECORD_HEADER <= len(content):
        seconds, fraction, kept, length = struct.unpack_from(order + "IIII", content, offset)
        offset += _RECORD_HEADER
        if offset + kept > len(content):
            return
        yield Frame(seconds * 1_000_000 + fraction // divisor, link, content[offset : offset + kept], length)
        offset += kept
