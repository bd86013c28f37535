"""Stored clusters, broken as faults break them: what is done, the leg that fails for it, and the key of the cause."""

from __future__ import annotations

from typing import Any

from conformance.inventory import Site
from conformance.path.places import world
from harness.model.family import Family
from tests.unit.conformance import stored
from tests.unit.conformance.stored import Change, Dumps

NETWORK = "flannel-dual"


def everything(_: object) -> bool:
    """All rows."""
    return True


def nothing(_: object) -> bool:
    """No row."""
    return False


def rows(place: str, what: str, keep: Any) -> Change:
    """Rows of a dump that are kept."""

    def change(dumps: Dumps) -> None:
        dumps[place, what] = [row for row in dumps[place, what] if keep(row)]

    return change


def edit(place: str, what: str, wanted: Any, **fields: object) -> Change:
    """Fields of the rows that are wanted."""

    def change(dumps: Dumps) -> None:
        found = [row for row in dumps[place, what] if wanted(row)]
        assert found
        for row in found:
            row.update(fields)

    return change


def sysctl(place: str, key: str, value: str) -> Change:
    """A setting."""

    def change(dumps: Dumps) -> None:
        dumps[place, "sysctl"][key] = value

    return change


def queue(place: str, device: str, kind: str) -> Change:
    """A queue at a device."""

    def change(dumps: Dumps) -> None:
        dumps[place, "queues"] = [{"dev": device, "kind": kind}]

    return change


def together(*changes: Change) -> Change:
    """One after the other."""

    def change(dumps: Dumps) -> None:
        for one in changes:
            one(dumps)

    return change


def rule(place: str, hook: str, *expr: object, prio: int = -10, kind: str = "filter", family: str = "inet") -> Change:
    """A chain of its own with a rule."""

    def change(dumps: Dumps) -> None:
        base = {"family": family, "table": "own", "name": "c", "handle": 1, "type": kind, "hook": hook, "prio": prio,
                "policy": "accept"}  # fmt: skip
        dumps[place, "rules-nft"] += [
            {"chain": base},
            {"rule": {"family": family, "table": "own", "chain": "c", "handle": 7, "expr": list(expr)}},
        ]

    return change


def to(address: str, protocol: str = "ip") -> dict[str, Any]:
    """What is sent to an address."""
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": "daddr"}}, "right": address}}


def saved(place: str, old: str, new: str, what: str = "rules-iptables") -> Change:
    """Rules of iptables with other words."""

    def change(dumps: Dumps) -> None:
        assert old in dumps[place, what]
        dumps[place, what] = "\n".join(
            line.replace(old, new) for line in dumps[place, what].splitlines() if new or old not in line
        )

    return change


def of_pod(place: str, text: str = "", *, six: bool = False) -> Change:
    """The rules of a pod's own network namespace, as `iptables-save` says them."""

    def change(dumps: Dumps) -> None:
        for what in ("rules-iptables", "rules-iptables6"):
            dumps[place, what] = text if what.endswith("6") is six else ""
        dumps[place, "rules-nft"] = []

    return change


def table(name: str, *rules: str) -> str:
    """A table of `iptables-save`."""
    chains = dict.fromkeys(line.split()[1] for line in rules)
    return "\n".join([f"*{name}", *(f":{chain} ACCEPT [0:0]" for chain in chains), *rules, "COMMIT"])


def deaf(place: str, kind: int, *, asker: str) -> Change:
    """A pod that drops a kind of message of neighbour discovery, and a pod that knows no neighbour and has to ask."""

    def change(dumps: Dumps) -> None:
        drops = table("filter", f"-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j DROP")
        of_pod(place, drops, six=True)(dumps)
        rows(asker, "neigh", nothing)(dumps)

    return change


def site(name: str, family: Family = "ipv4") -> Site:
    """A site of the healthy cluster."""
    return stored.context(NETWORK).of(family).site(name)


def mac(name: str, device: str = "flannel.1") -> str:
    """A node's MAC there."""
    return world(stored.context(NETWORK).of("ipv4")).places[name].mac(device)


def neighbour(row: Any) -> bool:
    """The entry for the other node's tunnel."""
    return bool(row.get("dst") == "10.244.1.0" and row.get("dev") == "flannel.1")


def vip(name: str, family: Family = "ipv4") -> str:
    """The virtual address of a Service."""
    services = stored.context(NETWORK).of(family).inventory.services
    return next(one.cluster_ip for one in services if one.name == name)


A, C = site("a").ip, site("c").ip
VETH = world(stored.context(NETWORK).of("ipv4")).places["a"].host_veth
MAC = mac("n2")
SHARE = "10.244.1.0/24"
BRIDGED = "net.bridge.bridge-nf-call-iptables"

BROKEN = {
    "route": (rows("n1", "route", lambda row: row.get("dst") != SHARE), "a>c/tcp", f"n1/route/{SHARE}"),
    "route-refuses": (
        edit("n1", "route", lambda row: row.get("dst") == SHARE, type="unreachable", dev="lo"),
        "a>c/tcp",
        f"n1/route/{SHARE}",
    ),
    "pod-route": (rows("a", "route", nothing), "a>c/tcp", "a/route/default"),
    "policy-rule": (
        lambda dumps: (
            dumps["n1", "policy-rules"].append({"priority": 52, "src": "all", "table": "52"})
            or dumps["n1", "route"].append({"dst": "default", "gateway": "172.18.0.1", "dev": "eth0", "table": "52"})
        ),
        "a>c/tcp",
        "n1/rule/52",
    ),
    "covered": (
        lambda dumps: (
            dumps["n1", "route"].append({"dst": "8.8.0.0/16", "dev": "docker0"})
            or dumps["n1", "addr"].append({"ifname": "docker0", "flags": ["UP"], "linkinfo": {"info_kind": "bridge"}})
        ),
        "a>public/tcp",
        "n1/route/8.8.0.0/16",
    ),
    "forwarding": (
        lambda dumps: [
            sysctl("n1", key, "0")(dumps)
            for key in ("net.ipv4.ip_forward", *(f"net.ipv4.conf.{name}.forwarding" for name in ("cni0", "eth0")))
        ],
        "a>c/tcp",
        "n1/sysctl/net.ipv4.ip_forward",
    ),
    "device-forwarding": (
        sysctl("n1", "net.ipv4.conf.cni0.forwarding", "0"),
        "a>c/tcp",
        "n1/sysctl/net.ipv4.conf.cni0.forwarding",
    ),
    "neighbour": (rows("n1", "neigh", lambda row: not neighbour(row)), "a>c/tcp", "n1/neigh/10.244.1.0"),
    "neighbour-wrong": (
        edit("n1", "neigh", neighbour, lladdr="02:00:00:00:00:99"),
        "a>c/tcp",
        "n1/neigh/10.244.1.0",
    ),
    "fdb": (rows("n1", "fdb", lambda row: row.get("dst") != "172.18.0.12"), "a>c/tcp", f"n1/fdb/{MAC}"),
    "fdb-wrong": (
        edit("n1", "fdb", lambda row: row.get("dst") == "172.18.0.12", dst="10.0.2.15"),
        "a>c/tcp",
        f"n1/fdb/{MAC}",
    ),
    "tunnel-down": (
        edit("n2", "addr", lambda row: row["ifname"] == "flannel.1", flags=[]),
        "a>c/tcp",
        "n2/link/flannel.1",
    ),
    "detached": (edit("n1", "addr", lambda row: row["ifname"] == VETH, master=""), "a>b/tcp", f"n1/port/{VETH}"),
    "isolated": (edit("n1", "bridge-link", everything, isolated=True), "a>b/tcp", "n1/port/*"),
    "hairpin": (edit("n1", "bridge-link", everything, hairpin=False), "a>sole-a/tcp", f"n1/port/{VETH}"),
    "unhooked": (sysctl("n1", BRIDGED, "0"), "b>sole-a/tcp", f"n1/sysctl/{BRIDGED}"),
    "drop": (rule("n1", "forward", to(C), {"drop": None}), "a>c/tcp", "n1/nft/inet own/c/1"),
    "reject": (
        rule("n1", "forward", {"reject": {"type": "icmpx"}}, prio=10),
        "a>c/tcp",
        "n1/nft/inet own/c/1",
    ),
    "tunnel-drop": (
        rule(
            "n2",
            "input",
            {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 8472}},
            {"drop": None},
        ),
        "a>c/tcp",
        "n2/nft/inet own/c/1",
    ),
    "ttl": (
        rule("n1", "forward", {"mangle": {"key": {"payload": {"protocol": "ip", "field": "ttl"}}, "value": 1}}),
        "a>c/tcp",
        "n1/nft/inet own/c/1",
    ),
    "notrack": (rule("n1", "prerouting", {"notrack": None}, prio=-400), "a>public/tcp", "n1/nft/inet own/c/1"),
    "masqueraded": (
        rule("n1", "postrouting", to(C), {"masquerade": None}, prio=90, kind="nat"),
        "a>c/tcp",
        "n1/nft/inet own/c/1",
    ),
    "redirected": (
        rule("n1", "prerouting", to(C), {"dnat": {"addr": "10.244.1.250"}}, prio=-110, kind="nat"),
        "a>c/tcp",
        "n1/nft/inet own/c/1",
    ),
    "services": (saved("n1", f"-d {vip('sole-c')}/32", ""), "a>sole-c/tcp", "n1/services"),
    "unmasqueraded": (saved("n1", "FLANNEL-POSTRTG", ""), "a>public/tcp", "n1/masquerade"),
    "address": (
        edit("c", "addr", lambda row: row["ifname"] == "eth0", addr_info=[]),
        "a>c/tcp",
        f"c/addr/{C}",
    ),
    "nic-down": (edit("n2", "addr", lambda row: row["ifname"] == "eth0", flags=[]), "n1>n2/tcp", "n2/link/eth0"),
    "mtu": (edit("n1", "addr", lambda row: row["ifname"] == "eth0", mtu=1400), "a>c/1450", "n1/link/eth0"),
    "six-off": (
        lambda dumps: (
            sysctl("a", "net.ipv6.conf.eth0.disable_ipv6", "1")(dumps)
            or edit("a", "addr", lambda row: row["ifname"] == "eth0", addr_info=[])(dumps)
        ),
        "a>c/tcp/ipv6",
        "a/sysctl/net.ipv6.conf.eth0.disable_ipv6",
    ),
    "six-small": (
        edit("a", "addr", lambda row: row["ifname"] == "eth0", addr_info=[], mtu=1279),
        "a>c/tcp/ipv6",
        "a/link/eth0",
    ),
    "six-neighbours": (
        lambda dumps: (
            rule(
                "n2",
                "input",
                {
                    "match": {
                        "op": "==",
                        "left": {"payload": {"protocol": "icmpv6", "field": "type"}},
                        "right": {"set": ["nd-neighbor-solicit", "nd-neighbor-advert"]},
                    }
                },
                {"drop": None},
            )(dumps),
            rows("n1", "neigh", lambda row: row.get("dst") != "fd00:172:18::12")(dumps),
        ),
        "n1>n2/tcp/ipv6",
        "n2/nft/inet own/c/1",
    ),
    "pod-drops": (of_pod("c", table("filter", f"-A INPUT -s {A}/32 -j DROP")), "a>c/tcp", "c/iptables/filter/INPUT/1"),
    "pod-keeps": (
        lambda dumps: (
            of_pod("a")(dumps),
            rule("a", "output", to(C), {"drop": None})(dumps),
        ),
        "a>c/tcp",
        "a/nft/inet own/c/1",
    ),
    "pod-deaf": (deaf("a", 135, asker="b"), "b>a/tcp/ipv6", "a/iptables/filter/INPUT/1"),
    "pod-unrouted": (deaf("a", 136, asker="a"), "a>c/tcp/ipv6", "a/iptables/filter/INPUT/1"),
    "pod-unanswered": (deaf("b", 136, asker="b"), "b>a/tcp/ipv6", "b/iptables/filter/INPUT/1"),
    "blackhole": (
        lambda dumps: (
            dumps["n1", "policy-rules"].append({"priority": 50, "src": A, "table": "77"}),
            dumps["n1", "route"].append({"type": "blackhole", "dst": "default", "dev": "lo", "table": "77"}),
        ),
        "a>c/tcp",
        "n1/rule/50",
    ),
    "onlink": (
        lambda dumps: (
            dumps["a", "route"].append({"dst": "10.244.0.0/16", "dev": "eth0", "metric": 0})
            or rows("a", "route", lambda row: row.get("dst") != "10.244.0.0/16" or "gateway" not in row)(dumps)
        ),
        "a>c/tcp",
        "a/route/10.244.0.0/16",
    ),
    "ttl-low": (sysctl("a", "net.ipv4.ip_default_ttl", "1"), "a>c/tcp", "a/sysctl/net.ipv4.ip_default_ttl"),
    "ttl-low-node": (sysctl("n2", "net.ipv4.ip_default_ttl", "1"), "n2>a/tcp", "n2/sysctl/net.ipv4.ip_default_ttl"),
    "six-hops": (
        sysctl("a", "net.ipv6.conf.eth0.hop_limit", "1"),
        "a>c/tcp/ipv6",
        "a/sysctl/net.ipv6.conf.eth0.hop_limit",
    ),
    "pod-down": (
        together(edit("a", "addr", lambda row: row["ifname"] == "eth0", flags=[]), rows("a", "route", nothing)),
        "a>c/tcp",
        "a/link/eth0",
    ),
    "pod-down-there": (
        together(
            edit("c", "addr", lambda row: row["ifname"] == "eth0", flags=[]),
            edit("n2", "bridge-link", everything, state="disabled"),
        ),
        "a>c/tcp",
        "c/link/eth0",
    ),
    "bridge-down": (
        together(
            edit("n1", "addr", lambda row: row["ifname"] == "cni0", flags=[]),
            rows("n1", "route", lambda row: row.get("dev") != "cni0"),
            edit("n1", "bridge-link", everything, state="disabled"),
        ),
        "a>c/tcp",
        "n1/link/cni0",
    ),
    "bridge-down-there": (
        together(
            edit("n2", "addr", lambda row: row["ifname"] == "cni0", flags=[]),
            rows("n2", "route", lambda row: row.get("dev") != "cni0"),
        ),
        "a>c/tcp",
        "n2/link/cni0",
    ),
    "silent-gateway": (
        together(sysctl("n1", "net.ipv4.conf.all.arp_ignore", "8"), rows("a", "neigh", nothing)),
        "a>c/tcp",
        "n1/sysctl/net.ipv4.conf.all.arp_ignore",
    ),
    "mistaken-port": (
        lambda dumps: dumps["n2", "fdb"].append(
            {"mac": mac("c", "eth0"), "ifname": "vethother", "master": "cni0", "flags": ["sticky"], "state": "static"}
        ),
        "a>c/tcp",
        f"n2/fdb/{mac('c', 'eth0')}",
    ),
    "six-forwarding": (
        sysctl("n1", "net.ipv6.conf.all.forwarding", "0"),
        "a>c/tcp/ipv6",
        "n1/sysctl/net.ipv6.conf.all.forwarding",
    ),
}
"""What was done, the leg that fails for it, and the key of the cause."""
