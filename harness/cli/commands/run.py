"""`cnilab run`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from harness.cli.command import Option
from harness.cli.command import command as define
from harness.cli.commands.up import component_option, component_words, offered
from harness.cli.context import settings
from harness.cli.output import Listing, emit, output_option
from harness.cli.spec_options import Asked, spec_options
from harness.cli.whole import Whole
from harness.errors import CnilabError
from harness.model.wellknown import SUITE_NAMESPACE

TRACES = ((f"{SUITE_NAMESPACE}/a", f"{SUITE_NAMESPACE}/c"), (f"{SUITE_NAMESPACE}/a", "8.8.8.8"))
"""Trace two pings for the report, one to another node and one to the outside."""


@define(
    "run",
    examples="""
    cnilab run
    cnilab run cilium --select 'model.*' --no-labs
    cnilab run cilium --all-labs
    cnilab run cilium --ip-family dual
    cnilab run workshop.yaml --keep -o json
    """,
)
@spec_options
@component_option
@click.option("--replace", is_flag=True, help="First remove an earlier cluster of the same name.")
@click.option("--keep", is_flag=True, help="Keep the cluster at the end.")
@click.option("--labs/--no-labs", "with_labs", cls=Option, default=True, help="Apply the labs.  [default: yes]")
@click.option("--all-labs", is_flag=True, help="Apply also long labs, which change the whole cluster's network.")
@click.option("-k", "--select", default="", help="Run only these checks: ids, areas or patterns, separated by commas.")
@click.option("--strict", is_flag=True, help="Count requirements that are only SHOULD, too.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Run directory.  [default: ./.runs/<time>-<name>]")
@click.option(
    "--raise-limits", is_flag=True, help="Raise machine-wide limits that are too low until the cluster is down."
)
@output_option()
@click.pass_context
def command(  # noqa: PLR0913 - one parameter per option, as click wants it
    ctx: click.Context,
    /,
    *,
    asked: Asked,
    component: tuple[str, ...],
    replace: bool,
    keep: bool,
    with_labs: bool,
    all_labs: bool,
    select: str,
    strict: bool,
    run_dir: Path | None,
    raise_limits: bool,
    output: str,
) -> int:
    """Run all steps: up, apply, test, two traces, collect, report, down.

    If a step fails, the steps that still make sense run. If the cluster does not come up, its logs are collected and
    a report is written. A failed lab does not stop the suite. At the end everything is removed, except with --keep.
    If 'up' is refused, for example because the name is taken, nothing else runs. The exit code is that of the first
    step that failed.
    """
    spec = asked.spec
    from harness.model.spec import ALL_LABS, BARE  # noqa: PLC0415 - the help must not wait for pydantic

    if component:
        offered(component, spec)  # a word that is wrong is told before anything begins
    words = component_words(component)
    words += ["--run-dir", str(run_dir)] if run_dir else []
    words += [flag for flag, on in (("--replace", replace), ("--raise-limits", raise_limits)) if on]
    whole = Whole(ctx, silent=output not in {"table", "wide"})
    before, up = _newest(spec.name, run_dir), False
    asked.hand_over(ctx)
    try:
        up = whole.do("up", *words) == 0
        if up:
            if with_labs:
                whole.do("apply", *([ALL_LABS] if all_labs else []), "--cluster", spec.name)
            if spec.cni != BARE:
                _judge(whole, spec.name, select, strict=strict)
            whole.do("collect", "--cluster", spec.name)
        # One that failed has collected already, and one that was refused has nothing to report.
        if up or (run := _newest(spec.name, run_dir)) != before:
            whole.do("report", *(("--cluster", spec.name) if up else (str(run),)))
    finally:
        # A cluster of that name may be another one, for which this one was refused.
        if not keep and (up or _ours(spec.name)):
            whole.do("down", spec.name)
    rows = [(name, "ok" if code == 0 else f"exit {code}", f"{seconds:.1f}s") for name, code, seconds in whole.phases]
    items = [{"phase": name, "exit": code, "seconds": round(seconds, 3)} for name, code, seconds in whole.phases]
    extra = {"lab": spec.name, "variant": spec.cni, "exit": whole.code}
    emit(Listing("Phase", ("phase", "result", "time"), rows, items, extra=extra), output)
    return whole.code


def _newest(name: str, run_dir: Path | None) -> Path | None:
    """The run directory that an `up` would have made last, if it has."""
    if run_dir is not None:
        return run_dir if (run_dir / "run.json").exists() else None
    from harness.cli.runs import last_run  # noqa: PLC0415 - the help must not wait for it

    run = last_run(name)
    return run.path if run else None


def _ours(name: str) -> bool:
    """Whether there is a cluster that this process was about to bring up."""
    from harness.steps.lifecycle.down import made_by_this_process  # noqa: PLC0415

    with contextlib.suppress(CnilabError):  # of a state that cannot be read
        return made_by_this_process(settings().state, name)
    return False


def _judge(whole: Whole, cluster: str, select: str, *, strict: bool) -> None:
    whole.do("test", "--cluster", cluster, "--select", select, *(["--strict"] if strict else []))
    for source, target in TRACES:
        whole.do("trace", source, target, "--cluster", cluster)
