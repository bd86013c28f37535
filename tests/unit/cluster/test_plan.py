from __future__ import annotations

import tomllib
from collections.abc import Callable
from ipaddress import IPv4Network

import pytest

from harness import yamlio
from harness.cluster import node_config, plan
from harness.cluster.node_config import MachineFacts
from harness.cluster.pki import ClusterPki, Pair
from harness.model.machine import Machine
from harness.model.spec import Kubernetes, LabSpec, Pods, Services


def fake_pki(spec: LabSpec) -> ClusterPki:
    def pair(name: str) -> Pair:
        return Pair(f"CERT {name}\n", f"KEY {name}\n")

    return ClusterPki(
        ca=pair("ca"),
        etcd_ca="CERT etcd-ca\n",
        etcd_server=pair("etcd"),
        etcd_client=pair("etcd-client"),
        front_proxy_ca="CERT front-proxy-ca\n",
        front_proxy_client=pair("front-proxy"),
        api_server=pair("apiserver"),
        kubelet_client=pair("kubelet-client"),
        service_accounts=pair("sa"),
        admin=pair("admin"),
        controller_manager=pair("kcm"),
        scheduler=pair("scheduler"),
        proxy=pair("proxy"),
        nodes={name: pair(name) for name in spec.node_names},
    )


def machines(spec: LabSpec, facts: MachineFacts | None = None) -> list[Machine]:
    return plan.machines(spec, fake_pki(spec), facts or MachineFacts())


def argv(machine: Machine, service: str) -> tuple[str, ...]:
    return next(one.argv for one in machine.services if one.name == service)


def test_two_node_plan_is_as_recorded(golden: Callable[[str, str], None]) -> None:
    text = ""
    for machine in machines(LabSpec()):
        text += f"# ===== {machine.name}\n"
        text += yamlio.dumps({"sysctls": dict(machine.sysctls)})
        for service in machine.services:
            text += yamlio.dumps({service.name: {"argv": list(service.argv), "wait": list(service.wait)}})
        for path, file in sorted(machine.files.items()):
            text += f"# --- {path} {file.mode:04o}\n{file.content}"
    golden("cluster/two-nodes.txt", text)


def test_control_plane_runs_in_the_first_node_only() -> None:
    first, second, third = machines(LabSpec(nodes=3))
    control_plane = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
    assert control_plane <= {service.name for service in first.services}
    for worker in (second, third):
        assert {service.name for service in worker.services} == {"containerd", "kubelet", "kube-proxy"}


def test_every_file_with_a_key_is_private() -> None:
    for machine in machines(LabSpec()):
        keys = {path: file for path, file in machine.files.items() if "KEY" in file.content or path.endswith(".conf")}
        assert keys
        assert {path: file.mode for path, file in keys.items()} == dict.fromkeys(keys, 0o600)


def test_workers_hold_no_secret_of_the_control_plane() -> None:
    worker = machines(LabSpec())[1]
    assert not any("KEY ca\n" in file.content or "KEY sa\n" in file.content for file in worker.files.values())


def test_spec_ranges_reach_the_programs() -> None:
    spec = LabSpec(
        pods=Pods(cidr=IPv4Network("10.32.0.0/16"), node_mask=25),
        services=Services(cidr=IPv4Network("10.99.0.0/20"), domain="lab.test"),
        kubernetes=Kubernetes(proxy_mode="nftables"),
    )
    first = machines(spec)[0]
    manager = argv(first, "kube-controller-manager")
    assert "--cluster-cidr=10.32.0.0/16" in manager
    assert "--node-cidr-mask-size=25" in manager
    assert "--service-cluster-ip-range=10.99.0.0/20" in argv(first, "kube-apiserver")
    kubelet = yamlio.loads(first.files["/etc/kubernetes/kubelet.yaml"].content)
    assert kubelet["clusterDNS"] == ["10.99.0.10"]
    assert kubelet["clusterDomain"] == "lab.test"
    assert "--proxy-mode=nftables" in argv(first, "kube-proxy")
    assert not any("min-sync-period" in word for word in argv(first, "kube-proxy"))


@pytest.mark.parametrize(("allowed", "restricted"), [(True, False), (False, True)])
@pytest.mark.parametrize(
    ("containerd", "form", "plugin"),
    [
        ("1.6.20", 2, "io.containerd.grpc.v1.cri"),
        ("1.7.27", 2, "io.containerd.grpc.v1.cri"),
        ("2.0.0", 3, "io.containerd.cri.v1.runtime"),
        ("2.4.2", 3, "io.containerd.cri.v1.runtime"),
    ],
)
def test_containerd_gets_a_configuration_of_its_own_form(
    containerd: str, form: int, plugin: str, allowed: bool, restricted: bool
) -> None:
    facts = MachineFacts(can_lower_oom_score=allowed, containerd=containerd)
    config = tomllib.loads(machines(LabSpec(), facts)[0].files["/etc/containerd/config.toml"].content)
    assert config["version"] == form
    assert config["plugins"][plugin]["restrict_oom_score_adj"] is restricted
    assert config["plugins"][plugin]["cni"]["conf_dir"] == "/etc/cni/net.d"
    assert "cnilab.dev/pause:1" in str(config["plugins"])


@pytest.mark.parametrize(
    ("version", "cgroup_v1", "setting"),
    [("1.37", True, False), ("1.31.2", True, False), ("1.30", True, None), ("1.37", False, None)],
)
def test_kubelet_is_allowed_cgroup_v1_where_the_machine_has_it_and_kubelet_knows_the_word(
    version: str, cgroup_v1: bool, setting: bool | None
) -> None:
    spec = LabSpec(kubernetes=Kubernetes(version=version))
    text = machines(spec, MachineFacts(cgroup_v1=cgroup_v1))[1].files["/etc/kubernetes/kubelet.yaml"].content
    assert yamlio.loads(text).get("failCgroupV1") is setting


def test_kube_proxy_leaves_the_machines_conntrack_limits_alone() -> None:
    assert {"--conntrack-max-per-core=0", "--conntrack-min=0"} <= set(argv(machines(LabSpec())[1], "kube-proxy"))


def test_older_kubelets_get_no_gate_that_they_do_not_know() -> None:
    old = LabSpec.model_validate({"name": "t", "cni": "flannel", "kubernetes": {"version": "1.31"}})
    assert node_config.crash_loop_back_off(old) == {}
    assert "featureGates" in node_config.crash_loop_back_off(
        old.model_copy(update={"kubernetes": Kubernetes(version="1.34")})
    )


def test_where_the_processor_is_software_nothing_starts_beside_the_api_server() -> None:
    """Its start-up has deadlines of its own, and ends when it misses one."""
    spec = LabSpec()
    for machine in plan.machines(spec, fake_pki(spec), MachineFacts(emulated=True)):
        waits = [wait for service in machine.services for wait in service.wait]
        assert not [wait for wait in waits if wait.startswith("tcp:") and wait.endswith(":6443")]
        assert "https://172.18.0.11:6443/readyz" in waits
