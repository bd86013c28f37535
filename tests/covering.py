"""Few faults that together show that each requirement can fail."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from harness.faults.model import Fault, split_target


def kills(fault: Fault) -> frozenset[str]:
    """Ids of the requirements that a fault must fail."""
    return frozenset(split_target(text)[0] for text in fault.kills)


def few(faults: Iterable[Fault], wanted: Collection[str]) -> list[Fault]:
    """Faults that fail each of these requirements, as long as one of the faults can.

    The greedy choice, which is at most a logarithm worse than the smallest (Chvátal 1979); of equals the first.

    Args:
        faults: To choose from.
        wanted: Ids of requirements.

    Returns:
        In the order of the choice: each fails one at least that those before it do not.
    """
    pool, left, chosen = list(faults), set(wanted), []
    while pool and (best := max(pool, key=lambda fault: len(kills(fault) & left))) and kills(best) & left:
        chosen.append(best)
        pool.remove(best)
        left -= kills(best)
    return chosen
