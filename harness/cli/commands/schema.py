"""`cnilab schema`."""

from __future__ import annotations

import click

from harness.cli.command import command as define
from harness.cli.output import emit_document

KINDS = ("spec", "run", "event", "observation", "result", "cause", "lab-step", "fault", "answer")
"""Of documents that have a schema; see harness.model.schemas."""


@define(
    "schema",
    examples="""
    cnilab schema > cluster.schema.json
    cnilab schema observation -o yaml
    # first line of a spec, for the YAML language server:
    #   yaml-language-server: $schema=cluster.schema.json
""",
)
@click.argument("kind", type=click.Choice(KINDS), default="spec", metavar="[KIND]")
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), default="json", help="Format.")
def command(kind: str, output: str) -> None:
    """Print the JSON schema of a cluster spec or of a record. Editors use it for completion and checks.

    Records are what a run directory has, line by line: run, event, observation, result, cause, lab-step, fault.
    An answer is what was broken in a stored case, see 'cnilab score'.
    """
    from harness.model.schemas import schema  # noqa: PLC0415

    emit_document(schema(kind), output)
