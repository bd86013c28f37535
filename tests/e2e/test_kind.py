"""Labs on the real kind, on a real Docker engine, with a node image that is made here."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.components import lock
from harness.model.run import RunDir
from harness.providers import limits
from tests.e2e import snapshot, stores
from tests.e2e.conftest import PREFIX, Cli
from tests.e2e.engine import Engine, engine

NAME = f"{PREFIX}-kind"
INSTANCES = 60
"""inotify instances (inotify(7)) that two nodes with systemd take, with some to spare."""

LABS = ("pod-model", "pod-pause", "flannel-routes", "flannel-vxlan-decode", "egress-masquerade")

pytestmark = [pytest.mark.timeout(3600), pytest.mark.night]


@dataclass
class KindCli(Cli):
    """The command line in the network namespace of an engine."""

    engine: Engine
    image: str = ""

    @property
    def environment(self) -> dict[str, str]:
        found = super().environment
        return {**found, "DOCKER_HOST": self.engine.socket, "PATH": f"{self.engine.programs}:{found['PATH']}"}

    @property
    def outside(self) -> Outside:
        """The same in the machine's own network namespace, where downloads work."""
        return Outside(self.home, self.engine)

    def argv(self, *words: str | Path) -> list[str]:
        return [*self.engine.enter, *super().argv(*words)]

    def docker(self, *words: str) -> list[str]:
        """Lines that `docker` prints."""
        done = subprocess.run(
            [f"{self.engine.programs}/docker", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return done.stdout.split()


@dataclass
class Outside(KindCli):
    """Reaches the engine by its socket, but nothing that the engine forwards."""

    def argv(self, *words: str | Path) -> list[str]:
        return Cli.argv(self, *words)


@pytest.fixture(scope="module")
def kind(warm: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KindCli]:
    """An engine with a node image, and the machine as it was before, afterwards."""
    del warm
    stores.store().tools.need("debootstrap")  # for the node image; what apt installs stays, and is no lab's
    before = snapshot.take([NAME])
    place = tmp_path_factory.mktemp("engine")
    with engine(place, f"/cnilab/{NAME}.engine") as running:
        user = KindCli(tmp_path_factory.mktemp("kind"), running)
        user.image = user.outside("components", "build-node-image", "-q", timeout=3600).stdout.strip()
        yield user
        user("down", "--all")
    if running.pid:
        assert snapshot.settle(before, [NAME]) == {}


@pytest.fixture(autouse=True)
def nothing_left_for_the_next(kind: KindCli) -> Iterator[None]:
    """A test that fails half way does not make the others fail, too."""
    yield
    kind("down", NAME)


@pytest.fixture
def room() -> None:
    """One user's inotify instances are counted for all labs of the machine together."""
    free = (limits.read(limits.INOTIFY) or 0) - limits.inotify_instances()
    if free < INSTANCES:
        pytest.skip(f"{free} inotify instances are free, and two nodes of kind take about {INSTANCES}")


SETTINGS = {
    key: Path("/proc/sys", key)
    for key in ("fs/file-max", "fs/nr_open", "kernel/panic", "kernel/pid_max", "vm/overcommit_memory")
}
"""Of the whole machine, and written in a node: by systemd, kubelet, or what applies sysctl.d(5)."""


def machine_wide() -> dict[str, str]:
    """The machine's own values."""
    return {key: path.read_text() for key, path in SETTINGS.items()}


def write_in_a_node(kind: KindCli, name: str) -> None:
    """Write to the machine's settings as root of a node may try to; they must stay as they are.

    The value is another one than the machine's, so that a setting that some node raised long ago shows it, too.
    """
    before = machine_wide()
    try:
        for key, value in before.items():
            kind(
                "exec", "--cluster", NAME, name, "--", "sh", "-c", f"echo {int(value) - 1} >/proc/sys/{key}", code=None
            )
        assert machine_wide() == before
    finally:
        for key, value in before.items():
            if SETTINGS[key].read_text() != value:
                SETTINGS[key].write_text(value)


@pytest.mark.usefixtures("room")
def test_nodes_of_an_image_as_kind_publishes_it_leave_the_machines_settings_alone(kind: KindCli) -> None:
    """Such an image starts with kind's entry point, and nothing before that."""
    published = f"published.test/{NAME}:1"
    (container,) = kind.docker("create", kind.image)
    entry_point = 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'
    kind.docker("commit", "--change", entry_point, container, published)
    kind.docker("rm", container)
    images = kind.docker("images", "-q", "--no-trunc")
    before = machine_wide()
    try:
        environment = {**kind.environment, "CNILAB_NODE_IMAGE": published}
        words = kind.argv("up", "--provider", "kind", "--name", NAME, "--nodes", "1")
        done = subprocess.run(
            words, env=environment, cwd=kind.home, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, done.stderr
        assert machine_wide() == before
        write_in_a_node(kind, f"{NAME}-control-plane")
        kind("down", NAME)
        assert kind.docker("images", "-q", "--no-trunc") == images
    finally:
        kind.docker("rmi", published)


def somebody_elses(kind: KindCli, kubeconfig: Path) -> None:
    """Test a cluster by its kubeconfig alone, with an image that is there already and that has a shell.

    The lab's own suite has the usual ports of its nodes.
    """
    user = KindCli(kind.home / "elsewhere", kind.engine)
    user.home.mkdir()
    theirs = user.home / "kubeconfig"
    theirs.write_text(kubeconfig.read_text())
    image = f"ghcr.io/flannel-io/flannel:{lock.load().component['flannel'].tag}"
    names = ("get", "namespaces,pods", "-A", "-o", "name")
    kubectl = (
        "exec",
        "--cluster",
        NAME,
        f"{NAME}-control-plane",
        "--",
        "kubectl",
        "--kubeconfig=/etc/kubernetes/admin.conf",
    )
    before = kind(*kubectl, *names).stdout
    wanted = "model.pod-pod.*,model.pod-node.*,model.no-nat.wire,node.*,mtu.*,svc.hostport.reach"
    user("test", "--kubeconfig", theirs, "--image", image, "--select", wanted)
    run = RunDir(user.home / ".runs" / "latest")
    found = {one.id: one for one in run.results()}
    assert {one.id: one.statement for one in found.values() if one.status in {"fail", "error"}} == {}
    passed = {one.id for one in found.values() if one.status == "pass"}
    assert {"model.pod-pod.cross-node", "mtu.exact", "svc.hostport.reach"} <= passed
    assert {"node.links", "node.forward", "model.no-nat.wire", "mtu.wire"} <= passed
    assert run.info().host["image"].startswith(f"{image}, with the responder sent")
    assert run.info().host["probes"].startswith(f"{image}, with programs sent")
    assert kind(*kubectl, *names).stdout == before


@pytest.mark.usefixtures("room")
def test_a_lab_on_kind_from_nothing_to_nothing(kind: KindCli) -> None:
    """With both IP families, for which one has to ask on kind; the other tests here have what is there unasked."""
    containers, networks = kind.docker("ps", "-aq"), kind.docker("network", "ls", "-q")
    before = machine_wide()
    kind("up", "--provider", "kind", "--ip-family", "dual", "--name", NAME, timeout=900)
    assert machine_wide() == before
    assert kind.labs() == {NAME: "Ready"}
    machines = {item["name"]: item["role"] for item in kind.data("status", NAME)["items"]}
    assert machines == {
        f"{NAME}-control-plane": "control-plane",
        f"{NAME}-worker": "worker",
        "router": "surroundings",
    }
    kubeconfig = kind.state / "labs" / NAME / "kubeconfig"
    assert kubeconfig.stat().st_mode & 0o777 == 0o600
    write_in_a_node(kind, f"{NAME}-worker")

    applied = kind.data("apply", *LABS, "--cluster", NAME)
    assert {item["lab"]: item["status"] for item in applied["items"]} == dict.fromkeys(LABS, "pass")

    judged = kind.data("test", "--cluster", NAME, code=None)["items"]
    statuses = {item["id"]: item["status"] for item in judged}
    families = {item["id"]: item["families"] for item in judged}
    for check in ("model.pod-pod.cross-node", "model.no-nat.cross-node", "svc.clusterip.reach", "egress.source"):
        assert families[check] == {"ipv4": "pass", "ipv6": "pass"}, check
    assert [item["id"] for item in judged if item["status"] == "fail"] == []
    assert sum(status == "pass" for status in statuses.values()) >= 80
    assert all(item["reason"] for item in judged if item["status"] in {"skip", "error"})

    somebody_elses(kind, kubeconfig)

    logs = Path(kind("collect", "-q").stdout.strip())
    assert (
        "Started kubelet" in (logs / f"{NAME}-worker/console.log").read_text()
        or (logs / f"{NAME}-worker/kubelet.log").read_text()
    )
    kind("down", NAME)
    assert kind.docker("ps", "-aq") == containers
    assert kind.docker("network", "ls", "-q") == networks
    assert kind.docker("volume", "ls", "-q") == []


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("there", [("network", "ls", "-q"), ("ps", "-aq"), ("ps", "-q")], ids=" ".join)
def test_a_lab_whose_harness_was_killed_is_taken_down_whole(kind: KindCli, there: tuple[str, ...]) -> None:
    """Killed with the first network, the first container, and the first one that runs: others are on their way."""
    before = [kind.docker("ps", "-aq"), kind.docker("network", "ls", "-q")]
    begun = kind.docker(*there)
    process = kind.start("up", "--provider", "kind", "--name", NAME)
    while kind.docker(*there) == begun:
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert kind.labs() == {NAME: "Broken"}
    kind("down", NAME)
    after = [kind.docker("ps", "-aq"), kind.docker("network", "ls", "-q")]
    assert after == before
    # A container may come to be that long after its client was last seen.
    time.sleep(3)
    assert [kind.docker("ps", "-aq"), kind.docker("network", "ls", "-q")] == before


def test_a_name_that_a_cluster_of_kind_has_is_refused_and_that_cluster_left_alone(kind: KindCli) -> None:
    label = f"io.x-k8s.kind.cluster={NAME}"
    (stranger,) = kind.docker("create", "--label", label, "--name", f"{NAME}-control-plane", kind.image)
    try:
        done = kind("up", "--provider", "kind", "--name", NAME, code=10)
        assert f"kind already has a cluster named '{NAME}'" in done.stderr
        assert kind.labs() == {}
        kind("down", NAME)
        assert stranger[:12] in kind.docker("ps", "-aq")
    finally:
        kind.docker("rm", "-f", stranger)


@pytest.mark.usefixtures("room")
def test_a_registry_that_cannot_be_reached_leaves_nothing(kind: KindCli) -> None:
    environment = {**kind.environment, "CNILAB_NODE_IMAGE": "127.0.0.1:1/nobody/node:1"}
    done = subprocess.run(
        kind.argv("up", "--provider", "kind", "--name", NAME),
        env=environment,
        cwd=kind.home,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 10, done.stderr
    assert "cnilab components build-node-image" in done.stderr
    assert kind.labs() == {}


def test_doctor_knows_the_engine(kind: KindCli) -> None:
    found = {
        item["id"]: item for item in json.loads(kind("doctor", "--provider", "kind", "-o", "json").stdout)["items"]
    }
    assert found["docker"]["status"] == "ok"
    assert found["docker-image"]["detail"].startswith("cnilab.dev/node:")
