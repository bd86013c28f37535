"""Write the report of a night: many run directories and their history as one page."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness import files
from harness.errors import CnilabError, ReportError, UsageError
from harness.model.run import RunDir
from harness.steps.labs.choose import list_labs
from harness.steps.lifecycle.report import write_reports
from reports.night import build as nights
from reports.night import history, markdown, page
from reports.night.cells import USUAL, Planned, Run, key_of, name_of
from reports.source import Source

PAGE: Final = "index.html"
HISTORY: Final = "history.jsonl"


def write_night(runs: Sequence[Path], into: Path, *, known: Path | None = None, plan: Path | None = None) -> list[Path]:
    """Write page, summary, parity table and history of a night.

    Args:
        runs: Run directories. One that has no page of its own yet gets one.
        into: Directory for what is written; pages of runs are linked relative to it.
        known: History of earlier nights; None: the one in `into`. Need not be there.
        plan: Cells that were to run: what `matrix list -o json` prints, or the record of `matrix run`.

    Returns:
        The files written, the page first.

    Raises:
        UsageError: A directory is no run, or the plan cannot be read.
        ReportError: Something could not be written.
    """
    source = known or into / HISTORY
    entries, unread = history.parse(_text(source))
    planned = _plan(plan) if plan else []
    catalogue = [(lab.id, lab.title) for lab in list_labs()]
    try:
        into.mkdir(parents=True, exist_ok=True)
        made = nights.build([_run(path, into) for path in runs], entries, planned, catalogue)
        night = made.night
        texts = {
            PAGE: page.render(night),
            "summary.md": markdown.summary(night),
            "parity.md": markdown.parity(night.parity),
            HISTORY: history.dump(made.history),
        }
        written = [files.replace(into / name, text) for name, text in texts.items()]
    except OSError as error:
        msg = "the report of the night could not be written"
        raise ReportError(msg, cause=str(error), where=str(into)) from error
    if unread:
        msg = f"{unread} lines of the history could not be read and are not in the new one"
        raise ReportError(msg, where=str(source), notes=[f"written: {path}" for path in written])
    return written


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except OSError as error:
        msg = "the history cannot be read"
        raise ReportError(msg, cause=str(error), where=str(path)) from error


def _run(path: Path, into: Path) -> Run:
    if not (path / "run.json").is_file():
        msg = f"{path} is not a run directory"
        raise UsageError(msg, cause="it has no run.json", next_step="give directories below .runs/")
    found = path.resolve()
    own = found / "report.html"
    problem = ""
    if not own.exists():
        try:
            write_reports(RunDir(found))
        except CnilabError as error:
            problem = f"{error.what}: {error.cause}"  # the night is told without it
    href = os.path.relpath(own, into.resolve()) if own.exists() else ""
    return Run(Source(RunDir(found)), href, problem)


def _plan(path: Path) -> list[Planned]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return [_planned(item) for item in document["items"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path} is not a plan of a matrix"
        raise UsageError(msg, cause=str(error), next_step="cnilab matrix list -o json > plan.json") from error


def _planned(item: Mapping[str, Any]) -> Planned:
    cell = {name: str(item[name]) for name in ("id", "provider", "kernel", "variant", "kubernetes")}
    families = str(item.get("ipFamily") or USUAL)
    reason = str(item.get("unavailable") or "")
    told = {"timeout": "it took too long and left no run directory", "waiting": "it did not get its turn"}
    if item.get("exit"):
        told["failed"] = f"it ended with exit code {item['exit']} and left no run directory"
    return Planned(
        id=cell["id"],
        key=key_of(cell["provider"], cell["kernel"], cell["variant"], cell["kubernetes"], int(item["nodes"]), families),
        name=name_of(cell["provider"], cell["kernel"], cell["variant"], families),
        reason=f"unavailable: {reason}" if reason else told.get(str(item.get("state")), "it left no run directory"),
    )
