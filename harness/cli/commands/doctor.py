"""`cnilab doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.command import command as define
from harness.cli.context import WORDS, say, settings
from harness.cli.existing import doctor_cluster
from harness.cli.output import Listing, emit, output_option
from harness.cli.spec_options import Asked, spec_options, under_another_kernel
from harness.errors import PreflightError

if TYPE_CHECKING:
    from harness.steps.doctor.model import Finding


@define(
    "doctor",
    examples="""
    cnilab doctor
    cnilab doctor flannel --nodes 20 -o wide
    cnilab doctor cilium --ip-family dual
    cnilab doctor --kubeconfig ~/.kube/config
    cnilab doctor -o json | jq -r '.items[] | select(.status == "blocks") | .fix'
    """,
)
@spec_options
@click.option("--skip", multiple=True, metavar="CHECK", help="Skip a check. May be repeated.")
@output_option()
@doctor_cluster
def command(*, asked: Asked, skip: tuple[str, ...], output: str) -> int:
    """Check this machine. Show what is missing, the consequences, and how to fix it.

    The arguments are those of 'up': the checks are for the cluster that 'up' would make. blocks: no cluster is possible
    (exit code 10). limits: a part of the cluster will not work. info: this has no effect on the usual variants.
    """
    spec = asked.spec
    if under_another_kernel(spec):
        from harness.cli.inside import examine as examine_inside  # noqa: PLC0415

        return examine_inside(spec, click.get_current_context().meta[WORDS])
    from harness.steps.doctor.examine import examine  # noqa: PLC0415
    from harness.steps.doctor.model import Plan  # noqa: PLC0415

    findings = examine(Plan(spec, settings().state, settings().cache), skip=skip)
    emit(_listing(findings), output)
    if output in {"table", "wide"}:
        say(_summary(findings))
    return PreflightError.exit_code if any(one.status == "blocks" for one in findings) else 0


def _listing(findings: list[Finding]) -> Listing:
    rows, items = [], []
    for one in findings:
        bad = one.status != "ok"
        rows.append((one.check.title, one.status, one.detail, one.fix or "-", one.check.consequence if bad else "-"))
        items.append(
            {
                "id": one.check.id,
                "title": one.check.title,
                "status": one.status,
                "severity": one.check.severity,
                "detail": one.detail,
                "consequence": one.check.consequence if bad else "",
                "fix": one.fix,
            }
        )
    columns = ("check", "status", "found", "fix")
    return Listing("Finding", columns, rows, items, [f"check/{i['id']}" for i in items], wide=("consequence",))


def _summary(findings: list[Finding]) -> str:
    counts = {status: sum(one.status == status for one in findings) for status in ("blocks", "limits", "info")}
    if counts["blocks"]:
        return f"{counts['blocks']} of {len(findings)} checks block: a cluster cannot run here yet."
    rest = f" ({counts['limits']} limit it, {counts['info']} for information)" if sum(counts.values()) else ""
    return f"This machine can run the cluster{rest}."
