"""`cnilab schema`."""

from __future__ import annotations

import click

from harness.cli.command import command as define
from harness.cli.output import emit_document


@define(
    "schema",
    examples="""
    cnilab schema > cluster.schema.json
    cnilab schema -o yaml
    # first line of a spec, for the YAML language server:
    #   yaml-language-server: $schema=cluster.schema.json
""",
)
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), default="json", help="Format.")
def command(output: str) -> None:
    """Print the JSON schema of a cluster spec. Editors use it for completion and checks."""
    from harness.model.document import schema  # noqa: PLC0415

    emit_document(schema(), output)
