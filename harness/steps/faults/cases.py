"""Stored cases: what was seen under each fault, with what was broken, so that causes are measured without a cluster.

A case is a run directory like any other, and `answer.json`:

    run.json observations.jsonl.gz results.jsonl causes.jsonl events.jsonl    as of `cnilab test`
    answer.json                                                            what was broken
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from conformance.causes.explain import explain
from conformance.context import Context, seen_by
from conformance.judging import judge_all
from conformance.model import Check
from conformance.registry import CHECKS
from harness import files
from harness.errors import UsageError
from harness.model.cause import Answer, Cause
from harness.model.journal import TEST, Journal
from harness.model.records import Result
from harness.model.run import RunDir, RunInfo
from harness.steps.faults.blame import rank
from harness.steps.suite.judge import SELECT

ANSWER: Final = "answer.json"


@dataclass(frozen=True)
class Scored:
    """What the causes of this version are worth in a case.

    Args:
        path: The case.
        answer: What was broken.
        causes: As they are told now, the first one first.
        then: Keys of those that were told when the case was stored.
    """

    path: Path
    answer: Answer
    causes: tuple[Cause, ...]
    then: tuple[str, ...]

    @property
    def named(self) -> int:
        """The place of what was broken among the causes; 0: none names it."""
        return rank(self.causes, self.answer.keys)


def insist_empty(folder: Path) -> None:
    """Cases of two runs are not mixed.

    Raises:
        UsageError: There is something in the folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder} is not an empty directory"
        raise UsageError(msg, next_step="name a directory that does not exist yet")


def keep(
    folder: Path, info: RunInfo, seen: Context, results: Sequence[Result], causes: Iterable[Cause], answer: Answer
) -> None:
    """Store a case.

    Args:
        folder: Gets a directory with the fault's id.
        info: Of the run that injects faults.
        seen: What was seen under the fault.
        results: Verdicts on it.
        causes: Of what failed.
        answer: What was broken.
    """
    run = RunDir(folder / answer.fault)
    # `cnilab judge` takes from this which requirements the case is about.
    with Journal(run).step(TEST, "conformance", **{SELECT: ",".join(one.id for one in results)}):
        run.write_info(info)
        run.add_observations(seen.observations)
        run.add_results(results)
        run.write_causes(causes)
    _pack(run.path / "observations.jsonl")
    text = json.dumps(answer.model_dump(mode="json", by_alias=True), indent=2) + "\n"
    files.replace(run.path / ANSWER, text)


def _pack(path: Path) -> None:
    """Pack a file in its place: what kernels say of themselves is ten times as long as it need be."""
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    path.unlink()


def found(places: Collection[Path]) -> list[Path]:
    """The cases in directories, each a case or a folder of cases, in the order of their names.

    Raises:
        UsageError: A directory has none.
    """
    cases: list[Path] = []
    for place in places:
        inside = place.glob(f"*/{ANSWER}")
        some = [place] if (place / ANSWER).is_file() else sorted(path.parent for path in inside)
        if not some:
            msg = f"{place} has no case"
            step = f"'cnilab test --faults --explain --cases {place}' stores cases"
            raise UsageError(msg, cause=f"there is no {ANSWER} in it, nor in a directory in it", next_step=step)
        cases += some
    return cases


def score(case: Path) -> Scored:
    """Have this version tell the causes of a case, and look for what was broken among them.

    Args:
        case: Its directory.

    Raises:
        UsageError: The case is damaged, or another version wrote it.
    """
    run = RunDir(case)
    try:
        answer = Answer.model_validate_json((case / ANSWER).read_bytes())
        context = seen_by(run)
    except (ValidationError, LookupError) as error:
        msg = f"the case {case.name} is damaged, or another version wrote it"
        step = "store the cases again: 'cnilab test --faults --explain --cases DIRECTORY'"
        raise UsageError(msg, cause=_first(error), where=str(case), next_step=step) from error
    checks = _known(one.id for one in run.results())
    causes = explain(context, judge_all(context, checks, CHECKS))
    return Scored(case, answer, causes, tuple(one.key for one in run.causes()))


def _first(error: ValidationError | LookupError) -> str:
    """What is wrong, on one line."""
    if isinstance(error, LookupError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return f"{ANSWER}: {'.'.join(map(str, first['loc']))}: {first['msg']}"


def _known(ids: Iterable[str]) -> list[Check]:
    """Of a case that another version wrote, those requirements that there still are."""
    return [CHECKS[name] for name in ids if name in CHECKS]
