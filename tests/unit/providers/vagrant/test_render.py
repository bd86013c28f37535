from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from harness import yamlio
from harness.cni import catalogue
from harness.files import write_below
from harness.model.spec import LabSpec, Underlay, Vagrant
from harness.providers.vagrant import render
from harness.steps.lifecycle import render as steps


def spec(hypervisor: str = "virtualbox", **more: Any) -> LabSpec:
    return LabSpec(name="shop", provider="vagrant", vagrant=Vagrant(hypervisor=hypervisor), **more)


@pytest.mark.parametrize("hypervisor", ["virtualbox", "libvirt", "qemu"])
def test_the_vagrantfile_is_as_recorded(hypervisor: str, golden: Callable[[str, str], None]) -> None:
    golden(f"providers/vagrant/{hypervisor}/Vagrantfile", render.vagrantfile(spec(hypervisor)))


def test_inventory_and_settings_are_as_recorded(golden: Callable[[str, str], None]) -> None:
    golden("providers/vagrant/inventory.yaml", yamlio.dumps(render.inventory(spec())))
    golden("providers/vagrant/ansible.cfg", render.ansible_cfg())


def test_texts_cannot_leave_their_quotes() -> None:
    assert render.ruby('a"b#{system "rm"}\\') == r'"a\"b\#{system \"rm\"}\\"'


def test_the_cluster_is_on_the_second_nic_and_never_on_the_one_behind_nat() -> None:
    assert render.variables(spec())["cluster_nic"] == "eth1"
    assert render.variables(spec(underlay=Underlay(nic="enp0s8")))["cluster_nic"] == "enp0s8"
    files = steps.render(spec(), catalogue.variant("flannel"))
    assert "--iface=eth1" in files["manifests/flannel.yaml"]


def test_every_machine_has_an_address_of_its_own_and_the_host_none_of_theirs() -> None:
    lab = spec("libvirt", nodes=3, underlay=Underlay(cidr=IPv4Network("192.168.77.0/24")))
    text = render.vagrantfile(lab)
    addresses = [str(lab.router_address), *(str(lab.node_address(name)) for name in lab.node_names)]
    assert all(text.count(f'ip: "{address}"') == 1 for address in addresses)
    assert 'libvirt__host_ip: "192.168.77.254"' in text


def test_an_emulated_processor_has_one_core_and_a_clock_that_waits_for_it() -> None:
    emulated, real = render.vagrantfile(spec("qemu")), render.vagrantfile(spec("libvirt"))
    assert ("-icount" in emulated, "-icount" in real) == (True, False)
    assert (emulated.count("cpus = 1"), real.count("cpus = 1")) == (3, 1)
    facts = [render.variables(spec(name))["cluster_emulated"] for name in ("qemu", "libvirt", "virtualbox")]
    assert facts == [True, False, False]


def test_the_api_is_reached_by_the_loopback_alone() -> None:
    assert render.vagrantfile(spec()).count('host_ip: "127.0.0.1"') == render.vagrantfile(spec()).count(
        "forwarded_port"
    )


def test_the_rendered_folder_is_complete(tmp_path: Path) -> None:
    write_below(tmp_path, steps.render(spec(nodes=3), catalogue.variant("flannel")))
    for playbook in ("vagrant-cluster.yaml", "vagrant-network.yaml"):
        words = [str(Path(sys.executable).parent / "ansible-playbook"), "--syntax-check", f"playbooks/{playbook}"]
        env = {**os.environ, "ANSIBLE_HOME": str(tmp_path / ".ansible")}
        extra = ["-e", "kubectl=kubectl kubeconfig=kubeconfig manifests_dir=manifests"]
        done = subprocess.run(
            [*words, *extra], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr


def test_emulated_machines_start_as_many_at_a_time_as_there_are_processors() -> None:
    emulated = LabSpec(provider="vagrant", nodes=4, vagrant=Vagrant(hypervisor="qemu"))
    assert render.turns(emulated, 2) == [["router", "n1"], ["n2", "n3"], ["n4"]]
    assert render.turns(emulated, 8) == [["router", "n1", "n2", "n3", "n4"]]
    assert render.turns(emulated, 0) == [["router"], ["n1"], ["n2"], ["n3"], ["n4"]]


def test_machines_of_a_real_processor_start_all_at_once() -> None:
    real = LabSpec(provider="vagrant", nodes=3, vagrant=Vagrant(hypervisor="libvirt"))
    assert render.turns(real, 1) == [["router", "n1", "n2", "n3"]]
