"""Roll-up of legs and controls, selection of checks, exit codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from conformance.context import DEVIATIONS, Context
from conformance.judging import exit_code, judge, roll_up
from conformance.legs import broken, control, failed, passed
from conformance.model import Check, Verdict
from conformance.registry import AREAS, CHECKS, batches, select, with_prerequisites
from harness.cni import catalogue
from harness.errors import UsageError
from harness.model.family import Family
from harness.model.records import Control, Leg, Result
from harness.model.requirement import Level
from harness.model.spec import Kubernetes
from tests.unit.conformance import simdual, simlab


def check(level: Level = "M", **facts: object) -> Check:
    judge_nothing = facts.pop("judge", lambda _: Verdict(()))
    return Check("x.y", "a claim", level, "B1", judge_nothing, **facts)  # type: ignore[arg-type]


PASS, FAIL, ERROR = passed("a"), failed("b", "timeout", "b did not answer"), broken("c", "c was not asked")
GOOD, BAD = control("P1", 1, "works"), control("P2", 0, "576 B do not pass")


@pytest.mark.parametrize(
    ("legs", "controls", "status"),
    [
        ((PASS,), (GOOD,), "pass"),
        ((PASS, FAIL), (GOOD,), "fail"),
        ((PASS, FAIL, ERROR), (GOOD,), "error"),
        ((PASS, FAIL), (GOOD, BAD), "error"),
        ((), (GOOD,), "error"),
    ],
)
def test_error_over_fail_over_pass(legs: tuple[Leg, ...], controls: tuple[object, ...], status: str) -> None:
    result = roll_up(check(), {}, Verdict(legs, controls))  # type: ignore[arg-type]
    assert result.status == status


def test_a_record_never_fails() -> None:
    assert roll_up(check("R"), {}, Verdict((FAIL,))).status == "pass"


def deviating(legs: tuple[Leg, ...]) -> Result:
    context = simlab.context()
    variant = context.variant.model_copy(update={"deviations": {"x.y": "it cannot"}})
    one = check(judge=lambda _: Verdict(legs))
    return judge(replace(context, variant=variant), one, {"x.y": one})


def test_a_declared_deviation_is_recorded_and_does_not_fail() -> None:
    result = deviating((PASS, FAIL))
    assert (result.status, result.level, result.reason) == ("pass", "R", "deviation")
    assert result.statement == "declared deviation: it cannot; b did not answer"
    assert [leg.status for leg in result.legs] == ["fail", "pass"]


def test_a_declared_deviation_that_is_not_seen_says_so() -> None:
    assert deviating((PASS,)).statement == "declared deviation: it cannot; in this run every leg is as required"


def test_a_mode_of_kube_proxy_deviates_where_kube_proxy_runs() -> None:
    context = simlab.context()
    ipvs = replace(context, spec=context.spec.model_copy(update={"kubernetes": Kubernetes(proxy_mode="ipvs")}))
    without = replace(ipvs, variant=catalogue.variant("cilium"))
    assert "svc.etp-local" not in context.deviations
    assert "masquerade" in ipvs.deviations["svc.etp-local"]
    assert "svc.etp-local" not in without.deviations
    assert {one for known in DEVIATIONS.values() for one in known} <= set(CHECKS)


def test_a_declared_deviation_does_not_hide_a_lab_that_broke() -> None:
    assert deviating((ERROR,)).status == "error"


@pytest.mark.parametrize("name", catalogue.names())
def test_variants_deviate_from_requirements_that_exist(name: str) -> None:
    assert {one.removesuffix("/ipv6") for one in catalogue.variant(name).deviations} <= set(CHECKS)


def test_failed_legs_are_all_kept_and_passed_ones_only_as_examples() -> None:
    legs = (*[passed(f"p{number}") for number in range(50)], *[FAIL] * 30)
    result = roll_up(check(), {}, Verdict(legs))
    assert sum(leg.status == "fail" for leg in result.legs) == 30
    assert len(result.legs) < 50
    assert result.tested == result.total == 80
    assert result.statement == "b did not answer (and 29 more of 80)"


def test_a_leg_that_passed_after_a_retry_is_marked_and_counted() -> None:
    run = simlab.changed(simlab.exchanges({"attempts": 2}, purpose="mesh", src="a", dst="c", proto="tcp"))
    result = simlab.verdict(run, "model.pod-pod.cross-node")
    assert result.status == "pass"
    assert result.flaky
    assert result.statement.endswith("answered; 1 only after a retry")


def test_a_closed_gate_names_the_gate_and_the_variant() -> None:
    result = judge(simlab.context(), check(gates=("np",)), {})
    assert (result.status, result.reason) == ("not-applicable", "np")
    assert "variant flannel" in result.statement


def test_the_root_cause_is_named_through_a_chain_of_prerequisites() -> None:
    root = check(judge=lambda _: Verdict((FAIL,)))
    middle = Check("m", "t", "M", "B1", lambda _: Verdict((PASS,)), after=("x.y",))
    last = Check("l", "t", "M", "B1", lambda _: Verdict((PASS,)), after=("m",))
    result = judge(simlab.context(), last, {"x.y": root, "m": middle, "l": last})
    assert (result.status, result.reason, result.blocked_by) == ("skip", "blocked", "x.y")


def of_families(
    said: Mapping[Family, Leg], *controls: Control, wrong: Family = "ipv6", level: Level = "M", **facts: object
) -> Check:
    """A requirement that says something of each family, and whose controls are broken in one of them."""

    def judges(context: Context) -> Verdict:
        (family,) = context.inventory.families
        return Verdict((said[family],), controls if family == wrong else ())

    return check(level, judge=judges, **facts)


BOTH: dict[Family, Leg] = {"ipv4": PASS, "ipv6": PASS}


@pytest.mark.parametrize(
    ("root", "status"),
    [
        (of_families({"ipv4": PASS, "ipv6": FAIL}), "fail"),
        (of_families({"ipv4": PASS, "ipv6": ERROR}), "error"),
        (of_families(BOTH, BAD), "error"),
    ],
)
def test_a_prerequisite_that_fails_in_one_family_blocks_that_one_alone(root: Check, status: str) -> None:
    context = simdual.context("dual")
    asked: list[Family] = []

    def judges(there: Context) -> Verdict:
        asked.extend(there.inventory.families)
        return Verdict((PASS,), summary="answered")

    middle = replace(check(judge=judges, after=("x.y",)), id="m")
    last = replace(check(judge=judges, after=("m",)), id="l")
    checks = {"x.y": root, "m": middle, "l": last}
    assert judge(context, root, checks).status == status
    result = judge(context, middle, checks)
    assert asked == ["ipv4"]
    assert (result.status, result.reason, result.blocked_by) == ("skip", "blocked", "x.y")
    assert result.families == {"ipv4": "pass", "ipv6": "skip"}
    assert result.statement == "IPv6 was not judged, because x.y did not pass: solve that first; IPv4: answered"
    # What follows from it is blocked by the same root, in the same family.
    after = judge(context, last, checks)
    assert (after.blocked_by, after.families) == ("x.y", {"ipv4": "pass", "ipv6": "skip"})


def test_what_fails_in_the_other_family_has_failed() -> None:
    root = of_families({"ipv4": FAIL, "ipv6": PASS}, GOOD)
    other = replace(of_families({"ipv4": PASS, "ipv6": FAIL}, after=("x.y",)), id="m")
    result = judge(simdual.context("dual"), other, {"x.y": root, "m": other})
    assert (result.status, result.families) == ("fail", {"ipv6": "fail", "ipv4": "skip"})
    assert result.statement.startswith("IPv4 was not judged, because x.y did not pass")
    assert [leg.leg for leg in result.legs] == ["b/ipv6"]


def test_what_belongs_to_no_family_is_blocked_as_a_whole() -> None:
    root = of_families({"ipv4": PASS, "ipv6": FAIL})
    other = replace(check(judge=lambda _: Verdict((PASS,)), after=("x.y",), once=True), id="m")
    result = judge(simdual.context("dual"), other, {"x.y": root, "m": other})
    assert (result.status, result.blocked_by, result.legs) == ("skip", "x.y", ())


def test_a_recommendation_that_fails_in_one_family_blocks_nothing() -> None:
    root = of_families({"ipv4": PASS, "ipv6": FAIL}, level="R")
    other = replace(of_families(BOTH, after=("x.y",)), id="m")
    assert judge(simdual.context("dual"), other, {"x.y": root, "m": other}).status == "pass"


def test_a_judge_that_trips_is_an_error_and_hides_nothing_else() -> None:
    def trips(_: object) -> Verdict:
        missing = "eth0"
        raise KeyError(missing)

    result = judge(simlab.context(), check(judge=trips), {})
    assert result.status == "error"
    assert "KeyError" in result.statement


def results(*pairs: tuple[str, str]) -> list[Result]:
    return [
        Result.model_validate({"id": str(i), "title": "t", "level": level, "status": status, "statement": "s"})
        for i, (level, status) in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("pairs", "strict", "code"),
    [
        ([("M", "pass"), ("S", "pass")], False, 0),
        ([("M", "fail")], False, 1),
        ([("S", "fail")], False, 0),
        ([("S", "fail")], True, 1),
        ([("M", "error")], False, 11),
        ([("M", "error"), ("M", "fail")], False, 1),
        ([("M", "not-applicable"), ("M", "skip")], False, 0),
    ],
)
def test_exit_codes(pairs: list[tuple[str, str]], *, strict: bool, code: int) -> None:
    assert exit_code(results(*pairs), strict=strict) == code


def test_checks_are_chosen_by_area_id_pattern_and_part() -> None:
    assert {item.id for item in select("mtu")} == {item.id for item in AREAS["mtu"]}
    assert [item.id for item in select("svc.hairpin")] == ["svc.hairpin"]
    assert {item.id for item in select("model.no-nat.*")} == {item.id for item in AREAS["nat"]}
    assert {item.id for item in select("MTU or DNS")} == {item.id for item in (*AREAS["mtu"], *AREAS["dns"])}
    assert select("") == list(CHECKS.values())


def test_a_word_that_matches_no_check_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no conformance check matches 'nonsense'"):
        select("mtu, nonsense")


def test_ids_are_unique_and_prerequisites_exist() -> None:
    assert len(CHECKS) == sum(len(checks) for checks in AREAS.values())
    for item in CHECKS.values():
        assert set(item.after) <= set(CHECKS)
        assert item.level != "R" or not item.next
        assert item.level == "R" or item.next, f"{item.id} does not say what to do next"


def test_a_check_brings_the_batches_of_its_prerequisites() -> None:
    assert batches([CHECKS["mtu.exact"]]) == ["B0", "B1", "B2"]
    assert with_prerequisites([CHECKS["mtu.exact"]])[0].id == "node.underlay"


def test_nothing_in_the_suite_names_a_cni() -> None:
    from pathlib import Path  # noqa: PLC0415 - only here

    import conformance  # noqa: PLC0415 - only here

    folder = Path(conformance.__file__).parent
    for path in [*folder.rglob("*.py"), *folder.rglob("*.yaml")]:
        words = path.read_text(encoding="utf-8").lower()
        for name in ("flannel", "cilium", "weave", "calico", "kindnet"):
            assert name not in words, f"{path.name} names {name}"
