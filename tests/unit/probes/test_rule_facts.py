"""Where chains are and what devices have, as nft and bpftool print it."""

from __future__ import annotations

import json
from typing import Any

from harness.probes.facts import FACTS, data_of

CHAINS = """table ip nat {
	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
	}
	chain KUBE-SERVICES {
	}
}
table netdev narrow {
	chain ingress {
		type filter hook ingress device "eth0" priority filter; policy accept;
	}
	chain several {
		type filter hook egress devices = { "eth0", "flannel.1" } priority -500; policy accept;
	}
}
"""


def said(what: str, stdout: str) -> Any:
    return data_of(FACTS[what], {"status": 0, "stdout": stdout})


def test_chains_at_devices_are_listed_with_them_and_others_are_not() -> None:
    assert said("hook-devices", CHAINS) == [
        {"family": "netdev", "table": "narrow", "chain": "ingress", "devices": ["eth0"]},
        {"family": "netdev", "table": "narrow", "chain": "several", "devices": ["eth0", "flannel.1"]},
    ]


def test_programs_are_a_list_and_what_bpftool_says_of_a_problem_is_an_error() -> None:
    listed = [{"xdp": [], "tc": [{"devname": "eth0", "kind": "tcx/ingress", "name": "x"}], "flow_dissector": []}]
    assert said("programs", json.dumps(listed)) == listed
    problem = {"error": "can't open /proc/self/ns/net: No such file or directory"}
    assert said("programs", json.dumps(problem)) == {"error": f"unreadable output: {problem['error']}"}
