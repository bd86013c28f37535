"""The main job, as tox does it."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from conformance.registry import CHECKS
from harness.faults.catalogue import faults
from tests.covering import few
from tests.e2e.conftest import Cli
from tests.e2e.verdicts import red


def trouble(labs: dict[str, Any]) -> list[str]:
    """What failed, one line for each step: a whole document of labs hides it."""
    return [
        f"{item['lab']}/{step['step']} {step['status']} on {step['place']}: {step['reason']} | {step['observed']}"
        for item in labs["items"]
        for step in item["steps"]
        if step["status"] in {"fail", "error"}
    ]


VARIANTS = os.environ.get("CNILAB_E2E_VARIANTS", "flannel,cilium").split(",")
"""By default those that differ most; each variant has a tox environment of its own besides, which the night runs."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_up_apply_test_report_down_and_the_machine_is_as_before(
    variant: str, cli: Cli, untouched: list[str], tmp_path: Path
) -> None:
    name = untouched[0]
    # CI names a place, so that the runs can be looked at afterwards.
    run = Path(os.environ.get("CNILAB_E2E_RUNS", tmp_path)) / variant
    up = cli("up", variant, "--name", name, "--run-dir", run)
    assert up.stdout == f"export KUBECONFIG={cli.state}/labs/{name}/kubeconfig\n"
    assert cli.labs() == {name: "Ready"}
    labs = cli.data("apply", code=None)
    results = cli.data("test", code=None)
    assert labs["items"], "no lab fits"
    assert trouble(labs) == []
    assert red(results["items"]) == {}
    assert sum(item["status"] == "pass" for item in results["items"]) >= 20
    assert cli("collect").stdout == f"{run}/logs\n"
    assert f"{run}/report.html" in cli("report", "--cluster", name).stdout.splitlines()
    cli("down", name)
    page = (run / "report.html").read_text()
    assert variant in page
    assert not re.search(r"(src|href)=[\"']https?://(?!cnilab)", page), "the page must work offline"
    assert ET.parse(run / "junit.xml").getroot().tag in {"testsuites", "testsuite"}  # noqa: S314 - our own file
    before = (run / "report.html").read_bytes()
    cli("report", run)
    assert (run / "report.html").read_bytes() == before
    assert not any(path.name.startswith(".") for path in run.iterdir())
    # The cluster is gone, and its verdicts can be had again: the same bytes each time.
    judged = [cli("judge", run, "-o", "json") for _ in range(2)]
    assert judged[0].stdout == judged[1].stdout
    assert json.loads(judged[0].stdout)["items"] == [{**item, "wall_ms": 0.0} for item in results["items"]]
    assert judged[0].stderr == f"All {len(results['items'])} verdicts of the run are the same.\n"


def test_playbooks_change_nothing_the_second_time(flannel: tuple[Cli, str]) -> None:
    cli, name = flannel
    cli("apply", "--cluster", name, "pod-pause")
    cli("apply", "--cluster", name, "pod-pause")
    run = Path(cli.data("status")["items"][0]["run"])
    recaps = sorted(run.glob("ansible/**/stats.json")) or sorted(run.glob("ansible/**/stdout"))
    assert recaps, "no recap of a playbook in the run directory"
    text = recaps[-1].read_text()
    if recaps[-1].name == "stats.json":
        assert not any(json.loads(text)["changed"].values())
    else:
        assert re.findall(r"changed=(\d+)", text.rpartition("PLAY RECAP")[2]) in (["0"], ["0"] * 3, ["0"] * 2)


def passing(cli: Cli, name: str) -> set[str]:
    """Requirements that the suite finds met, and that a fault can make fail."""
    items = cli.data("test", "--cluster", name)["items"]
    assert red(items) == {}
    return {item["id"] for item in items if item["status"] == "pass" and not CHECKS[item["id"]].inverse}


@pytest.mark.timeout(2400, func_only=True)
def test_each_requirement_that_passes_fails_under_a_fault(flannel: tuple[Cli, str]) -> None:
    """As few faults as do it; where one of them changes nothing here, another one is taken."""
    cli, name = flannel
    left, among, seen = passing(cli, name), list(faults()), set[str]()
    while chosen := few(among, left - seen):
        seen |= cli.mutations(name, *(fault.id for fault in chosen))
        among = [fault for fault in among if fault not in chosen]
    assert left - seen == set(), "passed, and no fault made it fail"


@pytest.mark.night
@pytest.mark.timeout(3000, func_only=True)
def test_the_suite_notices_every_fault(flannel: tuple[Cli, str]) -> None:
    """The suite itself is tested: each fault must be seen by the checks that are made for it.

    A fault of one IP family must be seen over that family alone: its `spares` has the same checks over the other one.
    """
    cli, name = flannel
    cli.mutations(name)
    assert passing(cli, name)


def test_the_suite_notices_a_plugin_whose_check_is_worthless(cli: Cli, untouched: list[str]) -> None:
    """CHECK is asked only where the configuration's version knows it."""
    cli("up", "bridge", "--name", untouched[0], "--nodes", "1")
    assert cli.mutations(untouched[0], "F62", "F86") >= {"cni.check.ok", "cni.check.detects"}
    cli("down")
