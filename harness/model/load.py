"""From a user's YAML file to a `LabSpec`, or to a list of everything that is wrong with it.

    apiVersion: cnilab.dev/v1
    kind: Lab
    metadata: {name: workshop}
    spec:
      cni: flannel
      nodes: 3

Problems name file, line and column, what was expected, and a hint. All of them are found in one pass: a person who
mends a file should not have to meet its errors one by one.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness import yamlio
from harness.errors import Problem, SpecError
from harness.model import hints, references
from harness.model.document import API_VERSION, KIND, Document
from harness.model.hints import Path_
from harness.model.plain import dotted_path, plain_data, seen
from harness.model.references import Known
from harness.model.spec import LabSpec

_OPTIONS = "command line options"

_WHOLE: Path_ = ("spec",)
"""Where `LabSpec` reports what is wrong between fields."""


def load_spec(path: Path, known: Known, overrides: Mapping[str, Any] | None = None) -> LabSpec:
    """Read a spec file.

    Args:
        path: The file.
        known: What it may refer to.
        overrides: Values of command line options by path in the document: `{"spec.nodes": 3}`.

    Raises:
        UsageError: The file cannot be read.
        SpecError: Something in it is wrong; has every problem.
    """
    document = yamlio.read_user_file(path)
    return _build(document, f"{path}", known, overrides or {})


def make_spec(known: Known, overrides: Mapping[str, Any]) -> LabSpec:
    """A spec from command line options alone.

    Args:
        known: What it may refer to.
        overrides: Values by path in the document.

    Raises:
        SpecError: A value is wrong.
    """
    return _build({"apiVersion": API_VERSION, "kind": KIND}, _OPTIONS, known, overrides)


def _build(document: Any, source: str, known: Known, overrides: Mapping[str, Any]) -> LabSpec:
    plain, problems = plain_data(document, source)
    for dotted, value in overrides.items():
        _set(plain, tuple(dotted.split(".")), value)
    _decide(plain, known)
    locate = _Locator(document, source, overrides)
    problems += _header(plain, locate)
    found, parsed = _validate(plain, locate)
    said = {problem.path for problem in problems}
    problems += [problem for problem in found if problem.path not in said]
    problems += references.problems(plain, locate, known)
    if problems or parsed is None:
        problems.sort(key=_position_of)
        count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
        msg = (
            f"the {source} are not valid: {count}" if source == _OPTIONS else f"{source} is not a cluster spec: {count}"
        )
        raise SpecError(msg, problems)
    if known.network is not None and parsed.cni_version == known.network(parsed.cni):
        return parsed.model_copy(update={"cni_version": ""})  # the pinned one, said aloud
    return parsed


def _decide(document: dict[str, Any], known: Known) -> None:
    """What a document leaves open, and what depends on all that is known."""
    spec = document.setdefault("spec", {})
    if isinstance(spec, dict) and "ipFamily" not in spec:
        spec["ipFamily"] = references.usual_family(document, known)


def _position_of(problem: Problem) -> tuple[int, ...]:
    numbers = problem.where.rsplit(":", 2)[1:]
    return tuple(int(number) for number in numbers) if all(n.isdigit() for n in numbers) else (0,)


class _Locator:
    """Turns a path in the document into `file:line:column`, or the option that set it."""

    def __init__(self, document: Any, source: str, overrides: Mapping[str, Any]) -> None:
        self.document = document
        self.source = source
        self.overrides = overrides

    def __call__(self, path: Path_) -> str:
        for dotted in self.overrides:
            if dotted == dotted_path(path):
                return option_of(dotted)
        line, column = yamlio.position(self.document, path)
        return f"{self.source}:{line}:{column}" if self.source != _OPTIONS else self.source


def option_of(dotted: str) -> str:
    """The option of the command line for a field: `--cni-version` of `spec.cniVersion`."""
    return "--" + re.sub(r"[A-Z]", lambda match: f"-{match[0].lower()}", dotted.rsplit(".", 1)[-1])


def _set(document: dict[str, Any], path: Path_, value: Any) -> None:
    node = document
    for key in path[:-1]:
        inner = node.get(str(key))
        if not isinstance(inner, dict):
            inner = {}
            node[str(key)] = inner
        node = inner
    node[str(path[-1])] = value


def _header(document: dict[str, Any], locate: _Locator) -> Iterator[Problem]:
    for key, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if key in document and document[key] != wanted:
            yield Problem(locate((key,)), key, f"is {seen(document[key])}", f"'{wanted}'")
    spec = document.get("spec")
    if isinstance(spec, dict) and "name" in spec:
        # LabSpec has the field, because everything below wants one object; a file has it in its metadata.
        keys = "keys " + ", ".join(sorted(hints.fields(LabSpec)))
        yield Problem(
            locate(("spec", "name")), "spec.name", "is an unknown key", keys, "a cluster's name is metadata.name"
        )


def _validate(document: dict[str, Any], locate: _Locator) -> tuple[list[Problem], LabSpec | None]:
    """Validate, mend what is wrong by leaving it out, and validate again, until nothing new is found."""
    problems: list[Problem] = []
    document = deepcopy(document)
    mended: set[str] = set()
    while True:
        try:
            # JSON mode is strict about types and still reads networks from text.
            parsed = Document.model_validate_json(json.dumps(document), strict=True)
        except ValidationError as error:
            progress = False
            for path, detail in _places(document, error).items():
                problems += _problems(detail, path, locate, mended)
                progress = _drop(document, path, detail, mended) or progress
            if not progress:
                return problems, None
        else:
            spec = parsed.spec.model_copy(update={"name": parsed.metadata.name})
            return problems, None if problems else spec


def _places(document: dict[str, Any], error: ValidationError) -> dict[Path_, ErrorDetails]:
    """What is wrong by its path. Of a value that fits none of several types there is an error for each: one is enough.

    Names of these types end their paths; they lead nowhere in the document.
    """
    found: dict[Path_, ErrorDetails] = {}
    for detail in error.errors(include_url=False):
        node: Any = document
        path: Path_ = ()
        for key in detail["loc"]:
            inside = isinstance(node, dict) and (key in node or detail["type"] == "missing")
            if not inside and not (isinstance(node, list) and isinstance(key, int)):
                break
            path = (*path, key)
            node = node.get(key) if isinstance(node, dict) else node[int(key)]
        found.setdefault(path, detail)
    return found


def _drop(document: dict[str, Any], path: Path_, detail: ErrorDetails, mended: set[str]) -> bool:
    """Take what is wrong out of the document; True when something was taken out.

    Of a list all goes: each of its items was judged in this round, and no text stands in for every kind of item.
    """
    if detail["type"] == "missing":
        _set(document, path, "")  # only the header's texts are required, and `_header` has judged them
        return True
    if path == _WHOLE:
        return False
    path = tuple(itertools.takewhile(lambda key: not isinstance(key, int), path))
    node: Any = document
    for key in path[:-1]:
        node = node[key]
    mended.add(dotted_path(path))
    return node.pop(path[-1], _WHOLE) is not _WHOLE


def _problems(detail: ErrorDetails, path: Path_, locate: _Locator, mended: set[str]) -> Iterator[Problem]:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    where, dotted = locate(path), dotted_path(path)
    if kind == "extra_forbidden":
        yield Problem(where, dotted, "is an unknown key", *hints.known_keys(path))
    elif kind == "missing":
        yield Problem(where, dotted, "is missing", f"'{API_VERSION if dotted == 'apiVersion' else KIND}'")
    elif path == _WHOLE and kind == "value_error":
        yield from _across_fields(str(context.get("error", detail["msg"])), path, locate, mended)
    elif kind in {"greater_than_equal", "less_than_equal"}:
        yield Problem(where, dotted, f"is {seen(value)}", hints.bounds(path))
    elif kind == "string_pattern_mismatch":
        yield Problem(
            where, dotted, f"is {seen(value)}", hints.expected(dotted, "") or f"a match of {context['pattern']}"
        )
    elif kind == "literal_error":
        choices = str(context["expected"])
        yield Problem(where, dotted, f"is {seen(value)}", choices, hints.nearest(str(value), choices.split("'")[1::2]))
    else:
        expected = hints.expected(dotted, kind) or detail["msg"].lower()
        yield Problem(where, dotted, f"is {seen(value)}", expected, hints.of_type(dotted, kind, value))


def _across_fields(message: str, path: Path_, locate: _Locator, mended: set[str]) -> Iterator[Problem]:
    """`pods.cidr 10.0.0.0/8 overlaps services.cidr …; …`: one problem each, at the field that it begins with."""
    for part in message.split("; "):
        field, _, rest = part.partition(" ")
        dotted = f"{dotted_path(path)}.{field}"
        # Defaults stand in for what was left out above; what they clash with is not the user's doing.
        words = re.split(r"[ :]", part)
        if any(f"spec.{word}.".startswith(f"{name}.") for word in words for name in mended):
            continue
        yield Problem(locate((*path, *field.split("."))), dotted, rest or part)
