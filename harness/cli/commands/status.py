"""`cnilab status`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from harness.cli.command import command as define
from harness.cli.context import checked_name, settings
from harness.cli.output import Listing, age, emit, output_option
from harness.cli.select import chosen, lives_in_machine, names
from harness.errors import NotYoursError, UsageError

if TYPE_CHECKING:
    from harness.model.labstate import LabState
    from harness.providers.protocol import MachineStatus


@define(
    "status",
    examples="""
    cnilab status
    cnilab status monday -o wide
    cnilab status -o json | jq -r '.items[].kubeconfig'
    """,
)
@click.argument("cluster", metavar="[CLUSTER]", required=False)
@output_option()
def command(cluster: str | None, *, output: str) -> None:
    """Show all clusters, or the machines of one cluster."""
    if cluster is None:
        emit(_clusters(), output, empty="No cluster is up.")
    else:
        emit(_machines(chosen(checked_name(cluster))), output)


def _state(name: str) -> LabState | None:
    from harness.model import labstate  # noqa: PLC0415 - the help must not wait for pydantic

    try:
        return labstate.read(labstate.LabDir(settings().state, name), labstate.LabState)
    except NotYoursError:
        raise
    except UsageError:
        return None  # damaged; `down` still works on it


def _statuses(known: LabState) -> list[MachineStatus]:
    from harness.model.labstate import LabDir  # noqa: PLC0415
    from harness.providers.registry import driver  # noqa: PLC0415

    return driver(known.spec.provider).machines(LabDir(settings().state, known.name))


def _health(known: LabState) -> str:
    from harness.model.labstate import start_time  # noqa: PLC0415

    if known.ready:
        return "Ready" if all(machine.status == "Running" for machine in _statuses(known)) else "Broken"
    return "Starting" if start_time(known.owner) else "Broken"


def _faults(name: str) -> dict[str, Any] | None:
    """Faults that are injected, of secret ones only how many; None where that cannot be known from here."""
    from harness.model import injection, labstate  # noqa: PLC0415 - the help must not wait for pydantic

    if lives_in_machine(name):
        return None
    try:
        injected = injection.read(labstate.LabDir(settings().state, name))
    except UsageError:
        return None  # damaged, which 'cnilab fault' says
    told = [one.fault for one in injected if not one.secret]
    return {"injected": told, "secret": len(injected) - len(told)}


def _counted(faults: dict[str, Any] | None) -> str:
    if faults is None:
        return "?"
    return ",".join([*faults["injected"], *([f"{faults['secret']} secret"] if faults["secret"] else [])]) or "-"


def _clusters() -> Listing:
    from harness.model.family import TITLE  # noqa: PLC0415 - the help must not wait for it
    from harness.model.spec import BARE  # noqa: PLC0415

    rows: list[tuple[str, ...]] = []
    items: list[dict[str, Any]] = []
    for name in names():
        known = _state(name)
        path = settings().state / "labs" / name
        if known is None:
            rows.append((name, "Damaged", *"------", str(path / "kubeconfig"), "-"))
            items.append({"name": name, "status": "Damaged"})
            continue
        lived = (datetime.now(UTC) - datetime.fromisoformat(known.created)).total_seconds()
        spec, status, kubeconfig = known.spec, _health(known), str(path / "kubeconfig")
        version = "-" if spec.cni == BARE else spec.kubernetes.version
        server = f"https://127.0.0.1:{known.api_port}" if known.api_port else "-"
        faults = _faults(name)
        rows.append((
            name, status, spec.cni, ",".join(TITLE[one] for one in spec.families), version,
            str(spec.nodes), age(lived), _counted(faults), kubeconfig, server,
        ))  # fmt: skip
        items.append(
            {
                "name": name,
                "status": status,
                "faults": faults,
                "created": known.created,
                "kubeconfig": kubeconfig,
                "server": server,
                "run": known.run,
                "spec": spec.model_dump(mode="json", by_alias=True),
            }
        )
    columns = ("name", "status", "cni", "ip", "k8s", "nodes", "age", "faults")
    return Listing("Lab", columns, rows, items, wide=("kubeconfig", "server"))


def _machines(name: str) -> Listing:
    known = _state(name)
    if known is None:
        msg = f"the state of cluster '{name}' cannot be read"
        raise UsageError(msg, next_step=f"cnilab down {name}")
    rows, items = [], []
    for machine in _statuses(known):
        node = machine.name in known.spec.node_names
        role = ("control-plane" if machine.name == known.spec.node_names[0] else "worker") if node else "surroundings"
        facts: dict[str, Any] = {
            "name": machine.name, "status": machine.status, "role": role, "address": machine.address
        }  # fmt: skip
        rows.append((machine.name, machine.status, role, machine.address, str(machine.pid)))
        items.append({**facts, "pid": machine.pid})
    return Listing("Machine", ("name", "status", "role", "address"), rows, items, wide=("pid",))
