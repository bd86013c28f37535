"""Injecting a fault into a lab, and undoing it: argument vectors through the runners of the nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from harness.errors import CnilabError
from harness.faults.model import Action, Fault, fill, names
from harness.runner import CommandError, Runner

CHAINS: Final[Mapping[str, tuple[str, str]]] = {
    "kfwd": ("type filter hook forward priority -10", "packets that the node forwards"),
    "kin": ("type filter hook input priority -10", "packets to the node itself"),
    "kearly": (
        "type filter hook prerouting priority -450",
        "packets that come in, before connection tracking (-300) and defragmentation (-400)",
    ),
    "kpre": ("type nat hook prerouting priority -110", "new connections that come in, before kube-proxy's rules"),
    "kpost": ("type nat hook postrouting priority 90", "new connections that go out, before kube-proxy's rules"),
}
"""Chains of the table `inet kfault`: where each hooks in, and what it sees."""

_LINES = "".join(f"  chain {name} {{ {hook}; policy accept; }}\n" for name, (hook, _) in CHAINS.items())
KFAULT: Final = f"table inet kfault {{\n{_LINES}}}\n"


@dataclass(frozen=True)
class Scene:
    """A lab as faults see it.

    Args:
        runners: Ways into places: nodes by name, pods' network namespaces by site name.
        values: What names in actions stand for.
        agents: Program names of the CNI's agent on nodes; empty when it has none.
        nodes: Names of all nodes.
    """

    runners: Mapping[str, Runner]
    values: Mapping[str, str]
    agents: tuple[str, ...]
    nodes: tuple[str, ...]


@dataclass
class Injected:
    """What has to be undone.

    Args:
        fault: The fault.
        values: Names with their values, kept output among them.
        stopped: Process ids that were stopped, by node.
        saved: Routes, neighbours and forwarding entries of links, by place and device.
    """

    fault: Fault
    values: dict[str, str]
    stopped: list[tuple[str, str]] = field(default_factory=list)
    saved: list[tuple[str, str, list[list[str]]]] = field(default_factory=list)


@contextmanager
def injected(fault: Fault, scene: Scene) -> Iterator[Injected]:
    """A lab with a fault, for as long as the body runs; undone whatever happens.

    Raises:
        CommandError: The fault could not be injected, or not be undone.
    """
    done = Injected(fault, dict(scene.values))
    try:
        _inject(done, scene)
        yield done
    finally:
        undo(done, scene)


def _inject(done: Injected, scene: Scene) -> None:
    fault = done.fault
    for word in fault.stop:
        _stop(word, done, scene)
    for text in fault.state:
        if _unknown(text, done.values):
            continue  # a device that this variant does not have has no state
        place, _, device = fill(text, done.values).partition(":")
        done.saved.append((place, device, saved_state(scene.runners[place], device)))
    for node in fault.table:
        scene.runners[node].run(["nft", "-f", "-"], input=KFAULT)
    for action in fault.inject:
        _act(action, done, scene)


def _unknown(text: str, values: Mapping[str, str]) -> bool:
    return not names(text) <= set(values)


def _act(action: Action, done: Injected, scene: Scene) -> None:
    text = fill(action.input, done.values)
    output = scene.runners[action.at].run(action.argv(done.values), input=text, check=not action.may_fail).stdout
    if action.keep:
        done.values[action.keep] = output if "\n" in output.strip() else output.strip()


def undo(done: Injected, scene: Scene) -> None:
    """Take everything back, in the opposite order; goes on after a failure and then raises the first one."""
    problems: list[CnilabError] = []
    for action in done.fault.undo:
        try:
            _act(action, done, scene)
        except CnilabError as error:
            problems.append(error)
    for node in done.fault.table:
        with suppress(CommandError):  # the table may never have been made
            scene.runners[node].run(["nft", "delete", "table", "inet", "kfault"])
    for place, _, vectors in done.saved:
        for vector in vectors:
            done_there = scene.runners[place].run(vector, check=False)
            if not done_there.ok:
                problems.append(CommandError(f"could not restore the state of {place}", done_there))
    for node, pid in done.stopped:
        scene.runners[node].run(["kill", "-CONT", pid], check=False)
    if problems:
        raise problems[0]


def _stop(word: str, done: Injected, scene: Scene) -> None:
    """Stop programs of a node by process id, found in the node's own process namespace."""
    program, _, where = word.partition("@")
    names = scene.agents if program == "agent" else (program,)
    for node in scene.nodes if where == "*" else (where,):
        for name in names:
            found = scene.runners[node].run(["pgrep", "-x", name], check=False).stdout.split()
            for pid in found:
                scene.runners[node].run(["kill", "-STOP", pid])
                done.stopped.append((node, pid))


def saved_state(runner: Runner, device: str) -> list[list[str]]:
    """Commands that restore a link's routes, permanent neighbours and forwarding entries."""
    routes = [
        route_vector(row, device)
        for row in _json(runner, ["ip", "-j", "route", "show", "dev", device])
        if row.get("protocol") != "kernel"
    ]
    neighbours = [
        ["ip", "neigh", "replace", row["dst"], "lladdr", row["lladdr"], "dev", device, "nud", "permanent"]
        for row in _json(runner, ["ip", "-j", "neigh", "show", "dev", device, "nud", "permanent"])
        if row.get("lladdr")
    ]
    return routes + neighbours


def route_vector(row: Mapping[str, Any], device: str) -> list[str]:
    """A row of `ip -j route` as the command that makes it again."""
    vector = ["ip", "route", "replace", str(row["dst"])]
    if "gateway" in row:
        vector += ["via", str(row["gateway"])]
    vector += ["dev", device]
    for key, word in (("scope", "scope"), ("prefsrc", "src"), ("metric", "metric")):
        if key in row:
            vector += [word, str(row[key])]
    return [*vector, "onlink"] if "onlink" in (row.get("flags") or ()) else vector


def _json(runner: Runner, argv: list[str]) -> list[dict[str, Any]]:
    done = runner.run(argv, check=False)
    text = done.stdout.strip()
    return [row for row in json.loads(text) if row] if done.ok and text else []
