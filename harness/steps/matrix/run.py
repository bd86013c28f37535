"""Run cells of a matrix on this machine, one after the other; each is a `cnilab run` of its own.

A night's directory has `matrix.json`, all cells with what became of them, and every cell's run directory by its id.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from harness import files, timeouts, yamlio
from harness.errors import BringUpError, UsageError
from harness.model.document import API_VERSION
from harness.model.labstate import LabDir
from harness.model.matrix import Cell
from harness.model.spec import Kubernetes
from harness.runner import Runner, stop

State = Literal["ok", "failed", "timeout", "unavailable", "waiting"]

RECORD: Final = "matrix.json"
"""File of a night's directory."""

LAST_WORDS: Final = 240.0
"""Seconds that a cell has to write its report and to remove its lab once its time is over."""


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Args:
        cell: The cell.
        state: `waiting` when its turn never came.
        exit: Exit code of its run; 0 where there was none.
        seconds: How long it took.
    """

    cell: Cell
    state: State
    exit: int = 0
    seconds: float = 0.0

    def item(self) -> dict[str, Any]:
        """As JSON-able data: the cell's own fields and these."""
        return {**item(self.cell), "state": self.state, "exit": self.exit, "seconds": round(self.seconds, 3)}


def item(cell: Cell) -> dict[str, Any]:
    """A cell as JSON-able data, as `matrix list -o json` prints it."""
    fields = asdict(cell)
    fields["cniVersion"] = fields.pop("cni_version")
    fields["ipFamily"] = fields.pop("ip_family")
    return {**fields, "labs": list(cell.labs) if isinstance(cell.labs, tuple) else cell.labs}


@dataclass(frozen=True)
class Work:
    """Words of cnilab that make a cell.

    Args:
        parts: One after the other; one that fails is the last.
        ending: Afterwards, whatever became of the parts.
    """

    parts: tuple[tuple[str, ...], ...]
    ending: tuple[tuple[str, ...], ...] = ()


def work(cell: Cell, directory: Path, state: Path) -> Work:
    """What to do for a cell.

    Args:
        cell: The cell.
        directory: Its run directory; a spec is written there when words cannot say it all.
        state: The state directory.
    """
    if cell.provider == "existing":
        return _on_a_stand_in(cell, directory, state)
    common = ("--run-dir", str(directory), "--replace", *(["--no-labs"] if cell.labs == "none" else []))
    if cell.labs in ("default", "none") and cell.kubernetes == Kubernetes().version:
        return Work((("run", cell.variant, *_options(cell), *common),))
    path = directory / "lab.yaml"
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(yamlio.dumps(spec(cell)), encoding="utf-8")
    return Work((("run", str(path), *common),))


def _options(cell: Cell) -> tuple[str, ...]:
    usual = {"--provider": ("namespaces", "existing"), "--kernel": ("host",), "--cni-version": ("",)}
    given = {"--name": cell.id, "--nodes": str(cell.nodes), "--provider": cell.provider, "--kernel": cell.kernel}
    given |= {"--cni-version": cell.cni_version, "--ip-family": cell.ip_family}
    return tuple(word for name, value in given.items() if value not in usual.get(name, ()) for word in (name, value))


def _on_a_stand_in(cell: Cell, directory: Path, state: Path) -> Work:
    """The suite through a kubeconfig alone; a lab of ours stands in for the cluster of others."""
    cluster = directory.with_name(f"{cell.id}.cluster")
    kubeconfig = LabDir(state, cell.id).kubeconfig
    return Work(
        parts=(
            ("up", cell.variant, *_options(cell), "--run-dir", str(cluster), "--replace"),
            ("test", "--kubeconfig", str(kubeconfig), "--run-dir", str(directory)),
        ),
        ending=(("report", str(directory)), ("down", cell.id)),
    )


def spec(cell: Cell) -> dict[str, Any]:
    """The spec of a cell's lab, as a file has it."""
    labs = list(cell.labs) if isinstance(cell.labs, tuple) else [cell.labs] if cell.labs == "all" else []
    return {
        "apiVersion": API_VERSION,
        "kind": "Lab",
        "metadata": {"name": cell.id},
        "spec": {
            "provider": cell.provider,
            "kernel": cell.kernel,
            "cni": cell.variant,
            **({"cniVersion": cell.cni_version} if cell.cni_version else {}),
            "ipFamily": cell.ip_family,
            "nodes": cell.nodes,
            "kubernetes": {"version": cell.kubernetes},
            "labs": labs,
        },
    }


def run_cells(
    cells: Sequence[Cell],
    directory: Path,
    state: Path,
    program: Sequence[str],
    runner: Runner,
    tell: Callable[[str], None],
) -> list[Outcome]:
    """Run all cells that can run; a failed one does not keep the others from running.

    Args:
        cells: In order.
        directory: Of the night; must not have runs of these cells yet.
        state: The state directory.
        program: How to start cnilab.
        runner: Runs it on this machine.
        tell: Gets a line when a cell begins and when it ends.

    Raises:
        UsageError: The directory holds an earlier night.
    """
    _require_room(cells, directory)
    outcomes = [Outcome(cell, "unavailable" if cell.unavailable else "waiting") for cell in cells]
    count = sum(not cell.unavailable for cell in cells)
    number = 0
    for index, cell in enumerate(cells):
        if cell.unavailable:
            tell(f"--- {cell.id}: unavailable: {cell.unavailable}")
            continue
        number += 1
        tell(f"=== {cell.id}: cell {number} of {count}, at most {cell.minutes} min")
        _record(directory, outcomes)
        outcomes[index] = _run(cell, work(cell, directory / cell.id, state), program, runner)
        tell(f"=== {cell.id}: {told(outcomes[index])}")
    _record(directory, outcomes)
    return outcomes


def told(outcome: Outcome) -> str:
    """An outcome in a few words."""
    minutes, seconds = divmod(round(outcome.seconds), 60)
    took = f"{minutes}:{seconds:02d} min"
    if outcome.state == "ok":
        return f"as expected, {took}"
    if outcome.state == "timeout":
        return f"stopped after {took}"
    return f"exit code {outcome.exit}, {took}"


def _require_room(cells: Sequence[Cell], directory: Path) -> None:
    taken = [cell.id for cell in cells if (directory / cell.id / "run.json").exists()]
    if taken:
        msg = f"{directory} contains an earlier night"
        raise UsageError(msg, cause=f"runs of {', '.join(taken)}", next_step="set another directory with --into")


def _record(directory: Path, outcomes: Sequence[Outcome]) -> None:
    """Replace the record whole, so that also a night that is killed tells how far it got."""
    directory.mkdir(parents=True, exist_ok=True)
    document = {"apiVersion": API_VERSION, "kind": "CellList", "items": [one.item() for one in outcomes]}
    files.replace(directory / RECORD, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _run(cell: Cell, work: Work, program: Sequence[str], runner: Runner) -> Outcome:
    began = time.monotonic()
    end = began + timeouts.scaled(cell.minutes * 60)
    code: int = 0
    state: State = "ok"
    try:
        for part in work.parts:
            code, state = _do([*program, *part], runner, end - time.monotonic())
            if code:
                break
    finally:
        for part in work.ending:
            after, _ = _do([*program, *part], runner, timeouts.scaled(LAST_WORDS))
            code, state = (code, state) if code or not after else (after, "failed")
    return Outcome(cell, state, code, time.monotonic() - began)


def _do(argv: Sequence[str], runner: Runner, seconds: float) -> tuple[int, State]:
    # All it prints is progress here, its tables, too: the data of a night is what became of the cells.
    process = runner.start(argv, stdout=2, stderr=2)
    try:
        code = process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        stop(process, signal.SIGINT, LAST_WORDS)
        return BringUpError.exit_code, "timeout"
    except BaseException:
        # The child has a session of its own, so it must be told of Ctrl-C.
        stop(process, signal.SIGINT, LAST_WORDS)
        raise
    return code, "failed" if code else "ok"
