"""Routes and rules of a network that are deleted from nodes: what comes back by itself, and when.

What does not come back is put back, also when the look is interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Literal

from conformance.families import inventory_of
from conformance.inventory import Inventory
from harness import timeouts
from harness.cni.footprint import PLUGIN_CHAINS, Footprint, matches, tables_of, target
from harness.cni.networks import network
from harness.errors import CnilabError
from harness.model.disturbed import Repair, Thing
from harness.model.family import Family
from harness.model.node import Node
from harness.runner import Runner
from harness.steps.suite.deploy import Suite
from harness.steps.suite.disruptive.measure import Disturbance

What = Literal["routes", "rules"]

PROGRAMS: Final[dict[Family, tuple[str, str]]] = {"ipv4": ("iptables", "-4"), "ipv6": ("ip6tables", "-6")}
"""Family -> the program for rules, and the flag of ip(8)."""

EVERY: Final = 0.1
"""Seconds between two looks at what was deleted."""


@dataclass
class Gone:
    """Something that was deleted from a node.

    Args:
        text: As the program for it says it.
        there: It is there now.
        delete: Takes it away.
        restore: Puts it back.
        seen: Says what is there in its place.
        tried: It was to be taken away.
        gone: The kernel took it away. An agent may have put it back before anybody can see that.
        problem: Why it could not be taken away.
        seconds: Until it was there again.
    """

    text: str
    there: Callable[[], bool]
    delete: Callable[[], object]
    restore: Callable[[], object]
    seen: Callable[[], str]
    tried: bool = False
    gone: bool = False
    problem: str = ""
    seconds: float | None = None


@dataclass
class Bench:
    """What is deleted of one kind, family and node.

    Args:
        node: Where.
        what: Routes or rules.
        family: Which.
        waits: Seconds that it is waited for, before scaling.
        things: All of it.
        detail: Why nothing could be deleted.
    """

    node: str
    what: What
    family: Family
    waits: float
    things: list[Gone] = field(default_factory=list)
    detail: str = ""


def observe_heal(suite: Suite, how: Disturbance) -> list[Repair]:
    """Delete a network's routes to other nodes and its rules' entrances, on all nodes, and see what comes back.

    Args:
        suite: The deployed suite.
        how: How long to wait.
    """
    if not suite.gates.get("node") or not suite.gates.get("agent"):
        return []
    found: list[Repair] = []
    kinds: tuple[What, ...] = ("rules", "routes")
    for what in kinds:  # one kind after the other: a repair of one may bring the other with it
        benches = [bench for family in suite.inventory.families for bench in _benches(suite, what, family, how)]
        try:
            _all_at_once([one for bench in benches for one in bench.things], _take_away)
            _wait(benches)
            found += [_record(bench) for bench in benches]
        finally:
            _all_at_once([one for bench in benches for one in bench.things], _put_back)
    return found


def _benches(suite: Suite, what: What, family: Family, how: Disturbance) -> Iterator[Bench]:
    there = inventory_of(suite.inventory, family)
    declared = suite.attached.variant.expect.of(family).heal_seconds.get(what)
    waits = how.unpromised if declared is None else declared * how.patience
    for node in suite.attached.lab.nodes:
        bench = Bench(node.name, what, family, waits)
        try:
            find = _rules if what == "rules" else _routes
            bench.things += find(suite, node, family, there)
        except CnilabError as error:
            bench.detail = str(error).splitlines()[0]
        yield bench


def _rules(suite: Suite, node: Node, family: Family, _: Inventory) -> list[Gone]:
    """Entrances from a built-in chain into a chain of the network's own."""
    program = PROGRAMS[family][0]
    own = network(suite.attached.variant).footprint
    saved = node.runner.run([f"{program}-save"]).stdout
    return [
        _rule(node.runner, program, table, rule)
        for table, chains, rules in tables_of(saved)
        for rule in rules
        if rule.split()[1] not in chains and _enters(rule, own)
    ]


def _enters(rule: str, own: Footprint) -> bool:
    return matches(target(rule), own.chains) and not matches(target(rule), PLUGIN_CHAINS)


def _rule(runner: Runner, program: str, table: str, rule: str) -> Gone:
    def restored(verb: str) -> str:
        return f"*{table}\n{rule.replace('-A ', f'{verb} ', 1)}\nCOMMIT\n"

    def there() -> bool:
        return rule in runner.run([f"{program}-save", "-t", table]).stdout.splitlines()

    def apply(verb: str) -> object:
        return runner.run([f"{program}-restore", "--noflush"], input=restored(verb))

    return Gone(
        text=f"{program} -t {table} {rule}",
        there=there,
        delete=lambda: apply("-D"),
        restore=lambda: apply("-A"),
        seen=lambda: _entrances(runner.run([program, "-t", table, "-S", rule.split()[1]], check=False).stdout),
    )


def _entrances(listed: str) -> str:
    """Where the rules of a chain lead, in their order."""
    return ", ".join(
        target(line) or "a rule that only counts" for line in listed.splitlines() if line.startswith("-A ")
    )


def _routes(suite: Suite, node: Node, family: Family, there: Inventory) -> list[Gone]:
    """Routes to the shares of other nodes, as the variant has them."""
    if suite.attached.variant.expect.of(family).remote_route == "none":
        return []
    flag = PROGRAMS[family][1]
    shares = [one.pod_cidr for one in there.nodes if one.name != node.name and one.pod_cidr]
    lines = [(share, _seen(node.runner, ["ip", flag, "route", "show", share])) for share in shares]
    return [_route(node.runner, flag, share, line) for share, line in lines if line]


def _route(runner: Runner, flag: str, share: str, line: str) -> Gone:
    show = ["ip", flag, "route", "show", share]
    words = [word for word in line.split() if word not in {"linkdown", "dead"}]
    return Gone(
        text=f"route {' '.join(words)}",
        there=lambda: bool(_seen(runner, show)),
        delete=lambda: runner.run(["ip", flag, "route", "del", share]),
        restore=lambda: runner.run(["ip", flag, "route", "replace", *words]),
        seen=lambda: _seen(runner, ["ip", flag, "route", "get", share.partition("/")[0]]),
    )


def _seen(runner: Runner, argv: Sequence[str]) -> str:
    done = runner.run(argv, check=False)
    return " ".join((done.stdout if done.ok else done.stderr).split())[:400]


def _all_at_once(things: Sequence[Gone], work: Callable[[Gone], None]) -> None:
    if things:
        with ThreadPoolExecutor(max_workers=min(16, len(things)), thread_name_prefix="heal") as pool:
            list(pool.map(work, things))


def _take_away(thing: Gone) -> None:
    thing.tried = True
    try:
        thing.delete()
        thing.gone = True
    except CnilabError as error:
        thing.problem = str(error).splitlines()[0]


def _put_back(thing: Gone) -> None:
    if thing.tried and not thing.there():
        thing.restore()


def _wait(benches: Sequence[Bench]) -> None:
    """Until everything is there again, or its time is over."""
    start = time.monotonic()
    patience = max((bench.waits for bench in benches if bench.things), default=0.0)
    for _ in timeouts.ticks(patience, EVERY, EVERY):
        now = time.monotonic() - start
        left = [
            one
            for bench in benches
            if now < timeouts.scaled(bench.waits)
            for one in bench.things
            if one.gone and one.seconds is None
        ]
        if not left:
            return
        _all_at_once(left, lambda thing: _look(thing, start))


def _look(thing: Gone, start: float) -> None:
    if thing.there():
        thing.seconds = round(time.monotonic() - start, 3)


def _record(bench: Bench) -> Repair:
    things = [
        Thing(
            text=one.text,
            gone=one.gone,
            seconds=one.seconds,
            seen=one.problem or ("" if one.seconds is not None else one.seen()),
            put_back=one.gone and one.seconds is None,
        )
        for one in bench.things
    ]
    return Repair(
        batch="B8", what=bench.what, family=bench.family, src=bench.node, waited=timeouts.scaled(bench.waits),
        things=tuple(things), detail=bench.detail,
    )  # fmt: skip
