"""Faults times checks in the report: what each square says, and how the matrix is drawn."""

from __future__ import annotations

from pathlib import Path

from harness.model.records import Census, FaultRun
from harness.model.run import RunDir
from reports.build import build
from reports.drawings.mutations import mutation_matrix
from reports.html import render
from reports.panels.mutations import BESIDE, KILLED, MISSED, NO_VERDICT, TOO_MANY, mutations
from tests.unit.reports import sample

CROSS, LOSS, PORTS, HOPS = "model.pod-pod.cross-node", "model.loss", "model.ports", "model.hops"
CENSUS = Census(checks=(CROSS, LOSS, PORTS, HOPS, "dns.tcp"))


def run(fault: str, outcome: str, **facts: object) -> FaultRun:
    return FaultRun.model_validate(
        {"fault": fault, "title": f"{fault} <b>", "inject": "x", "outcome": outcome, **facts}
    )


RUNS = [
    run(
        "F12",
        "imprecise",
        killed_by=(f"{CROSS}[a>c/*]", f"{LOSS}[a>c]"),
        imprecise=(f"{LOSS}[c>a]",),
        unjudged=(HOPS,),
    ),
    run("F2", "survived", killed_by=(CROSS,), survived=(PORTS,), beside=(LOSS,)),
    run("F3", "equivalent"),
    run("F4", "not-applicable"),
    run("F5", "error"),
]  # fmt: skip


def test_nothing_is_drawn_where_nothing_was_injected() -> None:
    assert mutations([], CENSUS) is None
    assert mutations(RUNS[2:], CENSUS) is None


def test_each_square_says_what_a_check_made_of_a_fault_and_the_worse_of_two_legs_counts() -> None:
    data = mutations(RUNS, CENSUS)
    assert data is not None
    assert [name for name, _ in data.faults] == ["F2", "F12"]
    assert data.checks == ("dns.tcp", HOPS, LOSS, CROSS, PORTS)
    marks = {(data.faults[cell.row][0], data.checks[cell.column]): cell.mark for cell in data.cells}
    assert marks == {
        ("F2", CROSS): KILLED, ("F2", PORTS): MISSED, ("F2", LOSS): BESIDE,
        ("F12", CROSS): KILLED, ("F12", LOSS): TOO_MANY, ("F12", HOPS): NO_VERDICT,
    }  # fmt: skip
    assert dict(data.legend) == {KILLED: 2, BESIDE: 1, MISSED: 1, TOO_MANY: 1, NO_VERDICT: 1}
    assert dict(zip(data.checks, data.killed, strict=True)) == {"dns.tcp": 0, HOPS: 0, LOSS: 0, CROSS: 2, PORTS: 0}


def test_without_a_census_only_what_faults_name_has_a_column() -> None:
    data = mutations(RUNS, None)
    assert data is not None
    assert "dns.tcp" not in data.checks
    assert (data.entire, mutations(RUNS, CENSUS).entire) == (False, True)  # type: ignore[union-attr]


def test_the_drawing_has_a_square_for_each_cell_and_escapes_what_people_wrote() -> None:
    data = mutations(RUNS, CENSUS)
    assert data is not None
    drawn = str(mutation_matrix(data))
    assert drawn.count('class="cell ') == len(data.cells)
    assert "F2 &lt;b&gt;" in drawn
    assert "dns.tcp: no fault killed it" in drawn
    assert f"<title>F2, {PORTS}: missed it</title>" in drawn
    assert f"<title>{CROSS}</title>" in drawn
    assert mutation_matrix(data) == mutation_matrix(data)


def test_a_run_with_faults_has_the_section_and_one_without_has_not(tmp_path: Path) -> None:
    made = sample.write(tmp_path / "run")
    page = render(build(made))
    assert 'href="#mutations"' in page
    assert "only the checks were judged that it names" in page
    made.write_census(CENSUS)
    assert "All checks were judged under each fault" in render(build(made))
    (tmp_path / "run/faults.jsonl").unlink()
    assert "#mutations" not in render(build(made))


def test_a_census_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    made = sample.write(tmp_path / "run")
    (tmp_path / "run/census.json").write_text("{}")
    assert any("census.json" in row for row in map(str, build(RunDir(made.path)).environment.problems))
