"""A lab as faults see it: ways into places, preconditions, and names with their values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from conformance.context import Context
from conformance.inventory import NAMESPACE
from conformance.netfilter import Flow, parse, verdicts
from conformance.page import GATES
from conformance.policy.cases import PREFIX
from harness.cni import networks
from harness.errors import UsageError
from harness.faults.inject import Scene
from harness.faults.model import Fault
from harness.model.family import TITLE
from harness.model.records import FaultOutcome
from harness.model.spot import Spot
from harness.probes import sandboxes
from harness.runner import Runner
from harness.steps.faults.names import rules, values
from harness.steps.suite.deploy import Suite


def scene(suite: Suite, context: Context) -> Scene:
    """Names, runners and programs for a lab.

    Args:
        suite: The deployed suite.
        context: Green observations of one family, with the dumps of B0.
    """
    found = {name: runner for place in PLACES for name, runner in place.runners(suite, context)}

    def spot(name: str) -> Spot:
        if name not in found:
            msg = f"no place '{name}'"
            raise UsageError(msg)
        return Spot(name, name, found[name])

    return Scene(
        place=spot,
        values=values(suite, context),
        agents=networks.network(suite.attached.variant).agents,
        nodes=tuple(node.name for node in suite.inventory.nodes),
    )


@dataclass(frozen=True)
class Place:
    """Where an action can run.

    Args:
        form: As the documentation has it.
        meaning: What runs there, and how.
        runners: Gives the places of a lab, each with the way in.
    """

    form: str
    meaning: str
    runners: Callable[[Suite, Context], Iterator[tuple[str, Runner]]]


def _nodes(suite: Suite, _: Context) -> Iterator[tuple[str, Runner]]:
    yield from ((node.name, node.runner) for node in suite.attached.lab.nodes)


def _pods(suite: Suite, _: Context) -> Iterator[tuple[str, Runner]]:
    for site in suite.inventory.pods:
        yield site.name, suite.sandboxes.netns_runner(suite.sandboxes.find(NAMESPACE, site.pod))


def _policed(suite: Suite, context: Context) -> Iterator[tuple[str, Runner]]:
    """Network namespaces of the pods on which policies are tried, when they are there: they came after the others."""
    if context.attempt("api", "cluster", "policy") is None:
        return
    found = sandboxes.take(suite.attached.lab)
    for one in found.sandboxes:
        if one.namespace.startswith(PREFIX):
            yield f"{one.namespace.removeprefix(PREFIX)}/{one.pod}", found.netns_runner(one)


def _kubectl(suite: Suite, _: Context) -> Iterator[tuple[str, Runner]]:
    yield "kubectl", suite.attached.kubectl


PLACES: Final = (
    Place("n1", "a node: the command runs in all its namespaces", _nodes),
    Place("a", "a pod of the suite: programs of its node run in the pod's network namespace", _pods),
    Place("x/a", "a pod of a policy's case, by namespace and name; likewise", _policed),
    Place("kubectl", "the cluster's API: the words are kubectl's", _kubectl),
)
"""Every place that an action can name."""


@dataclass(frozen=True)
class Precondition:
    """What a fault may need of a cluster beside its gates.

    Args:
        meaning: When it holds.
        holds: Says so, from green observations.
        inert: Without it the fault can be injected and changes nothing; otherwise there is nothing to inject it into.
    """

    meaning: str
    holds: Callable[[Context], bool]
    inert: bool = False


def _bridged_traffic_filtered(context: Context) -> bool:
    sysctls = context.attempt("node", context.inventory.nodes[0].name, "sysctl") or {}
    return str(sysctls.get("net.bridge.bridge-nf-call-iptables")) == "1"


def _proxy_has_iptables(context: Context) -> bool:
    return context.gates.get("kp", False) and context.spec.kubernetes.proxy_mode == "iptables"


def _has_legacy(context: Context) -> bool:
    """The program ran on the first node, and the kernel names its tables, of which there may be none yet."""
    node = context.inventory.nodes[0].name
    named = context.attempt("node", node, "legacy-tables") or {}
    return isinstance(context.attempt("node", node, "rules-legacy"), str) and "error" not in named and bool(named)


def _depends_on_policy(context: Context) -> bool:
    """True when only the policy of FORWARD lets pods' traffic pass."""
    dropping = rules(context).replace(":FORWARD ACCEPT", ":FORWARD DROP")
    src, dst = context.inventory.pods[0].ip, context.inventory.pods[-1].ip
    away = context.expect.overlay_device or context.spec.cluster_nic
    flow = Flow(src, dst, context.expect.bridge or "", away)
    return verdicts(parse(dropping), "filter", "FORWARD", flow) == {"drop"}


SITUATIONS: Final[Mapping[str, Precondition]] = {
    "three": Precondition("the cluster has three nodes or more", lambda context: len(context.inventory.nodes) > 2),
    "routed": Precondition(
        "nodes have routes to other nodes' pods", lambda context: context.expect.remote_route != "none"
    ),
    "brnf": Precondition(
        "iptables sees bridged packets (bridge-nf-call-iptables is 1)", _bridged_traffic_filtered, inert=True
    ),
    "kp-iptables": Precondition("kube-proxy runs in mode iptables", _proxy_has_iptables),
    "portmap-iptables": Precondition(
        "the plugin portmap has its chains in iptables", lambda context: ":CNI-HOSTPORT-DNAT" in rules(context)
    ),
    "netfilter": Precondition(
        "packets of pods pass the netfilter of nodes, and no eBPF program takes them around it",
        lambda context: context.expect.masquerade != "bpf",
        inert=True,
    ),
    "open-forward": Precondition(
        "only the policy of FORWARD lets traffic of pods pass", _depends_on_policy, inert=True
    ),
    "legacy": Precondition("nodes have iptables-legacy, and the kernel has its tables", _has_legacy),
}
"""What a fault can need beside gates: `model.Situation`."""


def missing(fault: Fault, context: Context) -> list[str]:
    """Preconditions of a fault that this lab does not have."""
    if fault.family not in context.inventory.families:
        return [f"{TITLE[fault.family]} addresses of pods"]
    return [need for need in fault.needs if not _holds(need, context.of(fault.family))]


def absent(fault: Fault, context: Context) -> tuple[FaultOutcome, str] | None:
    """Why a lab cannot show a fault, and what its record says then; None where it can.

    Without a place for it, it is not applicable. Where it could be made and would change nothing, it is equivalent.
    """
    needs = missing(fault, context)
    if not needs:
        return None
    inert = all(need in SITUATIONS and SITUATIONS[need].inert for need in needs)
    meanings = {name: one.meaning for name, one in SITUATIONS.items()} | GATES
    why = "; ".join(f"not so here: {meanings[need]}" if need in meanings else f"no {need}" for need in needs)
    return ("equivalent" if inert else "not-applicable"), why


def _holds(need: str, context: Context) -> bool:
    found = SITUATIONS.get(need)
    return found.holds(context) if found else context.gates.get(need, False)
