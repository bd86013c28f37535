from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.model.run import RunDir
from reports.build import build
from reports.html import render
from tests.unit.reports import page, sample

BUDGET = 1_500_000


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    one = render(build(sample.write(tmp_path / "one" / sample.RUN_ID)))
    other = render(build(sample.write(tmp_path / "other" / sample.RUN_ID)))
    assert one == other


def test_the_page_is_sound_html(full: RunDir) -> None:
    assert page.read(render(build(full))).problems == []


def test_the_page_of_a_failed_bring_up_is_sound_html(partial: RunDir) -> None:
    assert page.read(render(build(partial))).problems == []


@pytest.mark.parametrize("nodes", [1, 3, 5, 12, 20])
def test_the_page_is_sound_html_for_any_number_of_nodes(tmp_path: Path, nodes: int) -> None:
    run = sample.write(tmp_path / "run", sample.Sample(nodes=nodes))
    assert page.read(render(build(run))).problems == []


def test_nothing_is_loaded_from_anywhere(full: RunDir) -> None:
    html = render(build(full))
    assert not re.search(r"https?://|@import|url\(", html)


def test_the_policy_allows_only_our_own_style_and_script(full: RunDir) -> None:
    html = render(build(full))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert "unsafe-inline" not in policy[1]
    assert html.count("<style>") == html.count("<script>") == 1


def test_deep_links_have_targets(full: RunDir) -> None:
    ids = page.read(render(build(full))).ids
    assert {"req-model.no-nat.cross-node", "pair-a-c", "lab-flannel-routes", "step-flannel-routes-port"} <= set(ids)


def test_a_large_run_stays_within_the_budget(tmp_path: Path) -> None:
    run = sample.write(tmp_path / "run", sample.Sample(nodes=20, pods_per_node=2, requirements=485))
    report = build(run)
    assert report.requirements is not None
    assert sum(len(area.requirements) for area in report.requirements.areas) >= 500
    assert report.matrix is not None
    assert len(report.matrix.axes) == 40
    html = render(report)
    assert len(html.encode()) <= BUDGET
    assert page.read(html).problems == []


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    names = (sample.HOSTILE, 'b" onclick="alert(1)', "../../etc/passwd", "x" * 300)
    run = sample.write(tmp_path / "run", sample.Sample(names=names))
    html = render(build(run))
    assert sample.HOSTILE not in html
    read = page.read(html)
    assert read.problems == []
    assert read.tags.count("script") == 1
    assert 'alert("x")' in read.text


def test_two_pods_whose_names_make_the_same_anchor_are_both_linked(tmp_path: Path) -> None:
    run = sample.write(tmp_path / "run", sample.Sample(names=("a b", "a/b", "a-b", "a")))
    assert page.read(render(build(run))).problems == []


def test_the_script_is_small() -> None:
    script = Path(__file__).parents[3] / "reports" / "assets" / "script.js"
    assert script.stat().st_size < 15_000


def test_every_status_is_said_in_words_too(full: RunDir) -> None:
    text = page.read(render(build(full))).text
    for word in ("fail", "flaky", "skipped", "not applicable", "not met"):
        assert word in text


def test_corrected_claims_are_listed_with_a_link_to_the_step(full: RunDir) -> None:
    html = render(build(full))
    read = page.read(html)
    assert "1 common claim corrected by these labs" in read.text
    assert read.links.count("#step-flannel-routes-port") == 1
