"""`cnilab render`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.command import Option
from harness.cli.command import command as define
from harness.cli.commands.up import overrides, read_spec, spec_options
from harness.cli.context import say
from harness.cli.stores import store_for
from harness.files import write_below


@define(
    "render",
    examples="""
    cnilab render flannel
    cnilab render workshop.yaml --to plan/
    cnilab render flannel --nodes 3 --to plan/ --diff
    cnilab render flannel --cni-version 0.27.4
    """,
)
@spec_options
@click.option(
    "--to",
    "directory",
    cls=Option,
    type=click.Path(file_okay=False, path_type=Path),
    help="Write files below this.",
)
@click.option("--diff", is_flag=True, help="With --to: show what would change there, and write nothing.")
def command(  # noqa: PLR0913 - one parameter per option, as click wants it
    target: str,
    *,
    name: str | None,
    nodes: int | None,
    cni: str | None,
    mtu: int | None,
    kernel: str | None,
    provider: str | None,
    cni_version: str | None,
    directory: Path | None,
    diff: bool,
) -> int:
    """Show what up would do: every file, service and manifest of the lab. Starts and builds nothing.

    Of a network that comes as a Helm chart the values are shown, and, when helm is in the cache ('cnilab components
    ensure helm cilium'), what helm makes of them. With --cni-version its manifest or chart is downloaded, unless the
    cache has it. Without --to everything goes to stdout. With --diff the exit code is 1 when something differs.
    """
    if diff and directory is None:
        msg = "--diff compares with a directory: give --to as well"
        raise click.UsageError(msg)
    spec = read_spec(target, overrides(name, nodes, cni, mtu, kernel, provider, cni_version))
    from harness.cni import catalogue  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.lifecycle.render import charted, differences, render  # noqa: PLC0415

    chosen = catalogue.of(spec)
    files = render(spec, chosen)
    files |= charted(store_for(spec, Journal(None), images=False), spec, chosen)
    if directory is None:
        for path, text in files.items():
            click.echo(f"==> {path} <==\n{text}")
        return 0
    if diff:
        found = differences(files, directory)
        for one in found:
            click.echo(one.text, nl=False)
        say(f"{len(found)} of {len(files)} files differ")
        return 1 if found else 0
    write_below(directory, files)
    say(f"{len(files)} files below {directory}")
    return 0
