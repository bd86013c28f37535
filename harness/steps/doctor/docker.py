"""Checks of `doctor` that concern clusters on kind: the Docker engine, its command line, and a node image."""

from __future__ import annotations

from harness.cni.catalogue import variant
from harness.errors import CnilabError
from harness.providers.kind.answers import EngineFacts
from harness.steps.doctor.model import Answer, Plan, Question

_NAMESPACES = "omit --provider: provider namespaces needs no Docker"


def _engine(plan: Plan) -> Answer:
    try:
        facts = plan.host.docker()
    except CnilabError as error:
        return Answer(ok=False, detail=f"{error.what}: {error.cause}".rstrip(": "), fix=error.next_step)
    if facts.too_old:
        return Answer(ok=False, detail=f"{facts} is too old for kind", fix="use an engine of version 20.10 or later")
    if facts.rootless and facts.cgroups == "1":
        return Answer(
            ok=False, detail=f"{facts}: kind requires cgroup v2 with a rootless engine", fix="use a rootful engine"
        )
    return _with_bpf(facts, plan.spec.cni) or Answer(ok=True, detail=str(facts))


def _with_bpf(facts: EngineFacts, name: str) -> Answer | None:
    """What keeps agents that load BPF from working in kind's nodes; None where nothing does."""
    if "bpf" not in variant(name).needs:
        return None
    if not facts.gives_bpf:
        detail = f"{facts} gives kind's nodes no CAP_BPF and CAP_PERFMON, but {name}'s agent needs them"
        return Answer(ok=False, detail=detail, fix=f"use an engine of version 23 or later, or {_NAMESPACES}")
    if facts.cgroups == "1":
        # Nodes would share the root of the only cgroup v2 there is, the machine's, and all its programs with it.
        detail = f"{facts}: kind's nodes have no cgroup v2 of their own, to which {name}'s agent attaches programs"
        return Answer(ok=False, detail=detail, fix=f"use a machine with only cgroup v2, or {_NAMESPACES}")
    return None


def _command(plan: Plan) -> Answer:
    path = plan.host.which("docker")
    return Answer(path is not None, path or "not found")


def _image(plan: Plan) -> Answer:
    try:
        found = plan.host.node_image(plan.spec.kubernetes.version)
    except CnilabError as error:
        return Answer(ok=False, detail=error.what)
    return Answer(bool(found), found or "the engine has none; up pulls the image that kind publishes")


def _ipv6(plan: Plan) -> Answer:
    try:
        refused = plan.host.docker_ipv6()
    except CnilabError as error:
        return Answer(ok=False, detail=f"{error.what}: {error.cause}".rstrip(": "), fix=error.next_step)
    # A kernel without IPv6 is the usual reason, and the engine's words for it are about a file or a route.
    if refused and plan.host.exists("/proc/self/net") and not plan.host.exists("/proc/net/if_inet6"):
        refused += "; this machine's kernel has no IPv6: /proc/net/if_inet6 does not exist"
    return Answer(not refused, refused or "made a network with IPv6, and removed it")


CHECKS: tuple[Question, ...] = (
    Question("docker", "Docker engine", "info", "no clusters on kind", _NAMESPACES, _engine),
    Question(
        "docker-cli",
        "docker on PATH",
        "info",
        "no clusters on kind, because kind runs docker",
        "apt-get install docker.io, or docker-cli where that is a package of its own (Debian 13)",
        _command,
    ),
    Question(
        "docker-ipv6",
        "IPv6 of the Docker engine",
        "blocks",
        "nodes of kind have no IPv6 addresses",
        'modprobe ip6table_nat, or set "ip6tables": false in /etc/docker/daemon.json, or use ipFamily ipv4',
        _ipv6,
        provider="kind",
        family="ipv6",
    ),
    Question(
        "docker-image",
        "kind's node image",
        "info",
        "up pulls 400 MB, or fails if no registry can be reached",
        "cnilab components build-node-image",
        _image,
    ),
)
