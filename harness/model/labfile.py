"""Reading `lab.yaml`: every mistake of a file at once, each with its line."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from harness import resources, yamlio
from harness.errors import Problem, SpecError, UsageError
from harness.model.base import Data
from harness.model.fault import Action
from harness.model.lab import Expect, LabDefinition, LabFault, Needs, Plot, Question, Step, Table, Tap
from harness.model.labcheck import NO_ID, contradictions
from harness.model.plain import dotted_path

_CLASSES: Mapping[str, type[Data]] = {
    "needs": Needs, "expect": Expect, "tables": Table, "plots": Plot, "capture": Tap, "faults": LabFault,
    "inject": Action, "undo": Action, "steps": Step, "questions": Question,
}  # fmt: skip


def _plain(value: Any) -> Any:
    """What the YAML reader made, as ordinary dictionaries and lists."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _keys(path: tuple[Any, ...]) -> list[str]:
    """The keys that the mapping around `path` may have."""
    around = next((_CLASSES[part] for part in reversed(path[:-1]) if part in _CLASSES), LabDefinition)
    return sorted(field.alias or name for name, field in around.model_fields.items())


def _problem(file: Path, document: Any, path: tuple[Any, ...], message: str, kind: str = "") -> Problem:
    line, column = yamlio.position(document, path)
    expected = hint = ""
    if kind == "extra_forbidden":
        keys = _keys(path)
        message = "is not a key"
        expected = f"one of {', '.join(keys)}"
        close = difflib.get_close_matches(str(path[-1]), keys, n=1)
        hint = f"did you mean '{close[0]}'?" if close else ""
    elif kind == "missing":
        message = "is missing"
    return Problem(f"{file}:{line}:{column}", dotted_path(path), message, expected, hint)


def _message(error: Mapping[str, Any]) -> str:
    text = str(error["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _of_schema(file: Path, document: Any, error: ValidationError) -> Iterator[Problem]:
    for item in error.errors(include_url=False):
        yield _problem(file, document, tuple(item["loc"]), _message(item), item["type"])


_STAND_INS: Mapping[str, Any] = {
    "run": "true",
    "expect": {"that": "true", "because": "It stands in for a wrong one."},
    "tables": {"title": "It stands in.", "of": "[]", "columns": {"none": "1"}},
    "plots": {"title": "It stands in.", "of": "[]", "at": "1", "series": {"none": "1"}},
    "capture": {"name": "stand_in", "on": "operator"},
}
"""What replaces a wrong item of a list, so that the numbers of the others stay."""


def _mended(step: Any) -> Step | None:
    """The step without its mistakes, which are known already; None when nothing can be made of it."""
    if not isinstance(step, dict):
        return None
    step = {"id": NO_ID, "title": "No title", **copy.deepcopy(step)}
    for _ in range(3):
        try:
            return Step.model_validate(step)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                key, *rest = item["loc"]
                if key in _STAND_INS and rest and isinstance(step.get(key), list):
                    step[key][int(rest[0])] = copy.deepcopy(_STAND_INS[str(key)])
                else:
                    step.pop(key, None)
            step = {"id": NO_ID, "title": "No title", **step}
    return None


def _valid_steps(plain: Mapping[str, Any]) -> Iterator[tuple[int, Step]]:
    steps = plain.get("steps")
    for number, step in enumerate(steps if isinstance(steps, list) else ()):
        mended = _mended(step)
        if mended is not None:
            yield number, mended


def _valid_faults(plain: Mapping[str, Any]) -> dict[str, LabFault | None]:
    faults = plain.get("faults")
    found: dict[str, LabFault | None] = {}
    for name, fault in faults.items() if isinstance(faults, dict) else ():
        try:
            found[name] = LabFault.model_validate(fault)
        except ValidationError:
            found[name] = None
    return found


def _of_files(file: Path, document: Any, plain: Mapping[str, Any]) -> Iterator[Problem]:
    if plain.get("id") != file.parent.name:
        yield _problem(file, document, ("id",), f"is not the name of its folder, {file.parent.name}")
    manifests = plain.get("manifests")
    for number, name in enumerate(manifests if isinstance(manifests, list) else ()):
        if not (file.parent / str(name)).is_file():
            yield _problem(file, document, ("manifests", number), f"there is no file {file.parent / str(name)}")
    playbook = plain.get("playbook")
    if playbook is not None and not (resources.root() / "playbooks" / str(playbook)).is_file():
        yield _problem(file, document, ("playbook",), f"there is no playbook {playbook}")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen when it is imported
    """PyYAML's fast reader, with the booleans of YAML 1.2: `on:` is a key, not true."""


_BOOLEAN: Final = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def _fast(file: Path) -> LabDefinition:
    """Read a file that is right; ValueError or UsageError when it is not."""
    plain = yamlio.parse_user_text(yamlio.read_user_text(file), file, _Loader)
    definition = LabDefinition.model_validate(plain)
    wrong = [*contradictions(enumerate(definition.steps), definition.faults), *_of_files(file, None, plain)]
    if wrong:
        msg = f"{len(wrong)} mistakes"
        raise ValueError(msg)
    return definition


def read(file: Path) -> LabDefinition:
    """Read and check one lab.

    Args:
        file: A `lab.yaml`.

    Raises:
        UsageError: The file cannot be read.
        SpecError: With everything that is wrong with it.
    """
    try:
        return _fast(file)
    except (ValueError, UsageError):
        # Positions are needed now; the reader that knows them takes ten times as long.
        document = yamlio.read_user_file(file, "a lab")
    plain = _plain(document)
    problems: list[Problem] = []
    definition: LabDefinition | None = None
    try:
        definition = LabDefinition.model_validate(plain)
    except ValidationError as error:
        problems += _of_schema(file, document, error)
    found = contradictions(_valid_steps(plain), _valid_faults(plain))
    problems += [_problem(file, document, path, text) for path, text in found]
    problems += _of_files(file, document, plain)
    if problems or definition is None:
        problems.sort(key=lambda problem: [int(part) for part in problem.where.rsplit(":", 2)[1:]])
        msg = f"{file} has {len(problems)} mistake{'s' if len(problems) > 1 else ''}"
        raise SpecError(msg, problems)
    return definition


def read_all(root: Path | None = None) -> list[LabDefinition]:
    """All labs of the project, in order of their ids.

    Args:
        root: Where `labs/` is; None: where the project's data files are.
    """
    base = root or resources.root()
    return [read(file) for file in sorted((base / "labs").glob("*/lab.yaml"))]
