"""The disturbing batches, part by part, in the caller's own thread: what interrupts that ends the part it is in.

Every part puts back what it took away, whatever ends it. The order is from what changes nothing to what changes most;
connections that are to be idle are so while the other parts run.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from conformance.disturbance import Way, held, measured
from conformance.families import inventory_of
from conformance.inventory import Inventory
from harness import timeouts
from harness.model.disturbed import Speed
from harness.model.journal import Journal
from harness.model.records import Dump, Observation
from harness.probes.lasting import HoldProbe, Lasting, Plans, Probe, lasting
from harness.probes.plan import Prober
from harness.probes.speed import Kind, measure
from harness.steps.suite.deploy import Suite
from harness.steps.suite.disruptive.heal import observe_heal
from harness.steps.suite.disruptive.loss import observe_loss
from harness.steps.suite.disruptive.measure import Disturbance, Part
from harness.steps.suite.disruptive.removal import observe_removal
from harness.steps.suite.disruptive.restart import observe_restarts
from harness.steps.suite.disruptive.rounds import observe_rounds

BATCH = "B8"

KINDS: tuple[Kind, ...] = ("throughput", "rounds", "setups")


def observe_disturbed(suite: Suite, journal: Journal, how: Disturbance) -> list[Observation]:
    """B8: churn, speed, deleted state, agents that restart, connections that are idle.

    Args:
        suite: The deployed suite.
        journal: Gets a step per part.
        how: What may be done.
    """
    seen: list[Observation] = []

    def part(name: Part, title: str, work: Callable[[], list[Observation]]) -> None:
        if how.wants(name):
            with journal.step(f"test.observe.{name}", title):
                seen.extend(work())

    part("rounds", f"{how.rounds} attachments on every node", lambda: [*observe_rounds(suite, how.rounds)])
    part("speed", "speed between pods, one pair at a time", lambda: _speed(suite, how.trials))
    part("loss", "a node that leaves and comes back", lambda: [*observe_loss(suite, how)])
    with _idle(suite, journal, how) as waiting:
        part("heal", "routes and rules that are deleted", lambda: [*observe_heal(suite, how)])
        part("restart", f"{how.trials} restarts of agents", lambda: [*observe_restarts(suite, how)])
    return [*seen, *(waiting.seen if waiting is not None else ())]


def observe_removed(suite: Suite, journal: Journal, how: Disturbance) -> list[Observation]:
    """B9: the network is taken off the nodes, and put back.

    Args:
        suite: The deployed suite; its pods are others afterwards.
        journal: Gets a step per part.
        how: What may be done.
    """
    if not suite.gates.get("bare") or not how.wants("removal"):
        return []
    return [*observe_removal(suite.attached, journal, how.plugins())]


def probers(suite: Suite, ways: Callable[[Inventory], tuple[Way, ...]], make: Callable[[Way], Probe]) -> Plans:
    """Probes by site, of all families of the cluster.

    Args:
        suite: The deployed suite.
        ways: Who sends to whom in one family.
        make: A way's probe.
    """
    plans: dict[Prober, list[Probe]] = {}
    for family in suite.inventory.families:
        for way in ways(inventory_of(suite.inventory, family)):
            plans.setdefault(suite.sites[way[0].name], []).append(make(way))
    return plans


@contextlib.contextmanager
def _idle(suite: Suite, journal: Journal, how: Disturbance) -> Iterator[Lasting | None]:
    """Connections that nobody uses while the body runs, and for the whole time that they are to be idle."""
    if not how.wants("idle"):
        yield None
        return
    least = round(how.idle * 1000)
    plans = probers(suite, held, lambda way: HoldProbe(way[1], least_ms=least))
    with lasting(plans, batch=BATCH, purpose="idle") as waiting:
        start = time.monotonic()
        yield waiting
        with journal.step("test.observe.idle", f"connections that are idle for {how.idle:.0f} s"):
            _wait(how.idle - (time.monotonic() - start))


def _wait(seconds: float) -> None:
    """In small steps: an interrupt is heard at once. A time to be idle is no deadline, and is never stretched."""
    for _ in timeouts.ticks(max(0.0, seconds), 0.25, 0.25, scale=float):
        pass


def _speed(suite: Suite, trials: int) -> list[Observation]:
    """Facts about the machine, then each pair alone, each kind in turn."""
    found: list[Observation] = [_machine(suite)]
    measurements: list[Speed] = []
    for family in suite.inventory.families:
        for site, target in measured(inventory_of(suite.inventory, family)):
            for kind in KINDS:
                prober = suite.sites[site.name]
                measurements += [measure(prober, target, kind, batch=BATCH, trial=trial) for trial in range(trials)]
    return [*found, *measurements]


def _machine(suite: Suite) -> Dump:
    """What figures depend on: only those of the same machine compare."""
    node = suite.attached.lab.nodes[0]
    kernel = node.runner.run(["uname", "-r"], check=False).stdout.strip()
    processors = node.runner.run(["nproc"], check=False).stdout.strip()
    load = node.runner.run(["cat", "/proc/loadavg"], check=False).stdout.split()
    data = {
        "kernel": kernel,
        "architecture": platform.machine(),
        "processors": int(processors) if processors.isdigit() else None,
        "load": float(load[0]) if load else None,
        "model": _model(Path("/proc/cpuinfo")),
    }
    return Dump(batch=BATCH, vantage="api", place="cluster", what="machine", data=data)


def _model(cpuinfo: Path) -> str:
    """Name of this machine's processor; empty where the kernel does not say it."""
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return ""
