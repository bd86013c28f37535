"""The lab as a map of lines: each node's lane runs from the wire through its interfaces to its pods.

The highlighted route is the traced packet's; it is thick where the packet travels wrapped in the encapsulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from reports.model import Diagram, NodeBox, OutsideBox, PodBox, Station
from reports.svg import circle, drawing, line, path, rect, text
from reports.text import listing, plural

WIDTH: Final = 1120
GAP: Final = 24
LANE: Final = 34
"""Distance of a node's lane from its left edge."""

ROW: Final = 30
POD_ROW: Final = 36
POD_HEIGHT: Final = 28
TITLE: Final = 54
FABRIC: Final = 46
DROP: Final = 34
OUTSIDE: Final = 62
SPINE: Final = 26
MOST_PODS: Final = 14
MOST_NODES_IN_A_ROW: Final = 3
ROOMY: Final = 420
"""From this width on, a node also shows the names of host veths."""


@dataclass(frozen=True)
class _Node:
    """A node with its place on the page."""

    box: NodeBox
    x: float
    y: float
    width: float
    height: float
    fabric_y: float

    @property
    def lane(self) -> float:
        return self.x + LANE

    def station_y(self, index: int) -> float:
        return self.y + TITLE + 14 + index * ROW

    @property
    def shown(self) -> tuple[PodBox, ...]:
        return self.box.pods[:MOST_PODS]

    def pod_y(self, index: int) -> float:
        return self.y + TITLE + len(self.box.stations) * ROW + 16 + index * POD_ROW


def topology(diagram: Diagram) -> Markup:
    """Draw a lab.

    Args:
        diagram: From `panels.diagram`.
    """
    columns = 2 if len(diagram.nodes) == 4 else min(len(diagram.nodes), MOST_NODES_IN_A_ROW)
    left = SPINE if len(diagram.nodes) > columns else 0
    nodes, height = _place(diagram, columns, left)
    shapes: list[Markup] = []
    fabrics = sorted({node.fabric_y for node in nodes})
    if left:
        shapes.append(line(8, fabrics[0] + FABRIC / 2, 8, fabrics[-1] + FABRIC / 2, "spine"))
    shapes += _outside(diagram, left)
    for index, y in enumerate(fabrics):
        shapes += _fabric(diagram, left, y, first=index == 0)
        if left:
            shapes.append(line(8, y + FABRIC / 2, left, y + FABRIC / 2, "spine"))
    for node in nodes:
        shapes.append(rect(node.x, node.y, node.width, node.height, "node", r=12))
    for node in nodes:
        shapes += _tracks(node)
    shapes += _route(diagram, nodes)
    for node in nodes:
        shapes += _node(node)
    return drawing(WIDTH, height, _label(diagram), "topology", *shapes)


def _label(diagram: Diagram) -> str:
    parts = [
        f"{node.name} ({node.address}) with {plural(len(node.pods), 'pod')}: "
        + listing([" ".join(filter(None, (pod.name, pod.address, pod.second))) for pod in node.pods])
        for node in diagram.nodes
    ]
    wire = f"connected by {diagram.underlay}, MTU {diagram.underlay_mtu}"
    nodes = plural(len(diagram.nodes), "node")
    return f"{nodes} {wire}, {diagram.encapsulation or 'no encapsulation'}. {'; '.join(parts)}"


def _place(diagram: Diagram, columns: int, left: float) -> tuple[list[_Node], float]:
    width = (WIDTH - left - GAP * (columns - 1)) / columns
    y = float(OUTSIDE + 30 if diagram.outside else 0)
    nodes: list[_Node] = []
    for start in range(0, len(diagram.nodes), columns):
        row = diagram.nodes[start : start + columns]
        height = max(_height(box) for box in row)
        nodes += [
            _Node(box, left + index * (width + GAP), y + FABRIC + DROP, width, height, y)
            for index, box in enumerate(row)
        ]
        y += FABRIC + DROP + height + GAP
    return nodes, y - GAP + 2


def _height(box: NodeBox) -> float:
    pods = min(len(box.pods), MOST_PODS) * POD_ROW + (18 if len(box.pods) > MOST_PODS else 0)
    return TITLE + len(box.stations) * ROW + 10 + pods + (34 if box.host_pods else 8)


def _outside(diagram: Diagram, left: float) -> list[Markup]:
    """The router with its addresses, and hosts beyond it, on one line above the wire."""
    if not diagram.outside:
        return []
    router, *beyond = diagram.outside
    far_width = 250.0 if beyond else 0.0
    width = WIDTH - left - (far_width + 130 if beyond else 0)
    shapes = _outside_box(router, left, width, diagram.underlay)
    shapes.append(line(left + LANE, OUTSIDE, left + LANE, OUTSIDE + 30, "cable"))
    x = left + width
    for box in beyond[:1]:
        shapes.append(line(x, OUTSIDE / 2, x + 130, OUTSIDE / 2, "cable"))
        if box.mtu:
            shapes.append(text(x + 65, OUTSIDE / 2 - 9, f"MTU {box.mtu}", "small muted", anchor="middle"))
        shapes += _outside_box(box, x + 130, far_width, "")
    return shapes


def _outside_box(box: OutsideBox, x: float, width: float, underlay: str) -> list[Markup]:
    role = "the nodes' gateway and the outside" if underlay else "a host beyond the router"
    return [
        rect(x, 1, width, OUTSIDE - 2, "outside", r=12),
        text(x + 18, 25, box.name, "name"),
        text(x + 26 + len(box.name) * 9, 25, role, "small muted", width=width - 60, size=11),
        text(x + 18, 46, " · ".join(box.lines), "mono", width=width - 36),
    ]


def _fabric(diagram: Diagram, left: float, y: float, *, first: bool) -> list[Markup]:
    shapes = [rect(left, y, WIDTH - left, FABRIC, "fabric", r=FABRIC / 2)]
    if first:
        wrap = f"{diagram.encapsulation}{_cost(diagram)}" if diagram.encapsulation else ""
        shapes += [
            text(left + LANE + 22, y + 18, f"wire between the nodes · {diagram.underlay}", "small"),
            text(WIDTH - 120, y + 18, wrap or "pod packets are not encapsulated", "small accent", anchor="end"),
            text(
                WIDTH - 26, y + 18, f"MTU {diagram.underlay_mtu}" if diagram.underlay_mtu else "", "small", anchor="end"
            ),
        ]
    return shapes


def _cost(diagram: Diagram) -> str:
    """What the encapsulation adds to a packet: in each family where each has a tunnel of its own."""
    costs = [f"{one.value} bytes {f'over {one.name}' if one.name else 'to a packet'}" for one in diagram.overheads]
    return f" adds {listing(costs)}" if costs else ""


def _node(node: _Node) -> list[Markup]:
    box, right = node.box, node.x + node.width - 26
    shapes = [
        text(node.lane + 20, node.y + 28, box.name, "name"),
        text(node.lane + 28 + len(box.name) * 10, node.y + 28, box.role, "small muted"),
        text(right, node.y + 28, box.pod_cidr, "mono muted", anchor="end"),
        text(right, node.y + 48, "MTU", "tiny muted", anchor="end"),
    ]
    column = node.lane + (110 if node.width >= ROOMY else 98)
    if any(station.second for station in box.stations):  # the tunnel of the other family has a longer name
        column += 12
    for index, station in enumerate(box.stations):
        y = node.station_y(index)
        note = f" · {station.note}" if station.note and node.width >= ROOMY else ""
        shapes += [
            *([circle(node.lane, y, 6, f"stop {station.role}")] if station.role != "bridge" else []),
            text(node.lane + 20, y + 4, station.name, "mono strong", width=column - node.lane - 24),
            text(column, y + 4, f"{_both(station, node)}{note}", "mono", width=right - column - 40),
            text(right, y + 4, str(station.mtu or ""), "mono", anchor="end"),
        ]
    for index, pod in enumerate(node.shown):
        shapes += _pod(node, pod, node.pod_y(index), right)
    bottom = node.y + node.height
    if len(box.pods) > MOST_PODS:
        shapes.append(
            text(node.lane + 20, node.pod_y(MOST_PODS), f"and {len(box.pods) - MOST_PODS} more", "small muted")
        )
    if box.host_pods:
        words = f"on the node's own network: {', '.join(box.host_pods)}"
        shapes.append(text(node.x + 18, bottom - 15, words, "small muted", width=node.width - 36, size=11))
    return shapes


def _tracks(node: _Node) -> list[Markup]:
    """What lies under the route: the node's lane, its bridges with their ports, and the veth pairs to pods."""
    last = len(node.box.stations) - 1
    end = node.station_y(last) if last >= 0 else node.y
    if node.shown:
        end = max(end, node.pod_y(len(node.shown) - 1) + POD_HEIGHT / 2)
    shapes = [line(node.lane, node.fabric_y + FABRIC, node.lane, end, "cable")]
    for index, pod in enumerate(node.shown):
        middle = node.pod_y(index) + POD_HEIGHT / 2
        shapes.append(line(node.lane, middle, _pod_left(node), middle, "veth" if pod.on_bridge else "veth routed"))
    ports = [place for place, pod in enumerate(node.shown) if pod.on_bridge]
    for index, station in enumerate(node.box.stations):
        if station.role == "bridge":
            y = node.station_y(index)
            bottom = node.pod_y(ports[-1]) + POD_HEIGHT / 2 + 8 if ports else y + 9
            shapes.append(rect(node.lane - 7, y - 9, 14, bottom - y + 9, "stop bridge", r=7))
    return shapes


def _pod_left(node: _Node) -> float:
    return node.lane + (104 if node.width >= ROOMY else 30)


def _pod(node: _Node, pod: PodBox, y: float, right: float) -> list[Markup]:
    x, middle = _pod_left(node), y + POD_HEIGHT / 2
    system = " system" if pod.namespace.startswith("kube-") else ""
    shapes = [
        rect(x, y, node.x + node.width - 16 - x, POD_HEIGHT, f"pod{system}", r=7, title=_title(pod)),
        text(right, middle + 4, str(pod.mtu or ""), "mono", anchor="end"),
    ]
    if node.width >= ROOMY and pod.veth:
        shapes.append(
            text((node.lane + 7 + x) / 2, middle - 5, pod.veth, "tiny mono muted", anchor="middle", width=94, size=9)
        )
    room = right - 40 - x
    addresses = _both(pod, node)
    address = len(addresses) * 7.3
    shapes.append(text(x + 12, middle + 4, pod.name, "strong", width=room - address - 16))
    shapes.append(text(right - 46, middle + 4, addresses, "mono", anchor="end"))
    return shapes


def _both(box: Station | PodBox, node: _Node) -> str:
    """An address, and where there is room that of the other family."""
    return f"{box.address}  {box.second}" if box.second and node.width >= ROOMY else box.address


def _title(pod: PodBox) -> str:
    second = f": {pod.address}, {pod.second}" if pod.second else ""
    return f"{pod.namespace}/{pod.name}{second}"


def _route(diagram: Diagram, nodes: list[_Node]) -> list[Markup]:
    """The traced packet's way over the lanes, and the stretch of it that is wrapped."""
    found = [place for name in diagram.route if (place := _find(name, nodes))]
    if len(found) != 2:
        return []
    (one, first), (other, second) = found
    shapes: list[Markup] = []
    if diagram.encapsulation:
        shapes.append(path(_way(one, _tunnel_y(one), other, _tunnel_y(other)), "tube", bend=12))
    start = (_pod_left(one), one.pod_y(first) + POD_HEIGHT / 2)
    end_point = (_pod_left(other), other.pod_y(second) + POD_HEIGHT / 2)
    shapes.append(path([start, *_way(one, start[1], other, end_point[1]), end_point], "route", bend=10))
    return shapes


def _find(name: str, nodes: list[_Node]) -> tuple[_Node, int] | None:
    for node in nodes:
        for index, pod in enumerate(node.shown):
            if pod.name == name:
                return node, index
    return None


def _tunnel_y(node: _Node) -> float:
    roles = [station.role for station in node.box.stations]
    return node.station_y(roles.index("overlay") if "overlay" in roles else 0)


def _way(one: _Node, y1: float, other: _Node, y2: float) -> list[tuple[float, float]]:
    """From one lane up to the wire, along it, and down the other lane; by the spine between rows."""
    up, down = one.fabric_y + FABRIC - 14, other.fabric_y + FABRIC - 14
    across = [(one.lane, up), (other.lane, down)]
    if up != down:
        across = [(one.lane, up), (8.0, up), (8.0, down), (other.lane, down)]
    return [(one.lane, y1), *across, (other.lane, y2)]
