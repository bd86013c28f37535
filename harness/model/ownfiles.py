"""What is wrong with a file of the project's own, a catalogue or a variant: place, key, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML

from harness import yamlio
from harness.errors import Problem
from harness.model.hints import nearest

_QUOTED: Final = re.compile(r"'([^']*)'")


def mistakes(path: Path, error: ValidationError, model: Any) -> list[Problem]:
    """All that a model refuses in a file, with line and column.

    Args:
        path: The file, which is YAML.
        error: What the model said.
        model: The model, or a tuple of it: `tuple[Fault, ...]`.
    """
    document = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    return [_problem(path, document, dict(item), model) for item in error.errors(include_url=False)]


def _problem(path: Path, document: Any, item: dict[str, Any], model: Any) -> Problem:
    loc = tuple(item["loc"])
    line, column = yamlio.position(document, loc)
    where, dotted = f"{path}:{line}:{column}", ".".join(map(str, _named(document, loc)))
    if item["type"] == "extra_forbidden":
        keys = sorted(_keys(model, loc[:-1]))
        return Problem(where, dotted, "is not a key", f"keys {', '.join(keys)}", nearest(str(loc[-1]), keys))
    if item["type"] == "literal_error":
        words = _QUOTED.findall(str(item["ctx"]["expected"]))
        return Problem(
            where, dotted, f"is {item['input']!r}", f"one of {', '.join(words)}", nearest(str(item["input"]), words)
        )
    text = str(item["msg"]).removeprefix("Value error, ")
    return Problem(where, dotted, text[:1].lower() + text[1:])


def _named(document: Any, loc: tuple[str | int, ...]) -> Iterator[str | int]:
    """A path with the ids of items instead of their numbers: `F228.needs.0`."""
    node = document
    for key in loc:
        try:
            node = node[key]
        except (KeyError, IndexError, TypeError):
            node = None
        yield node["id"] if isinstance(key, int) and isinstance(node, dict) and "id" in node else key


def _keys(model: Any, loc: tuple[str | int, ...]) -> set[str]:
    """Keys of the mapping at a place; empty where the model does not tell."""
    there = _models(model)
    for key in loc:
        fields = [field for one in there for name, field in one.model_fields.items() if key in {name, field.alias}]
        # A number, or the name of a member of a union, leads to nothing new.
        there = [one for field in fields for one in _models(field.annotation)] or there
    return {field.alias or name for one in there for name, field in one.model_fields.items()}


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Models in an annotation, whatever is around them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
