"""`cnilab test`: deploy the suite, observe in batches, keep the observations, and have pytest judge them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import conformance
from conformance.registry import batches
from conformance.registry import select as choose
from harness import timeouts
from harness.errors import BringUpError
from harness.model.journal import Journal
from harness.model.records import Dump, Result
from harness.model.run import RunDir
from harness.probes import topology
from harness.runner import HostRunner
from harness.steps import suite as suites
from harness.steps.attach import Attached
from harness.steps.observe import observe, wait_for_proxy

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
    deploy: Callable[[Attached, Journal], suites.Suite] = suites.deploy,
) -> list[Result]:
    """Run the suite against a lab.

    Args:
        attached: The lab.
        run: Gets observations, captures, topology and results.
        journal: Gets a step for every part.
        select: Ids, areas or patterns, separated by commas; empty for all.
        strict: A failed SHOULD counts as failed.
        deploy: Makes the suite's pods.

    Returns:
        Results in the order of the catalogue.

    Raises:
        UsageError: `select` matches nothing.
        BringUpError: The suite's pods do not become ready, or pytest itself broke.
    """
    checks = choose(select)
    with journal.step("test", "conformance", checks=len(checks)) as detail:
        suite = deploy(attached, journal)
        attached = suite.attached
        if "svc" in attached.variant.gates:
            wait_for_proxy(suite, journal)
        seen = observe(suite, batches(checks), run.path, journal)
        run.add_observations(seen)
        dumps = [one for one in seen if isinstance(one, Dump)]
        run.write_topology(topology.build(dumps, attached.spec))
        with journal.step("test.judge", "verdicts"):
            _judge(run, ",".join(check.id for check in checks) if select else "", strict=strict)
        wanted = {check.id for check in checks}
        results = [result for result in run.results() if result.id in wanted]
        detail |= {status: sum(one.status == status for one in results) for status in ("pass", "fail", "error")}
    return results


def _judge(run: RunDir, select: str, *, strict: bool) -> None:
    """Judge the run directory in a pytest of its own, so that its plugins and ours do not meet."""
    argv = [
        sys.executable, "-m", "pytest", "-c", str(SUITE / "pytest.ini"), "--rootdir", str(SUITE), str(SUITE),
        "-p", "cnilab", "-p", "no:cacheprovider", "-q", "--no-header", "--tb=short",
        "--cnilab-run", str(run.path), "--junit-xml", str(run.path / JUNIT),
    ]  # fmt: skip
    argv += ["--cnilab-select", select] if select else []
    argv += ["--cnilab-strict"] if strict else []
    done = HostRunner().run(argv, check=False, timeout=timeouts.COMMAND * 2, env=_environment())
    log = run.directory("logs") / "conformance.log"
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode not in JUDGED:
        msg = "the conformance suite could not be judged"
        raise BringUpError(msg, cause=done.tail(), where=done.command, log=str(log))


def _environment() -> Mapping[str, str]:
    """No other plugin, and no options from outside."""
    return {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "NO_COLOR": "1"}
