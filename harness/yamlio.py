"""Reading and writing YAML: users' files with positions, machine files fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from harness.errors import Problem, SpecError, UsageError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def loads(text: str) -> Any:
    """One document of machine-written YAML."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, the C one where it is built


def loads_all(text: str) -> list[Any]:
    """All documents, empty ones left out."""
    documents = yaml.load_all(text, Loader=_LOADER)
    return [document for document in documents if document is not None]


def dumps(value: Any) -> str:
    """Block style, keys in the order given."""
    return str(yaml.dump(value, Dumper=_DUMPER, sort_keys=False, default_flow_style=False, width=120))


def dumps_all(values: list[Any]) -> str:
    """Several documents, separated by `---`."""
    return "---\n".join(dumps(value) for value in values)


def read_user_file(path: Path) -> CommentedMap:
    """Read a file that a person wrote, keeping the position of every key.

    Args:
        path: The file.

    Raises:
        UsageError: The file cannot be read.
        SpecError: It is not YAML, or not a mapping at the top.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read {path}"
        raise UsageError(msg, cause=str(error)) from error
    try:
        document = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        msg = f"{path} is not valid YAML"
        raise SpecError(msg, [Problem(where, "(document)", str(error.problem or error))]) from error
    if not isinstance(document, CommentedMap):
        msg = f"{path} is not a lab spec"
        raise SpecError(msg, [Problem(f"{path}:1:1", "(document)", "is not a mapping", "keys such as 'spec:'")])
    return document


def position(document: Any, path: tuple[str | int, ...]) -> tuple[int, int]:
    """Line and column, from 1, of the deepest part of `path` that the document has."""
    line, column = 0, 0
    node = document
    for key in path:
        if isinstance(node, CommentedMap) and key in node:
            line, column = node.lc.key(key)
        elif isinstance(node, CommentedSeq) and isinstance(key, int) and key < len(node):
            line, column = node.lc.item(key)
        else:
            break
        node = node[key]
    return line + 1, column + 1
