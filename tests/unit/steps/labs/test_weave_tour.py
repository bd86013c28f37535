"""The labs that read a weave cluster, against one that is not there; its words are those of weave 2.9.0."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cni import catalogue
from harness.model import labfile
from harness.model.lab import LabDefinition
from harness.model.records import LabStep, Packet
from harness.model.spec import LabSpec
from harness.runner import Completed
from harness.steps.labs.choose import ability, lacking
from harness.steps.labs.run import LabRun
from tests.unit.probes import fake
from tests.unit.steps.labs.conftest import FakeCluster, said

LABS = {lab.id: lab for lab in labfile.read_all() if lab.id in {"weave-inventory", "weave-pod-gateway"}}
VARIANT = catalogue.variant("weave")
SPEC = LabSpec.model_validate({"cni": "weave", "pods": {"cidr": "10.244.0.0/16"}})
BRIDGES = {"n1": "10.244.0.1", "n2": "10.244.192.0"}
BOXES = {"box1": ("n1", "10.244.0.5"), "box3": ("n2", "10.244.192.1")}

CONFLIST = {
    "cniVersion": "1.0.0",
    "name": "weave",
    "plugins": [
        {"name": "weave", "type": "weave-net", "hairpinMode": True},
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    ],
}
OPTIONS = (
    "INFO: 2026/11/30 22:00:00.000000 Command line options: map[conn-limit:200 datapath:datapath db-prefix:/weavedb/"
    "weave-net docker-api: expect-npc:true http-addr:127.0.0.1:6784 ipalloc-init:consensus=1 "
    "ipalloc-range:10.244.0.0/16 metrics-addr:0.0.0.0:6782 name:aa nickname:n1 no-dns:true no-masq-local:true "
    "port:6783]"
)
SOCKETS = (
    "LISTEN 0 4096 127.0.0.1:6784 0.0.0.0:*\n"
    "LISTEN 0 4096 0.0.0.0:6782 0.0.0.0:*\n"
    "LISTEN 0 4096 0.0.0.0:6783 0.0.0.0:*\n"
)


CARRIED = Packet(
    t_us=0, src="172.18.0.11", dst="172.18.0.12", proto="udp", length=169, ttl=64, src_port=4000, dst_port=6784
)


class WeaveCluster(FakeCluster):
    """Two nodes with weave, and a box on each. `changed` replaces the answers to commands that contain its keys."""

    def __init__(self, changed: dict[str, str] | None = None) -> None:
        super().__init__(self._say)
        self.changed = changed or {}
        self.packets = {"weave_wire": (CARRIED, CARRIED, CARRIED)}

    def facts(self, namespace: str) -> dict[str, Any]:
        found = super().facts(namespace)
        pods = {name: {"name": name, "node": node, "ip": ip, "namespace": "labs"} for name, (node, ip) in BOXES.items()}
        for index, node in enumerate(found["node_list"]):
            node.update(ready=True, pod_cidr=f"10.244.{index}.0/24")
        spec, variant = SPEC.model_dump(mode="json"), VARIANT.model_dump(mode="json")
        mtu = VARIANT.expect.pod_mtu(SPEC.underlay.mtu)
        known = {"pods": pods, "all_pods": list(pods.values()), "pod_mtu": mtu, "variant": variant}
        return {**found, **known, "spec": {**spec, "nic": SPEC.cluster_nic}}

    def _say(self, place: str, argv: tuple[str, ...]) -> Completed:
        words = " ".join(argv)
        answers = {**self._on_nodes(place), **self._of_operator()}
        said_of = next((text for key, text in self.changed.items() if key in f"{place} {words}"), None)
        if said_of is not None:
            return said(said_of)
        return said(next(answer for key, answer in answers.items() if key in words))

    def _on_nodes(self, place: str) -> dict[str, str]:
        node, ip = BOXES.get(place, (place, ""))
        address = {"local": BRIDGES.get(node, ""), "prefixlen": 16}
        link = {"ifname": "weave", "operstate": "UP", "mtu": 1376, "addr_info": [address]}
        whole = {"dst": "10.244.0.0/16", "dev": "eth0" if ip else "weave", "prefsrc": ip or BRIDGES.get(node)}
        way = {"dst": "default", "gateway": BRIDGES.get(node) if ip else "172.18.0.1", "dev": "eth0"}
        return {
            "ls /etc/cni/net.d": "10-weave.conflist\n",
            "cat /etc/cni": json.dumps(CONFLIST),
            "addr show": json.dumps([link]),
            "route get": json.dumps([{"dst": "10.244.192.1", "dev": "eth0"}]),
            "route show": json.dumps([way, whole]),
            "status/ipam": "aa(n1) 32768 IPs (50.0% of total)\n",
            "ping": "3 packets transmitted, 3 received, 0% packet loss",
            "ss": SOCKETS,
        }

    def _of_operator(self) -> dict[str, str]:
        routers = [
            {
                "metadata": {"name": f"weave-net-{node}"},
                "spec": {"nodeName": node, "containers": [{"name": "weave"}, {"name": "weave-npc"}]},
                "status": {"podIP": f"172.18.0.1{node[1]}", "containerStatuses": [{"ready": True}, {"ready": True}]},
            }
            for node in BRIDGES
        ]
        boxes = [
            {
                "metadata": {"name": name, "namespace": "labs"},
                "spec": {"nodeName": node},
                "status": {"phase": "Running", "podIP": ip},
            }
            for name, (node, ip) in BOXES.items()
        ]
        return {
            "-l name=weave-net": json.dumps({"items": routers}),
            "logs": OPTIONS,
            "get pods -A": json.dumps({"items": boxes}),
        }


def run(lab: LabDefinition, cluster: FakeCluster, folder: Path) -> list[LabStep]:
    return list(LabRun(lab, cluster, folder / "labs", folder, lambda _: None).run())


def wrong(steps: list[LabStep]) -> set[str]:
    return {one.step for one in steps if one.status in {"fail", "error"}}


@pytest.mark.parametrize("name", LABS)
def test_a_cluster_as_upstream_describes_it_passes(name: str, tmp_path: Path) -> None:
    steps = run(LABS[name], WeaveCluster(), tmp_path)
    assert [f"{one.step}: {one.observed} {one.reason}" for one in steps if one.status in {"fail", "error"}] == []
    assert {one.status for one in steps} <= {"pass", "record"}


@pytest.mark.parametrize(
    ("lab", "changed", "step"),
    [
        ("weave-inventory", {"ls /etc/cni": "05-other.conflist\n10-weave.conflist\n"}, "files"),
        ("weave-inventory", {"logs": OPTIONS.replace("10.244.0.0/16", "10.32.0.0/12")}, "log"),
        ("weave-inventory", {"ss": SOCKETS.replace("127.0.0.1:6784", "0.0.0.0:6784")}, "listeners"),
        ("weave-inventory", {"ping": "3 packets transmitted, 0 received, 100% packet loss"}, "wire"),
        ("weave-pod-gateway", {"route get": json.dumps([{"dev": "eth0", "gateway": "10.244.0.1"}])}, "neighbour"),
        (
            "weave-pod-gateway",
            {"box1 ip -j -4 route show": json.dumps([{"dst": "default", "gateway": "172.18.0.1", "dev": "eth0"}])},
            "pod-routes",
        ),
    ],
)
def test_what_is_not_so_is_noticed(lab: str, changed: dict[str, str], step: str, tmp_path: Path) -> None:
    assert wrong(run(LABS[lab], WeaveCluster(changed), tmp_path)) == {step}


@pytest.mark.parametrize("lab", LABS)
@pytest.mark.parametrize("name", catalogue.names())
def test_the_labs_are_offered_where_weave_is_the_network_and_nowhere_else(lab: str, name: str) -> None:
    nodes = tuple(fake.node(one, f"172.18.0.1{one[1:]}", lambda *_: "tcpdump version 4.99") for one in ("n1", "n2"))
    there = SimpleNamespace(variant=catalogue.variant(name), spec=LabSpec(cni=name), lab=fake.FakeLab(nodes))
    reason = lacking(LABS[lab].needs, ability(there))  # type: ignore[arg-type]
    assert (reason == "") == (catalogue.variant(name).driver == "weave")
