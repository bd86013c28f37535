"""Commands to type next: those of a check, with what its first failed leg is about in place of the gaps. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from conformance.causes.flows import asked
from conformance.context import Context
from conformance.dumps import INET, addresses, by_name, rows
from conformance.families import SUFFIX, family_of_leg
from conformance.inventory import Site
from conformance.model import Check
from harness.model.family import Family
from harness.model.gaps import gaps
from harness.model.records import Leg

_NAMES: Final = re.compile(r"[a-z0-9-]+")
_DEVICE: Final = re.compile(r"(?:^|@)[a-z0-9-]+:([^/@]+)")
_QUESTION: Final = re.compile(r"\?([^/]+)/([A-Z+]+)")
_LENGTH: Final = re.compile(r"/(\d+)$")
_HEADERS: Final[dict[Family, int]] = {"ipv4": 28, "ipv6": 48}
"""Bytes of IP and of ICMP around what `ping -s` counts."""
_PROGRAM: Final = re.compile(r"\biptables\b")


def advice(context: Context, check: Check, legs: Sequence[Leg]) -> tuple[str, ...]:
    """Commands without gaps; one whose gap nothing that was seen can fill is left out.

    Args:
        context: The run.
        check: What was not met.
        legs: What was found, all of it or only what failed.
    """
    leg = next((one.leg for one in legs if one.status in {"fail", "error"}), "")
    family: Family = "ipv6" if check.id.startswith("v6.") else family_of_leg(leg)
    if family not in context.entire.inventory.families:
        family = context.entire.family
    facts = dict(_facts(context.entire.of(family), leg, family))
    filled = (_filled(command, facts, family if leg else "ipv4") for command in check.next)
    return tuple(dict.fromkeys(command for command in filled if command))


def _filled(command: str, facts: dict[str, str], family: Family) -> str:
    for name in gaps(command):
        if not facts.get(name):
            return ""
        command = command.replace(f"{{{name}}}", facts[name])
    return _PROGRAM.sub("ip6tables", command) if family == "ipv6" else command


def _facts(there: Context, leg: str, family: Family) -> Iterator[tuple[str, str]]:
    """What is known of a leg, by the names of the gaps."""
    expect, inventory = there.expect, there.inventory
    yield "dns", inventory.node_dns
    yield "overlay", expect.overlay_device or ""
    yield "leases", expect.lease_dir or ""
    yield "api", inventory.api.dial if inventory.api is not None else ""
    named = _NAMES.findall(leg.removesuffix(SUFFIX))
    sites = [inventory.by_name[name] for name in named if name in inventory.by_name]
    node = _node(there, named, sites)
    yield "node", node
    yield from _packet(there, leg, family)
    pod = next((site for site in sites if site.kind == "pod"), None)
    if pod is not None:
        yield "host_veth", pod.host_veth
        yield "pid", _process(there, pod)
    yield "bridge", expect.bridge or (pod.host_veth if pod is not None else "")
    device = _DEVICE.search(leg)
    yield "nic", device[1] if device is not None else _nic(there, node)
    yield from _question(leg)
    yield from _length(there, leg, node, family)


def _node(there: Context, named: Sequence[str], sites: Sequence[Site]) -> str:
    """The node that a leg is about first, or the one of its first site."""
    own = {node.name for node in there.inventory.nodes}
    return next((name for name in named if name in own), next((site.node for site in sites if site.node), ""))


def _packet(there: Context, leg: str, family: Family) -> Iterator[tuple[str, str]]:
    """Both ends of the packet that a leg is about."""
    wanted = leg if leg.endswith(SUFFIX) or family == "ipv4" else f"{leg}{SUFFIX}"
    one = next(asked(there.entire, "", wanted), None)
    if one is None:
        return
    site = there.inventory.by_name.get(one.source)
    own = {node.name: node.address for node in there.inventory.nodes}
    yield "source", one.flow.src or (site.ip if site is not None else own.get(one.source, ""))
    yield "destination", one.flow.dst
    yield "port", str(one.flow.dport)


def _nic(there: Context, node: str) -> str:
    """The link of a node that has its address."""
    wanted = next((one.address for one in there.inventory.nodes if one.name == node), "")
    known = by_name(there.attempt("node", node, "addr")).items() if wanted else ()
    return next((name for name, link in known if wanted in addresses(link, family=INET[there.family])), "")


def _process(there: Context, pod: Site) -> str:
    """A process of the pod's sandbox, by which its network namespace is entered from its node."""
    mine = [
        row
        for row in rows(there.attempt("node", pod.node, "sandboxes"))
        if (row.get("pod"), row.get("namespace")) == (pod.pod or pod.name, pod.namespace)
    ]
    return str(max((int(row.get("pid") or 0) for row in mine), default=0) or "")


def _question(leg: str) -> Iterator[tuple[str, str]]:
    """The name of a look-up, as `dig` takes it."""
    found = _QUESTION.search(leg)
    if found is None:
        return
    name, kind = found.groups()
    wanted = f" {kind}" if kind != "A" and "+" not in kind else ""
    # Only a name without its last dot goes through the search list.
    yield "name", f"{name}{wanted}" if name.endswith(".") else f"+search {name}{wanted}"


def _length(there: Context, leg: str, node: str, family: Family) -> Iterator[tuple[str, str]]:
    """How much `ping` has to carry to make a packet of the leg's length, or of the underlay's largest."""
    found = _LENGTH.search(leg.removesuffix(SUFFIX))
    known = {one.name: one.mtu for one in there.inventory.nodes}
    length = int(found[1]) if found is not None else known.get(node, 0)
    if length > _HEADERS[family]:
        yield "size", str(length - _HEADERS[family])
