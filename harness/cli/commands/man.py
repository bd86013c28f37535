"""`cnilab man`: manual pages, made of the same words as the help."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from harness import __version__
from harness.cli.command import Option, variable
from harness.cli.command import command as define
from harness.cli.context import say
from harness.files import write_below

SECTION = 1


@define(
    "man",
    examples="""
    cnilab man | man -l -
    cnilab man up | man -l -
    cnilab man --to /usr/local/share/man/man1 && man cnilab-components-list
    """,
)
@click.argument("words", metavar="[COMMAND]...", nargs=-1)
@click.option(
    "--to",
    "directory",
    cls=Option,
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the manual pages of all commands into this directory.",
)
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...], *, directory: Path | None) -> None:
    """Print the manual page of a command, or of cnilab itself."""
    pages = dict(all_pages(ctx.find_root()))
    name = "-".join(("cnilab", *words))
    if name not in pages:
        msg = f"there is no command '{' '.join(words)[:60]}'"
        raise click.UsageError(msg)
    if directory is None:
        click.echo(pages[name], nl=False)
        return
    write_below(directory, {f"{page}.{SECTION}": text for page, text in pages.items()})
    say(f"{len(pages)} pages below {directory}")


def all_pages(root: click.Context) -> Iterator[tuple[str, str]]:
    """Name and text of every page: cnilab's own, then one for each command, groups' commands too.

    Args:
        root: Context of the command line.
    """
    yield from _pages(root, [])


def _pages(ctx: click.Context, above: list[str]) -> Iterator[tuple[str, str]]:
    group = ctx.command
    names = [*above, ctx.info_name or ""]
    children: list[click.Context] = []
    if isinstance(group, click.Group):
        for name in group.list_commands(ctx):
            found = group.get_command(ctx, name)
            if found is not None:
                children.append(click.Context(found, parent=ctx, info_name=name))
    yield "-".join(names), "\n".join(_page(ctx, names, children)) + "\n"
    for child in children:
        yield from _pages(child, names)


def _page(ctx: click.Context, names: list[str], children: list[click.Context]) -> Iterator[str]:
    name, help_text = "-".join(names), ctx.command.help or ""
    yield f'.TH "{_safe(name.upper())}" "{SECTION}" "" "cnilab {_safe(__version__)}" "cnilab"'
    yield from (".SH NAME", rf"{_safe(name)} \- {_safe(ctx.command.get_short_help_str(200).rstrip('.'))}")
    yield from (".SH SYNOPSIS", f".B {_safe(' '.join(names))}", _safe(" ".join(ctx.command.collect_usage_pieces(ctx))))
    yield ".SH DESCRIPTION"
    for paragraph in help_text.replace("\b\n", "").split("\n\n"):
        yield from (".PP", _safe(" ".join(paragraph.split())))
    if children:
        yield ".SH COMMANDS"
        for child in children:
            page = _safe("-".join((*names, child.info_name or "")))
            yield from (".TP", rf"\fB{page}\fR({SECTION})", _safe(child.command.get_short_help_str(200)))
    records = [one.get_help_record(ctx) for one in ctx.command.params if isinstance(one, click.Option)]
    if any(records):
        yield ".SH OPTIONS"
        for flags, text in filter(None, records):
            yield from (".TP", rf"\fB{_safe(flags)}\fR", _safe(text))
    if examples := getattr(ctx.command, "examples", ()):
        yield from (".SH EXAMPLES", ".nf", *map(_safe, examples), ".fi")
    yield from _environment(ctx)
    epilog = ctx.find_root().command.epilog or ""
    if "Exit codes:" in epilog:
        codes = epilog.partition("Exit codes:")[2].partition("\n\n")[0].strip("\n").splitlines()
        yield from (".SH EXIT STATUS", ".nf", *(_safe(line.strip()) for line in codes), ".fi")
    if len(names) > 1:
        yield from (".SH SEE ALSO", rf"\fB{_safe(names[0])}\fR({SECTION})")


def _environment(ctx: click.Context) -> Iterator[str]:
    """The variables of the options."""
    options = [one for one in ctx.command.params if isinstance(one, click.Option) and not one.hidden]
    known = [one for one in options if one.allow_from_autoenv and not one.is_eager]
    if known and ctx.auto_envvar_prefix:
        yield ".SH ENVIRONMENT"
        for one in known:
            yield from (".TP", rf"\fB{_safe(variable(one, ctx.auto_envvar_prefix))}\fR", _safe(f"As {one.opts[-1]}."))


def _safe(text: str) -> str:
    """Text that troff takes for text: no escape, no request at the beginning of a line, hyphens that can be copied."""
    plain = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{plain}" if plain.startswith((".", "'")) else plain
