"""`cnilab test`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.command import Option
from harness.cli.command import command as define
from harness.cli.existing import test_cluster
from harness.cli.output import Listing, emit, output_option
from harness.cli.progress import progress
from harness.cli.select import attached, cluster_option
from harness.cli.verdicts import conclude

if TYPE_CHECKING:
    from harness.model.journal import Journal
    from harness.model.records import FaultRun
    from harness.steps.lifecycle.attach import Attached
    from harness.steps.suite.disruptive.measure import Disturbance


@define(
    "test",
    on_lab=True,
    examples="""
    cnilab test
    cnilab test --select 'mtu,dns.search,model.no-nat.*' --strict
    cnilab test --disruptive --select 'node.heal,robust.*'
    cnilab test --faults -o json > faults.json
    cnilab test --faults --explain --cases cases
    cnilab test --kubeconfig ~/.kube/config --context staging --sample 6
    """,
)
@cluster_option()
@click.option("-k", "--select", default="", help="Run only these checks: ids, areas or patterns, separated by commas.")
@click.option("--strict", is_flag=True, help="Count requirements that are only SHOULD, too.")
@click.option(
    "--disruptive",
    is_flag=True,
    help="Disturb the cluster, too: restart agents, delete routes and rules, take the network away. "
    "All of it is put back.",
)
@click.option("--faults", is_flag=True, help="Test the suite itself: inject faults and verify that the checks fail.")
@click.option("--fault", "only", cls=Option, multiple=True, help="The same with only this fault. May be repeated.")
@click.option(
    "--explain", is_flag=True, help="With faults: have causes told, and see whether they name what was broken."
)
@click.option(
    "--cases",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --explain: store what was seen under each fault, with what was broken. 'cnilab score' reads it.",
)
@output_option()
@test_cluster
def command(  # noqa: PLR0913 - one parameter per option, as click wants it
    *,
    cluster: str | None,
    select: str,
    strict: bool,
    disruptive: bool,
    faults: bool,
    only: tuple[str, ...],
    explain: bool,
    cases: Path | None,
    output: str,
) -> int:
    """Run the conformance suite. It checks whether the pod network is as Kubernetes requires.

    Exit code 1 means that a requirement is not met, 11 that one could not be judged. With --faults, 1 means that a
    check missed its fault.

    LEGS are single measurements: how many have a verdict, of how many. One leg is one pair of pods, one node, one size
    or one name, in one IP family. A family after the reason is the only one in which the requirement is not met.

    Some requirements can only be judged on a cluster that is disturbed: they are not applicable without --disruptive,
    run after all others, and take some two minutes. Pods of the cluster are deleted and created again on the way.
    """
    if cases is not None and not (explain and (faults or only)):
        msg = "--cases goes with --faults or --fault, and with --explain."
        raise click.UsageError(msg)
    there = attached(cluster)
    from harness.cli.runs import finish, require_run  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415

    run = require_run(there)
    with progress() as listener:
        journal = Journal(run, listener)
        disturbance = _disturbance(there, journal) if disruptive else None
        if faults or only:
            from harness.steps.faults.run import Wish, run_faults  # noqa: PLC0415

            wish = Wish(only, disturbance=disturbance, explain=explain, cases=cases)
            mutations = run_faults(there, run, journal, wish)
        else:
            from harness.steps.suite.run import run_conformance  # noqa: PLC0415

            results = run_conformance(there, run, journal, select=select, strict=strict, disturbance=disturbance)
    words = ["--select", select] if select else []
    words += [f"--{name}" for name, given in (("strict", strict), ("disruptive", disruptive)) if given]
    words += [word for one in only for word in ("--fault", one)] or (["--faults"] if faults else [])
    finish(run, command=("cnilab", "test", *words))
    if faults or only:
        emit(_faults(mutations), output, empty="No fault fits this cluster.")
        return 1 if any(one.outcome in {"survived", "imprecise", "error"} for one in mutations) else 0
    return conclude(results, run.causes(), output, strict=strict)


def _disturbance(there: Attached, journal: Journal) -> Disturbance:
    """What may be done to a cluster: all of it, as usual."""
    from harness.cli.stores import store_for  # noqa: PLC0415
    from harness.model.injection import require_none  # noqa: PLC0415
    from harness.model.labstate import LabDir  # noqa: PLC0415
    from harness.steps.suite.disruptive.measure import Disturbance  # noqa: PLC0415

    require_none(LabDir(there.state, there.spec.name), "'cnilab test --disruptive'")
    store = store_for(there.spec, journal, images=False)
    return Disturbance(plugins=lambda: sorted(path.name for path in store.cni_dir().iterdir()))


def _faults(faults: list[FaultRun]) -> Listing:
    rows = [
        (
            one.fault,
            one.outcome,
            *(",".join(some) or "-" for some in (one.killed_by, one.survived, one.imprecise)),
            _place(one),
            one.title,
        )
        for one in faults
    ]
    items = [one.model_dump(mode="json", by_alias=True) for one in faults]
    return Listing(
        "FaultRun", ("fault", "outcome", "killed by", "missed by", "wrongly red", "named", "what"), rows, items
    )


def _place(one: FaultRun) -> str:
    """The place of what was broken among the causes."""
    return "-" if one.named is None else f"{one.named}. of {len(one.causes)}" if one.named else "no"
