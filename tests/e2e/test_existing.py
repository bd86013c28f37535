"""A cluster of others: a lab of ours, reached through nothing but its kubeconfig, is afterwards as before."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest

from conformance.inventory import HOST_PORT, NAMESPACE
from conformance.manifests import IMAGE
from conformance.policy.cases import PREFIX
from harness import timeouts, yamlio
from harness.cluster import ports as numbers
from harness.model.journal import Journal
from harness.model.records import Result
from harness.model.run import RunDir
from harness.model.world import RESPONDER_PORT
from harness.providers.existing.rights import ROLE
from harness.steps.existing import stay
from harness.steps.existing.deploy import Deployment
from harness.steps.existing.preflight import Wish, examine
from tests.e2e.conftest import Cli
from tests.e2e.test_cluster import kubectl

TEAM = "team-a"
"""A namespace that somebody made, with a Role in it."""

_PASSING = re.compile(r"^(events|leases|componentstatuses)(\.|$)")
"""Kinds whose objects come and go by themselves."""


@dataclass(frozen=True)
class There:
    """A cluster, as its administrator has it, and a user of it who has no lab.

    Args:
        lab: The lab, for looking at it from outside.
        user: The command line, with a state directory of its own.
        admin: A kubeconfig that may do everything.
        limited: A kubeconfig that may do what the documented Role says, in one namespace.
    """

    lab: tuple[Cli, str]
    user: Cli
    admin: Path
    limited: Path

    def objects(self) -> set[str]:
        """All objects of the cluster, by kind, namespace and name."""
        kinds = kubectl(self.lab, "api-resources", "--verbs=list", "-o", "name").split()
        wanted = ",".join(kind for kind in kinds if not _PASSING.match(kind))
        columns = "custom-columns=KIND:.kind,NS:.metadata.namespace,NAME:.metadata.name"
        return set(kubectl(self.lab, "get", wanted, "-A", "--no-headers", "-o", columns).splitlines())

    def results(self) -> dict[str, Result]:
        """Of the user's last run."""
        return {one.id: one for one in RunDir(self.user.home / ".runs" / "latest").results()}


@pytest.fixture(scope="module")
def there(flannel: tuple[Cli, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    cli, name = flannel
    # The lab's own suite keeps the namespaces on which it tries policies, and there is one set of these in a cluster.
    spaces = kubectl(flannel, "get", "namespaces", "-o", "name").split()
    if arenas := [one for one in spaces if one.startswith(f"namespace/{PREFIX}")]:
        kubectl(flannel, "delete", *arenas, "--wait=true")
    home = tmp_path_factory.mktemp("elsewhere")
    admin, limited = home / "admin.kubeconfig", home / "limited.kubeconfig"
    text = (cli.state / "labs" / name / "kubeconfig").read_text()
    admin.write_text(text)
    group = "rbac.authorization.k8s.io"
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": TEAM, "labels": {"pod-security.kubernetes.io/enforce": "baseline"}},
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "dev", "namespace": TEAM}},
        {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": {"name": "cnilab", "namespace": TEAM},
            "rules": list(ROLE),
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "cnilab", "namespace": TEAM},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "cnilab"},
            "subjects": [{"kind": "ServiceAccount", "name": "dev", "namespace": TEAM}],
        },
    ]
    kubectl(flannel, "apply", "-f", "-", text=yamlio.dumps_all(objects))
    # What controllers put into every new namespace comes a moment later, and is nobody's leftover.
    own = ("serviceaccount/default", "configmap/kube-root-ca.crt")
    kubectl(flannel, "-n", TEAM, "wait", "--for=create", "--timeout=60s", *own)
    document = yamlio.loads(text)
    token = kubectl(flannel, "-n", TEAM, "create", "token", "dev", "--duration=8h").strip()
    document["users"] = [{"name": "dev", "user": {"token": token}}]
    document["contexts"][0]["context"]["user"] = "dev"
    limited.write_text(yamlio.dumps(document))
    yield There(flannel, Cli(home), admin, limited)
    kubectl(flannel, "delete", "namespace", TEAM, "--wait=true")


def test_an_administrator_sees_pods_nodes_and_the_wire_and_nothing_is_left(there: There) -> None:
    before = there.objects()
    there.user("test", "--kubeconfig", there.admin)
    found = there.results()
    assert {one.id: one.statement for one in found.values() if one.status in {"fail", "error"}} == {}
    passed = {one.id for one in found.values() if one.status == "pass"}
    assert {"model.pod-pod.cross-node", "node.links", "model.no-nat.wire", "mtu.wire", "svc.from-node"} <= passed
    assert found["egress.reach"].status == "skip"
    assert "no router of the suite" in found["egress.reach"].statement
    assert there.objects() == before


@pytest.fixture
def takers(there: There) -> Iterator[None]:
    """Pods that have ports which the suite would have liked: one declares its port, one does not."""

    def pod(name: str, node: str, ports: list[dict[str, object]], *, host: bool) -> dict[str, object]:
        # Ready says that it listens: a look at the node's ports before that would find them free.
        ready = {"tcpSocket": {"port": RESPONDER_PORT}, "periodSeconds": 1}
        args = ["serve", "--name", name]
        container = {"name": "main", "image": IMAGE, "args": args, "ports": ports, "readinessProbe": ready}
        spec = {"nodeName": node, "hostNetwork": host, "terminationGracePeriodSeconds": 0, "containers": [container]}
        spec["tolerations"] = [{"operator": "Exists"}]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}

    declared = [{"containerPort": RESPONDER_PORT, "hostPort": HOST_PORT, "protocol": "TCP"}]
    text = yamlio.dumps_all([pod("taker", "n1", declared, host=False), pod("listener", "n2", [], host=True)])
    # The lab's own suite has these ports, where a test before these ones ran it.
    kubectl(there.lab, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    kubectl(there.lab, "apply", "-f", "-", text=text)
    kubectl(there.lab, "wait", "--for=condition=Ready", "--timeout=60s", "pod/taker", "pod/listener")
    yield
    restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}"
    assert kubectl(there.lab, "-n", "default", "get", "pods", "-o", restarts).split() == ["0", "0"]
    kubectl(there.lab, "delete", "-f", "-", "--now", text=text)


@pytest.mark.usefixtures("takers")
def test_any_image_with_a_shell_will_do_and_ports_of_others_stay_theirs(there: There) -> None:
    before = there.objects()
    # The vantage of nodes too: their programs are sent after the responder.
    wanted = "model.pod-pod.*,model.pod-node.*,model.no-nat.wire,node.*,mtu.exact,svc.hostport.reach,svc.hairpin"
    there.user("test", "--kubeconfig", there.admin, "--image", "cnilab.dev/toolbox:1", "--select", wanted)
    found = there.results()
    unsure = {one.id: one.statement for one in found.values() if one.status not in {"pass", "not-applicable"}}
    assert unsure == {}
    passed = {one.id for one in found.values() if one.status == "pass"}
    assert {"model.pod-pod.cross-node", "mtu.exact", "svc.hostport.reach", "svc.hairpin"} <= passed
    assert {"node.links", "node.routes", "node.forward", "model.no-nat.wire"} <= passed
    run = RunDir(there.user.home / ".runs" / "latest")
    assert "with the responder sent into it" in run.info().host["image"]
    assert "with programs sent into it" in run.info().host["probes"]
    assert there.objects() == before


@pytest.mark.night
@pytest.mark.usefixtures("takers")
def test_a_port_that_is_taken_between_look_and_use_is_chosen_again(
    there: There, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    look = numbers.free
    monkeypatch.setattr(numbers, "free", lambda used, seed: chain((HOST_PORT, RESPONDER_PORT), look(used, seed)))
    before = there.objects()
    with stay.stay(examine(Wish(there.admin, pods_only=False)), Journal()) as here:
        placed = Deployment(here, RunDir(tmp_path), Journal(), lambda _: Path("/none")).placed()
        assert here.closed.keys() <= {"node"}
    ports = placed.crew.ports
    assert (ports["n1"].published == HOST_PORT, ports["n2"].own == RESPONDER_PORT) == (False, False)
    assert (ports["n2"].published, ports["n1"].own) == (HOST_PORT, RESPONDER_PORT)
    assert there.objects() == before


@pytest.mark.night
def test_two_runs_at_a_time_do_not_disturb_each_other(there: There, tmp_path: Path) -> None:
    before = there.objects()
    other = There(there.lab, Cli(tmp_path), there.admin, there.limited)
    words = ("test", "--kubeconfig", there.admin, "--select", "model.pod-pod.*,svc.hostport.reach,node.links,np.absent")
    first = there.user.start(*words)

    def tries_policies() -> bool:
        assert first.poll() is None, first.communicate()[1]
        return "namespace/cnilab-np-x" in kubectl(there.lab, "get", "namespaces", "-o", "name")

    timeouts.wait_until("the first run to try policies", tries_policies, timeouts.ROLLOUT, interval=0.25)
    other.user(*words, "--seed", "2")
    _, said = first.communicate(timeout=600)
    assert first.returncode == 0, said
    one, two = there.results(), other.results()
    assert {id_: result.status for id_, result in one.items()} == dict.fromkeys(one, "pass")
    assert {id_: result.status for id_, result in two.items() if id_ != "np.absent"} == dict.fromkeys(
        set(two) - {"np.absent"}, "pass"
    )
    # On a busy machine the second run may come to its policies after the first one has ended.
    policies = two["np.absent"]
    assert policies.status == "pass" or "another run tests policies here" in policies.statement
    assert there.objects() == before


@pytest.mark.night
@pytest.mark.usefixtures("takers")
def test_a_labs_own_suite_leaves_ports_of_others_to_them_declared_or_not(there: There) -> None:
    cli, name = there.lab
    cli("test", "--cluster", name, "--select", "svc.hostport.reach,model.pod-node.*")
    # The next test finds the lab's suite with its usual ports again.
    kubectl(there.lab, "delete", "namespace", NAMESPACE, "--wait=true")


def test_a_user_with_a_role_in_one_namespace_sees_pods_and_nothing_is_left(there: There) -> None:
    before = there.objects()
    there.user("test", "--kubeconfig", there.limited, "--namespace", TEAM, "--sample", "4")
    found = there.results()
    assert {one.id: one.statement for one in found.values() if one.status in {"fail", "error"}} == {}
    passed = {one.id for one in found.values() if one.status == "pass"}
    assert {"model.pod-pod.cross-node", "model.no-nat.cross-node", "mtu.exact", "svc.hairpin", "dns.search"} <= passed
    assert {found[name].status for name in ("node.links", "svc.from-node", "svc.endpoint-change")} == {"skip"}
    assert "not allowed to list nodes" in found["node.links"].statement
    assert there.objects() == before


def test_a_user_without_rights_is_told_which_and_nothing_is_made(there: There) -> None:
    before = there.objects()
    done = there.user("test", "--kubeconfig", there.limited, code=10)
    assert "not allowed: create namespaces" in done.stderr
    assert "--namespace" in done.stderr
    assert there.objects() == before


def test_the_preflight_shows_what_cannot_be_measured(there: There) -> None:
    rows = {
        row["id"]: row for row in there.user.data("doctor", "--kubeconfig", there.limited, "--namespace", TEAM)["items"]
    }
    assert rows["pods"]["status"] == "ok"
    assert rows["node"]["status"] == rows["slices"]["status"] == rows["nodes"]["status"] == "limits"


def _until_there(there: There, process: subprocess.Popen[str]) -> None:
    """Wait until a run has its pods in the cluster."""

    def running() -> bool:
        assert process.poll() is None, process.communicate()[1]
        pods = kubectl(there.lab, "get", "pods", "-A", "-l", "cnilab.dev/run", "-o", "json")
        return any(item["status"]["phase"] == "Running" for item in json.loads(pods)["items"])

    timeouts.wait_until("a run to have pods", running, timeouts.ROLLOUT, interval=0.25)


def test_a_run_that_is_interrupted_cleans_up(there: There) -> None:
    before = there.objects()
    process = there.user.start("test", "--kubeconfig", there.admin)
    _until_there(there, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=180)
    assert process.returncode == 130, said
    assert there.objects() == before


def test_what_a_killed_run_left_is_removed_by_name_of_the_cluster_alone(there: There) -> None:
    before = there.objects()
    process = there.user.start("test", "--kubeconfig", there.admin)
    _until_there(there, process)
    process.kill()
    process.communicate()
    assert there.objects() != before
    there.user("down", "--kubeconfig", there.admin)
    assert there.objects() == before
