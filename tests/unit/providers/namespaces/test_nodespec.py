from __future__ import annotations

from pathlib import Path

from harness.model.machine import Machine, Service
from harness.model.spec import LabSpec
from harness.model.wellknown import CRICTL_CONFIG
from harness.providers.namespaces import nodespec
from harness.providers.namespaces.layout import LabLayout


def rendered(machine: Machine, lab: str = "one") -> dict[str, object]:
    layout = LabLayout(Path("/state"), lab).machine(machine.name)
    spec = LabSpec(name=lab)
    return nodespec.nodeinit_spec(spec, machine, layout, [Path("/cg/one")], Path("/cache/bin"), Path("/cache/cni"))


def test_only_the_control_planes_node_listens_on_the_hosts_loopback() -> None:
    assert rendered(Machine("n1"))["listen"] == "127.0.0.1:0"
    assert rendered(Machine("n2"))["listen"] == ""


def test_the_hosts_own_cni_and_kubelet_directories_are_covered() -> None:
    mounts = rendered(Machine("n2"))["mounts"]
    assert isinstance(mounts, list)
    targets = {mount["target"] for mount in mounts}
    assert {"/etc/cni", "/opt/cni/bin", "/var/lib/cni", "/var/lib/kubelet", "/etc/kubernetes", "/var/log"} <= targets
    plugins = next(mount for mount in mounts if mount["target"] == "/opt/cni/bin")
    assert plugins["lower"] == "/cache/cni"
    assert plugins["upper"].startswith("/state/labs/one/")
    assert plugins["work"].startswith("/state/labs/one/")


def test_machine_ids_differ_between_machines_and_between_labs() -> None:
    ids = set()
    for lab in ("one", "two"):
        for name in ("n1", "n2"):
            files = rendered(Machine(name), lab)["files"]
            assert isinstance(files, dict)
            ids.add(files["/etc/machine-id"])
    assert len(ids) == 4
    assert all(len(text.strip()) == 32 for text in ids)


def test_crictl_is_told_the_socket_where_there_is_a_runtime() -> None:
    node, other = (rendered(Machine("n1", programs=runs))["files"] for runs in (True, False))
    assert isinstance(node, dict)
    assert isinstance(other, dict)
    assert node["/etc/crictl.yaml"] == CRICTL_CONFIG
    assert "/etc/crictl.yaml" not in other


def test_a_question_mark_makes_a_sysctl_optional() -> None:
    sysctls = rendered(Machine("n1", sysctls={"a": "1", "?b": "2"}))["sysctls"]
    assert sysctls == [
        {"key": "a", "value": "1", "optional": False},
        {"key": "b", "value": "2", "optional": True},
    ]


def test_services_find_the_labs_programs_first() -> None:
    services = rendered(Machine("n1", services=(Service("x", ("x",)),)))["services"]
    assert isinstance(services, list)
    assert services[0]["env"]["PATH"].startswith("/opt/cnilab/bin:")
    assert services[0]["log"] == "/var/log/cnilab/x.log"
