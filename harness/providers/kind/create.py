"""Makes a cluster with kind, and a router beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from harness import machines, timeouts
from harness.containerd import import_missing
from harness.errors import BringUpError, PreflightError
from harness.model import firstly, labstate
from harness.model.family import Family
from harness.model.journal import Journal, now
from harness.model.labstate import LabDir
from harness.model.spec import MIN_IPV6_MTU, LabSpec
from harness.providers.kind import clients, outside, provider, state
from harness.providers.kind.answers import KIND, Container, DockerNetwork, EngineError
from harness.providers.kind.engine import Engine
from harness.providers.kind.node import KindLab, KindNode
from harness.providers.kind.provider import in_order, pid_of
from harness.runner import WITH_US, CommandError, Completed, HostRunner, stop

TOOLS = "/opt/cnilab/bin"

Early = Callable[[LabSpec, str, Callable[[], bool]], None]


@dataclass(frozen=True)
class KindMaterials:
    """Prepared files that nodes get.

    Args:
        programs: Directory of programs for this machine: `kind` and `kubectl` among them.
        responder: The responder program, for nodes and router.
        cni: Directory of the CNI plugins.
        image: Node image, full name.
        loads: Full name of an image to its archive: what nodes get unless they have it.
        file_systems: Directory of a node to the type of file system that must be mounted there before agents start.
    """

    programs: Path
    responder: Path
    cni: Path
    image: str
    loads: Mapping[str, Path]
    file_systems: Mapping[str, str] = field(default_factory=dict)


def claim(place: LabDir, spec: LabSpec, run: Path | None) -> state.KindState:
    """Take a lab's name: its state file exists from here on.

    Raises:
        PreflightError: A lab or a cluster of this name is there.
    """
    labstate.require_free(place)
    fresh = state.KindState(
        name=spec.name,
        created=now(),
        spec=spec,
        owner=os.getpid(),
        run=str(run or ""),
        host=os.environ.get("DOCKER_HOST", ""),
        network=state.network_name(place),
    )
    labstate.write(place, fresh)
    return fresh


def name_is_free(engine: Engine, spec: LabSpec) -> None:
    """Insist on that kind has no cluster of that name; kind's names are the engine's, not a state directory's.

    Raises:
        PreflightError: It has one.
    """
    taken = engine.containers({KIND: spec.name})
    if taken:
        msg = f"kind already has a cluster named '{spec.name}'"
        raise PreflightError(
            msg,
            cause=f"containers: {', '.join(sorted(one.name for one in taken))}",
            next_step=f"choose another name with --name, or remove it: kind delete cluster --name {spec.name}",
        )


def guarded(engine: Engine, place: LabDir, image: str) -> str:
    """A node image whose nodes leave the machine's settings alone: those of kind's own images write to them.

    Args:
        engine: Has the image.
        place: Directories of the lab.
        image: Full name.

    Returns:
        The image itself, where it was made so; else one of this lab alone, which is removed with it.

    Raises:
        EngineError: The engine could not make it.
    """
    there = engine.entry_point(image)
    if firstly.PROGRAM in there:
        return image
    program = place.path / Path(firstly.PROGRAM).name
    program.write_text(firstly.script(), encoding="utf-8")
    name = state.image_name(place)
    files = {firstly.PROGRAM.lstrip("/"): program}
    engine.derive(image, name, state.labels(place), files, firstly.entry_point(there))
    return name


def make_network(engine: Engine, place: LabDir, spec: LabSpec) -> DockerNetwork:
    """The network of the nodes: the spec's addresses where they are free, else others.

    The MTU is the spec's, but never more than that of the engine's own default network.

    Raises:
        EngineError: The engine cannot make it; or it would have an MTU with which there is no IPv6.
    """
    mtu, six = min(spec.underlay.mtu, engine.default_mtu()), "ipv6" in spec.families
    if six and mtu < MIN_IPV6_MTU:
        msg = "the engine's networks have no room for IPv6"
        cause = f"MTU {mtu} of its network 'bridge', but IPv6 needs links of {MIN_IPV6_MTU} bytes"
        raise EngineError(msg, cause=cause, next_step="set a larger mtu in /etc/docker/daemon.json")
    # Every network of the engine's has IPv4, which a lab of IPv6 alone leaves to kind: its way to the API server.
    wanted = (spec.underlay.cidr, *((spec.underlay.cidr6,) if six else ()))
    subnets = [engine.free(one) for one in wanted]
    return engine.make_network(state.network_name(place), state.labels(place), mtu, subnets)


def resolved(spec: LabSpec, network: DockerNetwork, nodes: Sequence[Container]) -> LabSpec:
    """The spec with what the engine decided: addresses, MTU, and names of the nodes.

    Args:
        spec: As asked for.
        network: The nodes' network.
        nodes: kind's containers.
    """
    found = [{one.name: str(one.address_of(family)) for one in sorted(nodes, key=in_order)} for family in spec.families]
    data = spec.model_dump(mode="json")
    underlay = {**data["underlay"], "cidr": str(network.subnet), "mtu": network.mtu, "nic": "eth0"}
    underlay |= {"cidr6": str(network.subnet6)} if network.subnet6 else {}
    addresses = dict(zip(("node_addresses", "second_addresses"), found, strict=False))
    return LabSpec.model_validate({**data, "underlay": underlay, **addresses})


def create(
    engine: Engine,
    place: LabDir,
    spec: LabSpec,
    config: str,
    materials: KindMaterials,
    journal: Journal,
    early: Early,
) -> tuple[state.KindState, KindLab]:
    """Make the network, the cluster and the router of a claimed lab.

    Args:
        engine: Where.
        place: Directories of the lab; `claim` was called for it.
        spec: The lab.
        config: kind's configuration.
        materials: Prepared files.
        journal: Gets a step for every part.
        early: Called, in a thread of its own, when the first node has an API server: with the spec as it is now, a
            kubeconfig, and what says whether kind is still at work.

    Raises:
        BringUpError: kind failed.
        EngineError: The engine refused something.
    """
    network = make_network(engine, place, spec)
    (place.path / "kind.yaml").write_text(config, encoding="utf-8")
    with ThreadPoolExecutor(2) as pool:
        # The router is the network's first address, so it cannot meet an address that the engine gave a node.
        around = pool.submit(outside.create, engine, place, spec, network, materials)
        with journal.step("up.machines", f"kind creates {spec.nodes} nodes"):
            _kind_create(engine, place, spec, materials, network, early)
        router = around.result()
    known = state.read(place)
    if known is None:
        msg = f"cluster '{place.name}' was taken down during its bring-up"
        raise BringUpError(msg)
    nodes = engine.on_network(network.name, {KIND: spec.name})
    known = known.model_copy(
        update={
            "spec": resolved(spec, network, nodes),
            "image": materials.image,
            "programs": str(materials.programs),
            "machines": tuple(_machine(one, spec.primary) for one in (*sorted(nodes, key=in_order), router)),
        }
    )
    labstate.write(place, known)
    lab = provider.lab_of(place, known)
    with journal.step("up.wires", "routes to the outside world, tools and images"), ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: _prepare(engine, node, known.spec, materials), lab.nodes))
    return known, lab


def _machine(container: Container, family: Family) -> state.MachineState:
    address = container.address_of(family) or IPv4Address(0)
    name = container.name if container.role else outside.ROUTER
    return state.MachineState(name=name, address=address, id=container.id, pid=pid_of(container))


def _kind_create(
    engine: Engine, place: LabDir, spec: LabSpec, materials: KindMaterials, network: DockerNetwork, early: Early
) -> None:
    """Run kind to its end, and say when the first node has an API server: the rest can start then.

    Raises:
        BringUpError: kind failed.
    """
    argv = (
        # It ends with us, where it can: a crash leaves less to end for `down`.
        *(WITH_US if shutil.which(WITH_US[0]) else ()),
        materials.programs / "kind",
        *("create", "cluster", "--name", place.name, "--config", place.path / "kind.yaml"),
        # Retained after a failure: its logs say why; `down` takes it away.
        *("--kubeconfig", place.kubeconfig, "--retain"),
    )
    log = place.path / "kind.log"
    with log.open("wb") as file:
        process = HostRunner().start(argv, stdout=file, stderr=file, env=clients.settings(place))
        try:
            _watch(engine, place, spec, materials, network, early, process)
            in_time = process.poll() is not None
        finally:
            stop(process)
    said = log.read_text(encoding="utf-8", errors="replace")
    if not in_time:
        raise kind_is_late(said, place)
    if process.returncode:
        raise kind_failed(Completed(tuple(map(str, argv)), process.returncode, "", said), place)


def _watch(
    engine: Engine,
    place: LabDir,
    spec: LabSpec,
    materials: KindMaterials,
    network: DockerNetwork,
    early: Early,
    process: subprocess.Popen[bytes],
) -> None:
    """Wait for kind; tell `early` once."""
    with ThreadPoolExecutor(1) as pool:
        told: Future[None] | None = None
        for _ in timeouts.ticks(timeouts.PLAYBOOK, 0.2, 0.5):
            if process.poll() is not None:
                break
            nodes = [] if told else engine.on_network(network.name, {KIND: spec.name})
            if len(nodes) == spec.nodes and (text := _kubeconfig(place, materials, nodes)):
                now = resolved(spec, network, nodes)
                for node in nodes:
                    machines.mount(_node(node), materials.file_systems)
                told = pool.submit(early, now, text, lambda: process.poll() is None)
        if told is not None:
            told.result()


def _node(container: Container) -> KindNode:
    return KindNode(container.name, IPv4Address(0), container.id, pid_of(container))


def _kubeconfig(place: LabDir, materials: KindMaterials, nodes: Sequence[Container]) -> str:
    """The kubeconfig that kind would write, as soon as kubeadm has made its own; empty before."""
    try:
        _node(min(nodes, key=in_order)).file("/etc/kubernetes/admin.conf")
    except CommandError:
        return ""
    done = HostRunner().run((materials.programs / "kind", "get", "kubeconfig", "--name", place.name), check=False)
    return done.stdout if done.ok else ""


def kind_is_late(said: str, place: LabDir) -> BringUpError:
    """The error of a kind that had to be ended.

    Args:
        said: What it said.
        place: The lab's directories.
    """
    msg = f"waited {timeouts.stretched(timeouts.PLAYBOOK):.0f} s for kind to make the cluster"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return BringUpError(
        msg,
        cause=f"last seen: {lines[-1] if lines else 'kind printed nothing'}",
        next_step="if this machine is slow, extend all deadlines with CNILAB_TIMEOUT_SCALE=4",
        log=str(place.path / "kind.log"),
    )


def kind_failed(done: Completed, place: LabDir) -> BringUpError:
    """What a failure of kind means, and what to do.

    Args:
        done: What kind said.
        place: The lab's directories.
    """
    lines = [line.strip().removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.strip()]
    first = next((number for number, line in enumerate(lines) if line.startswith("failed to create")), -1)
    cause = "\n".join(dict.fromkeys((*lines[first : first + 1], *lines[-1:])))
    text = done.stderr
    step = "see the node's log, which is collected"
    if "port is already allocated" in text or "address already in use" in text:
        step = "another program uses the port that kind chose: try again"
    elif "already exist for a cluster" in text:
        step = f"kind delete cluster --name {place.name}, or another name: --name"
    elif "failed to pull image" in text:
        step = "cnilab components build-node-image"
    elif "could not find a log line that matches" in text:
        step = "the node's systemd did not start: 'cnilab doctor --provider kind' checks the cgroups"
    return BringUpError(
        "kind could not make the cluster", cause=cause, next_step=step, log=str(place.path / "kind.log")
    )


def _unfilter(node: KindNode) -> None:
    """Take reverse path filters off all links that a node will have, and then off those that it has."""
    node.runner.run(outside.unfiltered(("default",)))
    names = node.runner.run(["ls", "/proc/sys/net/ipv4/conf"]).stdout.split()
    node.runner.run(outside.unfiltered(names))


def _prepare(engine: Engine, node: KindNode, spec: LabSpec, materials: KindMaterials) -> None:
    """Give a node what every node of a lab has: the way outside, the responder, CNI plugins, images."""
    runner = node.runner
    _unfilter(node)  # the network is there already, and may have made its links
    for argv in (*outside.node_commands(spec), *machines.log_commands("containerd")):
        runner.run(argv)
    # In this order: who starts in between must find the other nodes by the one or by the other.
    runner.run(["tee", "-a", "/etc/hosts"], input=outside.hosts(spec))
    runner.run(["tee", "/etc/resolv.conf"], input=outside.resolver(spec))
    there = set(runner.run(["ls", TOOLS, "/opt/cni/bin"], check=False).stdout.split())
    wanted = {f"{TOOLS.lstrip('/')}/responder": materials.responder}
    wanted |= {f"opt/cni/bin/{path.name}": path for path in sorted(materials.cni.iterdir())}
    missing = {name: path for name, path in wanted.items() if Path(name).name not in there}
    if missing:
        runner.run(["mkdir", "-p", TOOLS, "/opt/cni/bin"])
        engine.put(node.container, "/", missing)
    # Not 'kind load', which reads containerd's configuration and gives up on a version that it does not know.
    import_missing(node, materials.loads)
