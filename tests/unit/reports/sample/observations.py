"""What the probes of the made-up run saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from harness.model.records import (
    Burst,
    Churn,
    Exchange,
    Lookup,
    Observation,
    Packet,
    Query,
    Rung,
    Tap,
)
from tests.unit.reports.sample.base import MTU, OVERHEAD, Pod, Sample


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
