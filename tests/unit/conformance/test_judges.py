"""Every judge sees its defect, names the leg, and gives no verdict when its control is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from conformance.checks.streams import udp_arrivals
from conformance.context import Context
from conformance.registry import CHECKS
from harness.model.records import Observation, Packet, Tap
from harness.model.variant import Gate, Wire
from tests.unit.conformance import simlab
from tests.unit.conformance.broken import BROKEN_CONTROLS, CASES, DUAL_CASES, Broken, rows, set_link, verb, without


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}: {case.what}")
def test_a_defect_fails_its_check_at_its_leg(case: Broken) -> None:
    result = simlab.verdict(simlab.changed(*case.changes), case.check)
    assert result.status == "fail", result.statement
    failed = {leg.leg: leg for leg in result.legs if leg.status == "fail"}
    assert case.leg in failed, sorted(failed)
    if case.reason:
        assert failed[case.leg].reason == case.reason
    assert failed[case.leg].statement
    assert result.next
    assert result.evidence


@pytest.mark.parametrize(
    ("check", "kind", "changes"), BROKEN_CONTROLS, ids=[f"{id_}-{kind}" for id_, kind, _ in BROKEN_CONTROLS]
)
def test_a_broken_control_is_no_verdict(check: str, kind: str, changes: tuple[simlab.Change, ...]) -> None:
    result = simlab.verdict(simlab.changed(*changes), check)
    assert result.status == "error", result.statement
    assert kind in {control.kind for control in result.controls if not control.ok}


def test_sentences_of_failed_legs_read_well(golden: Callable[[str, str], None]) -> None:
    lines = []
    for case in CASES:
        result = simlab.verdict(simlab.changed(*case.changes), case.check)
        statement = next(leg.statement for leg in result.legs if leg.leg == case.leg)
        lines.append(f"{case.check} {case.leg}\n    {statement}\n")
    golden("conformance/sentences.txt", "".join(lines))


def test_every_judge_has_a_defect_that_it_sees_or_can_only_record() -> None:
    seen = {case.check for case in (*CASES, *DUAL_CASES)}
    # What policies do where they are enforced has its own lab and its own defects: test_policy.py.
    left = {check.id for check in CHECKS.values() if check.level != "R" and "np" not in check.gates} - seen
    assert left == {"node.underlay", "ipam.cidr.disjoint", "svc.kpf", "cni.check.ok", "cni.check.detects"}


def test_an_underlay_that_is_down_is_an_error_of_the_lab_and_blocks_what_needs_it() -> None:
    from conformance.judging import exit_code, judge_all  # noqa: PLC0415 - one test needs the whole run

    run = simlab.changed(simlab.exchanges({"outcome": "timeout"}, purpose="underlay"))
    results = {result.id: result for result in judge_all(run, CHECKS.values(), CHECKS)}
    assert results["node.underlay"].status == "error"
    assert results["model.pod-pod.cross-node"].status == "skip"
    assert results["mtu.exact"].blocked_by == "node.underlay"
    assert exit_code(results.values()) == 11


@pytest.mark.parametrize(
    ("tried", "status", "reason"), [(500, "pass", ""), (150, "pass", ""), (99, "error", "slow"), (0, "error", "slow")]
)
def test_connections_for_which_the_machine_had_no_time_have_not_failed(tried: int, status: str, reason: str) -> None:
    made = {"untried": 500 - tried, "connected": tried + 200}
    result = simlab.verdict(simlab.changed(simlab.records("churn", made, src="a")), "conn.churn")
    assert (result.status, result.reason) == (status, reason)
    lost = {"untried": 500 - tried, "connected": tried + 190, "errors": {"110": 10}}
    result = simlab.verdict(simlab.changed(simlab.records("churn", lost, src="a")), "conn.churn")
    assert result.status == "fail"
    assert "10 of " in next(leg.statement for leg in result.legs if leg.status == "fail")


def test_loss_in_a_full_socket_is_no_loss_of_the_network() -> None:
    lost = simlab.records("burst", {"outcome": "lost", "received": 190}, purpose="loss", src="c")
    pod = simlab.inventory().by_name["a"]
    full = [simlab.pod_dump(batch, pod, "counters", {"Udp.RcvbufErrors": n}) for batch, n in (("B0", 5), ("B1", 15))]
    run = simlab.context([*simlab.changed(lost).observations, *full])
    result = simlab.verdict(run, "model.loss")
    assert result.status == "pass"
    assert [leg.status for leg in result.legs if leg.leg == "c>a/udp"] == ["record"]
    fewer = [full[0], simlab.pod_dump("B1", pod, "counters", {"Udp.RcvbufErrors": 9})]
    assert simlab.verdict(simlab.context([*simlab.changed(lost).observations, *fewer]), "model.loss").status == "fail"


def test_a_count_that_came_too_late_is_corrected_by_the_kernels_own() -> None:
    lost = simlab.records("burst", {"outcome": "lost", "received": 56}, purpose="loss", src="c")
    run = simlab.changed(lost)
    pod = simlab.inventory().by_name["a"]
    # mesh 3 + 3, self 2, localhost 2, hosts 2 + 2, ports 12 + 12, streams 20 + 200
    assert udp_arrivals(run, "a") == (0, 258, 0)
    for arrived, status in ((258, "pass"), (257, "fail")):
        counts = (("B0", 100), ("B1", 100 + arrived))
        kernel = [simlab.pod_dump(batch, pod, "counters", {"Udp.InDatagrams": n}) for batch, n in counts]
        assert simlab.verdict(simlab.context([*run.observations, *kernel]), "model.loss").status == status


UNHEARD = {"purpose": "ports", "src": "c", "dst": "a", "proto": "udp", "dial": "10.244.0.2:8472"}


@pytest.mark.parametrize(
    ("received", "arrived", "status"),
    [
        # Three requests to a port were not answered: nobody knows whether they arrived.
        (1, 257, "pass"),
        (1, 260, "pass"),
        (1, 256, "fail"),
        # Three datagrams of the stream may be lost, and the three requests have arrived in their place.
        (197, 257, "fail"),
        (196, 257, "pass"),
    ],
)
def test_requests_without_an_answer_do_not_stand_in_for_datagrams_that_were_lost(
    received: int, arrived: int, status: str
) -> None:
    """A tunnel that takes no traffic to its own port inside itself leaves such requests in every run."""
    lost = simlab.records("burst", {"outcome": "lost", "received": received}, purpose="loss", src="c")
    run = simlab.changed(lost, simlab.exchanges({"outcome": "timeout", "attempts": 3, "token": ""}, **UNHEARD))
    assert udp_arrivals(run, "a")[1:] == (257, 3)
    pod = simlab.inventory().by_name["a"]
    kernel = [
        simlab.pod_dump(batch, pod, "counters", {"Udp.InDatagrams": n}) for batch, n in (("B0", 0), ("B1", arrived))
    ]
    result = simlab.verdict(simlab.context([*run.observations, *kernel]), "model.loss")
    assert result.status == status
    (leg,) = [one for one in result.legs if one.leg == "c>a/udp"]
    assert ("reached the kernel of a, but were counted too late" in leg.statement) == (status == "pass")


def test_a_stream_that_was_never_counted_but_reached_the_kernel_is_a_busy_machine() -> None:
    run = simlab.changed(simlab.records("burst", {"outcome": "lost", "received": 0}, purpose="one-way", src="c"))
    pod = simlab.inventory().by_name["a"]
    for arrived, status in ((258, "pass"), (238, "fail")):
        counts = (("B0", 0), ("B1", arrived))
        kernel = [simlab.pod_dump(batch, pod, "counters", {"Udp.InDatagrams": n}) for batch, n in counts]
        assert simlab.verdict(simlab.context([*run.observations, *kernel]), "model.one-way").status == status


def test_overlapping_node_cidrs_are_found() -> None:
    inventory = simlab.inventory()
    nodes = tuple(node.model_copy(update={"pod_cidr": "10.244.0.0/24"}) for node in inventory.nodes)
    run = simlab.context()
    clash = type(run)(run.spec, run.variant, inventory.model_copy(update={"nodes": nodes}), run.observations)
    result = simlab.verdict(clash, "ipam.cidr.disjoint")
    assert result.status == "fail"
    assert result.statement.startswith("n1 has 10.244.0.0/24, n2 has 10.244.0.0/24: they overlap")


def test_an_address_of_which_the_api_says_nothing_is_no_agreement() -> None:
    run = simlab.changed(simlab.exchanges({"peer": ""}, purpose="mesh", src="a"))
    sites = (one.model_copy(update={"api_ips": ()} if one.name == "a" else {}) for one in run.inventory.sites)
    unknown = replace(run, inventory=run.inventory.model_copy(update={"sites": tuple(sites)}), memo={})
    result = simlab.verdict(unknown, "model.pod-ip.agrees")
    assert [leg.leg for leg in result.legs if leg.status == "fail"] == ["a"]


def test_check_is_judged_where_the_configuration_is_new_enough() -> None:
    run = simlab.context()
    run.gates["cni4"] = True
    assert simlab.verdict(run, "cni.check.ok").status == "pass"
    broken = simlab.changed(verb("check", status=1))
    broken.gates["cni4"] = True
    assert simlab.verdict(broken, "cni.check.ok").status == "fail"


def test_a_check_that_sees_no_damage_is_a_stub() -> None:
    silent = simlab.call("check-damaged", "portmap", 0, "")
    both = simlab.dumps(lambda data: data | {"calls": [*data["calls"], silent]}, what="verbs")
    good, blind = simlab.context(), simlab.changed(verb("check-damaged", status=0, output=""), both)
    for run, status in ((good, "pass"), (blind, "fail")):
        run.gates["cni4"] = True
        assert simlab.verdict(run, "cni.check.detects").status == status


def test_leftovers_of_kube_proxy_are_found() -> None:
    run = simlab.changed(simlab.dumps(lambda data: data + ":KUBE-SVC-ABC - [0:0]\n", what="rules-iptables"))
    run.gates["kpf"] = True
    assert simlab.verdict(run, "svc.kpf").status == "fail"


def test_the_end_of_an_older_connection_with_the_same_ports_is_no_translation() -> None:
    """Seen on a real wire: the last FIN of the other direction, whose client had been given the same port."""

    def with_an_echo(one: Observation) -> Observation:
        if not isinstance(one, Tap):
            return one
        swapped = tuple(_swapped(packet) for packet in one.packets if (packet.inner or packet).proto != "icmp")
        return one.model_copy(update={"packets": (*swapped, *one.packets)})

    result = simlab.verdict(simlab.changed(with_an_echo), "model.no-nat.wire")
    assert result.status == "pass", result.statement


def _swapped(packet: Packet) -> Packet:
    inner = packet.inner or packet
    other_way = inner.model_copy(update={"src": inner.dst, "dst": inner.src})
    return packet.model_copy(update={"inner": other_way}) if packet.inner else other_way


def promising(run: Context, *gates: Gate, **expected: object) -> Context:
    """A run of a network that promises something else."""
    expect = run.variant.expect.model_copy(update=expected)
    variant = run.variant.model_copy(update={"expect": expect, "gates": gates or run.variant.gates})
    return type(run)(run.spec, variant, run.inventory, run.observations)


def test_a_tunnel_device_has_the_mtu_that_its_network_gives_it() -> None:
    run = simlab.changed(rows(set_link("flannel.1", mtu=65535), vantage="node", what="addr"))
    assert simlab.verdict(run, "mtu.agree").status == "fail"
    assert simlab.verdict(promising(run, overlay_mtu=65535), "mtu.agree").status == "pass"
    legs = simlab.verdict(promising(run, overlay_mtu=9000), "mtu.agree").legs
    assert "flannel.1 of n1 has MTU 65535, not 9000 = 9000" in {leg.statement for leg in legs}


def test_a_bridge_over_all_nodes_need_not_keep_to_the_share_that_kubernetes_gave_its_node() -> None:
    address = {"family": "inet", "local": "10.244.192.1", "prefixlen": 16, "scope": "global"}
    run = simlab.changed(rows(set_link("cni0", addr_info=[address]), vantage="node", place="n1", what="addr"))
    assert simlab.verdict(run, "node.links").status == "fail"
    without = (gate for gate in run.variant.gates if gate != "ncidr")
    assert simlab.verdict(promising(run, *without), "node.links").status == "pass"


def test_without_a_bridge_pods_links_are_looked_at_all_the_same() -> None:
    bare: dict[str, object] = {"bridge": None, "links": ()}
    assert simlab.verdict(promising(simlab.context(), **bare), "node.links").status == "pass"
    down = simlab.changed(rows(set_link("vetha", flags=[]), vantage="node", place="n1", what="addr"))
    result = simlab.verdict(promising(down, **bare), "node.links")
    assert result.statement == "vetha of pod a on n1 is down"
    gone = simlab.changed(rows(without("ifname", "vetha"), vantage="node", place="n1", what="addr"))
    assert simlab.verdict(promising(gone, **bare), "node.links").statement == "vetha of pod a on n1 is absent"


WIREGUARD = Wire(kind="wireguard", port=51871)


def encrypted(change: Callable[[Tap, tuple[Packet, ...]], tuple[Packet, ...]]) -> Context:
    """A run of a variant whose nodes send nothing but WireGuard to each other.

    Args:
        change: From a tap on the underlay, and what it would see of WireGuard, to what it sees.
    """

    def sees(one: Observation) -> Observation:
        if not isinstance(one, Tap) or one.place != one.node or one.interface != "eth0":
            return one
        hidden = tuple(
            packet.model_copy(update={"inner": None, "vni": None, "src_port": 51871, "dst_port": 51871, "proto": "udp"})
            for packet in one.packets
            if packet.inner is not None
        )
        return one.model_copy(update={"packets": change(one, hidden)})

    run = simlab.changed(sees)
    expect = run.variant.expect.model_copy(update={"wire": WIREGUARD})
    return replace(run, variant=run.variant.model_copy(update={"expect": expect}), memo={})


ON_THE_WIRE = ("mtu.wire", "model.no-nat.wire")


def test_what_an_encrypted_tunnel_carries_need_not_be_readable() -> None:
    run = encrypted(lambda _, hidden: hidden)
    for name in ON_THE_WIRE:
        result = simlab.verdict(run, name)
        assert result.status == "pass", result.statement
    assert "unreadable" in simlab.verdict(run, "mtu.wire").statement
    assert "nothing readable" in simlab.verdict(run, "model.no-nat.wire").statement


def test_a_readable_packet_beside_an_encrypted_tunnel_is_found() -> None:
    leaking = encrypted(lambda tap, hidden: (*hidden, *(packet.inner for packet in tap.packets if packet.inner)))
    assert [simlab.verdict(leaking, name).status for name in ON_THE_WIRE] == ["fail", "fail"]
    assert "can be read" in simlab.verdict(leaking, "model.no-nat.wire").statement


def test_an_encrypted_tunnel_that_nobody_uses_is_found() -> None:
    plain = encrypted(lambda tap, _: tuple(packet.inner for packet in tap.packets if packet.inner))
    assert [simlab.verdict(plain, name).status for name in ON_THE_WIRE] == ["fail", "fail"]
    other = encrypted(lambda _, hidden: tuple(one.model_copy(update={"dst_port": 9, "src_port": 9}) for one in hidden))
    for name in ON_THE_WIRE:
        assert "no packet of wireguard was seen" in simlab.verdict(other, name).statement


def _in_vxlan(packet: Packet) -> Packet:
    return packet.model_copy(update={"dst_port": 8472, "inner": packet.model_copy(update={"proto": "esp"})})


def _in_esp(packet: Packet) -> Packet:
    return packet.model_copy(update={"proto": "esp", "src_port": None, "dst_port": None})


@pytest.mark.parametrize("wrap", [_in_esp, _in_vxlan])
def test_esp_counts_as_encrypted(wrap: Callable[[Packet], Packet]) -> None:
    run = encrypted(lambda _, hidden: tuple(map(wrap, hidden)))
    expect = run.variant.expect.model_copy(update={"wire": Wire(kind="esp")})
    run = replace(run, variant=run.variant.model_copy(update={"expect": expect}), memo={})
    assert [simlab.verdict(run, name).status for name in ON_THE_WIRE] == ["pass", "pass"]
