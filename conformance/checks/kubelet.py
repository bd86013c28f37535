"""Kubelets probe the pods of their node, whatever a NetworkPolicy says: otherwise no pod under a policy gets ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from conformance.context import Context
from conformance.kubelet import OVER, WHAT, WITHOUT, ended, names, since
from conformance.legs import broken, census, control, failed, passed, recorded
from conformance.model import Check, Verdict
from harness.model.records import Control, Evidence, Leg

Json = Mapping[str, Any]


def kubelet_probe(context: Context) -> Verdict:
    """HTTP and TCP probes of each node's kubelet succeed, also where a policy lets nobody reach the pod."""
    data: Json = context.api(WHAT) or {}
    seen: Json = data.get("pods") or {}
    legs: list[Leg] = []
    for node, name in names([node.name for node in context.inventory.nodes]).items():
        legs += [_leg(node, name, container, seen.get(node)) for container in OVER]
    known = {node: one for node, one in seen.items() if _whole(one)}
    total = sum(ended(one["before"], one["under"], container) for one in known.values() for container in OVER)
    policy = "a policy that denies all" if data.get("enforcing") else "a policy that nobody enforces here"
    return Verdict(
        tuple(legs),
        tuple(_controls(context, known, enforcing=bool(data.get("enforcing")))) if data else (),
        _evidence(seen, legs),
        summary=f"{total} probes of {len(known)} kubelets over HTTP and TCP succeeded under {policy}",
    )


def _controls(context: Context, known: Json, *, enforcing: bool) -> Iterator[Control]:
    yield census(len(known), len(context.inventory.nodes), "kubelets")
    idle = [node for node, one in known.items() if not since(one["before"], one["under"], WITHOUT)["successful"]]
    yield control("P1", not idle, f"{len(known) - len(idle)} kubelets probe without the network at the same time")
    if enforcing:
        shut = [one for one in known.values() if one["open"] == "ok" and one["shut"] not in {"ok", "error"}]
        text = f"{len(shut)} of {len(known)} pods answered a neighbour before the policy, and not under it"
        yield control("P6", len(shut) == len(known), text)


def _whole(one: Any) -> bool:
    """All looks are there."""
    return isinstance(one, Mapping) and {"ip", "before", "under", "open", "shut"} <= set(one)


def _leg(node: str, name: str, container: str, one: Any) -> Leg:
    leg = f"kubelet@{node}>{name}/{container}"
    way = OVER[container]
    if not _whole(one):
        why = one.get("error") if isinstance(one, Mapping) else ""
        return broken(
            leg, f"what the kubelet of {node} sees of {name} is not known: {why or 'not reported'}", "missing"
        )
    new, beside = (since(one["before"], one["under"], what) for what in (container, WITHOUT))
    total = new["successful"] + new["failed"]
    ready = (one["under"].get("ready") or {}).get(container)
    where = f"{one['ip']} ({name}, {node})"
    if not total or ready is None:
        return broken(leg, f"the kubelet of {node} did not end a probe over {way} of {where}", "missing")
    if not new["failed"] and ready:
        return passed(leg, "all succeed", f"{new['successful']} of {total}")
    said = next((text for what, text in one.get("events") or () if what == container), "")
    text = f"{new['failed']} of {total} probes over {way} by the kubelet of {node} got no answer from {where}"
    text += f": {said}" if said else ""
    if ready and beside["failed"]:
        return recorded(leg, new["failed"], f"{text}; so did {beside['failed']} without the network: a busy machine")
    earlier = (one["before"].get("ready") or {}).get(container)
    text += "" if earlier else "; without the policy neither"
    return failed(leg, "timeout" if new["failed"] else "wrong-value", text, "all succeed", f"{new['failed']} failed")


def _evidence(seen: Json, legs: list[Leg]) -> tuple[Evidence, ...]:
    bad = {leg.leg.partition("@")[2].partition(">")[0] for leg in legs if leg.status == "fail"}
    return tuple(Evidence(kind="api", detail={"node": node, **seen[node]}) for node in sorted(bad))


CHECKS: tuple[Check, ...] = (
    Check(
        "model.kubelet-probe", "a kubelet's HTTP and TCP probes reach the pods of its node under any policy", "S", "B6",
        kubelet_probe, source='Kubernetes documentation, "The Kubernetes network model"; "Network Policies"',
        gates=("kubelet", "policies"), after=("node.underlay",), once=True,
        causes=("a policy or a firewall keeps the node from its own pods",),
        next=("kubectl get events --field-selector reason=Unhealthy -A",),
    ),
)  # fmt: skip
