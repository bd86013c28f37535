"""Write the report of a run. It never hides a test result: callers keep the exit code that they already have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from harness import files
from harness.errors import CnilabError, ReportError
from harness.model.run import RunDir
from reports import conformance_yaml, ctrf, html, junit, markdown
from reports.build import build
from reports.model import Report

WRITERS: Final[dict[str, Callable[[Report], str]]] = {
    "report.html": html.render,
    "junit.xml": junit.render,
    "summary.md": markdown.render,
    "ctrf.json": ctrf.render,
    "conformance-report.yaml": conformance_yaml.render,
}
"""Files of a report, the one for people first."""


def write_reports(run: RunDir) -> list[Path]:
    """Write all reports of a run into its directory.

    Each is written on its own, so that one that cannot be written does not take the others with it.

    Args:
        run: A run directory, whole or partial.

    Returns:
        The files written, the page first.

    Raises:
        ReportError: When something could not be read or written; says what was written all the same.
    """
    try:
        report = build(run)
    except CnilabError:
        raise
    except Exception as error:
        msg = "the report could not be made from the run"
        raise ReportError(
            msg, cause=_cause(error), where=str(run.path), next_step="the run itself is intact"
        ) from error
    written: list[Path] = []
    failures: dict[str, Exception] = {}
    for name, render in WRITERS.items():
        try:
            written.append(files.replace(run.path / name, render(report)))
        except Exception as error:  # noqa: BLE001 - told below; the other files still get their turn
            failures[name] = error
    if failures:
        first = next(iter(failures.values()))
        msg = f"could not write {', '.join(failures)}"
        raise ReportError(
            msg,
            cause="\n".join(f"{name}: {_cause(error)}" for name, error in failures.items()),
            where=str(run.path),
            next_step="the run itself is intact: remove the cause and run 'cnilab report' again",
            notes=[f"written: {path}" for path in written],
        ) from first
    return written


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
