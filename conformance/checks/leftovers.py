"""What is left of attachments that came and went, and of a network that was taken away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from conformance.context import Context
from conformance.legs import broken, census, check_value, control, failed, names, passed
from conformance.model import Check, Verdict
from harness.cni.residue import Bare, Residue, bare, residue
from harness.model.disturbed import Removal, Rounds
from harness.model.records import Evidence, Leg

KINDS = ("leases", "links", "routes", "neighbours", "fdb", "rules")


def churn(context: Context) -> Verdict:
    """Attachments that were made and deleted many times have left nothing."""
    found = {one.src: one for one in context.observations if isinstance(one, Rounds)}
    legs: list[Leg] = []
    for node in context.inventory.nodes:
        one = found.get(node.name)
        if one is None:
            legs.append(broken(node.name, f"nobody reported the attachments of {node.name}", "missing"))
        else:
            legs += _rounds_legs(one)
    asked = max((one.asked for one in found.values()), default=0)
    return Verdict(
        tuple(legs),
        (control("P6", found and all(map(_visible, found.values())), "an attachment was seen while it was there"),),
        summary=f"{asked} attachments came and went on each of {len(found)} nodes, and nothing of them is left",
    )


def _visible(one: Rounds) -> bool:
    """A look shows what an attachment has: one that shows nothing would find nothing left."""
    return any(set(one.during.get(kind, ())) - set(one.before.get(kind, ())) for kind in KINDS)


def _rounds_legs(one: Rounds) -> Iterator[Leg]:
    if one.made < one.asked:
        text = (
            f"{one.asked - one.made} of {one.asked} attachments on {one.src} did not come and go: {names(one.failed)}"
        )
        yield failed(f"{one.src}/calls", "wrong-value", text, one.asked, one.made, "count")
    else:
        yield passed(f"{one.src}/calls", one.asked, one.made, "count")
    for kind in KINDS:
        before, after = one.before.get(kind), one.after.get(kind)
        if before is None or after is None:
            yield broken(f"{one.src}/{kind}", f"the {kind} of {one.src} could not be read", "unread")
            continue
        left = sorted(set(after) - set(before))
        text = f"{one.asked} attachments have left {len(left)} {kind} on {one.src}: {names(left)}"
        yield check_value(f"{one.src}/{kind}", [], left, text, reason="unexpected")


def clean(context: Context) -> Verdict:
    """Nodes without their network have nothing that a bare node has not."""
    found = {one.src: one for one in context.observations if isinstance(one, Removal)}
    legs: list[Leg] = []
    left: dict[str, Sequence[Residue]] = {}
    for node in context.inventory.nodes:
        one = found.get(node.name)
        if one is None:
            legs.append(broken(node.name, f"nobody reported {node.name} without its network", "missing"))
            continue
        left[node.name] = residue(one.bare, _expected(context, one))
        legs.append(_clean_leg(node.name, [f"{item.kind} {item.what}" for item in left[node.name]]))
    api = [text for one in found.values() for text in one.api]
    legs += [_clean_leg("api", api)] if found else []
    return Verdict(
        tuple(legs),
        (
            census(len(found), len(context.inventory.nodes), "nodes"),
            control("P6", found and all(_installed(context, one) for one in found.values()),
                    "the same rule sees the network while it is there"),
        ),
        _diff(left),
        summary=f"nothing of {context.variant.name} was left on {len(found)} nodes, nor in the API",
    )  # fmt: skip


def _expected(context: Context, one: Removal) -> Bare:
    return bare(context.spec, one.plugins, one.agents, kube_proxy=one.kube_proxy)


def _installed(context: Context, one: Removal) -> bool:
    return bool(residue(one.installed, _expected(context, one)))


def _clean_leg(place: str, left: Sequence[str]) -> Leg:
    text = f"{place} still has {names(left)} after the network was taken away"
    return check_value(place, [], list(left), text, reason="unexpected")


def _diff(left: Mapping[str, Sequence[Residue]]) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(kind="diff", detail={"node": node, "left": [str(item) for item in items[:20]]})
        for node, items in left.items()
        if items
    )


CHECKS: tuple[Check, ...] = (
    Check(
        id="ipam.churn", title="attachments that come and go many times leave nothing", level="S", batch="B8",
        judge=churn, gates=("dis", "verbs"), once=True,
        causes=("DEL releases nothing", "a plugin of the chain is missing"),
        next=("ls {leases}", "ip link", "nft list ruleset"),
    ),
    Check(
        id="residue.clean", title="nothing of the network is left when it is taken away", level="M", batch="B9",
        judge=clean, gates=("dis", "node", "bare"), once=True,
        causes=("a link, a table or a file that nobody counted as the network's",),
        next=("ip -d link", "iptables-save", "ls /etc/cni/net.d /var/lib/cni"),
    ),
)  # fmt: skip
"""Requirements on what is left behind."""
