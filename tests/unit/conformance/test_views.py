"""A run seen through one family: the views share no address, and together they lose nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from conformance.context import Context
from conformance.families import inventory_of, observations_of
from conformance.inventory import Inventory, NodeFact, ServiceFact, Site
from harness.cni.catalogue import variant
from harness.model.family import FAMILIES, Family, family_of_dial, other, over
from harness.model.records import Dump, Exchange, Lookup, Observation, Packet, Rung, Tap
from harness.model.spec import LabSpec
from tests.unit.conformance import simlab, stored

FOUR = st.ip_addresses(v=4).map(str)
SIX = st.ip_addresses(v=6).map(str).filter(lambda text: "." not in text)
"""An address with dots after its colons is written otherwise, and no cluster has one."""


@st.composite
def addresses(draw: st.DrawFn, first: Family) -> tuple[str, ...]:
    """Addresses of one place: of both families, or of one."""
    each = {"ipv4": draw(FOUR), "ipv6": draw(SIX)}
    kept = draw(st.sampled_from([FAMILIES, ("ipv4",), ("ipv6",)]))
    order: tuple[Family, ...] = (first, other(first))
    return tuple(each[family] for family in order if family in kept)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """A cluster of both families, in which some places have addresses of one alone."""
    first = draw(st.sampled_from(FAMILIES))
    sites, nodes, services = [], [], []
    for number in range(draw(st.integers(1, 4))):
        own = draw(addresses(first))
        sites.append(Site(name=f"p{number}", kind="pod", node="n1", ip=own[0], ips=own, api_ips=own))
    for number in range(draw(st.integers(1, 3))):
        own = draw(addresses(first))
        nodes.append(NodeFact(name=f"n{number}", address=own[0], addresses=own, mtu=1500))
    for number in range(draw(st.integers(0, 3))):
        own = draw(st.one_of(addresses(first), st.just(())))
        spoken = {family_of_dial(address) for address in own} or set(FAMILIES)
        endpoints = [address for site in sites for address in site.ips if family_of_dial(address) in spoken]
        services.append(
            ServiceFact(
                name=f"s{number}", role="x", namespace="x", cluster_ip=own[0] if own else "None", cluster_ips=own,
                endpoints=tuple(site.name for site in sites), endpoint_ips=tuple(endpoints),
            )
        )  # fmt: skip
    return Inventory(families=(first, other(first)), sites=tuple(sites), nodes=tuple(nodes), services=tuple(services))


def held(inventory: Inventory) -> list[str]:
    """All addresses that an inventory names, place by place."""
    found = [address for site in inventory.sites for address in (*(site.ips or (site.ip,)), *site.api_ips)]
    found += [address for node in inventory.nodes for address in node.addresses or (node.address,)]
    for service in inventory.services:
        found += [*service.cluster_ips, *service.endpoint_ips]
    return sorted(filter(None, found))


@given(inventories())
def test_the_views_of_an_inventory_share_no_address_and_lose_none(whole: Inventory) -> None:
    views = {family: inventory_of(whole, family) for family in FAMILIES}
    for family, view in views.items():
        assert view.families == (family,)
        assert {family_of_dial(address) for address in held(view)} <= {family}
        assert [site.name for site in view.sites] == [site.name for site in whole.sites]
        assert [node.name for node in view.nodes] == [node.name for node in whole.nodes]
    assert sorted(held(views["ipv4"]) + held(views["ipv6"])) == held(whole)


@given(inventories())
def test_a_service_is_in_the_views_of_its_families_and_without_an_address_in_all(whole: Inventory) -> None:
    for service in whole.services:
        there = {
            family for family in FAMILIES if service.name in {one.name for one in inventory_of(whole, family).services}
        }
        wanted = {family_of_dial(address) for address in service.cluster_ips}
        assert there == (wanted or set(FAMILIES))


@st.composite
def seen(draw: st.DrawFn) -> Observation:
    """An observation of either family."""
    family = draw(st.sampled_from(FAMILIES))
    address = draw({"ipv4": FOUR, "ipv6": SIX}[family])
    dial = f"{address}:80" if family == "ipv4" else f"[{address}]:80"
    ends = {"batch": "B1", "src": "a", "src_node": "n1", "dst": "b", "dst_node": "n1"}
    match draw(st.sampled_from(("exchange", "rung", "lookup", "tap", "dump"))):
        case "exchange":
            proto = over(draw(st.sampled_from(("tcp", "udp", "icmp"))), family)
            return Exchange(**ends, purpose="mesh", src_ip="", proto=proto, dial=dial, outcome="ok")
        case "rung":
            return Rung(**ends, size=draw(st.integers(28, 9000)), outcome="ok", dial=dial)
        case "lookup":
            return Lookup(
                batch="B4", purpose="service", src="a", src_node="n1", name="x.", qtype="A", transport="udp",
                family=family, server="", outcome="ok",
            )  # fmt: skip
        case "tap":
            packet = Packet(t_us=0, src=address, dst=address, proto="tcp", length=60, ttl=64)
            return Tap(
                batch="B2", flow="a<>b", order=0, node="n1", place="a", interface="eth0", command="", pcap="",
                packets=(packet,),
            )  # fmt: skip
        case _:
            return Dump(batch="B0", vantage="node", place="n1", what="addr", data=[address])


@given(st.lists(seen(), max_size=12), st.sampled_from(FAMILIES))
def test_every_observation_is_in_one_view_and_what_belongs_to_no_family_in_both(
    whole: list[Observation], first: Family
) -> None:
    views = {family: list(observations_of(whole, family, first=family == first)) for family in FAMILIES}
    for one in whole:
        if isinstance(one, Dump):
            assert all(one in view for view in views.values())
    counted = {family: sum(not isinstance(one, Dump | Tap) for one in view) for family, view in views.items()}
    assert sum(counted.values()) == sum(not isinstance(one, Dump | Tap) for one in whole)
    packets = {
        family: [packet for one in view if isinstance(one, Tap) for packet in one.packets]
        for family, view in views.items()
    }
    for family, found in packets.items():
        assert {family_of_dial(packet.src) for packet in found} <= {family}
    assert sum(map(len, packets.values())) == sum(isinstance(one, Tap) for one in whole)
    assert {one.proto for view in views.values() for one in view if isinstance(one, Exchange)} <= {"tcp", "udp", "icmp"}


def test_the_view_of_a_run_of_one_family_is_the_run_itself() -> None:
    run = simlab.context()
    assert run.of("ipv4") is run
    assert run.of("ipv4").entire is run
    lonely = Context(LabSpec(), variant("flannel"), Inventory(nodes=(), sites=()), ())
    assert lonely.of("ipv4") is lonely


def test_a_family_finds_its_own_addresses_by_name() -> None:
    """Also where somebody has looked for a name before the family is looked at."""
    whole = stored.context("flannel-dual")
    assert whole.inventory.by_name["a"].ip == whole.inventory.pods[0].ip
    for family in whole.inventory.families:
        there = whole.of(family).inventory
        assert there.by_name == {site.name: site for site in there.sites}
