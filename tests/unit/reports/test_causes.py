"""The page of a red run begins with what is wrong, and says of each requirement which of it is the reason."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from conformance.causes.library import kinds
from harness.model.cause import Cause, Confidence, typed
from harness.model.gaps import gaps
from harness.model.records import Result
from harness.model.run import RunDir
from reports import conformance_yaml, ctrf, junit, markdown
from reports.build import build
from reports.html import render
from tests.unit.reports import page, sample

NAMES = [f"svc.check-{number}" for number in range(22)]
DOING = re.compile(r"(send |restart|delete the pod|ip route add|bridge fdb (append|replace))\b")
"""What the library says in words: no command is the same everywhere, or a part of it is not known."""


def red(name: str, **facts: object) -> Result:
    return Result.model_validate(
        {"id": name, "title": name, "level": "M", "status": "fail", "statement": f"{name} is not met", "tested": 1}
        | {"total": 1, "area": "services", **facts}
    )


def cause(confidence: Confidence = "certain", **facts: object) -> Cause:
    return Cause.model_validate(
        {"key": "n1/forwarding", "kind": "forwarding.off", "place": "n1", "sentence": "n1 does not forward"}
        | {"confidence": confidence, "look": "sysctl net.ipv4.ip_forward", "follows": NAMES}
        | {"mend": "sysctl -w net.ipv4.ip_forward=1", **facts}
    )


def run_of(path: Path, *causes: Cause, more: tuple[Result, ...] = ()) -> RunDir:
    run = RunDir(path / "run")
    run.write_info(sample.info(sample.Sample()))
    run.add_results([*map(red, NAMES), *more])
    run.write_causes(causes)
    return run


def test_many_failures_of_one_cause_are_one_line_at_the_top(tmp_path: Path) -> None:
    read = page.read(render(build(run_of(tmp_path, cause()))))
    assert read.problems == []
    told = "1 cause explains the 22 requirements that are not met"
    what = "n1 does not forward"
    follows = "22 requirements are not met because of it:"
    places = [read.text.index(words) for words in (told, what, follows, "Requirements The requirements")]
    assert places == sorted(places)
    assert all(read.links.count(f"#req-{name}") == 2 for name in NAMES), "from the cause, and from the square"


def test_each_row_leads_to_its_cause(tmp_path: Path) -> None:
    html = render(build(run_of(tmp_path, cause())))
    assert html.count('<a class="why" href="#cause-1">because of cause 1</a>') == len(NAMES)
    assert 'id="cause-1"' in html
    assert " cause:1" in html


def test_commands_are_copied_as_they_are_and_say_where(tmp_path: Path) -> None:
    html = render(build(run_of(tmp_path, cause())))
    for name, command in (("See it", "sysctl net.ipv4.ip_forward"), ("Mend it", "sysctl -w net.ipv4.ip_forward=1")):
        assert f"<p>{name}, on n1:</p>" in html
        assert f"<code>{command}</code>" in html


def test_what_is_no_command_is_not_offered_for_copying(tmp_path: Path) -> None:
    html = render(build(run_of(tmp_path, cause(mend="restart the agent of the network on n1"))))
    assert '<p class="do">restart the agent of the network on n1</p>' in html


@pytest.mark.parametrize("kind", kinds().values(), ids=kinds())
def test_the_library_says_a_command_or_what_to_do(kind: object) -> None:
    for text in filter(None, (kind.look, kind.mend)):  # type: ignore[attr-defined]
        known = re.sub(r"\{(show|delete)\}", "nft list ruleset", text)
        assert typed(known) or DOING.match(known), text


def test_rows_that_a_cause_explains_are_closed(tmp_path: Path) -> None:
    html = render(build(run_of(tmp_path, cause(), more=(red("svc.other"),))))
    opened = re.findall(r'<details class="req[^>]* id="req-([^"]+)"[^>]* open>', html)
    assert opened == ["svc.other"]


def test_what_was_not_judged_for_it_is_counted(tmp_path: Path) -> None:
    kept = red("svc.kept", status="skip", reason="blocked", blocked_by=NAMES[0])
    assert "1 more was not judged, as it needs one of these" in render(build(run_of(tmp_path, cause(), more=(kept,))))


def test_what_is_not_certain_is_not_said_to_be(tmp_path: Path) -> None:
    read = page.read(render(build(run_of(tmp_path, cause("possible")))))
    assert "1 possible cause may explain the 22 requirements that are not met" in read.text
    assert "are not met, perhaps because of it" in read.text
    assert "because of perhaps cause 1" in read.text
    assert "not all that decides this could be evaluated" in read.text


def test_a_symptom_is_no_cause(tmp_path: Path) -> None:
    symptom = cause("unexplained", kind="symptom", look="", mend="")
    report = build(run_of(tmp_path, symptom))
    read = page.read(render(report))
    assert "Nothing that was read explains the 22 requirements that are not met" in read.text
    assert "because of" not in read.text
    assert 'message="svc.check-0 is not met"' in junit.render(report)


def test_several_causes_share_what_follows(explained: RunDir) -> None:
    read = page.read(render(build(explained)))
    assert read.problems == []
    assert "2 causes explain 1 of the 2 requirements that are not met" in read.text
    assert "because of cause 1 and perhaps cause 2" in read.text


def test_the_way_of_the_packet_ends_at_the_trouble(explained: RunDir) -> None:
    text = page.read(render(build(explained))).text
    way = text[text.index("The way of a packet to this place") :]
    assert way.index("b eth0") < way.index("n1 flannel.1") < way.index("here is the trouble")


def test_more_causes_than_a_reader_can_hold_are_folded(tmp_path: Path) -> None:
    found = [cause(key=f"n{number}", sentence=f"n{number} does not forward") for number in range(6)]
    read = page.read(render(build(run_of(tmp_path, *found))))
    assert read.problems == []
    assert {f"cause-{number}" for number in range(1, 7)} <= set(read.ids)
    assert "3 more" in read.text


def test_a_run_without_causes_has_no_trace_of_them(full: RunDir, tmp_path: Path) -> None:
    before = render(build(full))
    full.write_causes(())
    after = render(build(full))
    assert "#causes" not in before
    assert "because of" not in before
    assert 'id="causes"' not in after
    assert run_of(tmp_path).causes() == []


def test_a_requirement_that_holds_now_is_not_said_to_follow(full: RunDir) -> None:
    full.write_causes([cause(follows=["model.identity"])])
    assert "because of cause" not in render(build(full))


def test_a_cause_of_something_without_a_verdict_is_named_without_a_link(full: RunDir) -> None:
    full.write_causes([cause(follows=["no.such"])])
    html = render(build(full))
    assert page.read(html).problems == []
    assert "<code>no.such</code>" in html


def test_hostile_words_of_a_cause_stay_text(tmp_path: Path) -> None:
    bad = cause(sentence=sample.HOSTILE, look=f"ip {sample.HOSTILE}", place="<b>", path=(sample.HOSTILE, "x: <i>"))
    report = build(run_of(tmp_path, bad))
    html = render(report)
    assert sample.HOSTILE not in html
    assert page.read(html).problems == []
    outside = "".join(markdown.render(report).split("`")[::2])
    assert "<script>" not in outside


def test_the_failure_of_junit_begins_with_the_cause(tmp_path: Path) -> None:
    root = ET.fromstring(junit.render(build(run_of(tmp_path, cause()))))  # noqa: S314 - our own output
    failures = root.findall(".//failure")
    assert len(failures) == len(NAMES)
    for name, failure in zip(NAMES, failures, strict=True):
        assert failure.get("message") == f"cause 1: n1 does not forward (certain). Seen: {name} is not met"
        assert (failure.text or "").startswith("cause 1, see, on n1: sysctl net.ipv4.ip_forward\n")


def test_data_has_each_cause_once_and_its_number_where_it_matters(tmp_path: Path) -> None:
    report = build(run_of(tmp_path, cause()))
    results = json.loads(ctrf.render(report))["results"]
    assert [one["number"] for one in results["extra"]["causes"]] == [1]
    assert results["extra"]["causes"][0]["follows"] == NAMES
    assert all(test["extra"]["causes"] == [1] for test in results["tests"])
    assert "\ncauses:\n- number: 1\n  place: n1\n" in conformance_yaml.render(report)


def test_the_summary_begins_with_the_cause(tmp_path: Path) -> None:
    text = markdown.render(build(run_of(tmp_path, cause())))
    assert text.index("n1 does not forward") < text.index("Area")
    assert "- See it, on n1: `sysctl net.ipv4.ip\\_forward`" not in text
    assert "- See it, on n1: `sysctl net.ipv4.ip_forward`" in text
    assert "and 10 more" in text


def test_no_reader_has_to_fill_a_gap(full: RunDir) -> None:
    # As older runs have it.
    full.add_results([red("model.identity", next=("ip route get {destination}", "nft list ruleset"))])
    report = build(full)
    for text in (render(report), markdown.render(report), junit.render(report), ctrf.render(report)):
        shown = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.DOTALL)
        assert gaps(shown) == []
        assert "nft list ruleset" in shown
