"""`cnilab test`."""

from __future__ import annotations

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
    from harness.model.records import FaultRun


@define(
    "test",
    on_lab=True,
    examples="""
    cnilab test
    cnilab test --select 'mtu,dns.search,model.no-nat.*' --strict
    cnilab test --faults -o json > faults.json
    cnilab test --kubeconfig ~/.kube/config --context staging --sample 6
    """,
)
@cluster_option()
@click.option("-k", "--select", default="", help="Run only these checks: ids, areas or patterns, separated by commas.")
@click.option("--strict", is_flag=True, help="Count requirements that are only SHOULD, too.")
@click.option("--faults", is_flag=True, help="Test the suite itself: inject faults and verify that the checks fail.")
@click.option(
    "--fault", "only", cls=Option, multiple=True, help="With --faults: inject only this fault. May be repeated."
)
@output_option()
@test_cluster
def command(*, cluster: str | None, select: str, strict: bool, faults: bool, only: tuple[str, ...], output: str) -> int:
    """Run the conformance suite. It checks whether the pod network is as Kubernetes requires.

    Exit code 1 means that a requirement is not met, 11 that one could not be judged. With --faults, 1 means that a
    check missed its fault.
    """
    there = attached(cluster)
    from harness.cli.runs import finish, require_run  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415

    run = require_run(there)
    with progress() as listener:
        journal = Journal(run, listener)
        if faults or only:
            from harness.steps.faults.run import Wish, run_faults  # noqa: PLC0415

            mutations = run_faults(there, run, journal, Wish(only))
        else:
            from harness.steps.suite.run import run_conformance  # noqa: PLC0415

            results = run_conformance(there, run, journal, select=select, strict=strict)
    finish(
        run, command=("cnilab", "test", *(["--select", select] if select else ()), *(["--faults"] if faults else ()))
    )
    if faults or only:
        emit(_faults(mutations), output, empty="No fault fits this cluster.")
        return 1 if any(one.outcome in {"survived", "imprecise", "error"} for one in mutations) else 0
    return conclude(results, output, strict=strict)


def _faults(faults: list[FaultRun]) -> Listing:
    rows = [
        (one.fault, one.outcome, ",".join(one.killed_by) or "-", ",".join(one.survived) or "-", one.title)
        for one in faults
    ]
    items = [one.model_dump(mode="json", by_alias=True) for one in faults]
    return Listing("FaultRun", ("fault", "outcome", "killed by", "missed by", "what"), rows, items)
