"""Running the suite's batches: plans of probes go out, observations come back. One program run per place and batch."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from conformance import manifests, outward, pairs, plan, questions
from conformance.batches import DISTURBING, Batch
from conformance.context import saved
from conformance.families import planned
from conformance.inventory import Inventory
from conformance.reads import Reads, kept
from conformance.strays import WHAT
from harness import timeouts
from harness.cni.networks import network
from harness.errors import CnilabError
from harness.model import world
from harness.model.family import transport_of
from harness.model.journal import Journal
from harness.model.records import Dump, Exchange, Observation
from harness.probes import facts, kernel_state, podstate, sandboxes
from harness.probes import plan as probes
from harness.probes.agent import run_plans
from harness.probes.datapath import observe_datapath
from harness.probes.recorder import Recorder
from harness.steps.suite import kubelet
from harness.steps.suite.again import balanced, detected, settled
from harness.steps.suite.cni_verbs import observe_all
from harness.steps.suite.deploy import Suite
from harness.steps.suite.disruptive.measure import Disturbance
from harness.steps.suite.disruptive.run import observe_disturbed, observe_removed
from harness.steps.suite.inbound import observe_inbound
from harness.steps.suite.policy.play import observe_policies
from harness.steps.suite.strays import observe_strays
from harness.steps.suite.wire import captured

DEADLINES: Mapping[Batch, float] = {
    "B0": 2.0, "B1": 5.0, "B2": 4.0, "B3": 4.0, "B4": 4.0, "B5": 3.0, "B6": 10.0, "B7": 10.0,
}  # fmt: skip
"""Seconds for all probes of a batch, before scaling; red legs overlap, so they cost it once."""

ENFORCED = 30.0
"""Seconds until the policies of a round must be enforced, before scaling: nobody waits for it where they are.

On a machine with 17 times the load that it has processors for, an agent took more than 10."""

MANY = 10
"""Sites that probe at the same time within the usual deadline; more get more time."""

LOOK = 0.3
"""Seconds for one look at a Service that moves, before scaling."""

NODE_OBJECTS = "node-objects"
"""Subject of the dump with the annotations of nodes."""

INBOUND = 0.5
"""Seconds for one look from outside at all pods, before scaling."""

PROXY_READY = 10.0
"""Seconds until kube-proxy has programmed new Services, before scaling."""


@dataclass(frozen=True)
class Pace:
    """How patient a run is.

    Args:
        deadlines: Seconds for all probes of a batch, before scaling.
        retries: Further attempts at a failed probe.
        churn: With the many connections of the mesh batch.
        kernel: With all kernel state; without it only what the underlay's probes need.
        moves: With a Service that moves to another pod: it takes as long as the proxy does.
        moved: Seconds until every node must know of it, before scaling. A busy machine is slow, and its network right.
        policies: Only cases of these requirements; empty for all.
        only: Of the mesh, Service and DNS probes, and of kernel state, what is read; None for all.
        disturbance: How the disturbing batches are run, where they are.
    """

    deadlines: Mapping[Batch, float] = field(default_factory=lambda: DEADLINES)
    retries: int = 2
    churn: bool = True
    kernel: bool = True
    moves: bool = True
    moved: float = 20.0
    policies: frozenset[str] = frozenset()
    only: Reads | None = None
    disturbance: Disturbance = field(default_factory=Disturbance)

    def deadline(self, batch: Batch) -> float:
        """Seconds for a batch, before scaling: whoever waits scales."""
        return self.deadlines[batch]


Groups = tuple[tuple[Batch, ...], ...]
APART: Groups = (("B0",), ("B1",), ("B2",), ("B3", "B4"), ("B5", "B7"), ("B6",))
BESIDE: Groups = (("B0",), ("B1",), ("B2",), ("B3", "B4", "B6"), ("B5", "B7"))
"""Batches that run at the same time, in order: where policies are enforced, and where they are not."""


def observe(
    suite: Suite, batches: Iterable[Batch], run: Path, journal: Journal, pace: Pace | None = None
) -> list[Observation]:
    """Run batches in order, Services and DNS at the same time; policies that nobody enforces disturb neither.

    Args:
        suite: The deployed suite.
        batches: Which.
        run: Run directory, for captures.
        journal: Gets a step per batch.
        pace: Deadlines and retries.
    """
    wanted = list(dict.fromkeys(batches))
    patient = pace or Pace()
    seen: list[Observation] = list(saved(suite.inventory, suite.attached.variant))
    for group in APART if "np" in suite.attached.variant.gates else BESIDE:
        chosen = [batch for batch in wanted if batch in group]
        if not chosen:
            continue
        with ThreadPoolExecutor(max_workers=len(chosen), thread_name_prefix="batch") as pool:
            for part in pool.map(lambda batch: _batch(suite, batch, run, journal, patient), chosen):
                seen += part
    seen += _probed(suite, journal, patient) if "B6" in wanted else []
    return seen + _disturbed(suite, [batch for batch in wanted if batch in DISTURBING], journal, patient.disturbance)


def _disturbed(suite: Suite, wanted: Sequence[Batch], journal: Journal, how: Disturbance) -> list[Observation]:
    """The batches that disturb, last, and in this thread: an interrupt is theirs to hear, and to put things back."""
    works = {"B8": ("disturbances", observe_disturbed), "B9": ("removal of the network", observe_removed)}
    seen: list[Observation] = []
    for batch in wanted if suite.gates.get("dis") else ():
        title, work = works[batch]
        with journal.step(f"test.observe.{batch.lower()}", f"{batch}: {title}") as detail:
            found = work(suite, journal, how)
            detail["observations"] = len(found)
        seen += found
    return seen


def _batch(suite: Suite, batch: Batch, run: Path, journal: Journal, pace: Pace) -> list[Observation]:
    runners: Mapping[Batch, tuple[str, Callable[[Suite, Path, Pace], list[Observation]]]] = {
        "B0": ("kernel state of nodes and pods", _b0),
        "B1": ("reach, identity, translation", _b1),
        "B2": ("packet sizes, captures", _b2),
        "B3": ("Services", _b3),
        "B4": ("DNS", _b4),
        "B5": ("egress", _b5),
        "B6": ("network policies", _b6),
        "B7": ("CNI verbs", _b7),
    }
    title, work = runners[batch]
    with journal.step(f"test.observe.{batch.lower()}", f"{batch}: {title}") as detail:
        found = work(suite, run, pace)
        detail["observations"] = len(found)
    return found


def probe(
    suite: Suite, asked: Mapping[str, Sequence[probes.Probe]], batch: Batch, pace: Pace, deadline: float | None = None
) -> list[Observation]:
    """Run a plan at the sites that it names."""
    work: dict[probes.Prober, Sequence[probes.Probe]] = {suite.sites[name]: asked[name] for name in asked}
    patience = max(1.0, len(work) / MANY)
    return run_plans(work, batch=batch, deadline=deadline or pace.deadline(batch) * patience, retries=pace.retries)


def _b0(suite: Suite, _run: Path, pace: Pace) -> list[Observation]:
    """Kernel state first: the underlay is probed at the MTU that it has now.

    Sandboxes are listed anew: what other batches left running has leases, too.
    """
    only = () if pace.kernel else ("addr",)
    running = sandboxes.take(suite.attached.lab)
    dumps = _state(suite, "B0", running, pods=pace.kernel, only=_read(only, pace, "addr"))
    dumps += running.dumps("B0")
    if suite.gates.get("lease") and suite.gates.get("node"):
        dumps = balanced(dumps, lambda: _books(suite), suite.attached.variant.expect.lease_dir)
    if "ipv6" in suite.inventory.families:
        dumps = detected(dumps, lambda: _state(suite, "B0", running, only=("addr",)))
    first = suite.inventory.nodes[0].name
    if suite.limits:
        dumps.append(Dump(batch="B0", vantage="node", place=first, node=first, what="kernel", data=dict(suite.limits)))
    if suite.gates.get("agentfile") and (pace.only is None or NODE_OBJECTS in pace.only.subjects):
        dumps.append(_node_objects(suite))
    nic = suite.attached.spec.cluster_nic
    present = {
        one.place: int(link["mtu"])
        for one in dumps
        if one.vantage == "node" and one.what == "addr" and isinstance(one.data, list)
        for link in one.data
        if link.get("ifname") == nic
    }
    return [*dumps, *probe(suite, planned(suite.inventory, lambda there: plan.underlay(there, present)), "B0", pace)]


def _books(suite: Suite) -> list[Dump]:
    """Leases and sandboxes of all nodes, anew."""
    running = sandboxes.take(suite.attached.lab)
    return [*_state(suite, "B0", running, pods=False, only=("leases",)), *running.dumps("B0")]


def _node_objects(suite: Suite) -> Dump:
    """What the API says of nodes now, of what agents write there: the inventory is that of the suite's deployment."""
    try:
        items = suite.attached.kube.list("v1", "Node")
        data: object = {item["metadata"]["name"]: item["metadata"].get("annotations") or {} for item in items}
    except CnilabError as error:
        data = {"error": str(error)}
    return Dump(batch="B0", vantage="api", place="cluster", what=NODE_OBJECTS, data=data)


def _read(subjects: Sequence[str], pace: Pace, *always: str) -> tuple[str, ...]:
    """Subjects of kernel state that are asked for at a pace; of all when none are named."""
    if pace.only is None:
        return tuple(subjects)
    return tuple({*always, *(one for one in subjects or facts.FACTS if one in pace.only.subjects)})


def _state(
    suite: Suite, batch: Batch, running: sandboxes.Sandboxes, *, pods: bool = True, only: Sequence[str] = ()
) -> list[Dump]:
    """State of nodes and pods; of pods as they can read it themselves where nodes are out of reach."""
    namespace = suite.inventory.namespace
    if suite.gates.get("node"):
        six = "ipv6" in suite.inventory.families
        return kernel_state.dump(
            suite.attached.lab, running, batch=batch, namespace=namespace, pods=pods, only=only, ipv6=six
        )
    inside = (*suite.inventory.pods, *suite.inventory.hosts) if pods else ()
    subjects = [
        podstate.Subject(suite.sites[site.name], namespace, host_network=site.kind == "hostnet") for site in inside
    ]
    return podstate.dump(subjects, batch=batch, only=only)


def _b1(suite: Suite, _run: Path, pace: Pace) -> list[Observation]:
    """The mesh, then the drop counters of nodes and pods again; around it, what eBPF the nodes run."""
    panels = pace.kernel and pace.only is None
    before = _datapath(suite, "before") if panels else []
    seen = probe(suite, kept(planned(suite.inventory, plan.mesh), pace.only), "B1", pace)
    seen += probe(suite, kept(planned(suite.inventory, plan.setups), pace.only), "B1", pace)
    if pace.churn:
        seen += probe(suite, planned(suite.inventory, plan.connections), "B1", pace)
    only = _read(("counters", "rules-nft"), pace)
    after = _state(suite, "B1", suite.sandboxes, only=only) if only else []
    return [*before, *seen, *after, *(_datapath(suite, "after") if panels else ())]


def _datapath(suite: Suite, when: str) -> list[Observation]:
    if not suite.gates.get("known"):
        return []
    there = network(suite.attached.variant).datapath
    if there is None:
        return []
    with ThreadPoolExecutor() as pool:
        return list(
            pool.map(lambda node: observe_datapath(node, there, batch="B1", when=when), suite.attached.lab.nodes)
        )


def _b2(suite: Suite, run: Path, pace: Pace) -> list[Observation]:
    """A few packets under the eyes of taps, then the ladders and payloads."""
    seen: list[Observation] = []
    if pairs.node_pairs(suite.inventory) and suite.gates.get("cap"):
        half = pace.deadline("B2") / 2
        seen += captured(suite, run, lambda asked: probe(suite, asked, "B2", pace, deadline=half))
    expect = suite.attached.variant.expect
    return seen + probe(suite, planned(suite.inventory, lambda there: plan.packets(there, expect)), "B2", pace)


def _b3(suite: Suite, _run: Path, pace: Pace) -> list[Observation]:
    gates = suite.gates
    if not gates.get("svc"):
        return []
    asked = planned(suite.inventory, lambda there: plan.services(there, gates))
    seen = probe(suite, kept(asked, pace.only), "B3", pace)
    if gates.get("kp") and (pace.only is None or WHAT in pace.only.subjects):
        seen += observe_strays(suite)
    return seen + _moved(suite, pace) if pace.moves else seen


def _accepted(seen: Sequence[Exchange]) -> bool:
    """A new connection was accepted, over each family."""
    return all(one.outcome == "ok" for one in seen if transport_of(one.proto) == "tcp")


def _moved(suite: Suite, pace: Pace) -> list[Observation]:
    """Move a Service to another pod, and look until TCP and UDP have followed, or the deadline is over."""
    service, sites = suite.inventory.service("moving"), pairs.movers(suite.inventory)
    if service is None or sites is None:
        return []
    client, one, other = sites
    quick = replace(pace, retries=0)

    def asked(there: Inventory, purpose: str) -> plan.Plan:
        found, asks = there.service("moving"), there.by_name[client.name]
        return plan.moving(found, asks, purpose) if found is not None else {}

    def look(purpose: str) -> list[Exchange]:
        wanted = planned(suite.inventory, lambda there: asked(there, purpose))
        seen = probe(suite, wanted, "B3", quick, deadline=LOOK)
        return [found for found in seen if isinstance(found, Exchange)]

    before = look("before")
    if not _accepted(before):
        suite.attached.kube.apply([suite.adapt(item) for item in manifests.moving_slices(one.ips or (one.ip,))])
        for _ in timeouts.ticks(PROXY_READY, 0.1):
            before = look("before")
            if _accepted(before):
                break
    source, target = (other, one) if before[0].token == other.name else (one, other)
    suite.attached.kube.apply([suite.adapt(item) for item in manifests.moving_slices(target.ips or (target.ip,))])
    facts: dict[str, object] = {"from": source.name, "to": target.name, "seconds": None}
    after: list[Exchange] = []
    for elapsed in timeouts.ticks(pace.moved, 0.05):
        after = look("moved")
        facts["waited"] = round(elapsed, 3)
        if all(found.token == target.name for found in after):
            facts["seconds"] = round(elapsed, 3)
            break
    return [*before, *after, Dump(batch="B3", vantage="api", place="cluster", what="moved", data=facts)]


def _b4(suite: Suite, _run: Path, pace: Pace) -> list[Observation]:
    gates = suite.gates
    if not gates.get("dns"):
        return []
    router = suite.attached.lab.router
    recorder = Recorder(router) if router is not None else None
    mark = recorder.mark() if recorder else 0
    dumps = _state(suite, "B4", suite.sandboxes, only=("resolv-conf",))
    # A look soon after another one must not get its answer from a cache: the outside server has to see the question.
    fresh = f"{secrets.token_hex(3)}-"
    asked = planned(suite.inventory, lambda there: questions.lookups(there, suite.attached.spec, gates, fresh))
    wanted = kept(asked, pace.only)
    seen = settled(probe(suite, wanted, "B4", pace), wanted, lambda part: probe(suite, part, "B4", pace))
    found = [one.model_dump(mode="json") for one in (recorder.since(mark) if recorder else []) if one.proto == "dns"]
    return [*dumps, *seen, Dump(batch="B4", vantage="recorder", place="router", what="dns", data=found)]


def _b5(suite: Suite, _run: Path, pace: Pace) -> list[Observation]:
    gates = suite.gates
    router = suite.attached.lab.router
    if router is None:
        return []
    recorder = Recorder(router)
    mark = recorder.mark()
    port, expect = secrets.choice(outward.SOURCE_PORTS), suite.attached.variant.expect
    asked = planned(suite.inventory, lambda there: outward.egress(there, expect, gates, port))
    seen = probe(suite, asked, "B5", pace)
    if pace.only is None or "inbound" in pace.only.purposes:
        single = replace(pace, retries=0)
        seen += observe_inbound(suite, lambda wanted: probe(suite, wanted, "B5", single, deadline=INBOUND))
    public = {str(world.public(family)) for family in suite.inventory.families}
    arrived = [
        one
        for one in recorder.since(mark)
        if one.dst in public and transport_of(one.proto) in {"tcp", "udp", "icmp"} and one.nonce
    ]
    data = [one.model_dump(mode="json") for one in arrived]
    return [*seen, Dump(batch="B5", vantage="recorder", place="router", what="sightings", data=data)]


def _b6(suite: Suite, _run: Path, pace: Pace) -> list[Observation]:
    """Where policies are enforced after all others: nothing else is looked at while they hold."""
    if not suite.gates.get("policies") or pace.policies == {kubelet.CHECK}:
        return []
    return observe_policies(suite, ENFORCED, pace.policies)


def _probed(suite: Suite, journal: Journal, pace: Pace) -> list[Observation]:
    """What kubelets see of new pods, when all else was seen: to make a pod can repair what is broken on its node."""
    open_ = all(suite.gates.get(gate) for gate in ("policies", "kubelet"))
    if not open_ or (pace.policies and kubelet.CHECK not in pace.policies):
        return []
    with journal.step("test.observe.kubelet", "B6: probes of kubelets"):
        return [*kubelet.observe_kubelet(suite, pace.deadlines["B6"])]


def _b7(suite: Suite, _run: Path, pace: Pace) -> list[Observation]:
    """The plugins of all nodes: they are the same, and what they find on their nodes is not."""
    if not suite.gates.get("verbs"):
        return []
    attached = suite.attached
    many = pace.only is None or "attachments" in pace.only.subjects
    return [*observe_all(attached.lab.nodes, attached.variant, suite.inventory.families, many=many)]


def wait_for_proxy(suite: Suite, journal: Journal) -> None:
    """Wait until every node's proxy has programmed the suite's Services.

    Services that never answer are no reason to stop: the judges will say so.
    """
    asked = planned(suite.inventory, plan.programmed)
    if not any(asked.values()):
        return
    with journal.step("test.proxy", "virtual addresses programmed") as detail:
        for elapsed in timeouts.ticks(PROXY_READY, 0.1):
            seen = probe(suite, asked, "B3", Pace(retries=0), deadline=0.4)
            silent = [one for one in seen if isinstance(one, Exchange) and one.outcome != "ok"]
            detail["seconds"] = round(elapsed, 2)
            detail["silent"] = len(silent)
            if not silent:
                return
