"""Why requirements are not met: packets of failed legs are followed, and what stops them is named once. Pure.

Nothing is read anew: a walk decides by what the kernels said when the run looked at them. What a passed leg contradicts
is not certain. What no walk explains is said as it was seen.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from conformance.causes.flows import Asked, asked
from conformance.causes.library import filled, kinds, rule_commands
from conformance.context import Context
from conformance.dumps import rows
from conformance.families import family_of_leg
from conformance.path.hop import Trouble, Walk
from conformance.path.places import World, world
from conformance.path.walk import walk
from harness.model.cause import Cause, Confidence
from harness.model.family import Family
from harness.model.records import Leg, Result

MOST: Final = 240
"""Packets that are followed: with more, one of each kind is enough."""

_RED: Final = frozenset({"fail", "error"})


@dataclass
class Found:
    """A trouble, and what it explains.

    Args:
        trouble: The trouble.
        certain: Packets of failed legs certainly end there.
        legs: Failed legs, with their requirement.
        example: A packet that it troubles.
        walk: Of that packet.
    """

    trouble: Trouble
    certain: bool
    example: Asked
    walk: Walk
    legs: set[tuple[str, str]] = field(default_factory=set)


def explain(context: Context, results: Sequence[Result]) -> tuple[Cause, ...]:
    """Causes of what failed, the one that explains most first; none where nothing failed.

    Args:
        context: The run.
        results: Verdicts on it.
    """
    red = [(result.id, leg) for result in results for leg in result.legs if leg.status in _RED]
    if not red:
        return ()
    worlds: dict[Family, World] = {}
    paths = _Paths(context, worlds)
    found: dict[str, Found] = {}
    for check, leg in red:
        for one, taken in paths.of(check, leg.leg):
            _note(found, check, leg.leg, one, taken)
    good = [(result.id, leg.leg) for result in results for leg in result.legs if leg.status == "pass"]
    for key in _contradicted(paths, good) & set(found):
        found[key].certain = False
    _merge(found)
    kept = {key: one for key, one in found.items() if one.certain} or found
    explained = {pair for one in kept.values() for pair in one.legs}
    rest = [(check, leg) for check, leg in red if (check, leg.leg) not in explained]
    judged = _judged(kept.values(), rest)
    rest = [(check, leg) for check, leg in rest if (check, leg.leg) not in judged]
    causes = [_cause(worlds, one, judged) for one in kept.values()]
    causes += _suspended(context, rest, kept)
    told = {(check, leg) for cause in causes if cause.kind == "process.stopped" for check, leg in _covered(cause, rest)}
    rest = [(check, leg) for check, leg in rest if (check, leg.leg) not in told]
    ways = {leg.leg: taken.server for check, leg in rest for _, taken in paths.of(check, leg.leg) if taken.server}
    return tuple(sorted([*causes, *_plain(rest, ways)], key=_rank))


@dataclass
class _Paths:
    """Walks of the packets of legs, each once."""

    context: Context
    worlds: dict[Family, World]
    known: dict[Asked, Walk] = field(default_factory=dict)

    def of(self, check: str, leg: str) -> Iterator[tuple[Asked, Walk]]:
        """Packets of a leg of a check, and their ways."""
        for one in asked(self.context, check, leg):
            if one not in self.known:
                if len(self.known) >= MOST:
                    continue
                if one.family not in self.worlds:
                    self.worlds[one.family] = world(self.context.of(one.family))
                there = self.worlds[one.family]
                if one.source not in there.places:
                    continue
                self.known[one] = walk(
                    there, one.source, one.flow, prefer=one.prefer, error=one.error, refused=one.refused
                )
            yield one, self.known[one]


def _note(found: dict[str, Found], check: str, leg: str, one: Asked, taken: Walk) -> None:
    """Note what troubles a packet of a failed leg; what only may trouble it, where nothing certainly does."""
    for trouble in taken.troubles or taken.doubts:
        only = kinds()[trouble.kind].only
        if only and not _of(check, only):
            continue
        entry = found.setdefault(trouble.key, Found(trouble, bool(taken.troubles), one, taken))
        if taken.troubles and not entry.certain:
            entry.trouble, entry.certain, entry.example, entry.walk = trouble, True, one, taken
        entry.legs.add((check, leg))


def _contradicted(paths: _Paths, good: Iterable[tuple[str, str]]) -> set[str]:
    """Troubles that would stop packets that were seen to arrive."""
    found: set[str] = set()
    for check, leg in good:
        ways = list(paths.of(check, leg))
        # A Service has several endpoints: one that was not asked may be the one that is not reached.
        for one, taken in ways if len(ways) == 1 else ():
            last = taken.troubles[-1] if taken.troubles else None
            # Of a datagram that passed nobody may have wanted an answer.
            if last is not None and not last.deviates and (not taken.arrived or one.flow.proto == "tcp"):
                found.add(last.key)
    return found


_FOLLOWING: Final[Mapping[str, frozenset[str]]] = {
    "link.down": frozenset({"route.none", "route.missing", "nexthop.nobody", "neighbour.nobody"}),
    "link.missing": frozenset({"route.none", "route.missing"}),
    "gateway.nobody": frozenset({"route.missing"}),
}
"""What a kernel takes away with something else: routes with their link or its address."""


def _merge(found: dict[str, Found]) -> None:
    """Leave out what follows from another trouble of the same place."""
    for root in [one for one in found.values() if one.trouble.kind in _FOLLOWING and one.certain]:
        for key, one in list(found.items()):
            if one.trouble.place == root.trouble.place and one.trouble.kind in _FOLLOWING[root.trouble.kind]:
                root.legs |= one.legs
                del found[key]


_PLACE: Final = re.compile(r"^([a-z0-9-]+)")


def _judged(found: Iterable[Found], rest: Sequence[tuple[str, Leg]]) -> dict[tuple[str, str], str]:
    """Failed legs about the state of a place that say what a cause says, with the key of that cause."""
    taken: dict[tuple[str, str], str] = {}
    for one in found:
        kind = kinds()[one.trouble.kind]
        for check, leg in rest:
            place = _PLACE.match(leg.leg)
            same = place is not None and place[1] in {one.trouble.place, *_near(one)}
            common = one.trouble.thing.startswith(_COMMON) or family_of_leg(leg.leg) == one.example.family
            if same and common and _of(check, kind.judged_by):
                taken.setdefault((check, leg.leg), one.trouble.key)
    return taken


_COMMON: Final = ("link/", "port/", "nft/inet", "nft/bridge", "nft/netdev")
"""Things of both families."""


def of_walk(there: World, one: Asked, taken: Walk, *, arrived: bool | None) -> tuple[Cause, ...]:
    """Causes on the way of one packet, the first one first.

    Args:
        there: All places.
        one: The packet.
        taken: Its way.
        arrived: Packets of this kind were seen to arrive and to be answered, or not to; None: that is not known.
    """
    causes = []
    for trouble in taken.troubles or (taken.doubts if not arrived else ()):
        if kinds()[trouble.kind].only:
            continue
        certain = bool(taken.troubles) and (trouble.deviates or not arrived)
        causes.append(_cause({one.family: there}, Found(trouble, certain, one, taken), {}))
    return tuple(causes)


def _near(found: Found) -> tuple[str, ...]:
    """Places that see the same thing: the sender of the packet, and who owns a link that the sender is behind."""
    return (found.example.source,)


def _of(check: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(check, pattern) for pattern in patterns)


def _cause(worlds: Mapping[Family, World], one: Found, judged: Mapping[tuple[str, str], str]) -> Cause:
    trouble, kind = one.trouble, kinds()[one.trouble.kind]
    facts = {**trouble.facts, **dict(_more(worlds[one.example.family], trouble))}
    legs = one.legs | {pair for pair, key in judged.items() if key == trouble.key}
    confidence: Confidence = "certain" if one.certain else "possible"
    return Cause(
        key=trouble.key,
        kind=kind.id,
        place=trouble.place,
        sentence=filled(kind.sentence, trouble.place, facts) + ("" if one.certain else ", if its conditions hold"),
        confidence=confidence,
        look=filled(kind.look, trouble.place, facts),
        mend=filled(kind.mend, trouble.place, facts),
        source=kind.source,
        follows=_in_order(legs),
        legs=len(legs),
        flow=f"{one.example.source} to {one.example.target}: {one.example.flow}",
        path=tuple(f"{step.place} {step.device}: {step.text}".replace(" :", ":") for step in one.walk.steps),
    )


def _more(there: World, trouble: Trouble) -> Iterator[tuple[str, str]]:
    """Facts that commands need, and that a walk has no use for."""
    yield from rule_commands(trouble.thing, _handle(there, trouble), there.context.family)
    what, _, number = trouble.thing.partition("/")
    if what == "rule":
        yield "number", number
    address = trouble.facts.get("address", "")
    virtual = bool(address) and ip_address(address) in there.context.spec.services.range(there.context.family)
    yield "note", ": a packet is routed before it is translated" if virtual else ""


def _handle(there: World, trouble: Trouble) -> str:
    """The handle of a rule of nft, by which it is deleted."""
    program, _, rest = trouble.thing.partition("/")
    place = there.places.get(trouble.place)
    parts = rest.split("/")
    if program != "nft" or place is None or place.rules is None or len(parts) != 3 or not parts[2].isdigit():
        return ""
    family, _, table = parts[0].partition(" ")
    rules = place.rules.ruleset.chains.get((family, table, parts[1]), ())
    number = int(parts[2]) - 1
    return str(rules[number].get("handle", "")) if number < len(rules) else ""


def _suspended(context: Context, rest: Sequence[tuple[str, Leg]], kept: Mapping[str, Found]) -> list[Cause]:
    """Programs that do not run although they are there: told where something is red that nothing else explains."""
    causes = []
    kind = kinds()["process.stopped"]
    for node in context.inventory.nodes if rest else ():
        for row in rows(context.attempt("node", node.name, "processes")):
            if not str(row.get("stat", "")).startswith("T"):
                continue
            facts = {"program": str(row["name"]), "pid": str(row["pid"]), "state": str(row["stat"])}
            causes.append(
                Cause(
                    key=f"{node.name}/process/{row['name']}",
                    kind=kind.id,
                    place=node.name,
                    sentence=filled(kind.sentence, node.name, facts),
                    confidence="observed",
                    look=filled(kind.look, node.name, facts),
                    mend=filled(kind.mend, node.name, facts),
                    source=kind.source,
                    follows=_in_order((check, leg.leg) for check, leg in rest if _of(check, kind.judged_by)),
                    legs=sum(_of(check, kind.judged_by) for check, _ in rest),
                )
            )
    return [one for one in causes if one.follows or not kept]


def _covered(cause: Cause, rest: Sequence[tuple[str, Leg]]) -> Iterator[tuple[str, str]]:
    """Failed legs of the requirements that follow from a cause."""
    return ((check, leg.leg) for check, leg in rest if check in cause.follows)


def _plain(rest: Sequence[tuple[str, Leg]], ways: Mapping[str, str]) -> Iterator[Cause]:
    """What no walk explains: a state that a check found wrong says itself what is; the rest is said as it was seen."""
    groups: dict[str, list[Leg]] = {}
    for check, leg in rest:
        groups.setdefault(check, []).append(leg)
    states = {check: legs for check, legs in groups.items() if _of(check, STATES)}
    symptoms = {check: legs for check, legs in groups.items() if check not in states}
    followed = {check: _root(check, legs, states) for check, legs in symptoms.items()}
    for check, legs in states.items():
        after = [name for name, root in followed.items() if root == check]
        yield _said("state", check, legs, [check, *after], groups, "observed")
    for area, names in itertools.groupby(
        (name for name, root in followed.items() if not root), key=lambda name: name.partition(".")[0]
    ):
        members = list(names)
        yield _symptom(area, members, groups, ways)


def _said(
    kind: str, check: str, legs: Sequence[Leg], follows: Sequence[str], groups: Mapping[str, Sequence[Leg]],
    confidence: Confidence,
) -> Cause:  # fmt: skip
    first = legs[0]
    more = f" (and {len(legs) - 1} more)" if len(legs) > 1 else ""
    return Cause(
        key=f"{check}[{first.leg}]",
        kind=kind,
        place=match[1] if (match := _PLACE.match(first.leg)) else "",
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
    kind = kinds()["server.silent" if silent else "server.answers"]
    namespace, _, pod = server.partition("/")
    facts = {"what": cause.sentence, "pod": pod, "namespace": namespace}
    return cause.model_copy(
        update={
            "key": f"{server}/{'process' if silent else 'answers'}",
            "kind": kind.id,
            "place": server,
            "sentence": filled(kind.sentence, server, facts),
            "look": filled(kind.look, server, facts),
            "mend": filled(kind.mend, server, facts),
            "source": kind.source,
            "confidence": "possible",
        }
    )


_ROOTS: Final[Mapping[str, tuple[str, ...]]] = {
    "dns.resolv-conf": ("dns.*",),
    "model.pod-ip.*": ("model.*", "dual.*", "v6.*", "ipam.*"),
    "dual.pod-ips": ("v6.*", "dual.*", "model.*"),
    "node.ranges": ("egress.*",),
    "node.agent-files": ("model.*", "node.overlay"),
    "mtu.agree": ("mtu.*",),
    "node.filters": ("*",),
    "cni.conf.active": ("cni.*", "ipam.*"),
}
"""States whose defects show in other checks, of the same place."""


def _root(check: str, legs: Sequence[Leg], states: Mapping[str, Sequence[Leg]]) -> str:
    """The state check that found at the same place what this one shows; empty: none."""
    for state, wrong in states.items():
        if not state.startswith("node.") and not _places(legs) & _places(wrong):
            continue  # what is wrong with a node shows in legs of its pods, which are named by the pods
        if any(_of(state, (pattern,)) and _of(check, shown) for pattern, shown in _ROOTS.items()):
            return state
    return ""


def _places(legs: Sequence[Leg]) -> set[str]:
    """Sites and nodes that legs begin with."""
    return {match[1] for leg in legs if (match := _PLACE.match(leg.leg))}


STATES: Final = (
    "node.*", "ipam.*", "cni.*", "dns.resolv-conf", "model.pod-ip.*", "model.netns.*", "dual.pod-ips", "v6.dad",
    "mtu.agree", "ct.*", "neigh.*", "residue.*",
)  # fmt: skip
"""Checks of a state: what they find wrong is itself the thing that is to be mended."""


def _in_order(legs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(sorted({check for check, _ in legs}))


_ORDER: Final[Mapping[Confidence, int]] = {"certain": 0, "observed": 1, "possible": 2, "unexplained": 3}


def _rank(cause: Cause) -> tuple[int, int, str]:
    return _ORDER[cause.confidence], -cause.legs, cause.key
