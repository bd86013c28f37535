"""Calls of plugins as a runtime makes them, and what is read of what a node prints about itself."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

import pytest

from harness.runner import Argv, Completed, HostRunner
from harness.steps.suite import cni_calls, cni_scratch
from harness.steps.suite.cni_calls import Attachment, Calls
from tests.unit.probes.fake import FakeNode

TO = Attachment("one", "cnilab-one")
CONF: dict[str, Any] = {
    "name": "net",
    "cniVersion": "1.0.0",
    "plugins": [{"type": "bridge", "ipam": {"type": "host-local"}}, {"type": "portmap"}],
}
RESULT = {
    "cniVersion": "1.0.0",
    "interfaces": [
        {"name": "cni0", "mac": "AA:00:00:00:00:01"},
        {"name": "eth0", "mac": "AA:00:00:00:00:02", "sandbox": "x"},
    ],
    "ips": [{"address": "10.244.0.7/24"}],
}

LOOK = """\
@leases
/var/lib/cni/networks/cbr0/10.244.0.7
/var/lib/cni/networks/cbr0/lock
/var/lib/cni/networks/cbr0/last_reserved_ip.0
@links
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536
7: veth1@if2: <BROADCAST,UP> mtu 1450
@routes
10.244.0.7 dev veth1 scope link linkdown
default via 10.244.0.1 dev eth0
@neighbours
10.244.0.7 dev cni0 lladdr aa:00:00:00:00:02 REACHABLE
10.244.0.9 dev cni0 FAILED
10.244.0.8 dev cni0 lladdr aa:00:00:00:00:08 STALE
fe80::7 dev cni0 lladdr aa:00:00:00:00:02 STALE
@fdb
aa:00:00:00:00:02 dev veth1 master cni0
@rules
-A CNI-DN -s 10.244.0.7/32 -j MARK
@rules
ip daddr 10.244.0.7 counter packets 12 bytes 900 accept
tcp dport 80 dnat to 10.244.0.7:8080
"""


class Plugins(HostRunner):
    """Answers each call of a plugin with its next answer: exit code, and what it prints."""

    def __init__(self, *answers: tuple[int, object]) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked: list[tuple[dict[str, str], str, dict[str, Any]]] = []

    def run(self, argv: Argv, *, input: str | None = None, **_: object) -> Completed:  # noqa: A002
        _env, *settings, program = (str(word) for word in argv)
        words = dict(word.partition("=")[::2] for word in settings)
        self.asked.append((words, program, json.loads(input or "{}")))
        status, said = self.answers.pop(0)
        text = said if isinstance(said, str) else json.dumps(said)
        return Completed(tuple(map(str, argv)), status, text, "E" if status else "")

    def programs(self) -> list[str]:
        return [program.rpartition("/")[2] for _, program, _ in self.asked]


def calls(*answers: tuple[int, object]) -> tuple[Calls, Plugins]:
    plugins = Plugins(*answers)
    return Calls(FakeNode("n1", IPv4Address("172.18.0.11"), plugins)), plugins


def test_an_add_hands_each_result_on_to_the_next_plugin() -> None:
    made, plugins = calls((0, RESULT), (0, RESULT | {"routes": []}))
    assert made.chain("add", "ADD", CONF, TO) == RESULT | {"routes": []}
    assert plugins.programs() == ["bridge", "portmap"]
    (words, _, first), (_, _, second) = plugins.asked
    assert words == {
        "CNI_COMMAND": "ADD", "CNI_PATH": "/opt/cni/bin", "CNI_CONTAINERID": "one",
        "CNI_NETNS": "/run/netns/cnilab-one", "CNI_IFNAME": "eth0",
    }  # fmt: skip
    assert first == {"type": "bridge", "ipam": {"type": "host-local"}, "name": "net", "cniVersion": "1.0.0"}
    assert second == {"type": "portmap", "name": "net", "cniVersion": "1.0.0", "prevResult": RESULT}


def test_an_add_ends_with_the_plugin_that_fails() -> None:
    made, plugins = calls((1, {"code": 11, "msg": "the store is locked"}))
    assert made.chain("add", "ADD", CONF, TO) is None
    assert plugins.programs() == ["bridge"]
    (call,) = made.made
    assert (call["status"], call["output"]) == (1, {"code": 11, "msg": "the store is locked"})
    assert (call["step"], call["container"], call["stderr"]) == ("add", "one", "E")


def test_a_del_goes_backwards_with_the_result_of_the_add_and_without_a_namespace_that_is_gone() -> None:
    made, plugins = calls((0, ""), (0, ""))
    made.chain("del", "DEL", CONF, TO, gone=True, result=RESULT)
    assert plugins.programs() == ["portmap", "bridge"]
    assert [(words["CNI_NETNS"], conf["prevResult"]) for words, _, conf in plugins.asked] == [("", RESULT)] * 2


def test_what_is_no_json_is_kept_to_its_end() -> None:
    made, _ = calls((2, "x" * 500 + "panic: nil"))
    assert made.chain("add", "ADD", CONF, TO) is None
    assert made.made[0]["output"].endswith("panic: nil")
    assert len(made.made[0]["output"]) == 400


class Looks(HostRunner):
    """Shows the next of several lists of links each time it is asked; the last one stays."""

    def __init__(self, *links: list[str]) -> None:
        super().__init__()
        self.links = list(links)
        self.asked = 0

    def run(self, argv: Argv, **_: object) -> Completed:
        self.asked += 1
        names = self.links.pop(0) if len(self.links) > 1 else self.links[0]
        rows = (f"{number}: {name}@if2: <UP> mtu 1500" for number, name in enumerate(names, 1))
        return Completed(tuple(map(str, argv)), 0, "\n".join(["@links", *rows]), "")


@pytest.mark.parametrize(
    ("links", "asked", "left"),
    [
        ([["lo"], ["lo", "lxc1"], ["lo"]], 3, ["lo"]),
        ([["lo", "lxc0"], ["lo"]], 2, ["lo"]),
        ([["lo"], ["lo", "lxc1"]], 0, ["lo", "lxc1"]),
    ],
    ids=["gone-later", "another-pod-went", "left-behind"],
)
def test_links_of_a_namespace_that_is_gone_are_waited_for_and_what_stays_is_a_fact(
    links: list[list[str]], asked: int, left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel takes the links away later: on a busy machine, DEL is over before that."""
    monkeypatch.setattr(cni_calls, "GONE", 0.5)
    looks = Looks(*links)
    made = Calls(FakeNode("n1", IPv4Address("172.18.0.11"), looks))
    made.snapshot("before")
    made.settled("gone", like="before")
    assert made.looks["gone"]["links"] == left
    assert looks.asked == asked or (not asked and looks.asked > 2)


def test_a_look_is_read_by_kind_without_what_changes_while_nothing_does() -> None:
    assert cni_calls.sections(LOOK) == {
        "leases": ["10.244.0.7"],
        "links": ["lo", "veth1"],
        "routes": ["10.244.0.7 dev veth1 scope link", "default via 10.244.0.1 dev eth0"],
        "neighbours": [
            "10.244.0.7 dev cni0 lladdr aa:00:00:00:00:02",
            "10.244.0.8 dev cni0 lladdr aa:00:00:00:00:08",
            "fe80::7 dev cni0 lladdr aa:00:00:00:00:02",
        ],
        "fdb": ["aa:00:00:00:00:02 dev veth1 master cni0"],
        "rules": [
            "-A CNI-DN -s 10.244.0.7/32 -j MARK",
            "ip daddr 10.244.0.7 accept",
            "tcp dport 80 dnat to 10.244.0.7:8080",
        ],
    }


def test_a_kind_that_could_not_be_read_is_missing_and_not_empty() -> None:
    assert cni_calls.sections("@leases\n@links\n1: lo: <UP>\n") == {"leases": [], "links": ["lo"]}


def test_an_attachment_is_known_by_its_container_its_addresses_and_the_mac_inside() -> None:
    made: list[dict[str, Any]] = [{"container": "one", "output": RESULT}, {"container": "", "output": "panic"}]
    assert cni_calls.marks(made) == {"one", "10.244.0.7", "aa:00:00:00:00:02"}


def test_of_a_look_the_lines_about_an_attachment_are_kept_and_all_leases_and_links() -> None:
    own = {"10.244.0.7", "aa:00:00:00:00:02"}
    assert cni_calls.about(cni_calls.sections(LOOK), own) == {
        "leases": ["10.244.0.7"],
        "links": ["lo", "veth1"],
        "routes": ["10.244.0.7 dev veth1 scope link"],
        "neighbours": ["10.244.0.7 dev cni0 lladdr aa:00:00:00:00:02"],  # the kernel's own of fe80:: is nobody's
        "fdb": ["aa:00:00:00:00:02 dev veth1 master cni0"],
        "rules": [
            "-A CNI-DN -s 10.244.0.7/32 -j MARK",
            "ip daddr 10.244.0.7 accept",
            "tcp dport 80 dnat to 10.244.0.7:8080",
        ],
    }


def test_an_address_is_not_found_in_one_that_begins_with_it() -> None:
    look = {"routes": ["10.244.0.70 dev veth2 scope link"], "rules": ["dnat to 10.244.0.71:80"]}
    assert cni_calls.about(look, {"10.244.0.7"}) == {"routes": [], "rules": []}


FLANNEL = {"type": "flannel", "delegate": {"hairpinMode": True, "bridge": "cni0"}}
HOST_LOCAL = {"type": "bridge", "bridge": "cni0", "ipam": {"type": "host-local", "dataDir": "/var/lib/cni"}}
CILIUM = {"type": "cilium-cni"}


@pytest.mark.parametrize(
    ("main", "expected"),
    [
        (
            FLANNEL,
            {
                "type": "flannel",
                "delegate": {"hairpinMode": True, "bridge": "cnilab-few0"},
                "subnetFile": "/run/cnilab-verbs/cnilab-few/subnet.env",
                "dataDir": "/run/cnilab-verbs/cnilab-few/flannel",
                "ipam": {"dataDir": "/run/cnilab-verbs/cnilab-few"},
            },
        ),
        (
            HOST_LOCAL,
            {
                "type": "bridge",
                "bridge": "cnilab-few0",
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": "198.18.8.0/29"}]],
                    "dataDir": "/run/cnilab-verbs/cnilab-few",
                },
            },
        ),
    ],
)
def test_a_network_that_no_pod_has_keeps_what_is_the_nodes_and_has_a_store_of_its_own(
    main: dict[str, Any], expected: dict[str, Any]
) -> None:
    conf = {"name": "cbr0", "cniVersion": "0.3.1", "plugins": [main, {"type": "portmap"}]}
    made = cni_scratch.configured(conf, ["ipv4"], cni_scratch.NARROW, "1.1.0")
    assert made == {"name": "cnilab-few", "cniVersion": "1.1.0", "plugins": [expected]}


def test_who_has_its_addresses_from_an_agent_gets_no_network_of_its_own() -> None:
    conf = {"name": "cilium", "cniVersion": "0.3.1", "plugins": [CILIUM]}
    assert cni_scratch.configured(conf, ["ipv4"], cni_scratch.NARROW, "0.3.1") is None


def test_flannels_plugin_reads_both_families_of_a_network() -> None:
    assert cni_scratch.subnet_file(["ipv4", "ipv6"], cni_scratch.NARROW).splitlines() == [
        "FLANNEL_NETWORK=198.18.8.0/29",
        "FLANNEL_SUBNET=198.18.8.0/29",
        "FLANNEL_IPV6_NETWORK=2001:2:0:8::/125",
        "FLANNEL_IPV6_SUBNET=2001:2:0:8::/125",
        "FLANNEL_MTU=1400",
        "FLANNEL_IPMASQ=true",
    ]
