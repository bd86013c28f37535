"""What doctor says of a machine that is to run virtual ones."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.model.spec import LabSpec, Vagrant
from harness.providers.vagrant.driver import DRIVER
from harness.runner import Argv, Completed
from harness.steps.doctor import examine as doctor
from harness.steps.doctor.examine import concerning, examine
from harness.steps.doctor.host import PATIENCE, Host
from harness.steps.doctor.model import Finding, Plan
from harness.steps.doctor.vagrant import CHECKS

RECORDED = Path(__file__).parents[2] / "providers/vagrant/recorded"

SAYS = {
    "vagrant --version": "Vagrant 2.3.4\n",
    "vagrant plugin list --machine-readable": (RECORDED / "plugin-list.csv").read_text(encoding="utf-8"),
    "vagrant box list --machine-readable": (RECORDED / "box-list.csv").read_text(encoding="utf-8"),
    "VBoxManage --version": "7.0.20r163906\n",
    "virsh -c qemu:///system version": "Using library: libvirt 9.0.0\n",
}


@dataclass
class Machine(Host):
    """A machine that has everything, but for what a test takes away."""

    missing: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    says: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    memory: int = 2**36
    free: int = 2**40
    taken: bool = False

    def which(self, program: str) -> str | None:
        return None if program in self.missing else f"/usr/bin/{program}"

    def exists(self, path: str) -> bool:
        return path not in self.absent

    def run(self, argv: Argv, *, text: str | None = None, timeout: float = PATIENCE) -> Completed:
        del text, timeout
        words = tuple(map(str, argv))
        line = " ".join(words)
        if words[0] in self.refused:
            return Completed(words, 1, "", "error: failed to connect to the hypervisor")
        return Completed(words, 0, {**SAYS, **self.says}[line], "")

    def memory_available(self) -> int:
        return self.memory

    def free_bytes(self, path: Path) -> int:
        del path
        return self.free

    def port_is_free(self, port: int) -> bool:
        return port != 16443 or not self.taken


def findings(machine: Machine, hypervisor: str, tmp_path: Path, box: str = "cnilab/node") -> dict[str, Finding]:
    made = Vagrant(hypervisor=hypervisor, box=box)
    spec = LabSpec(name="shop", provider="vagrant", vagrant=made)
    return {one.check.id: one for one in examine(Plan(spec, tmp_path, tmp_path, machine), checks=CHECKS)}


@pytest.mark.parametrize("hypervisor", ["libvirt", "qemu"])
def test_a_machine_with_everything_is_fit(hypervisor: str, tmp_path: Path) -> None:
    found = findings(Machine(), hypervisor, tmp_path)
    assert {one.status for one in found.values()} == {"ok"}
    assert found["vagrant"].detail == "Vagrant 2.3.4"


def test_virtualbox_is_asked_where_it_is_wanted(tmp_path: Path) -> None:
    assert findings(Machine(), "virtualbox", tmp_path)["vagrant-hypervisor"].detail == "VirtualBox 7.0.20r163906"
    lacking = findings(Machine(missing={"VBoxManage"}), "virtualbox", tmp_path)["vagrant-hypervisor"]
    assert (lacking.status, "virtualbox.org" in lacking.fix) == ("blocks", True)


@pytest.mark.parametrize(
    ("lacks", "check", "fix"),
    [
        ({"missing": {"vagrant"}}, "vagrant", "apt-get install vagrant"),
        ({"missing": {"virsh"}}, "vagrant-hypervisor", "libvirt-clients"),
        ({"refused": {"virsh"}}, "vagrant-hypervisor", "systemctl start libvirtd"),
        ({"says": {"vagrant plugin list --machine-readable": ""}}, "vagrant-hypervisor", "vagrant-libvirt"),
        ({"absent": {"/dev/kvm"}}, "vagrant-hypervisor", "spec.vagrant.hypervisor: qemu"),
        ({"missing": {"ssh"}}, "ssh", "openssh-client"),
        ({"taken": True}, "vagrant-port", "spec.vagrant.apiPort"),
        ({"memory": 2**30}, "vagrant-memory", "fewer nodes"),
    ],
)
def test_what_is_missing_blocks_with_a_way_to_mend_it(
    lacks: dict[str, object], check: str, fix: str, tmp_path: Path
) -> None:
    one = findings(Machine(**lacks), "libvirt", tmp_path)[check]  # type: ignore[arg-type]
    assert one.status == "blocks"
    assert fix in one.fix


def test_without_a_usable_kvm_emulation_still_works(tmp_path: Path) -> None:
    assert findings(Machine(absent={"/dev/kvm"}), "qemu", tmp_path)["vagrant-hypervisor"].status == "ok"


def test_a_box_that_is_not_there_is_worth_knowing(tmp_path: Path) -> None:
    one = findings(Machine(), "libvirt", tmp_path, box="debian/bookworm64")["vagrant-box"]
    assert (one.status, "build-box" in one.fix) == ("info", True)
    assert findings(Machine(missing={"vagrant"}), "libvirt", tmp_path)["vagrant-box"].status == "info"


def test_little_room_limits(tmp_path: Path) -> None:
    found = findings(Machine(memory=4 * 2**30, free=2**30), "libvirt", tmp_path)
    assert {found[name].status for name in ("vagrant-memory", "vagrant-disk")} == {"limits"}


def test_labs_of_other_providers_are_not_asked_for_any_of_it() -> None:
    ours = {check.id for check in CHECKS}
    assert ours <= set(DRIVER.checks)
    for provider in ("namespaces", "kind"):
        assert ours.isdisjoint(check.id for check in concerning(LabSpec(provider=provider)))
    asked = {check.id for check in concerning(LabSpec(provider="vagrant"))}
    assert asked == set(DRIVER.checks), "every check that the driver names exists"
    assert "root" not in asked
    assert doctor.programs(LabSpec(provider="vagrant")) == ()


def test_a_port_is_free_until_somebody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        server.listen()
        assert not Host().port_is_free(port)
    assert Host().port_is_free(port)
