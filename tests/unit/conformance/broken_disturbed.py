"""Defects that show only while a lab is disturbed, or when its network is taken away."""

from __future__ import annotations

from typing import Any

from harness.model.disturbed import Removal, Repair, Restart, Rounds
from harness.model.netstate import Link
from harness.model.records import Observation
from tests.unit.conformance.simlab import Change, dumps, exchanges, records


def never_back(one: Observation) -> Observation:
    """No agent of n1 comes again."""
    if isinstance(one, Restart) and one.src == "n1":
        return one.model_copy(update={"after": (), "seconds": None, "waited": 60.0, "seen": "no pod of the agent"})
    return one


def not_repaired(one: Observation) -> Observation:
    """The rules of n1 do not come back."""
    if isinstance(one, Repair) and (one.src, one.what) == ("n1", "rules"):
        things = [thing.model_copy(update={"seconds": None, "seen": "KUBE-POSTROUTING"}) for thing in one.things]
        return one.model_copy(update={"things": tuple(things)})
    return one


def other_share(one: Observation) -> Observation:
    """n2 has another share since its agent's last restart."""
    if isinstance(one, Restart) and (one.src, one.trial) == ("n2", 1):
        return one.model_copy(update={"share_after": ("podCIDR 10.244.9.0/24", *one.share_before[1:])})
    return one


def leaking(one: Observation) -> Observation:
    """Attachments leave leases on n1."""
    if isinstance(one, Rounds) and one.src == "n1":
        left = (*one.before["leases"], "10.244.0.8", "10.244.0.9")
        return one.model_copy(update={"after": {**one.after, "leases": left}})
    return one


def stuck(one: Observation) -> Observation:
    """A device stays on n1 when its network is taken away."""
    if isinstance(one, Removal) and one.src == "n1":
        links = (*one.bare.links, Link(name="vxlan7", kind="vxlan"))
        return one.model_copy(update={"bare": one.bare.model_copy(update={"links": links})})
    return one


def still_in_api(one: Observation) -> Observation:
    """An object of the network stays in the API."""
    if isinstance(one, Removal) and one.src == "n1":
        return one.model_copy(update={"api": ("ConfigMap kube-flannel-cfg",)})
    return one


def dark(**match: Any) -> Change:
    """A stream is away for two seconds while agents restart."""
    return records("stream", {"outcome": "lost", "received": 300, "gap": 200}, **match)


def cut(**match: Any) -> Change:
    """A connection does not outlive what happened."""
    return records("held", {"outcome": "timeout", "errno": 110, "token": ""}, **match)


def remembered(kind: str) -> Change:
    """n1 goes on to have what leads to a node that left."""
    return dumps(
        lambda data: [row | {"seconds": None, "left": row["before"]} if row["kind"] == kind else row for row in data],
        what="node-loss",
    )


DEFECTS: tuple[tuple[str, str, tuple[Change, ...], str, str], ...] = (
    ("rules are not repaired", "node.heal", (not_repaired,), "n1/rules/0", "missing"),
    ("the agent does not come back", "robust.restart", (never_back,), "n1/agent/0", "missing"),
    ("a restart is noticed", "robust.restart", (dark(src="a", dst="c", trial=1),), "a>c/udp", "lost"),
    ("routes lead to a node that left", "robust.loss", (remembered("route"),), "n1/route", "unexpected"),
    ("forwarding entries lead to a node that left", "robust.loss", (remembered("fdb"),), "n1/fdb", "unexpected"),
    ("others notice that a node left", "robust.loss", (dark(src="a", dst="b", purpose="loss"),), "a>b/udp", "lost"),
    ("a node that joined is not reached", "robust.join",
     (exchanges({"outcome": "timeout", "errno": 110}, purpose="joined", src="a"),), "a>c/tcp", "timeout"),
    ("another pod answers for one of a node that joined", "robust.join",
     (exchanges({"token": "d"}, purpose="joined", src="a"),), "a>c/tcp", "wrong-peer"),
    ("a restart takes another share", "ipam.cidr.stable", (other_share,), "n2/1", "wrong-value"),
    ("an idle connection is forgotten", "conn.idle", (cut(src="a", dst="c", purpose="idle"),),
     "a>c/tcp/idle", "timeout"),
    ("a restart cuts a connection", "conn.idle", (cut(src="a", dst="sole-c", trial=1, purpose="restart"),),
     "a>sole-c/tcp/restart-1", "timeout"),
    ("somebody else answers later", "conn.idle", (records("held", {"token": "d"}, src="a", dst="c", purpose="idle"),),
     "a>c/tcp/idle", "wrong-peer"),
    ("attachments leave leases", "ipam.churn", (leaking,), "n1/leases", "unexpected"),
    ("attachments do not come", "ipam.churn",
     (records("rounds", {"made": 3, "failed": ("flannel ADD: no address is left",)}, src="n1"),),
     "n1/calls", "wrong-value"),
    ("a device outlives its network", "residue.clean", (stuck,), "n1", "unexpected"),
    ("an object outlives its network", "residue.clean", (still_in_api,), "api", "unexpected"),
)  # fmt: skip
"""What, the check that must see it, changes, the leg, its reason."""
