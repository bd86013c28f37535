"""What a provider is: the promises that the rest of the program counts on, and the words for what it is asked and says.

One driver for each provider keeps these promises; `registry` finds it by the name that a lab's spec has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from harness.model.family import FAMILIES, Family, IpFamily
from harness.model.labstate import LabDir, LabState
from harness.model.node import Lab, Node

if TYPE_CHECKING:
    from harness.components.store import Store
    from harness.model.journal import Journal
    from harness.model.run import RunDir
    from harness.model.spec import LabSpec
    from harness.model.variant import Variant

MachineHealth = Literal["Running", "Dead", "Missing"]


@dataclass(frozen=True)
class Needs:
    """What a lab takes from the store.

    Args:
        images: Images that every node must have before its first pod; short names of the store's.
        components: Names of all components: of nodes, of CNI plugins, and of what is in images.
        replaceable: Those among them whose programs run in the lab, so that others can run in their place.
    """

    images: tuple[str, ...]
    components: tuple[str, ...]
    replaceable: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """What a provider is asked to make.

    Args:
        spec: What the lab shall be.
        variant: Its CNI variant.
        needs: What it takes from the store.
        place: Its directories.
        run: Remembered as the lab's run directory.
        journal: Gets a step for every part.
        store: Delivers programs and images.
        raise_limits: Machine-wide limits that are too low for the lab may be raised while it exists.
    """

    spec: LabSpec
    variant: Variant
    needs: Needs
    place: LabDir
    run: RunDir
    journal: Journal
    store: Store
    raise_limits: bool = False


@dataclass(frozen=True)
class Found:
    """A lab that is there.

    Args:
        state: What is known of it. Its spec says what the lab became, where a provider decides something itself.
        lab: Its nodes and surroundings.
    """

    state: LabState
    lab: Lab


@dataclass(frozen=True)
class MachineStatus:
    """One machine of a lab.

    Args:
        name: Of a node, or of something around the nodes.
        address: On the underlay.
        status: Whether it runs.
        pid: Its init, as this machine numbers it; 0 where it has none.
    """

    name: str
    address: str
    status: MachineHealth
    pid: int = 0


@dataclass(frozen=True)
class Exits:
    """A service of a machine that ended, or that waits to be started.

    Args:
        machine: Where.
        service: Which.
        count: How often.
        status: How the last time.
        last_words: Reads the end of its log.
        log: Path of its log.
        waits: What it waits for, and why in vain, while it has not been started for long; empty when it runs.
    """

    machine: str
    service: str
    count: int
    status: str
    last_words: Callable[[], str]
    log: str
    waits: str = ""


class Driver(Protocol):
    """What a provider can do with labs."""

    @property
    def model(self) -> type[LabState]:
        """What its `state.json` is read as."""
        ...

    @property
    def checks(self) -> Sequence[str]:
        """Ids of the checks of `doctor` that decide whether it can work here; empty: all."""
        ...

    @property
    def blocking(self) -> Sequence[str]:
        """Ids of those that it cannot do without, while others can."""
        ...

    @property
    def components(self) -> Sequence[str]:
        """Components that it takes from the store, beside CNI plugins and what images are made of."""
        ...

    @property
    def families(self) -> Sequence[Family]:
        """IP families that its nodes can have."""
        ...

    @property
    def usual(self) -> IpFamily:
        """The most that they have unasked; see `Variant.usual`."""
        ...

    @property
    def replaceable(self) -> Sequence[str]:
        """Those of them that nodes run as the store has them; not what an image of the nodes has."""
        ...

    @property
    def own_images(self) -> Sequence[str]:
        """Images that nodes have of themselves; short names of the store's."""
        ...

    def bring_up(self, order: Order) -> Found:
        """Take the lab's name, and make its machines; the API server may take a while to answer.

        Raises:
            CnilabError: A part failed; what was made so far is still there, for `delete` to remove.
        """
        ...

    def find(self, place: LabDir) -> Found:
        """A lab that is up.

        Raises:
            UsageError: There is none, or some of its machines are dead.
        """
        ...

    def delete(self, place: LabDir) -> list[str]:
        """Remove a lab, whatever state it is in, its state file last. Safe to call again, and where there is none.

        Returns:
            What is left, in words; empty is good.
        """
        ...

    def machines(self, place: LabDir) -> list[MachineStatus]:
        """All machines of a lab, alive or not."""
        ...

    def living(self, place: LabDir) -> list[Node]:
        """The machines of a lab that answer, whatever state the rest is in."""
        ...

    def logs(self, place: LabDir) -> Iterator[tuple[str, Callable[[], str]]]:
        """Logs of all services: `machine/name.log`, and what reads it."""
        ...

    def exits(self, place: LabDir) -> list[Exits]:
        """Services that ended."""
        ...

    def render(self, spec: LabSpec, variant: Variant) -> dict[str, str]:
        """The files that `bring_up` would make, by relative path, beside the manifests that all providers share."""
        ...


@dataclass(frozen=True)
class BaseDriver:
    """What a driver need not say: its machines have no services that are known here, and it takes nothing.

    Args:
        checks: See `Driver`.
        blocking: See `Driver`.
        components: See `Driver`.
        families: See `Driver`.
        usual: See `Driver`.
        replaceable: See `Driver`.
        own_images: See `Driver`.
    """

    checks: Sequence[str] = ()
    blocking: Sequence[str] = ()
    components: Sequence[str] = ()
    families: Sequence[Family] = FAMILIES
    usual: IpFamily = "ipv4"
    replaceable: Sequence[str] = ()
    own_images: Sequence[str] = ()

    def living(self, place: LabDir) -> list[Node]:
        """See `Driver`."""
        del place
        return []

    def logs(self, place: LabDir) -> Iterator[tuple[str, Callable[[], str]]]:
        """See `Driver`."""
        del place
        return iter(())

    def exits(self, place: LabDir) -> list[Exits]:
        """See `Driver`."""
        del place
        return []
