"""What can be asked of a kernel: commands and files, and how their output becomes data. Pure functions."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Fact:
    """One subject of a dump.

    Args:
        what: As the record says.
        parse: From the line of `responder batch` to the record's data.
        argv: A command …
        files: … or patterns of files to read; `{proc}` is the /proc directory of the place's process.
    """

    what: str
    parse: Callable[[Line], Any]
    argv: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The line a person would type."""
        if self.argv:
            return shlex.join(self.argv)
        return " ".join(["tail -n +1", *(pattern.replace("{proc}/root", "") for pattern in self.files)])


def data_of(fact: Fact, line: Line | None, problem: str = "") -> Any:
    """The data of a record; `{"error": …}` when the command failed, or printed what it never should.

    Args:
        fact: What was asked.
        line: The agent's answer; None when there is none.
        problem: Why there is none.
    """
    if line is None:
        return {"error": problem or "no answer"}
    if line.get("status"):
        return {"error": str(line.get("stderr", "")).strip() or f"exit status {line['status']}"}
    try:
        return fact.parse(line)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return {"error": f"unreadable output: {error}"}


def _rows(line: Line) -> list[Any]:
    """A list that iproute2 printed; it prints nothing at all when there is nothing."""
    text = str(line.get("stdout", "")).strip()
    return [row for row in json.loads(text) if row] if text else []


def _list(line: Line) -> list[Any]:
    """A list, and not what bpftool prints of a problem."""
    data = json.loads(_text(line))
    if not isinstance(data, list):
        msg = str(data.get("error", "not a list"))
        raise TypeError(msg)
    return data


def _routes(line: Line) -> list[Any]:
    return [row for row in _rows(line) if row.get("table") not in {"local", 255}]


def _text(line: Line) -> str:
    return str(line.get("stdout", ""))


def _nft(line: Line) -> list[Any]:
    rules: list[Any] = json.loads(_text(line))["nftables"]
    return rules


_TABLE: Final = re.compile(r"table (\w+) (\S+) \{")
_CHAIN: Final = re.compile(r"\s+chain (\S+) \{")
_DEVICES: Final = re.compile(r"hook \w+ devices? (?:= )?(.+?) priority")


def _hook_devices(line: Line) -> list[Any]:
    """Chains at hooks of devices, from `nft list chains`: nft 1.0.6 leaves devices out of its JSON."""
    rows: list[Any] = []
    place, chain = ("", ""), ""
    for text in _text(line).splitlines():
        if table := _TABLE.match(text):
            place = (table[1], table[2])
        elif named := _CHAIN.match(text):
            chain = named[1]
        elif found := _DEVICES.search(text):
            devices = re.findall(r'[^\s{},"]+', found[1])
            rows.append({"family": place[0], "table": place[1], "chain": chain, "devices": devices})
    return rows


def _processes(line: Line) -> list[Any]:
    """Of `ps`: number, state and name of each process that is no thread of the kernel's."""
    rows: list[Any] = []
    for text in _text(line).splitlines():
        pid, stat, name = text.split(None, 2)
        rows.append({"pid": int(pid), "stat": stat, "name": name})
    return rows


def _files(line: Line) -> dict[str, str]:
    return dict(sorted(line.get("files", {}).items()))


def _file(line: Line) -> str:
    """Content of the only file."""
    (content,) = line["files"].values()
    return str(content)


def _inode(line: Line) -> int:
    """From `net:[4026531840]`."""
    return int(_text(line).split("[")[1].split("]")[0])


def sysctl_key(path: str) -> str:
    """The name that sysctl(8) has for a file: separators swapped, so that a dot in an interface's name survives."""
    return path.removeprefix("/proc/sys/").translate(str.maketrans("./", "/."))


def _sysctls(line: Line) -> dict[str, str]:
    return {sysctl_key(path): text.strip() for path, text in _files(line).items()}


def _counters(line: Line) -> dict[str, int]:
    found: dict[str, int] = {}
    for path, text in _files(line).items():
        read = _conntrack if path.endswith("nf_conntrack") else _of_ipv6 if path.endswith("snmp6") else _named_pairs
        found |= read(text)
    return found


def _of_ipv6(text: str) -> dict[str, int]:
    """Of /proc/net/snmp6: a name and a number in each line; `Udp6InDatagrams` is `InDatagrams` of the group `Udp6`."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, number = line.split()
        if group := _GROUP6.match(name):
            found[f"{group[0]}.{name[group.end() :]}"] = int(number)
    return found


_GROUP6: Final = re.compile(r"UdpLite6|Udp6|Icmp6|Ip6")


def _named_pairs(text: str) -> dict[str, int]:
    """Of /proc/net/snmp and netstat: a line of names, then a line of numbers with the same first word."""
    found: dict[str, int] = {}
    lines = [line.split() for line in text.splitlines()]
    for names, numbers in zip(lines[::2], lines[1::2], strict=False):
        group = names[0].rstrip(":")
        found |= {f"{group}.{name}": int(value) for name, value in zip(names[1:], numbers[1:], strict=False)}
    return found


def _conntrack(text: str) -> dict[str, int]:
    """Of /proc/net/stat/nf_conntrack: names, then a row of hexadecimal numbers for each CPU.

    All are sums but `entries`, which every CPU reports whole.
    """
    head, *rows = [line.split() for line in text.splitlines() if line.strip()]
    found = {f"conntrack.{name}": 0 for name in head}
    for row in rows:
        for name, value in zip(head, row, strict=False):
            key = f"conntrack.{name}"
            found[key] = int(value, 16) if name == "entries" else found[key] + int(value, 16)
    return found


_CONF = "/proc/sys/net/ipv4/conf/*"

_ALL: Final = (
    Fact("addr", _rows, ("ip", "-d", "-j", "address")),
    Fact("route", _routes, ("ip", "-d", "-j", "route", "show", "table", "all")),
    Fact("policy-rules", _rows, ("ip", "-4", "-j", "rule")),
    Fact("policy-rules6", _rows, ("ip", "-6", "-j", "rule")),
    Fact("neigh", _rows, ("ip", "-j", "neighbour")),
    Fact("fdb", _rows, ("bridge", "-j", "fdb")),
    Fact("bridge-link", _rows, ("bridge", "-d", "-j", "link")),
    Fact("rules-iptables", _text, ("iptables-save", "-c")),
    Fact("rules-iptables6", _text, ("ip6tables-save", "-c")),
    Fact("rules-legacy", _text, ("iptables-legacy-save", "-c")),
    Fact("rules-legacy6", _text, ("ip6tables-legacy-save", "-c")),
    Fact(
        "legacy-tables",
        _files,
        files=("/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"),
    ),
    Fact("hook-devices", _hook_devices, ("nft", "list", "chains")),
    Fact("programs", _list, ("bpftool", "-j", "net", "show")),
    Fact("queues", _rows, ("tc", "-j", "qdisc", "show")),
    Fact("processes", _processes, ("ps", "-eo", "pid=,stat=,comm=")),
    Fact("rules-nft", _nft, ("nft", "-j", "list", "ruleset")),
    Fact("netns", _inode, ("readlink", "/proc/thread-self/ns/net")),
    Fact(
        "sysctl",
        _sysctls,
        files=(
            "/proc/sys/net/ipv4/ip_forward",
            "/proc/sys/net/ipv4/ip_default_ttl",
            "/proc/sys/net/ipv4/ip_local_port_range",
            "/proc/sys/net/ipv4/ip_no_pmtu_disc",
            "/proc/sys/net/ipv4/neigh/default/gc_thresh?",
            "/proc/sys/net/ipv6/conf/*/forwarding",
            "/proc/sys/net/ipv6/conf/*/hop_limit",
            "/proc/sys/net/ipv6/conf/*/disable_ipv6",
            "/proc/sys/net/ipv6/conf/*/accept_ra",
            "/proc/sys/net/ipv6/conf/*/accept_dad",
            "/proc/sys/net/ipv6/bindv6only",
            "/proc/sys/net/ipv6/neigh/default/gc_thresh?",
            "/proc/sys/net/bridge/bridge-nf-call-*",
            "/proc/sys/net/netfilter/nf_conntrack_max",
            "/proc/sys/net/netfilter/nf_conntrack_count",
            f"{_CONF}/forwarding",
            f"{_CONF}/rp_filter",
            f"{_CONF}/proxy_arp",
            f"{_CONF}/arp_ignore",
        ),
    ),
    Fact(
        "counters",
        _counters,
        files=(
            "/proc/thread-self/net/snmp",
            "/proc/thread-self/net/snmp6",
            "/proc/thread-self/net/netstat",
            "/proc/thread-self/net/stat/nf_conntrack",
        ),
    ),
    Fact("leases", _files, files=("/var/lib/cni/networks/*/*",)),
    Fact("conf", _files, files=("/etc/cni/net.d/*", "/run/flannel/subnet.env")),
    Fact("resolv-conf", _file, files=("{proc}/root/etc/resolv.conf",)),
)

FACTS: Final[Mapping[str, Fact]] = {fact.what: fact for fact in _ALL}

POD_FACTS: Final = (
    "addr", "route", "neigh", "netns", "sysctl", "counters", "resolv-conf", "rules-iptables", "rules-nft",
)  # fmt: skip
"""What a pod is asked for: it may have rules of its own, as sidecars of service meshes make them."""

POD_FACTS6: Final = ("rules-iptables6",)
"""What it is asked for as well, where pods have IPv6."""

NODE_FACTS: Final = (
    "addr", "route", "policy-rules", "neigh", "fdb", "bridge-link", "rules-iptables", "rules-nft", "rules-legacy",
    "legacy-tables", "hook-devices", "programs", "queues", "processes", "netns", "sysctl", "counters", "leases", "conf",
)  # fmt: skip
"""What a node is asked for."""

NODE_FACTS6: Final = ("policy-rules6", "rules-iptables6", "rules-legacy6")
"""What it is asked for as well, where pods have IPv6."""

OUTSIDE_FACTS: Final = ("addr", "route", "neigh", "sysctl", "counters")
"""What the router and the far host are asked for."""
