"""How much a run disturbs, and for how long it waits: by choice of who runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Part = Literal["rounds", "speed", "idle", "heal", "restart", "loss", "removal"]

NEEDS: Final[Mapping[Part, frozenset[str]]] = {
    "rounds": frozenset({"ipam.churn"}),
    "speed": frozenset({"perf.throughput", "perf.rr", "perf.setup"}),
    "idle": frozenset({"conn.idle"}),
    "heal": frozenset({"node.heal"}),
    "restart": frozenset({"robust.restart", "conn.idle", "ipam.cidr.stable"}),
    "loss": frozenset({"robust.loss", "robust.join"}),
    "removal": frozenset({"residue.clean"}),
}
"""Part of the batches -> the requirements that read what it sees: a part that nobody reads disturbs for nothing."""


def _none() -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Disturbance:
    """What may be done to a cluster.

    Args:
        plugins: Names of the CNI plugins that every node has before any network.
        checks: Ids of the requirements that are judged; None for all.
        rounds: Times that a node's plugins make an attachment and delete it.
        trials: Times that speed is measured, and agents are restarted.
        idle: Seconds that connections are left alone.
        patience: How many times the declared time a node waits for what its agent repairs, before it gives up.
        unpromised: Seconds that it waits for what the network does not promise to repair.
        back: Seconds until the agent of every node is there again, before scaling.
        gone: Seconds for which a node is away at most. Never stretched: after 40 its pods would be collected.
    """

    plugins: Callable[[], Sequence[str]] = _none
    checks: frozenset[str] | None = None
    rounds: int = 50
    trials: int = 3
    idle: float = 60.0
    patience: float = 5.0
    unpromised: float = 12.0
    back: float = 60.0
    gone: float = 12.0

    def wants(self, part: Part) -> bool:
        """Somebody reads what a part sees."""
        return self.checks is None or not NEEDS[part].isdisjoint(self.checks)
