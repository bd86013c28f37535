"""Looks that are taken again, because what they are compared with failed itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from conformance.checks.stub import SOCKETS, undecided
from harness.model.records import Lookup, Observation
from harness.probes.plan import Probe

Plan = Mapping[str, Sequence[Probe]]


def settled(
    seen: Sequence[Observation], asked: Plan, ask: Callable[[Plan], Sequence[Observation]]
) -> list[Observation]:
    """What was seen, with questions from one socket and from many asked again where that decided nothing.

    A DNS server that starts again, or rules that are replaced, take datagrams of both for a moment. Every attempt
    stays in the record, as tries of the last one.

    Args:
        seen: What came of a plan.
        asked: That plan.
        ask: Runs a part of it.
    """
    places = undecided(seen)
    if not places:
        return list(seen)
    # Once: a cause in the network is there the second time, too.
    wanted = {place: [one for one in asked[place] if one.purpose in SOCKETS] for place in sorted(places)}
    before = {_key(one): one for one in seen if isinstance(one, Lookup) and one.purpose in SOCKETS}
    newer = {
        _key(one): one.model_copy(update={"tries": (*before[_key(one)].tries, *one.tries)})
        for one in ask(wanted)
        if isinstance(one, Lookup)
    }
    return [newer.get(_key(one), one) if isinstance(one, Lookup) else one for one in seen]


def _key(one: Lookup) -> tuple[str, str, str]:
    return one.purpose, one.src, one.family
