"""Injecting a fault into a lab, and undoing it: argument vectors through the runners of places.

Faults of the suite and of labs share all of this. They differ in the names of places and variables (`Scene`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from harness.errors import CnilabError
from harness.model.expression import ExpressionError, render
from harness.model.fault import Action, Fault
from harness.model.injection import Act
from harness.model.spot import Spot
from harness.model.words import fill, names
from harness.runner import CommandError, Completed, Runner

CHAINS: Final[Mapping[str, tuple[str, str]]] = {
    "kfwd": ("type filter hook forward priority -10", "packets that the node forwards"),
    "kin": ("type filter hook input priority -10", "packets to the node itself"),
    "kearly": (
        "type filter hook prerouting priority -450",
        "packets that come in, before connection tracking (-300) and defragmentation (-400)",
    ),
    "kpre": ("type nat hook prerouting priority -110", "new connections that come in, before kube-proxy's rules"),
    "kout": ("type nat hook output priority -110", "new connections of the node's own, before kube-proxy's rules"),
    "kpost": ("type nat hook postrouting priority 90", "new connections that go out, before kube-proxy's rules"),
}
"""Chains of the table `inet kfault`: where each hooks in, and what it sees."""

_LINES = "".join(f"  chain {name} {{ {hook}; policy accept; }}\n" for name, (hook, _) in CHAINS.items())
KFAULT: Final = f"table inet kfault {{\n{_LINES}}}\n"


Failure = CnilabError | ExpressionError
"""What can go wrong with a command of a fault: it failed, or what it needs is not there."""


@dataclass(frozen=True)
class Scene:
    """A lab as a fault sees it.

    Args:
        place: The way into a place, by its name. Nodes are places, and so is what commands name with `at`.
        values: Variables of expressions.
        nodes: Names of all nodes.
        agents: Program names of the network's agent on nodes; empty when it has none.
    """

    place: Callable[[str], Spot]
    values: Mapping[str, Any]
    nodes: tuple[str, ...]
    agents: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """A command in a place, ready to run.

    Args:
        spot: Where.
        act: What.
        keep: Name under which later commands find its output.
    """

    spot: Spot
    act: Act
    keep: str = ""

    def run(self) -> Completed:
        """Run it.

        Raises:
            CommandError: It failed, and may not.
        """
        act = self.act
        check = not act.may_fail and not act.problem
        done = self.spot.runner.run(act.run, input=act.input or None, timeout=act.deadline, check=check)
        if act.problem and not done.ok:
            raise CommandError(act.problem, done)
        return done


@dataclass(frozen=True)
class Done:
    """A command that ran.

    Args:
        spot: Where.
        argv: Its words.
        completed: What it did.
    """

    spot: Spot
    argv: tuple[str, ...]
    completed: Completed


def _unseen(_: Command) -> None:
    """Nobody writes down what is about to run."""


@dataclass
class Injected:
    """A fault with what was done to inject it, which is what has to be undone.

    Args:
        fault: The fault.
        kept: Output that commands keep, by name.
        stopped: Process ids that were stopped.
        saved: Commands that restore links.
        tables: Nodes that got the table.
        ran: All commands until now, those that failed among them.
    """

    fault: Fault
    kept: dict[str, str] = field(default_factory=dict)
    stopped: list[tuple[Spot, str]] = field(default_factory=list)
    saved: list[tuple[Spot, list[str]]] = field(default_factory=list)
    tables: list[Spot] = field(default_factory=list)
    ran: list[Done] = field(default_factory=list)

    def inject(self, scene: Scene, before: Callable[[Command], None] = _unseen) -> None:
        """Do what the fault says, up to the first failure. What was done by then is to be undone.

        Args:
            scene: The lab.
            before: Called with each command that is about to run. `ways_back` then knows how to undo it, too.

        Raises:
            CommandError: A command failed.
            ExpressionError: A value is not there.
        """
        for command in self._commands(scene):
            before(command)
            self._run(command)

    def ways_back(self, scene: Scene) -> list[Command]:
        """Commands that take back what was done until now, in order, with all their words.

        Raises:
            ExpressionError: A value is not there.
        """
        return [way_back() for way_back in self._ways_back(scene)]

    def undo(self, scene: Scene) -> list[Failure]:
        """Take everything back, in the opposite order, and go on after a failure.

        Returns:
            All that went wrong.
        """
        problems: list[Failure] = []
        for way_back in self._ways_back(scene):
            try:
                self._run(way_back())
            except (CnilabError, ExpressionError) as error:
                problems.append(error)
        return problems

    def _commands(self, scene: Scene) -> Iterator[Command]:
        """Commands of the injection, each made when those before it have run: it may need their output."""
        for word in self.fault.stop:
            yield from self._stop(render(word, self._values(scene)), scene)
        for word in self.fault.state:
            self._save(word, scene)
        for word in self.fault.table:
            self.tables.append(scene.place(render(word, self._values(scene))))
            yield Command(self.tables[-1], Act(run=("nft", "-f", "-"), input=KFAULT, part="table"))
        for action in self.fault.inject:
            yield self._command(action, scene)

    def _ways_back(self, scene: Scene) -> Iterator[Callable[[], Command]]:
        """What makes the commands that undo, each when its turn has come: one that cannot be made spares the others."""
        never = {action.keep for action in self.fault.inject if action.keep} - set(self.kept)
        for action in self.fault.undo:
            # What would be put back was never read, and no command after that one ran.
            if not never & action.names():
                yield partial(self._command, action, scene)
        for spot in self.tables:  # one may never have been made
            act = Act(run=("nft", "delete", "table", "inet", "kfault"), may_fail=True, part="table")
            yield partial(Command, spot, act)
        for spot, vector in self.saved:
            problem = f"could not restore the state of {spot.name}"
            yield partial(Command, spot, Act(run=tuple(vector), part="link", problem=problem))
        for spot, pid in self.stopped:
            yield partial(Command, spot, Act(run=("kill", "-CONT", pid), may_fail=True, part="program"))

    def _values(self, scene: Scene, spot: Spot | None = None) -> dict[str, Any]:
        return {**scene.values, **(spot.facts if spot else {}), **self.kept}

    def _command(self, action: Action, scene: Scene) -> Command:
        spot = scene.place(render(action.at, self._values(scene)))
        here = self._values(scene, spot)
        act = Act(
            run=tuple(fill(action.run, here)),
            input=render(action.input, here),
            may_fail=action.may_fail,
            deadline=action.deadline,
        )
        return Command(spot, act, action.keep or "")

    def _run(self, command: Command) -> Completed:
        """Run a command, and remember it."""
        try:
            completed = command.run()
        except CommandError as error:
            if error.completed is not None:
                self.ran.append(Done(command.spot, command.act.run, error.completed))
            raise
        self.ran.append(Done(command.spot, command.act.run, completed))
        if command.keep:
            output = completed.stdout
            self.kept[command.keep] = output if "\n" in output.strip() else output.strip()
        return completed

    def _stop(self, word: str, scene: Scene) -> Iterator[Command]:
        """Stop programs of a node by process id, found in the node's own process namespace."""
        program, _, where = word.partition("@")
        for node in scene.nodes if where == "*" else (where,):
            spot = scene.place(node)
            for name in scene.agents if program == "agent" else (program,):
                search = Act(run=("pgrep", "-x", name), may_fail=True)
                for pid in self._run(Command(spot, search)).stdout.split():
                    self.stopped.append((spot, pid))
                    yield Command(spot, Act(run=("kill", "-STOP", pid), part="program"))

    def _save(self, word: str, scene: Scene) -> None:
        values = self._values(scene)
        if not names(word) <= set(values):
            return  # a device that this variant does not have has no state
        place, _, device = render(word, values).partition(":")
        spot = scene.place(place)
        self.saved += [(spot, vector) for vector in saved_state(spot.runner, device)]


@contextmanager
def injected(fault: Fault, scene: Scene) -> Iterator[Injected]:
    """A lab with a fault, for as long as the body runs; undone whatever happens.

    Raises:
        CommandError: The fault could not be injected, or not be undone; notes say what else could not.
        ExpressionError: A value is not there.
    """
    done = Injected(fault)
    try:
        done.inject(scene)
        yield done
    finally:
        problems = done.undo(scene)
        if problems:
            raise together(problems)


def together(problems: list[Failure]) -> Failure:
    """One failure of all: the first that has notes, with the others as these."""
    first, *others = sorted(problems, key=lambda problem: not isinstance(problem, CnilabError))
    if isinstance(first, CnilabError):
        first.notes += [str(other).splitlines()[0] for other in others]
    return first


def saved_state(runner: Runner, device: str) -> list[list[str]]:
    """Commands that restore a link's IPv6 addresses, its routes, permanent neighbours and forwarding entries.

    A link that is down loses its IPv6 addresses, which those of IPv4 outlive (ip-sysctl, keep_addr_on_down). Their
    routes come back with them; the others are lost in both families.
    """
    addresses = [
        ["ip", "-6", "address", "replace", f"{one['local']}/{one['prefixlen']}", "dev", device, "nodad"]
        for row in _json(runner, ["ip", "-6", "-j", "address", "show", "dev", device, "scope", "global", "permanent"])
        for one in row.get("addr_info", ())
        if "local" in one
    ]
    routes = [
        route_vector(row, device, family)
        for family in ("-4", "-6")
        for row in _json(runner, ["ip", family, "-j", "route", "show", "dev", device])
        if row.get("protocol") != "kernel"
    ]
    neighbours = [
        ["ip", "neigh", "replace", row["dst"], "lladdr", row["lladdr"], "dev", device, "nud", "permanent"]
        for row in _json(runner, ["ip", "-j", "neigh", "show", "dev", device, "nud", "permanent"])
        if row.get("lladdr")
    ]
    return addresses + routes + neighbours


def route_vector(row: Mapping[str, Any], device: str, family: str = "-4") -> list[str]:
    """A row of `ip -j route` as the command that makes it again.

    Args:
        row: The route.
        device: Its link.
        family: As ip(8) has it, `-4` or `-6`: `default` alone does not say whose default route it is.
    """
    vector = ["ip", family, "route", "replace", str(row["dst"])]
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
