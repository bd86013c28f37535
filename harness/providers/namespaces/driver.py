"""The driver of the namespaces provider."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.model.family import IpFamily
from harness.model.labstate import LabDir
from harness.model.node import Node
from harness.providers.logs import tail_bytes
from harness.providers.namespaces import state
from harness.providers.namespaces.layout import LabLayout, MachineLayout
from harness.providers.namespaces.state import NamespacesState
from harness.providers.protocol import BaseDriver, Exits, Found, MachineHealth, MachineStatus, Order

if TYPE_CHECKING:
    from harness.model.spec import LabSpec
    from harness.model.variant import Variant

PROGRAMS = ("kubernetes", "etcd", "containerd", "runc", "crictl", "nodeinit", "responder")
"""Components that nodes run."""

LAST_LINES = 5
"""Of a service's log: its last words."""


@dataclass(frozen=True)
class NamespacesDriver(BaseDriver):
    """See `protocol.Driver`. What only some commands need is imported where it is used."""

    model: type[NamespacesState] = NamespacesState
    components: Sequence[str] = PROGRAMS
    usual: IpFamily = "dual"
    replaceable: Sequence[str] = PROGRAMS

    def bring_up(self, order: Order) -> Found:
        """See `protocol.Driver`."""
        from harness.providers.namespaces.bring_up import bring_up  # noqa: PLC0415 - certificates, images and more

        return bring_up(order)

    def find(self, place: LabDir) -> Found:
        """See `protocol.Driver`."""
        from harness.providers.namespaces import provider  # noqa: PLC0415

        return Found(*provider.find(_layout(place)))

    def delete(self, place: LabDir) -> list[str]:
        """See `protocol.Driver`."""
        from harness.providers.namespaces import provider  # noqa: PLC0415

        return provider.delete(_layout(place))

    def machines(self, place: LabDir) -> list[MachineStatus]:
        """See `protocol.Driver`."""
        known = state.read(_layout(place))
        return [_status(machine) for machine in known.machines] if known else []

    def living(self, place: LabDir) -> list[Node]:
        """See `protocol.Driver`."""
        from harness.providers.namespaces.provider import lab_of  # noqa: PLC0415

        known = state.read(_layout(place))
        if known is None:
            return []
        lab = lab_of(_layout(place), known)
        alive = {machine.name for machine in known.machines if state.alive(machine)}
        return [node for node in (*lab.nodes, lab.router, lab.far, lab.fabric) if node.name in alive]

    def logs(self, place: LabDir) -> Iterator[tuple[str, Callable[[], str]]]:
        """See `protocol.Driver`."""
        for machine in _machines(place):
            for path in sorted(machine.log.glob("*")) if machine.log.is_dir() else ():
                if path.is_file() and not path.is_symlink():
                    yield f"{machine.name}/{path.name}", lambda path=path: tail_bytes(path)  # type: ignore[misc]

    def exits(self, place: LabDir) -> list[Exits]:
        """See `protocol.Driver`."""
        return [one for machine in _machines(place) for one in _exits(machine)]

    def render(self, spec: LabSpec, variant: Variant) -> dict[str, str]:
        """See `protocol.Driver`."""
        from harness.providers.namespaces.bring_up import rendered  # noqa: PLC0415

        return rendered(spec, variant)


def _layout(place: LabDir) -> LabLayout:
    return LabLayout(place.state, place.name)


def _status(machine: state.MachineState) -> MachineStatus:
    stopped: MachineHealth = "Dead" if machine.pid else "Missing"
    return MachineStatus(
        machine.name, str(machine.address), "Running" if state.alive(machine) else stopped, machine.pid
    )


def _machines(place: LabDir) -> list[MachineLayout]:
    """All machines of a lab that have a directory, also of one whose state is gone."""
    folder = place.path / "machines"
    layout = _layout(place)
    return [layout.machine(entry.name) for entry in sorted(folder.iterdir())] if folder.is_dir() else []


def _exits(machine: MachineLayout) -> Iterator[Exits]:
    """How often each service of a machine has ended, how the last time, and what it waits for to be started.

    `nodeinit` keeps the account.
    """
    try:
        lines = (machine.log / "exits.json").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    found: dict[str, tuple[int, str]] = {}
    waits: dict[str, str] = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # being written
        if "waits" in entry:
            waits[entry["service"]] = entry["waits"]
        else:
            found[entry["service"]] = (entry["count"], entry["status"])
    for service in dict.fromkeys((*found, *waits)):
        count, status = found.get(service, (0, ""))
        log = machine.log / f"{service}.log"
        words = functools.partial(_last_words, log)
        yield Exits(machine.name, service, count, status, words, str(log), waits.get(service, ""))


def _last_words(log: Path) -> str:
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-LAST_LINES:])


DRIVER = NamespacesDriver()
