"""What a healthy lab shows while it is disturbed: agents that come back, and a network that leaves nothing."""

from __future__ import annotations

from typing import Any, Final

from conformance.context import Context
from conformance.disturbance import SELF, Way, answerers, bystanders, held, measured, reunited, streams
from harness.model.disturbed import Held, Removal, Repair, Restart, Rounds, Speed, Stream, Thing
from harness.model.netstate import Link, NetState, Route
from harness.model.records import Dump, Exchange, Observation
from tests.unit.conformance.twins import forth_text

TRIALS: Final = 2
JOINING: Final = ("join-before", "join-away", "joined")
PLUGINS: Final = ("bridge", "host-local", "loopback", "portmap")
RULE: Final = 'iptables -t nat -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG'
MACHINE: Final = {"kernel": "6.18.0", "architecture": "x86_64", "processors": 2, "load": 0.5, "model": "a processor"}


def observations(run: Context) -> list[Observation]:
    """A green run of B8 and B9, in one family.

    Args:
        run: The lab.
    """
    seen: list[Observation] = []
    for way in held(run.inventory):
        seen += [_held(run, way, "idle", 0), *(_held(run, way, "restart", trial) for trial in range(TRIALS))]
    seen += [_stream(way, trial) for way in streams(run.inventory) for trial in range(TRIALS)]
    seen += [_stream(way, 0, "loss") for way in bystanders(run.inventory)]
    seen += [_dialled(way, purpose) for way in reunited(run.inventory) for purpose in JOINING]
    seen.append(Dump(batch="B8", vantage="api", place="cluster", what="node-loss", data=_forgotten(run)))
    for way in measured(run.inventory):
        seen += [_speed(way, purpose, trial) for purpose in ("throughput", "rounds", "setups") for trial in range(2)]
    for node in run.inventory.nodes:
        seen += [_rules(node.name), _routes(run, node.name)]
    return seen


def once(run: Context) -> list[Observation]:
    """The same of what belongs to no family.

    Args:
        run: The lab.
    """
    shares = {node.name: [node.pod_cidr, forth_text(node.pod_cidr)] for node in run.inventory.nodes}
    joined = {"lost": "n2", "agent": 4.0, "seconds": {"IPv4": 4.2, "IPv6": 4.3}, "shares": shares, "collected": []}
    seen: list[Observation] = [
        Dump(batch="B8", vantage="api", place="cluster", what="machine", data=MACHINE),
        Dump(batch="B8", vantage="api", place="cluster", what="node-join", data=joined),
    ]
    for node in run.inventory.nodes:
        seen += [_restart(node.name, node.pod_cidr, trial) for trial in range(TRIALS)]
        seen += [_rounds(node.name), removal(run, node.name)]
    return seen


def _common(way: Way, purpose: str, trial: int) -> dict[str, Any]:
    src, target = way
    told = {"src": src.name, "src_node": src.node, "dst": target.name, "dst_node": target.node, "dial": target.dial}
    return {"batch": "B8", "purpose": purpose, "trial": trial, "outcome": "ok", **told}


def _dialled(way: Way, purpose: str) -> Exchange:
    """Nobody has a way while the node is away."""
    src, target = way
    told: dict[str, Any] = {"outcome": "ok", "token": target.name, "source": f"{src.ip}:40000"}
    if purpose == "join-away":
        told = {"outcome": "timeout", "errno": 110}
    common = {key: value for key, value in _common(way, purpose, 0).items() if key not in {"trial", "outcome"}}
    return Exchange.model_validate({**common, "src_ip": src.ip, "proto": "tcp", **told})


def _forgotten(run: Context) -> list[dict[str, Any]]:
    """What n1 had of n2, which was gone when it had left."""
    share = run.inventory.node("n2").pod_cidr
    had = {"route": f"{share} dev flannel.1 onlink", "fdb": "52:00:00:00:00:02 dst 172.18.0.12 self permanent"}
    return [
        {"node": "n1", "kind": kind, "dst": share, "seconds": 0.3, "before": [line], "left": []}
        for kind, line in had.items()
    ]


def _stream(way: Way, trial: int, purpose: str = "restart") -> Stream:
    counted = {"sent": 500, "received": 500, "last": 499, "pause_ms": 12.0, "ms": 5000.0}
    return Stream.model_validate(_common(way, purpose, trial) | counted)


def _held(run: Context, way: Way, purpose: str, trial: int) -> Held:
    token = answerers(run.inventory, way[0].name, way[1].name)[0]
    told = {"before": "ok", "token": token, "source": f"{way[0].ip}:40000", "ms": 60000.0}
    return Held.model_validate(_common(way, purpose, trial) | told)


def _speed(way: Way, purpose: str, trial: int) -> Speed:
    told = {"token": "" if purpose == "setups" else way[1].name, "amount": 300, "ms": 150.0, "p50_us": 200}
    return Speed.model_validate(_common(way, purpose, trial) | told)


def _rules(node: str) -> Repair:
    return Repair(batch="B8", what="rules", src=node, waited=30.0, things=(Thing(text=RULE, gone=True, seconds=2.5),))


def _routes(run: Context, node: str) -> Repair:
    things = [
        Thing(text=f"route {one.pod_cidr} dev flannel.1 onlink", gone=True, seen="via the default route", put_back=True)
        for one in run.inventory.nodes
        if one.name != node
    ]
    return Repair(batch="B8", what="routes", src=node, waited=12.0, things=tuple(things))


def _restart(node: str, share: str, trial: int) -> Restart:
    shares = (f"podCIDR {share}", f"FLANNEL_SUBNET={share}")
    return Restart(
        batch="B8", trial=trial, trials=TRIALS, src=node, before=(f"{node}-{trial}",), after=(f"{node}-{trial + 1}",),
        seconds=7.5, waited=7.5, seen="kube-flannel-ds-x7k2p Running, ready", share_before=shares, share_after=shares,
    )  # fmt: skip


def _rounds(node: str) -> Rounds:
    before = dict.fromkeys(("routes", "neighbours", "fdb", "rules"), ())
    there = {**before, "leases": ("10.244.0.2",), "links": ("cni0", "vetha")}
    during = {**there, "leases": ("10.244.0.2", "10.244.0.7"), "links": ("cni0", "vetha", "vethx")}
    return Rounds(batch="B8", src=node, asked=50, made=50, before=there, during=during, after=there)


def removal(run: Context, node: str) -> Removal:
    """A node without its network, as its lab has it."""
    routes = tuple(
        Route(dst=str(cidr), dev=run.spec.cluster_nic, family="inet6" if cidr.version == 6 else "inet")
        for cidr in run.spec.underlay_cidrs
    )
    nics = tuple(Link(name=nic) for nic in run.spec.nics)
    files = tuple(f"/opt/cni/bin/{name}" for name in PLUGINS)
    bare = NetState(node=node, links=(Link(name="lo"), *nics), routes=routes, files=files)
    more = (*bare.links, Link(name="cni0", kind="bridge"), Link(name="flannel.1", kind="vxlan"))
    installed = bare.model_copy(update={"links": more, "files": (*files, "/etc/cni/net.d/10-flannel.conflist")})
    return Removal(batch="B9", src=node, installed=installed, bare=bare, plugins=PLUGINS)


__all__ = ["SELF", "TRIALS", "observations", "once"]
