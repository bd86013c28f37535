"""`cnilab status`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from harness.cli.command import command as define
from harness.cli.context import checked_name, settings
from harness.cli.output import Listing, age, emit, output_option
from harness.cli.select import chosen, names
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.providers.namespaces.state import LabState


@define(
    "status",
    examples="""
    cnilab status
    cnilab status monday -o wide
    cnilab status -o json | jq -r '.items[].kubeconfig'
    """,
)
@click.argument("lab", metavar="[NAME]", required=False)
@output_option()
def command(lab: str | None, *, output: str) -> None:
    """Show all labs, or the machines of one lab."""
    if lab is None:
        emit(_labs(), output, empty="No lab is up.")
    else:
        emit(_machines(chosen(checked_name(lab))), output)


def _state(name: str) -> LabState | None:
    from harness.providers.namespaces import layout, state  # noqa: PLC0415 - the help must not wait for pydantic

    try:
        return state.read(layout.LabLayout(settings().state, name))
    except UsageError:
        return None  # damaged; `down` still works on it


def _health(known: LabState) -> str:
    from harness.providers.namespaces import state  # noqa: PLC0415

    running = [state.alive(machine) for machine in known.machines]
    if known.ready:
        return "Ready" if all(running) else "Broken"
    return "Starting" if state.start_time(known.owner) else "Broken"


def _labs() -> Listing:
    rows: list[tuple[str, ...]] = []
    items: list[dict[str, Any]] = []
    for name in names():
        known = _state(name)
        path = settings().state / "labs" / name
        if known is None:
            rows.append((name, "Damaged", "-", "-", "-", "-", str(path / "kubeconfig"), "-"))
            items.append({"name": name, "status": "Damaged"})
            continue
        lived = (datetime.now(UTC) - datetime.fromisoformat(known.created)).total_seconds()
        spec, status, kubeconfig = known.spec, _health(known), str(path / "kubeconfig")
        server = f"https://127.0.0.1:{known.api_port}" if known.api_port else "-"
        rows.append((
            name, status, spec.cni, spec.kubernetes.version, str(spec.nodes), age(lived), kubeconfig, server
        ))  # fmt: skip
        items.append(
            {
                "name": name,
                "status": status,
                "created": known.created,
                "kubeconfig": kubeconfig,
                "server": server,
                "run": known.run,
                "spec": spec.model_dump(mode="json", by_alias=True),
            }
        )
    columns = ("name", "status", "cni", "k8s", "nodes", "age")
    return Listing("Lab", columns, rows, items, wide=("kubeconfig", "server"))


def _machines(name: str) -> Listing:
    from harness.providers.namespaces import state  # noqa: PLC0415

    known = _state(name)
    if known is None:
        msg = f"the state of lab '{name}' cannot be read"
        raise UsageError(msg, next_step=f"cnilab down {name}")
    rows, items = [], []
    for machine in known.machines:
        alive = state.alive(machine)
        node = machine.name in known.spec.node_names
        role = ("control-plane" if machine.name == known.spec.node_names[0] else "worker") if node else "surroundings"
        status = "Running" if alive else "Dead" if machine.pid else "Missing"
        facts: dict[str, Any] = {"name": machine.name, "status": status, "role": role, "address": str(machine.address)}
        rows.append((machine.name, status, role, str(machine.address), str(machine.pid)))
        items.append({**facts, "pid": machine.pid})
    return Listing("Machine", ("name", "status", "role", "address"), rows, items, wide=("pid",))
