"""Reading and writing YAML: users' files with positions, machine files fast.

Whatever a user's file holds, it is read or refused with its line and column. Four things see to that, in this order:
its bytes are text without control characters; its events (`yaml.parse`) are one document of plain values that is not
too deep and not too large when aliases are replaced; the reader makes values of them; and what a reader may raise on
its way is a problem of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import ConstructorError, RoundTripConstructor
from ruamel.yaml.error import YAMLError as RuamelError

from harness.errors import Problem, SpecError, UsageError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

LARGEST: Final = 256 * 1024
"""Bytes of a file that a person writes. The reader that knows positions takes seconds for as much."""

DEEPEST: Final = 40
"""Levels of mappings and lists. Readers call themselves for each; nothing of ours has ten."""

MOST: Final = 20_000
"""Values of a document, each alias counted as what it stands for: a few lines of aliases can stand for billions."""

_FAILURES: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What readers raise about values that they cannot make, beside their own errors."""

_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufeff\ud800-\udfff\ufffe\uffff]")
"""What YAML 1.2 §5.1 keeps out of a stream; a byte order mark that is not at the beginning is only ever a mistake."""

_TEXT: Final = "tag:yaml.org,2002:str"


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


def read_user_text(path: Path, *, largest: int = LARGEST, most: int = MOST) -> str:
    """The text of a YAML file that a person wrote, once it is known to be one harmless document.

    Args:
        path: The file.
        largest: Bytes that it may have.
        most: Values that it may have.

    Raises:
        UsageError: The file cannot be read.
        SpecError: It is not text, or not one document of plain values; says where.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(largest + 1)
    except (OSError, ValueError) as error:
        msg = f"cannot read {path}"
        raise UsageError(msg, cause=str(error)) from error
    if len(raw) > largest:
        raise _refused(path, 1, 1, "is too large", f"at most {largest // 1024} KiB")
    text = _decoded(raw, path)
    _check_events(text, path, most)
    return text


def parse_user_text(text: str, path: Path, loader: Any = _LOADER) -> Any:
    """Make values of what `read_user_text` returned, without positions: ten times as fast as with them.

    Args:
        text: The document.
        path: Where it is from.
        loader: Of PyYAML, and a safe one.

    Raises:
        SpecError: A value makes no sense.
    """
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506 - safe, says the contract
    except (yaml.YAMLError, *_FAILURES) as error:
        raise _unreadable(path, error) from error


def read_user_file(path: Path, kind: str = "a cluster spec") -> CommentedMap:
    """Read a file that a person wrote, keeping the position of every key.

    Args:
        path: The file.
        kind: What it should be, for the error.

    Raises:
        UsageError: The file cannot be read.
        SpecError: It is not YAML, or not a mapping at the top.
    """
    text = read_user_text(path)
    reader = YAML(typ="rt")
    reader.Constructor = _Constructor
    reader.composer.warn_double_anchors = False  # the later one is meant from there on
    try:
        document = reader.load(text)
    except (RuamelError, *_FAILURES) as error:
        raise _unreadable(path, error) from error
    if not isinstance(document, CommentedMap):
        msg = f"{path} is not {kind}"
        raise SpecError(msg, [Problem(f"{path}:1:1", "(document)", "is not a mapping", "keys such as 'spec:'")])
    return document


def position(document: Any, path: tuple[str | int, ...]) -> tuple[int, int]:
    """Line and column, from 1, of the deepest part of `path` that the document has."""
    line, column = 0, 0
    node = document
    for key in path:
        if isinstance(node, CommentedMap) and key in node:
            if key in (node.lc.data or {}):  # what `<<` brought has its place elsewhere
                line, column = node.lc.key(key)
        elif isinstance(node, CommentedSeq) and isinstance(key, int) and key < len(node):
            line, column = node.lc.item(key)
        else:
            break
        node = node[key]
    return line + 1, column + 1


class _Constructor(RoundTripConstructor):
    """The reader's constructor, whose every failure has a place."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - as in the base class
        try:
            return super().construct_object(node, deep=deep)
        except _FAILURES as error:
            raise ConstructorError(None, None, f"has a value that cannot be read: {error}", node.start_mark) from error


def _decoded(raw: bytes, path: Path) -> str:
    """The bytes as text; a byte order mark at the beginning is left out."""
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        found = f"is not text: byte {raw[error.start]:#04x}"
        raise _refused(path, line, column, found, "UTF-8", _encoding_hint(raw)) from error
    if strange := _CONTROL.search(text):
        raise _refused(path, *_place(text, strange.start()), _character(strange[0]), "printable text")
    return text


def _encoding_hint(raw: bytes) -> str:
    return "it looks like UTF-16: save it as UTF-8" if raw[:2] in {b"\xff\xfe", b"\xfe\xff"} else ""


def _place(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def _character(char: str) -> str:
    return f"has the character U+{ord(char):04X}"


def _check_events(text: str, path: Path, most: int) -> None:
    """One document of plain values, not too deep, not too large."""
    try:
        for problem in _Events(path, most).problems(yaml.parse(text, Loader=_LOADER)):
            msg = f"{path} is not valid YAML"
            raise SpecError(msg, [problem])
    except (yaml.YAMLError, *_FAILURES) as error:
        raise _unreadable(path, error) from error


class _Events:
    """Counts what a document amounts to, event by event."""

    def __init__(self, path: Path, most: int) -> None:
        self.path = path
        self.most = most
        self.documents = 0
        self.total = 0
        self.open: list[tuple[str | None, int]] = []
        """Anchor of every collection that is open, and how many values came before it."""
        self.sizes: dict[str, int] = {}
        """Anchor to how many values it stands for."""

    def problems(self, events: Iterator[Any]) -> Iterator[Problem]:
        for event in events:
            found = self._judged(event)
            if found:
                mark = event.start_mark
                yield Problem(f"{self.path}:{mark.line + 1}:{mark.column + 1}", "(document)", *found)

    def _judged(self, event: Any) -> tuple[str, ...]:
        """What is wrong with an event: message, what was expected, hint; empty for nothing."""
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            return ("contains a second document", "one document") if self.documents > 1 else ()
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self.open.pop()
            if anchor:
                self.sizes[anchor] = self.total - before
            return ()
        if not isinstance(event, yaml.NodeEvent):
            return ()
        return self._alias(event) if isinstance(event, yaml.AliasEvent) else self._node(event)

    def _alias(self, event: Any) -> tuple[str, ...]:
        if any(anchor == event.anchor for anchor, _ in self.open):
            return f"has the alias *{event.anchor} inside the value of its own anchor", "finite values"
        self.total += self.sizes.get(event.anchor, 1)
        return self._too_many()

    def _node(self, event: Any) -> tuple[str, ...]:
        tag = getattr(event, "tag", None)
        if tag not in {None, "!", _TEXT}:
            return f"has the tag {tag[:60]!r}", "a plain value", "tags are not allowed here"
        self.total += 1
        if isinstance(event, yaml.CollectionStartEvent):
            self.open.append((event.anchor, self.total - 1))
            if len(self.open) > DEEPEST:
                return f"is more than {DEEPEST} levels deep", "a few levels"
        else:
            if event.anchor:
                self.sizes[event.anchor] = 1
            if strange := _CONTROL.search(event.value):
                return f"{_character(strange[0])}, as an escape", "printable text"
        return self._too_many()

    def _too_many(self) -> tuple[str, ...]:
        return (f"stands for more than {self.most} values", "fewer values") if self.total > self.most else ()


def _refused(path: Path, line: int, column: int, message: str, expected: str, hint: str = "") -> SpecError:
    msg = f"{path} is not valid YAML"
    return SpecError(msg, [Problem(f"{path}:{line}:{column}", "(document)", message, expected, hint)])


def _unreadable(path: Path, error: Exception) -> SpecError:
    """What a reader raised, as a problem of the file."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = str(getattr(error, "problem", None) or error or type(error).__name__)
    said = " ".join("".join(char if char.isprintable() else " " for char in said).split())[:300]
    msg = f"{path} is not valid YAML"
    where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else f"{path}:1:1"
    return SpecError(msg, [Problem(where, "(document)", said)])
