"""The policy panel: leaks first, tables that agree with the evaluator, and an honest word where nobody enforces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from conformance.policy.cases import Dial, catalogue, dials
from harness.model.family import Family
from harness.model.records import Result
from reports import marks
from reports.build import build
from reports.html import render
from reports.model import Policies
from reports.panels.policy import policies
from reports.text import Ids
from tests.unit.conformance import simpolicy
from tests.unit.reports import sample
from tests.unit.reports.page import read

LEAK = Dial("z/a", "exception", "tcp", 8080)
BREAK = Dial("x/a", "z/c", "tcp", 8081)


def panel(
    *wrong: Dial,
    enforcing: bool = True,
    results: tuple[Result, ...] = (),
    families: tuple[Family, ...] = ("ipv4",),
) -> Policies:
    seen = simpolicy.observations(
        enforcing=enforcing,
        families=families,
        answer=(lambda _purpose, dial, ok: ok is not (dial in wrong)) if wrong else None,
    )
    found = policies(seen, results, Ids())
    assert found is not None
    return found


def test_without_policies_there_is_no_panel() -> None:
    assert policies([], [], Ids()) is None


def test_a_clean_run_says_so() -> None:
    found = panel()
    assert found.mark is marks.PASS
    assert not found.problems
    assert found.sentence.endswith("0 leaks, 0 broken.")
    assert len(found.cases) == len(catalogue().cases) + 1  # the newcomer
    assert not any(case.open for case in found.cases)
    assert "250 ms" in found.note


def test_a_leak_is_shown_before_a_break_and_its_case_is_open() -> None:
    found = panel(BREAK, LEAK)
    assert [problem.mark for problem in found.problems] == [marks.LEAK, marks.BROKEN]
    first = found.problems[0]
    assert (first.src, first.dst, first.service) == ("z/a", "exception", "tcp 8080")
    assert "z/block-with-exception isolates z/a" in first.why
    opened = {case.anchor for case in found.cases if case.open}
    assert {problem.href.removeprefix("#") for problem in found.problems} == opened
    assert found.mark is marks.FAIL


def test_a_leak_of_one_family_is_shown_in_that_family_alone() -> None:
    alone, leak = panel(), replace(LEAK, family="ipv6")
    found = panel(leak, families=("ipv4", "ipv6"))
    assert [(one.src, one.dst, one.service, one.family) for one in found.problems] == [
        ("z/a", "exception", "tcp 8080", "IPv6")
    ]
    counted, single = (sum(count for _, count in one.legend) for one in (found, alone))
    there = simpolicy.everybody()
    names = {dial for case in catalogue().cases for dial in dials(case, there) if dial.dst == "dns"}
    assert counted == 2 * single - len(names), "the name server is asked over one family"
    (case,) = [case for case in found.cases if case.open]
    titles = {table.title: {cell.mark for _, row in table.rows for cell in row} for table in case.tables}
    assert {title: marks.LEAK in seen for title, seen in titles.items()} == {
        "Egress over IPv4: from → to ↓": False,
        "Egress over IPv6: from → to ↓": True,
    }


def test_a_lab_of_ipv6_alone_has_the_same_tables() -> None:
    (four, six) = panel(), panel(families=("ipv6",))
    assert (six.mark, six.sentence) == (four.mark, four.sentence)
    assert [table.title for case in six.cases for table in case.tables] == [
        table.title for case in four.cases for table in case.tables
    ]
    outside = {name for case in six.cases for table in case.tables for name, _ in table.rows if "elsewhere" in name}
    assert outside == {"2001:4860:4860::8888 (elsewhere)"}


def test_where_nobody_enforces_each_family_has_a_table() -> None:
    found = panel(enforcing=False, families=("ipv4", "ipv6"))
    assert [table.title for table in found.overviews] == [
        "From ↓ to →, tcp 8080 over IPv4",
        "From ↓ to →, tcp 8080 over IPv6",
    ]


def test_a_new_pod_that_leaks_is_shown_too() -> None:
    found = panel(Dial("x/new", "elsewhere", "udp", 8080))
    assert [(one.src, one.dst) for one in found.problems] == [("x/new", "elsewhere")]
    assert found.cases[-1].open


def test_every_connection_of_a_case_is_in_its_tables() -> None:
    for case in panel().cases:
        cells = [cell for table in case.tables for _, row in table.rows for cell in row]
        assert cells
        assert {cell.mark for cell in cells} >= {marks.REACHED, marks.DENIED}
        for table in case.tables:
            assert sum(count for _, count in table.groups) == len(table.services)
            assert all(len(row) == len(table.services) for _, row in table.rows)


def test_the_closed_pods_are_columns_in_both_directions() -> None:
    cases = {case.anchor: case for case in panel().cases}
    (into,) = cases["policy-deny-ingress"].tables
    (out,) = cases["policy-deny-egress"].tables
    assert [pod for pod, _ in into.groups] == [pod for pod, _ in out.groups] == ["x/a", "x/b", "x/c"]
    assert [name for name, _ in out.rows][-1] == "8.8.8.8 (elsewhere)"


def test_where_nobody_enforces_the_forbidden_connections_are_marked_and_nothing_failed() -> None:
    found = panel(enforcing=False)
    assert found.mark is marks.RECORD
    assert not found.problems
    assert "does not enforce them" in found.sentence
    assert [table.title for table in found.overviews] == ["From ↓ to →, tcp 8080"]
    counts = dict(found.legend)
    assert counts[marks.IGNORED] > 100
    assert counts[marks.DENIED] == 0


def test_a_deviation_that_the_variant_declares_is_shown_and_is_no_leak() -> None:
    verdict = Result(id="np.ipblock", title="t", level="M", status="pass", reason="deviation", statement="declared")
    found = panel(LEAK, results=(verdict,))
    assert not found.problems
    assert found.mark is marks.RECORD
    assert dict(found.legend)[marks.DEVIATION] == 1
    (case,) = [case for case in found.cases if case.anchor == "policy-block-with-exception"]
    assert case.summary.startswith("declared deviation")


def test_the_page_with_policies_is_sound_html(tmp_path: Path) -> None:
    run = sample.write(tmp_path / "run")
    seen = simpolicy.observations(enforcing=True, answer=lambda _purpose, dial, ok: ok is not (dial == LEAK))
    run.add_observations(seen)
    html = render(build(run))
    assert read(html).problems == []
    assert "reached, but a policy forbids it" in html
    assert html == render(build(run))
