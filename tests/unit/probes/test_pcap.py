from __future__ import annotations

import pytest

from harness.probes import pcap
from harness.probes.pcap import CaptureError
from tests.unit.probes import frames


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "factor"), [(0xA1B2C3D4, 1), (0xA1B23C4D, 1000)])
def test_times_are_microseconds_in_every_byte_order_and_resolution(order: str, magic: int, factor: int) -> None:
    content = frames.pcap((7_000_123 * factor, b"abc"), order=order, magic=magic)
    assert list(pcap.frames(content)) == [pcap.Frame(7_000_123, pcap.ETHERNET, b"abc", 3)]


def test_a_frame_keeps_its_length_on_the_wire_when_it_was_cut() -> None:
    (frame,) = pcap.frames(frames.pcap((0, bytes(1500)), snaplen=256))
    assert (len(frame.data), frame.length) == (256, 1500)


def test_a_frame_still_being_written_is_left_out() -> None:
    content = frames.pcap((0, b"whole"), (1, b"half"))
    assert [frame.data for frame in pcap.frames(content[:-1])] == [b"whole"]
    assert [frame.data for frame in pcap.frames(content[:-5])] == [b"whole"]


@pytest.mark.parametrize("length", [0, 4, 23])
def test_a_capture_that_has_only_just_begun_has_no_frames(length: int) -> None:
    assert list(pcap.frames(frames.pcap()[:length])) == []


def test_another_file_is_an_error_that_names_it() -> None:
    with pytest.raises(CaptureError, match="not a pcap file") as caught:
        list(pcap.frames(b"\x0a\x0d\x0d\x0a" + bytes(40), "captures/x.pcapng"))
    assert caught.value.where == "captures/x.pcapng"
