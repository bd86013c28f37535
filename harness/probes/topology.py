"""The shape of a lab, from its dumps. A pure function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_interface
from typing import Any

from harness.model.records import Dump
from harness.model.spec import LabSpec
from harness.model.topology import Interface, Place, Topology, TopologyNode

Row = Mapping[str, Any]
_NOBODY = "00:00:00:00:00:00"


class _Dumps:
    """Dumps by place; of several of the same, the last."""

    def __init__(self, dumps: Iterable[Dump]) -> None:
        self._data: dict[tuple[str, str, str, str], Any] = {}
        self.places: dict[str, list[str]] = {}
        for one in dumps:
            self._data[one.vantage, one.place, one.namespace, one.what] = one.data
            names = self.places.setdefault(one.vantage, [])
            if one.place not in names:
                names.append(one.place)

    def rows(self, vantage: str, place: str, what: str, namespace: str = "") -> list[Row]:
        """A list of rows; empty when the command failed or was not run."""
        data = self._data.get((vantage, place, namespace, what))
        return [row for row in data if isinstance(row, Mapping)] if isinstance(data, list) else []

    def files(self, place: str, what: str) -> Mapping[str, str]:
        """Files of a node, by path."""
        data = self._data.get(("node", place, "", what))
        return data if isinstance(data, Mapping) and "error" not in data else {}


def build(dumps: Iterable[Dump], spec: LabSpec) -> Topology:
    """Draw nodes, pods, links, routes and forwarding entries together.

    Args:
        dumps: From `kernel.dump` and `Sandboxes.dumps`; of several of the same place and kind the last counts.
        spec: For address ranges and the node's roles.
    """
    known = _Dumps(dumps)
    nodes = tuple(_node(known, name, spec) for name in known.places.get("node", []))
    outside = tuple(
        Place(
            name=name,
            ip=_first_address(known.rows(vantage, name, "addr")),
            interfaces=_interfaces(known.rows(vantage, name, "addr")),
            routes=_routes(known.rows(vantage, name, "route")),
        )
        for vantage in ("router", "far")
        for name in known.places.get(vantage, [])
    )
    return Topology(
        nodes=nodes,
        outside=outside,
        underlay_cidr=_listed(spec.underlay_cidrs),
        pod_cidr=_listed(spec.pod_cidrs),
        service_cidr=_listed(spec.service_cidrs),
        encapsulation=_encapsulation(nodes),
    )


def _listed(ranges: Iterable[object]) -> str:
    return ", ".join(map(str, ranges))


def _node(known: _Dumps, name: str, spec: LabSpec) -> TopologyNode:
    links, sandboxes = known.rows("node", name, "addr"), known.rows("node", name, "sandboxes")
    peers = {one["host_veth"]: f"{one['pod']}:eth0" for one in sandboxes if one.get("host_veth")}
    address = str(spec.node_address(name)) if name in spec.node_names else _first_address(links)
    return TopologyNode(
        name=name,
        address=address,
        role="control plane" if name == spec.node_names[0] else "worker",
        pod_cidr=_pod_cidr(known, name),
        interfaces=_interfaces(links, peers),
        routes=_routes(known.rows("node", name, "route")),
        fdb=_fdb(known.rows("node", name, "fdb")),
        pods=tuple(_pod(known, one) for one in sandboxes),
    )


def _pod(known: _Dumps, sandbox: Row) -> Place:
    """A pod; from the runtime's view alone when its kernel state was not asked for."""
    name, namespace = str(sandbox["pod"]), str(sandbox["namespace"])
    if sandbox.get("host_network"):
        return Place(name=name, namespace=namespace, ip=str(sandbox.get("ip", "")), host_network=True)
    links = known.rows("pod", name, "addr", namespace)
    peers = {"eth0": str(sandbox.get("host_veth", ""))}
    if links:
        interfaces = _interfaces(links, peers)
    else:
        interfaces = tuple(
            Interface.model_validate({**row, "peer": peers.get(str(row.get("name")), "")})
            for row in sandbox.get("interfaces", ())
        )
    return Place(
        name=name,
        namespace=namespace,
        ip=str(sandbox.get("ip", "")),
        interfaces=interfaces,
        routes=_routes(known.rows("pod", name, "route", namespace)),
    )


def _interfaces(links: Sequence[Row], peers: Mapping[str, str] | None = None) -> tuple[Interface, ...]:
    return tuple(_interface(link, (peers or {}).get(str(link.get("ifname")), "")) for link in links)


def _interface(link: Row, peer: str) -> Interface:
    info = link.get("linkinfo") or {}
    data = info.get("info_data") or {}
    kind = str(info.get("info_kind") or ("loopback" if link.get("link_type") == "loopback" else ""))
    vxlan = kind == "vxlan"
    addresses = link.get("addr_info") or ()
    return Interface(
        name=str(link["ifname"]),
        kind=kind,
        mtu=int(link.get("mtu") or 0),
        addresses=tuple(
            f"{one['local']}/{one['prefixlen']}" for one in addresses if "local" in one and one.get("scope") != "link"
        ),
        mac=str(link.get("address") or "") if kind != "loopback" else "",
        master=str(link.get("master") or ""),
        peer=peer,
        state=str(link.get("operstate") or ""),
        vni=data.get("id") if vxlan else None,
        local=str(data.get("local") or data.get("local6") or "") if vxlan else "",
        dst_port=data.get("port") if vxlan else None,
    )


def _first_address(links: Sequence[Row]) -> str:
    """The first global IPv4 address that is not on a loopback."""
    for link in links:
        for one in link.get("addr_info") or ():
            if one.get("family") == "inet" and one.get("scope") == "global" and link.get("ifname") != "lo":
                return str(one["local"])
    return ""


def _routes(rows: Sequence[Row]) -> tuple[str, ...]:
    """IPv4 and IPv6 unicast routes as `ip route` prints them, without the kernel's link-local ones."""
    return tuple(
        _route(row)
        for row in rows
        if row.get("type", "unicast") == "unicast" and not str(row.get("dst", "")).startswith(("fe80:", "ff00:"))
    )


def _route(row: Row) -> str:
    words = [str(row.get("dst", "default"))]
    for key, word in (("gateway", "via"), ("dev", "dev"), ("protocol", "proto"), ("scope", "scope")):
        value = row.get(key)
        if value not in {None, "boot", "global"}:
            words += [word, str(value)]
    if row.get("prefsrc"):
        words += ["src", str(row["prefsrc"])]
    words += [str(flag) for flag in row.get("flags") or () if flag in {"onlink", "linkdown", "dead"}]
    return " ".join(words)


def _fdb(rows: Sequence[Row]) -> tuple[str, ...]:
    """Forwarding entries that lead to another machine: those of tunnels."""
    return tuple(
        f"{row['mac']} dev {row.get('ifname')} dst {row['dst']}"
        for row in rows
        if row.get("dst") and row.get("mac") != _NOBODY
    )


def _pod_cidr(known: _Dumps, node: str) -> str:
    """The node's share of the pod range, from its API object, from flannel, or from the bridge's address."""
    for row in known.rows("api", "cluster", "nodes"):
        if (row.get("metadata") or {}).get("name") == node and (row.get("spec") or {}).get("podCIDR"):
            return str(row["spec"]["podCIDR"])
    for line in known.files(node, "conf").get("/run/flannel/subnet.env", "").splitlines():
        if line.startswith("FLANNEL_SUBNET="):
            return str(ip_interface(line.partition("=")[2]).network)
    for link in known.rows("node", node, "addr"):
        if link.get("ifname") == "cni0":
            for one in link.get("addr_info") or ():
                if one.get("family") == "inet":
                    return str(ip_interface(f"{one['local']}/{one['prefixlen']}").network)
    return ""


def _encapsulation(nodes: Sequence[TopologyNode]) -> str:
    tunnels = {
        f"VXLAN, UDP {link.dst_port}, VNI {link.vni}"
        for node in nodes
        for link in node.interfaces
        if link.kind == "vxlan"
    }
    return "; ".join(sorted(tunnels)) or "none"
