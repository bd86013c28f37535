"""`cnilab version`."""

from __future__ import annotations

import platform

import click

from harness import __version__
from harness.cli.command import command as define
from harness.cli.output import API_VERSION, emit_document


@define(
    "version",
    examples="""
    cnilab version
    cnilab version -o json
    cnilab version -o yaml >> bug-report.yaml
""",
)
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", help="Format.")
def command(output: str) -> None:
    """Versions of cnilab, of Python and of the kernel."""
    facts = {"cnilab": __version__, "python": platform.python_version(), "kernel": platform.release()}
    if output == "table":
        for name, value in facts.items():
            click.echo(f"{name:<8}{value}")
    else:
        emit_document({"apiVersion": API_VERSION, "kind": "Version", **facts}, output)
