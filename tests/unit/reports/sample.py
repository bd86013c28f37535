"""A made-up but realistic run: flannel on two nodes, with a failure, a skip, something flaky, labs, taps and faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from harness.model.records import (
    Burst,
    Churn,
    Control,
    Event,
    Evidence,
    Exchange,
    FaultRun,
    LabStep,
    Leg,
    Lookup,
    Observation,
    Packet,
    Query,
    Result,
    Rung,
    Tap,
)
from harness.model.run import Pin, RunDir, RunInfo
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


def write(path: Path, sample: Sample | None = None) -> RunDir:
    """Write the whole run directory."""
    sample = sample or Sample()
    run = RunDir(path)
    run.write_info(info(sample))
    for event in events():
        run.add_event(event)
    run.write_topology(topology(sample))
    run.add_observations(observations(sample))
    run.add_results(results(sample))
    run.add_lab_steps(lab_steps())
    run.add_faults(faults())
    (run.directory("captures") / "a-c-icmp-1.pcap").write_bytes(b"")
    return run


def write_partial(path: Path) -> RunDir:
    """Write what a failed bring-up leaves."""
    run = RunDir(path)
    failure = {
        "what": "waited 60 s for the API server to answer",
        "cause": "etcdserver: no leader\nlisten tcp 127.0.0.1:2379: bind: address already in use",
        "where": "n1: kube-apiserver --etcd-servers=http://127.0.0.1:2379",
        "next_step": "look at the log of etcd; stretch all deadlines with CNILAB_TIMEOUT_SCALE=4",
        "log": "logs/n1/etcd.log",
    }
    whole = info(Sample()).model_dump(by_alias=True)
    run.write_info(RunInfo.model_validate({**whole, "finished": "", "failure": failure}))
    steps: tuple[tuple[float, str, Literal["started", "ok", "failed"], str, float | None], ...] = (
        (0.0, "up", "started", "Bring up the lab", None),
        (0.1, "up.nodes", "started", "Two nodes in namespaces", None),
        (0.72, "up.nodes", "ok", "Two nodes in namespaces", 0.62),
        (0.8, "up.cluster.api", "started", "API server answers", None),
        (55.8, "up.cluster.api", "failed", "API server answers", 55.0),
        (55.9, "up", "failed", "Bring up the lab", 55.9),
    )
    for at, step, state, title, seconds in steps:
        detail = {"error": "waited 60 s for the API server to answer"} if state == "failed" else {}
        run.add_event(Event(at=_at(at), step=step, state=state, title=title, seconds=seconds, detail=detail))
    logs = run.directory("logs/n1")
    (logs / "etcd.log").write_text("starting etcd\nlisten tcp 127.0.0.1:2379: bind: address already in use\n")
    (logs / "kubelet.log").write_text("Bearer abcdefghijklmnopqrstuvwxyz0123456789\nnode not found\n")
    return run


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


def observations(sample: Sample) -> Iterator[Observation]:
    """observations.jsonl."""
    yield from _mesh(sample)
    yield from _ladders(sample)
    yield from _lookups(sample)
    yield from _services(sample)
    yield from _load(sample)
    if sample.nodes > 1:
        yield from taps(sample)


def _exchange(sample: Sample, src: Pod, dst: Pod, proto: Literal["tcp", "udp", "icmp"], index: int) -> Exchange:
    same = src.node == dst.node
    seen = src.ip
    if (src.name, dst.name) == (sample.pods[1].name, sample.pods[-1].name):
        seen = f"10.244.{src.node - 1}.0"  # the failure of this run: node 1 translates what b sends to the last pod
    return Exchange(
        batch="B1",
        purpose="self" if src == dst else "mesh",
        src=src.name,
        src_node=f"n{src.node}",
        src_ip=src.ip,
        dst=dst.name,
        dst_node=f"n{dst.node}",
        proto=proto,
        dial=f"{dst.ip}:8080",
        outcome="ok",
        token=dst.name,
        peer=f"{seen}:{40000 + index}",
        local=f"{dst.ip}:8080",
        ttl=64 if same else 62,
        rtt_us=(60 if same else 190) + index % 37,
        attempts=2 if index == 5 else 1,
    )


def _mesh(sample: Sample) -> Iterator[Exchange]:
    index = 0
    for src in sample.pods:
        for dst in sample.pods:
            for proto in ("tcp", "udp"):
                index += 1
                yield _exchange(sample, src, dst, proto, index)


def _ladders(sample: Sample) -> Iterator[Rung]:
    limit = MTU - OVERHEAD
    for src, dst in (
        (sample.pods[0], sample.pods[-1]),
        (sample.pods[-1], sample.pods[0]),
        (sample.pods[0], sample.pods[1]),
    ):
        for size in (576, 1280, limit - 1, limit, limit + 1, MTU):
            fits = size <= limit
            yield Rung(
                batch="B2", src=src.name, src_node=f"n{src.node}", dst=dst.name, dst_node=f"n{dst.node}", size=size,
                outcome="ok" if fits else "msgsize", errno=0 if fits else 90, reported_mtu=None if fits else limit,
            )  # fmt: skip


def _lookups(sample: Sample) -> Iterator[Lookup]:
    pod = sample.pods[0]
    common = {"batch": "B4", "src": pod.name, "src_node": "n1", "server": "10.96.0.10"}
    yield Lookup.model_validate({
        **common, "purpose": "service", "name": "spread.cnilab-probe.svc.cluster.local.", "qtype": "A",
        "transport": "udp", "outcome": "ok", "rcode": "NOERROR", "answers": ("10.96.14.7",), "ms": 0.8,
    })  # fmt: skip
    yield Lookup.model_validate({
        **common, "src": sample.pods[1].name, "purpose": "service", "name": "spread.cnilab-probe.svc.cluster.local.",
        "qtype": "A", "transport": "udp", "outcome": "ok", "rcode": "NOERROR", "answers": ("10.96.14.7",), "ms": 1.8,
    })  # fmt: skip
    searched = [
        Query(name=f"www.outside.test.{suffix}", qtype="A", rcode="NXDOMAIN", ms=0.4)
        for suffix in ("cnilab-probe.svc.cluster.local.", "svc.cluster.local.", "cluster.local.")
    ]
    searched.append(Query(name="www.outside.test.", qtype="A", rcode="NOERROR", answers=("8.8.8.8",), ms=1.1))
    yield Lookup.model_validate({
        **common, "purpose": "search", "name": "www.outside.test", "qtype": "A", "transport": "libc", "outcome": "ok",
        "rcode": "NOERROR", "answers": ("8.8.8.8",), "queries": searched, "ms": 2.6,
    })  # fmt: skip
    yield Lookup.model_validate({
        **common, "purpose": "negative", "name": "nobody.cnilab-probe.svc.cluster.local.", "qtype": "A",
        "transport": "udp", "outcome": "ok", "rcode": "NXDOMAIN", "ms": 0.5,
    })  # fmt: skip


def _services(sample: Sample) -> Iterator[Exchange]:
    client, backends = sample.pods[0], sample.pods[1:]
    base = _exchange(sample, client, client, "tcp", 1).model_dump()
    for turn in range(12):
        backend = backends[turn % len(backends)]
        yield Exchange.model_validate({
            **base, "batch": "B3", "purpose": "spread", "dst": "spread", "dst_node": "", "dial": "10.96.14.7:80",
            "token": backend.name, "peer": f"{client.ip}:50001",
        })  # fmt: skip
    yield Exchange.model_validate({
        **base, "batch": "B3", "purpose": "spread", "src": "h1", "src_ip": sample.address(1), "dst": "spread",
        "dst_node": "", "dial": "10.96.14.7:80", "token": backends[-1].name, "peer": "10.244.0.0:50003",
    })  # fmt: skip
    yield Exchange.model_validate({
        **base, "batch": "B3", "purpose": "no-endpoints", "dst": "empty", "dst_node": "", "dial": "10.96.20.9:80",
        "outcome": "refused", "errno": 111, "token": "", "peer": "",
    })  # fmt: skip
    yield Exchange.model_validate({
        **base, "batch": "B5", "purpose": "egress", "dst": "router", "dst_node": "", "dial": "8.8.8.8:8080",
        "token": "router", "peer": "172.18.0.11:50002",
    })  # fmt: skip


def _load(sample: Sample) -> Iterator[Observation]:
    src, dst = sample.pods[0], sample.pods[-1]
    common = {
        "batch": "B1", "src": src.name, "src_node": f"n{src.node}", "dst": dst.name, "dst_node": f"n{dst.node}",
        "dial": f"{dst.ip}:8080",
    }  # fmt: skip
    yield Burst.model_validate({**common, "purpose": "loss", "outcome": "lost", "sent": 200, "received": 198})
    yield Churn.model_validate({
        **common, "purpose": "churn", "outcome": "ok", "sequential": 500, "parallel": 200, "connected": 700,
        "p50_us": 281, "p99_us": 1210,
    })  # fmt: skip


def taps(sample: Sample) -> list[Tap]:
    """The cross-node ping, at seven places."""
    src, dst = sample.pods[0], sample.pods[sample.pods_per_node]
    places = (
        (1, src.name, "eth0", 0, 64, False),
        (1, "n1", "veth10ab", 14, 64, False),
        (1, "n1", "flannel.1", 38, 63, False),
        (1, "n1", "eth0", 52, 63, True),
        (2, "n2", "eth0", 81, 63, True),
        (2, "n2", "veth20ab", 118, 62, False),
        (2, dst.name, "eth0", 126, 62, False),
    )
    return [
        Tap(
            batch="B2", flow=f"{src.name}<>{dst.name}", order=order, node=f"n{node}", place=place,
            interface=interface, command=f"cnilab exec n{node} -- tcpdump -nni {interface} icmp or udp port 8472",
            pcap="captures/a-c-icmp-1.pcap", canary=True,
            packets=(
                _packet(sample, _Ping(dst, src, 8, 9), 3 + 126 - time, 126 - ttl, wrapped=wrapped),
                _packet(sample, _Ping(src, dst, 8, 7), time, ttl, wrapped=wrapped),
                _packet(sample, _Ping(dst, src, 0, 7), 400 - time, 126 - ttl, wrapped=wrapped),
            ),
        )
        for order, (node, place, interface, time, ttl, wrapped) in enumerate(places)
    ]  # fmt: skip


@dataclass(frozen=True)
class _Ping:
    """An echo from one pod to another, or its answer."""

    src: Pod
    dst: Pod
    kind: Literal[8, 0]
    ident: int


def _packet(sample: Sample, ping: _Ping, time: int, ttl: int, *, wrapped: bool) -> Packet:
    src, dst = ping.src, ping.dst
    inner = Packet(
        t_us=time, src=src.ip, dst=dst.ip, proto="icmp", length=84, ttl=ttl, ip_id=4711, df=ping.kind == 8,
        icmp_type=ping.kind, icmp_code=0, icmp_seq=1, icmp_id=ping.ident,
        src_mac=f"f2:00:00:00:00:{src.node:02x}", dst_mac=f"f2:00:00:00:00:{dst.node:02x}",
    )  # fmt: skip
    if not wrapped:
        return inner
    return Packet(
        t_us=time, src=sample.address(src.node), dst=sample.address(dst.node), proto="udp", length=134, ttl=64,
        src_port=51423, dst_port=8472, vni=1, src_mac=f"0a:00:00:00:00:{10 + src.node:02x}",
        dst_mac=f"0a:00:00:00:00:{10 + dst.node:02x}", inner=inner,
    )  # fmt: skip


def results(sample: Sample) -> list[Result]:
    """results.jsonl: passes, one failure, one skip, one not applicable, one flaky, one record."""
    good = [
        ("model.pod-ip.unique", "Every pod address is unique in the cluster"),
        ("model.pod-pod.same-node", "All pods of one node reach each other"),
        ("model.pod-pod.cross-node", "All pods on all nodes reach each other"),
        ("model.no-nat.same-node", "No address is translated between pods of one node"),
        ("model.identity", "Traffic reaches the pod it was sent to"),
        ("ipam.cidr.disjoint", "Pod ranges of nodes do not overlap"),
        ("ipam.lease.match", "Leases are those of running pods"),
        ("svc.clusterip.reach", "Every pod reaches every Service"),
        ("dns.service", "Every Service has its address record"),
        ("dns.search", "Short names resolve by the search path"),
        ("mtu.exact", "A packet of exactly the pod MTU passes unfragmented"),
        ("mtu.plus-one", "One byte more is refused with the right error"),
        ("egress.source", "The outside sees the address of the pod's own node"),
        ("node.routes", "Each node has exactly the routes of the variant"),
    ]
    good += [(f"node.extra-{number}", f"Extra {number}") for number in range(sample.requirements)]
    reached = Leg(leg="a>c/tcp/v4/8080", status="pass", statement="10.244.0.2 (a, n1) reached 10.244.1.2 (c, n2)")
    made = [
        Result(
            id=name, title=title, level="M", source="The Kubernetes network model", status="pass",
            statement=f"{title}: all {6 + number} legs are as expected", tested=6 + number, total=6 + number,
            legs=(reached,),
            controls=(Control(kind="P1", ok=True, detail="the same probe between pods of one node works"),),
            wall_ms=12.5 + number,
        )
        for number, (name, title) in enumerate(good)
    ]  # fmt: skip
    made[2] = made[2].model_copy(update={"flaky": True})
    made.insert(4, _failure(sample))
    made += [
        Result(
            id="mtu.mss", title="TCP announces a segment size that fits", level="S", status="fail",
            statement="The SYN from a to c announces 1460 where 1410 fits", tested=2, total=2, wall_ms=3.0,
            legs=(Leg(leg="a>c", status="fail", expected=1410, observed=1460, unit="B", statement="MSS 1460 > 1410"),),
        ),
        Result(
            id="conn.idle", title="An idle connection survives", level="S", status="skip", reason="disruptive-off",
            statement="not run: disruptive checks are off",
        ),
        Result(
            id="np.default", title="Without a policy everything is allowed", level="M", status="not-applicable",
            statement="flannel does not enforce NetworkPolicy", gates={"np": False},
        ),
        Result(
            id="model.pod-node.source", title="Which source a remote node sees", level="R", status="pass",
            statement="pods are seen by remote nodes under their own node's address", tested=4, total=4,
        ),
    ]  # fmt: skip
    return made


def _failure(sample: Sample) -> Result:
    b, last = sample.pods[1], sample.pods[-1]
    statement = f"{b.ip} ({b.name}, n1) reached {last.ip} ({last.name}, n{last.node}) as 10.244.0.0, flannel.1 of n1"
    return Result(
        id="model.no-nat.cross-node",
        title="No address is translated between nodes",
        level="M",
        source="The Kubernetes network model",
        gates={"multi": True},
        status="fail",
        reason="wrong-source",
        statement=statement,
        tested=8,
        total=8,
        wall_ms=0.4,
        legs=(
            Leg(
                leg=f"{b.name}>{last.name}/tcp/v4/8080", status="fail", reason="wrong-source", expected=b.ip,
                observed="10.244.0.0", unit="ip", statement=statement,
            ),
            Leg(leg="a>c/tcp/v4/8080", status="pass", expected="10.244.0.2", observed="10.244.0.2", unit="ip"),
        ),
        controls=(Control(kind="P7", ok=True, detail="the API names the same addresses"),),
        evidence=(
            Evidence(kind="socket", detail={"client": f"{b.ip}:51348", "server_saw": "10.244.0.0:51348"}),
            Evidence(
                kind="kernel",
                detail={
                    "command": "iptables -t nat -S FLANNEL-POSTRTG",
                    "excerpt": "-A FLANNEL-POSTRTG -s 10.244.0.0/16 -j MASQUERADE --random-fully",
                },
            ),
        ),
        next=("cnilab exec n1 -- iptables -t nat -S FLANNEL-POSTRTG",),
    )  # fmt: skip


def lab_steps() -> list[LabStep]:
    """labs.jsonl: one record per expectation, the command and the evidence with the first of a step."""
    leases = {"table": "Routes", "columns": ["to", "via"], "rows": [["10.244.1.0/24", "10.244.1.0"]]}
    return [
        LabStep(
            lab="flannel-routes", step="routes", title="Routes of a node", place="node n1",
            command="ip -j route show dev flannel.1", exit_status=0,
            output="# node n1\n$ ip -j route\n10.244.1.0/24 via 10.244.1.0 onlink\n[exit 0]\n", status="pass",
            expectation="There is one route per other node.", observed="1 == 1", seconds=0.02,
            evidence=(
                Evidence(kind="log", detail={"transcript": "labs/flannel-routes/01-routes.txt", "runs": 1}),
                Evidence(kind="kernel", detail=leases),
            ),
        ),
        LabStep(
            lab="flannel-routes", step="routes", title="Routes of a node", place="node n1", status="record",
            expectation="Its gateway.", observed="10.244.1.0",
        ),
        LabStep(
            lab="flannel-routes", step="port", title="The port of the tunnel", place="node n1",
            command="ip -d link show flannel.1", exit_status=0, output="vxlan id 1 dstport 8472 nolearning\n",
            status="pass", expectation="UDP port 8472", observed="8472 == 8472",
            claim="VXLAN is UDP 4789. (That is IANA's number; flannel uses 8472.)", seconds=0.01,
        ),
        LabStep(
            lab="pod-pause", step="kill", title="Kill the application", place="pod labs/two",
            command="kill -9 42", exit_status=1, output="no such process\n", status="fail",
            expectation="restarts go up by one, the address stays", observed="restarts stayed at 0", seconds=1.4,
        ),
        LabStep(
            lab="docker-networks", step="needs", title="Default, custom, host", place="operator", status="skip",
            reason="needs a Docker engine",
        ),
    ]  # fmt: skip


def faults() -> list[FaultRun]:
    """faults.jsonl."""
    return [
        FaultRun(
            fault="F01", title="A route to a remote pod range is gone", inject="ip route del 10.244.1.0/24",
            outcome="killed", killed_by=("model.pod-pod.cross-node", "node.routes"), seconds=0.9,
        ),
        FaultRun(
            fault="F12", title="One direction of UDP is dropped", inject="nft add rule ...", outcome="survived",
            survived=("model.one-way",), seconds=0.8,
        ),
    ]  # fmt: skip


def events() -> list[Event]:
    """events.jsonl."""
    steps = (
        ("up", "Bring up the lab", 0.0, 6.4),
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
        made.append((start, Event(at=_at(start), step=step, state="started", title=title)))
        made.append((end, Event(at=_at(end), step=step, state="ok", title=title, seconds=end - start)))
    return [event for _, event in sorted(made, key=lambda item: item[0])]


def _at(seconds: float) -> str:
    return f"2026-11-21T15:00:{seconds:09.6f}Z"
