"""Services from outside and with rules of their own: node ports, host ports, traffic policies, affinity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from conformance.asked import unreported
from conformance.checks.services import AFTER, NEXT, OF_NODES, SV, VIP
from conformance.context import Context
from conformance.legs import (
    answered_by,
    any_ok,
    broken,
    control,
    evidence_of,
    failed,
    leg_name,
    names,
    passed,
    reached,
    recorded,
)
from conformance.maths import split_endpoint
from conformance.model import Check, Verdict
from harness.model.records import Control, Exchange, Leg


def _every_node(context: Context, seen: Sequence[Exchange]) -> Control:
    """The nodes that were dialled are all there are."""
    nodes = {one.dst_node for one in seen}
    return control("P4", nodes == {node.name for node in context.inventory.nodes}, f"{len(nodes)} nodes dialled")


def nodeport(context: Context) -> Verdict:
    """A node port answers on every node, from outside; the source that backends see is recorded."""
    seen = context.exchanges.get("nodeport", ())
    sources = Counter(split_endpoint(one.peer)[0] for one in seen if one.outcome == "ok")
    service = context.inventory.service("nodeport")
    backends = service.endpoints if service else ()
    legs = [answered_by(context, one, reached(context, one, leg_name(one)), *backends) for one in seen]
    legs += unreported(context, "nodeport")
    return Verdict(
        tuple(legs),
        (
            control("P1", any_ok(context.exchanges.get("vip", ())), "ClusterIPs answer inside"),
            _every_node(context, seen),
        ),
        evidence_of(seen, legs),
        summary=f"{len(legs)} legs from the router answered; backends saw {', '.join(sorted(sources))}",
    )


def hostport(context: Context) -> Verdict:
    """A host port answers on its node from elsewhere; one number for TCP and for UDP are two ports."""
    legs = []
    seen = context.exchanges.get("hostport", ())
    for one in seen:
        pods = context.inventory.on(one.dst_node)
        wanted = pods[0].name if one.proto == "udp" else pods[1].name
        leg = reached(context, one, leg_name(one))
        if leg.status == "pass" and one.token != wanted:
            text = f"{one.dial}/{one.proto} is the host port of {wanted}, but {one.token} answered"
            leg = failed(leg_name(one), "wrong-peer", text, wanted, one.token)
        legs.append(leg)
    legs += unreported(context, "hostport")
    return Verdict(
        tuple(legs),
        (
            control("P1", any_ok(context.exchanges.get("mesh", ())), "the pods answer at their own port"),
            _every_node(context, seen),
        ),
        evidence_of(seen, legs),
        summary=f"{len(legs)} legs to host ports, TCP and UDP of one number, were answered by the right pods",
    )


def hostport_scope(context: Context) -> Verdict:
    """A host port of one address leaves the same number of other addresses and protocols to other pods."""
    seen = context.exchanges.get("bound", ())
    inside = context.exchanges.get("bound-loopback", ())
    legs = [_owned(context, one, one.proto) for one in seen]
    for one in inside:
        shared = (one.proto, context.family) == ("tcp", "ipv4")
        legs.append(_owned(context, one, "udp") if shared else _unowned(context, one))
    if context.family == "ipv6":
        legs += [
            recorded(f"second@{node.name}", None, f"plugins translate no other IPv6 address of {node.name} but its own")
            for node in context.inventory.nodes
        ]
    legs += unreported(context, "bound") + unreported(context, "bound-loopback")
    hosts = {host.name for host in context.inventory.hosts}
    return Verdict(
        tuple(legs),
        (
            control("P1", any_ok(context.exchanges.get("mesh", ())), "the pods answer at their own port"),
            control(
                "P2",
                any_ok(context.exchanges.get("localhost", ()), lambda one: one.src in hosts),
                "what a node's own program has at the loopback address answers there",
            ),
            _every_node(context, seen),
        ),
        evidence_of((*seen, *inside), legs),
        summary=f"{len(seen) + len(inside)} legs to one number were answered by the pod that has it for that protocol "
        "and that address",
    )


def _owned(context: Context, one: Exchange, owner: str) -> Leg:
    """The first pod of a node has what the owner `udp` has, the second one what `tcp` has."""
    pods = context.inventory.on(one.dst_node)
    wanted = pods[0].name if owner == "udp" else pods[1].name
    leg = reached(context, one, leg_name(one))
    if leg.status != "pass" or one.token == wanted:
        return leg
    text = f"{one.dial}/{one.proto} is the host port of {wanted} on {one.dst_node}, but {one.token} answered"
    return failed(leg_name(one), "wrong-peer", text, wanted, one.token)


def _unowned(context: Context, one: Exchange) -> Leg:
    """No pod has this port at this address."""
    leg = leg_name(one)
    if one.outcome == "error":
        return broken(leg, f"the probe itself failed on {leg}: {one.detail}")
    if one.outcome != "ok":
        return passed(leg, "no answer", one.outcome)
    address = context.inventory.node(one.dst_node).address
    text = (
        f"{one.dial}/{one.proto} of {one.dst_node} was answered by {one.token}, whose host port is for {address} alone"
    )
    return failed(leg, "unexpected", text, "no answer", one.token)


def _policy(
    context: Context, purpose: str, twin: str, judge: Callable[[Exchange, str, bool], Leg], text: str
) -> Verdict:
    """A traffic policy "Local": answered where an endpoint is local, silent where none is."""
    service = context.inventory.service(purpose)
    seen = context.exchanges.get(purpose, ())
    legs = []
    for one in seen:
        node = one.dst_node or one.src_node
        backends = set(service.endpoints) if service else set()
        local = bool(backends & {pod.name for pod in context.inventory.on(node)})
        leg = leg_name(one)
        if one.outcome == "error":
            legs.append(broken(leg, f"the probe itself failed on {leg}: {one.detail}"))
        elif not local and one.outcome != "ok":
            legs.append(passed(leg, "no answer", one.outcome))
        elif not local:
            words = (
                f"{one.dial} was answered by {one.token} through node {node}, which has no endpoint: "
                "policy Local must not forward"
            )
            legs.append(failed(leg, "unexpected", words, "no answer", one.token))
        elif one.outcome != "ok":
            legs.append(reached(context, one, leg))
        else:
            legs.append(judge(one, leg, local))
    legs += unreported(context, purpose)
    silent = [one for one in seen if one.outcome != "ok"]
    controls = [
        control("P2", any_ok(context.exchanges.get(twin, ())), "the same kind of Service without the policy answers")
    ]
    if len(context.inventory.nodes) > 1:
        controls.append(
            control("inv", silent or any(leg.status == "fail" for leg in legs), "a node without endpoint stays silent")
        )
    return Verdict(tuple(legs), tuple(controls), evidence_of(seen, legs), summary=f"{len(legs)} legs: {text}")


def etp_local(context: Context) -> Verdict:
    """ExternalTrafficPolicy Local keeps the client's address and forwards to no other node."""
    outside = {site.ip for site in context.inventory.outside}

    def judge(one: Exchange, leg: str, _local: bool) -> Leg:  # noqa: FBT001 - the shape that _policy calls
        source = split_endpoint(one.peer)[0]
        sender = split_endpoint(one.source)[0]
        text = (
            f"{sender} (router) dialled {one.dial}, and the backend {one.token} saw {source}: the source was not kept"
        )
        wanted = sender if sender not in {"", "0.0.0.0", "::"} else source  # noqa: S104 - an unbound socket's address
        if source in outside or source == wanted:
            return answered_by(context, one, passed(leg, wanted, source, "ip"), *_here(context, one.dst_node))
        return failed(leg, "wrong-source", text, wanted, source, "ip")

    return _policy(context, "etp-local", "nodeport", judge, "source kept where an endpoint is local, silence elsewhere")


def _here(context: Context, node: str) -> tuple[str, ...]:
    """Pods of a node, by name."""
    return tuple(pod.name for pod in context.inventory.on(node))


def itp_local(context: Context) -> Verdict:
    """InternalTrafficPolicy Local uses endpoints of the client's node only."""

    def judge(one: Exchange, leg: str, _local: bool) -> Leg:  # noqa: FBT001 - the shape that _policy calls
        local = _here(context, one.src_node)
        text = f"{one.src} on {one.src_node} was answered by {one.token} of another node"
        return (
            passed(leg, list(local), one.token)
            if one.token in local
            else failed(leg, "wrong-peer", text, list(local), one.token)
        )

    return _policy(context, "itp-local", "vip", judge, "local endpoints only, silence where there is none")


def affinity(context: Context) -> Verdict:
    """ClientIP affinity: one client, one backend."""
    legs: list[Leg] = []
    seen = context.exchanges.get("affinity", ())
    service = context.inventory.service("affinity")
    backends = service.endpoints if service else ()
    for src in sorted({one.src for one in seen}):
        tokens = sorted({one.token for one in seen if one.src == src and one.outcome == "ok"})
        text = f"{src} with ClientIP affinity was answered by {names(tokens)}"
        leg, lost = f"{src}>affinity", [one for one in seen if one.src == src and one.outcome != "ok"]
        if len(tokens) != 1:
            legs.append(failed(leg, "wrong-value", text, "one backend", tokens))
        elif lost:
            total = sum(one.src == src for one in seen)
            text = f"{len(lost)} of {total} connections from {src} to Service affinity failed"
            legs.append(failed(leg, "lost", text, 0, len(lost), "count"))
        elif tokens[0] not in backends:
            answerer = tokens[0] or "nobody with a name"
            text = f"{src} dialled Service affinity, whose endpoints are {names(backends)}, but {answerer} answered"
            legs.append(failed(leg, "wrong-peer", text, list(backends), tokens[0]))
        else:
            legs.append(passed(leg, "one backend", tokens))
    legs += unreported(context, "affinity")
    spread = {one.token for one in context.exchanges.get("spread", ()) if one.outcome == "ok"}
    return Verdict(
        tuple(legs),
        (control("P2", len(spread) > 1, f"without affinity {len(spread)} backends answer"),),
        summary=f"{len(legs)} clients stayed with one backend over {len(seen)} connections",
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "svc.nodeport", "a NodePort answers on every node", "M", "B3", nodeport,
        source=f'{SV}; "Using Source IP"', gates=("svc", "router"), after=AFTER,
        causes=("nodePortAddresses", "filter in INPUT"), next=OF_NODES,
    ),
    Check(
        "svc.etp-local", "externalTrafficPolicy Local keeps the source and stays on its node", "M", "B3", etp_local,
        source=f'{VIP}; "Using Source IP"', gates=("svc", "router"), after=AFTER,
        causes=("old proxy", "SNAT before the policy"), next=OF_NODES,
    ),
    Check(
        "svc.itp-local", "internalTrafficPolicy Local uses local endpoints only", "M", "B3", itp_local,
        source=f"{VIP}; KEP-2086", gates=("svc", "multi"), after=AFTER, causes=("old proxy",), next=NEXT,
        inverse="a node without endpoint stays silent",
    ),
    Check(
        "svc.affinity", "ClientIP affinity keeps a client on one pod", "M", "B3", affinity,
        source=VIP, gates=("svc",), after=AFTER, causes=("SNAT in front of the Service",), next=NEXT,
    ),
    Check(
        "svc.hostport.reach", "a host port answers on its node, separately for TCP and UDP", "M", "B3", hostport,
        source='core/v1 hostPort; "Network Plugins"; e2e HostPort',
        gates=("hport", "hosts"), after=AFTER, needs=("B1",),
        causes=("port map plugin not chained",), next=("iptables -t nat -S CNI-HOSTPORT-DNAT", "cat /etc/cni/net.d/*"),
    ),
    Check(
        "svc.hostport.scope", "a host port of one address or protocol leaves the others to other pods", "M", "B3",
        hostport_scope, source='core/v1 hostPort, hostIP; e2e HostPort, "no conflict between pods"',
        gates=("hport", "hosts", "hostip"), after=AFTER, needs=("B1",),
        causes=("the plugin ignores hostIP", "a rule for the number alone comes first"),
        next=("iptables -t nat -S CNI-HOSTPORT-DNAT", "iptables-save -t nat | grep {port}"),
    ),
)  # fmt: skip
