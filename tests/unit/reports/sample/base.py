"""The lab of the made-up run: its nodes, pods, pins and steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from harness.model.records import (
    Event,
)
from harness.model.run import Pin, RunInfo
from harness.model.topology import Interface, Place, Topology, TopologyNode

RUN_ID = "2026-11-21-flannel-7f3a"
MTU, OVERHEAD = 1500, 50
HOSTILE = """<script>alert("x")</script>'&\"--></style></title>"""


@dataclass(frozen=True)
class Pod:
    """A pod of the sample."""

    name: str
    node: int
    ip: str
    mac: str


@dataclass(frozen=True)
class Sample:
    """What the sample is made of.

    Args:
        nodes: How many nodes.
        pods_per_node: How many pods on each.
        names: Names of the pods; missing ones are numbered.
        requirements: Further passing requirements, to make the page large.
    """

    nodes: int = 2
    pods_per_node: int = 2
    names: tuple[str, ...] = ("a", "b", "c", "d", "e", "f")
    requirements: int = 0

    @cached_property
    def pods(self) -> list[Pod]:
        """All pods, node by node."""
        made: list[Pod] = []
        for node in range(1, self.nodes + 1):
            for slot in range(self.pods_per_node):
                index = len(made)
                name = self.names[index] if index < len(self.names) else f"p{index}"
                made.append(Pod(name, node, f"10.244.{node - 1}.{slot + 2}", f"5a:00:00:00:{node:02x}:{slot + 2:02x}"))
        return made

    def address(self, node: int) -> str:
        """Of a node, on the wire."""
        return f"172.18.0.{10 + node}"


def info(sample: Sample) -> RunInfo:
    """run.json."""
    digest = "3b1f1cbe9a6df9a1c1d4e2c8f0a5b6d7e8f901a2b3c4d5e6f708192a3b4c5d6e"
    return RunInfo(
        id=RUN_ID,
        lab="lab",
        started="2026-11-21T15:00:00.000000Z",
        finished="2026-11-21T15:00:41.300000Z",
        variant="flannel",
        provider="namespaces",
        kubernetes="1.34.4",
        nodes=sample.nodes,
        spec={"name": "lab", "cni": "flannel", "nodes": sample.nodes, "pods": {"cidr": "10.244.0.0/16"}},
        reproduce="tox -e lab-flannel",
        version="0.1.0",
        host={
            "kernel": "6.18.0",
            "distribution": "Debian 12",
            "cores": "2",
            "memory": "24 GiB",
            "cgroups": "v1 hybrid",
        },
        pins=tuple(
            Pin(name=name, version=version, source=source, digest=f"sha256:{digest}")
            for name, version, source in (
                ("kubernetes", "1.34.4", "build"),
                ("flannel", "v0.28.10", "build"),
                ("cni-plugins", "1.9.1", "build"),
                ("coredns", "1.14.7", "cache"),
                ("containerd", "1.6.20", "system"),
                ("etcd", "3.4.23", "apt"),
            )
        ),
    )


def topology(sample: Sample) -> Topology:
    """topology.json."""
    return Topology(
        nodes=tuple(_node(sample, number) for number in range(1, sample.nodes + 1)),
        outside=(
            Place(
                name="router",
                ip="172.18.0.1",
                interfaces=(
                    Interface(name="lo", kind="loopback", mtu=65536, addresses=("127.0.0.1/8", "8.8.8.8/32")),
                    Interface(
                        name="eth0", kind="veth", mtu=1500, addresses=("172.18.0.1/16",), mac="0a:00:00:00:00:01"
                    ),
                    Interface(name="loop1", kind="bridge", mtu=1500, addresses=("10.10.1.200/24",)),
                    Interface(name="eth1", kind="veth", mtu=1300, addresses=("198.51.100.1/24",)),
                ),
            ),
            Place(
                name="far",
                ip="198.51.100.10",
                interfaces=(Interface(name="eth0", kind="veth", mtu=1300, addresses=("198.51.100.10/24",)),),
            ),
        ),
        underlay_cidr="172.18.0.0/16",
        pod_cidr="10.244.0.0/16",
        service_cidr="10.96.0.0/16",
        encapsulation="VXLAN, UDP 8472, VNI 1",
    )


def _node(sample: Sample, number: int) -> TopologyNode:
    pods = [pod for pod in sample.pods if pod.node == number]
    veths = tuple(
        Interface(name=f"veth{number}{slot}ab", kind="veth", mtu=MTU - OVERHEAD, master="cni0", peer=f"{pod.name}:eth0")
        for slot, pod in enumerate(pods)
    )
    return TopologyNode(
        name=f"n{number}",
        address=sample.address(number),
        role="control plane" if number == 1 else "worker",
        pod_cidr=f"10.244.{number - 1}.0/24",
        interfaces=(
            Interface(name="lo", kind="loopback", mtu=65536, addresses=("127.0.0.1/8",)),
            Interface(
                name="eth0",
                kind="veth",
                mtu=MTU,
                addresses=(f"{sample.address(number)}/16",),
                mac=f"0a:00:00:00:00:{10 + number:02x}",
            ),
            Interface(
                name="flannel.1",
                kind="vxlan",
                mtu=MTU - OVERHEAD,
                addresses=(f"10.244.{number - 1}.0/32",),
                mac=f"f2:00:00:00:00:{number:02x}",
                vni=1,
                local=sample.address(number),
                dst_port=8472,
            ),
            Interface(
                name="cni0",
                kind="bridge",
                mtu=MTU - OVERHEAD,
                addresses=(f"10.244.{number - 1}.1/24",),
                mac=f"ce:00:00:00:00:{number:02x}",
            ),
            *veths,
        ),
        pods=(
            *(
                Place(
                    name=pod.name,
                    namespace="cnilab-probe",
                    ip=pod.ip,
                    interfaces=(
                        Interface(
                            name="eth0", kind="veth", mtu=MTU - OVERHEAD, addresses=(f"{pod.ip}/24",), mac=pod.mac
                        ),
                    ),
                )
                for pod in pods
            ),
            Place(name=f"h{number}", namespace="cnilab-probe", ip=sample.address(number), host_network=True),
        ),
    )


def events() -> list[Event]:
    """events.jsonl."""
    steps = (
        ("up", "Bring up the cluster", 0.0, 6.4),
        ("up.components", "Programs from the cache", 0.0, 0.3),
        ("up.nodes", "Nodes and their wire", 0.3, 0.9),
        ("up.cluster.etcd", "etcd answers", 0.9, 1.5),
        ("up.cluster.api", "API server answers", 1.2, 3.4),
        ("up.cluster.nodes", "Nodes are registered", 2.8, 4.9),
        ("up.cni", "flannel is rolled out", 4.0, 5.8),
        ("up.dns", "DNS answers", 5.0, 6.4),
        ("apply", "Apply the labs", 6.5, 24.0),
        ("apply.playbook", "Ansible", 6.5, 11.0),
        ("labs.flannel-routes", "Three kinds of route", 11.0, 11.1),
        ("test", "Conformance", 24.1, 38.0),
        ("test.B1", "Mesh", 24.6, 25.4),
        ("test.B3", "Services", 26.0, 31.0),
        ("test.B4", "DNS", 26.0, 29.0),
        ("down", "Take it down", 38.5, 40.1),
    )
    made: list[tuple[float, Event]] = []
    for step, title, start, end in steps:
        made.append((start, Event(at=moment(start), step=step, state="started", title=title)))
        made.append((end, Event(at=moment(end), step=step, state="ok", title=title, seconds=end - start)))
    return [event for _, event in sorted(made, key=lambda item: item[0])]


def moment(seconds: float) -> str:
    return f"2026-11-21T15:00:{seconds:09.6f}Z"
