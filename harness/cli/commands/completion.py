"""`cnilab completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from harness.cli.command import command as define


@define(
    "completion",
    examples="""
    source <(cnilab completion bash)
    cnilab completion zsh > "${fpath[1]}/_cnilab"
    cnilab completion fish > ~/.config/fish/completions/cnilab.fish
""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a completion script."""
    kind = get_completion_class(shell)
    if kind is None:
        msg = f"no completion for {shell}"
        raise click.UsageError(msg)
    click.echo(kind(ctx.find_root().command, {}, "cnilab", "_CNILAB_COMPLETE").source())
