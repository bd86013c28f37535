"""All requirements of the suite, by id."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from conformance.batches import BATCHES, Batch
from conformance.checks import (
    agents,
    api_server,
    attachments,
    cni,
    dns,
    dual,
    egress,
    filters,
    identity,
    ipam,
    kubelet,
    leftovers,
    limits,
    membership,
    mtu,
    nat,
    nodes,
    policy,
    ranges,
    reach,
    resolver,
    robust,
    rule_tables,
    service_ports,
    services,
    setup,
    sources,
    speed,
    strays,
    stub,
    underlay,
)
from conformance.model import Check
from harness.errors import UsageError
from harness.model.requirement import Area

_OF_MODULES: Final[dict[Area, tuple[Check, ...]]] = {
    "nodes": (
        *(underlay.CHECKS + nodes.CHECKS + rule_tables.CHECKS),
        *(filters.CHECKS + ranges.CHECKS + agents.CHECKS + limits.CHECKS),
    ),
    "identity": identity.CHECKS,
    "ipam": ipam.CHECKS,
    "reach": reach.CHECKS + setup.CHECKS + sources.CHECKS,
    "nat": nat.CHECKS,
    "mtu": mtu.CHECKS,
    "services": services.CHECKS + service_ports.CHECKS + api_server.CHECKS + strays.CHECKS,
    "dns": dns.CHECKS + resolver.CHECKS + stub.CHECKS,
    "egress": egress.CHECKS,
    "dual": dual.CHECKS,
    "policy": policy.CHECKS + kubelet.CHECKS,
    "cni": cni.CHECKS + attachments.CHECKS,
    "robust": robust.CHECKS + membership.CHECKS + leftovers.CHECKS + speed.CHECKS,
}

AREAS: Final[dict[Area, tuple[Check, ...]]] = {
    area: tuple(replace(check, area=area) for check in checks) for area, checks in _OF_MODULES.items()
}
"""Checks by area: one test module each."""

CHECKS: Final[dict[str, Check]] = {check.id: check for checks in AREAS.values() for check in checks}
"""Checks by id, in the order in which a report shows them."""


def select(words: str = "") -> list[Check]:
    """Checks by words between commas or `or`: an area, an id, a pattern, a part of an id; empty: all.

    `mtu`, `svc.hairpin`, `model.*`, `no-nat`, `MTU or DNS`.

    Raises:
        UsageError: A word matches nothing.
    """
    chosen: dict[str, Check] = {}
    for word in filter(None, re.split(r"\s*,\s*|\s+or\s+", words.strip().lower())):
        area = [check for name, checks in AREAS.items() if name == word for check in checks]
        found = area or [check for check in CHECKS.values() if fnmatch.fnmatch(check.id, word)]
        found = found or [check for check in CHECKS.values() if word in check.id]
        if not found:
            msg = f"no conformance check matches {word!r}"
            raise UsageError(msg, next_step=_advice(word))
        chosen |= {check.id: check for check in found}
    return [check for check in CHECKS.values() if check.id in chosen] if chosen else list(CHECKS.values())


def _advice(word: str) -> str:
    """What somebody may have meant: ids, their beginnings, areas."""
    beginnings = {f"{check.id.partition('.')[0]}.*" for check in CHECKS.values()}
    near = difflib.get_close_matches(word, sorted({*CHECKS, *AREAS, *beginnings}), n=3, cutoff=0.6)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{meant}areas: {', '.join(AREAS)}; or ids such as model.pod-pod.cross-node"


def with_prerequisites(checks: Iterable[Check]) -> list[Check]:
    """The checks and everything that they wait for, in the registry's order."""
    wanted: dict[str, Check] = {}
    queue = list(checks)
    while queue:
        check = queue.pop()
        if check.id not in wanted:
            wanted[check.id] = check
            queue += [CHECKS[name] for name in check.after]
    return [check for check in CHECKS.values() if check.id in wanted]


def batches(checks: Iterable[Check]) -> list[Batch]:
    """The batches of probes that checks and their prerequisites need, in order."""
    needed = {batch for check in with_prerequisites(checks) for batch in check.batches}
    return [batch for batch in BATCHES if batch in needed]
