"""The inventory of a run: static YAML, kept as an artefact so that playbooks can be run again by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import yamlio

CONNECTION = "cnilab_namespace"


@dataclass(frozen=True)
class Host:
    """A node, as Ansible reaches it.

    Args:
        name: The node's name.
        address: On the underlay; for people, and for roles that need it.
        variables: Connection and its parameters.
    """

    name: str
    address: str
    variables: Mapping[str, Any] = field(default_factory=dict)


def namespace_host(name: str, address: str, pid: int) -> Host:
    """A node of the namespaces provider.

    Args:
        name: The node's name.
        address: On the underlay.
        pid: Its PID 1, as this machine numbers it.
    """
    return Host(name, address, {"ansible_connection": CONNECTION, "cnilab_pid": pid})


def python() -> str:
    """The interpreter that runs us: nodes see this machine's programs, hence this one too, whatever is on PATH."""
    return str(Path(sys.executable).resolve())


def render(hosts: Iterable[Host], router: Host | None, variables: Mapping[str, Any], interpreter: str) -> str:
    """The inventory as YAML.

    Args:
        hosts: The cluster's nodes.
        router: The router, where there is one.
        variables: For every host.
        interpreter: Python on every host.
    """

    def one(host: Host) -> dict[str, Any]:
        return {"ansible_host": host.address, **host.variables}

    children: dict[str, Any] = {
        "nodes": {"hosts": {host.name: one(host) for host in hosts}},
        "operator": {"hosts": {"localhost": {"ansible_connection": "local"}}},
    }
    if router is not None:
        children["outside"] = {"hosts": {router.name: one(router)}}
    everything = {"vars": {"ansible_python_interpreter": interpreter, **variables}, "children": children}
    return yamlio.dumps({"all": everything})
