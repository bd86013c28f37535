"""`cnilab render`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.command import Option
from harness.cli.command import command as define
from harness.cli.context import say
from harness.cli.spec_options import Asked, spec_options
from harness.cli.stores import store_for
from harness.files import write_below


@define(
    "render",
    examples="""
    cnilab render flannel
    cnilab render workshop.yaml --to plan/
    cnilab render flannel --nodes 3 --to plan/ --diff
    cnilab render flannel --cni-version 0.27.4
    cnilab render cilium --ip-family ipv6
    """,
)
@spec_options
@click.option(
    "--to",
    "directory",
    cls=Option,
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the files below this directory.",
)
@click.option("--diff", is_flag=True, help="With --to: show what would change there. Write nothing.")
def command(*, asked: Asked, directory: Path | None, diff: bool) -> int:
    """Show what up would do: every file, service and manifest of the cluster. Start and build nothing.

    If a network is a Helm chart, its values are shown. If helm is in the cache ('cnilab components ensure helm
    cilium'), the rendered chart is shown too. With --cni-version the manifest or chart is downloaded, unless it is in
    the cache. Without --to everything goes to stdout. With --diff the exit code is 1 if something differs.
    """
    if diff and directory is None:
        msg = "--diff compares with a directory: also give --to"
        raise click.UsageError(msg)
    spec = asked.spec
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
