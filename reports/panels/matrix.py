"""Pod-to-pod reachability: who asked whom, who answered, and under which address the sender was seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from harness.model.family import FAMILIES, Family, family_of_proto, transport_of
from harness.model.records import Exchange
from reports import marks
from reports.addresses import Owners
from reports.families import families_of, named, own_address
from reports.model import Axis, Cell, Mark, Matrix, MatrixTab, PairRow
from reports.text import Ids, host_of, listing, micros, natural, plural, protocol, unique

MOST_PODS = 64
"""Above, the matrix is by node: a page of thousands of cells helps nobody."""

_MOST_VALUES = 24
"""Above, the tabs of measured values are left out; the plain table has them."""

_MOST_PAIRS = 2000
_PROTOCOLS = ("tcp", "udp", "icmp", "tcp6", "udp6", "icmp6")
_PURPOSES = ("mesh", "self", "host")

Pair = tuple[str, str]


def matrix(exchanges: list[Exchange], owners: Owners, ids: Ids) -> Matrix | None:
    """The matrix of a run; None when pods asked nobody.

    Args:
        exchanges: All of the run.
        owners: Knows which addresses are pods'.
        ids: Gives `pair-a-c`.
    """
    mesh = [item for item in exchanges if item.purpose in _PURPOSES and item.dst_node]
    if not mesh:
        return None
    nodes: dict[str, str] = {}
    addresses: dict[str, str] = {}
    seconds: dict[str, dict[Family, str]] = {}
    for item in mesh:
        nodes.setdefault(item.src, item.src_node)
        nodes.setdefault(item.dst, item.dst_node)
        addresses.setdefault(item.src, item.src_ip)
        addresses.setdefault(item.dst, host_of(item.dial))
        seconds.setdefault(item.dst, {}).setdefault(family_of_proto(item.proto), host_of(item.dial))
    by_pair: dict[Pair, list[Exchange]] = {}
    for item in mesh:
        by_pair.setdefault((item.src, item.dst), []).append(item)
    if len(nodes) > MOST_PODS:
        return _by_node(by_pair, nodes, owners, ids)
    names = sorted(nodes, key=lambda name: (natural(nodes[name]), not _is_pod(addresses[name], owners), natural(name)))
    axes = tuple(
        Axis(
            name,
            nodes[name],
            _listed(addresses[name], seconds.get(name, {})),
            index == 0 or nodes[names[index - 1]] != nodes[name],
        )
        for index, name in enumerate(names)
    )
    protocols = tuple(proto for proto in _PROTOCOLS if any(item.proto == proto for item in mesh))
    pairs = [(src, dst) for src in names for dst in names]
    anchors = {pair: ids.new("pair", *pair) for pair in pairs if pair in by_pair}
    both = families_of(map(family_of_proto, protocols))
    tabs = [_verdicts(proto, names, by_pair, anchors, owners, both) for proto in protocols]
    if len(names) <= _MOST_VALUES:
        tabs += _values(names, by_pair, anchors)
    states = Counter(judge(found, owners) for found in by_pair.values())
    return Matrix(
        axes=axes,
        groups=tuple(Counter(nodes[name] for name in names).items()),
        tabs=tuple(tabs),
        legend=tuple((mark, states[mark]) for mark in marks.MATRIX_STATES),
        protocols=protocols,
        pairs=tuple(_pair(pair, by_pair[pair], anchors[pair], protocols, owners) for pair in pairs if pair in by_pair),
    )


def _listed(address: str, each: dict[Family, str]) -> str:
    """An address, and that of the other family beside it."""
    return ", ".join(unique([address, *(each[family] for family in FAMILIES if family in each)]))


def judge_one(item: Exchange, owners: Owners) -> Mark:
    """The state of one exchange."""
    denied = item.purpose.startswith(("deny", "denied"))
    if item.outcome != "ok":
        return marks.DENIED if denied else marks.BROKEN
    if denied or altered(item, owners):
        return marks.UNEXPECTED
    return marks.UNSTEADY if item.attempts > 1 else marks.REACHED


def altered(item: Exchange, owners: Owners) -> str:
    """How an exchange between two pods was tampered with on its way; empty when it was not."""
    if item.token and item.token.rpartition("/")[2] != item.dst.rpartition("/")[2]:
        return f"answered by {item.token}"
    seen, dialled, own = host_of(item.peer), host_of(item.dial), own_address(item)
    both_pods = _is_pod(item.src_ip, owners) and _is_pod(dialled, owners)
    if both_pods and own and item.peer and seen != own and not seen.startswith(("127.", "::1")):
        return f"seen as {seen}"
    return ""


def _is_pod(address: str, owners: Owners) -> bool:
    return address not in owners.node_addresses


def judge(found: Iterable[Exchange], owners: Owners) -> Mark:
    """The state of a pair: the worst of its exchanges."""
    return marks.worst([judge_one(item, owners) for item in found])


def _verdicts(
    proto: str,
    names: list[str],
    by_pair: dict[Pair, list[Exchange]],
    anchors: dict[Pair, str],
    owners: Owners,
    both: tuple[Family, ...] = (),
) -> MatrixTab:
    reached = total = 0
    rows: list[tuple[Cell, ...]] = []
    for src in names:
        row: list[Cell] = []
        for dst in names:
            found = [item for item in by_pair.get((src, dst), ()) if item.proto == proto]
            mark = judge(found, owners)
            total += bool(found)
            reached += mark in (marks.REACHED, marks.DENIED)
            href = anchors.get((src, dst), "")
            row.append(
                Cell(
                    mark,
                    f"#{href}" if href else "",
                    f"{src} → {dst}" if mark is marks.REACHED else f"{src} → {dst}: {mark.word}",
                )
            )
        rows.append(tuple(row))
    family = named(family_of_proto(proto), both)
    title = transport_of(proto).upper() if family else protocol(proto)
    return MatrixTab(proto, title, tuple(rows), f"{reached:,} of {plural(total, 'pair')} as expected", family)


def _values(names: list[str], by_pair: dict[Pair, list[Exchange]], anchors: dict[Pair, str]) -> list[MatrixTab]:
    """Tabs that show a number instead of a verdict: TTL at the receiver, round trip."""
    tabs: list[MatrixTab] = []
    measures: list[tuple[str, str, Callable[[Exchange], int | None], str]] = [
        ("ttl", "TTL", lambda item: item.ttl, "IP TTL at the receiver; senders start at 64"),
        ("rtt", "Round trip", lambda item: item.rtt_us, "microseconds, the minimum of all exchanges of the pair"),
    ]
    for key, title, measure, summary in measures:
        if not any(measure(item) is not None for found in by_pair.values() for item in found):
            continue
        rows = tuple(
            tuple(_value_cell(src, dst, by_pair.get((src, dst), []), measure, anchors, title) for dst in names)
            for src in names
        )
        tabs.append(MatrixTab(key, title, rows, summary))
    return tabs


def _value_cell(
    src: str,
    dst: str,
    found: list[Exchange],
    measure: Callable[[Exchange], int | None],
    anchors: dict[Pair, str],
    title: str,
) -> Cell:
    values = [number for item in found if (number := measure(item)) is not None]
    text = str(min(values)) if values else "·"
    href = anchors.get((src, dst), "")
    return Cell(
        marks.RECORD if values else marks.UNTESTED, f"#{href}" if href else "", f"{src} → {dst}: {title} {text}", text
    )


def _pair(pair: Pair, found: list[Exchange], anchor: str, protocols: tuple[str, ...], owners: Owners) -> PairRow:
    src, dst = pair
    first = found[0]
    kind = "itself" if src == dst else "same node" if first.src_node == first.dst_node else "cross node"
    seen = unique(host_of(item.peer) for item in found if item.peer)
    own = {own_address(item) for item in found}
    told = [f"{address} ({owners.classify(address)})" if address not in own else address for address in seen]
    problems = unique(
        altered(item, owners) or f"{item.proto}: {item.outcome}" + (f" (errno {item.errno})" if item.errno else "")
        for item in found
        if judge_one(item, owners).tone == "bad"
    )
    times = [item.rtt_us for item in found if item.rtt_us is not None]
    return PairRow(
        anchor=anchor,
        src=src,
        dst=dst,
        kind=kind,
        marks=tuple(judge([item for item in found if item.proto == proto], owners) for proto in protocols),
        dialled=_listed(first.dial, {family_of_proto(item.proto): item.dial for item in reversed(found)}),
        seen_as=listing(told) if not problems else "; ".join(problems),
        ttl=listing(unique(str(item.ttl) for item in found if item.ttl is not None)),
        rtt=micros(min(times)) if times else "",
    )


def _by_node(by_pair: dict[Pair, list[Exchange]], nodes: dict[str, str], owners: Owners, ids: Ids) -> Matrix:
    """The matrix of a large cluster: one cell per ordered pair of nodes, its state the worst of their pods'."""
    names = sorted(set(nodes.values()), key=natural)
    blocks: dict[Pair, list[Exchange]] = {}
    for (src, dst), found in by_pair.items():
        blocks.setdefault((nodes[src], nodes[dst]), []).extend(found)
    protocols = tuple(
        proto for proto in _PROTOCOLS if any(item.proto == proto for pair in by_pair.values() for item in pair)
    )
    both = families_of(map(family_of_proto, protocols))
    tabs = tuple(_verdicts(proto, names, blocks, {}, owners, both) for proto in protocols)
    bad = [
        (pair, found)
        for pair, found in sorted(by_pair.items(), key=lambda item: (natural(item[0][0]), natural(item[0][1])))
        if judge(found, owners) is not marks.REACHED
    ]
    states = Counter(judge(found, owners) for found in by_pair.values())
    return Matrix(
        axes=tuple(Axis(name, name, "", first_of_node=True) for name in names),
        groups=tuple((name, 1) for name in names),
        tabs=tabs,
        legend=tuple((mark, states[mark]) for mark in marks.MATRIX_STATES),
        protocols=protocols,
        pairs=tuple(_pair(pair, found, ids.new("pair", *pair), protocols, owners) for pair, found in bad[:_MOST_PAIRS]),
        left_out=f"{plural(len(nodes), 'pod')} are shown by node; the table lists the pairs that are not as expected",
        aggregated=True,
    )
