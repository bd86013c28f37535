"""`cnilab labs`: the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.command import Command, Group
from harness.cli.output import Listing, emit, output_option

if TYPE_CHECKING:
    from harness.model.lab import Needs


@click.group(
    "labs",
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    examples="""
    cnilab labs list
    cnilab labs list -o wide
    cnilab labs list -o json | jq -r '.items[].id'
    """,
)
def command() -> None:
    """Show the catalogue of labs."""


@command.command(
    "list",
    cls=Command,
    examples="""
    cnilab labs list
    cnilab labs list -o wide
    cnilab labs list -o name | head -3
""",
)
@output_option()
def list_(output: str) -> None:
    """List all labs and what they need."""
    from harness.steps.labs.choose import list_labs  # noqa: PLC0415

    labs = list_labs()
    rows = [
        (
            lab.id,
            lab.chapter,
            _network(lab.needs),
            str(len(lab.steps)),
            str(sum(len(step.expect) for step in lab.steps)),
            ",".join(lab.needs.gates),
            str(lab.needs.nodes),
            "yes" if lab.long else "-",
            lab.title,
        )
        for lab in labs
    ]
    items = [
        {
            "id": lab.id,
            "title": lab.title,
            "chapter": lab.chapter,
            "learn": lab.learn,
            "minutes": lab.minutes,
            "long": lab.long,
            "steps": len(lab.steps),
            "needs": lab.needs.model_dump(mode="json", by_alias=True),
        }
        for lab in labs
    ]
    columns = ("id", "chapter", "network", "steps", "expectations", "needs", "nodes", "long")
    emit(Listing("LabDefinition", columns, rows, items, [f"lab/{lab.id}" for lab in labs], ("title",)), output)


def _network(needs: Needs) -> str:
    """What a cluster's network must be; `or` between what is as good."""
    words = (needs.driver, needs.wire, needs.proxy, needs.masquerade)
    return ", ".join(" or ".join(one) for one in words if one) or "any"
