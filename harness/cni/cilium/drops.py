"""What cilium's agents tell of packets that their programs drop: `cilium-dbg monitor --type drop --json`. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from harness.model.datapath import Drop, DropMonitor

_PROTOCOLS: Final = {"tcp": "tcp", "udp": "udp", "icmpv4": "icmp", "icmpv6": "icmp"}


def read(text: str) -> Iterator[Drop]:
    """Packets that were dropped.

    Args:
        text: What the monitor printed: an object a line, between words of its own.
    """
    for line in text.splitlines():
        with suppress(json.JSONDecodeError, AttributeError):
            event = json.loads(line)
            if event.get("type") == "drop":
                yield _drop(event)


def _drop(event: Mapping[str, Any]) -> Drop:
    summary = event.get("summary") or {}
    ends, ports = summary.get("l3") or {}, summary.get("l4") or {}
    layer = next((name for name in _PROTOCOLS if name in summary), "")
    return Drop(
        str(event.get("reason", "")),
        str(ends.get("src", "")),
        str(ends.get("dst", "")),
        _PROTOCOLS.get(layer, ""),
        _port(ports.get("src")),
        _port(ports.get("dst")),
        "EchoReply" in str(summary.get(layer, "")),
    )


def _port(word: object) -> int:
    return int(str(word)) if str(word).isdigit() else 0


MONITOR: Final = DropMonitor(
    agent="cilium-agent",
    command=("cilium-dbg", "monitor", "--type", "drop", "--json"),
    begun="Listening for events",
    read=read,
)
