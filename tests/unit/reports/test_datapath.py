"""The panel of eBPF: from bpftool's own words to rows."""

from __future__ import annotations

from harness.model.datapath import Datapath
from harness.model.records import Dump
from harness.probes.datapath import verdicts
from reports.panels.datapath import datapath

THERE = Datapath("/pins", "/cgroup", {}, "counters", {0: "forwarded", 133: "denied by policy"})


def entry(reason: str, direction: str, *packets: int) -> dict[str, object]:
    values = [{"cpu": cpu, "value": [f"{byte:#04x}" for byte in count.to_bytes(8, "little")] + ["0x00"] * 8}
              for cpu, count in enumerate(packets)]  # fmt: skip
    return {"key": [reason, direction, *["0x00"] * 6], "values": values}


def dump(when: str, connections: int, denied: int) -> Dump:
    data = {
        "programs": [
            {"devname": device, "kind": "clsact/ingress", "name": f"from_container-{device}"} for device in ("a1", "b2")
        ],
        "sockets": [{"attach_type": "cgroup_inet4_connect", "name": "connect4"}],
        "maps": {"TCP connections": connections},
        "verdicts": [{"reason": "denied by policy", "direction": "egress", "packets": denied}] if denied else [],
    }
    what = f"datapath-{when}"
    return Dump(batch="B1", vantage="node", place="n1", node="n1", what=what, data=data, command="bpftool")


def test_counters_are_summed_over_processors_and_named() -> None:
    found = verdicts([entry("0x00", "0x01", 3, 300), entry("0x85", "0x02", 1, 0), entry("0x99", "0x02", 1, 1)], THERE)
    assert found == [
        {"reason": "forwarded", "direction": "ingress", "packets": 303},
        {"reason": "denied by policy", "direction": "egress", "packets": 1},
        {"reason": "dropped, reason 153", "direction": "egress", "packets": 2},
    ]


def test_a_program_on_several_interfaces_is_one_row_with_the_name_that_the_source_has() -> None:
    (node,) = datapath([dump("before", 1, 0), dump("after", 4, 2)])
    assert [(row.program, row.hook, row.places) for row in node.programs] == [
        ("connect4", "cgroup_inet4_connect", ()),
        ("from_container", "clsact/ingress", ("a1", "b2")),
    ]


def test_maps_and_verdicts_show_what_traffic_changed() -> None:
    (node,) = datapath([dump("before", 1, 0), dump("after", 4, 2)])
    assert [(row.what, row.change) for row in node.maps] == [("TCP connections", 3)]
    assert [(row.what, row.before, row.after) for row in node.verdicts] == [("denied by policy, egress", 0, 2)]


def test_a_node_that_was_seen_only_before_has_no_panel() -> None:
    assert datapath([dump("before", 1, 0)]) == ()
