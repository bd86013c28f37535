"""`cnilab why --kubeconfig`: kernels of a cluster that nobody here made, read by probes, which are gone afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from conformance.inventory import NodeFact
from harness.cluster.execute import PodRunner
from harness.cluster.stream import Place
from harness.cni.recognise import Recognised
from harness.components.lock import architecture
from harness.errors import PreflightError, UsageError
from harness.model.journal import Journal
from harness.model.spec import LabSpec
from harness.probes.sandboxes import Sandbox
from harness.providers.existing import probe
from harness.providers.existing.probe import ExistingLab
from harness.providers.existing.rights import ASKING, Part
from harness.providers.existing.survey import NodeInfo
from harness.runner import CommandError
from harness.steps.existing import stay
from harness.steps.existing.deploy import kubectl
from harness.steps.existing.described import described_before
from harness.steps.existing.ends import nodes_of
from harness.steps.existing.look import Look, Nodes
from harness.steps.existing.pods import left_out
from harness.steps.existing.preflight import Survey, Wish, examine
from harness.steps.existing.run import clear_leftovers
from harness.steps.existing.send import Program, Sender
from harness.steps.existing.stay import Stay
from harness.steps.lifecycle.attach import Attached
from harness.steps.why import look as whys
from harness.steps.why import survey as whole
from harness.steps.why.answer import Answer, why
from harness.steps.why.ends import Question
from harness.steps.why.look import Around

NEEDED: Final[tuple[Part, ...]] = ("namespaces", "nodes", "probes", "flows")
"""What a user must be allowed, so that kernels can be read at all."""

_IMAGE: Final = "set the image of the toolbox for that architecture with --node-image"
_FLANNEL: Final = "/run/flannel/subnet.env"
_UNMASKED: Final = "FLANNEL_IPMASQ=false"


@dataclass(frozen=True)
class Surveyed:
    """What is to be said of an existing cluster.

    Args:
        survey: The same as of one of ours.
        nodes: Names of those whose kernels were read.
        left_out: Other nodes of the sample, and why.
    """

    survey: whole.Survey
    nodes: tuple[str, ...]
    left_out: Mapping[str, str]


def examined(wish: Wish) -> Survey:
    """Whether kernels of a cluster can be read; changes nothing.

    Args:
        wish: What the user asks for.

    Raises:
        UsageError: The kubeconfig, the context, or another option is wrong.
        PreflightError: The cluster cannot be reached, or does not allow what is needed; names it.
    """
    if wish.pods_only:
        msg = "kernels of nodes can only be read by privileged probes, and --pods-only allows none"
        step = "leave it out, or measure from pods alone: cnilab test --kubeconfig … --pods-only"
        raise UsageError(msg, next_step=step)
    found = examine(wish, ASKING)
    lacking = [right for part in NEEDED for right in found.rights.lacking(part)]
    if lacking:
        msg = f"user '{found.access.user}' lacks rights that are needed to read kernels"
        told = (f"not allowed: {right} {found.rights.denied[right]}".strip() for right in lacking)
        step = "give this user the ClusterRole in docs/why.md, or use an administrator's kubeconfig"
        raise PreflightError(msg, cause="\n".join(told), where=found.access.server, next_step=step)
    if not found.chosen:
        msg = "there is no node whose kernel can be read"
        said = "\n".join(f"{one.name} {one.obstacle}" for one in (found.nodes or ())[:10]) or "there is no node"
        raise PreflightError(msg, cause=said, where=found.access.server, next_step="kubectl get nodes -o wide")
    return found


def why_existing(
    found: Survey, question: Question, *, journal: Journal, program: Program, trace: bool = False
) -> Answer:
    """Follow a flow there and back: only the nodes of its ends, and of a Service's endpoints, get probes.

    Args:
        found: What the preflight found.
        question: The flow.
        journal: Gets steps.
        program: What is sent to probes.
        trace: Trace the flow's own packets in the kernels.

    Raises:
        UsageError: An end is not there, or not in this family.
        PreflightError: The cluster, or a node, does not take probes.
        CnilabError: The probes do not become ready, or something could not be removed.
    """
    with journal.step("existing.ends", f"nodes of {question.source} and {question.target}") as detail:
        nodes = nodes_of(found, whys.api(found.kube), question)
        detail["nodes"] = [one.name for one in nodes]
    if unfit := _unfit(found, nodes):
        name, reason = next(iter(unfit.items()))
        msg = f"probes cannot run on node {name}"
        raise PreflightError(msg, cause=reason, next_step=_IMAGE)
    with _probed(replace(found, chosen=nodes), journal, program) as (attached, around):
        return why(attached, question, journal=journal, around=around, trace=trace)


def survey_existing(found: Survey, *, journal: Journal, program: Program) -> Surveyed:
    """What is wrong between pods and nodes of a sample, and with their ways to Services.

    Args:
        found: What the preflight found.
        journal: Gets steps.
        program: What is sent to probes.

    Raises:
        PreflightError: The cluster does not take probes.
        CnilabError: The probes do not become ready, or something could not be removed.
    """
    unfit = _unfit(found, found.chosen)
    nodes = tuple(one for one in found.chosen if one.name not in unfit)
    if not nodes:
        msg = "probes cannot run on any node of the sample"
        raise PreflightError(msg, cause=left_out(unfit), next_step=_IMAGE)
    with _probed(replace(found, chosen=nodes), journal, program) as (attached, around):
        return Surveyed(whole.survey(attached, journal, around=around), attached.spec.node_names, unfit)


def _unfit(found: Survey, nodes: Sequence[NodeInfo]) -> dict[str, str]:
    """Nodes for which nothing can be sent, and why."""
    if not stay.sends_kit(replace(found, chosen=tuple(nodes))):
        return {}
    ours = architecture()
    others = {one.name: one.architecture for one in nodes if one.architecture not in {"", ours}}
    return {name: f"it runs {theirs}, but the programs to send are for {ours}" for name, theirs in others.items()}


@contextmanager
def _probed(found: Survey, journal: Journal, program: Program) -> Iterator[tuple[Attached, Around]]:
    """The cluster as one that can be asked, while the body runs; nothing is left, whatever happens."""
    clear_leftovers(found, journal)
    with stay.stay(found, journal, probes_only=True) as here:
        sender = Sender(here, PodRunner(found.access, Place("", "")), program, journal)
        eye = Look(here, sender.enter, sender)
        if here.kit:
            sender.choose()
        places = {one.name: one.address for one in found.chosen}
        with journal.step("existing.probes", f"privileged probes on {len(places)} nodes"):
            here.create([here.mark.put(probe.daemon_set(here.probes, here.probe_pod()["spec"], places), here.probes)])
            nodes = eye.reached(places)
        with journal.step("existing.look", "nodes and network of the cluster") as detail:
            known = eye.recognised(nodes, dns=True)
            detail |= {"network": known.variant.name, "by": known.why}
            there = _attached(here, eye, nodes, known)
        yield there


def _attached(here: Stay, eye: Look, nodes: Nodes, known: Recognised) -> tuple[Attached, Around]:
    """What was found of a cluster, in the form in which ours are known."""
    found = here.found
    places = {one.name: one.address for one in found.chosen}
    seconds = {one.name: one.address_of(family) for family in found.families[1:] for one in found.chosen}
    pods = [one for one in (nodes.found.sandboxes if nodes.found else ()) if not one.host_network]
    addresses = [address for one in pods for address in one.ips] or list(places.values())
    spec = eye.described(described_before(found, places, seconds), known, nodes, pods=addresses, domain="")
    variant = known.variant.among(spec.families)
    lab = ExistingLab(spec.name, nodes.nodes, found.wish.kubeconfig)
    attached = Attached(spec, variant, lab, found.kube, kubectl(found), Path(), None)
    environment = eye.environment()
    if _unmasked(nodes):
        here.closed["masq"] = f"flannel was told not to masquerade ({_UNMASKED})"
        environment["masq"] = False
    facts = tuple(_fact(one, spec, nodes, pods, variant.expect.link_mtu(0)) for one in found.chosen)
    return attached, Around(facts, environment, dict(here.closed))


def _unmasked(nodes: Nodes) -> bool:
    """The agent of flannel leaves packets that go out as pods send them."""
    for node in nodes.nodes:
        with suppress(CommandError):
            return _UNMASKED in node.file(_FLANNEL)
    return False


def _fact(node: NodeInfo, spec: LabSpec, nodes: Nodes, pods: Sequence[Sandbox], less: int) -> NodeFact:
    """A node as data. Its MTU is the one that its pods' links tell: who set them up knew what the network takes."""
    links = Counter(
        link.mtu for one in pods if one.node == node.name for link in one.interfaces if link.name == "eth0" and link.mtu
    )
    usual = next((mtu - less for mtu, _ in links.most_common(1)), 0)
    return NodeFact(
        name=node.name,
        address=node.address,
        addresses=tuple(map(str, spec.all_addresses(node.name))),
        pod_cidr=node.pod_cidr,
        pod_cidrs=node.pod_cidrs,
        mtu=usual or nodes.nic(node.name, node.address)[2],
    )
