"""Looks that are taken again, because what they are compared with failed itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from conformance.checks.ipam import addresses_of, leases_of
from conformance.checks.stub import SOCKETS, undecided
from conformance.dumps import reason, rows
from harness import timeouts
from harness.model.records import Dump, Lookup, Observation
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


BOOKS: Final = 3.0
"""Seconds in which a pod that is being made or removed has a lease and an address, or neither, before scaling."""


def balanced(seen: Sequence[Dump], look: Callable[[], Sequence[Dump]], lease_dir: str | None) -> list[Dump]:
    """Leases and sandboxes, looked at again where the two do not agree.

    A pod that is being made has its lease before its process, and one that is being removed has it longer. What does
    not agree at the last look is a fact.

    Args:
        seen: Dumps of nodes, some of them `leases` and `sandboxes`.
        look: Takes both anew, of all nodes.
        lease_dir: As of `leases_of`.

    Returns:
        All dumps; of the same place and subject, the last counts.
    """
    dumps = list(seen)
    for _ in timeouts.ticks(BOOKS, interval=0.3):
        if not _differ(dumps, lease_dir):
            break
        dumps += look()
    return dumps


DETECTED: Final = 3.0
"""Seconds in which duplicate address detection ends, before scaling: a random delay of up to one second, and one for an
answer (RFC 4862, section 5.4.2; RFC 4861, section 10). The kernel does it for every link that comes up."""


def detected(seen: Sequence[Dump], look: Callable[[], Sequence[Dump]]) -> list[Dump]:
    """Addresses, looked at again where the kernel still asks whether somebody else has one.

    A pod's link has a link-local address, which is tentative for the first moments. One that stays so is a fact.

    Args:
        seen: Dumps, some of them `addr`.
        look: Takes these anew.

    Returns:
        All dumps; of the same place and subject, the last counts.
    """
    dumps = list(seen)
    for _ in timeouts.ticks(DETECTED, interval=0.3):
        last = {(one.vantage, one.place): one.data for one in dumps if one.what == "addr"}
        if not any(map(_asking, last.values())):
            break
        dumps += look()
    return dumps


def _asking(data: Any) -> bool:
    """Detection goes on: it has not failed."""
    infos = (info for link in rows(data) for info in link.get("addr_info") or ())
    return any(info.get("tentative") and not info.get("dadfailed") for info in infos)


def _differ(dumps: Sequence[Dump], lease_dir: str | None) -> bool:
    """Some node has a lease without a pod, or a pod without a lease; what was not read decides nothing."""
    last: dict[tuple[str, str], Any] = {(one.place, one.what): one.data for one in dumps if one.vantage == "node"}
    stores = {place: data for (place, what), data in last.items() if what == "leases" and isinstance(data, dict)}
    pairs = [(store, last.get((place, "sandboxes"))) for place, store in stores.items() if not reason(store)]
    return any(
        leases_of(store, lease_dir) != addresses_of(rows(listed))
        for store, listed in pairs
        if listed is not None and not reason(listed)
    )
