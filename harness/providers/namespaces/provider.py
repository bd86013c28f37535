"""The namespaces provider: finds the machines of a lab again, and takes them away; `create` makes them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.model.labstate import no_such_lab
from harness.providers import limits
from harness.providers.namespaces import cgroups, links, state
from harness.providers.namespaces.layout import LabLayout
from harness.providers.namespaces.node import NamespaceNode


@dataclass(frozen=True)
class NamespaceLab:
    """A lab of namespaces that is up. See `model.node.Lab`."""

    name: str
    nodes: tuple[NamespaceNode, ...]
    router: NamespaceNode
    far: NamespaceNode
    fabric: NamespaceNode
    kubeconfig: Path
    api_port: int
    layout: LabLayout


def lab_of(layout: LabLayout, known: state.NamespacesState) -> NamespaceLab:
    """The lab that a state file describes."""
    machines = {m.name: NamespaceNode(m.name, m.address, m.pid) for m in known.machines}
    return NamespaceLab(
        name=known.name,
        nodes=tuple(machines[name] for name in known.spec.node_names),
        router=machines[links.ROUTER],
        far=machines[links.FAR],
        fabric=machines[links.FABRIC],
        kubeconfig=layout.kubeconfig,
        api_port=known.api_port,
        layout=layout,
    )


def find(layout: LabLayout) -> tuple[state.NamespacesState, NamespaceLab]:
    """A lab that is up.

    Raises:
        UsageError: There is none, or some of its machines are dead.
    """
    known = state.read(layout)
    if known is None:
        raise no_such_lab(layout)
    dead = [machine.name for machine in known.machines if not state.alive(machine)]
    if dead:
        msg = f"cluster '{layout.name}' is broken"
        raise UsageError(
            msg, cause=f"not running: {', '.join(dead)}", next_step=f"'cnilab down {layout.name}', then 'cnilab up'"
        )
    return known, lab_of(layout, known)


def delete(layout: LabLayout) -> list[str]:
    """Remove a lab, whatever state it is in. Safe to call again, and after a crash at any moment.

    Returns:
        What could not be removed, in words; empty is good.
    """
    raised = _raised(layout)
    left = [f"process {pid}" for pid in cgroups.kill_all(layout.group)]
    left += [f"cgroup {group}" for group in cgroups.remove(layout.group)]
    if layout.path.exists():
        # The state file goes last: as long as anything of the lab is there, the lab can be found.
        for entry in layout.path.iterdir():
            if entry == layout.state_file:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
            if entry.exists():
                left.append(f"directory {entry}")
        if not left:
            _put_back(layout, raised)
            shutil.rmtree(layout.path, ignore_errors=True)
            for parent in (layout.state / "labs", layout.state):
                _remove_if_empty(parent)
    return left


def _raised(layout: LabLayout) -> dict[str, int]:
    try:
        known = state.read(layout)
    except UsageError:
        return {}  # a damaged state file must not keep a lab from being removed
    return known.raised if known else {}


def _put_back(layout: LabLayout, raised: dict[str, int]) -> None:
    """Put machine-wide limits back, or hand that duty to another lab that may need them as they are."""
    others = [LabLayout(layout.state, name) for name in state.names(layout.state) if name != layout.name]
    for other in others:
        known = state.read(other)
        if raised and known is not None and known.spec.provider == "namespaces":
            state.write(other, known.model_copy(update={"raised": {**known.raised, **raised}}))
            return
    for key, value in raised.items():
        limits.write(key, value)


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        return
