"""The fault catalogue is complete, consistent, and says what it needs."""

from __future__ import annotations

import fnmatch
import re

import pytest
from pydantic import ValidationError

from conformance.registry import CHECKS
from harness.errors import UsageError
from harness.faults.catalogue import choose, faults
from harness.faults.inject import CHAINS
from harness.faults.model import Fault, split_target
from harness.model.fault import unclear
from harness.steps.faults.names import insist, possible

FAULTS = pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.id)
TABLE_RULE = re.compile(r"^nft add rule inet kfault (\w+) ")
TABLE_SET = re.compile(r"^nft add set inet kfault \w+ ")


def test_every_check_is_killed_by_a_fault_or_carries_an_inverted_probe() -> None:
    killed = {split_target(target)[0] for fault in faults() for target in fault.kills}
    assert {check.id for check in CHECKS.values() if not check.inverse} - killed == set()


def test_ids_and_names_are_unique() -> None:
    for words in ([fault.id for fault in faults()], [fault.name for fault in faults()]):
        assert [word for word in words if words.count(word) > 1] == []


@FAULTS
def test_a_fault_names_checks_that_exist_and_spares_none_that_it_kills(fault: Fault) -> None:
    for target in (*fault.kills, *fault.spares):
        assert split_target(target)[0] in CHECKS
    for kill in fault.kills:
        for spare in fault.spares:
            (one, pattern), (other, spared) = split_target(kill), split_target(spare)
            same = pattern == spared or fnmatch.fnmatchcase(pattern, spared)
            assert one != other or not same, f"{fault.id} kills and spares {kill}"


@FAULTS
def test_what_may_fail_beside_is_a_check_that_need_not_and_that_is_not_spared(fault: Fault) -> None:
    kills = {split_target(target)[0] for target in fault.kills}
    spares = {name for name, pattern in map(split_target, fault.spares) if pattern == "*"}
    for target in (target for group in fault.also for target in group.checks):
        glob, _ = split_target(target)
        found = {name for name in CHECKS if fnmatch.fnmatchcase(name, glob)}
        assert found, f"{fault.id}: no check is called {glob}"
        assert found - kills, f"{fault.id}: {glob} must fail, and need not be excused"
        assert not found & spares, f"{fault.id} spares and excuses {sorted(found & spares)}"


@FAULTS
def test_what_a_fault_changes_is_undone(fault: Fault) -> None:
    """Rules and sets go with their table, stopped programs go on, routes are replayed; all else needs a command."""
    left = [action for action in fault.inject if not action.keep and not TABLE_RULE.match(action.command)]
    left = [one for one in left if " route flush" not in one.command and not TABLE_SET.match(one.command)]
    if left:
        assert fault.undo or fault.state, f"{fault.id} leaves {left[0].command!r} behind"


@FAULTS
def test_a_rule_goes_to_a_node_that_gets_the_table(fault: Fault) -> None:
    used = {action.at for action in fault.inject if TABLE_RULE.match(action.command)}
    assert used == set(fault.table)


@FAULTS
def test_names_are_known_or_kept_by_an_earlier_command(fault: Fault) -> None:
    assert list(unclear(fault, possible())) == []


NEEDED = {"V": "ovl", "M1": "ovl", "M2": "ovl", "M3": "ovl", "PORT": "ovl", "B": "br", "LEASES": "lease"}
"""Names that only some networks have, with the gate of those."""


@FAULTS
def test_a_name_that_only_some_networks_have_is_needed(fault: Fault) -> None:
    used = {name for action in (*fault.inject, *fault.undo) for name in action.names()}
    assert {NEEDED[name] for name in used if name in NEEDED} <= set(fault.needs)


@FAULTS
def test_a_rule_goes_to_a_chain_that_there_is(fault: Fault) -> None:
    rules = [found[1] for action in fault.inject if (found := TABLE_RULE.match(action.command))]
    assert set(rules) <= set(CHAINS)


def test_faults_are_chosen_by_id_and_by_name() -> None:
    assert [fault.id for fault in choose(("route-del", "F40"))] == ["F01", "F40"]
    assert len(choose(())) == len(faults())


def test_an_unknown_fault_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no fault named 'F99'"):
        choose(("F99",))


def test_a_fault_that_needs_what_does_not_exist_is_no_fault() -> None:
    """Otherwise it would count as equivalent in every lab, and its check as proved."""
    facts = {"id": "F01", "name": "x", "title": "A fault", "kills": ("model.reach",), "inject": ()}
    assert Fault.model_validate({**facts, "needs": ["multi", "brnf"]}).needs == ("multi", "brnf")
    with pytest.raises(ValidationError, match="mutli"):
        Fault.model_validate({**facts, "needs": ["mutli"]})


def test_a_fault_without_a_victim_is_no_fault() -> None:
    with pytest.raises(ValidationError, match="kills"):
        Fault(id="F00", name="x", title="A fault", kills=(), inject=())


def a_fault(**facts: object) -> Fault:
    base = {
        "id": "F01",
        "name": "x",
        "title": "A fault",
        "kills": ["node.routes"],
        "undo": [{"at": "n1", "run": ["up"]}],
    }
    return Fault.model_validate({**base, **facts})


def test_a_fault_with_a_name_that_no_lab_can_have_is_refused() -> None:
    known = a_fault(inject=[{"at": "n1", "run": ["ip", "route", "show", "{{ C2 }}"], "keep": "route"}])
    insist([known])
    with pytest.raises(UsageError, match=r"F01 x is not a fault: inject\.0\.run\.3: uses CC2, which is no"):
        insist([known, a_fault(inject=[{"at": "n1", "run": ["ip", "route", "del", "{{ CC2 }}"]}])])


def test_a_command_without_a_place_is_no_command_of_the_suite() -> None:
    with pytest.raises(ValidationError, match="'at' is missing"):
        a_fault(inject=[{"run": ["reboot"]}])


def test_a_fault_is_shown_as_a_person_would_type_it() -> None:
    words = ["nft", "add", "rule", "t", "icmp", "type", "{ echo-request, echo-reply }", "ip", "daddr", "{{ C2 }}"]
    show = {"at": "n1", "run": ["ip", "route", "show"], "keep": "route"}
    fault = a_fault(stop=["agent@n1"], inject=[show, {"at": "n1", "run": words}, {"at": "a", "run": ["{{* MASQ }}"]}])
    assert fault.command == (
        "n1: nft add rule t icmp type '{ echo-request, echo-reply }' ip daddr {C2}; a: {*MASQ}; n1: kill -STOP agent"
    )


@FAULTS
def test_a_fault_reaches_nothing_outside_of_the_cluster(fault: Fault) -> None:
    """Places are nodes, pods and the API, and settings are those of a network namespace: `down` takes all with it."""
    actions = [*fault.inject, *fault.undo]
    assert [one.at for one in actions if not re.fullmatch(r"n\d|[a-d]|[x-z]/[a-c]|kubectl", one.at)] == []
    settings = [word for one in actions if one.run[0] == "sysctl" for word in one.run[1:] if not word.startswith("-")]
    of_a_namespace = re.compile(
        r"net\.(ipv4\.(conf|ip_forward|ip_default_ttl)|ipv6\.conf|bridge|netfilter\.nf_conntrack_tcp_\w+)\b"
    )
    assert [word for word in settings if not of_a_namespace.match(word)] == []


@FAULTS
def test_undoing_needs_no_output_of_an_earlier_undoing(fault: Fault) -> None:
    """All its words are written down before the fault is injected."""
    assert [one.command for one in fault.undo if one.keep] == []
