"""Providers as the steps see them: one driver each, found by the name that a lab's spec has.

A driver is loaded when the first lab of its provider is met, so that nobody waits for what the others import.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from harness.errors import CnilabError, NotYoursError, UsageError
from harness.model import labstate
from harness.model.labstate import LabDir, LabState
from harness.model.node import Lab, Node

if TYPE_CHECKING:
    from harness.components.store import Store
    from harness.model.journal import Journal
    from harness.model.run import RunDir
    from harness.model.spec import LabSpec
    from harness.model.variant import Variant

_MODULES = {
    "namespaces": "harness.steps.on_namespaces",
    "kind": "harness.steps.on_kind",
    "vagrant": "harness.steps.on_vagrant",
}
"""Provider to the module that has its `DRIVER`."""

NAMES = tuple(_MODULES)
"""Providers that this version can bring up."""

_DEFAULT = "namespaces"


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


def driver(name: str) -> Driver:
    """The driver of a provider.

    Raises:
        UsageError: This version has none.
    """
    module = _MODULES.get(name)
    if name == "existing":
        msg = "a cluster that is there already is not brought up"
        raise UsageError(msg, next_step="cnilab test --kubeconfig FILE runs the conformance suite on it")
    if module is None:
        msg = f"the provider '{name}' is not there yet"
        raise UsageError(msg, next_step=f"spec.provider: {', '.join(NAMES)}")
    found: Driver = importlib.import_module(module).DRIVER
    return found


def known_state(place: LabDir) -> LabState | None:
    """All that is known of a lab, as its provider's own state; None when there is no such lab.

    Raises:
        UsageError: The state cannot be read.
    """
    common = labstate.read(place, LabState)
    return None if common is None else labstate.read(place, driver(common.spec.provider).model)


def driver_of(place: LabDir) -> Driver:
    """The driver of a lab that may be broken; the default provider's when nothing says whose it is."""
    try:
        common = labstate.read(place, LabState)
    except UsageError:
        common = None
    return driver(common.spec.provider if common and common.spec.provider in _MODULES else _DEFAULT)


def find(name: str, state: Path) -> Found:
    """A lab that is up.

    Args:
        name: Its name.
        state: The state directory of all labs.

    Raises:
        UsageError: There is none, or it is broken.
    """
    place = LabDir(state, name)
    common = labstate.read(place, LabState)
    if common is None:
        raise labstate.no_such_lab(place)
    return driver(common.spec.provider).find(place)


def delete(place: LabDir) -> list[str]:
    """Remove a lab in whatever state it is.

    Where nothing says whose it is, every provider looks for what it may have made under that name.

    Returns:
        What is left, in words; empty is good.

    Raises:
        NotYoursError: It belongs to somebody else: nothing is touched.
    """
    try:
        common = labstate.read(place, LabState)
    except NotYoursError:
        raise
    except CnilabError:
        common = None
    if common is not None:
        return driver(common.spec.provider).delete(place)
    # The default provider needs no state at all, and takes the lab's directory with it: it comes last.
    return [left for name in reversed(NAMES) for left in driver(name).delete(place)]


def mark_ready(place: LabDir, *, own: Mapping[str, Path]) -> None:
    """Note that the bring-up ended well.

    Args:
        place: The lab's directories.
        own: Programs that the user brought; see `components.own`.
    """
    known = known_state(place)
    if known is not None:
        brought = {name: str(path) for name, path in own.items()}
        labstate.write(place, known.model_copy(update={"ready": True, "own": brought}))
