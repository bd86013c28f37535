"""`cnilab apply`."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import click

from harness.cli.command import command as define
from harness.cli.output import Listing, emit, output_option
from harness.cli.progress import progress
from harness.cli.select import attached, cluster_option
from harness.cli.verdicts import tell
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.model.cause import Cause
    from harness.model.journal import Journal
    from harness.model.records import LabStep
    from harness.steps.lifecycle.attach import Attached

FAILED = {"fail", "error"}


@define(
    "apply",
    on_lab=True,
    examples="""
    cnilab apply
    cnilab apply flannel-routes flannel-arp-fdb
    cnilab apply --cluster monday -o json | jq '.items[] | select(.status != "pass")'
    """,
)
@click.argument("ids", metavar="[LAB-ID]...", nargs=-1)
@cluster_option()
@output_option()
def command(ids: tuple[str, ...], *, cluster: str | None, output: str) -> int:
    """Apply labs to a running cluster, and check everything that they teach.

    Without ids: the labs of the spec. If it names none, all labs that fit this cluster, except the long ones, which
    change the network of the whole cluster. 'all' includes the long ones. 'cnilab labs list' shows the catalogue.
    Exit code 1 means that an expectation was not met. Then the command also looks for what is wrong with the cluster,
    as 'cnilab why' does.

    Some labs need no cluster: see the column CLUSTER of 'cnilab labs list'. Without --cluster they get machines of
    their own, which are removed at the end.
    """
    if alone := _bare(ids, cluster):
        return _apply_bare(alone, output)
    there = attached(cluster, bare=True)
    steps, causes = _apply(there, ids)
    return _told(steps, causes, output)


def _apply(there: Attached, ids: Sequence[str]) -> tuple[list[LabStep], tuple[Cause, ...]]:
    """Run labs on what is there."""
    from harness.cli.runs import finish, require_run  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.labs.apply import run_labs  # noqa: PLC0415

    run = require_run(there)
    causes: tuple[Cause, ...] = ()
    with progress() as listener:
        journal = Journal(run, listener)
        steps = run_labs(there, run, journal, only=ids or there.spec.labs)
        if there.variant.kubernetes and any(step.status in FAILED for step in steps):
            causes = _causes(there, journal, {step.lab for step in steps if step.status in FAILED})
            if causes and not run.results():
                run.write_causes(causes)
    finish(run, command=("cnilab", "apply", *ids))
    return steps, causes


def _bare(ids: Sequence[str], cluster: str | None) -> tuple[str, ...]:
    """Labs that are to get machines of their own: all that were asked for, where none of them needs a cluster."""
    if cluster is not None or not ids:
        return ()
    from harness.steps.labs.choose import bare_ids  # noqa: PLC0415

    alone = bare_ids(ids)
    if alone and len(alone) < len(set(ids)):
        msg = f"{', '.join(alone)}: needs no cluster, and the other labs do"
        raise UsageError(msg, next_step="apply them with two commands")
    return alone


def _apply_bare(labs: Sequence[str], output: str) -> int:
    """Run labs on machines that are there for them alone."""
    from harness.cli.commands.up import temporary  # noqa: PLC0415
    from harness.model.spec import BARE  # noqa: PLC0415

    with temporary(BARE, f"{BARE}-{os.getpid()}") as there:
        steps, causes = _apply(there, labs)
    return _told(steps, causes, output)


def _told(steps: list[LabStep], causes: Sequence[Cause], output: str) -> int:
    if output in {"table", "wide"}:
        tell(causes)
    emit(_listing(steps, causes), output, empty="No lab fits this cluster.")
    return 1 if any(step.status in FAILED for step in steps) else 0


def _causes(there: Attached, journal: Journal, labs: set[str]) -> tuple[Cause, ...]:
    """What is wrong with the cluster after labs failed: what they broke themselves is repaired by now."""
    from harness.steps.labs.choose import list_labs  # noqa: PLC0415
    from harness.steps.why.survey import after  # noqa: PLC0415

    return after(there, journal, first={lab.namespace for lab in list_labs() if lab.id in labs})


def _listing(steps: list[LabStep], causes: Sequence[Cause]) -> Listing:
    by_lab: dict[str, list[LabStep]] = defaultdict(list)
    for step in steps:
        by_lab[step.lab].append(step)
    rows, items = [], []
    # What this network cannot do stands below what it did.
    for lab, its in sorted(by_lab.items(), key=lambda one: all(step.status == "skip" for step in one[1])):
        counts = Counter(step.status for step in its)
        bad = next((step for step in its if step.status in FAILED), None)
        status = "fail" if bad else "skip" if counts["skip"] == len(its) else "pass"
        reason = bad.reason or bad.title if bad else its[0].reason if status == "skip" else ""
        seconds = sum(step.seconds for step in its)
        rows.append(
            (
                lab,
                status,
                f"{counts['pass']}/{sum(counts[one] for one in ('pass', 'fail', 'error'))}",
                f"{seconds:.1f}s",
                reason or "-",
            )
        )
        items.append(
            {
                "lab": lab,
                "status": status,
                "seconds": round(seconds, 3),
                "reason": reason,
                "steps": [step.model_dump(mode="json", by_alias=True) for step in its],
            }
        )
    extra = {"causes": [one.model_dump(mode="json") for one in causes]} if causes else {}
    return Listing("LabResult", ("lab", "status", "passed", "time", "reason"), rows, items, extra=extra)
