"""The decoder and tshark say the same of stored captures. What tshark says is stored too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.model.records import Packet
from harness.probes import decode, pcap
from tests.unit.probes import captures, tshark

NAMES = sorted(captures.captures())


def stored(name: str) -> list[dict[str, list[str]]]:
    packets: list[dict[str, list[str]]] = json.loads((captures.FOLDER / f"{name}.json").read_text())
    return packets


def seen(packet: Packet | None) -> dict[str, Any] | None:
    """What is there of a packet, without what an inner frame cannot have of its own, and what is not stored."""
    if packet is None:
        return None
    found = packet.model_dump(exclude_defaults=True)
    fields = {key: value for key, value in found.items() if key not in {"inner", "flow_label"}}
    if packet.inner is not None:
        inside = seen(packet.inner) or {}
        fields["inner"] = {key: value for key, value in inside.items() if key not in {"frame", "t_us"}}
    return fields


def said(fields: dict[str, Any] | None) -> dict[str, Any] | None:
    """What tshark says, without what is as if it were not there."""
    if fields is None:
        return None
    known = {key: value for key, value in fields.items() if key == "inner" or value != Packet.model_fields[key].default}
    return known | ({"inner": said(fields["inner"])} if "inner" in fields else {})


@pytest.mark.parametrize("name", NAMES)
def test_the_decoder_says_what_tshark_says(name: str) -> None:
    frames = list(pcap.frames((captures.FOLDER / f"{name}.pcap").read_bytes()))
    expected = stored(name)
    assert len(frames) == len(expected) > 0
    for number, (frame, layers) in enumerate(zip(frames, expected, strict=True), 1):
        assert seen(decode.packet(frame)) == said(tshark.packet(layers)), f"packet {number}, {frame.data.hex()}"


@pytest.mark.parametrize("name", NAMES)
def test_stored_captures_are_those_that_are_described(name: str) -> None:
    assert (captures.FOLDER / f"{name}.pcap").read_bytes() == captures.captures()[name]


def test_nothing_else_is_stored() -> None:
    wanted = {f"{name}.{end}" for name in NAMES for end in ("pcap", "json")}
    assert {path.name for path in captures.FOLDER.iterdir()} == wanted


@pytest.mark.skipif(tshark.PROGRAM is None, reason="tshark is not on PATH: apt-get install tshark")
@pytest.mark.parametrize("name", NAMES)
def test_tshark_still_says_what_is_stored(name: str) -> None:
    told = tshark.dissect(captures.FOLDER / f"{name}.pcap")
    assert [tshark.packet(layers) for layers in told] == [tshark.packet(layers) for layers in stored(name)]
