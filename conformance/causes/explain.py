"""Why requirements are not met: packets of failed legs are followed, and what stops them is named once. Pure.

Nothing is read anew: a walk decides by what the kernels said when the run looked at them. What a passed leg contradicts
is not certain. What no walk explains is said as it was seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from conformance.causes.flows import Asked, asked
from conformance.causes.invalid import forwarded
from conformance.causes.library import described, kinds, rule_commands
from conformance.causes.seen import PLACE, covered, in_order, matches, plain, suspended
from conformance.context import Context
from conformance.families import family_of_leg
from conformance.path.hop import Trouble, Walk
from conformance.path.places import World, world
from conformance.path.walk import walk
from harness.model.cause import Cause, Confidence
from harness.model.family import Family
from harness.model.records import Leg, Result

MOST: Final = 240
"""Packets of failed legs that are followed, and of passed ones a quarter as many."""

ALIKE: Final = 2
"""Packets of a kind that are followed: where they end at the same thing, others of the kind do, too."""

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
    red = [(result.id, leg) for result in results for leg in _red(result)]
    if not red:
        return ()
    worlds: dict[Family, World] = {}
    paths = _Paths(context, worlds)
    found: dict[str, Found] = {}
    for check, leg in red:
        for one, taken in paths.of(check, leg.leg):
            _note(found, check, leg.leg, one, taken)
    good = [(result.id, leg.leg) for result in results for leg in result.legs if leg.status == "pass"]
    for key in _contradicted(_Paths(context, worlds, most=MOST // 4, alike=MOST), good) & set(found):
        found[key].certain = False
    _merge(found)
    kept = _kept(found)
    explained = {pair for one in kept for pair in one.legs}
    rest = [(check, leg) for check, leg in red if (check, leg.leg) not in explained]
    judged = _judged(kept, rest)
    rest = [(check, leg) for check, leg in rest if (check, leg.leg) not in judged]
    causes = [_cause(worlds, one, judged) for one in kept]
    stopped = [*suspended(context, red), *forwarded(context, red)]
    told = {pair for cause in stopped for pair in covered(cause, rest)}
    rest = [(check, leg) for check, leg in rest if (check, leg.leg) not in told]
    ways = {leg.leg: taken.server for check, leg in rest for _, taken in paths.of(check, leg.leg) if taken.server}
    return tuple(sorted([*causes, *stopped, *plain(rest, ways)], key=_rank))


def _red(result: Result) -> Iterator[Leg]:
    """Legs that failed; of a verdict that is red without one, what it says; of one that is as required, none."""
    if result.status not in _RED:
        return  # what is only recorded, or declared, is no failure
    legs = [leg for leg in result.legs if leg.status in _RED]
    if not legs and result.status in _RED:
        legs = [Leg(leg=result.id, status="error", reason=result.reason, statement=result.statement)]
    yield from legs


def _kept(found: Mapping[str, Found]) -> list[Found]:
    """What is certain, and of the rest what explains legs that nothing certain does."""
    certain = [one for one in found.values() if one.certain]
    explained = {pair for one in certain for pair in one.legs}
    return [*certain, *(one for one in found.values() if not one.certain and one.legs - explained)]


@dataclass
class _Paths:
    """Walks of the packets of legs: each once, and of packets of a kind no more than are needed.

    Args:
        context: The run.
        worlds: Places of each family, made when they are needed.
        most: Packets that are followed.
        alike: Packets of a kind that are followed.
    """

    context: Context
    worlds: dict[Family, World]
    most: int = MOST
    alike: int = ALIKE
    known: dict[Asked, Walk] = field(default_factory=dict)
    kinds: dict[tuple[object, ...], list[Walk]] = field(default_factory=dict)

    def of(self, check: str, leg: str) -> Iterator[tuple[Asked, Walk]]:
        """Packets of a leg of a check, and their ways."""
        for one in asked(self.context, check, leg):
            taken = self.known.get(one) or self._taken(one)
            if taken is not None:
                self.known[one] = taken
                yield one, taken

    def _taken(self, one: Asked) -> Walk | None:
        """The way of a packet, or of others of its kind that all end at the same thing; None: it is not followed."""
        if one.family not in self.worlds:
            self.worlds[one.family] = world(self.context.of(one.family))
        there = self.worlds[one.family]
        if one.source not in there.places:
            return None
        flow, target = one.flow, there.holder(one.flow.dst)
        to = (target.node or target.name) if target is not None else flow.dst
        kind = (there.places[one.source].node, to, flow.proto, flow.dport, flow.length, one.family, one.error)
        known = self.kinds.setdefault(kind, [])
        if len(known) >= self.alike and len({_end(taken) for taken in known}) == 1 and _end(known[0]):
            return known[0]
        if sum(map(len, self.kinds.values())) >= self.most:
            return None
        taken = walk(there, one.source, flow, prefer=one.prefer, error=one.error, refused=one.refused)
        known.append(taken)
        return taken


def _end(taken: Walk) -> str:
    """The key of what is wrong on a way; empty for nothing."""
    return taken.troubles[0].key if taken.troubles else ""


def _note(found: dict[str, Found], check: str, leg: str, one: Asked, taken: Walk) -> None:
    """Note what troubles a packet of a failed leg; what only may trouble it, where nothing certainly does."""
    for trouble in taken.troubles or taken.doubts:
        only = kinds()[trouble.kind].only
        if only and not matches(check, only):
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


def _judged(found: Sequence[Found], rest: Sequence[tuple[str, Leg]]) -> dict[tuple[str, str], str]:
    """Failed legs about the state of a place that say what a cause says, with the key of that cause."""
    taken: dict[tuple[str, str], str] = {}
    for one in found:
        kind = kinds()[one.trouble.kind]
        for check, leg in rest:
            place = PLACE.match(leg.leg)
            same = place is not None and place[1] in {one.trouble.place, *_near(one)}
            common = one.trouble.thing.startswith(_COMMON) or family_of_leg(leg.leg) == one.example.family
            if same and common and matches(check, kind.judged_by):
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
        certain = bool(taken.troubles) and not taken.unread and (trouble.deviates or not arrived)
        causes.append(_cause({one.family: there}, Found(trouble, certain, one, taken), {}))
    return tuple(causes)


def _near(found: Found) -> tuple[str, ...]:
    """Places that see the same thing: the sender of the packet, and who owns a link that the sender is behind."""
    return (found.example.source,)


def _cause(worlds: Mapping[Family, World], one: Found, judged: Mapping[tuple[str, str], str]) -> Cause:
    trouble, family = one.trouble, one.example.family
    facts = {**trouble.facts, **dict(_more(worlds[family], trouble))}
    legs = one.legs | {pair for pair, key in judged.items() if key == trouble.key}
    told = described(trouble.kind, trouble.place, facts, family)
    doubt = f" (not certain, as {one.walk.unread[0]})" if one.walk.unread else ", if its conditions hold"
    told["sentence"] += "" if one.certain else doubt
    return Cause.model_validate(
        {
            **told,
            "key": trouble.key,
            "confidence": "certain" if one.certain else "possible",
            "follows": in_order(legs),
            "legs": len(legs),
            "flow": f"{one.example.source} to {one.example.target}: {one.example.flow}",
            "path": tuple(f"{step.place} {step.device}: {step.text}".replace(" :", ":") for step in one.walk.steps),
        }
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


_ORDER: Final[Mapping[Confidence, int]] = {"certain": 0, "observed": 1, "possible": 2, "unexplained": 3}


def _rank(cause: Cause) -> tuple[int, int, str]:
    return _ORDER[cause.confidence], -cause.legs, cause.key
