"""The way between nodes: whether they reach each other, and how large a packet may be on it."""

from __future__ import annotations

from conformance.context import Context
from conformance.inventory import Site
from conformance.legs import answered_by, any_ok, broken, census, control, failed, passed, reached, where
from conformance.maths import pair_mtu
from conformance.model import Check, Verdict
from harness.model.records import Evidence, Leg, Rung


def underlay(context: Context) -> Verdict:
    """Nodes reach each other. When not, the cluster is broken, not the network under test."""
    legs: list[Leg] = []
    for src, dst in _pairs(context):
        for proto in ("tcp", "udp"):
            leg = f"{src.node}>{dst.node}/{proto}"
            one = context.exchange("underlay", src.name, dst.name, proto)
            found = answered_by(context, one, reached(context, one, leg), dst.name)
            legs.append(found if found.status == "pass" else broken(leg, found.statement, found.reason))
    return Verdict(
        tuple(legs),
        (control("P1", any_ok(context.exchanges.get("underlay-self", ())), "a node reaches itself"),),
        summary=f"{len(legs)} legs between nodes: TCP and UDP",
    )


def path_mtu(context: Context) -> Verdict:
    """A packet as large as both NICs allow passes between nodes, with DF: what is between them is no narrower."""
    legs: list[Leg] = []
    evidence: list[Evidence] = []
    probed = small = 0
    for src, dst in _pairs(context):
        tried = {one.size: one for one in _rungs(context, src, dst)}
        probed += bool(tried)
        small += bool(tried) and tried[min(tried)].outcome == "ok"
        legs.append(_leg(context, src, dst, tried))
        if legs[-1].status == "fail":
            sizes = {str(size): tried[size].outcome for size in sorted(tried)}
            evidence.append(Evidence(kind="socket", detail={"leg": legs[-1].leg, "outcomes": sizes}))
    pairs = len(_pairs(context))
    return Verdict(
        tuple(legs),
        (
            census(probed, len(context.inventory.nodes) * (len(context.inventory.nodes) - 1), "pairs of nodes"),
            control("P1", small == pairs, f"a small packet passes between {small} of {pairs} pairs of nodes"),
        ),
        tuple(evidence[:4]),
        summary=f"{len(legs)} ways between nodes carry packets as large as both NICs allow",
    )


def _pairs(context: Context) -> list[tuple[Site, Site]]:
    hosts = context.inventory.hosts
    return [(src, dst) for src in hosts for dst in hosts if src.node != dst.node]


def _rungs(context: Context, src: Site, dst: Site) -> list[Rung]:
    return [one for one in context.rungs if one.purpose == "underlay" and (one.src, one.dst) == (src.name, dst.name)]


def _leg(context: Context, src: Site, dst: Site, tried: dict[int, Rung]) -> Leg:
    """What passed of all sizes; what the MTU of the moment was, only the probes knew: it is the largest of them."""
    name = f"{src.node}>{dst.node}"
    if not tried:
        frozen = pair_mtu(context.inventory.node(src.node).mtu, context.inventory.node(dst.node).mtu)
        return broken(name, f"the probe did not report a packet of {frozen} bytes from {name}", "missing")
    largest = max(tried)
    if tried[largest].outcome == "ok":
        return passed(name, largest, largest, "bytes")
    arrived = [size for size, one in tried.items() if one.outcome == "ok"]
    lost = [size for size, one in tried.items() if one.outcome != "ok"]
    if not arrived:
        return broken(name, f"no packet with DF from {where(src)} to {where(dst)} was answered, of any size")
    text = (
        f"from {where(src)} to {where(dst)}, packets of {min(lost)} bytes are lost ({tried[largest].outcome}), "
        f"although both NICs have an MTU of {largest}; {max(arrived)} bytes pass"
    )
    return failed(name, tried[largest].outcome, text, largest, max(arrived), "bytes")


CHECKS: tuple[Check, ...] = (
    Check(
        "node.underlay", "nodes reach each other", "M", "B0", underlay, gates=("multi", "hosts"),
        causes=("the cluster is broken, not the network under test",),
        next=("ip -br link", "ping {destination}"),
    ),
    Check(
        "node.path-mtu", "between nodes, packets pass that are as large as both NICs allow", "M", "B0", path_mtu,
        gates=("multi", "hosts"), after=("node.underlay",), source="RFC 1191 §2, RFC 8201 §3",
        causes=("a switch, a link or a tunnel between the nodes carries less", "a filter drops large packets"),
        next=("ping -M do -s {size} {destination}", "nft list ruleset", "tracepath -n {destination}"),
    ),
)  # fmt: skip
