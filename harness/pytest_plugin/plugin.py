"""Judges a run directory through pytest: one test per requirement.

    pytest -p cnilab --pyargs conformance --cnilab-run .runs/2026-01-31-flannel

Nothing is probed here: the run directory has the observations, the suite has the judges. A failed MUST fails its test
with the sentence of the first failed leg. A failed SHOULD is an expected failure unless `--cnilab-strict`. Results are
appended to `results.jsonl`; JUnit is pytest's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conformance.context import Context
    from conformance.model import Check
    from conformance.suite import Assess
    from harness.model.records import Result
    from harness.model.run import RunDir

LAB_ERROR = 11
"""Exit code when there is no verdict: a control is broken, or the lab is."""

_RESULTS = pytest.StashKey["list[Result]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the conformance suite."""
    group = parser.getgroup("cnilab", "network conformance")
    group.addoption("--cnilab-run", metavar="DIR", help="Run directory whose observations are judged")
    group.addoption("--cnilab-select", metavar="IDS", default="", help="Ids, areas or patterns, separated by commas")
    group.addoption("--cnilab-strict", action="store_true", help="A failed SHOULD fails its test too")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, for projects whose configuration does not."""
    config.addinivalue_line("markers", "requirement(id): the conformance requirement that a test judges")
    config.stash[_RESULTS] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep only the chosen requirements."""
    words = config.getoption("--cnilab-select")
    if not words:
        return
    from conformance.registry import select  # noqa: PLC0415 - other projects' tests must not load the suite

    wanted = {check.id for check in select(words)}
    chosen = [item for item in items if (mark := item.get_closest_marker("requirement")) and mark.args[0] in wanted]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


@pytest.fixture(scope="session")
def run_dir(request: pytest.FixtureRequest) -> RunDir:
    """The run directory under judgement."""
    from harness.model.run import RunDir  # noqa: PLC0415 - as above

    path = request.config.getoption("--cnilab-run")
    if not path:
        pytest.skip("no run directory: give --cnilab-run DIR, or use 'cnilab test'")
    return RunDir(Path(path))


@pytest.fixture(scope="session")
def run_context(run_dir: RunDir) -> Context:
    """The run as data for judges."""
    from conformance.context import seen_by  # noqa: PLC0415 - as above

    return seen_by(run_dir)


@pytest.fixture
def assess(request: pytest.FixtureRequest, run_dir: RunDir, run_context: Context) -> Assess:
    """Judges a requirement, keeps the result, and passes, fails or skips the test."""
    from conformance.judging import judge  # noqa: PLC0415 - as above
    from conformance.registry import CHECKS  # noqa: PLC0415 - as above
    from harness.model.journal import now  # noqa: PLC0415 - as above

    def assess(check: Check) -> None:
        result = judge(run_context, check, CHECKS)
        run_dir.add_results([result.model_copy(update={"at": now()})])
        request.config.stash[_RESULTS].append(result)
        settle(result, strict=request.config.getoption("--cnilab-strict"))

    return assess


def settle(result: Result, *, strict: bool) -> None:
    """Turn a result into the outcome of a test.

    Args:
        result: The verdict.
        strict: A failed SHOULD fails too.
    """
    if result.status in {"skip", "not-applicable"}:
        pytest.skip(result.statement)
    if result.status == "error":
        text = result.statement.removeprefix("no verdict: ")
        pytest.fail(f"no verdict: {text}", pytrace=False)
    if result.status == "fail":
        text = "\n".join([result.statement, *(f"  next: {command}" for command in result.next)])
        if result.level == "M" or strict:
            pytest.fail(text, pytrace=False)
        pytest.xfail(text)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tell a broken lab from a broken network: 11 when there are errors and no MUST failed."""
    results = session.config.stash[_RESULTS]
    if not results or exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        return
    from conformance.judging import exit_code  # noqa: PLC0415 - as above

    session.exitstatus = exit_code(results, strict=session.config.getoption("--cnilab-strict"))
