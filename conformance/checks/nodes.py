"""State of the nodes' kernels: routes, tunnels, switches and rules, held against the variant's data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.checks.rules import forwarding, masquerade_rules
from conformance.context import Context
from conformance.dumps import INET, addresses, by_name, conf_key, is_up, links, pod_routes_to, reason, rows, unread
from conformance.inventory import NodeFact
from conformance.legs import (
    census,
    check_value,
    control,
    failed,
    names,
    passed,
)
from conformance.maths import base, inside
from conformance.model import Check, Verdict
from harness.model.family import Family
from harness.model.records import Control, Leg


def routes(context: Context) -> Verdict:
    """Exactly the variant's routes into the cluster CIDR: one per other node, one for the own share, none foreign."""
    legs: list[Leg] = []
    whole = context.pod_range
    examined = 0
    for node in context.inventory.nodes:
        read = context.attempt("node", node.name, "route")
        if not rows(read):
            legs.append(unread(node.name, node.name, "route", read))
            continue
        found = pod_routes_to(context, node.name, whole)
        examined += 1
        wanted = _wanted_routes(context, node)
        for cidr, facts in wanted.items():
            rows_for = [row for row in found if row.get("dst") == cidr]
            leg = f"{node.name}:{cidr}"
            if not rows_for:
                text = f"{node.name} has no route to {cidr}: expected {_route(cidr, facts)}"
                legs.append(failed(leg, "missing", text, _route(cidr, facts), "none"))
            elif any(_fits(row, facts) for row in rows_for):
                legs.append(passed(leg, _route(cidr, facts), _shown(rows_for[0])))
            else:
                text = f"{node.name} routes {_shown(rows_for[0])}, expected {_route(cidr, facts)}"
                legs.append(failed(leg, "wrong-value", text, _route(cidr, facts), _shown(rows_for[0])))
        # A route to one address of the own share belongs to the node's own bridge or tunnel, and is no detour.
        own = node.pod_cidr
        foreign = [
            row
            for row in found
            if row.get("dst") not in wanted and not (own and inside(str(row["dst"]), own) and "gateway" not in row)
        ]
        if foreign:
            text = f"{node.name} also routes {names(_shown(row) for row in foreign)} inside the cluster CIDR"
            legs.append(failed(f"{node.name}:foreign", "unexpected", text, 0, len(foreign), "count"))
    return Verdict(
        tuple(legs),
        (
            census(examined, len(context.inventory.nodes), "nodes"),
            control("P5", _fits({"gateway": "a", "dev": "d"}, {"gateway": "a", "dev": "d"})
                    and not _fits({"gateway": "b", "dev": "d"}, {"gateway": "a"}), "a stored wrong route is found"),
        ),
        summary=f"{len(legs)} routes on {examined} nodes are those of the variant; there are no others",
    )  # fmt: skip


def _wanted_routes(context: Context, node: NodeFact) -> dict[str, dict[str, Any]]:
    wanted: dict[str, dict[str, Any]] = {}
    for other in context.inventory.nodes:
        if not other.pod_cidr:
            continue
        if other.name == node.name:
            if context.expect.bridge and context.inventory.on(node.name):
                wanted[other.pod_cidr] = {"dev": context.expect.bridge}
            elif context.expect.host_device:
                wanted[other.pod_cidr] = {"dev": context.expect.host_device}
        elif context.expect.remote_route == "overlay-onlink":
            wanted[other.pod_cidr] = {
                "gateway": base(other.pod_cidr), "dev": context.expect.overlay_device, "flag": "onlink",
            }  # fmt: skip
        elif context.expect.remote_route == "via-host-device":
            wanted[other.pod_cidr] = {"dev": context.expect.host_device}
        elif context.expect.remote_route == "via-node":
            wanted[other.pod_cidr] = {"gateway": other.address, "dev": context.spec.cluster_nic}
    return wanted


def _fits(row: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    if row.get("type", "unicast") != "unicast":
        return False
    flag = facts.get("flag")
    return all(row.get(key) == value for key, value in facts.items() if key != "flag") and (
        flag is None or flag in (row.get("flags") or ())
    )


def _route(cidr: str, facts: Mapping[str, Any]) -> str:
    via = f" via {facts['gateway']}" if "gateway" in facts else ""
    flag = f" {facts['flag']}" if facts.get("flag") else ""
    return f"{cidr}{via} dev {facts['dev']}{flag}"


def _shown(row: Mapping[str, Any]) -> str:
    kind = "" if row.get("type", "unicast") == "unicast" else f"{row['type']} "
    via = f" via {row['gateway']}" if "gateway" in row else ""
    device = f" dev {row['dev']}" if "dev" in row else ""
    return f"{kind}{row.get('dst')}{via}{device}{' onlink' if 'onlink' in (row.get('flags') or ()) else ''}"


def overlay(context: Context) -> Verdict:
    """Forwarding and neighbour entries lead to every peer, and MAC, VNI and port agree across nodes."""
    legs: list[Leg] = []
    device = context.expect.overlay_device or ""
    macs = {node.name: _mac(context, node, device) for node in context.inventory.nodes}
    for node in context.inventory.nodes:
        read = context.node_dump(node.name, "addr")
        link = by_name(read).get(device)
        if not rows(read):
            legs.append(unread(f"{node.name}:{device}", node.name, "addr", read))
            continue
        if link is None:
            text = f"{node.name} has no {device}"
            legs.append(failed(f"{node.name}:{device}", "missing", text, device, "none"))
            continue
        data = (link.get("linkinfo") or {}).get("info_data") or {}
        for key, wanted in (("id", context.expect.wire.vni), ("port", context.expect.wire.port)):
            if wanted is not None:
                text = f"{device} of {node.name} has {key} {data.get(key)}, not {wanted}"
                legs.append(check_value(f"{node.name}:{key}", wanted, data.get(key), text))
        for other in context.inventory.nodes:
            if other.name != node.name:
                legs += _peer(context, node, other, macs[other.name])
    return Verdict(
        tuple(legs),
        (census(sum(bool(mac) for mac in macs.values()), len(macs), "tunnel devices"), _strangers(context)),
        summary=f"{len(legs)} entries lead to every peer's tunnel endpoint; VNI and port agree",
    )


def _mac(context: Context, node: NodeFact, device: str) -> str:
    return str(links(context, node.name).get(device, {}).get("address", ""))


def _strangers(context: Context) -> Control:
    """The rule of every entry, held against a MAC that no node has: nothing of this run may lead there."""
    nodes = context.inventory.nodes
    legs = [
        leg for node in nodes for other in nodes if node is not other for leg in _peer(context, node, other, NOBODY)
    ]
    wrong = [leg.leg for leg in legs if leg.status != "fail"]
    text = f"{len(legs) - len(wrong)} of {len(legs)} entries lead away from a MAC that no node has"
    return control("P5", legs and not wrong, text)


NOBODY = "02:63:6e:69:6c:ff"
"""A local address that no kernel makes by itself."""


def _peer(context: Context, node: NodeFact, other: NodeFact, mac: str) -> list[Leg]:
    """A node's forwarding and neighbour entry for another node's tunnel endpoint."""
    device = context.expect.overlay_device
    leg, read = f"{node.name}>{other.name}/fdb", context.node_dump(node.name, "fdb")
    if read is None:
        return [unread(leg, node.name, "fdb", read)]
    fdb = [row for row in rows(read) if row.get("ifname") == device and row.get("dst") == other.address]
    found = [str(row.get("mac")) for row in fdb]
    text = f"{node.name} forwards {names(found)} to {other.address} on {device}, but {other.name} has MAC {mac}"
    legs = [
        passed(leg, mac, found)
        if mac in found
        else failed(leg, "wrong-value" if found else "missing", text, mac, found)
    ]
    if context.expect.remote_route != "overlay-onlink" or not other.pod_cidr:
        return legs
    gateway, read = base(other.pod_cidr), context.node_dump(node.name, "neigh")
    leg = f"{node.name}>{other.name}/neigh"
    if read is None:
        return [*legs, unread(leg, node.name, "neigh", read)]
    entries = [
        str(row.get("lladdr"))
        for row in rows(read)
        if row.get("dev") == device and row.get("dst") == gateway and row.get("lladdr")
    ]
    text = f"{node.name} has {names(entries)} as neighbour {gateway} on {device}, but {other.name} has MAC {mac}"
    good = entries == [mac]
    legs.append(
        passed(leg, mac, entries) if good else failed(leg, "wrong-value" if entries else "missing", text, mac, entries)
    )
    return legs


def sysctls(context: Context) -> Verdict:
    """Forwarding on, strict reverse path filtering off where paths may differ, bridged packets seen by iptables."""
    legs: list[Leg] = []
    for node in context.inventory.nodes:
        values = context.attempt("node", node.name, "sysctl")
        if not values or reason(values):
            legs.append(unread(node.name, node.name, "sysctl", values))
            continue
        family = context.family
        wanted = {"net.ipv4.ip_forward" if family == "ipv4" else "net.ipv6.conf.all.forwarding": "1"}
        devices = [
            name for name in (context.spec.cluster_nic, context.expect.bridge, context.expect.overlay_device) if name
        ]
        wanted |= {key: "1" for device in devices if (key := conf_key(device, "forwarding", family)) in values}
        # Replies between pods of one bridge must meet conntrack again, however kube-proxy writes its rules.
        if context.gates.get("br") and context.gates.get("kp"):
            wanted[f"net.bridge.bridge-nf-call-{_TABLES[family]}"] = "1"
        for key, value in wanted.items():
            found = str(values.get(key, "absent"))
            text = f"{key} of {node.name} is {found}, not {value}"
            legs.append(check_value(f"{node.name}:{key}", value, found, text))
        for device in devices if family == "ipv4" else ():  # IPv6 has no such filter of the kernel's own
            effective = max(int(values.get(conf_key(name, "rp_filter"), 0)) for name in ("all", device))
            leg = f"{node.name}:{device}.rp_filter"
            text = f"reverse path filtering of {device} on {node.name} is strict: asymmetric paths are cut"
            legs.append(
                failed(leg, "wrong-value", text, "0 or 2", effective)
                if effective == 1
                else passed(leg, "0 or 2", effective)
            )
    nodes = {leg.leg.split(":")[0] for leg in legs if leg.status != "error"}
    return Verdict(
        tuple(legs),
        (census(len(nodes), len(context.inventory.nodes), "nodes"),),
        summary=f"{len(legs)} sysctls on {len(nodes)} nodes are as required",
    )


_TABLES: Mapping[Family, str] = {"ipv4": "iptables", "ipv6": "ip6tables"}


def node_links(context: Context) -> Verdict:
    """The variant's links and pods' veths are there and up; a bridge has its address, and the veths are its ports."""
    legs: list[Leg] = []
    for node in context.inventory.nodes:
        read = context.attempt("node", node.name, "addr")
        there = by_name(read)
        if not there:
            legs.append(unread(node.name, node.name, "addr", read))
            continue
        for name in context.expect.links:
            leg = f"{node.name}:{name}"
            if name == context.expect.bridge and not context.inventory.on(node.name):
                continue
            state = "absent" if name not in there else "up" if is_up(there[name]) else "down"
            legs.append(check_value(leg, "up", state, f"{name} of {node.name} is {state}"))
        bridge = context.expect.bridge
        if bridge in there and context.inventory.on(node.name):
            held = addresses(there[bridge], family=INET[context.family])
            # A node may have a share that its network does not use: one bridge over all nodes has any address.
            share = (node.pod_cidr if context.gates.get("ncidr") else "") or context.pod_range
            good = any(inside(address, share) for address in held)
            text = f"{bridge} of {node.name} has no address of {share} (found: {names(held)}): pods have no gateway"
            leg = f"{node.name}:{bridge}/address"
            legs.append(passed(leg, share, held) if good else failed(leg, "missing", text, share, held))
        for site in context.inventory.on(node.name):
            veth = there.get(site.host_veth, {})
            up = "absent" if not veth else "up" if is_up(veth) else "down"
            if bridge:
                state = f"master {veth.get('master', 'none')}, {'up' if up == 'up' else 'down'}"
                text = f"{site.host_veth} of pod {site.name} on {node.name} has {state}: not a working port of {bridge}"
                legs.append(check_value(f"{node.name}:{site.name}", f"master {bridge}, up", state, text))
            else:
                text = f"{site.host_veth} of pod {site.name} on {node.name} is {up}"
                legs.append(check_value(f"{node.name}:{site.name}", "up", up, text))
    examined = {leg.leg.split(":")[0] for leg in legs if leg.status != "error"}
    return Verdict(
        tuple(legs),
        (census(len(examined), len(context.inventory.nodes), "nodes"), _veths(context)),
        summary=f"{len(legs)} links of {len(examined)} nodes exist, and are up and attached",
    )


def _veths(context: Context) -> Control:
    known = [site for site in context.inventory.pods if site.host_veth]
    return control(
        "P4",
        len(known) == len(context.inventory.pods),
        f"{len(known)} of {len(context.inventory.pods)} veth peers known",
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "node.routes", "nodes have exactly the variant's routes to pods", "S", "B0", routes,
        gates=("ncidr", "node", "known", "ranges", "multi"),
        causes=("agent stopped",), next=("ip route", "the agent's log"),
    ),
    Check(
        "node.overlay", "forwarding and neighbour entries lead to every peer", "S", "B0", overlay,
        source="RFC 7348", gates=("fdb", "multi", "node", "known"), causes=("stale annotation of a node",),
        next=("bridge fdb show dev {overlay}", "ip neigh show dev {overlay}"),
    ),
    Check(
        "node.sysctl", "forwarding is on, strict reverse path filtering is off", "S", "B0", sysctls,
        source="RFC 3704",
        gates=("node",), causes=("hardening script",), next=("sysctl -a | grep -E 'forward|rp_filter|bridge-nf'",),
    ),
    Check(
        "node.forward", "the rules of nodes forward pods' traffic", "S", "B0", forwarding,
        gates=("node", "known"), causes=("another firewall", "residue"),
        next=("iptables-save -t filter -c", "nft -a list ruleset"),
    ),
    Check(
        "node.masq-rules", "the rules of nodes masquerade as the variant declares", "S", "B0", masquerade_rules,
        gates=("nfmasq", "node"), causes=("agent stopped", "residue"), next=("iptables-save -t nat -c",),
    ),
    Check(
        "node.links", "the variant's links exist, and are up and attached", "S", "B0", node_links,
        gates=("node", "known"), causes=("residue", "a link deleted by hand"), next=("ip -d link", "bridge link"),
    ),
)  # fmt: skip
