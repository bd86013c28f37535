"""`cnilab test`: deploy the suite, observe in batches, keep the observations, and have pytest judge them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import conformance
from conformance.model import Check
from conformance.registry import batches
from conformance.registry import select as choose
from harness import timeouts
from harness.errors import BringUpError
from harness.model.journal import TEST, Journal
from harness.model.records import Dump, Result
from harness.model.run import RunDir
from harness.probes import topology
from harness.runner import HostRunner
from harness.steps.lifecycle.attach import Attached
from harness.steps.suite import deploy as suites
from harness.steps.suite.disruptive.measure import Disturbance
from harness.steps.suite.explain import explain_run
from harness.steps.suite.judge import SELECT
from harness.steps.suite.observe import Pace, observe, wait_for_proxy

SUITE = Path(conformance.__file__).parent
JUNIT = "conformance.xml"
"""JUnit of the suite alone, in the run directory."""

JUDGED = frozenset({0, 1, 5, 11})
"""Exit codes of pytest with which the results are complete."""


def run_conformance(
    attached: Attached,
    run: RunDir,
    journal: Journal,
    *,
    select: str = "",
    strict: bool = False,
    disturbance: Disturbance | None = None,
) -> list[Result]:
    """Run the suite against a lab.

    Args:
        attached: The lab.
        run: Gets observations, captures, topology and results.
        journal: Gets a step for every part.
        select: Ids, areas or patterns, separated by commas; empty for all.
        strict: A failed SHOULD counts as failed.
        disturbance: How the lab may be disturbed; None: it may not.

    Returns:
        Results in the order of the catalogue.

    Raises:
        UsageError: `select` matches nothing.
        BringUpError: The suite's pods do not become ready, or pytest itself broke.
    """
    checks = choose(select)
    with journal.step(TEST, "conformance", checks=len(checks), **{SELECT: select}) as detail:
        suite = suites.deploy(attached, journal, disruptive=disturbance is not None)
        look(suite, run, journal, checks, disturbance)
        results = verdicts(run, journal, checks, select=select, strict=strict)
        explain_run(run, results, journal)
        detail.update(counts(results))
    return results


def look(
    suite: suites.Suite,
    run: RunDir,
    journal: Journal,
    checks: Sequence[Check],
    disturbance: Disturbance | None = None,
) -> None:
    """Observe what checks need, and keep it.

    Args:
        suite: The deployed suite.
        run: Gets observations, captures and topology.
        journal: Gets a step for every part.
        checks: What is to be judged afterwards.
        disturbance: How the lab may be disturbed; None: it may not.
    """
    judged = frozenset(check.id for check in checks if check.applies(suite.gates))
    how = replace(disturbance or Disturbance(), checks=judged)
    if "svc" in suite.attached.variant.gates:
        wait_for_proxy(suite, journal)
    seen = observe(suite, batches(checks), run.path, journal, Pace(disturbance=how))
    run.add_observations(seen)
    dumps = [one for one in seen if isinstance(one, Dump)]
    run.write_topology(topology.build(dumps, suite.attached.spec))


def verdicts(
    run: RunDir, journal: Journal, checks: Sequence[Check], *, select: str = "", strict: bool = False
) -> list[Result]:
    """Judge what a run has seen; no cluster is needed.

    Args:
        run: Has the observations, and gets the results.
        journal: Gets a step.
        checks: What to judge.
        select: As the user gave it; empty for all.
        strict: A failed SHOULD counts as failed.

    Raises:
        BringUpError: pytest itself broke.
    """
    with journal.step("test.judge", "verdicts"):
        _judge(run, ",".join(check.id for check in checks) if select else "", strict=strict)
    found = {result.id: result for result in run.results()}
    return [found[check.id] for check in checks if check.id in found]


def counts(results: Sequence[Result]) -> dict[str, int]:
    """How many passed, failed, and have no verdict."""
    return {status: sum(one.status == status for one in results) for status in ("pass", "fail", "error")}


def _judge(run: RunDir, select: str, *, strict: bool) -> None:
    """Judge the run directory in a pytest of its own, so that its plugins and ours do not meet."""
    argv = [
        sys.executable, "-m", "pytest", "-c", str(SUITE / "pytest.ini"), "--rootdir", str(SUITE), str(SUITE),
        "-p", "cnilab", "-p", "no:cacheprovider", "-q", "--no-header", "--tb=short",
        "--cnilab-run", str(run.path), "--junit-xml", str(run.path / JUNIT),
    ]  # fmt: skip
    argv += ["--cnilab-select", select] if select else []
    argv += ["--cnilab-strict"] if strict else []
    done = HostRunner().run(argv, check=False, timeout=timeouts.JUDGING, env=_environment())
    log = run.directory("logs") / "conformance.log"
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode not in JUDGED:
        msg = "the conformance suite could not be judged"
        raise BringUpError(msg, cause=done.tail(), where=done.command, log=str(log))


def _environment() -> Mapping[str, str]:
    """No other plugin, and no options from outside."""
    return {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "NO_COLOR": "1"}
