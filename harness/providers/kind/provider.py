"""The kind provider: makes a cluster with kind, and a router beside it; finds them again, and takes them away."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from harness import timeouts
from harness.errors import BringUpError, CnilabError, PreflightError, UsageError
from harness.model import labstate, world
from harness.model.journal import Journal, now
from harness.model.labstate import LabDir, no_such_lab
from harness.model.spec import LabSpec
from harness.providers.kind import engine as docker
from harness.providers.kind import outside, state
from harness.providers.kind.engine import Container, Engine, Network
from harness.providers.kind.node import KindLab, KindNode, is_local
from harness.runner import CommandError, Completed, HostRunner, stop

TOOLS = "/opt/cnilab/bin"
SERVICES = ("kubelet", "containerd")
"""Services of a node that have a log of their own."""


Early = Callable[[LabSpec, str, Callable[[], bool]], None]


@dataclass(frozen=True)
class Materials:
    """Prepared files that nodes get.

    Args:
        programs: Directory of programs for this machine: `kind` and `kubectl` among them.
        responder: The responder program, for nodes and router.
        cni: Directory of the CNI plugins.
        image: Node image, full name.
        loads: Full name of an image to its archive: what nodes get unless they have it.
    """

    programs: Path
    responder: Path
    cni: Path
    image: str
    loads: Mapping[str, Path]


def claim(place: LabDir, spec: LabSpec, run: Path | None) -> state.LabState:
    """Take a lab's name: its state file exists from here on.

    Raises:
        PreflightError: A lab or a cluster of this name is there.
    """
    labstate.require_free(place)
    fresh = state.LabState(
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
    taken = engine.containers({docker.KIND: spec.name})
    if taken:
        msg = f"kind has a cluster named '{spec.name}' already"
        raise PreflightError(
            msg,
            cause=f"containers: {', '.join(sorted(one.name for one in taken))}",
            next_step=f"choose another name with --name, or remove it: kind delete cluster --name {spec.name}",
        )


def make_network(engine: Engine, place: LabDir, spec: LabSpec) -> Network:
    """The network of the nodes: the spec's addresses where they are free, else others.

    The MTU is the spec's, but never more than that of the engine's own default network.
    """
    mtu = min(spec.underlay.mtu, engine.default_mtu())
    subnet = None if engine.overlaps(spec.underlay.cidr) else spec.underlay.cidr
    return engine.make_network(state.network_name(place), state.labels(place), mtu, subnet)


def resolved(spec: LabSpec, network: Network, nodes: Sequence[Container]) -> LabSpec:
    """The spec with what the engine decided: addresses, MTU, and names of the nodes.

    Args:
        spec: As asked for.
        network: The nodes' network.
        nodes: kind's containers.
    """
    addresses = {one.name: str(one.address) for one in sorted(nodes, key=_in_order)}
    data = spec.model_dump(mode="json")
    underlay = {**data["underlay"], "cidr": str(network.subnet), "mtu": network.mtu, "nic": "eth0"}
    return LabSpec.model_validate({**data, "underlay": underlay, "node_addresses": addresses})


def _in_order(node: Container) -> tuple[bool, int, str]:
    """The control plane first, then worker, worker2, … worker10."""
    return (node.role != "control-plane", len(node.name), node.name)


def create(
    engine: Engine,
    place: LabDir,
    spec: LabSpec,
    config: str,
    materials: Materials,
    journal: Journal,
    early: Early,
) -> tuple[state.LabState, KindLab]:
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
        around = pool.submit(outside.create, engine, place, network, materials.image, materials.responder)
        with journal.step("up.machines", f"kind makes {spec.nodes} nodes"):
            _kind_create(engine, place, spec, materials, network, early)
        router = around.result()
    known = state.read(place)
    if known is None:
        msg = f"lab '{place.name}' was taken down while it came up"
        raise BringUpError(msg)
    nodes = engine.on_network(network.name, {docker.KIND: spec.name})
    known = known.model_copy(
        update={
            "spec": resolved(spec, network, nodes),
            "image": materials.image,
            "programs": str(materials.programs),
            "machines": tuple(_machine(one) for one in (*sorted(nodes, key=_in_order), router)),
        }
    )
    labstate.write(place, known)
    lab = lab_of(place, known)
    with journal.step("up.wires", "routes to the outside world, tools and images"), ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: _prepare(engine, node, known.spec, materials), lab.nodes))
    return known, lab


def _machine(container: Container) -> state.MachineState:
    address = container.address or IPv4Address(0)
    name = container.name if container.role else outside.ROUTER
    return state.MachineState(name=name, address=address, id=container.id, pid=_pid(container))


def _kind_create(
    engine: Engine, place: LabDir, spec: LabSpec, materials: Materials, network: Network, early: Early
) -> None:
    """Run kind to its end, and say when the first node has an API server: the rest can start then.

    Raises:
        BringUpError: kind failed.
    """
    argv = (
        # It ends with us: what it would make after a crash, `down` has already looked for.
        *(("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()),
        materials.programs / "kind",
        *("create", "cluster", "--name", place.name, "--config", place.path / "kind.yaml"),
        # Retained after a failure: its logs say why; `down` takes it away.
        *("--kubeconfig", place.kubeconfig, "--retain"),
    )
    log = place.path / "kind.log"
    with log.open("wb") as file:
        process = HostRunner().start(
            argv, stdout=file, stderr=file, env={"KIND_EXPERIMENTAL_DOCKER_NETWORK": network.name}
        )
        try:
            _watch(engine, place, spec, materials, network, early, process)
        finally:
            stop(process)
    if process.returncode:
        said = log.read_text(encoding="utf-8", errors="replace")
        raise kind_failed(Completed(tuple(map(str, argv)), process.returncode, "", said), place)


def _watch(
    engine: Engine,
    place: LabDir,
    spec: LabSpec,
    materials: Materials,
    network: Network,
    early: Early,
    process: subprocess.Popen[bytes],
) -> None:
    """Wait for kind; tell `early` once."""
    with ThreadPoolExecutor(1) as pool:
        told: Future[None] | None = None
        for _ in timeouts.ticks(timeouts.PLAYBOOK, 0.2, 0.5):
            if process.poll() is not None:
                break
            nodes = [] if told else engine.on_network(network.name, {docker.KIND: spec.name})
            if len(nodes) == spec.nodes and (text := _kubeconfig(place, materials, nodes)):
                now = resolved(spec, network, nodes)
                told = pool.submit(early, now, text, lambda: process.poll() is None)
        if told is not None:
            told.result()


def _kubeconfig(place: LabDir, materials: Materials, nodes: Sequence[Container]) -> str:
    """The kubeconfig that kind would write, as soon as kubeadm has made its own; empty before."""
    first = min(nodes, key=_in_order)
    try:
        KindNode(first.name, IPv4Address(0), first.id, _pid(first)).file("/etc/kubernetes/admin.conf")
    except CommandError:
        return ""
    done = HostRunner().run((materials.programs / "kind", "get", "kubeconfig", "--name", place.name), check=False)
    return done.stdout if done.ok else ""


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
    step = "the node's log, which is collected, says more"
    if "port is already allocated" in text or "address already in use" in text:
        step = "another program has the port that kind chose: try again"
    elif "already exist for a cluster" in text:
        step = f"kind delete cluster --name {place.name}, or another name: --name"
    elif "failed to pull image" in text:
        step = "cnilab components build-node-image"
    elif "could not find a log line that matches" in text:
        step = "the node's systemd did not start: 'cnilab doctor --provider kind' looks at cgroups"
    return BringUpError(
        "kind could not make the cluster", cause=cause, next_step=step, log=str(place.path / "kind.log")
    )


def _unfilter(node: KindNode) -> None:
    """Take reverse path filters off all links that a node will have, and then off those that it has."""
    node.runner.run(outside.unfiltered(("default",)))
    names = node.runner.run(["ls", "/proc/sys/net/ipv4/conf"]).stdout.split()
    node.runner.run(outside.unfiltered(names))


def _prepare(engine: Engine, node: KindNode, spec: LabSpec, materials: Materials) -> None:
    """Give a node what every node of a lab has: the way outside, the responder, CNI plugins, images."""
    runner = node.runner
    _unfilter(node)  # the network is there already, and may have made its links
    for argv in (*outside.node_commands(spec), *outside.log_commands("containerd")):
        runner.run(argv)
    runner.run(["tee", "/etc/resolv.conf"], input=outside.resolver(spec))
    there = set(runner.run(["ls", TOOLS, "/opt/cni/bin"], check=False).stdout.split())
    wanted = {f"{TOOLS.lstrip('/')}/responder": materials.responder}
    wanted |= {f"opt/cni/bin/{path.name}": path for path in sorted(materials.cni.iterdir())}
    missing = {name: path for name, path in wanted.items() if Path(name).name not in there}
    if missing:
        runner.run(["mkdir", "-p", TOOLS, "/opt/cni/bin"])
        engine.put(node.container, "/", missing)
    listed = runner.run(["ctr", "-n", "k8s.io", "images", "ls", "-q"]).stdout.split()
    for reference, archive in materials.loads.items():
        if reference not in listed:
            load_image(node, archive)


def load_image(node: KindNode, archive: Path) -> None:
    """Give a node an image.

    `kind load image-archive` reads containerd's configuration, and gives up on a version that it does not know; ctr is
    the containerd's own.

    Raises:
        BringUpError: containerd refused it.
    """
    argv = ("ctr", "-n", "k8s.io", "images", "import", "-")
    with archive.open("rb") as file:
        process = node.runner.start(argv, stdin=file, stderr=subprocess.PIPE)
        _, errors = process.communicate(timeout=timeouts.scaled(timeouts.ROLLOUT))
    if process.returncode:
        msg = f"image {archive.stem} could not be loaded into {node.name}"
        raise BringUpError(msg, cause=errors.decode(errors="replace").strip()[-500:])


def lab_of(place: LabDir, known: state.LabState) -> KindLab:
    """The lab that a state file describes."""
    machines = {one.name: KindNode(one.name, one.address, one.id, one.pid) for one in known.machines}
    router = machines.get(outside.ROUTER)
    far = None
    if router is not None:
        far = KindNode(outside.FAR, world.FAR_HOST, router.container, router.pid, outside.FAR_NETNS)
    return KindLab(
        name=known.name,
        nodes=tuple(machines[name] for name in known.spec.node_names if name in machines),
        router=router,
        far=far,
        kubeconfig=place.kubeconfig,
    )


def find(place: LabDir) -> tuple[state.LabState, KindLab]:
    """A lab that is up.

    Raises:
        UsageError: There is none, or some of its containers do not run.
        PreflightError: The engine does not answer.
    """
    known = state.read(place)
    if known is None:
        raise no_such_lab(place)
    engine = Engine(known.host)
    running = {one.id: one for one in containers(engine, place) if one.running}
    dead = [one.name for one in known.machines if one.id not in running]
    if dead or not known.machines:
        msg = f"lab '{place.name}' is broken"
        cause = f"not running: {', '.join(dead)}" if dead else "its bring-up did not end"
        raise UsageError(msg, cause=cause, next_step=f"'cnilab down {place.name}', then 'cnilab up'")
    # A container that was started again has another first process.
    machines = tuple(one.model_copy(update={"pid": _pid(running[one.id])}) for one in known.machines)
    known = known.model_copy(update={"machines": machines})
    return known, lab_of(place, known)


def _pid(container: Container) -> int:
    return container.pid if is_local(container.id, container.pid) else 0


def containers(engine: Engine, place: LabDir) -> list[Container]:
    """All containers of a lab: kind's own on the lab's network, and those with its labels.

    kind's labels have the cluster's name only, which another lab, or a user, may have given to a cluster, too.
    """
    mine = engine.on_network(state.network_name(place), {docker.KIND: place.name})
    return [*sorted(mine, key=_in_order), *engine.containers(state.labels(place))]


def delete(place: LabDir) -> list[str]:
    """Remove a lab, whatever state it is in. Safe to call again, and after a crash at any moment.

    Returns:
        What could not be removed, in words; empty is good.
    """
    try:
        known = state.read(place)
    except UsageError:
        known = None  # a damaged state file must not keep a lab from being removed
    try:
        engine = Engine(known.host if known else "")
    except CnilabError as error:
        # Without a state nothing says that there ever was a container.
        return [f"containers of lab {place.name}: {error.what}, {error.next_step}"] if known else []
    # What was on its way when its maker was killed may come to be while the rest is removed.
    left: list[str] = []
    for _ in timeouts.ticks(timeouts.PROCESS_EXIT, 0.2):
        left = _remove(engine, place)
        if not left and not containers(engine, place):
            break
    if known is not None and not left:
        shutil.rmtree(place.path, ignore_errors=True)
        for parent in (place.state / "labs", place.state):
            _remove_if_empty(parent)
    return left


def _remove(engine: Engine, place: LabDir) -> list[str]:
    left: list[str] = []

    def attempt(what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except CnilabError as error:
            left.append(f"{what}: {error.cause or error.what}")

    found = containers(engine, place)
    with ThreadPoolExecutor(max(1, len(found))) as pool:
        for one in found:
            pool.submit(attempt, f"container {one.name}", partial(engine.remove, one))
    for network in engine.networks(state.labels(place)):
        attempt(f"network {network.name}", partial(engine.remove_network, network))
    return left


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        return


def logs(place: LabDir) -> Iterator[tuple[str, Callable[[], str]]]:
    """Logs of all containers of a lab, and of the services in them that run."""
    known = state.read(place)
    if known is None:
        return
    engine = Engine(known.host)
    for one in containers(engine, place):
        yield f"{one.name}/console.log", partial(engine.logs, one.id)
        if not one.running:
            continue
        node = KindNode(one.name, IPv4Address(0), one.id, _pid(one))
        if one.role:
            for service in SERVICES:
                yield f"{one.name}/{service}.log", partial(_journal, node, service)
        else:
            yield f"{outside.ROUTER}/world.jsonl", partial(node.file, world.LOG)
    for name in ("kind.log", "kind.yaml"):
        if (place.path / name).is_file():
            yield name, partial((place.path / name).read_text, encoding="utf-8")


def _journal(node: KindNode, service: str) -> str:
    words = ("journalctl", "--no-pager", "--lines=5000", "--output=short-iso", f"--unit={service}")
    return node.runner.run(words).stdout
