"""Is this machine fit for a cluster? Every check says what follows when it fails, and how to mend it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.cni import catalogue
from harness.components import tools
from harness.components.lock import load as load_lock
from harness.errors import PreflightError, UsageError
from harness.model.spec import LabSpec
from harness.providers.registry import driver
from harness.steps.doctor.checks import CHECKS
from harness.steps.doctor.host import Host
from harness.steps.doctor.model import Finding, Plan, Question, Status


def concerning(spec: LabSpec) -> list[Question]:
    """All checks that concern a lab's provider and its IP families."""
    concern = driver(spec.provider).checks
    asked = [check for check in CHECKS if check.provider in {"", spec.provider}]
    asked = [check for check in asked if check.family in {None, *spec.families}]
    return [check for check in asked if not concern or check.id in concern]


def examine(plan: Plan, *, skip: Collection[str] = (), checks: Sequence[Question] | None = None) -> list[Finding]:
    """Run all checks at the same time.

    Args:
        plan: What the machine shall do.
        skip: Ids of checks to leave out.
        checks: By default all that concern the lab's provider.

    Raises:
        UsageError: `skip` names a check that does not exist.
    """
    checks = concerning(plan.spec) if checks is None else checks
    unknown = sorted(set(skip) - {check.id for check in checks})
    if unknown:
        msg = f"there is no check named {', '.join(unknown)[:100]}"
        raise UsageError(msg, cause=f"checks: {', '.join(check.id for check in checks)}")
    wanted = [check for check in checks if check.id not in skip]
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda check: _finding(check, plan), wanted))


def _finding(check: Question, plan: Plan) -> Finding:
    if check.program and not plan.host.which(check.program):
        return _unasked(check, plan)
    verdict = check.probe(plan)
    if verdict.ok:
        return Finding(check, "ok", verdict.detail, "")
    if _is_needed(check, plan.spec):
        return Finding(check, "blocks", verdict.detail, verdict.fix or check.fix)
    return Finding(check, verdict.severity or check.severity, verdict.detail, verdict.fix or check.fix)


def _unasked(check: Question, plan: Plan) -> Finding:
    """Of a check whose program is missing: it is in the way only where `up` will not bring it."""
    status: Status = "info" if not _can_block(check, plan.spec) else "limits" if plan.coming else "blocks"
    fix = tools.advice(load_lock().tool, [check.program], coming=plan.coming)
    return Finding(check, status, f"unknown without {check.program}", fix)


def programs(spec: LabSpec) -> tuple[str, ...]:
    """Programs of this machine that a lab needs, and those with which doctor asks whether it can be."""
    checks = concerning(spec)
    if not any(check.id == "programs" for check in checks):
        return ()
    always = [name for name, tool in load_lock().tool.items() if not tool.optional]
    asked = [check.program for check in checks if check.program and _can_block(check, spec)]
    return tuple(dict.fromkeys([*always, *asked]))


def _can_block(check: Question, spec: LabSpec) -> bool:
    return check.severity == "blocks" or _is_needed(check, spec)


def _is_needed(check: Question, spec: LabSpec) -> bool:
    """Whether this lab cannot be without what others can."""
    return check.id in catalogue.needs(spec) or check.id in driver(spec.provider).blocking


def require(
    spec: LabSpec, *, state: Path, cache: Path, host: Host | None = None, checks: Sequence[Question] | None = None
) -> list[Finding]:
    """Run all checks that can block, or those given, and refuse to go on when one of them does.

    What may be installed has been, as far as it could be.

    What is only worth knowing is left to `doctor`: asking for a Docker engine takes as long as all the rest.

    Raises:
        PreflightError: Names everything that blocks, what follows, and how to mend it; or what the variant, or
            kube-proxy in its mode, needs of the kernel and does not find.
    """
    chosen = checks
    if chosen is None:
        chosen = [one for one in concerning(spec) if one.severity != "info" or _is_needed(one, spec)]
    findings = examine(Plan(spec, state, cache, host or Host(), coming=False), checks=chosen)
    blocking = [finding for finding in findings if finding.status == "blocks"]
    if blocking:
        raise PreflightError(
            _refusal(spec, [finding.check for finding in blocking]),
            cause="\n".join(f"{one.check.title}: {one.detail or one.check.consequence}" for one in blocking),
            next_step="\n".join(dict.fromkeys(one.fix for one in blocking)),
            # Only a lab that is still to come can be given another kernel.
            notes=[
                "'cnilab doctor' shows all checks",
                *([_WITHOUT] if all(one.check.family == "ipv6" for one in blocking) else ()),
                *(_another_kernel(spec, blocking) if checks is None else ()),
            ],
        )
    return findings


_WITHOUT = "clusters with IPv4 alone need none of this: --ip-family ipv4, or spec.ipFamily: ipv4"


def _refusal(spec: LabSpec, checks: Sequence[Question]) -> str:
    """What cannot be had: IPv6, a variant, a mode of kube-proxy, or any lab at all."""
    if all(check.family == "ipv6" for check in checks):
        return "a cluster with IPv6 is impossible here"
    blocking = {check.id for check in checks}
    if blocking <= set(catalogue.variant(spec.cni).needs):
        return f"variant '{spec.cni}' is unavailable here"
    if blocking <= set(catalogue.needs(spec)):
        return f"kube-proxy in mode '{spec.kubernetes.proxy_mode}' is unavailable here"
    return "this machine cannot run a cluster"


def _another_kernel(spec: LabSpec, blocking: Collection[Finding]) -> list[str]:
    """The way out, where nothing but the kernel is in the way: programs in the machine are those of this one."""
    of_kernel = set(catalogue.needs(spec)) - catalogue.NOT_OF_KERNEL
    of_kernel |= {one.check.id for one in blocking if one.check.family}
    mended = all(one.check.id in of_kernel and not one.fix.startswith("apt-get") for one in blocking)
    if spec.provider != "namespaces" or spec.kernel != "host" or not mended:
        return []
    return ["'--kernel debian' runs the cluster in a virtual machine with a more complete kernel"]
