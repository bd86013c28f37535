"""The way to a DNS answer: resolv.conf, the search list, TCP, large answers, names that do not exist or lie outside."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from conformance.asked import unreported
from conformance.checks.dns import DPS, DSD, NEXT, answered, cluster_ip_of, leg_of, others_asked, zone_of
from conformance.context import Context
from conformance.dumps import unread
from conformance.legs import broken, check_value, control, failed, names, passed, recorded, where
from conformance.manifests import crowd_addresses
from conformance.model import Check, Judge, Verdict
from harness.model.records import Leg, Lookup

NDOTS = 5


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
        legs += unreported(context, purpose)
        return Verdict(
            tuple(legs),
            (control("P2", others_asked(context), "existing names were also queried"),),
            summary=f"{len(legs)} {summary}",
        )

    return judge


def search(context: Context) -> Verdict:
    """Short names resolve as a C library does it, through the search list."""
    legs = []
    ip_of = {found.name: found.cluster_ip for found in context.inventory.services}
    for one in context.lookups.get("search", ()):
        name = one.name.rstrip(".")
        wanted = _of_api(context) if name.startswith("kubernetes.") else [ip_of.get(name.split(".")[0], "")]
        legs.append(answered(one, leg_of(one), wanted))
    legs += unreported(context, "search")
    queries = [len(one.queries) for one in context.lookups.get("search", ()) if one.queries]
    cost = f", {min(queries)} to {max(queries)} queries each" if queries else ""
    return Verdict(
        tuple(legs),
        (control("P2", others_asked(context), "fully qualified names were also queried"),),
        summary=f"{len(legs)} short names resolve through the search list{cost}",
    )


def _of_api(context: Context) -> list[str]:
    """Addresses of the API server's own Service: it has one family, the primary one."""
    primary = context.entire.family
    return [str(context.spec.services.api_address(primary))] if context.family == primary else []


def tcp(context: Context) -> Verdict:
    """The name server answers over TCP."""
    seen = context.lookups.get("tcp", ())
    legs = [answered(one, leg_of(one), cluster_ip_of(context, one)) for one in seen]
    legs += unreported(context, "tcp")
    return Verdict(
        tuple(legs),
        (control("P2", others_asked(context), "UDP queries were also sent"),),
        summary=f"{len(legs)} answers over TCP",
    )


def large(context: Context) -> Verdict:
    """An answer beyond 1232 bytes arrives whole: over TCP, or with EDNS."""
    wanted = crowd_addresses(context.family)
    legs = [answered(one, leg_of(one), wanted) for one in context.lookups.get("large-tcp", ())]
    legs += [_cut(one, len(wanted)) for one in context.lookups.get("large-udp", ())]
    for one in context.lookups.get("large-edns", ()):
        size = "truncated" if one.truncated else f"{len(one.answers)} addresses"
        legs.append(recorded(f"{leg_of(one)}/edns", size, f"with EDNS 4096 {one.src} got {size}"))
    for purpose, ending in (("large-tcp", ""), ("large-udp", "/tc"), ("large-edns", "/edns")):
        legs += [leg.model_copy(update={"leg": f"{leg.leg}{ending}"}) for leg in unreported(context, purpose)]
    return Verdict(
        tuple(legs),
        (control("P2", others_asked(context), "small answers were also requested"),),
        summary=f"{len(wanted)} addresses in one answer arrive whole over TCP, with the truncation bit over UDP",
    )


def _cut(one: Lookup, wanted: int) -> Leg:
    """Over UDP an answer that is too long says so; a server that is silent over UDP is for other checks to judge."""
    leg = f"{leg_of(one)}/tc"
    if one.outcome == "error":
        return broken(leg, f"the probe itself failed on {leg}: {one.detail}")
    if one.outcome != "ok":
        return recorded(leg, one.outcome, f"{one.src} asked for {one.name} over UDP: {one.outcome}")
    if not one.truncated and len(one.answers) < wanted:
        text = f"{one.src} got {len(one.answers)} of {wanted} addresses over UDP without the truncation bit"
        return failed(leg, "short", text, "truncated", "not truncated")
    return passed(leg, "truncated or whole", "truncated" if one.truncated else "whole")


def forward(context: Context) -> Verdict:
    """A name outside the cluster's zone resolves through the router's own server, which saw the query."""
    sightings = context.read("recorder", "router", "dns") or []
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
    legs += unreported(context, "forward")
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
    seen = context.lookups.get("latency", ())
    legs = []
    for src in sorted({one.src for one in seen}):
        times = [one.ms for one in seen if one.src == src and one.outcome == "ok"]
        if len(times) > 1:
            p50, p95 = percentiles(times)
            legs.append(recorded(src, {"p50": p50, "p95": p95}, f"{src}: p50 {p50:.1f} ms, p95 {p95:.1f} ms", "ms"))
        else:
            asked = sum(one.src == src for one in seen)
            legs.append(recorded(src, len(times), f"{src}: {len(times)} of {asked} lookups were answered", "count"))
    legs += unreported(context, "latency")
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
    zone = zone_of(context)
    server = context.inventory.node_dns or str(context.spec.services.dns_address(context.spec.primary))
    wanted = {
        "nameservers": [server],
        "search": [f"{context.inventory.namespace}.svc.{zone}", f"svc.{zone}", zone],
        "ndots": NDOTS,
    }
    sites = (*context.inventory.pods, *context.inventory.hosts)
    for site in sites:
        text = context.attempt("pod", site.name, "resolv-conf")
        if not isinstance(text, str):
            legs.append(unread(site.name, where(site), "resolv-conf", text))
            continue
        found = _configured(text)
        text = f"/etc/resolv.conf of {site.name} ({site.node}) has {_shown(found)}; expected {_shown(wanted)}"
        legs.append(check_value(site.name, wanted, found, text))
    sample = _configured("# x\nsearch a b c d\nnameserver 10.0.0.10\noptions ndots:2 timeout:1\n")
    return Verdict(
        tuple(legs),
        (
            control(
                "P5",
                sample == {"nameservers": ["10.0.0.10"], "search": ["a", "b", "c"], "ndots": 2},
                "a stored file is read right",
            ),
        ),
        summary=f"{len(legs)} pods: nameserver {server}, three search domains in order, ndots:5",
    )


def _configured(text: str) -> dict[str, Any]:
    """What a pod's file is held against: of its search list the part that is the cluster's, not the node's."""
    found = parse_resolv_conf(text)
    return found | {"search": list(found["search"])[:3]}


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


CHECKS: tuple[Check, ...] = (
    Check(
        "dns.resolv-conf", "a pod's resolver is configured as Kubernetes requires", "M", "B4", resolv_conf, source=DPS,
        once=True, gates=("dns",), causes=("clusterDNS of the kubelet",), next=("cat /etc/resolv.conf",),
    ),
    Check(
        "dns.headless-empty", "the name of a headless Service without endpoints does not exist", "S", "B4",
        _no_answer("headless-empty", "names without endpoints gave NXDOMAIN"), source=f"{DSD} §2.4.1",
        gates=("dns",), after=("node.underlay",), causes=("wildcard",), next=NEXT,
    ),
    Check(
        "dns.negative", "unknown names do not exist", "S", "B4", _no_answer("negative", "unknown names gave NXDOMAIN"),
        source="RFC 2308", gates=("dns",), after=("node.underlay",), causes=("forward loop", "wildcard"), next=NEXT,
    ),
    Check(
        "dns.search", "short names resolve through the search list", "M", "B4", search, source=DPS, gates=("dns",),
        after=("node.underlay",), causes=("ndots", "search list cut"), next=("cat /etc/resolv.conf", *NEXT),
    ),
    Check(
        "dns.tcp", "the name server answers over TCP", "M", "B4", tcp, source="RFC 7766", gates=("dns",),
        after=("node.underlay",), causes=("TCP 53 filtered",), next=("dig +tcp @{dns} {name}",),
    ),
    Check(
        "dns.large", "a large answer arrives complete", "M", "B4", large, source="RFC 6891, RFC 7766",
        gates=("dns", "slices"),
        after=("node.underlay",), causes=("TCP 53 filtered", "fragments lost"),
        next=("dig +bufsize=4096 @{dns} {name}",),
    ),
    Check(
        "dns.forward", "a name outside the cluster resolves", "S", "B4", forward, gates=("dns", "router"),
        after=("node.underlay",), causes=("egress", "upstream of the name server"), next=NEXT,
    ),
    Check(
        "dns.latency", "how long a lookup takes", "R", "B4", latency, gates=("dns",), after=("node.underlay",),
        inverse="a server that is 50 ms slower moves p95",
        once=True,
    ),
)  # fmt: skip
