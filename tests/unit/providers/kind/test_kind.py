"""What kind is told, what its answers mean, and which errors reach a user."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import ImageNotFound

from harness import machines, timeouts
from harness.cni import catalogue
from harness.errors import CnilabError, PreflightError, UsageError
from harness.model import firstly
from harness.model.family import IpFamily, Range
from harness.model.labstate import LabDir
from harness.model.spec import Kubernetes, LabSpec, Pods
from harness.providers.kind import bring_up, clients, config, create, outside, provider, state
from harness.providers.kind.answers import (
    MTU,
    Container,
    DockerNetwork,
    EngineError,
    EngineFacts,
    container_of,
    for_nodes,
    free_range,
    network_of,
)
from harness.providers.kind.engine import Engine, no_engine
from harness.providers.kind.node import KindNode, is_local
from harness.providers.kind.node_image import CHANGES
from harness.providers.kind.trial import refuses_ipv6
from harness.runner import Completed, HostRunner
from harness.timeouts import wait_until

FACTS = EngineFacts("20.10.24+dfsg1", "1.41", "1", "cgroupfs", rootless=False, podman=False)


def node(name: str, address: str, role: str = "worker") -> Container:
    return Container(f"id-{name}", name, running=True, pid=1, address=IPv4Address(address), role=role)


class FakeEngine:
    """An engine with some containers and images."""

    def __init__(self, containers: tuple[Container, ...] = (), images: tuple[str, ...] = (), mtu: int = 1500) -> None:
        self.there, self.have, self.mtu = containers, images, mtu
        self.made: list[tuple[Any, ...]] = []
        self.taken: tuple[Range, ...] = ()
        self.refuses = ""

    def containers(self, labels: object) -> list[Container]:
        del labels
        return list(self.there)

    def has_image(self, reference: str) -> bool:
        return reference in self.have

    def images(self, repository: str) -> list[str]:
        return [image for image in self.have if image.startswith(f"{repository}:")]

    def pull(self, reference: str) -> None:
        msg = f"image {reference} is not available"
        raise EngineError(msg, cause="no such host")

    def default_mtu(self) -> int:
        return self.mtu

    def free(self, wanted: Range) -> Range:
        return free_range(wanted, self.taken)

    def make_network(self, name: str, labels: object, mtu: int, subnets: Sequence[Range]) -> DockerNetwork:
        del labels
        if self.refuses:
            msg = f"network {name} could not be made"
            raise EngineError(msg, cause=self.refuses)
        config = [{"Subnet": str(one)} for one in subnets]
        self.made.append(("network", *map(str, subnets)))
        return network_of({"Id": "id", "Name": name, "IPAM": {"Config": config}, "Options": {MTU: str(mtu)}})

    def remove_network(self, network: DockerNetwork) -> None:
        self.made.append(("removed", network.name))


@pytest.mark.parametrize(
    ("cni", "families", "name"),
    [
        ("flannel", "ipv4", "flannel"),
        ("cilium", "ipv4", "cilium"),
        ("flannel", "dual", "dual"),
        ("flannel", "ipv6", "ipv6"),
    ],
)
def test_the_configuration_is_as_recorded(
    cni: str, families: IpFamily, name: str, golden: Callable[[str, str], None]
) -> None:
    spec, variant = LabSpec(name="one", cni=cni, ip_family=families), catalogue.variant(cni)
    text = bring_up.cluster_config(spec, variant, "cnilab.dev/node:v1.37.2-0", cgroup_v1=False)
    golden(f"providers/kind/cluster-{name}.yaml", text)


def test_the_spec_decides_ranges_and_masks() -> None:
    spec = LabSpec(
        pods=Pods(cidr=IPv4Network("10.1.0.0/16"), node_mask=26), kubernetes=Kubernetes(proxy_mode="nftables")
    )
    text = bring_up.cluster_config(spec, catalogue.variant("flannel"), "image", cgroup_v1=False)
    assert "podSubnet: 10.1.0.0/16" in text
    assert "node-cidr-mask-size: '26'" in text
    assert "kubeProxyMode: nftables" in text


@pytest.mark.parametrize("cgroup_v1", [True, False])
def test_kubelet_is_allowed_cgroup_v1_where_the_engines_machine_has_it(cgroup_v1: bool) -> None:
    text = bring_up.cluster_config(LabSpec(), catalogue.variant("flannel"), "image", cgroup_v1=cgroup_v1)
    assert ("failCgroupV1: false" in text) is cgroup_v1


def test_a_single_node_keeps_its_taint_for_kind_to_take() -> None:
    kinds = [{item["kind"] for item in config.patches(LabSpec(nodes=nodes), "a/b:1", {})} for nodes in (1, 2)]
    assert kinds[1] - kinds[0] == {"InitConfiguration"}


@pytest.mark.parametrize("families", ["ipv4", "dual", "ipv6"])
def test_what_the_router_runs_is_as_recorded(families: IpFamily, golden: Callable[[str, str], None]) -> None:
    suffix = "" if families == "ipv4" else f"-{families}"
    golden(f"providers/kind/router{suffix}.sh", outside.script(LabSpec(ip_family=families)))


@pytest.mark.parametrize("families", ["ipv4", "dual"])
def test_what_nodes_run_is_as_recorded(families: IpFamily, golden: Callable[[str, str], None]) -> None:
    spec = LabSpec(ip_family=families)
    commands = (
        outside.unfiltered(("default", "all", "eth0")),
        *outside.node_commands(spec),
        *machines.log_commands("containerd"),
    )
    golden(
        f"providers/kind/node{'' if families == 'ipv4' else f'-{families}'}.txt",
        "\n".join(map(" ".join, commands)) + "\n" + outside.hosts(spec) + outside.resolver(spec),
    )


def test_what_nodes_run_before_their_init_is_as_recorded(golden: Callable[[str, str], None]) -> None:
    golden("providers/kind/firstly.sh", firstly.script())


class Bare(FakeEngine):
    """An engine that notes which images are made of which."""

    def __init__(self, *entry_point: str) -> None:
        super().__init__()
        self.words, self.derivations = list(entry_point), []  # type: ignore[var-annotated]

    def entry_point(self, reference: str) -> list[str]:
        assert reference == "a/node:1"
        return self.words

    def derive(self, image: str, reference: str, labels: dict[str, str], files: dict[str, Path], change: str) -> None:
        self.derivations.append((image, reference, labels, {name: p.read_text() for name, p in files.items()}, change))


def test_nodes_of_an_image_that_others_made_leave_the_machines_settings_alone_too(tmp_path: Path) -> None:
    place = LabDir(tmp_path, "one")
    create.claim(place, LabSpec(name="one", provider="kind"), None)
    published = Bare("/usr/local/bin/entrypoint", "/sbin/init")
    name = create.guarded(published, place, "a/node:1")  # type: ignore[arg-type]
    assert name == state.image_name(place) != state.image_name(LabDir(tmp_path / "other", "one"))
    files = {"usr/local/bin/cnilab-firstly": firstly.script()}
    change = 'ENTRYPOINT ["/usr/local/bin/cnilab-firstly", "/usr/local/bin/entrypoint", "/sbin/init"]'
    assert published.derivations == [("a/node:1", name, state.labels(place), files, change)]


def test_an_image_that_was_built_here_is_taken_as_it_is(tmp_path: Path) -> None:
    instruction, environment = CHANGES
    words = json.loads(instruction.removeprefix("ENTRYPOINT "))
    assert (words[0], environment) == (firstly.PROGRAM, "ENV container=docker")
    built = Bare(*words)
    assert create.guarded(built, LabDir(tmp_path, "one"), "a/node:1") == "a/node:1"  # type: ignore[arg-type]
    assert built.derivations == []


def test_the_spec_becomes_what_the_engine_decided() -> None:
    network = DockerNetwork("id", "cnilab-one", IPv4Network("172.20.0.0/16"), 1450)
    nodes = [
        *(node(f"one-worker{number}", f"172.20.128.{number}") for number in (10, 2)),
        node("one-worker", "172.20.128.3"),
        node("one-control-plane", "172.20.128.1", "control-plane"),
    ]
    spec = create.resolved(LabSpec(name="one", nodes=4), network, nodes)
    assert spec.node_names == ("one-control-plane", "one-worker", "one-worker2", "one-worker10")
    assert spec.node_address("one-worker10") == IPv4Address("172.20.128.10")
    assert (spec.underlay.mtu, spec.router_address, spec.cluster_nic) == (1450, IPv4Address("172.20.0.1"), "eth0")


@pytest.mark.parametrize(("engine", "wanted", "mtu"), [(1450, 1500, 1450), (9000, 1500, 1500), (1500, 1400, 1400)])
def test_the_wire_is_never_wider_than_the_engines_own(engine: int, wanted: int, mtu: int, tmp_path: Path) -> None:
    spec = LabSpec(name="one").model_copy(update={"underlay": LabSpec().underlay.model_copy(update={"mtu": wanted})})
    made = create.make_network(FakeEngine(mtu=engine), LabDir(tmp_path, "one"), spec)  # type: ignore[arg-type]
    assert made.mtu == mtu


def test_addresses_that_somebody_has_are_left_to_them(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.taken = (IPv4Network("172.18.0.0/16"),)
    made = create.make_network(engine, LabDir(tmp_path, "one"), LabSpec(name="one"))  # type: ignore[arg-type]
    assert (made.subnet, made.subnet6) == (IPv4Network("172.19.0.0/16"), None)
    engine.taken += (IPv6Network("fd00:172:18::/60"),)
    made = create.make_network(engine, LabDir(tmp_path, "one"), LabSpec(name="one", ip_family="dual"))  # type: ignore[arg-type]
    assert (made.subnet, made.subnet6) == (IPv4Network("172.19.0.0/16"), IPv6Network("fd00:172:19::/64"))


def test_an_engine_whose_networks_have_no_room_for_ipv6_is_told_so(tmp_path: Path) -> None:
    place, engine = LabDir(tmp_path, "one"), FakeEngine(mtu=1200)
    assert create.make_network(engine, place, LabSpec(name="one")).mtu == 1200  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="no room for IPv6") as caught:
        create.make_network(engine, place, LabSpec(name="one", ip_family="dual"))  # type: ignore[arg-type]
    assert caught.value.cause == "MTU 1200 of its network 'bridge', but IPv6 needs links of 1280 bytes"


def test_whether_an_engine_makes_networks_with_ipv6_is_tried_and_nothing_is_left() -> None:
    engine = FakeEngine()
    assert refuses_ipv6(engine) == ""  # type: ignore[arg-type]
    (network, removed) = engine.made
    assert network == ("network", "192.168.254.0/24", "fd00:172:0:ffff::/64")
    assert removed[1].startswith("cnilab-doctor-")
    engine.refuses = "could not enable IPv6"
    assert refuses_ipv6(engine) == "could not enable IPv6"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("subnet", "nodes"),
    [
        ("172.18.0.0/16", "172.18.128.0/17"),
        ("fd00:172:18::/64", "fd00:172:18::1:0/112"),
        ("fd00:172:18::/120", "fd00:172:18::80/121"),
    ],
)
def test_nodes_get_addresses_beside_those_of_the_lab_itself(subnet: str, nodes: str) -> None:
    whole, part = ip_network(subnet), for_nodes(ip_network(subnet))
    assert str(part) == nodes
    assert whole[1] not in part
    assert whole[2] not in part


@pytest.mark.parametrize(
    ("families", "first", "second"),
    [("ipv4", "172.20.128.1", None), ("ipv6", "fd00:172:20::1:1", None), ("dual", "172.20.128.1", "fd00:172:20::1:1")],
)
def test_addresses_of_nodes_are_those_of_the_labs_families(families: IpFamily, first: str, second: str | None) -> None:
    ends = {"IPAddress": "172.20.128.1", "GlobalIPv6Address": "fd00:172:20::1:1" if families != "ipv4" else ""}
    made = container_of(
        {
            "Id": "id",
            "Name": "/one-control-plane",
            "State": {"Running": True, "Pid": 7},
            "Config": {"Labels": {"io.x-k8s.kind.role": "control-plane"}},
            "NetworkSettings": {"Networks": {"lab": ends}},
        },
        "lab",
    )
    six = IPv6Network("fd00:172:20::/64") if families != "ipv4" else None
    network = DockerNetwork("id", "lab", IPv4Network("172.20.0.0/16"), 1500, six)
    spec = create.resolved(LabSpec(name="one", nodes=1, ip_family=families), network, [made])
    assert [str(one) for one in spec.all_addresses("one-control-plane")] == [one for one in (first, second) if one]
    assert str(spec.router("ipv6")) == ("fd00:172:20::1" if six else "fd00:172:18::1")
    assert str(create._machine(made, spec.primary).address) == first


def test_labs_of_one_name_in_two_state_directories_have_networks_of_their_own(tmp_path: Path) -> None:
    assert len({state.network_name(LabDir(tmp_path / place, "one")) for place in ("a", "b")}) == 2


def test_a_container_is_entered_only_where_its_process_is_this_machines() -> None:
    assert not is_local("0123456789abcdef", 1)
    assert not is_local("", 0)


def test_programs_reach_a_pod_through_the_engine_where_it_is_elsewhere() -> None:
    far = KindNode("n", IPv4Address("10.0.0.1"), "abc")
    words = far.into_container(42).vector(["/responder", "run"])  # type: ignore[attr-defined]
    assert words[:4] == ("docker", "exec", "-i", "abc")
    assert words[-6:] == ("-t", "42", "-a", "--", "/responder", "run")


# --- errors ---


@pytest.fixture
def no_docker_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv(bring_up.IMAGE_VARIABLE, raising=False)
    monkeypatch.setattr("shutil.which", lambda _: None)


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(CnilabError) as caught:
        action()
    return str(caught.value) + "\n"


@pytest.mark.usefixtures("no_docker_host")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no-docker", "Error while fetching server API version: ('Connection aborted.', FileNotFoundError(2, 'No such"),
        ("no-access", "Error while fetching server API version: PermissionError(13, 'Permission denied')"),
    ],
)
def test_an_engine_that_does_not_answer(name: str, reason: str, golden: Callable[[str, str], None]) -> None:
    golden(f"providers/kind/{name}.txt", f"{no_engine(reason)}\n")


def test_the_address_that_does_not_answer_is_named(
    golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.9.9.9:2375")
    golden("providers/kind/wrong-host.txt", f"{no_engine('connection refused')}\n")


def test_a_name_that_kind_has_given_away(golden: Callable[[str, str], None]) -> None:
    taken = FakeEngine((node("one-worker", "1.1.1.1"), node("one-control-plane", "1.1.1.2", "control-plane")))
    error = refused(lambda: create.name_is_free(taken, LabSpec(name="one")))  # type: ignore[arg-type]
    golden("providers/kind/name-taken.txt", error)


def test_a_name_that_a_lab_has(tmp_path: Path) -> None:
    place = LabDir(tmp_path, "one")
    create.claim(place, LabSpec(name="one", provider="kind"), None)
    with pytest.raises(PreflightError, match="there is already a cluster named 'one'"):
        create.claim(place, LabSpec(name="one", provider="kind"), None)


FAILURES = {
    "port-taken": """\
 • Preparing nodes 📦  ...
ERROR: failed to create cluster: command "docker run --name one-control-plane" failed with error: exit status 125
Command Output: docker: Error response from daemon: Bind for 127.0.0.1:43439 failed: port is already allocated.
""",
    "image-missing": """\
ERROR: failed to create cluster: failed to pull image "kindest/node:v9": command "docker pull" failed: exit status 1
Command Output: Error response from daemon: Get "https://registry-1.docker.io/v2/": no such host
""",
    "no-systemd": """\
ERROR: failed to create cluster: could not find a log line that matches "Reached target .*Multi-User System.*"
""",
    "kubeadm": """\
ERROR: failed to create cluster: failed to init node with kubeadm: exit status 1
Command Output: error: timed out waiting for the condition
""",
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_kind_says_is_explained(name: str, golden: Callable[[str, str], None]) -> None:
    done = Completed(("kind", "create", "cluster"), 1, "", FAILURES[name])
    error = create.kind_failed(done, LabDir(Path("/state"), "one"))
    golden(f"providers/kind/{name}.txt", f"{error}\n")


def test_a_machine_whose_limits_are_too_low(golden: Callable[[str, str], None]) -> None:
    bring_up.require_room(LabSpec(), 128, 80)
    bring_up.require_room(LabSpec(), None, 1000)
    golden("providers/kind/no-room.txt", refused(lambda: bring_up.require_room(LabSpec(), 128, 90)))


@pytest.mark.usefixtures("no_docker_host")
def test_no_node_image_and_no_registry(golden: Callable[[str, str], None]) -> None:
    error = refused(lambda: bring_up.node_image_of(None, FakeEngine(), "1.37"))  # type: ignore[arg-type]
    golden("providers/kind/no-image.txt", error)


@pytest.mark.usefixtures("no_docker_host")
def test_an_image_that_the_user_names_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Any = FakeEngine(images=("cnilab.dev/node:v1.37.2-0", "mine:1"))
    assert bring_up.known_image(engine, "1.37") == "cnilab.dev/node:v1.37.2-0"
    monkeypatch.setenv(bring_up.IMAGE_VARIABLE, "mine:1")
    assert bring_up.known_image(engine, "1.37") == "mine:1"
    monkeypatch.setenv(bring_up.IMAGE_VARIABLE, "mine:2")
    assert bring_up.known_image(engine, "1.37") == ""


@pytest.mark.usefixtures("no_docker_host")
def test_an_image_of_another_kubernetes_is_not_taken() -> None:
    engine: Any = FakeEngine(images=("cnilab.dev/node:v1.37.2-0", "cnilab.dev/node:v1.36.3-0", bring_up.PUBLISHED))
    for version in ("1.36", "1.36.3"):
        assert bring_up.known_image(engine, version) == "cnilab.dev/node:v1.36.3-0"
    assert bring_up.known_image(engine, "1.3") == ""
    with pytest.raises(PreflightError, match=r"no node image with Kubernetes 1\.35") as caught:
        bring_up.node_image_of(None, engine, "1.35")  # type: ignore[arg-type]
    assert "build-node-image --kubernetes 1.35" in caught.value.next_step


@pytest.mark.parametrize(
    ("version", "podman", "too_old", "gives_bpf"),
    [
        ("19.03.15", False, True, False),
        ("20.10.24+dfsg1", False, False, False),
        ("23.0.0", False, False, True),
        ("28.0.1", False, False, True),
        ("28.2.2", False, False, True),
        ("4.3.1", True, False, True),
    ],
)
def test_what_an_engine_of_some_age_can_do(version: str, podman: bool, too_old: bool, gives_bpf: bool) -> None:
    facts = EngineFacts(version, "1", "2", "systemd", rootless=False, podman=podman)
    assert (facts.too_old, facts.gives_bpf) == (too_old, gives_bpf)


def test_a_lab_without_an_answering_engine_is_not_called_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    place = LabDir(tmp_path, "one")
    assert provider.delete(place) == []
    create.claim(place, LabSpec(name="one", provider="kind"), None)
    (left,) = provider.delete(place)
    assert "no Docker engine answers" in left
    assert place.state_file.exists()
    with pytest.raises(PreflightError):
        provider.find(place)


def test_there_is_no_such_lab(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no cluster named 'one'"):
        provider.find(LabDir(tmp_path, "one"))


def test_kind_is_ended_and_its_clients_are_let_finish(tmp_path: Path) -> None:
    place = LabDir(tmp_path, "one")
    # The shell leads its session, as kind does; what it starts is its client.
    runner = HostRunner()
    kind = runner.start(["sh", "-c", "sleep 60 & wait"], env=clients.settings(place))
    # Not counted: what a process was started with cannot be read for a moment when it becomes another program.
    others = wait_until("the client", lambda: set(clients.living(place)) - {kind.pid} or None, timeouts.PROCESS_EXIT)
    (client,) = others
    try:
        assert clients.living(LabDir(tmp_path, "two")) == []
        wait_until("both", lambda: set(clients.living(place)) == {kind.pid, client}, timeouts.PROCESS_EXIT)
        clients.end_kind(place)
        assert kind.wait(timeouts.PROCESS_EXIT) == -signal.SIGKILL
        assert clients.living(place) == [client]
    finally:
        os.kill(client, signal.SIGTERM)
    wait_until("the client's end", lambda: not clients.living(place), timeouts.PROCESS_EXIT)


class LateEngine:
    """An engine whose containers come to be while others are removed.

    Args:
        arrivals: What there is more at each look: a letter for a container, a dot for none.
        stubborn: Whether a container that was removed is there again.
    """

    def __init__(self, arrivals: str, *, stubborn: bool = False) -> None:
        self.arrivals, self.stubborn = iter(arrivals), stubborn
        self.images = {"sha256:1"}
        self.there: set[str] = set()

    def __call__(self, host: str) -> LateEngine:
        assert host == ""
        return self

    def on_network(self, network: str, labels: object) -> list[Container]:
        del network, labels
        self.there |= {next(self.arrivals, ".")} - {"."}
        return [node(name, "172.20.0.2") for name in sorted(self.there)]

    def containers(self, labels: object) -> list[Container]:
        del labels
        return []

    def networks(self, labels: object) -> list[DockerNetwork]:
        del labels
        return []

    def derived(self, labels: object) -> list[str]:
        assert labels
        return [] if self.there else sorted(self.images)

    def remove_image(self, image: str) -> None:
        self.images.remove(image)

    def remove(self, container: Container) -> None:
        self.there -= set() if self.stubborn else {container.name}


@pytest.mark.usefixtures("no_docker_host")
@pytest.mark.parametrize("arrivals", ["", "a", "ab", "..a", ".a", "abcd", "a.b"])
def test_what_comes_to_be_while_the_rest_is_removed_is_removed_too(
    arrivals: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LateEngine(arrivals)
    monkeypatch.setattr(provider, "Engine", engine)
    place = LabDir(tmp_path, "one")
    create.claim(place, LabSpec(name="one", provider="kind"), None)
    assert provider.delete(place) == []
    assert not engine.there
    assert not engine.images
    assert next(engine.arrivals, "") == ""
    assert not place.path.exists()


@pytest.mark.usefixtures("no_docker_host")
def test_a_container_that_always_comes_back_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "COMMAND", 0.3)
    monkeypatch.setattr(provider, "Engine", LateEngine("a", stubborn=True))
    place = LabDir(tmp_path, "one")
    create.claim(place, LabSpec(name="one", provider="kind"), None)
    assert provider.delete(place) == ["container a: it was created again"]
    assert place.state_file.exists()


@pytest.mark.usefixtures("no_docker_host")
def test_a_client_that_does_not_end_keeps_the_lab_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "COMMAND", 0.3)
    monkeypatch.setattr(provider, "Engine", LateEngine(""))
    monkeypatch.setattr(clients, "living", lambda place: [4711] if place.name == "one" else [])
    monkeypatch.setattr(clients, "end_kind", print)
    place = LabDir(tmp_path, "one")
    create.claim(place, LabSpec(name="one", provider="kind"), None)
    assert provider.delete(place) == ["process 4711: a client of the engine that is still running"]
    assert place.state_file.exists()


class SilentEngine(LateEngine):
    """An engine that ends in the middle."""

    def networks(self, labels: object) -> list[DockerNetwork]:
        del labels
        msg = "the engine did not list its networks"
        raise EngineError(msg, cause="connection refused")


@pytest.mark.usefixtures("no_docker_host")
def test_an_engine_that_ends_meanwhile_is_not_a_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "COMMAND", 0.3)
    monkeypatch.setattr(provider, "Engine", SilentEngine(""))
    place = LabDir(tmp_path, "one")
    create.claim(place, LabSpec(name="one", provider="kind"), None)
    (left,) = provider.delete(place)
    assert "containers of cluster one: the engine did not list its networks" in left
    assert place.state_file.exists()


class ForbiddenEngine(LateEngine):
    """An engine whose socket is another user's."""

    asked = 0

    def networks(self, labels: object) -> list[DockerNetwork]:
        del labels
        self.asked += 1
        msg = "the engine did not list its networks"
        raise EngineError(msg, cause="Permission denied") from PermissionError(13, "Permission denied")


@pytest.mark.usefixtures("no_docker_host")
def test_an_engine_that_lets_nobody_in_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ForbiddenEngine("")
    monkeypatch.setattr(provider, "Engine", engine)
    place = LabDir(tmp_path, "one")
    create.claim(place, LabSpec(name="one", provider="kind"), None)
    (left,) = provider.delete(place)
    assert "Permission denied" in left
    assert engine.asked == 1


def test_a_kind_that_takes_too_long_is_late_and_not_failed() -> None:
    error = create.kind_is_late("Creating cluster\n • Joining worker nodes 🚜  ...\n", LabDir(Path("/state"), "one"))
    assert error.what == "waited 600 s for kind to make the cluster"
    assert error.cause == "last seen: • Joining worker nodes 🚜  ..."
    assert error.log == "/state/labs/one/kind.log"


class Images:
    """Images of an engine that takes an archive as Docker does, or as Podman, which leaves the tag away."""

    def __init__(self, *, podman: bool) -> None:
        self.names: dict[str, int] = {}
        self.podman = podman
        self.made = 0

    def import_image_from_stream(self, archive: object, repository: str, tag: str, changes: list[str]) -> str:
        del archive, changes
        self.made += 1
        self.names[f"{repository}:{'latest' if self.podman else tag}"] = self.made
        return '{"status": "sha256:1"}\n'

    def get(self, name: str) -> SimpleNamespace:
        if name not in self.names:
            raise ImageNotFound(name)
        return SimpleNamespace(tag=lambda repository, tag: self.names.update({f"{repository}:{tag}": self.names[name]}))

    def remove(self, name: str) -> None:
        del self.names[name]


@pytest.mark.parametrize("podman", [False, True])
def test_an_imported_image_has_its_name_and_no_other(monkeypatch: pytest.MonkeyPatch, *, podman: bool) -> None:
    images = Images(podman=podman)
    monkeypatch.setattr(Engine, "__init__", lambda _: None)
    engine = Engine()
    engine._client = SimpleNamespace(images=images, api=images)  # type: ignore[assignment]
    for number in (1, 2):  # the second time it takes the name from the first
        engine.import_tree(io.BytesIO(), "cnilab.dev/node:v1", ())
        assert images.names == {"cnilab.dev/node:v1": number}
