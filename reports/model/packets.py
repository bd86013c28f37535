"""Packet sizes, and one packet on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reports.model.common import Fact, Mark


@dataclass(frozen=True)
class RungCell:
    """One datagram size from one node to another."""

    size: int
    mark: Mark
    text: str


@dataclass(frozen=True)
class Ladder:
    """All sizes tried from one place to another."""

    src: str
    dst: str
    kind: Literal["same node", "cross node"]
    rungs: tuple[RungCell, ...]
    largest: int
    expected: int
    family: str = ""


@dataclass(frozen=True)
class MtuRow:
    """MTUs of one node with the arithmetic."""

    node: str
    links: tuple[Fact, ...]
    arithmetic: str
    mark: Mark


@dataclass(frozen=True)
class TunnelSum:
    """What a tunnel of a family leaves.

    Args:
        family: `IPv6`.
        sum: MTU of the wire, what the tunnel takes, what is left.
        parts: Of what it takes.
        ping: Most data of an echo request.
    """

    family: str
    sum: tuple[int, int, int]
    parts: tuple[Fact, ...]
    ping: int


@dataclass(frozen=True)
class Mtu:
    """Who has which MTU and what passes.

    Args:
        sum: MTU of the wire, what the encapsulation takes, MTU of pods.
        parts: Of what it takes.
        rows: Node by node.
        shown: One ladder of each kind.
        ladders: All of them.
        sizes: That were tried.
        header: Bytes of an echo request's headers.
        tunnels: Where each family has a tunnel of its own.
    """

    sum: tuple[int, int, int]
    parts: tuple[Fact, ...]
    rows: tuple[MtuRow, ...]
    shown: tuple[Ladder, ...]
    ladders: tuple[Ladder, ...]
    sizes: tuple[int, ...]
    header: int = 28
    tunnels: tuple[TunnelSum, ...] = ()


@dataclass(frozen=True)
class FieldCell:
    """A field of a packet at a hop; `changed` when the hop before had another value."""

    text: str
    changed: bool = False
    was: str = ""


@dataclass(frozen=True)
class Hop:
    """A packet at one tap.

    Args:
        anchor: Its id.
        place: `pod a`, `n1`.
        interface: `eth0`.
        seen: False when the tap did not see the packet.
        time: Since the first tap.
        src: Source address of the (inner) packet.
        dst: Its destination.
        ttl: Its TTL.
        length: Bytes of the outermost IP packet.
        outer: Outer header; empty for a plain packet.
        command: The tcpdump line to type.
        pcap: The capture, relative to the run directory.
        note: What happened here, in words.
    """

    anchor: str
    place: str
    interface: str
    seen: bool
    time: str
    src: FieldCell
    dst: FieldCell
    ttl: FieldCell
    length: FieldCell
    outer: FieldCell
    command: str
    pcap: str
    note: str


@dataclass(frozen=True)
class Segment:
    """A header, or the payload, as a part of the frame."""

    name: str
    bytes: int
    layer: Literal["outer", "tunnel", "inner", "payload"]


@dataclass(frozen=True)
class LayerRow:
    """A header with its fields and the owners of its addresses."""

    layer: str
    name: str
    size: int
    fields: tuple[Fact, ...]


@dataclass(frozen=True)
class Decoded:
    """A packet taken apart."""

    where: str
    segments: tuple[Segment, ...]
    layers: tuple[LayerRow, ...]
    overhead: int
    inner_length: int
    outer_length: int


@dataclass(frozen=True)
class PathSide:
    """One direction of a flow.

    Args:
        title: Which.
        hops: Tap by tap.
        lost_after: Where it was seen last, if it did not arrive.
        limit: What its IP header calls the hops that it has left.
    """

    title: str
    hops: tuple[Hop, ...]
    lost_after: str = ""
    limit: str = "TTL"

    @property
    def wrapped(self) -> bool:
        """Does the packet travel in a tunnel somewhere?"""
        return any(hop.outer.text for hop in self.hops)


@dataclass(frozen=True)
class PacketPath:
    """One flow, tap by tap, there and back."""

    anchor: str
    title: str
    flow: str
    ends: tuple[str, ...]
    sentence: str
    sides: tuple[PathSide, ...]
    decoded: Decoded | None
