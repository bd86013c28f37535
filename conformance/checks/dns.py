"""DNS as a pod sees it: its resolv.conf, the records the API implies, the search path, and the way outside."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conformance.context import Context
from conformance.inventory import ServiceFact
from conformance.legs import broken, check_value, control, failed, names, passed, recorded
from conformance.manifests import NAMESPACE, crowd_addresses
from conformance.model import Check, Judge, Verdict
from conformance.plan import reverse
from harness.model.records import Leg, Lookup

DSD = "DNS-Based Service Discovery 1.1.0"
DPS = 'Kubernetes documentation, "DNS for Services and Pods"'
NDOTS = 5


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


def _judge(purpose: str, expected: Callable[[Context, Lookup], Sequence[str]], summary: str) -> Judge:
    """A judge for lookups whose answers follow from the API."""

    def judge(context: Context) -> Verdict:
        seen = context.lookups.get(purpose, ())
        legs = [answered(one, leg_of(one), expected(context, one)) for one in seen]
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


def _cluster_ip(context: Context, one: Lookup) -> list[str]:
    service = _service_of(context, one.name)
    return [service.cluster_ip] if service else []


def service(context: Context) -> Verdict:
    """The address record of every Service is its ClusterIP, from every node and every pod."""
    seen = (*context.lookups.get("service", ()), *context.lookups.get("every-pod", ()))
    legs = []
    for number, one in enumerate(seen):
        leg = leg_of(one) if one.purpose == "service" else f"{leg_of(one)}#{number}"
        legs.append(answered(one, leg, _cluster_ip(context, one)))
    nodes = {one.src_node for one in seen}
    return Verdict(
        tuple(legs),
        (
            control("P7", all(_cluster_ip(context, one) for one in seen), "the API names every ClusterIP"),
            control("P4", len(nodes) == len(context.inventory.nodes), f"{len(nodes)} nodes asked"),
        ),
        summary=f"{len(legs)} answers equal the ClusterIP, from {len(nodes)} nodes and every pod",
    )


def _pod_address(_context: Context, one: Lookup) -> list[str]:
    return [one.name.split(".")[0].replace("-", ".")]


def _zone(context: Context) -> str:
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
    tail = f"{NAMESPACE}.svc.{_zone(context)}"
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
    return Verdict(
        tuple(legs),
        (control("P7", oracle and all(oracle), "the API names every port"),),
        summary=f"{len(legs)} SRV answers have the right port and target",
    )


def _pointers(context: Context, one: Lookup) -> list[str]:
    tail = f"{NAMESPACE}.svc.{_zone(context)}"
    for found in context.inventory.services:
        if found.cluster_ip not in {"", "None"} and reverse(found.cluster_ip) == one.name:
            return [f"{found.name}.{tail}"]
    for pod in context.inventory.pods:
        if reverse(pod.ip) == one.name:
            return [f"{pod.name}.headless.{tail}"]
    return []


def ptr(context: Context) -> Verdict:
    """ClusterIPs and endpoints have names; an endpoint of several Services may have several."""
    legs = []
    for one in context.lookups.get("ptr", ()):
        wanted = _pointers(context, one)
        found = {answer.rstrip(".") for answer in one.answers}
        # Every Service that selects the pod may add a name of its own: the pod's host name must be among them.
        trimmed = one.model_copy(update={"answers": tuple(wanted)}) if wanted and set(wanted) <= found else one
        legs.append(answered(trimmed, leg_of(one), wanted))
    return Verdict(
        tuple(legs),
        (control("P7", legs, f"{len(legs)} addresses asked for their name"),),
        summary=f"{len(legs)} addresses of Services and endpoints have their name",
    )


def _no_answer(purpose: str, summary: str) -> Judge:
    def judge(context: Context) -> Verdict:
        legs = []
        for one in context.lookups.get(purpose, ()):
            leg = leg_of(one)
            observed = f"{one.rcode or one.outcome}, {len(one.answers)} answers"
            if one.outcome == "ok" and one.rcode == "NXDOMAIN" and not one.answers:
                legs.append(passed(leg, "NXDOMAIN, 0 answers", observed))
            elif one.outcome == "error":
                legs.append(broken(leg, f"the probe itself failed on {leg}: {one.detail}"))
            else:
                text = f"{one.src} ({one.src_node}) asked for {one.name}, which does not exist, and got {observed}"
                reason = "unexpected" if one.answers else "wrong-value" if one.outcome == "ok" else one.outcome
                legs.append(failed(leg, reason, text, "NXDOMAIN, 0 answers", observed))
        # The twin must not depend on the server that is under test being alive: silence is a failure, not an error.
        asked = [one for one in context.lookups.get("service", ()) if one.outcome != "error"]
        return Verdict(
            tuple(legs), (control("P2", asked, "existing names were asked for too"),), summary=f"{len(legs)} {summary}"
        )

    return judge


def _external(context: Context, _one: Lookup) -> list[str]:
    found = context.inventory.service("external")
    return [found.external_name] if found else []


def externalname(context: Context) -> Verdict:
    """An ExternalName Service is a CNAME."""
    legs = []
    for one in context.lookups.get("externalname", ()):
        wanted = _external(context, one)
        found = {answer.rstrip(".") for answer in one.answers}
        # A server may append the target's own address records.
        trimmed = one.model_copy(update={"answers": tuple(wanted)}) if wanted and set(wanted) <= found else one
        legs.append(answered(trimmed, leg_of(one), wanted))
    return Verdict(
        tuple(legs),
        (control("P7", context.inventory.service("external"), "the API names the target"),),
        summary=f"{len(legs)} CNAME answers name the external host",
    )


def search(context: Context) -> Verdict:
    """Short names resolve as a C library does it, through the search list."""
    legs = []
    ip_of = {found.name: found.cluster_ip for found in context.inventory.services}
    for one in context.lookups.get("search", ()):
        name = one.name.rstrip(".")
        wanted = (
            str(context.spec.services.api_address)
            if name.startswith("kubernetes.")
            else ip_of.get(name.split(".")[0], "")
        )
        leg = leg_of(one)
        legs.append(answered(one, leg, [wanted]))
    fqdn = [one for one in context.lookups.get("service", ()) if one.outcome != "error"]
    queries = [len(one.queries) for one in context.lookups.get("search", ()) if one.queries]
    cost = f", {min(queries)} to {max(queries)} queries each" if queries else ""
    return Verdict(
        tuple(legs),
        (control("P2", fqdn, "fully qualified names were asked for too"),),
        summary=f"{len(legs)} short names resolve through the search list{cost}",
    )


def tcp(context: Context) -> Verdict:
    """The name server answers over TCP."""
    seen = context.lookups.get("tcp", ())
    legs = [answered(one, leg_of(one), _cluster_ip(context, one)) for one in seen]
    asked = [one for one in context.lookups.get("service", ()) if one.outcome != "error"]
    return Verdict(
        tuple(legs), (control("P2", asked, "UDP queries were asked too"),), summary=f"{len(legs)} answers over TCP"
    )


def large(context: Context) -> Verdict:
    """An answer beyond 1232 bytes arrives whole: over TCP, or with EDNS."""
    legs: list[Leg] = []
    wanted = crowd_addresses()
    for src in sorted({one.src for one in context.lookups.get("large-tcp", ())}):
        by_way = {
            purpose: next((one for one in context.lookups.get(purpose, ()) if one.src == src), None)
            for purpose in ("large-udp", "large-tcp", "large-edns")
        }
        over_tcp, plain, edns = by_way["large-tcp"], by_way["large-udp"], by_way["large-edns"]
        if over_tcp is not None:
            legs.append(answered(over_tcp, leg_of(over_tcp), wanted))
        if plain is not None and plain.outcome == "ok" and not plain.truncated and len(plain.answers) < len(wanted):
            text = f"{src} got {len(plain.answers)} of {len(wanted)} addresses over UDP without the truncation bit"
            legs.append(failed(f"{leg_of(plain)}/tc", "short", text, "truncated", "not truncated"))
        elif plain is not None and plain.outcome == "ok":
            legs.append(
                passed(f"{leg_of(plain)}/tc", "truncated or whole", "truncated" if plain.truncated else "whole")
            )
        if edns is not None:
            size = "truncated" if edns.truncated else f"{len(edns.answers)} addresses"
            legs.append(recorded(f"{leg_of(edns)}/edns", size, f"with EDNS 4096 {src} got {size}"))
    asked = [one for one in context.lookups.get("service", ()) if one.outcome != "error"]
    return Verdict(
        tuple(legs),
        (control("P2", asked, "small answers were asked for too"),),
        summary=f"{len(wanted)} addresses in one answer arrive whole over TCP, with the truncation bit over UDP",
    )


def forward(context: Context) -> Verdict:
    """A name outside the cluster's zone resolves through the router's own server, which saw the query."""
    sightings = context.dumps.get(("recorder", "router", "dns")) or []
    asked = {str(row.get("qname", "")).rstrip(".").lower() for row in sightings}
    legs = []
    for one in context.lookups.get("forward", ()):
        leg = leg_of(one)
        name = one.name.rstrip(".").lower()
        if one.outcome == "ok" and one.rcode in {"NOERROR", "NXDOMAIN"}:
            legs.append(passed(leg, "an answer of the outside server", one.rcode))
        elif one.outcome == "error":
            legs.append(broken(leg, f"the probe itself failed on {leg}: {one.detail}"))
        else:
            text = f"{one.src} ({one.src_node}) asked for {name} outside the cluster and got {one.rcode or one.outcome}"
            legs.append(
                failed(
                    leg,
                    one.outcome if one.outcome != "ok" else "wrong-value",
                    text,
                    "NOERROR",
                    one.rcode or one.outcome,
                )
            )
    fresh = [
        one.name.rstrip(".").lower() for one in context.lookups.get("forward", ()) if one.name.startswith("probe-")
    ]
    reached_outside = any(name in asked for name in fresh)
    # A query that failed cannot have been seen outside: the canary only has to back up success.
    success = any(leg.status == "pass" for leg in legs)
    return Verdict(
        tuple(legs),
        (control("P3", reached_outside or not success, f"the outside server saw {len(asked)} names"),),
        summary=f"{len(legs)} names outside the cluster resolved; the router's server saw {names(sorted(asked))}",
    )


def latency(context: Context) -> Verdict:
    """How long lookups take; recorded."""
    legs = []
    for src in sorted({one.src for one in context.lookups.get("latency", ())}):
        times = [one.ms for one in context.lookups["latency"] if one.src == src and one.outcome == "ok"]
        if len(times) > 1:
            p50, p95 = percentiles(times)
            legs.append(recorded(src, {"p50": p50, "p95": p95}, f"{src}: p50 {p50:.1f} ms, p95 {p95:.1f} ms", "ms"))
    calm, slow = percentiles([1.0] * 20), percentiles([1.0] * 18 + [51.0] * 2)
    return Verdict(
        tuple(legs),
        (control("inv", slow[1] > calm[1] + 40, "a server that is 50 ms slower moves p95"),),
        summary="; ".join(leg.statement for leg in legs),
    )


def percentiles(times: Sequence[float]) -> tuple[float, float]:
    """p50 and p95, milliseconds."""
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return cuts[9], cuts[18]


def resolv_conf(context: Context) -> Verdict:
    """The pod's resolver is configured as the API promises."""
    legs = []
    zone = _zone(context)
    server = context.inventory.node_dns or str(context.spec.services.dns_address)
    wanted = {
        "nameservers": [server],
        "search": [f"{NAMESPACE}.svc.{zone}", f"svc.{zone}", zone],
        "ndots": NDOTS,
    }
    sites = (*context.inventory.pods, *context.inventory.hosts)
    for site in sites:
        text = context.pod_dump(site.name, "resolv-conf")
        if not isinstance(text, str):
            legs.append(broken(site.name, f"/etc/resolv.conf of {site.name} was not read"))
            continue
        found = parse_resolv_conf(text)
        found["search"] = list(found["search"])[:3]
        text = f"/etc/resolv.conf of {site.name} ({site.node}) has {_shown(found)}; expected {_shown(wanted)}"
        legs.append(check_value(site.name, wanted, found, text))
    sample = parse_resolv_conf("# x\nsearch a b\nnameserver 10.0.0.10\noptions ndots:2 timeout:1\n")
    return Verdict(
        tuple(legs),
        (
            control(
                "P5",
                sample == {"nameservers": ["10.0.0.10"], "search": ["a", "b"], "ndots": 2},
                "a stored file is read right",
            ),
        ),
        summary=f"{len(legs)} pods: nameserver {server}, three search domains in order, ndots:5",
    )


def _shown(conf: Mapping[str, Any]) -> str:
    return f"nameserver {names(conf['nameservers'])}, search {' '.join(conf['search'])}, ndots:{conf['ndots']}"


def parse_resolv_conf(text: str) -> dict[str, Any]:
    """nameservers, search list and ndots of a resolv.conf(5)."""
    found: dict[str, Any] = {"nameservers": [], "search": [], "ndots": 1}
    servers: list[str] = []
    for line in text.splitlines():
        match line.split():
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search", *domains]:
                found["search"] = domains
            case ["options", *options]:
                for option in options:
                    if option.startswith("ndots:"):
                        found["ndots"] = int(option.removeprefix("ndots:"))
            case _:
                pass
    found["nameservers"] = servers
    return found


_NEXT = ("dig @{dns} {name}", "dig @{dns_pod} {name}", "kubectl -n kube-system logs deploy/coredns")


def _schema(_context: Context, _one: Lookup) -> list[str]:
    return ["1.1.0"]


CHECKS: tuple[Check, ...] = (
    Check(
        "dns.resolv-conf", "a pod's resolver is configured as promised", "M", "B4", resolv_conf, source=DPS,
        gates=("dns",), causes=("clusterDNS of the kubelet",), next=("cat /etc/resolv.conf",),
    ),
    Check(
        "dns.service", "the address record of every Service is its ClusterIP", "M", "B4", service,
        source=f"{DSD} §2.3.1", gates=("dns",), after=("node.underlay",), causes=("DNS down", "policy"), next=_NEXT,
    ),
    Check(
        "dns.srv", "named ports have SRV records", "M", "B4", srv, source=f"{DSD} §2.3.2, §2.4.2", gates=("dns",),
        after=("node.underlay",), causes=("wrong zone",), next=_NEXT,
    ),
    Check(
        "dns.ptr", "ClusterIPs and endpoints have names", "M", "B4", ptr, source=f"{DSD} §2.3.3, §2.4.3",
        gates=("dns",), after=("node.underlay",), causes=("reverse zone missing",), next=_NEXT,
    ),
    Check(
        "dns.headless", "a headless Service resolves to its ready endpoints", "M", "B4", headless,
        source=f"{DSD} §2.4.1", gates=("dns",), after=("node.underlay",), causes=("endpoint not ready",), next=_NEXT,
    ),
    Check(
        "dns.pod", "the name made of a pod's address is that address", "S", "B4",
        _judge("pod", _pod_address, "give the address that the name spells"), source=DPS, gates=("dns",),
        after=("node.underlay",), causes=("pod records switched off in the name server",), next=_NEXT,
    ),
    Check(
        "dns.headless-empty", "a headless Service without endpoints does not exist", "S", "B4",
        _no_answer("headless-empty", "names without endpoints gave NXDOMAIN"), source=f"{DSD} §2.4.1",
        gates=("dns",), after=("node.underlay",), causes=("wildcard",), next=_NEXT,
    ),
    Check(
        "dns.negative", "unknown names do not exist", "S", "B4", _no_answer("negative", "unknown names gave NXDOMAIN"),
        source="RFC 2308", gates=("dns",), after=("node.underlay",), causes=("forward loop", "wildcard"), next=_NEXT,
    ),
    Check(
        "dns.externalname", "an ExternalName Service is a CNAME", "M", "B4", externalname, source=f"{DSD} §2.5",
        gates=("dns",), after=("node.underlay",), causes=("wrong zone",), next=_NEXT,
    ),
    Check(
        "dns.schema", "the zone names the version of its schema", "M", "B4",
        _judge("schema", _schema, "name schema version 1.1.0"), source=f"{DSD} §2.2", gates=("dns",),
        after=("node.underlay",), causes=("wrong zone",), next=_NEXT,
    ),
    Check(
        "dns.search", "short names resolve through the search list", "M", "B4", search, source=DPS, gates=("dns",),
        after=("node.underlay",), causes=("ndots", "search list cut"), next=("cat /etc/resolv.conf", *_NEXT),
    ),
    Check(
        "dns.tcp", "the name server answers over TCP", "M", "B4", tcp, source="RFC 7766", gates=("dns",),
        after=("node.underlay",), causes=("TCP 53 filtered",), next=("dig +tcp @{dns} {name}",),
    ),
    Check(
        "dns.large", "a large answer arrives whole", "M", "B4", large, source="RFC 6891, RFC 7766", gates=("dns",),
        after=("node.underlay",), causes=("TCP 53 filtered", "fragments lost"),
        next=("dig +bufsize=4096 @{dns} {name}",),
    ),
    Check(
        "dns.forward", "a name outside the cluster resolves", "S", "B4", forward, gates=("dns", "router"),
        after=("node.underlay",), causes=("egress", "upstream of the name server"), next=_NEXT,
    ),
    Check(
        "dns.latency", "how long a lookup takes", "R", "B4", latency, gates=("dns",), after=("node.underlay",),
        inverse="a server that is 50 ms slower moves p95",
    ),
)  # fmt: skip
