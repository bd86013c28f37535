"""What a lab may know of the cluster around it, and its ways into places there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from harness.model.records import Tap as TapRecord
from harness.model.spot import Spot


@dataclass(frozen=True)
class TapWanted:
    """A capture to take.

    Args:
        name: Its key in `taps`.
        on: A place, expressions replaced.
        interface: Link in that place.
        filter: Words of a pcap filter.
    """

    name: str
    on: str
    interface: str
    filter: tuple[str, ...]


class Surroundings(Protocol):
    """What the engine needs of a cluster; tests give it another one."""

    @property
    def agents(self) -> tuple[str, ...]:
        """Program names of the network's agent on nodes; empty when it has none."""
        ...

    def facts(self, namespace: str) -> dict[str, Any]:
        """Variables of every expression: nodes, pods of that namespace, spec, variant and more."""
        ...

    def refresh(self) -> None:
        """What was read of pods and nodes is old: whoever asks next reads it again."""
        ...

    def spots(self, on: str, namespace: str, container: str = "") -> list[Spot]:
        """The places that `on` means.

        Args:
            on: As in a lab file, expressions replaced.
            namespace: Of pods that are named without one.
            container: Of the pod; empty: its first.

        Raises:
            CnilabError: There is no such place.
        """
        ...

    def taps(
        self, wanted: Sequence[TapWanted], namespace: str, stem: str
    ) -> AbstractContextManager[dict[str, TapRecord]]:
        """Capture while the context is open; the dictionary is filled when it closes.

        Args:
            wanted: Where to listen, in the order of the path.
            namespace: Of pods that are named without one.
            stem: Of the files' names.
        """
        ...
