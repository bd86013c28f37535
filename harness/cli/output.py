"""Data for stdout: tables as kubectl prints them, and the same data as JSON, YAML or names."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.cli.context import shown

API_VERSION = "cnilab.dev/v1"
FORMATS = ("table", "wide", "json", "yaml", "name")

F = TypeVar("F", bound=Callable[..., Any])

_GOOD = {"ok", "pass", "ready", "running", "up", "killed", "present", "true", "cached"}
_BAD = {"fail", "failed", "error", "broken", "blocks", "survived", "dead", "missing", "damaged", "absent", "down"}
_ODD = {"stale", "limits", "partial", "skip", "skipped", "imprecise", "flaky", "notready", "unknown", "starting"}


def export_line(kubeconfig: Path) -> str:
    """What a shell reads to use a cluster: `eval "$(cnilab up …)"`, whatever characters the path has."""
    return f"export KUBECONFIG={shlex.quote(str(kubeconfig))}"


@dataclass(frozen=True)
class Listing:
    """What a command has to say.

    Args:
        kind: Kind of one item: `Lab`; the document is a `LabList`.
        columns: Headings of the table.
        rows: One row per item, in the order of `items`.
        items: The items as JSON-able data.
        names: What `-o name` prints per item; empty: `<kind>/<first column>`.
        wide: Headings only `-o wide` shows; their cells follow those of `columns`.
        extra: More fields of the document, beside `items`.
    """

    kind: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    items: Sequence[dict[str, Any]]
    names: Sequence[str] = ()
    wide: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The versioned contract of `-o json` and `-o yaml`."""
        return {"apiVersion": API_VERSION, "kind": f"{self.kind}List", **self.extra, "items": list(self.items)}


def output_option(*, default: str = "table", help: str = "Format of the data.") -> Callable[[F], F]:  # noqa: A002 - as click's
    """The option `-o`, the same everywhere."""
    return click.option("-o", "--output", type=click.Choice(FORMATS), default=default, show_default=True, help=help)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns three spaces apart, without borders, headings in upper case.

    Args:
        columns: Headings.
        rows: Cells; control characters are escaped, so that no cell can break a row or drive the terminal.
    """
    cells = [[column.upper() for column in columns]]
    cells += [[shown(cell, 400) or "<none>" for cell in row[: len(columns)]] for row in rows]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    lines = []
    for number, row in enumerate(cells):
        padded = [cell.ljust(width) for cell, width in zip(row, [*widths[:-1], 0], strict=True)]
        lines.append("   ".join([_painted(text) for text in padded] if number else padded))
    return "\n".join(lines)


def _painted(cell: str) -> str:
    word = cell.strip().lower()
    color = "green" if word in _GOOD else "red" if word in _BAD else "yellow" if word in _ODD else None
    return click.style(cell, fg=color) if color else cell


def emit(listing: Listing, output: str, *, empty: str = "") -> None:
    """Print to stdout.

    Args:
        listing: The data.
        output: One of `FORMATS`.
        empty: Said on stderr when a table has no rows, as kubectl does.
    """
    if output in {"json", "yaml"}:
        emit_document(listing.document(), output)
    elif output == "name":
        names = listing.names or [f"{listing.kind.lower()}/{row[0]}" for row in listing.rows]
        for name in names:
            click.echo(name)
    elif not listing.rows and empty:
        click.echo(empty, err=True)
    else:
        columns = listing.columns + (listing.wide if output == "wide" else ())
        click.echo(table(columns, listing.rows))


def emit_document(document: dict[str, Any], output: str) -> None:
    """Print one JSON or YAML document to stdout."""
    if output == "json":
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        from harness import yamlio  # noqa: PLC0415 - ruamel costs a fifth of a second

        click.echo(yamlio.dumps(json.loads(json.dumps(document))), nl=False)


def age(seconds: float) -> str:
    """A duration as kubectl prints it: 45s, 12m, 3h, 2d."""
    seconds = max(0.0, seconds)  # a clock may have been set back
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "m"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // divisor)}{unit}"
    return f"{int(seconds // 86400)}d"
