"""The command `cnilab`: finds the command, runs it, and turns every error into a sentence and an exit code."""

from __future__ import annotations

import importlib
import math
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from click.shell_completion import shell_complete

from harness import __version__, timeouts
from harness.caller import says_yes
from harness.cli.context import WORDS, Settings, checked_place, colored, default_cache, default_state
from harness.cli.defaults import SOURCES, adopt, read
from harness.cli.interrupt import Interrupted, handling
from harness.errors import CnilabError

INTERRUPTED = 128 + signal.SIGINT
READER_GONE = 128 + signal.SIGPIPE

COMMANDS = {
    "run": ("Run all steps: up, apply, test, report, down.", "run"),
    "doctor": ("Check this machine. Show what is missing, the consequences, and how to fix it.", "doctor"),
    "up": ("Bring up a cluster: nodes, Kubernetes, and a pod network.", "up"),
    "apply": ("Apply labs to a running cluster and check what they teach.", "apply"),
    "test": ("Run the conformance suite against a cluster.", "test"),
    "mutate": ("Test the suite itself: all faults against all checks, on many networks.", "mutate"),
    "fault": ("Break a running cluster on purpose, for exercises, and mend it again.", "fault"),
    "switch": ("Give a running cluster another pod network.", "switch"),
    "status": ("Show clusters, or the machines of one cluster.", "status"),
    "exec": ("Run a command in a node, the router or a pod.", "execute"),
    "load": ("Load an image archive into every node.", "load"),
    "why": ("Name the rule, route or entry that stops a flow.", "why"),
    "trace": ("Follow a ping through the cluster, hop by hop.", "trace"),
    "collect": ("Collect logs and kernel state into the run directory.", "collect"),
    "judge": ("Judge again what a run has seen, without a cluster.", "judge"),
    "score": ("Measure causes on stored cases, without a cluster.", "score"),
    "report": ("Write the report of a run.", "report"),
    "down": ("Remove a cluster and everything that it made.", "down"),
    "render": ("Show what up would do. Change nothing.", "render"),
    "components": ("Manage the programs of clusters: list, ensure, verify, export, import, prune.", "components"),
    "matrix": ("Run many variants and providers, and write one report of them all.", "matrix"),
    "labs": ("Show the catalogue of labs.", "labs"),
    "schema": ("Print the JSON schema of a cluster spec, or of a record of a run.", "schema"),
    "completion": ("Print a completion script for bash, zsh or fish.", "completion"),
    "man": ("Print or write manual pages.", "man"),
    "version": ("Show the versions of cnilab and of all components.", "version"),
}
"""Name → what it does, and the module that has it. Modules are imported only when their command runs."""

EPILOG = """\b
Examples:
  cnilab up flannel          two nodes with flannel
  cnilab test                is the network as it should be?
  cnilab down --all          remove every cluster

\b
Exit codes:
  0    everything is as expected
  1    the network is not as expected: a check or a lab failed
  3    an error inside cnilab; the log has the details
  4    wrong usage, or an error in a spec
  10   preflight: this machine lacks something; nothing was started
  11   the cluster could not be brought up, or is not up
  12   something is left after down
  13   the report could not be written; the run itself is intact
  130  interrupted (Ctrl-C)

Every option can be set by a variable: CNILAB_<OPTION>, CNILAB_<COMMAND>_<OPTION>.
It can also be set in ./cnilab.toml or in ~/.config/cnilab/config.toml, where the
options of a command are in a section with its name: [up].
"""


def find(name: str) -> click.Command:
    """A command of the table, its module imported now."""
    module = importlib.import_module(f"harness.cli.commands.{COMMANDS[name][1]}")
    command: click.Command = module.command
    return command


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports them when they run."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Options before the command: words, then variables, then files."""
        if not ctx.resilient_parsing:  # completion: see `adopt`
            ctx.default_map, ctx.meta[SOURCES] = read()
        adopt(ctx, COMMANDS)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which a user meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module, or return None for an unknown name."""
        del ctx
        return find(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a hint for a mistyped name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib  # noqa: PLC0415 - only a mistake needs it

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"no such command '{args[0][:60]}'{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (text, _) in COMMANDS.items()])


def _finite(_ctx: click.Context, _param: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        msg = f"{value} is not a finite number."
        raise click.BadParameter(msg)
    return value


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "CNILAB", "max_content_width": 100},
)
@click.option("-q", "--quiet", is_flag=True, help="Show only errors on stderr, no progress.")
@click.option("-v", "--verbose", count=True, help="Show more progress. Given twice, show tracebacks too.")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Whether to use colours.")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_state,
    show_default="~/.local/state/cnilab",
    help="Directory for the state of running clusters.",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_cache,
    show_default="~/.cache/cnilab",
    help="Directory for components and images.",
)
@click.option(
    "--timeout-scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    callback=_finite,
    help="Factor for all deadlines, for slow machines.",
)
@click.option(
    "--registry-mirror",
    multiple=True,
    metavar="HOST=URL",
    help="With --cni-version: pull images of a registry from another place: quay.io=https://mirror.example.org. May be "
    "repeated. In the variable, several values are separated by blanks.",
)
# Not named `version`: that is the section of the command, in files.
@click.version_option(__version__, "--version", "program_version", prog_name="cnilab")
@click.pass_context
def cli(  # noqa: PLR0913 - one parameter per option, as click wants it
    ctx: click.Context,
    *,
    quiet: bool,
    verbose: int,
    color: str,
    state: Path,
    cache: Path,
    timeout_scale: float,
    registry_mirror: tuple[str, ...],
) -> None:
    """Real Kubernetes networking on one Linux machine: labs that teach it, and checks that prove it."""
    ctx.color = colored(color)
    state, cache = checked_place(state, "--state"), checked_place(cache, "--cache")
    ctx.with_resource(timeouts.paced(timeout_scale))
    ctx.obj = Settings(
        quiet=quiet,
        verbose=verbose,
        state=state,
        cache=cache,
        timeout_scale=timeout_scale,
        mirrors=_mirrors(registry_mirror) if registry_mirror else {},
    )


def _mirrors(words: tuple[str, ...]) -> dict[str, str]:
    """What the words mean; one that is wrong is told before anything begins."""
    from harness.components import mirrors  # noqa: PLC0415 - the help must not wait for it

    return mirrors.parse(words, clear=says_yes(mirrors.CLEAR))


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        args: Words after the program's name; None takes them from the process.
    """
    words = list(sys.argv[1:] if args is None else args)
    ctx: click.Context | None = None
    try:
        if instruction := os.environ.get("_CNILAB_COMPLETE"):
            return shell_complete(cli, {}, "cnilab", "_CNILAB_COMPLETE", instruction)
        # Not `cli.main()`: it turns every interrupt into the same Abort, and a reader that went away into an exit.
        with handling(), cli.make_context("cnilab", words) as ctx:
            ctx.meta[WORDS] = words
            result = cli.invoke(ctx)
            sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - the last resort: every error ends as a sentence and a code
        return explain(error, words, _state(ctx))
    except KeyboardInterrupt as error:
        return error.exit_code if isinstance(error, Interrupted) else INTERRUPTED
    return result if isinstance(result, int) else 0


def _state(ctx: click.Context | None) -> Path:
    """The state directory, also where the command line could not be read."""
    return Path(ctx.params["state"] if ctx else os.environ.get("CNILAB_STATE") or default_state())


def explain(error: Exception, words: Sequence[str], state: Path) -> int:
    """Say what went wrong, and return the exit code that says it too.

    Args:
        error: What ended a command.
        words: Of the command line.
        state: The state directory, whose logs get what nobody expected.
    """
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.ClickException):
        return _complain_about_usage(error)
    if isinstance(error, BrokenPipeError):
        # The reader went away (`| head`): not an error. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return READER_GONE
    if isinstance(error, CnilabError):
        _complain(error)
        if "-vv" in words:
            traceback.print_exception(error)
        return error.exit_code
    return _complain_about_ourselves(error, words, state)


def _red(text: str) -> str:
    color = colored("auto")
    return click.style(text, fg="red", bold=True) if color or (color is None and sys.stderr.isatty()) else text


def _complain(error: CnilabError) -> None:
    click.echo(f"{_red('error:')} {error}", err=True, color=True)


def _complain_about_usage(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
        return 0
    message = error.format_message()
    click.echo(f"{_red('error:')} {message[:1].lower()}{message[1:].removesuffix('.')}", err=True, color=True)
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    advice = f"run '{ctx.command_path if ctx else 'cnilab'} --help'"
    if isinstance(error, click.NoSuchOption) and ctx is not None and ctx.command.name == "exec":
        advice = f"options of the command go behind --: cnilab exec n1 -- ip {error.option_name} link"
    click.echo(f"  next:  {advice}", err=True)
    return 4


def _complain_about_ourselves(error: Exception, words: Sequence[str], state: Path) -> int:
    path = state / "log" / f"crash-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    text = "".join(traceback.format_exception(error))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"cnilab {__version__}\n{shlex.join(words)}\n{text}", encoding="utf-8")
        log = str(path)
    except OSError as failed:
        log = f"not written ({failed})"
    first = (str(error).splitlines() or [""])[0][:300]
    what = f"unexpected {type(error).__name__}: {first}"
    _complain(CnilabError(what, next_step="this is a bug in cnilab: please report it with the log", log=log))
    return CnilabError.exit_code
