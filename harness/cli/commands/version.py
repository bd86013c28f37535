"""`cnilab version`."""

from __future__ import annotations

import platform

import click

from harness import __version__
from harness.cli.command import command as define
from harness.cli.context import settings
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
    """Show the versions of cnilab, of Python, of the kernel and of every component of a cluster.

    With -o json or yaml, also show the versions of Kubernetes that you can choose, and the pulled images in the cache.
    """
    from harness.components.kubernetes import versions  # noqa: PLC0415 - the help must not wait for pydantic
    from harness.components.lock import load  # noqa: PLC0415
    from harness.components.pull import known  # noqa: PLC0415

    lock = load()
    facts = {"cnilab": __version__, "python": platform.python_version(), "kernel": platform.release()}
    components = lock.component
    pins = {name: component.version for name, component in components.items()}
    # Whose source is not quite its project's.
    edits = {name: list(component.edits) for name, component in components.items() if component.edits}
    if output == "table":
        width = max(map(len, (*facts, *pins))) + 2
        for name, value in (*facts.items(), *pins.items()):
            click.echo(f"{name:<{width}}{value}" + (f" (edited: {', '.join(edits[name])})" if name in edits else ""))
    else:
        ends = lock.component["kubernetes"].end_of_life
        selectable = {
            minor: {"version": version, "endOfLife": ends[minor].isoformat()}
            for minor, version in versions(lock).items()
        }
        document = {"apiVersion": API_VERSION, "kind": "Version", **facts, "components": pins, "edits": edits}
        pulled = [one.model_dump(mode="json") for one in known(settings().cache)]
        emit_document({**document, "kubernetes": selectable, "pulled": pulled}, output)
