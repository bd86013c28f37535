"""What a driver leaves on nodes and in the API, as data, and the commands that take it away. Pure.

A driver names what is its own by patterns (fnmatch). Whether a node is really bare afterwards is judged elsewhere and
by another rule: there, everything counts that a node without a pod network does not have.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_network
from itertools import pairwise

from harness.cni.command import Command
from harness.model.family import Range
from harness.model.netstate import NetState, Route

PLUGIN_CHAINS = ("CNI-*",)
"""Of the plugins portmap and bridge (plugins/meta/portmap, pkg/ip/ipmasq_linux.go)."""

LEASES = "/var/lib/cni/*"
"""Results that libcni caches, host-local's leases, and configurations that plugins keep for DEL."""


@dataclass(frozen=True)
class Footprint:
    """What is a driver's own.

    Args:
        links: Interfaces; a pod's end goes with its pod.
        chains: Chains of iptables, with all rules that lead to them.
        comments: Comments of its rules in the built-in chains.
        sets: IP sets.
        tables: Routing tables by number, with the rules that lead to them.
        programs: eBPF programs attached to the node's own NIC or to its control group.
        cgroup: The control group they are attached to.
        files: Files and directories; what pins eBPF objects is one.
        plugins: Programs of its CNI plugins: one that still waits for an agent would write its files anew.
        annotations: Prefixes of a Node's annotations.
        groups: API groups of CustomResourceDefinitions that it makes by itself.
        leases: Leader elections: namespace/name.
    """

    links: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    cgroup: str = ""
    files: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    leases: tuple[str, ...] = ()


def removal(state: NetState, own: Footprint, pods: Sequence[Range], nics: Sequence[str]) -> list[Command]:
    """The commands that take a driver's things off a node, in order; none for what is not there.

    Args:
        state: What the node has.
        own: What is the driver's.
        pods: The pod network: routes into it are the driver's, wherever they lead.
        nics: The node's own interfaces, which stay.
    """
    return [
        *_programs(state, own, nics),
        *_links(state, own),
        *_routing(state, own, pods, nics),
        *_firewall(state, own),
        *(Command(("ipset", "destroy", name)) for name in state.sets if matches(name, own.sets)),
        *_files(state, own),
    ]


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name is one of those meant."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _programs(state: NetState, own: Footprint, nics: Sequence[str]) -> Iterator[Command]:
    """Those on links of the driver's go with the link, those held by a pin with the pin: the rest is detached."""
    mine = [one for one in state.programs if matches(one.name, own.programs)]
    for dev in sorted({one.dev for one in mine if one.dev in nics and one.place.startswith("tc ")}):
        yield Command(("tc", "qdisc", "del", "dev", dev, "clsact"))
    for dev in sorted({one.dev for one in mine if one.dev in nics and one.place.startswith("xdp ")}):
        yield Command(("ip", "link", "set", "dev", dev, "xdp", "off"))
    for one in mine:
        kind, _, attach = one.place.partition(" ")
        if kind == "cgroup":
            # Refused where a pinned link holds it: it ends with the pin.
            yield Command(("bpftool", "cgroup", "detach", own.cgroup, attach, "id", str(one.id)), may_fail=True)


def _links(state: NetState, own: Footprint) -> Iterator[Command]:
    names = [link.name for link in state.links if matches(link.name, own.links)]
    if names:
        # -force: of two ends of one pair, the second is gone with the first.
        lines = "".join(f"link delete dev {name}\n" for name in names)
        yield Command(("ip", "-force", "-batch", "-"), lines, may_fail=True)


def _routing(state: NetState, own: Footprint, pods: Sequence[Range], nics: Sequence[str]) -> Iterator[Command]:
    lines: dict[str, list[str]] = {"-4": [], "-6": []}
    for rule in state.rules:
        words = rule.text.split()
        if "lookup" in words and words[words.index("lookup") + 1] in own.tables:
            lines[_flag(rule.family)].append(f"rule delete priority {rule.priority} {rule.text}")
    for route in state.routes:
        if route.table in own.tables or (route.dev in nics and inside(route, pods)):
            words = [f"route delete {route.dst}", f"dev {route.dev}" if route.dev else "", f"table {route.table}"]
            lines[_flag(route.family)].append(" ".join(filter(None, words)))
    for one in state.neighbours:
        if one.dev in nics:
            lines["-6" if ":" in one.dst else "-4"].append(f"neigh delete {one.dst} dev {one.dev}")
    for family, batch in lines.items():
        if batch:
            # -force: routes over links that were just deleted went with them.
            yield Command(("ip", family, "-force", "-batch", "-"), "\n".join(batch) + "\n", may_fail=True)


def _flag(family: str) -> str:
    return "-6" if family == "inet6" else "-4"


def inside(route: Route, networks: Iterable[Range]) -> bool:
    """Whether a route leads into one of some networks, or a part of it."""
    if route.dst == "default":
        return False
    target = ip_network(route.dst, strict=False)
    return any(
        target.version == network.version and target.subnet_of(network)  # type: ignore[arg-type]  # of one family
        for network in networks
    )


def _firewall(state: NetState, own: Footprint) -> Iterator[Command]:
    for program, saved in sorted(state.firewall.items()):
        batch = without(saved, own)
        if batch:
            yield Command((f"{program}-restore", "--noflush"), batch)


def without(saved: str, own: Footprint) -> str:
    """Input of `iptables-restore --noflush` that removes a driver's chains and every rule that leads there.

    Args:
        saved: Output of `iptables-save`.
        own: What is the driver's.

    Returns:
        Empty when there is nothing to remove.
    """
    batch: list[str] = []
    for table, chains, rules in tables_of(saved):
        mine = [chain for chain in chains if matches(chain, own.chains)]
        # A rule first, then the chains empty, then the chains themselves: they may lead to each other.
        lines = [
            f"-D {rule.removeprefix('-A ')}"
            for rule in rules
            if rule.split()[1] not in mine and (target(rule) in mine or comment(rule) in own.comments)
        ]
        lines += [f"-F {chain}" for chain in mine] + [f"-X {chain}" for chain in mine]
        if lines:
            batch += [f"*{table}", *lines, "COMMIT"]
    return "\n".join([*batch, ""]) if batch else ""


def tables_of(saved: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Tables of `iptables-save`: the name, its chains that are not built in, its rules."""
    table, chains, rules = "", list[str](), list[str]()
    for line in saved.splitlines():
        if line.startswith("*"):
            table, chains, rules = line[1:].strip(), [], []
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            if policy == "-":
                chains.append(name)
        elif line.startswith("-A "):
            rules.append(line)
        elif line.startswith("COMMIT"):
            yield table, chains, rules


def target(rule: str) -> str:
    """Where a rule leads; empty for one that only counts."""
    return _value(rule, {"-j", "-g"})


def comment(rule: str) -> str:
    """A rule's comment; empty when it has none."""
    return _value(rule, {"--comment"})


def _value(rule: str, options: Collection[str]) -> str:
    """The word after the last of some options: iptables-save quotes as a shell does, and writes the target last."""
    words = shlex.split(rule)
    return next((value for option, value in reversed(list(pairwise(words))) if option in options), "")


def _files(state: NetState, own: Footprint) -> Iterator[Command]:
    paths = [path for path in (*state.files, *state.pins) if matches(path, own.files)]
    # fnmatch's star also stands for slashes: what is below a directory goes with it.
    tops = [path for path in paths if not any(path.startswith(f"{other}/") for other in paths)]
    if tops:
        yield Command(("rm", "-rf", "--", *tops))
