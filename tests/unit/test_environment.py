"""The environment is what the user says, and nobody else: no layer tells another one anything through it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MAY = {"harness/caller.py": 2}
"""It settles the language of this process and of all that it starts, which a library may start without asking us."""

CHANGING = {"__delitem__", "__ior__", "__setitem__", "clear", "pop", "popitem", "setdefault", "update"}


def is_environ(node: ast.AST) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb"}) or (
        isinstance(node, ast.Name) and node.id in {"environ", "environb"}
    )


def writes(source: str) -> Iterator[int]:
    """Lines that change the environment of the process."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Subscript(value=value, ctx=ast.Store() | ast.Del()) if is_environ(value):
                yield node.lineno
            case ast.AugAssign(target=target) if is_environ(target):
                yield node.lineno
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in CHANGING and is_environ(value):
                yield node.lineno
            case ast.Attribute(attr="putenv" | "unsetenv") | ast.Name(id="putenv" | "unsetenv"):
                yield node.lineno


@pytest.mark.parametrize(
    "source",
    [
        'os.environ["A"] = "1"', 'os.environ["A"] += "1"', 'del os.environ["A"]', 'environ["A"], b = "1", 2',
        'os.environ.setdefault("A", "1")', "os.environ.update(a)", "os.environ |= a", 'os.environ.pop("A")',
        'os.putenv("A", "1")', "from os import environ\nenviron.clear()", 'os.environb[b"A"] = b"1"',
        "[1 for os.environ['A'] in b]",
    ],
)  # fmt: skip
def test_a_write_is_found(source: str) -> None:
    assert list(writes(source))


@pytest.mark.parametrize(
    "source", ['os.environ["A"]', 'os.environ.get("A")', "{**os.environ}", "x.update(os.environ)", 'env["A"] = "1"']
)
def test_reading_is_none(source: str) -> None:
    assert not list(writes(source))


def test_no_module_writes_into_the_environment() -> None:
    found = {}
    for folder in ("harness", "conformance", "reports", "playbooks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if lines := list(writes(path.read_text(encoding="utf-8"))):
                found[str(path.relative_to(ROOT))] = len(lines)
    assert found == MAY
