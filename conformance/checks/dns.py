"""DNS as a pod sees it: its resolv.conf, the records the API implies, the search path, and the way outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from conformance.asked import unreported
from conformance.context import Context
from conformance.inventory import ServiceFact
from conformance.legs import broken, control, failed, names, passed
from conformance.model import Check, Judge, Verdict
from conformance.questions import dashed, reverse
from harness.model.records import Leg, Lookup

DSD = "DNS-Based Service Discovery 1.1.0"
SCHEMA = "1.1.0"
DPS = 'Kubernetes documentation, "DNS for Services and Pods"'


def leg_of(one: Lookup) -> str:
    """`a?spread.cnilab-probe.svc.cluster.local./A/udp`."""
    return f"{one.src}?{one.name}/{one.qtype}/{one.transport}"


def answered(one: Lookup, leg: str, expected: Sequence[str]) -> Leg:
    """Passed when the answer section holds exactly the expected records.

    Args:
        one: The lookup.
        leg: Its name.
        expected: Record data without trailing dots, in any order.
    """
    if one.outcome == "error":
        return broken(leg, f"the probe itself failed on {leg}: {one.detail}")
    if one.outcome != "ok":
        text = (
            f"{one.src} ({one.src_node}) asked {one.server or 'its resolver'} for {one.name} {one.qtype}: {one.outcome}"
        )
        return failed(leg, one.outcome, text, sorted(expected), one.outcome)
    found = sorted({answer.rstrip(".").strip('"') for answer in one.answers})
    wanted = sorted({record.rstrip(".") for record in expected})
    if found == wanted:
        return passed(leg, wanted, found)
    text = (
        f"{one.src} ({one.src_node}) asked for {one.name} {one.qtype} and got {names(found)} ({one.rcode}), "
        f"not {names(wanted)}"
    )
    return failed(leg, "wrong-value" if found else "missing", text, wanted, found)


def others_asked(context: Context) -> list[Lookup]:
    """Queries for names of Services that were made, whatever came of them.

    A twin must not depend on the server that is under test being alive: its silence is a failure, not an error.
    """
    return [one for one in context.lookups.get("service", ()) if one.outcome != "error"]


def _judge(purpose: str, expected: Callable[[Context, Lookup], Sequence[str]], summary: str) -> Judge:
    """A judge for lookups whose answers follow from the API."""

    def judge(context: Context) -> Verdict:
        seen = context.lookups.get(purpose, ())
        legs = [answered(one, leg_of(one), expected(context, one)) for one in seen]
        legs += unreported(context, purpose)
        oracle = [expected(context, one) for one in seen]
        return Verdict(
            tuple(legs),
            (control("P7", oracle and all(oracle), "the API says what the answers have to be"),),
            summary=f"{len(legs)} answers {summary}",
        )

    return judge


def _service_of(context: Context, name: str) -> ServiceFact | None:
    short = name.split(".", maxsplit=1)[0]
    return next((service for service in context.inventory.services if service.name == short), None)


def cluster_ip_of(context: Context, one: Lookup) -> list[str]:
    """The ClusterIP of the Service whose name was looked up; empty when there is no such Service."""
    service = _service_of(context, one.name)
    return [service.cluster_ip] if service else []


def service(context: Context) -> Verdict:
    """The address record of every Service is its ClusterIP, from every node and every pod."""
    seen = (*context.lookups.get("service", ()), *context.lookups.get("every-pod", ()))
    legs = []
    for number, one in enumerate(seen):
        leg = leg_of(one) if one.purpose == "service" else f"{leg_of(one)}#{number}"
        legs.append(answered(one, leg, cluster_ip_of(context, one)))
    legs += [*unreported(context, "service"), *unreported(context, "every-pod")]
    nodes = {one.src_node for one in seen}
    return Verdict(
        tuple(legs),
        (
            control("P7", all(cluster_ip_of(context, one) for one in seen), "the API names every ClusterIP"),
            control("P4", len(nodes) == len(context.inventory.nodes), f"{len(nodes)} nodes asked"),
        ),
        summary=f"{len(legs)} answers equal the ClusterIP, from {len(nodes)} nodes and every pod",
    )


def _pod_address(context: Context, one: Lookup) -> list[str]:
    """The address of the pod whose address the name is made of; empty when the API knows no such pod."""
    label = one.name.split(".")[0]
    return [pod.ip for pod in context.inventory.pods if pod.ip and dashed(pod.ip) == label]


def zone_of(context: Context) -> str:
    """The cluster's DNS zone."""
    return context.spec.services.domain


def _headless(context: Context, _one: Lookup) -> list[str]:
    found = context.inventory.service("headless")
    return list(found.endpoint_ips) if found else []


def headless(context: Context) -> Verdict:
    """One address per ready endpoint, and a record for each pod with a host name."""
    legs = [answered(one, leg_of(one), _headless(context, one)) for one in context.lookups.get("headless", ())]
    for one in context.lookups.get("hostname", ()):
        pod = context.inventory.by_name.get(one.name.split(".")[0])
        legs.append(answered(one, leg_of(one), [pod.ip] if pod else []))
    legs += [*unreported(context, "headless"), *unreported(context, "hostname")]
    found = context.inventory.service("headless")
    count = len(found.endpoint_ips) if found else 0
    return Verdict(
        tuple(legs),
        (control("P7", count, f"the API lists {count} endpoints"),),
        summary=f"{len(legs)} answers equal the {count} ready endpoints and the pods' host names",
    )


def _targets(context: Context, one: Lookup) -> list[str]:
    """SRV data without priority and weight: port and target."""
    found = _service_of(context, one.name.split(".", 2)[2])
    if found is None:
        return []
    tail = f"{context.inventory.namespace}.svc.{zone_of(context)}"
    port = next((port for port in found.ports if f"_{port.name}._{port.proto}." in one.name), None)
    if port is None:
        return []
    if found.cluster_ip == "None":
        return [f"8080 {name}.{found.name}.{tail}" for name in found.endpoints]
    return [f"{port.port} {found.name}.{tail}"]


def srv(context: Context) -> Verdict:
    """One SRV record per named port, with the right port and target."""
    legs = []
    oracle = []
    for one in context.lookups.get("srv", ()):
        wanted = _targets(context, one)
        oracle.append(wanted)
        trimmed = one.model_copy(update={"answers": tuple(" ".join(answer.split()[-2:]) for answer in one.answers)})
        legs.append(answered(trimmed, leg_of(one), wanted))
    legs += unreported(context, "srv")
    return Verdict(
        tuple(legs),
        (control("P7", oracle and all(oracle), "the API names every port"),),
        summary=f"{len(legs)} SRV answers have the right port and target",
    )


def _pointers(context: Context, one: Lookup) -> list[str]:
    tail = f"{context.inventory.namespace}.svc.{zone_of(context)}"
    for found in context.inventory.services:
        if found.cluster_ip not in {"", "None"} and reverse(found.cluster_ip) == one.name:
            return [f"{found.name}.{tail}"]
    for pod in context.inventory.pods:
        if pod.ip and reverse(pod.ip) == one.name:
            return [f"{pod.name}.headless.{tail}"]
    return []


def _answered_among_others(one: Lookup, wanted: list[str]) -> Leg:
    """Passed when all wanted records are in the answer, whatever else is."""
    found = {answer.rstrip(".") for answer in one.answers}
    trimmed = one.model_copy(update={"answers": tuple(wanted)}) if wanted and set(wanted) <= found else one
    return answered(trimmed, leg_of(one), wanted)


def ptr(context: Context) -> Verdict:
    """ClusterIPs and endpoints have PTR records; an endpoint of several Services may have several."""
    # Every Service that selects the pod may add a name of its own: the pod's host name must be among them.
    seen = context.lookups.get("ptr", ())
    wanted = [_pointers(context, one) for one in seen]
    legs = [_answered_among_others(one, names_) for one, names_ in zip(seen, wanted, strict=True)]
    legs += unreported(context, "ptr")
    return Verdict(
        tuple(legs),
        (control("P7", seen and all(wanted), "the API says whose the addresses are that were asked for"),),
        summary=f"{len(legs)} addresses of Services and endpoints have their name",
    )


def _external(context: Context, _one: Lookup) -> list[str]:
    found = context.inventory.service("external")
    return [found.external_name] if found else []


def externalname(context: Context) -> Verdict:
    """An ExternalName Service is a CNAME."""
    # A server may append the target's own address records.
    legs = [_answered_among_others(one, _external(context, one)) for one in context.lookups.get("externalname", ())]
    legs += unreported(context, "externalname")
    return Verdict(
        tuple(legs),
        (control("P7", context.inventory.service("external"), "the API names the target"),),
        summary=f"{len(legs)} CNAME answers name the external host",
    )


NEXT = (
    "dig @{dns} {name}",
    "kubectl -n kube-system get pods -l k8s-app=kube-dns -o wide",
    "kubectl -n kube-system logs deploy/coredns",
)


def schema(context: Context) -> Verdict:
    """The zone says which version of the schema its names follow."""
    legs = [answered(one, leg_of(one), [SCHEMA]) for one in context.lookups.get("schema", ())]
    legs += unreported(context, "schema")
    # No API says what the answer has to be. That names were asked for at all is what can be known.
    return Verdict(
        tuple(legs),
        (control("P2", others_asked(context), "names of Services were also queried"),),
        summary=f"{len(legs)} answers name schema version {SCHEMA}",
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "dns.service", "the address record of every Service is its ClusterIP", "M", "B4", service,
        source=f"{DSD} §2.3.1", gates=("dns",), after=("node.underlay",), causes=("DNS down", "policy"), next=NEXT,
    ),
    Check(
        "dns.srv", "named ports have SRV records", "M", "B4", srv, source=f"{DSD} §2.3.2, §2.4.2", gates=("dns",),
        after=("node.underlay",), causes=("wrong zone",), next=NEXT,
        once=True,
    ),
    Check(
        "dns.ptr", "ClusterIPs and endpoints have PTR records", "M", "B4", ptr, source=f"{DSD} §2.3.3, §2.4.3",
        gates=("dns",), after=("node.underlay",), causes=("reverse zone missing",), next=NEXT,
    ),
    Check(
        "dns.headless", "a headless Service resolves to its ready endpoints", "M", "B4", headless,
        source=f"{DSD} §2.4.1", gates=("dns",), after=("node.underlay",), causes=("endpoint not ready",), next=NEXT,
    ),
    Check(
        "dns.pod", "the DNS name made of a pod's address resolves to it", "S", "B4",
        _judge("pod", _pod_address, "resolve to the address in the name"), source=DPS, gates=("dns",),
        after=("node.underlay",), causes=("pod records switched off in the name server",), next=NEXT,
    ),
    Check(
        "dns.externalname", "an ExternalName Service is a CNAME", "M", "B4", externalname, source=f"{DSD} §2.5",
        once=True, gates=("dns",), after=("node.underlay",), causes=("wrong zone",), next=NEXT,
    ),
    Check(
        "dns.schema", "the zone has the version of its schema", "M", "B4",
        schema, source=f"{DSD} §2.2", once=True, gates=("dns",),
        after=("node.underlay",), causes=("wrong zone",), next=NEXT,
    ),
)  # fmt: skip
