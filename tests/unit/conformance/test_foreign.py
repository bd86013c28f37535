"""A cluster that nobody here made: what was not read is unknown there, and never a cause."""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from typing import Any

import pytest

from conformance.causes.explain import of_walk
from conformance.causes.flows import Asked
from conformance.causes.survey import survey
from conformance.context import Context
from conformance.netfilter import Flow
from conformance.path.hop import Walk
from conformance.path.places import World, world
from conformance.path.turns import wanted_device
from conformance.path.walk import walk
from tests.unit.conformance import stored
from tests.unit.conformance.broken_worlds import BROKEN, NETWORK, edit, nothing, rows
from tests.unit.conformance.stored import Change, Dumps

NODES = ("n1", "n2")


def foreign(*changes: Change, network: str = NETWORK) -> Context:
    """The stored cluster, as one of somebody else: no router, and nothing of the suite's in its environment."""
    there = stored.context(network, *changes)
    spec = there.spec.model_copy(update={"provider": "existing"})
    kept = tuple(site for site in there.inventory.sites if site.kind != "outside")
    return replace(there, spec=spec, inventory=there.inventory.model_copy(update={"sites": kept}))


def skipped(there: Context) -> set[str]:
    return {one.name for one in there.inventory.services if one.role in {"itp-local", "moving"}}


def to(there: World, target: str, port: int = 8080) -> Walk:
    """From the pod `a` over TCP to a pod, a node, a Service or an address."""
    inventory = there.context.inventory
    service = next((one for one in inventory.services if one.name == target), None)
    known = {site.name: site.ip for site in inventory.sites} | {node.name: node.address for node in inventory.nodes}
    address = service.cluster_ip if service is not None else known.get(target, target)
    return walk(there, "a", Flow(inventory.by_name["a"].ip, address, dport=service.ports[0].port if service else port))


@pytest.mark.parametrize("network", stored.names())
def test_nothing_is_wrong_with_a_healthy_cluster(network: str) -> None:
    there = foreign(network=network)
    found = survey(there, skipped(there))
    assert [one.sentence for one in found.causes] == []
    assert found.ways > 50


@pytest.mark.parametrize("name", ["route", "drop", "masqueraded", "detached", "pod-route"])
def test_what_is_broken_is_named(name: str) -> None:
    change, _, key = BROKEN[name]
    there = foreign(change)
    first = survey(there, skipped(there)).causes[0]
    assert fnmatch.fnmatch(first.key, key)
    assert first.confidence == "certain"


def drop(place: str, *chains: str) -> Change:
    """Rules of kube-proxy, away."""

    def change(dumps: Dumps) -> None:
        for what in ("rules-iptables", "rules-iptables6"):
            lines = str(dumps[place, what]).splitlines(keepends=True)
            dumps[place, what] = "".join(line for line in lines if not any(chain in line for chain in chains))

    return change


def failed(place: str, what: str) -> Change:
    """A command that the node does not have."""

    def change(dumps: Dumps) -> None:
        dumps[place, what] = {"error": "sh: not found"}

    return change


def ipvs(dumps: Dumps) -> None:
    """The link that has the addresses of Services in the mode IPVS."""
    address = next(one for one in stored.context(NETWORK).inventory.services if one.name == "sole-c").cluster_ip
    info = [{"family": "inet", "local": address, "prefixlen": 32, "scope": "global"}]
    dumps["n1", "addr"].append({"ifname": "kube-ipvs0", "flags": ["NOARP"], "addr_info": info, "mtu": 1500})


def of_kind(place: str, device: str, kind: str) -> Change:
    return edit(place, "addr", lambda row: row["ifname"] == device, linkinfo={"info_kind": kind})


def unlinked(dumps: Dumps) -> None:
    """A pod whose link has no end on its node."""
    for node in NODES:
        for row in dumps[node, "sandboxes"]:
            row["host_veth"] = ""


WITHOUT_PROXY = [drop(node, "KUBE-") for node in NODES]

UNKNOWN: dict[str, tuple[list[Any], str, str]] = {
    "outside": ([], "203.0.113.9", "n1 sends it by eth0 to *, of which nothing was read"),
    "no rules of a proxy": (WITHOUT_PROXY, "sole-c", "what leads packets for Service sole-c on is not known: *"),
    "IPVS": ([*WITHOUT_PROXY, ipvs], "sole-c", "IPVS of n1 decides where packets for * go"),
    "no link": ([unlinked], "c", "how a is linked to n1 is not known: *"),
    "rules that cannot be read": ([failed("n1", "rules-nft")], "c", "the rules of n1 are not known"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_was_not_read_is_unknown(name: str) -> None:
    changes, target, words = UNKNOWN[name]
    taken = to(world(foreign(*changes).of("ipv4")), target)
    assert taken.troubles == ()
    assert len(taken.unknown) == 1
    assert fnmatch.fnmatch(taken.unknown[0], words), taken.unknown


def test_a_tunnel_that_is_not_the_networks_own_is_not_followed() -> None:
    there = foreign(of_kind("n1", "eth0", "wireguard"))
    taken = to(world(there.of("ipv4")), "n2")
    assert (taken.troubles, taken.unknown) == ((), ("what eth0 of n1 (wireguard) does cannot be evaluated",))


def test_a_node_may_send_what_is_for_others_by_any_of_its_links() -> None:
    theirs, ours = (world(one.of("ipv4")) for one in (foreign(), stored.context(NETWORK)))
    for address in ("203.0.113.9", theirs.context.inventory.node("n2").address):
        assert wanted_device(theirs, theirs.places["n1"], address) == ""
        assert wanted_device(ours, ours.places["n1"], address) == "eth0"


def test_rules_of_a_proxy_on_one_node_show_that_the_other_lacks_them() -> None:
    (found,) = to(world(foreign(drop("n1", "KUBE-")).of("ipv4")), "sole-c").troubles
    assert (found.kind, found.place) == ("service.rules", "n1")


@pytest.mark.parametrize("what", ["programs", "queues"])
def test_where_programs_cannot_be_read_a_cause_is_only_possible(what: str) -> None:
    there = world(foreign(BROKEN["drop"][0], failed("n1", what)).of("ipv4"))
    taken = to(there, "c")
    (unread,) = taken.unread
    assert unread.endswith("of n1 could not be read: sh: not found")
    (cause,) = of_walk(there, Asked("a", "c", "ipv4", Flow(there.places["a"].held[0], "")), taken, arrived=False)
    assert cause.confidence == "possible"
    assert cause.sentence.endswith(f" (not certain, as {unread})")


def test_a_node_of_ours_has_the_tools() -> None:
    there = world(stored.context(NETWORK, failed("n1", "programs"), rows("n1", "neigh", nothing)).of("ipv4"))
    assert there.places["n1"].unread == ""
