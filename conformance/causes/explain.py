"""Why requirements are not met: packets of failed legs are followed, and what stops them is named once. Pure.

Nothing is read anew: a walk decides by what the kernels said when the run looked at them. What a passed leg contradicts
is not certain. What no walk explains is said as it was seen.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from conformance.causes.flows import Asked, asked
from conformance.causes.library import KINDS, filled, rule_commands
from conformance.context import Context
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
        for one, taken in paths.of(leg.leg):
            _note(found, check, leg.leg, one, taken)
    good = [leg.leg for result in results for leg in result.legs if leg.status == "pass"]
    for key in _contradicted(paths, good) & set(found):
        found[key].certain = False
    kept = {key: one for key, one in found.items() if one.certain} or found
    explained = {pair for one in kept.values() for pair in one.legs}
    rest = [(check, leg) for check, leg in red if (check, leg.leg) not in explained]
    judged = _judged(kept.values(), rest)
    rest = [(check, leg) for check, leg in rest if (check, leg.leg) not in judged]
    causes = [_cause(worlds, one, judged) for one in kept.values()]
    return tuple(sorted([*causes, *_plain(rest)], key=_rank))


@dataclass
class _Paths:
    """Walks of the packets of legs, each once."""

    context: Context
    worlds: dict[Family, World]
    known: dict[Asked, Walk] = field(default_factory=dict)

    def of(self, leg: str) -> Iterator[tuple[Asked, Walk]]:
        """Packets of a leg, and their ways."""
        for one in asked(self.context, leg):
            if one not in self.known:
                if len(self.known) >= MOST:
                    continue
                if one.family not in self.worlds:
                    self.worlds[one.family] = world(self.context.of(one.family))
                there = self.worlds[one.family]
                if one.source not in there.places:
                    continue
                self.known[one] = walk(there, one.source, one.flow, prefer=one.prefer)
            yield one, self.known[one]


def _note(found: dict[str, Found], check: str, leg: str, one: Asked, taken: Walk) -> None:
    """Note what troubles a packet of a failed leg; what only may trouble it, where nothing certainly does."""
    for trouble in taken.troubles or taken.doubts:
        entry = found.setdefault(trouble.key, Found(trouble, bool(taken.troubles), one, taken))
        if taken.troubles and not entry.certain:
            entry.trouble, entry.certain, entry.example, entry.walk = trouble, True, one, taken
        entry.legs.add((check, leg))


def _contradicted(paths: _Paths, good: Iterable[str]) -> set[str]:
    """Troubles that would stop packets that were seen to arrive."""
    found: set[str] = set()
    for leg in good:
        ways = list(paths.of(leg))
        # A Service has several endpoints: one that was not asked may be the one that is not reached.
        for one, taken in ways if len(ways) == 1 else ():
            last = taken.troubles[-1] if taken.troubles else None
            # Of a datagram that passed nobody may have wanted an answer.
            if last is not None and not last.deviates and (not taken.arrived or one.flow.proto == "tcp"):
                found.add(last.key)
    return found


_PLACE: Final = re.compile(r"^([a-z0-9-]+)")


def _judged(found: Iterable[Found], rest: Sequence[tuple[str, Leg]]) -> dict[tuple[str, str], str]:
    """Failed legs about the state of a place that say what a cause says, with the key of that cause."""
    taken: dict[tuple[str, str], str] = {}
    for one in found:
        kind = KINDS[one.trouble.kind]
        for check, leg in rest:
            place = _PLACE.match(leg.leg)
            same = place is not None and place[1] in {one.trouble.place, *_near(one)}
            if same and family_of_leg(leg.leg) in {one.example.family, "ipv4"} and _of(check, kind.judged_by):
                taken.setdefault((check, leg.leg), one.trouble.key)
    return taken


def _near(found: Found) -> tuple[str, ...]:
    """Places that see the same thing: the sender of the packet, and who owns a link that the sender is behind."""
    return (found.example.source,)


def _of(check: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(check, pattern) for pattern in patterns)


def _cause(worlds: Mapping[Family, World], one: Found, judged: Mapping[tuple[str, str], str]) -> Cause:
    trouble, kind = one.trouble, KINDS[one.trouble.kind]
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
    yield from rule_commands(trouble.thing, _handle(there, trouble))
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


def _plain(rest: Sequence[tuple[str, Leg]]) -> Iterator[Cause]:
    """What no walk explains: a state that a check found wrong says itself what is; the rest is said as it was seen."""
    groups: dict[str, list[Leg]] = {}
    for check, leg in rest:
        groups.setdefault(check, []).append(leg)
    symptoms = [check for check in groups if not _of(check, STATES)]
    for check, legs in groups.items():
        if check in symptoms[1:]:
            continue
        first = legs[0]
        more = f" (and {len(legs) - 1} more)" if len(legs) > 1 else ""
        follows = tuple(symptoms) if check in symptoms else (check,)
        yield Cause(
            key=f"{check}[{first.leg}]",
            kind="symptom" if check in symptoms else "state",
            place=match[1] if (match := _PLACE.match(first.leg)) else "",
            sentence=(first.statement or f"{first.leg}: {first.reason}") + more,
            confidence="unexplained" if check in symptoms else "observed",
            follows=follows,
            legs=sum(len(groups[name]) for name in follows),
        )


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
