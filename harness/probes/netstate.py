"""A node's inventory: everything that a pod network may have made there. See `model.netstate`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.model.netstate import Link, Neighbour, NetState, PolicyRule, Program, Route
from harness.model.node import Node
from harness.model.wellknown import CILIUM_CGROUPS
from harness.probes import sandboxes

Row = dict[str, Any]

CGROUPS = (CILIUM_CGROUPS,)
"""Control groups that socket programs may be attached to; where one is missing, nothing is."""

_SHALLOW = ("/opt/cni/bin", "/run", "/run/cilium")
_DEEP = ("/etc/cni/net.d", "/var/lib/cni", "/sys/fs/bpf")
_PINS = "/sys/fs/bpf/"
_COUNTERS = re.compile(r"\[\d+:\d+\]")
_HEADS = {"src", "socket"}
_SERVICES = ("kube-proxy",)


def take(nodes: Sequence[Node]) -> list[NetState]:
    """Inventories of nodes, all at once; none of the node's own namespaces is touched.

    Args:
        nodes: Which.
    """
    running = sandboxes.of_nodes(nodes)
    with ThreadPoolExecutor(max_workers=max(1, min(32, len(nodes)))) as pool:
        return list(pool.map(lambda node: _take(node, running), nodes))


def _take(node: Node, running: sandboxes.Sandboxes) -> NetState:
    mounts = {line.split()[4] for line in node.file("/proc/1/mountinfo").splitlines()}
    paths = [path for path in _paths(node) if path not in mounts]
    return NetState(
        node=node.name,
        links=tuple(_links(_json(node, "ip", "-d", "-j", "link"))),
        routes=tuple(route for family in ("inet", "inet6") for route in _routes(node, family)),
        rules=tuple(rule for flag in ("-4", "-6") for rule in rules_of(_text(node, "ip", flag, "rule"), flag)),
        neighbours=tuple(_neighbours(_json(node, "ip", "-d", "-j", "neigh", "show", "nud", "all"))),
        firewall={program: without_counters(_text(node, f"{program}-save")) for program in ("iptables", "ip6tables")},
        tables=tuple(sorted(line.removeprefix("table ") for line in _text(node, "nft", "list", "tables").splitlines())),
        sets=tuple(sorted(_text(node, "ipset", "list", "-name").split())),
        transforms=tuple(_transforms(node)),
        programs=tuple(_programs(node)),
        pins=tuple(path for path in paths if path.startswith(_PINS)),
        files=tuple(path for path in paths if not path.startswith(_PINS)),
        pods=tuple(one.key for one in running.select(node=node.name, host_network=False)),
        agents=tuple(one.key for one in running.select(node=node.name, host_network=True)),
        processes=tuple(name for name in _SERVICES if _text(node, "pidof", name)),
    )


def _text(node: Node, *argv: str) -> str:
    """What a program prints; nothing where the machine has no such program, or the kernel no such feature."""
    return node.runner.run(["env", *argv], check=False).stdout


def _json(node: Node, *argv: str) -> list[Row]:
    text = _text(node, *argv).strip()
    rows = json.loads(text) if text else []
    return [row for row in rows if row] if isinstance(rows, list) else [rows]


def _links(rows: Iterable[Row]) -> Iterator[Link]:
    for row in rows:
        yield Link(name=row["ifname"], kind=str((row.get("linkinfo") or {}).get("info_kind") or ""))


def _routes(node: Node, family: str) -> Iterator[Route]:
    for row in _json(node, "ip", "-4" if family == "inet" else "-6", "-j", "route", "show", "table", "all"):
        if row.get("table") in {"local", 255} or row.get("type") in {"multicast", "anycast", "local"}:
            continue
        yield Route(
            dst=row["dst"],
            dev=row.get("dev", ""),
            via=str(row.get("gateway") or (row.get("via") or {}).get("host", "")),
            table=str(row.get("table", "main")),
            protocol=str(row.get("protocol", "")),
            family=family,
        )


def rules_of(text: str, flag: str = "-4") -> Iterator[PolicyRule]:
    """Rules as `ip rule` prints them.

    Args:
        text: `0: from all lookup local`, one per line, with a tab.
        flag: The family's: -4 or -6.
    """
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        yield PolicyRule(priority=int(number), text=rest.strip(), family="inet6" if flag == "-6" else "inet")


def _neighbours(rows: Iterable[Row]) -> Iterator[Neighbour]:
    for row in rows:
        # The kernel makes permanent ones for multicast groups and its own addresses: those say so.
        if "NOARP" in row.get("state", ()):
            continue
        if "PERMANENT" in row.get("state", ()) or "extern_learn" in row:
            yield Neighbour(dst=row["dst"], dev=row.get("dev", ""))


def without_counters(saved: str) -> str:
    """Output of `iptables-save` that is the same for the same rules."""
    return "".join(f"{_COUNTERS.sub('', line).strip()}\n" for line in saved.splitlines() if not line.startswith("#"))


def _transforms(node: Node) -> Iterator[str]:
    for kind in ("state", "policy"):
        for line in _text(node, "ip", "xfrm", kind).splitlines():
            # A head is not indented. Policies of sockets (IKE) have no addresses and belong to nobody's network.
            if line and not line[0].isspace():
                yield f"{kind} {line.strip()}"


def _programs(node: Node) -> Iterator[Program]:
    for found in _json(node, "bpftool", "-j", "net", "show"):
        for row in found.get("tc", []):
            yield _program(row, f"tc {row['devname']} {row.get('kind', '')}", row["devname"])
        for row in found.get("xdp", []):
            yield _program(row, f"xdp {row['devname']}", row["devname"])
    for group in CGROUPS:
        for found in _json(node, "bpftool", "-j", "cgroup", "tree", group):
            for row in found.get("programs", []):
                attach = str(row.get("attach_type", ""))
                # Which devices a container may open is the runtime's business.
                if "device" not in attach:
                    yield _program(row, f"cgroup {attach}")


def _program(row: Row, place: str, dev: str = "") -> Program:
    return Program(
        id=int(row.get("id") or row.get("prog_id") or 0), name=str(row.get("name", "")), place=place, dev=dev
    )


def _paths(node: Node) -> list[str]:
    shallow = _text(node, "find", *_SHALLOW, "-mindepth", "1", "-maxdepth", "1")
    deep = _text(node, "find", *_DEEP, "-mindepth", "1")
    return sorted(set(shallow.splitlines()) | set(deep.splitlines()))
