"""One judge for both families: what is green in one is green in the other, and a defect is seen where it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from conformance.context import Context, restore
from conformance.families import family_of_leg
from conformance.inventory import Inventory, NodeFact
from conformance.judging import judge_all
from conformance.registry import CHECKS
from harness.model.family import Family, other
from harness.model.records import Observation, Packet, Result, Tap
from tests.unit.conformance import simdual, simlab
from tests.unit.conformance.broken import BROKEN_CONTROLS, CASES, DUAL_CASES, Broken, rungs
from tests.unit.conformance.test_green import APPLICABLE
from tests.unit.conformance.twins import untwin

LABS = [
    (name, check)
    for name in simdual.SPECS
    for check in [*APPLICABLE, *(check.id for check in CHECKS.values() if {"v6", "dual"} & set(check.gates))]
    if simdual.green(name).gates.get("dual") or "dual" not in CHECKS[check].gates
]

SENSELESS = {
    "reverse path filtering is strict": "the kernel has no such filter for IPv6",
    "the neighbour table is too small": "IPv6 has a table of its own, and a defect of its own beside this one",
}
"""Defects that are none in IPv6."""

DECLARED = {
    "a link has another MTU": "flannel's pods have links that are too long for IPv6, whatever they are",
    "the segment size is clamped": "their first SYN over IPv6 announces too much",
}
"""Defects of IPv6 that cannot be told from what the variant declares."""

SHARED = {
    "a host firewall's own chain rejects what iptables accepts": "an inet table is for both",
    "a node's NIC drops what is longer than 1400 bytes": "a device belongs to no family",
    "the loopback of a pod is down": "a link belongs to no family",
    "a link has another MTU": "a link belongs to no family",
    "a pod's veth is not a port of the bridge": "a link belongs to no family",
    "a host-network pod is not": "a network namespace belongs to no family",
    "the agent does not come back": "an agent belongs to no family",
}
"""Defects that both families have."""


@pytest.mark.parametrize(("name", "check"), LABS)
def test_a_healthy_lab_passes(name: str, check: str) -> None:
    result = simlab.verdict(simdual.green(name), check)
    assert result.status == "pass", result.statement
    assert result.tested
    if not CHECKS[check].once:
        assert result.families.keys() == set(simdual.SPECS[name].families)


@pytest.mark.parametrize(("name", "check"), LABS)
def test_nothing_observed_is_an_error_and_never_a_pass(name: str, check: str) -> None:
    spec = simdual.SPECS[name]
    node = NodeFact(name="n1", address=str(spec.node_address("n1")), mtu=1500)
    nothing = Inventory(families=spec.families, nodes=(node,), sites=())
    run = Context(spec, simdual.green(name).variant, nothing, ())
    run.gates.update(dict.fromkeys(CHECKS[check].gates, True))
    assert simlab.verdict(run, check).status == "error"


def test_the_leftovers_of_kube_proxy_are_looked_for_in_both_families() -> None:
    run = simdual.changed(
        "dual", "ipv6", simlab.dumps(lambda data: data + ":KUBE-SVC-A - [0:0]\n", what="rules-iptables")
    )
    clean = simdual.changed("dual", "ipv6", simlab.dumps(lambda _: "", what="rules-iptables"))
    unread = simdual.context(
        "dual", [one for one in clean.observations if getattr(one, "what", "") != "rules-iptables6"]
    )
    for seen, status in ((run, "fail"), (clean, "pass"), (unread, "error")):
        seen.gates["kpf"] = True
        assert simlab.verdict(seen, "svc.kpf").families["ipv6"] == status


def _legs(result: Result, family: Family) -> set[tuple[str, str]]:
    return {(leg.leg.removesuffix("/ipv6"), leg.status) for leg in result.legs if family_of_leg(leg.leg) == family}


@pytest.mark.parametrize("check", APPLICABLE)
def test_the_ipv4_legs_of_a_lab_with_both_are_those_of_a_lab_with_ipv4_alone(check: str) -> None:
    if "v6" in CHECKS[check].gates or "dual" in CHECKS[check].gates:
        pytest.skip("it needs IPv6")
    alone, both = (simlab.verdict(run, check) for run in (simlab.green(), simdual.green("dual")))
    assert {(simdual.said(leg, "ipv4"), status) for leg, status in _legs(alone, "ipv4")} == _legs(both, "ipv4")


def test_a_run_is_judged_from_its_directory_alone() -> None:
    for name, spec in simdual.SPECS.items():
        run = restore(spec, simdual.observations(name))
        assert run.inventory == simdual.inventory(spec.families)
        passed = [one for one in judge_all(run, CHECKS.values(), CHECKS) if one.status == "pass"]
        assert len(passed) == sum(lab == name for lab, _ in LABS)


def _sides(case: Broken) -> list[tuple[str, Family]]:
    """Labs, and the family that is broken in them; what belongs to no family is broken with the primary one."""
    once = CHECKS[case.check].once
    labs: list[tuple[str, Family]] = [("dual", "ipv4"), ("dual", "ipv6"), ("ipv6", "ipv6")]
    return [
        (name, family)
        for name, family in labs
        if (family == "ipv4" or case.what not in {*SENSELESS, *DECLARED})
        and (not once or family == simdual.SPECS[name].families[0])
    ]


@pytest.mark.parametrize(
    ("case", "name", "family"),
    [
        pytest.param(case, name, family, id=f"{case.check}: {case.what} ({family} of {name})")
        for case in CASES
        for name, family in _sides(case)
    ],
)
def test_a_defect_of_one_family_fails_that_familys_legs_alone(case: Broken, name: str, family: Family) -> None:
    result = simlab.verdict(simdual.changed(name, family, *case.changes), case.check)
    assert result.status == "fail", result.statement
    failed = {leg.leg: leg for leg in result.legs if leg.status == "fail"}
    leg = simdual.said(case.leg, family).removesuffix("/ipv6" if CHECKS[case.check].once else "")
    assert leg in failed, sorted(failed)
    if case.reason:
        assert failed[leg].reason == case.reason
    if not CHECKS[case.check].once and case.what not in SHARED:
        assert {family_of_leg(one) for one in failed} == {family}
        assert result.families[family] == "fail"
        assert result.families.get(other(family), "pass") in {"pass", "record"}


def test_all_exceptions_are_of_defects_that_exist() -> None:
    assert {*SENSELESS, *DECLARED, *SHARED} <= {case.what for case in CASES}


@pytest.mark.parametrize("what", sorted(DECLARED))
def test_what_is_declared_is_recorded_and_not_judged(what: str) -> None:
    case = next(case for case in CASES if case.what == what)
    result = simlab.verdict(simdual.changed("dual", "ipv6", *case.changes), case.check)
    leg = next(leg for leg in result.legs if leg.leg == simdual.said(case.leg, "ipv6"))
    assert (leg.status, leg.reason) == ("record", "deviation")


def test_what_is_declared_of_one_family_is_said_and_not_claimed_to_hold() -> None:
    result = simlab.verdict(simdual.green("dual"), "mtu.agree")
    assert result.status == "pass"
    assert re.fullmatch(r"IPv4: \d+ links fit .* = 1450 B; IPv6: declared deviation: .* 1430.*", result.statement)


@pytest.mark.parametrize("what", sorted(set(SHARED) - set(DECLARED)))
def test_what_belongs_to_no_family_fails_in_both(what: str) -> None:
    case = next(case for case in CASES if case.what == what)
    result = simlab.verdict(simdual.changed("dual", "ipv4", *case.changes), case.check)
    assert set(result.families.values()) == {"fail"}


@pytest.mark.parametrize("case", DUAL_CASES, ids=lambda case: f"{case.check}: {case.what}")
def test_a_defect_of_both_families_together_is_seen(case: Broken) -> None:
    result = simlab.verdict(simdual.changed("dual", case.family, *case.changes), case.check)
    assert result.status == "fail", result.statement
    failed = {leg.leg: leg for leg in result.legs if leg.status == "fail"}
    assert case.leg in failed, sorted(failed)
    if case.reason:
        assert failed[case.leg].reason == case.reason
    assert failed[case.leg].statement
    assert result.next
    assert result.evidence


def test_sentences_about_ipv6_read_well(golden: Callable[[str, str], None]) -> None:
    lines = []
    for case in CASES:
        for name, family in _sides(case):
            if (name, family) == ("dual", "ipv6"):
                result = simlab.verdict(simdual.changed(name, family, *case.changes), case.check)
                leg = next(leg for leg in result.legs if leg.leg == simdual.said(case.leg, family))
                lines.append(f"{case.check} {leg.leg}\n    {leg.statement}\n")
    for case in DUAL_CASES:
        result = simlab.verdict(simdual.changed("dual", case.family, *case.changes), case.check)
        statement = next(leg.statement for leg in result.legs if leg.leg == case.leg)
        lines.append(f"{case.check} {case.leg}\n    {statement}\n")
    golden("conformance/sentences-ipv6.txt", "".join(lines))


NO_CONTROLS = {
    "mtu.exact": "its control in IPv6 is a packet of 1280 bytes",
    "dns.forward": "the router's log belongs to no family",
}
"""Controls that are others in IPv6."""


@pytest.mark.parametrize(
    ("check", "kind", "changes"),
    [
        pytest.param(check, kind, changes, id=f"{check}-{kind}")
        for check, kind, changes in (
            *(one for one in BROKEN_CONTROLS if one[0] not in NO_CONTROLS),
            ("mtu.exact", "P2", (rungs({"outcome": "timeout"}, lambda rung: rung.size == 1280),)),
        )
    ],
)
def test_a_control_that_is_broken_in_ipv6_alone_is_no_verdict(
    check: str, kind: str, changes: tuple[simlab.Change, ...]
) -> None:
    family: Family = "ipv4" if CHECKS[check].once else "ipv6"
    result = simlab.verdict(simdual.changed("dual", family, *changes), check)
    assert result.status == "error", result.statement
    assert kind in {control.kind for control in result.controls if not control.ok}


ON_THE_WIRE = ("mtu.wire", "model.no-nat.wire")


def tunnelled(change: Callable[[Packet], Packet], **wire: object) -> Context:
    """The lab with both families, with other packets on the underlay and another promise of them."""

    def sees(one: Observation) -> Observation:
        if not isinstance(one, Tap) or one.place != one.node:
            return one
        return one.model_copy(update={"packets": tuple(map(change, one.packets))})

    run = simdual.green("dual")
    expect = run.variant.expect
    promise = expect.model_copy(update={"wire": expect.wire.model_copy(update=wire)})
    variant = run.variant.model_copy(update={"expect": promise})
    return replace(run, variant=variant, observations=tuple(map(sees, run.observations)), memo={})


def over_ipv4(packet: Packet) -> Packet:
    """All tunnels go over IPv4, as cilium's do where nodes have it."""
    return (
        packet.model_copy(update={"src": untwin(packet.src), "dst": untwin(packet.dst)})
        if ":" in packet.src
        else packet
    )


@pytest.mark.parametrize(("over", "status"), [("one", "pass"), ("same", "fail")])
def test_a_tunnel_over_ipv4_may_carry_ipv6_if_that_is_what_the_network_does(over: str, status: str) -> None:
    run = tunnelled(over_ipv4, over=over)
    assert simlab.verdict(run, "mtu.wire").status == "pass"
    result = simlab.verdict(run, "model.no-nat.wire")
    assert result.families == {"ipv4": "pass", "ipv6": status}, result.statement


def hidden(packet: Packet) -> Packet:
    """A packet of WireGuard: it does not tell what it carries."""
    return over_ipv4(packet).model_copy(update={"inner": None, "vni": None, "dst_port": 51871, "src_port": 51871})


def test_an_encrypted_tunnel_over_ipv4_hides_both_families() -> None:
    promise = {"kind": "wireguard", "port": 51871, "vni": None, "over": "one"}
    run = tunnelled(hidden, **promise)
    for name in ON_THE_WIRE:
        result = simlab.verdict(run, name)
        assert result.families == {"ipv4": "pass", "ipv6": "pass"}, result.statement
    leaking = tunnelled(
        lambda packet: packet.inner if packet.inner and ":" in packet.inner.src else hidden(packet), **promise
    )
    for name in ON_THE_WIRE:
        assert simlab.verdict(leaking, name).families == {"ipv4": "pass", "ipv6": "fail"}


@pytest.mark.parametrize("check", ["model.no-nat.same-node", "model.no-nat.cross-node"])
def test_a_family_in_which_nobody_answers_takes_nothing_from_the_other_one(check: str) -> None:
    """That nobody answers is for the checks of reach; who was seen in the other family is judged."""
    silent = simlab.exchanges({"outcome": "timeout", "token": "", "peer": "", "source": ""}, purpose="mesh")
    result = simlab.verdict(simdual.changed("dual", "ipv6", silent), check)
    assert (result.status, result.families) == ("pass", {"ipv4": "pass", "ipv6": "record"}), result.statement
    assert result.tested
