"""The made-up run in a lab with both IP families: what was seen over IPv4, and its twin over IPv6 with a defect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.model.family import Family
from harness.model.records import Exchange, Leg, Observation, Packet, Result, Rung, Tap
from harness.model.run import RunDir
from harness.model.topology import Interface, Place, Topology, TopologyNode
from tests.unit.conformance.twins import forth, forth_text, resized, twin
from tests.unit.reports.sample.base import MTU, Sample, events, info, topology
from tests.unit.reports.sample.observations import observations
from tests.unit.reports.sample.verdicts import results

OVERHEAD = 70
EDGES = {1449: 1429, 1450: 1430, 1451: 1431}
FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")


def seen(sample: Sample) -> Iterator[Observation]:
    """observations.jsonl: every question over either family; over IPv6 the first pod does not reach the last one."""
    for one in observations(sample):
        four = one.model_copy(update={"dial": "10.244.1.3:8080"}) if isinstance(one, Rung) else one
        six = forth(resized(four, EDGES))
        if isinstance(four, Tap) and isinstance(six, Tap):
            yield four.model_copy(update={"packets": (*four.packets, *map(_longer, six.packets))})
            continue
        yield four
        if isinstance(six, Exchange) and (six.src, six.dst) == (sample.pods[0].name, sample.pods[-1].name):
            six = six.model_copy(update={"outcome": "timeout", "errno": 110, "token": "", "peer": "", "rtt_us": None})
        if isinstance(six, Rung) and six.src_node == six.dst_node and six.size < MTU:
            six = six.model_copy(update={"outcome": "ok", "errno": 0, "reported_mtu": None})  # their link is longer
        yield six


def _longer(packet: Packet) -> Packet:
    """A packet with the length that IPv6 headers give it."""
    inner = packet.inner and _longer(packet.inner)
    more = 20 if inner is None else 40
    return packet.model_copy(update={"flow_label": 0xBEEF5, "length": packet.length + more, "inner": inner})


def _link(link: Interface) -> Interface:
    mine = tuple(_twin(address) for address in link.addresses if not address.startswith("127."))
    return link.model_copy(update={"addresses": (*link.addresses, *mine)})


def _twin(address: str) -> str:
    bare, _, length = address.partition("/")
    return f"{twin(bare)}/{'128' if length == '32' else '64'}"


def _six(link: Interface) -> Interface:
    """The tunnel device of IPv6."""
    address = tuple(_twin(address) for address in link.addresses)
    return link.model_copy(update={
        "name": "flannel-v6.1", "addresses": address, "local": twin(link.local), "mtu": MTU - OVERHEAD,
        "mac": link.mac.replace("f2", "f6"),
    })  # fmt: skip


def _node(node: TopologyNode) -> TopologyNode:
    links: list[Interface] = []
    for link in node.interfaces:
        if link.kind == "vxlan":
            links += [link, _six(link)]
        else:
            links.append(_link(link))
    pods = tuple(pod.model_copy(update={"interfaces": tuple(map(_link, pod.interfaces))}) for pod in node.pods)
    return node.model_copy(update={"interfaces": tuple(links), "pods": pods})


def _place(place: Place) -> Place:
    return place.model_copy(update={"interfaces": tuple(map(_link, place.interfaces))})


def shape(sample: Sample) -> Topology:
    """topology.json."""
    four = topology(sample)
    ranges = {key: getattr(four, key) for key in ("underlay_cidr", "pod_cidr", "service_cidr")}
    six = {"underlay_cidr": "fd00:172:18::/64", "pod_cidr": "fd00:10:244::/56", "service_cidr": "fd00:10:96::/112"}
    return four.model_copy(
        update={
            "nodes": tuple(map(_node, four.nodes)), "outside": tuple(map(_place, four.outside)),
            **{key: f"{text}, {six[key]}" for key, text in ranges.items()},
        }
    )  # fmt: skip


def verdicts(sample: Sample) -> list[Result]:
    """results.jsonl: judged for each family; what failed over IPv4 holds over IPv6, and the other way round."""
    made = []
    for one in results(sample):
        if one.status in ("skip", "not-applicable") or one.id.startswith("ipam"):
            made.append(one)
            continue
        six = tuple(_leg(leg, failed=False) for leg in one.legs)
        said = {"ipv4": one.status, "ipv6": "pass"}
        update: dict[str, object] = {"legs": (*one.legs, *six), "families": said}
        if one.id == "model.pod-pod.cross-node":
            lost = "fd00:10:244::2 (a, n1) got no answer from [fd00:10:244:1::3]:8080/tcp (d, n2) (errno 110)"
            leg = Leg(leg="a>d/tcp/ipv6", status="fail", reason="timeout", statement=lost)
            update = {
                "legs": (leg, *one.legs), "families": {"ipv4": "pass", "ipv6": "fail"}, "status": "fail",
                "reason": "timeout", "statement": lost, "flaky": False,
            }  # fmt: skip
        made.append(one.model_copy(update=update))
    return made


def _leg(leg: Leg, *, failed: bool) -> Leg:
    status = "fail" if failed else "pass"
    return leg.model_copy(
        update={"leg": f"{forth_text(leg.leg)}/ipv6", "status": status, "statement": forth_text(leg.statement)}
    )


def write(path: Path, sample: Sample | None = None) -> RunDir:
    """Write the whole run directory."""
    sample = sample or Sample()
    run = RunDir(path)
    known = info(sample)
    run.write_info(known.model_copy(update={"spec": {**known.spec, "ipFamily": "dual"}}))
    for event in events():
        run.add_event(event)
    run.write_topology(shape(sample))
    run.add_observations(seen(sample))
    run.add_results(verdicts(sample))
    (run.directory("captures") / "a-c-icmp-1.pcap").write_bytes(b"")
    return run
