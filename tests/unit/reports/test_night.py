"""The report of a night: what changed, what is missing and why, and that equal input gives equal bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness.model.records import LabStep, Result
from harness.model.run import Pin, RunDir
from reports import escape
from reports.night import history, markdown
from reports.night import page as night_page
from reports.night.build import Made, build
from reports.night.cells import Planned, Run
from reports.night.changes import ADDED, FIXED, NEW_FAILURE, NEWLY_FLAKY, NEWLY_SKIPPED, REMOVED, kind
from reports.night.history import Entry
from reports.source import Source
from tests.unit.reports import page, sample

BUDGET = 1_500_000
LABS = [("flannel-routes", "Three kinds of route"), ("never-run", "A lab that nobody ran")]
PLAN = [
    Planned("flannel", "namespaces/host/flannel/1.34/2", "flannel", "it left no run directory"),
    Planned("weave", "namespaces/debian/weave/1.34/2", "weave under debian", "unavailable: no variant 'weave' yet"),
]


def verdict(name: str, status: str = "pass", level: str = "M", *, flaky: bool = False) -> Result:
    return Result.model_validate(
        {"id": name, "title": name.title(), "level": level, "status": status, "statement": f"{name} is {status}"}
        | {"flaky": flaky, "tested": 1, "total": 1}
    )


def run_dir(
    path: Path, results: Sequence[Result] = (), *, day: int = 21, variant: str = "flannel", labs: Sequence[LabStep] = ()
) -> Run:
    """A run directory; its id and times follow from variant and day."""
    run = RunDir(path / f"{variant}-{day}")
    info = sample.info(sample.Sample()).model_copy(
        update={
            "id": f"2026-11-{day}-{variant}",
            "lab": variant,
            "variant": variant,
            "started": f"2026-11-{day}T02:00:00Z",
            "finished": f"2026-11-{day}T02:03:00Z",
            "pins": (Pin(name="kubernetes", version="1.34.4", source="build", digest=f"sha256:{day:064}"),),
        }
    )
    run.write_info(info)
    run.add_results(results)
    run.add_lab_steps(labs)
    return Run(Source(run), f"runs/{variant}/report.html")


def entry(day: int, status: dict[str, str], tone: str = "good") -> Entry:
    verdicts = {
        word: tuple(name for name, one in status.items() if one == word) for word in dict.fromkeys(status.values())
    }
    return Entry.model_validate(
        {"id": f"old-{day}", "key": "namespaces/host/flannel/1.34/2", "started": f"2026-11-{day:02}T02:00:00Z"}
        | {"tone": tone, "sentence": "as it was", "held": 1, "judged": 2, "verdicts": verdicts}
    )


def made(tmp_path: Path, results: Sequence[Result], *earlier: Entry) -> Made:
    return build([run_dir(tmp_path, results)], earlier)


def words(night: Made) -> list[tuple[str, list[str]]]:
    (changes,) = night.night.changes
    return [(group.mark.word, [item.id for item in group.items]) for group in changes.groups]


@pytest.fixture
def whole(tmp_path: Path) -> Made:
    """A night with all that there is: two cells, one that failed, one absent, and a history."""
    full = Run(Source(sample.write(tmp_path / "full")), "runs/flannel/report.html")
    failed = Run(Source(_renamed(sample.write_partial(tmp_path / "failed"))), "")
    past = [
        entry(18, {"model.identity": "pass", "svc.clusterip.reach": "pass"}),
        entry(19, {"model.identity": "fail", "svc.clusterip.reach": "flaky"}, "bad"),
        entry(20, {"model.identity": "pass", "mtu.exact": "fail", "np.gone": "pass", "lab:pod-pause": "pass"}, "bad"),
    ]
    return build([full, failed], past, PLAN, LABS)


def _renamed(run: RunDir) -> RunDir:
    changes = {"variant": "cilium", "provider": "kind", "id": "2026-11-21-cilium-kind"}
    run.write_info(run.info().model_copy(update=changes))
    return run


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ("pass", "fail", NEW_FAILURE),
        (None, "fail", NEW_FAILURE),
        ("fail", "fail", None),
        ("fail", "pass", FIXED),
        ("error", "flaky", NEWLY_FLAKY),
        ("pass", "flaky", NEWLY_FLAKY),
        ("pass", "skip", NEWLY_SKIPPED),
        ("skip", "not-applicable", None),
        ("pass", None, REMOVED),
        (None, "pass", ADDED),
        (None, "skip", ADDED),
        ("advice", "pass", FIXED),
    ],
)
def test_a_change_of_status_has_one_kind(was: str | None, now: str | None, expected: object) -> None:
    assert kind(was, now) is expected


def test_changes_are_told_against_the_last_run_of_the_same_cell_worst_first(tmp_path: Path) -> None:
    results = [verdict("a.one", "fail"), verdict("a.two"), verdict("a.three", flaky=True), verdict("a.five")]
    last = entry(20, {"a.one": "pass", "a.two": "fail", "a.three": "pass", "a.four": "pass", "a.five": "pass"})
    older = entry(19, {"a.one": "fail", "a.five": "fail"})
    assert words(made(tmp_path, results, older, last)) == [
        ("new failure", ["a.one"]),
        ("newly flaky", ["a.three"]),
        ("fixed", ["a.two"]),
        ("removed", ["a.four"]),
    ]


def test_another_cell_is_nothing_to_compare_with(tmp_path: Path) -> None:
    other = entry(20, {"a.one": "pass"}).model_copy(update={"key": "kind/host/flannel/1.34/2"})
    assert words(made(tmp_path, [verdict("a.one", "fail")], other)) == []


def test_a_night_that_never_came_up_is_passed_over_when_comparing(tmp_path: Path) -> None:
    broken = entry(20, {}, "lab")
    assert words(made(tmp_path, [verdict("a.one")], entry(19, {"a.one": "fail"}), broken)) == [("fixed", ["a.one"])]


def test_a_run_without_labs_does_not_remove_them(tmp_path: Path) -> None:
    last = entry(20, {"a.one": "pass", "lab:pod-model": "pass"})
    assert words(made(tmp_path, [verdict("a.one")], last)) == []


def test_labs_are_compared_with_the_last_run_that_had_any(tmp_path: Path) -> None:
    step = LabStep(lab="pod-model", step="x", title="X", place="operator", status="fail")
    run = run_dir(tmp_path, [verdict("a.one")], labs=[step])
    earlier = [entry(19, {"lab:pod-model": "pass"}), entry(20, {"a.one": "pass"})]
    assert words(build([run], earlier)) == [("new failure", ["lab pod-model"])]


def test_pins_that_are_others_are_told(tmp_path: Path) -> None:
    last = entry(20, {"a.one": "pass"}).model_copy(update={"pins": {"kubernetes": "1.33.1 abc", "gone": "1"}})
    (changes,) = made(tmp_path, [verdict("a.one")], last).night.changes
    assert [(pin.id, pin.before, pin.now) for pin in changes.pins if pin.id in {"kubernetes", "gone"}] == [
        ("kubernetes", "1.33.1 abc", "1.34.4 000000000000"),
        ("gone", "1", ""),
    ]


def test_one_change_is_news_and_two_are_flaky(tmp_path: Path) -> None:
    past = [entry(18, {"a.news": "pass", "a.mind": "pass"}), entry(19, {"a.news": "pass", "a.mind": "fail"})]
    (found,) = made(tmp_path, [verdict("a.news", "fail"), verdict("a.mind")], *past).night.flaky
    assert (found.id, found.summary) == ("a.mind", "2 changes in 3 runs")
    assert found.score == pytest.approx(2 / 3)


def test_of_several_runs_of_a_cell_the_newest_counts(tmp_path: Path) -> None:
    runs = [run_dir(tmp_path, [verdict("a.one")], day=21), run_dir(tmp_path, [verdict("a.one", "fail")], day=20)]
    (cell,) = build(runs).night.cells
    assert cell.note == "the newest of 2 runs"
    assert cell.mark.tone == "good"


def test_cells_of_one_name_are_told_apart(tmp_path: Path) -> None:
    two = run_dir(tmp_path, day=20)
    three = run_dir(tmp_path, day=21)
    run = three.source.run
    run.write_info(run.info().model_copy(update={"nodes": 3}))
    names = [cell.name for cell in build([two, three]).night.cells]
    assert names == ["flannel, 2 nodes, Kubernetes 1.34", "flannel, 3 nodes, Kubernetes 1.34"]


def test_every_hole_of_the_parity_table_has_a_reason(whole: Made) -> None:
    table = whole.night.parity
    assert table is not None
    for row in table.rows:
        assert len(row.cells) == len(table.columns)
        for cell in row.cells:
            if cell.mark.word == "not run":
                assert table.reasons[cell.why - 1]
    assert "not run: unavailable: no variant 'weave' yet" in table.reasons
    assert any(reason.startswith("not run: the cluster did not come up") for reason in table.reasons)


def test_a_planned_cell_without_a_run_is_listed_with_its_reason(whole: Made) -> None:
    assert [(one.name, one.reason) for one in whole.night.absent] == [
        ("weave under debian", "unavailable: no variant 'weave' yet")
    ]


def test_the_history_has_one_line_per_run_however_often_it_is_reported(tmp_path: Path) -> None:
    runs = [run_dir(tmp_path, [verdict("a.one")])]
    once = build(runs, [entry(20, {"a.one": "pass"})])
    again = build(runs, once.history)
    assert [one.id for one in again.history] == ["old-20", "2026-11-21-flannel"]
    assert again == once


def test_the_history_survives_being_written_and_read(whole: Made) -> None:
    text = history.dump(whole.history)
    entries, unread = history.parse(text + "not json\n")
    assert tuple(entries) == whole.history
    assert unread == 1


def test_the_history_keeps_a_year_of_each_cell() -> None:
    lines = [
        entry(1, {}).model_copy(update={"id": f"r{n:04}", "started": f"{2000 + n}-01-01T00:00:00Z"}) for n in range(400)
    ]
    other = entry(1, {}).model_copy(update={"key": "other", "id": "x"})
    kept = history.merged([other, *lines], [])
    assert len(kept) == history.KEEP + 1
    assert kept[-1].id == "r0399"


@pytest.mark.parametrize("name", ["summary.md", "parity.md", "history.jsonl"])
def test_output_is_as_reviewed(whole: Made, name: str, golden: Callable[[str, str], None]) -> None:
    text = {
        "summary.md": lambda: markdown.summary(whole.night),
        "parity.md": lambda: markdown.parity(whole.night.parity),
        "history.jsonl": lambda: history.dump(whole.history),
    }[name]()
    golden(f"reports/night/{name}", text)


def test_the_page_is_sound_html_with_every_section(whole: Made) -> None:
    read = page.read(night_page.render(whole.night))
    assert read.problems == []
    sections = {"verdict", "changes", "cells", "requirements", "parity", "history", "environment"}
    assert sections <= set(read.ids)


def test_the_page_of_no_run_at_all_is_sound_html() -> None:
    night = build([], plan=PLAN, labs=LABS).night
    assert page.read(night_page.render(night)).problems == []
    assert night.verdict.sentence == "no cell ran"


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    pages = [
        night_page.render(build([run_dir(tmp_path / place, [verdict("a.one")])], labs=LABS).night)
        for place in ("one", "other")
    ]
    assert pages[0] == pages[1]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    name = sample.HOSTILE
    step = LabStep(lab=name, step=name, title=name, place="operator", status="skip", reason=name)
    run = run_dir(tmp_path, [verdict(f"model.{name}", "fail"), verdict("a|b`c")], labs=[step])
    info = run.source.run.info()
    hostile = {"variant": name, "provider": "[a](b)|", "host": {name: name}, "id": name, "reproduce": name}
    run.source.run.write_info(info.model_copy(update=hostile))
    night = build([Run(Source(run.source.run), "runs/x/report.html")], labs=[(name, name)], plan=PLAN).night
    html = night_page.render(night)
    read = page.read(html)
    assert name not in html
    assert read.problems == []
    assert read.tags.count("script") == 1
    for text in (markdown.summary(night), markdown.parity(night.parity)):
        outside = "".join(re.sub(r"\\.", "", text).split("`")[::2])
        assert "<script>" not in outside
        assert "[a](b)" not in outside


def test_a_large_night_stays_within_the_budget(tmp_path: Path) -> None:
    results = [verdict(f"model.r{n}", "fail" if n % 50 == 0 else "pass") for n in range(150)]
    runs = [run_dir(tmp_path, results, variant=f"variant-{n}") for n in range(15)]
    labs = [(f"lab-{n}", f"Lab {n}") for n in range(60)]
    night = build(runs, labs=labs).night
    assert len(night_page.render(night).encode()) <= BUDGET
    assert len(markdown.summary(night).encode()) <= escape.LIMIT


def test_nothing_is_loaded_from_anywhere(whole: Made) -> None:
    html = night_page.render(whole.night)
    assert "http://" not in html
    assert "https://" not in html
    assert html.count("<style>") == html.count("<script>") == 1


def test_a_red_cell_names_its_first_cause(tmp_path: Path) -> None:
    run = run_dir(tmp_path, [verdict("model.x", "fail")])
    run.source.run.write_causes(sample.causes())
    night = build([run]).night
    for text in (page.read(night_page.render(night)).text, markdown.summary(night)):
        assert "Cause: n1 gives 10.244.0.3" in text


def test_a_cell_that_nothing_explains_names_no_cause(tmp_path: Path) -> None:
    run = run_dir(tmp_path, [verdict("model.x", "fail")])
    run.source.run.write_causes(sample.causes()[2:])
    assert "Cause:" not in night_page.render(build([run]).night)
