"""cilium on namespace nodes: it comes up without kube-proxy, meets the suite, and goes without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.checks import policy
from harness import timeouts, yamlio
from harness.cni import catalogue
from harness.cni.cilium import values
from harness.components.lock import load
from tests.e2e.conftest import PREFIX, Cli
from tests.e2e.test_cluster import NAMESPACE, PODS, kubectl

SETTINGS = (Path("/proc/sys/kernel/timer_migration"), Path("/proc/sys/kernel/unprivileged_bpf_disabled"))
AGENT = ("-n", "kube-system", "exec", "ds/cilium", "-c", "cilium-agent", "--")


@pytest.fixture(scope="module")
def settings_before() -> dict[Path, str]:
    """What the agent writes on its node, as the machine has it before there is one."""
    return {path: path.read_text() for path in SETTINGS}


@pytest.fixture(scope="module")
def lab(
    warm: Cli, settings_before: dict[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Cli, str]]:
    """One lab with cilium and two nodes."""
    del warm, settings_before
    cli = Cli(tmp_path_factory.mktemp("cilium"))
    name = f"{PREFIX}-cilium"
    cli("up", "cilium", "--name", name, timeout=3000)
    yield cli, name
    cli("collect", "--cluster", name)
    cli("down", name)
    assert cli.labs() == {}


def test_the_agent_says_that_it_does_kube_proxys_work(lab: tuple[Cli, str]) -> None:
    # Hubble starts after all else: pods may have their network, and names their answer, a moment before.
    for _ in timeouts.ticks(timeouts.ROLLOUT):
        status = json.loads(kubectl(lab, *AGENT, "cilium-dbg", "status", "-o", "json"))
        if status["hubble"]["state"] == "Ok":
            break
    assert status["cilium"]["state"] == "Ok"
    assert status["kube-proxy-replacement"]["mode"] == "True"
    assert status["masquerading"]["mode"] == "BPF"
    assert status["hubble"]["state"] == "Ok"


def test_nodes_run_no_kube_proxy_and_have_none_of_its_rules(lab: tuple[Cli, str]) -> None:
    cli, name = lab
    for node in ("n1", "n2"):
        assert "kube-proxy" not in cli("exec", "--cluster", name, node, "--", "ps", "-eo", "comm").stdout
        assert "KUBE-SVC" not in cli("exec", "--cluster", name, node, "--", "iptables-save").stdout


def test_programs_on_a_node_reach_services(lab: tuple[Cli, str]) -> None:
    """Socket programs belong to the node's cgroup: what runs there through the harness must be in it."""
    cli, name = lab
    assert cli("exec", "--cluster", name, "n2", "--", "curl", "-sk", "https://10.96.0.1/readyz").stdout == "ok"


def test_every_node_has_programs_and_maps_of_its_own(lab: tuple[Cli, str]) -> None:
    cli, name = lab
    pins = [cli("exec", "--cluster", name, node, "--", "ls", "/sys/fs/bpf/tc/globals").stdout for node in ("n1", "n2")]
    assert all("cilium_ipcache" in text for text in pins)
    attached = cli("exec", "--cluster", name, "n1", "--", "bpftool", "cgroup", "show", "/run/cilium/cgroupv2").stdout
    assert "cil_sock4_connect" in attached


def test_hubble_sees_flows(lab: tuple[Cli, str]) -> None:
    flows = kubectl(lab, *AGENT, "hubble", "observe", "--last", "5", "-o", "jsonpb")
    assert "node_name" in flows


def test_helm_knows_what_it_installed_and_can_change_it(lab: tuple[Cli, str]) -> None:
    cli, name = lab
    folder = cli.state / "labs" / name / "helm"
    env = {**os.environ, "KUBECONFIG": str(cli.state / "labs" / name / "kubeconfig"), "HOME": str(folder)}
    base = (folder / "bin/helm", "--namespace", "kube-system")

    def helm(*words: str) -> str:
        return subprocess.run((*base, *words), env=env, check=True, capture_output=True, text=True, timeout=120).stdout

    (release,) = json.loads(helm("list", "-o", "json"))
    version = catalogue_version()
    assert (release["name"], release["chart"], release["status"]) == ("cilium", f"cilium-{version}", "deployed")
    helm("upgrade", "cilium", str(folder / "charts/cilium"), "--reuse-values", "--set", "debug.verbose=flow")
    config = json.loads(kubectl(lab, "-n", "kube-system", "get", "configmap", "cilium-config", "-o", "json"))["data"]
    assert config["debug-verbose"] == "flow"
    helm("rollback", "cilium", "1")
    config = json.loads(kubectl(lab, "-n", "kube-system", "get", "configmap", "cilium-config", "-o", "json"))["data"]
    assert "debug-verbose" not in config


def catalogue_version() -> str:
    """The version of the chart, as the lock pins it."""
    return load().component[values.RELEASE.component].pinned


def test_the_chart_makes_of_a_variant_what_is_recorded(warm: Cli) -> None:
    """Networks are recognised by that record, in a unit test that has no helm."""
    variants = [name for name in catalogue.names() if catalogue.variant(name).driver == "cilium"]
    made = {}
    for name in variants:
        objects = yamlio.loads_all(
            warm("render", name).stdout.partition("==> helm/cilium.yaml <==\n")[2].partition("==> ")[0]
        )
        made[name] = next(item["data"] for item in objects if item["metadata"]["name"] == "cilium-config")
    recorded = Path(__file__).parents[1] / "golden/cni/cilium-configurations.yaml"
    assert made == yamlio.loads(recorded.read_text(encoding="utf-8"))


def test_what_a_policy_drops_is_told_by_the_programs_themselves(lab: tuple[Cli, str]) -> None:
    cli, name = lab
    policy_ = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny", "namespace": NAMESPACE},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }
    kubectl(lab, "apply", "-f", "-", text=yamlio.dumps_all(PODS))
    try:
        kubectl(lab, "-n", NAMESPACE, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s")
        flow = ("why", f"{NAMESPACE}/a", f"{NAMESPACE}/c", "--trace", "--cluster", name)
        assert cli.data(*flow)["fine"]
        kubectl(lab, "apply", "-f", "-", text=yamlio.dumps_all([policy_]))

        def dropped() -> bool:
            causes = cli.data(*flow, code=None)["causes"]
            return [one["key"] for one in causes[:1]] == ["n2/program/Policy denied"]

        timeouts.wait_until("the policy", dropped, timeouts.ROLLOUT)
    finally:
        kubectl(lab, "delete", "namespace", NAMESPACE, "--wait=true", "--timeout=120s")


def test_the_machines_own_settings_stay(lab: tuple[Cli, str], settings_before: dict[Path, str]) -> None:
    """The agent switches timer migration off and forbids unprivileged BPF: on its node, not on the machine."""
    cli, name = lab
    assert cli("exec", "--cluster", name, "n1", "--", "cat", str(SETTINGS[0])).stdout.strip() == "0"
    assert {path: path.read_text() for path in SETTINGS} == settings_before


@pytest.mark.night
def test_the_suite_notices_every_fault_of_policies(lab: tuple[Cli, str]) -> None:
    """On flannel nobody enforces policies, so these faults change nothing there."""
    cli, name = lab
    seen = cli.mutations(name, "F59", "F60", "F61", "F87", "F88", "F89")
    deviating = catalogue.variant("cilium").deviations
    assert {one.id for one in policy.CHECKS if not one.inverse and one.id not in deviating} - seen == set()


def test_a_variant_that_the_kernel_cannot_run_is_refused_before_anything_starts(cli: Cli, untouched: list[str]) -> None:
    findings = {item["id"]: item["status"] for item in cli.data("doctor", "cilium-geneve", code=None)["items"]}
    if findings["geneve"] == "ok":
        pytest.skip("this kernel has Geneve")
    done = cli("up", "cilium-geneve", "--name", untouched[0], code=10)
    assert "variant 'cilium-geneve' is unavailable here" in done.stderr
    assert "Geneve" in done.stderr
    assert cli.labs() == {}


def test_a_lab_that_was_killed_leaves_no_programs_maps_or_pins(cli: Cli, untouched: list[str]) -> None:
    """The fixture compares the machine before and after, what is loaded into its kernel included."""
    name = untouched[0]
    process = cli.start("up", "cilium", "--name", name)
    state = cli.state / "labs" / name / "state.json"
    programs = cli.state / "labs" / name / "machines" / "n1" / "data" / "etc" / "cni" / "net.d" / "05-cilium.conflist"
    # The configuration is written when the agent has loaded its first programs.
    timeouts.wait_until("the agent to be busy", lambda: programs.exists() or process.poll() is not None, 240)
    assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert state.exists()
    cli("down", name)
    assert cli.labs() == {}


BROKEN = """\
import sys
from harness.cni import catalogue

real = catalogue.variant


def broken(name):
    found = real(name)
    return found.model_copy(update={"values": {"helm": {**found.values["helm"], "ipam": {"mode": "nonsense"}}}})


catalogue.variant = broken
from harness.cli.app import run

sys.exit(run(sys.argv[1:]))
"""
"""The command line with a variant whose agent ends at once."""


@pytest.mark.night
def test_an_agent_that_crashes_is_shown_with_its_last_words_and_what_doctor_says(
    cli: Cli, untouched: list[str], tmp_path: Path
) -> None:
    script = tmp_path / "broken.py"
    script.write_text(BROKEN)
    words = ("up", "cilium", "--name", untouched[0], "--nodes", "1")
    argv = [sys.executable, str(script), *words]
    done = subprocess.run(argv, cwd=cli.home, env=cli.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 11, done.stderr
    assert "cilium-agent exits again and again while the cluster waits" in done.stderr
    assert "Unknown IPAM backend nonsense" in done.stderr
    assert "doctor found no problem with bpf file system" in done.stderr
    assert "--retain" in done.stderr
    assert cli.labs() == {}
