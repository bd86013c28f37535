"""What no walk explains: programs that are stopped, states that a check found wrong, and symptoms as they were seen."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from conformance.causes.library import described
from conformance.context import Context
from conformance.dumps import rows
from harness.model.cause import Cause, Confidence
from harness.model.records import Leg

PLACE: Final = re.compile(r"^([a-z0-9-]+)")


def matches(check: str, patterns: Iterable[str]) -> bool:
    """True for a check that one of the patterns means."""
    return any(fnmatch.fnmatchcase(check, pattern) for pattern in patterns)


def in_order(legs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Requirements of legs, each once."""
    return tuple(sorted({check for check, _ in legs}))


PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "coredns": ("dns.*",),
    "kube-proxy": ("svc.*", "dual.service", "dns.*"),
    "kubelet": ("model.kubelet-probe",),
}
"""Programs that have to run, and the checks in which it shows that one does not; others are those of networks."""


def suspended(context: Context, red: Sequence[tuple[str, Leg]]) -> list[Cause]:
    """Programs that are there and do not run, where something is red that needs them.

    Args:
        context: The run.
        red: All failed legs.
    """
    causes = []
    for node in context.inventory.nodes:
        for row in rows(context.attempt("node", node.name, "processes")):
            shown = PROGRAMS.get(str(row.get("name")), ())
            after = [(check, leg.leg) for check, leg in red if matches(check, shown)]
            if not str(row.get("stat", "")).startswith("T") or not after:
                continue
            facts = {"program": str(row["name"]), "pid": str(row["pid"]), "state": str(row["stat"])}
            told = described("process.stopped", node.name, facts)
            known = {"key": f"{node.name}/process/{row['name']}", "confidence": "certain"}
            causes.append(Cause.model_validate({**told, **known, "follows": in_order(after), "legs": len(after)}))
    return causes


def covered(cause: Cause, rest: Sequence[tuple[str, Leg]]) -> Iterator[tuple[str, str]]:
    """Failed legs of the requirements that follow from a cause."""
    return ((check, leg.leg) for check, leg in rest if check in cause.follows)


def plain(rest: Sequence[tuple[str, Leg]], ways: Mapping[str, str]) -> Iterator[Cause]:
    """What no walk explains: a state that a check found wrong says itself what is; the rest is said as it was seen."""
    groups: dict[str, list[Leg]] = {}
    for check, leg in rest:
        groups.setdefault(check, []).append(leg)
    states = {check: legs for check, legs in groups.items() if _is_state(check, groups)}
    followed = {check: _root(check, legs, states) for check, legs in groups.items()}
    roots = {check: _last(check, followed) for check in groups}
    for check, legs in states.items():
        if not roots[check]:
            yield _said("state", check, legs, [check, *(name for name, root in roots.items() if root == check)], groups,
                        "observed")  # fmt: skip
    rest_of = (name for name, root in roots.items() if not root and name not in states)
    for area, names in itertools.groupby(rest_of, key=lambda name: name.partition(".")[0]):
        members = list(names)
        yield _symptom(area, members, groups, ways)


def _last(check: str, followed: Mapping[str, str]) -> str:
    """The state from which others follow, over others in between; empty: the check's own is told.

    Two that follow from each other are both told.
    """
    at, passed = check, set[str]()
    while followed.get(at) and at not in passed:
        passed.add(at)
        at = followed[at]
    return "" if at == check else at


def _is_state(check: str, groups: Mapping[str, Sequence[Leg]]) -> bool:
    """What the check found wrong is itself what is to be mended."""
    if check == "dns.negative.relative":  # a search domain answers for every name, unless the server itself does
        return "dns.negative" not in groups
    return matches(check, STATES)


def _said(
    kind: str, check: str, legs: Sequence[Leg], follows: Sequence[str], groups: Mapping[str, Sequence[Leg]],
    confidence: Confidence,
) -> Cause:  # fmt: skip
    first = legs[0]
    more = f" (and {len(legs) - 1} more)" if len(legs) > 1 else ""
    return Cause(
        key=f"{check}[{first.leg}]",
        kind=kind,
        place=match[1] if (match := PLACE.match(first.leg)) else "",
        sentence=(first.statement or f"{first.leg}: {first.reason}") + more,
        confidence=confidence,
        follows=tuple(follows),
        legs=sum(len(groups[name]) for name in follows),
    )


def _symptom(area: str, names: Sequence[str], groups: Mapping[str, Sequence[Leg]], ways: Mapping[str, str]) -> Cause:
    """What was seen, with the place where packets arrive although nobody, or somebody wrong, answers."""
    cause = _said("symptom", names[0], groups[names[0]], names, groups, "unexplained")
    legs = [leg for name in names for leg in groups[name]]
    ends = {ways[leg.leg] for leg in legs if leg.leg in ways}
    server = next(iter(ends)) if len(ends) == 1 else ""
    if area != "dns" or not server:
        return cause
    silent = all("timeout" in (leg.statement + leg.reason) for leg in legs)
    namespace, _, pod = server.partition("/")
    facts = {"what": cause.sentence, "pod": pod, "namespace": namespace}
    told = described("server.silent" if silent else "server.answers", server, facts)
    known = {"key": f"{server}/{'process' if silent else 'answers'}", "confidence": "possible"}
    return cause.model_copy(update={**told, **known})


_ROOTS: Final[Mapping[str, tuple[str, ...]]] = {
    "dns.resolv-conf": ("dns.*",),
    "model.pod-ip.*": ("model.*", "dual.*", "v6.*", "ipam.*"),
    "dual.pod-ips": ("v6.*", "dual.*", "model.*"),
    "node.ranges": ("egress.*",),
    "node.agent-files": ("model.*", "node.overlay"),
    "mtu.agree": ("mtu.*",),
    "node.filters": ("*",),
    "cni.conf.active": ("cni.*", "ipam.*"),
    "ipam.lease.match": ("cni.add.*", "ipam.*"),
}
"""States whose defects show in other checks, of the same place."""


def _root(check: str, legs: Sequence[Leg], states: Mapping[str, Sequence[Leg]]) -> str:
    """The state check that found at the same place what this one shows; empty: none."""
    for state, wrong in states.items():
        if state == check:
            continue
        if not state.startswith("node.") and not _places(legs) & _places(wrong):
            continue  # what is wrong with a node shows in legs of its pods, which are named by the pods
        if any(matches(state, (pattern,)) and matches(check, shown) for pattern, shown in _ROOTS.items()):
            return state
    return ""


def _places(legs: Sequence[Leg]) -> set[str]:
    """Sites and nodes that legs begin with."""
    return {match[1] for leg in legs if (match := PLACE.match(leg.leg))}


STATES: Final = (
    "node.*", "ipam.*", "cni.*", "dns.resolv-conf", "model.pod-ip.*", "model.netns.*", "dual.pod-ips", "v6.dad",
    "mtu.agree", "ct.*", "neigh.*", "residue.*",
)  # fmt: skip
"""Checks of a state: what they find wrong is itself the thing that is to be mended."""
