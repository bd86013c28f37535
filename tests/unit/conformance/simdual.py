"""The simulated lab with both IP families, and with IPv6 alone: an answer over IPv6 is the twin of the IPv4 answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from conformance.context import Context, saved
from conformance.families import BOTH_TYPES, OF_A_FAMILY, planned
from conformance.inventory import ApiServer, Inventory, NodeFact, ServiceFact, Site
from harness.cni.catalogue import of
from harness.model.disturbed import Removal, Restart, Rounds
from harness.model.family import Family, family_of_dial, family_of_proto
from harness.model.records import Dump, Exchange, Lookup, Observation, Rung, Tap
from harness.model.spec import LabSpec
from harness.probes.plan import BindProbe, ExchangeProbe, LookupProbe, Probe
from tests.unit.conformance import simdisturbed, simlab
from tests.unit.conformance.parts import EDGES, OF_NO_FAMILY, nothing, part, put, put_data
from tests.unit.conformance.twins import back, back_probe, forth, forth_data, forth_text, twin

SPECS: Final[Mapping[str, LabSpec]] = {
    "dual": LabSpec(nodes=2, ip_family="dual"),
    "ipv6": LabSpec(nodes=2, ip_family="ipv6"),
}
LARGEST: Final = simlab.MTU - 70
"""What the tunnel over IPv6 leaves; flannel gives pods' links what a tunnel over IPv4 leaves, which is declared."""


def _site(site: Site, families: tuple[Family, ...]) -> Site:
    each = {"ipv4": site.ip, "ipv6": twin(site.ip)}
    own = tuple(each[family] for family in families)
    return site.model_copy(update={"ip": own[0], "ips": own, "api_ips": own if site.api_ips else ()})


def _node(node: NodeFact, families: tuple[Family, ...]) -> NodeFact:
    address = {"ipv4": node.address, "ipv6": twin(node.address)}
    share = {"ipv4": node.pod_cidr, "ipv6": forth_text(node.pod_cidr)}
    addresses, shares = ([each[family] for family in families] for each in (address, share))
    return node.model_copy(
        update={
            "address": addresses[0], "addresses": tuple(addresses), "pod_cidr": shares[0], "pod_cidrs": tuple(shares),
        }
    )  # fmt: skip


def _service(service: ServiceFact, families: tuple[Family, ...]) -> ServiceFact:
    alone = service.cluster_ip in {"", "None"}
    each = {"ipv4": (service.cluster_ip, service.endpoint_ips)}
    each["ipv6"] = (twin(service.cluster_ip), tuple(map(twin, service.endpoint_ips)))
    own = tuple(each[family][0] for family in families)
    return service.model_copy(
        update={
            "cluster_ip": own[0], "cluster_ips": () if alone else own,
            "endpoint_ips": tuple(address for family in families for address in each[family][1]),
        }
    )  # fmt: skip


def inventory(families: tuple[Family, ...]) -> Inventory:
    """What is there."""
    four = simlab.inventory()
    return four.model_copy(
        update={
            "families": families,
            "sites": tuple(_site(site, families) for site in four.sites),
            "nodes": tuple(_node(node, families) for node in four.nodes),
            "services": tuple(_service(service, families) for service in four.services),
            "node_dns": four.node_dns if families[0] == "ipv4" else twin(four.node_dns),
            "api": four.api if families[0] == "ipv4" else _api(four.api),
        }
    )


def _api(api: ApiServer | None) -> ApiServer | None:
    """The API server's Service has one family, the primary one."""
    return None if api is None else ApiServer.model_validate(forth_data(api.model_dump(mode="json")))


class Lab:
    """Answers probes of all its families.

    Args:
        name: dual or ipv6.
    """

    def __init__(self, name: str) -> None:
        self.spec = SPECS[name]
        self.families = self.spec.families
        self.variant = of(self.spec)
        self.inventory = inventory(self.families)
        self.four = simlab.Lab()
        self.context = Context(self.spec, self.variant, self.inventory, ())

    def observations(self) -> list[Observation]:
        """A green run of all batches."""
        seen: list[Observation] = [*saved(self.inventory, self.variant), *self._joined(self.four.dumps())]
        asked: list[Observation] = []
        for batch, make in simlab.BATCHES.items():
            plans = planned(self.inventory, lambda there, make=make: make(self.context.of(there.family)))  # type: ignore[misc]
            for name, probes in plans.items():
                asked += [self._answer(batch[:2], name, probe) for probe in probes]
        afterwards = {family: self._afterwards(asked, family) for family in self.families}
        return [*seen, *asked, *_merged(afterwards)]

    def _answer(self, batch: str, name: str, probe: Probe) -> Observation:
        site = self.four.inventory.by_name[name]
        if _family(probe) == "ipv4":
            return self._both(self.four.answer(batch, site, probe))
        found = forth(self.four.answer(batch, site, back_probe(probe)))
        if isinstance(found, Rung) and found.purpose == "ladder":
            return _ladder(found)
        if isinstance(probe, BindProbe) and isinstance(found, Exchange):
            return found.model_copy(update={"dial": f"[::]:{probe.port}"})
        return found.model_copy(update={"server": self.inventory.node_dns}) if isinstance(found, Lookup) else found

    def _both(self, one: Observation) -> Observation:
        """What a C library asks has answers of both families; the API's own Service has one."""
        if not isinstance(one, Lookup) or one.qtype != BOTH_TYPES or one.name.startswith("kubernetes."):
            return one
        told = {query.name: tuple(map(twin, query.answers)) for query in one.queries if query.qtype == "A"}
        queries = (
            query.model_copy(update={"answers": told[query.name]}) if query.qtype == "AAAA" else query
            for query in one.queries
        )
        answers = (*one.answers, *map(twin, one.answers))
        return one.model_copy(update={"answers": answers, "queries": tuple(queries)})

    def _afterwards(self, asked: Sequence[Observation], family: Family) -> list[Observation]:
        own = [one for one in asked if isinstance(one, Exchange | Lookup) and _family_of(one) == family]
        if family == "ipv4":
            return self.four.afterwards(own)
        return [self._over_ipv6(one) for one in self.four.afterwards([back(one) for one in own])]

    def _over_ipv6(self, one: Observation) -> Observation:
        """What is left on a bare node is that of the lab, whose underlay has ranges of its own."""
        return simdisturbed.removal(self.context, one.src) if isinstance(one, Removal) else forth(one)

    def _joined(self, dumps: Sequence[Observation]) -> list[Observation]:
        """Dumps of the IPv4 lab, and their twins, as one kernel has them."""
        made: list[Observation] = []
        for one in dumps:
            assert isinstance(one, Dump)
            if one.what in OF_NO_FAMILY:
                made.append(one if self.families[0] == "ipv4" else forth(one))
            elif one.what in OF_A_FAMILY:
                made += [one] if "ipv4" in self.families else []
                made.append(forth(one).model_copy(update={"what": f"{one.what}6"}))
            else:
                empty = one.model_copy(update={"data": nothing(one.what, one.data)})
                whole = put_data(empty, one.data, "ipv4") if "ipv4" in self.families else empty
                made.append(_tunnel(put_data(whole, one.data, "ipv6")))
        return made


def _ladder(rung: Rung) -> Rung:
    """A step of a ladder over IPv6: between nodes the tunnel refuses what is too long, on one node a link does."""
    limit = simlab.LARGEST if rung.src_node == rung.dst_node else LARGEST
    fits = rung.size <= limit
    told = {"reported_mtu": None if fits else limit, "origin": "" if fits else "icmp"}
    return rung.model_copy(
        update={"outcome": "ok" if fits else "msgsize", "errno": 0 if fits else 90, "intact": fits or None, **told}
    )


def _tunnel(one: Dump) -> Dump:
    """The kernel gives a tunnel over IPv6 no larger MTU than its underlay leaves."""
    if one.what != "addr":
        return one
    rows = [row | {"mtu": LARGEST} if row["ifname"] == "flannel-v6.1" else row for row in one.data]
    return one.model_copy(update={"data": rows})


def _merged(found: Mapping[Family, Sequence[Observation]]) -> list[Observation]:
    """What was seen afterwards in each family, as one run has it."""
    if len(found) == 1:
        return [_policies(one, {}) for one in next(iter(found.values()))]
    made: list[Observation] = []
    for one, six in zip(found["ipv4"], found["ipv6"], strict=True):
        match one, six:
            case Tap(), Tap():
                made.append(one.model_copy(update={"packets": (*one.packets, *six.packets)}))
            case Dump(what="sightings" | "dns" | "strays" | "node-loss"), Dump():
                made.append(one.model_copy(update={"data": [*one.data, *six.data]}))
            case Dump(), Dump():
                made.append(_policies(one, six.data))
            case Restart() | Rounds() | Removal(), _:
                made.append(one)  # nodes and agents belong to no family
            case Lookup(), _:
                made.append(one)  # the name server is asked over one family
            case _:
                made += [one, six]
    return made


def _policies(one: Observation, other_data: Any) -> Observation:
    """The record of policies says all addresses of everybody."""
    if not isinstance(one, Dump) or one.what != "policy":
        return one
    six = {row["name"]: row["ip"] for row in other_data.get("endpoints", ())}
    endpoints = [row | {"ips": [ip for ip in (row["ip"], six.get(row["name"])) if ip]} for row in one.data["endpoints"]]
    return one.model_copy(update={"data": one.data | {"endpoints": endpoints}})


def _family(probe: Probe) -> Family:
    if isinstance(probe, ExchangeProbe | BindProbe):
        return family_of_proto(probe.proto)
    return probe.family if isinstance(probe, LookupProbe) else family_of_dial(probe.target.address)


def _family_of(one: Exchange | Lookup) -> Family:
    return one.family if isinstance(one, Lookup) else family_of_proto(one.proto)


@cache
def observations(name: str) -> tuple[Observation, ...]:
    """A green run of a lab."""
    return tuple(Lab(name).observations())


def context(name: str, seen: Sequence[Observation] | None = None) -> Context:
    """A run of a lab as data."""
    spec = SPECS[name]
    return Context(spec, of(spec), inventory(spec.families), observations(name) if seen is None else tuple(seen))


@cache
def green(name: str) -> Context:
    """The green run of a lab; tests share it and leave it as it is."""
    return context(name)


@cache
def parts(name: str, family: Family) -> tuple[Observation | None, ...]:
    """Of every record of a green run what is of a family."""
    return tuple(part(one, family, SPECS[name].families) for one in observations(name))


def changed(name: str, family: Family, *changes: Callable[[Observation], Observation | None]) -> Context:
    """A green run of which one family is changed, as `simlab.changed` changes the lab of IPv4 alone."""
    seen: list[Observation] = []
    for one, before in zip(observations(name), parts(name, family), strict=True):
        current = before
        for change in changes:
            current = change(current) if current is not None else None
        if before is None or current is before or current == before:
            seen.append(one)
        elif current is not None:
            seen.append(put(one, current, family))
    return context(name, seen)


def said(leg: str, family: Family) -> str:
    """The name of a leg of the lab of IPv4 alone, in a family of these labs."""
    if family == "ipv4":
        return leg
    for narrow, wide in EDGES.items():
        leg = leg.removesuffix(f"/{wide}") + f"/{narrow}" if leg.endswith(f"/{wide}") else leg
    return f"{forth_text(leg)}/ipv6"
