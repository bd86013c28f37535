"""A run directory is judged by a pytest of its own: tests, exit code, results and JUnit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import conformance
from harness.model.records import Observation
from harness.model.run import RunDir, RunInfo
from tests.unit.conformance import simlab

SUITE = Path(conformance.__file__).parent


def saved_run(path: Path, observations: tuple[Observation, ...]) -> RunDir:
    run = RunDir(path)
    info = {"id": "r", "lab": "l", "started": "now", "variant": "flannel", "provider": "namespaces"}
    spec = simlab.SPEC.model_dump(mode="json", by_alias=True)
    run.write_info(RunInfo.model_validate({**info, "kubernetes": "1.34", "nodes": 2, "spec": spec}))
    run.add_observations(observations)
    return run


def judge(run: RunDir, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [
        sys.executable, "-m", "pytest", "-c", str(SUITE / "pytest.ini"), "--rootdir", str(SUITE), str(SUITE),
        "-p", "cnilab", "-p", "no:cacheprovider", "-q", "--cnilab-run", str(run.path),
        "--junit-xml", str(run.path / "junit.xml"), *options,
    ]  # fmt: skip
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    return subprocess.run(argv, capture_output=True, text=True, env=env, check=False)


def test_a_green_run_passes_and_leaves_results_and_junit(tmp_path: Path) -> None:
    run = saved_run(tmp_path, simlab.GREEN)
    done = judge(run, "--cnilab-select", "nat,svc.kpf")
    assert done.returncode == 0, done.stdout
    assert {result.id: result.status for result in run.results()} == {
        "model.no-nat.same-node": "pass",
        "model.no-nat.cross-node": "pass",
        "model.no-nat.wire": "pass",
        "svc.kpf": "not-applicable",
    }
    names = {case.get("name") for case in ET.parse(tmp_path / "junit.xml").iter("testcase")}  # noqa: S314 - our own file
    assert "test_nat[model.no-nat.wire]" in names


@pytest.mark.parametrize(
    ("change", "select", "options", "code", "words"),
    [
        ({"outcome": "timeout"}, "model.pod-pod.cross-node", (), 1, "got no answer from 10.244.1.2:8080/tcp (c, n2)"),
        ({"ttl": 60}, "model.hops", (), 0, "1 xfailed"),
        ({"ttl": 60}, "model.hops", ("--cnilab-strict",), 1, "with TTL 60, not 62"),
    ],
)
def test_a_failed_must_fails_and_a_failed_should_only_when_strict(
    tmp_path: Path, change: dict[str, object], select: str, options: tuple[str, ...], code: int, words: str
) -> None:
    broken = simlab.changed(simlab.exchanges(change, purpose="mesh", src="a", dst="c")).observations
    done = judge(saved_run(tmp_path, broken), "--cnilab-select", select, *options)
    assert done.returncode == code, done.stdout
    assert words in done.stdout


def test_a_broken_control_is_the_labs_exit_code(tmp_path: Path) -> None:
    broken = simlab.changed(simlab.exchanges({"outcome": "timeout"}, purpose="self")).observations
    done = judge(saved_run(tmp_path, broken), "--cnilab-select", "model.pod-pod.cross-node")
    assert done.returncode == 11, done.stdout
    assert "no verdict: no verdict" not in done.stdout
    assert "control P1 is broken" in done.stdout
