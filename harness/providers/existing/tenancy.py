"""What a run puts into a cluster, how it is marked, and how the mark tells a dead run from a living one."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

Object = dict[str, Any]

MANAGED: Final = {"app.kubernetes.io/managed-by": "cnilab"}
RUN: Final = "cnilab.dev/run"
"""Label of everything that a run makes."""

OWNER: Final = "cnilab.dev/owner"
"""Annotation that says which process made it."""

ENFORCE: Final = "pod-security.kubernetes.io/enforce"

OLD: Final = timedelta(hours=2)
"""What another machine made is left over when it is older than any run."""


@dataclass(frozen=True)
class Owner:
    """The process that a run is.

    Args:
        machine: Which machine, without naming it.
        pid: Its number there.
        started: When it started, in clock ticks: numbers are used again.
        created: When the run began, RFC 3339.
    """

    machine: str
    pid: int
    started: int
    created: str

    def text(self) -> str:
        """As the annotation has it."""
        return json.dumps(asdict(self), sort_keys=True)


def owner_of(item: Object) -> Owner | None:
    """Who made an object; None when nothing readable says so."""
    try:
        return Owner(**json.loads(item["metadata"]["annotations"][OWNER]))
    except (KeyError, ValueError, TypeError):
        return None


def left_over(item: Object, machine: str, alive: Mapping[tuple[int, int], bool], now: datetime) -> bool:
    """Whether the run that made an object is no more.

    Args:
        item: The object.
        machine: This machine.
        alive: Of processes of this machine, by number and start: whether they run.
        now: With time zone.
    """
    owner = owner_of(item)
    if owner is None:
        return True
    if owner.machine == machine:
        return not alive.get((owner.pid, owner.started), False)
    try:
        return now - datetime.fromisoformat(owner.created) > OLD
    except (ValueError, TypeError):
        return True


@dataclass(frozen=True)
class Mark:
    """The mark of one run.

    Args:
        run: Its short id, a part of names.
        owner: Its process.
    """

    run: str
    owner: Owner

    @property
    def labels(self) -> dict[str, str]:
        """Labels of everything that the run makes."""
        return MANAGED | {RUN: self.run}

    @property
    def selector(self) -> str:
        """All of this run."""
        return f"{RUN}={self.run}"

    def put(self, item: Object, namespace: str, images: Mapping[str, str] | None = None) -> Object:
        """An object as it is made in somebody else's cluster: in its namespace, marked, with images from there.

        Args:
            item: As for a lab of ours.
            namespace: Where it goes; kinds without namespace stay as they are.
            images: Our image to theirs.
        """
        made = copy.deepcopy(item)
        metadata = made["metadata"]
        metadata["labels"] = {**(metadata.get("labels") or {}), **self.labels}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), OWNER: self.owner.text()}
        if "namespace" in metadata:
            metadata["namespace"] = namespace
        for container in made.get("spec", {}).get("containers", ()) if made["kind"] == "Pod" else ():
            container["image"] = (images or {}).get(container["image"], container["image"])
        return made

    def namespace(self, name: str, *, privileged: bool) -> Object:
        """A namespace of the run.

        Args:
            name: Its name.
            privileged: Its pods use the nodes' namespaces, which Pod Security admission must let pass.
        """
        labels = {ENFORCE: "privileged"} if privileged else {}
        item = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        return self.put(item, name)


def mark(machine: str, pid: int, started: int, run: str) -> Mark:
    """The mark of a run that begins now."""
    return Mark(run, Owner(machine, pid, started, datetime.now(UTC).isoformat(timespec="seconds")))


def without(items: Iterable[Object], *, host_network: bool, host_ports: bool, slices: bool) -> list[Object]:
    """The suite's objects that a cluster allows, without NodePorts.

    Args:
        items: All of them, without namespace and account, which a run does not own.
        host_network: Pods may use their node's network.
        host_ports: Other pods may have ports of their node.
        slices: EndpointSlices may be written; Services that have no others go with them.
    """
    kept: list[Object] = []
    orphans = {"crowd", "moving"}
    for item in items:
        if item["kind"] == "Pod":
            if item["spec"].get("hostNetwork") and not host_network:
                continue
            own = item["spec"].get("hostNetwork")
            kept.append(item if host_ports or own else _without_host_ports(item))
        elif item.get("spec", {}).get("type") == "NodePort":
            continue  # only a router of ours dials them, and the range may be narrow or used up
        elif item["kind"] == "EndpointSlice" or item["metadata"]["name"] in orphans:
            kept += [item] if slices else []
        else:
            kept.append(item)
    return kept


def _without_host_ports(item: Object) -> Object:
    made = copy.deepcopy(item)
    for container in made["spec"]["containers"]:
        container["ports"] = [port for port in container.get("ports", ()) if "hostPort" not in port]
    return made
