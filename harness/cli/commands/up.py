"""`cnilab up`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from harness.cli.command import command as define
from harness.cli.context import say, settings
from harness.cli.output import export_line, output_option
from harness.cli.progress import progress
from harness.cli.spec_options import Asked, spec_options, under_another_kernel
from harness.errors import BringUpError, CnilabError, TearDownError
from harness.model.wellknown import SUPPORT

if TYPE_CHECKING:
    from harness.components.own import Offer
    from harness.components.store import Store
    from harness.model.journal import Journal, Listener
    from harness.model.run import RunDir
    from harness.model.spec import LabSpec
    from harness.providers.protocol import Needs
    from harness.steps.lifecycle.attach import Attached


def component_option(function: Any) -> Any:
    """`--component`, which a spec does not have: paths are a machine's own."""
    words = "Use your own program: flanneld=./flanneld, or your own image: weave-kube=images.tar. May be repeated."
    return click.option("--component", multiple=True, metavar="NAME=PATH", help=words)(function)


def typed(ctx: click.Context, name: str) -> bool:
    """Whether an option was given with the command, and not by a file or a variable, which hold for many commands."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


@define(
    "up",
    examples="""
    cnilab up
    cnilab up flannel-host-gw --nodes 3 --mtu 1400
    cnilab up workshop.yaml --name monday --retain
    cnilab up cilium-geneve --kernel debian
    cnilab up flannel --ip-family ipv4
    cnilab up cilium --ip-family dual --primary-family ipv6
    cnilab up workshop.yaml --dry-run
    cnilab up cilium --dry-run -o json | jq -r '.items[] | select(.what == "image") | .name'
    cnilab up flannel --provider kind
    cnilab up bare
    cnilab up flannel --component flanneld=dist/flanneld-amd64
    cnilab up cilium --cni-version 1.19.4
    cnilab --registry-mirror quay.io=http://127.0.0.1:5000 up cilium --cni-version 1.19.4
    """,
)
@spec_options
@component_option
@click.option("--retain", is_flag=True, help="Keep the cluster if the bring-up fails.")
@click.option("--replace", is_flag=True, help="First remove an earlier cluster of the same name.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Run directory.  [default: ./.runs/<time>-<name>]")
@click.option(
    "--raise-limits", is_flag=True, help="Raise machine-wide limits that are too low until the cluster is down."
)
@click.option("--dry-run", is_flag=True, help="Show what would be made. Make nothing.")
@output_option(help="With --dry-run: format of the data.")
@click.option("--skip-preflight", is_flag=True, help="Start even if doctor reports that it cannot work.")
@click.pass_context
def command(  # noqa: PLR0913 - one parameter per option, as click wants it
    ctx: click.Context,
    /,
    *,
    asked: Asked,
    component: tuple[str, ...],
    retain: bool,
    replace: bool,
    run_dir: Path | None,
    raise_limits: bool,
    dry_run: bool,
    output: str,
    skip_preflight: bool,
) -> int:
    """Bring up a cluster: nodes, Kubernetes, and a pod network.

    SPEC is a YAML file (see 'cnilab schema'). VARIANT is a pod network: flannel, flannel-host-gw, bridge, cilium and
    its variants, weave. 'cnilab matrix list' shows which of them can run here. At the end the command prints the path
    of a kubeconfig. Your own kubeconfig is never changed. VARIANT can also be 'bare': two machines, a router and a
    far host without Kubernetes, for what the labs do by hand.
    """
    if dry_run and replace and typed(ctx, "replace"):
        msg = "--replace removes a cluster first, and --dry-run changes nothing: give only one of them"
        raise click.UsageError(msg)
    if not dry_run and typed(ctx, "output"):
        msg = "-o needs --dry-run; 'cnilab status -o json' describes a cluster that is up"
        raise click.UsageError(msg)
    spec = asked.spec
    if dry_run:
        return _plan(spec, component, output)
    own = taken_over(component, spec)
    if under_another_kernel(spec):
        from harness.cli.up_inside import bring_up  # noqa: PLC0415

        flags = {"--raise-limits": raise_limits, "--skip-preflight": skip_preflight, "--retain": retain}
        words = [*settings().words, "up", *(flag for flag, on in flags.items() if on)]
        words += component_words(f"{program}={copy}" for program, copy in own.items())
        return bring_up(asked, words, run_dir, own, replace=replace, retain=retain)
    from harness.model.family import listed  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.model.spec import BARE  # noqa: PLC0415

    with progress() as listener:
        if not skip_preflight:
            journal = Journal(None, listener)
            with journal.step("up.preflight", "preflight checks of this machine"):
                _preflight(spec, journal)
        if replace:
            from harness.cli.commands.down import remove  # noqa: PLC0415

            remove(spec.name, Journal(None, listener))
        words = [*asked.words, *component_words(component)]
        run, kubeconfig = _made(spec, words, run_dir, listener, own, raise_limits=raise_limits, retain=retain)
    nodes = "1 node" if spec.nodes == 1 else f"{spec.nodes} nodes"
    say(f"Cluster '{spec.name}' is up: {spec.cni}, {listed(spec.families)}, {nodes}. Run directory: {run.path}")
    if spec.cni != BARE:
        click.echo(export_line(kubeconfig))
    else:
        say(f"It has no Kubernetes. 'cnilab exec {spec.node_names[0]}' starts a shell on the first node.")
    return 0


def _made(
    spec: LabSpec,
    words: list[str],
    run_dir: Path | None,
    listener: Listener,
    own: dict[str, Path],
    *,
    raise_limits: bool = False,
    retain: bool = False,
) -> tuple[RunDir, Path]:
    """Bring a cluster up with a run directory of its own; if that fails, leave nothing but the evidence."""
    from harness.cli.runs import finish, new_run  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415

    run = new_run(spec, words, run_dir)
    journal = Journal(run, listener)
    try:
        kubeconfig = _bring_up(spec, run, journal, own, raise_limits=raise_limits)
    except (CnilabError, KeyboardInterrupt) as error:
        finish(run, error if isinstance(error, CnilabError) else CnilabError("interrupted"))
        if isinstance(error, BringUpError):
            _explain(spec, run, journal)
        _give_up(spec, run, journal, retain=retain)
        if isinstance(error, CnilabError):
            error.log = error.log if error.log and retain else str(run.path / "logs")
        raise
    finish(run)
    return run, kubeconfig


@contextmanager
def temporary(target: str, name: str) -> Iterator[Attached]:
    """A lab that is there while the context is open, whatever happens in it; its run directory stays.

    Args:
        target: As of `up`.
        name: Of the lab.

    Raises:
        CnilabError: It did not come up, or something of it could not be removed.
    """
    from harness.cli.commands.down import remove  # noqa: PLC0415
    from harness.cli.select import attached  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415

    asked = Asked(target, {"metadata.name": name})
    with progress() as listener:
        _preflight(asked.spec, Journal(None, listener))
        _made(asked.spec, asked.words, None, listener, {})
    try:
        yield attached(name, bare=True)
    finally:
        with progress() as listener:
            left = remove(name, Journal(None, listener))
        if left:
            msg = "something is left over"
            raise TearDownError(msg, cause="; ".join(left), next_step=f"cnilab down {name}")


def _plan(spec: LabSpec, component: tuple[str, ...], output: str) -> int:
    from harness.cli.planned import show  # noqa: PLC0415

    show(spec, offered(component, spec), output)
    if aged := _out_of_support(spec):
        say(aged)
    return 0


def _out_of_support(spec: LabSpec) -> str:
    """That nobody mends the cluster's version of Kubernetes any more; empty when somebody does."""
    from harness.components.kubernetes import unsupported  # noqa: PLC0415
    from harness.components.lock import load  # noqa: PLC0415

    return unsupported(load(), spec.kubernetes.version, datetime.now(UTC).date())


def _preflight(spec: LabSpec, journal: Journal) -> None:
    """Ask doctor, after what it asks with has been installed: a new machine lacks even `iptables`."""
    from harness.cli.stores import store_for  # noqa: PLC0415
    from harness.steps.doctor.examine import programs, require  # noqa: PLC0415

    store_for(spec, journal, images=False).tools.install(*programs(spec))
    require(spec, state=settings().state, cache=settings().cache)


def taken_over(components: tuple[str, ...], spec: LabSpec) -> dict[str, Path]:
    """Programs that the user brings, as copies in the cache, which a machine of another kernel sees, too.

    Raises:
        UsageError: Something of it cannot be meant.
    """
    if not components:
        return {}
    from harness.components import own  # noqa: PLC0415
    from harness.model.wellknown import INSIDE  # noqa: PLC0415

    if os.environ.get(INSIDE):
        return own.kept(settings().cache, components)
    store, wanted = _needed(spec)
    return own.bring(store, components, wanted.replaceable, wanted.images)


def offered(components: tuple[str, ...], spec: LabSpec) -> Offer:
    """The same without taking anything over.

    Raises:
        UsageError: Something of it cannot be meant.
    """
    from harness.components import own  # noqa: PLC0415

    store, wanted = _needed(spec)
    return own.look(store, components, wanted.replaceable, wanted.images)


def _needed(spec: LabSpec) -> tuple[Store, Needs]:
    from harness.cli.stores import store_for  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.providers.needs import needs  # noqa: PLC0415

    store = store_for(spec, Journal(None))
    return store, needs(spec, store)


def component_words(components: Iterable[str]) -> list[str]:
    """`--component`, as often as something is brought."""
    return [word for one in components for word in ("--component", one)]


def _bring_up(spec: LabSpec, run: RunDir, journal: Journal, own: dict[str, Path], *, raise_limits: bool) -> Path:
    # These bring the Kubernetes client and more: only now, when a cluster is really made.
    from harness.cli.stores import noted_store  # noqa: PLC0415
    from harness.cni.catalogue import of  # noqa: PLC0415
    from harness.steps.lifecycle.up import bring_up  # noqa: PLC0415

    if aged := _out_of_support(spec):
        journal.note(SUPPORT, aged)
    try:
        with noted_store(spec, run, journal, own) as store:
            attached = bring_up(
                spec,
                of(spec),
                run=run,
                journal=journal,
                store=store,
                state=settings().state,
                raise_limits=raise_limits,
            )
    except BrokenPipeError:
        raise
    except OSError as error:
        # Any of the many files of a cluster may be the one that a full disk has no room for: what is there must go.
        msg = "the operating system refused an operation"
        where = str(error.filename or settings().state)
        step = "check the free disk space; --state and --cache set other directories"
        raise BringUpError(msg, cause=str(error), where=where, next_step=step) from error
    return attached.lab.kubeconfig


def _explain(spec: LabSpec, run: RunDir, journal: Journal) -> None:
    """Name what is wrong with a network that did not come up, as 'cnilab why' does; without nodes there is none yet."""
    from harness.cli.verdicts import told  # noqa: PLC0415
    from harness.steps.lifecycle.attach import attach  # noqa: PLC0415
    from harness.steps.why.survey import after  # noqa: PLC0415

    if not any((event.step, event.state) == ("up.nodes", "ok") for event in run.events()):
        return
    try:
        causes = after(attach(spec.name, settings().state), journal)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not hide why the bring-up failed
        journal.note("up.explain", f"could not look for the cause: {error}")
        return
    run.write_causes(causes)
    for number, cause in enumerate(causes, 1):
        say(told(number, cause).rstrip())


def _give_up(spec: LabSpec, run: RunDir, journal: Journal, *, retain: bool) -> None:
    """After a failure: keep the evidence, then leave nothing behind, unless the user wants to look at it."""
    from harness.cli.commands.down import remove  # noqa: PLC0415
    from harness.steps.lifecycle.collect import collect  # noqa: PLC0415
    from harness.steps.lifecycle.down import made_by_this_process  # noqa: PLC0415

    if not made_by_this_process(settings().state, spec.name):
        return  # there is none, or somebody else's cluster has that name
    try:
        collect(spec.name, settings().state, run, journal)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not keep the cluster from being removed
        journal.note("collect", f"could not collect: {error}")
    if retain:
        say(f"Cluster '{spec.name}' is kept as it is. 'cnilab down {spec.name}' removes it.")
        return
    for what in remove(spec.name, journal):
        click.echo(f"left over: {what}", err=True)
