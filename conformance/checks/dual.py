"""What two IP families have to do with each other, and what IPv6 has that IPv4 has not.

Everything else is judged for each family by the check that it is about: see `conformance.families`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from conformance.asked import unreported
from conformance.context import Context
from conformance.dumps import INET, addresses, by_name, reason, rows, unread
from conformance.families import leg_of
from conformance.inventory import ServiceFact, Site
from conformance.legs import (
    census,
    check_value,
    control,
    evidence_of,
    failed,
    names,
    passed,
    reached,
    recorded,
    undialled,
    where,
)
from conformance.model import Check, Verdict
from conformance.pairs import first_pods, ladder_pairs, node_pairs
from harness.model.family import TITLE, Family, family_of_dial
from harness.model.records import Exchange, Leg
from harness.probes.plan import ExchangeProbe, Probe

DS = 'Kubernetes documentation, "IPv4/IPv6 dual-stack"'


def pod_ips(context: Context) -> Verdict:
    """A pod has one address of each family in the order of the cluster, and its kernel has what the API says."""
    whole = context.entire
    legs: list[Leg] = []
    for site in whole.inventory.pods:
        read = whole.attempt("pod", site.name, "addr")
        link = by_name(read).get("eth0")
        if link is None:
            legs.append(unread(site.name, where(site), "addr", read))
            continue
        kernel = {family: addresses(link, family=INET[family]) for family in whole.inventory.families}
        said: list[Family] = [family_of_dial(one) for one in site.api_ips]
        order = list(whole.inventory.families)
        text = f"pod {site.name} on {site.node} has {names(site.api_ips)} in the API: one address of each family, "
        text += f"{TITLE[order[0]]} first, is required"
        legs.append(check_value(f"{site.name}/order", order, said, text))
        for family in order:
            wanted = [one for one in site.api_ips if family_of_dial(one) == family]
            text = f"eth0 of pod {site.name} on {site.node} has {names(kernel[family])}, the API says {names(wanted)}"
            good = bool(wanted) and sorted(wanted) == sorted(kernel[family])
            leg = leg_of(f"{site.name}/kernel", family)
            legs.append(
                passed(leg, wanted, kernel[family], "ip")
                if good
                else failed(leg, "wrong-value" if kernel[family] else "missing", text, wanted, kernel[family], "ip")
            )
    examined = {leg.leg.partition("/")[0] for leg in legs if leg.status != "error"}
    return Verdict(
        tuple(legs),
        (census(len(examined), len(whole.inventory.pods), "pods"),),
        summary=f"{len(examined)} pods have one address of each family, {_order(whole)}, in the kernel and in the API",
    )


def _order(context: Context) -> str:
    return f"{' before '.join(TITLE[family] for family in context.inventory.families)}"


def _asked_for_both(context: Context) -> list[ServiceFact]:
    return [one for one in context.inventory.services if one.cluster_ip not in {"", "None"}]


def service(context: Context) -> Verdict:
    """A Service that asks for both families has a ClusterIP of each, and each of them answers."""
    whole = context.entire
    legs: list[Leg] = []
    order = list(whole.inventory.families)
    for one in _asked_for_both(whole):
        said = [family_of_dial(address) for address in one.cluster_ips or (one.cluster_ip,)]
        text = f"Service {one.name} has {names(one.cluster_ips)}: it requires both families, {TITLE[order[0]]} first"
        legs.append(check_value(f"{one.name}/families", order, said, text))
    seen: list[Exchange | None] = []
    for family in order:
        view = whole.of(family)
        for site, target in _virtual(view):
            found = view.exchange("vip", site.name, target.name, "tcp")
            seen.append(found)
            legs.append(_named(reached(view, found, f"{site.name}>{target.name}/tcp"), family))
    working = [leg for leg in legs if ">" in leg.leg and leg.status == "pass"]
    return Verdict(
        tuple(legs),
        (control("P2", working or not seen, f"{len(working)} virtual addresses answer"),),
        evidence_of(seen, legs),
        summary=f"{len(_asked_for_both(whole))} Services have both families, {_order(whole)}; "
        f"{len(working)} virtual addresses answer",
    )


def _virtual(view: Context) -> Iterator[tuple[Site, ServiceFact]]:
    """The first pod of each node, and every Service whose one backend is elsewhere."""
    for site in first_pods(view.inventory):
        for one in view.inventory.services:
            if one.role.startswith("sole-") and site.name not in one.endpoints:
                yield site, one


def _named(leg: Leg, family: Family) -> Leg:
    return leg.model_copy(update={"leg": leg_of(leg.leg, family)})


def same_reach(context: Context) -> Verdict:
    """What is connected in one family is connected in the other."""
    whole = context.entire
    four, six = whole.of("ipv4"), whole.of("ipv6")
    legs: list[Leg] = []
    seen: list[Exchange | None] = []
    pairs = ladder_pairs(whole.inventory)
    for src, dst in pairs:
        found = {view.family: view.exchange("mesh", src.name, dst.name, "tcp") for view in (four, six)}
        leg = f"{src.name}>{dst.name}/tcp"
        lost = [view for view in (four, six) if found[view.family] is None and view.site(dst.name).ip]
        if lost:
            legs.append(undialled(lost[0], leg))
            continue
        ends = {family: one.outcome if one is not None else "no address" for family, one in found.items()}
        seen += [one for one in found.values() if one is not None and one.outcome != "ok"]
        good = {family: end for family, end in ends.items() if end == "ok"}
        if len(good) != 1:  # works in both, or in none: that is for the checks of each
            legs.append(passed(leg, "the same in both", ends))
            continue
        works = next(iter(good))
        fails = next(family for family in ends if family != works)
        text = (
            f"{src.name} ({src.node}) reaches {dst.name} ({dst.node}) over {TITLE[works]}, "
            f"but over {TITLE[fails]} it ends with {ends[fails]}"
        )
        legs.append(failed(leg, str(ends[fails]), text, "the same in both", ends))
    works_somewhere = any(one.outcome == "ok" for view in (four, six) for one in view.exchanges.get("mesh", ()))
    return Verdict(
        tuple(legs),
        (
            control("P2", works_somewhere, "some pair is connected in some family"),
            census(sum(leg.status != "error" for leg in legs), len(pairs), "pairs"),
        ),
        evidence_of(seen, legs),
        summary=f"{len(legs)} pairs of pods are connected in both families alike",
    )


def extensions(context: Context) -> Verdict:
    """Packets with options for their destination, and fragments, pass; options for every hop are recorded."""
    view = context.entire.of("ipv6")
    wanted = {"destination": "extension-destination", "hop-by-hop": "extension-hop-by-hop", "fragment": "fragmented"}
    legs: list[Leg] = []
    seen: list[Exchange] = []
    for kind, purpose in wanted.items():
        for one in view.exchanges.get(purpose, ()):
            size = f"/{one.sent or one.received}" if kind == "fragment" else ""
            leg = reached(view, one, "").model_copy(update={"leg": f"{one.src}>{one.dst}/{kind}{size}"})
            if leg.status == "fail" and kind == "hop-by-hop":
                text = f"{leg.statement}, with a header of options for every hop: a router may drop such packets"
                leg = recorded(leg.leg, one.outcome, text)
            seen.append(one)
            legs.append(leg)
        legs += unreported(view, purpose, partial(_extended, kind=kind))
    pairs = len(node_pairs(view.inventory))
    return Verdict(
        tuple(legs),
        (
            control("P2", any(one.outcome == "ok" for one in view.exchanges.get("mesh", ())), "plain packets pass"),
            census(len({(one.src, one.dst) for one in seen if "destination" in one.purpose}), pairs, "node pairs"),
        ),
        evidence_of(seen, legs),
        summary=f"{len(legs)} kinds of packets with an extension header between {pairs} node pairs",
    )


def _extended(src: str, probe: Probe, kind: str) -> str:
    if not isinstance(probe, ExchangeProbe):
        return src
    return f"{src}>{probe.target.name}/{kind}" + (f"/{probe.size}" if kind == "fragment" else "")


def dad(context: Context) -> Verdict:
    """No IPv6 address is tentative or a duplicate, and none came by router advertisement."""
    view = context.entire.of("ipv6")
    legs: list[Leg] = []
    places = [("pod", site.name, where(site)) for site in view.inventory.pods]
    places += [("node", node.name, node.name) for node in view.inventory.nodes]
    for vantage, name, shown in places:
        read = view.attempt(vantage, name, "addr")
        if not rows(read) or reason(read):
            legs.append(unread(name, shown, "addr", read))
            continue
        odd = sorted(_odd(read))
        text = f"{shown} has {names(odd)}"
        legs.append(passed(name, 0, 0, "count") if not odd else failed(name, "unexpected", text, 0, len(odd), "count"))
    sample = [{"ifname": "x", "addr_info": [{"family": "inet6", "local": "fd00::1", "dadfailed": True}]}]
    return Verdict(
        tuple(legs),
        (
            census(sum(leg.status != "error" for leg in legs), len(places), "places"),
            control("P5", list(_odd(sample)) == ["fd00::1 (duplicate) on x"], "a stored duplicate is found"),
        ),
        summary=f"{len(legs)} pods and nodes: all IPv6 addresses are settled, and none came by router advertisement",
    )


def _odd(read: Any) -> Iterator[str]:
    """Addresses that are not to be counted on."""
    for link in rows(read):
        for info in link.get("addr_info") or ():
            if info.get("family") != INET["ipv6"]:
                continue
            words = [word for key, word in _FLAGS.items() if info.get(key)]
            if info.get("scope") == "link":  # the kernel makes these itself, as advertised ones are made
                words = [word for word in words if word != _FLAGS["dynamic"]]
            if words:
                yield f"{info.get('local')} ({', '.join(words)}) on {link.get('ifname')}"


_FLAGS = {"dadfailed": "duplicate", "tentative": "tentative", "dynamic": "from a router advertisement"}
"""Flags of addresses as ip(8) has them in JSON, and what they mean (RFC 4862)."""


CHECKS: tuple[Check, ...] = (
    Check(
        "dual.pod-ips", "a pod has one address of each family, in the cluster's order", "M", "B0", pod_ips,
        source=f"{DS}; core/v1 podIPs", gates=("dual", "node"), once=True,
        causes=("the network gives addresses of one family", "a setting that switched IPv6 off in the pod"),
        next=("nsenter -t {pid} -n ip addr  # on {node}", "kubectl get pod -A -o jsonpath='{..podIPs}'",
              "cat /etc/cni/net.d/*"),
    ),
    Check(
        "dual.service", "a Service with both families has a virtual address of each, and both answer", "M", "B3",
        service, source=f"{DS}; KEP-563", gates=("dual", "svc"), once=True, after=("node.underlay",),
        causes=("a Service proxy that serves one family",),
        next=("kubectl get service -o yaml", "ip6tables-save -t nat", "nft list table ip6 kube-proxy"),
    ),
    Check(
        "v6.reach", "what is connected over one family is connected over the other", "M", "B1", same_reach,
        source=DS, gates=("dual",), once=True, after=("node.underlay",),
        causes=("forwarding of IPv6 is off", "a route, rule or tunnel of one family is missing"),
        next=("sysctl net.ipv6.conf.all.forwarding", "ip -6 route get {destination}", "ip6tables-save -c"),
    ),
    Check(
        "v6.extensions", "packets with extension headers pass between nodes", "S", "B1", extensions,
        source="RFC 7045 §2.1; RFC 8200 §4", gates=("v6", "multi"), once=True, needs=("B2",),
        after=("node.underlay", "model.pod-pod.cross-node"),
        causes=("a filter that knows TCP, UDP and ICMPv6 only", "hardware that does not look behind the first header"),
        next=("ip6tables-save -c", "nft list ruleset"),
    ),
    Check(
        "v6.dad", "no IPv6 address is tentative or a duplicate, and none came by router advertisement", "S", "B0", dad,
        source="RFC 4862 §5.4", gates=("v6", "node"), once=True,
        causes=("two links with one MAC address", "a router on the pods' link"),
        next=("ip -6 addr", "sysctl -a | grep -E 'accept_ra|accept_dad'"),
    ),
)  # fmt: skip
