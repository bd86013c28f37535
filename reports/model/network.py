"""The cluster as a drawing, and who reaches whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reports.model.common import Fact, Mark


@dataclass(frozen=True)
class Station:
    """An interface on the way from the wire to the pods."""

    name: str
    role: Literal["nic", "overlay", "bridge"]
    address: str
    mtu: int
    note: str = ""
    second: str = ""


@dataclass(frozen=True)
class PodBox:
    """A pod in the drawing."""

    name: str
    namespace: str
    address: str
    mtu: int
    veth: str
    on_bridge: bool
    second: str = ""


@dataclass(frozen=True)
class NodeBox:
    """A node in the drawing."""

    name: str
    role: str
    address: str
    pod_cidr: str
    stations: tuple[Station, ...]
    pods: tuple[PodBox, ...]
    host_pods: tuple[str, ...]


@dataclass(frozen=True)
class OutsideBox:
    """The router, or a host beyond it."""

    name: str
    lines: tuple[str, ...]
    mtu: int = 0


@dataclass(frozen=True)
class Diagram:
    """The cluster as it was seen.

    Args:
        nodes: In the order of their names.
        outside: Router first.
        underlay: `172.18.0.0/16`.
        underlay_mtu: Bytes.
        encapsulation: `VXLAN, UDP 8472, VNI 1`; empty when nodes exchange plain packets.
        overheads: Bytes that the encapsulation costs, by family where each has a tunnel of its own.
        route: Pods at the ends of the traced flow, to be highlighted; empty without one.
        ranges: Address ranges, for the caption.
    """

    nodes: tuple[NodeBox, ...]
    outside: tuple[OutsideBox, ...]
    underlay: str
    underlay_mtu: int
    encapsulation: str
    overheads: tuple[Fact, ...]
    route: tuple[str, ...]
    ranges: tuple[Fact, ...]


@dataclass(frozen=True)
class Cell:
    """One source, one destination, one protocol."""

    mark: Mark
    href: str
    label: str
    text: str = ""


@dataclass(frozen=True)
class MatrixTab:
    """The matrix for one protocol, or of one measured value.

    Args:
        key: Part of its id.
        title: TCP …
        rows: As the axes have them.
        summary: What it says.
        family: `IPv6`, where there are two; empty for what is of both.
    """

    key: str
    title: str
    rows: tuple[tuple[Cell, ...], ...]
    summary: str
    family: str = ""


@dataclass(frozen=True)
class PairRow:
    """Everything about one ordered pair, as a row of the plain table."""

    anchor: str
    src: str
    dst: str
    kind: str
    marks: tuple[Mark, ...]
    dialled: str
    seen_as: str
    ttl: str
    rtt: str


@dataclass(frozen=True)
class Axis:
    """A row or column of the matrix."""

    name: str
    node: str
    address: str
    first_of_node: bool


@dataclass(frozen=True)
class Matrix:
    """Pod-to-pod reachability."""

    axes: tuple[Axis, ...]
    groups: tuple[tuple[str, int], ...]
    tabs: tuple[MatrixTab, ...]
    legend: tuple[tuple[Mark, int], ...]
    protocols: tuple[str, ...]
    pairs: tuple[PairRow, ...]
    left_out: str = ""
    aggregated: bool = False


@dataclass(frozen=True)
class LoadRow:
    """Many datagrams, or many connections, between two pods."""

    src: str
    dst: str
    what: str
    mark: Mark
    result: str
    detail: str
