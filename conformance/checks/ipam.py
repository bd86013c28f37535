"""Who hands out addresses, and do the books agree with what is running?"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from conformance.checks.reach import NM
from conformance.context import Context
from conformance.dumps import reason, rows, unread
from conformance.legs import census, control, failed, names, passed
from conformance.maths import inside, overlaps
from conformance.model import Check, Verdict
from harness.model.records import Evidence, Leg


def _share_legs(shares: Mapping[str, str], whole: str) -> list[Leg]:
    """One leg per node: its share is inside the whole, and overlaps no other share."""
    legs: list[Leg] = []
    clashes = overlaps(shares)
    for node, share in shares.items():
        mine = [pair for pair in clashes if node in pair]
        if mine:
            other = mine[0][0] if mine[0][1] == node else mine[0][1]
            text = f"{node} has {share}, {other} has {shares[other]}: they overlap"
            legs.append(failed(node, "wrong-value", text, "disjoint", shares[other], "cidr"))
        elif not inside(share, whole):
            text = f"{node} has {share}, outside the cluster CIDR {whole}"
            legs.append(failed(node, "wrong-value", text, whole, share, "cidr"))
        else:
            legs.append(passed(node, whole, share, "cidr"))
    return legs


def cidrs_disjoint(context: Context) -> Verdict:
    """Node CIDRs do not overlap, are inside the cluster CIDR, and that overlaps nothing else."""
    shares = {node.name: node.pod_cidr for node in context.inventory.nodes if node.pod_cidr}
    whole = context.pod_range
    legs = _share_legs(shares, whole)
    clash = {**shares, "inverse": next(iter(shares.values()), whole)}
    ranges = {
        "cluster": whole,
        "Services": context.service_range,
        "underlay": str(context.spec.underlay.range(context.family)),
    }
    for one, other in (("cluster", "Services"), ("cluster", "underlay"), ("Services", "underlay")):
        leg = f"{one}/{other}"
        if overlaps({one: ranges[one], other: ranges[other]}):
            text = f"the {one} range {ranges[one]} overlaps the {other} range {ranges[other]}"
            legs.append(failed(leg, "wrong-value", text, "disjoint", ranges[other], "cidr"))
        else:
            legs.append(passed(leg, "disjoint", f"{ranges[one]}, {ranges[other]}", "cidr"))
    sample = overlaps({"x": "10.0.0.0/23", "y": "10.0.1.0/24", "z": "10.0.2.0/24"})
    return Verdict(
        tuple(legs),
        (
            census(len(shares), len(context.inventory.nodes), "node CIDRs"),
            control("P5", sample == (("x", "y"),), "a stored overlap is found"),
            control(
                "inv",
                any(leg.status == "fail" for leg in _share_legs(clash, whole)),
                "a further node with the first node's CIDR fails",
            ),
        ),
        tuple(Evidence(kind="api", detail={"node": node, "podCIDR": share}) for node, share in shares.items()),
        summary=f"{len(shares)} node CIDRs inside {whole}, disjoint, no overlap with Services or underlay",
    )


def leases_match(context: Context) -> Verdict:
    """host-local's lease files are exactly the addresses of running pods."""
    legs: list[Leg] = []
    leased_total = 0
    for node in context.inventory.nodes:
        store = context.attempt("node", node.name, "leases")
        if not isinstance(store, dict) or reason(store):
            legs.append(unread(node.name, node.name, "leases", store))
            continue
        listed = context.attempt("node", node.name, "sandboxes")
        if listed is None or reason(listed):
            legs.append(unread(node.name, node.name, "sandboxes", listed))
            continue
        leased, running = leases_of(store, context.expect.lease_dir), addresses_of(rows(listed))
        leased_total += len(leased)
        leaked, lost = sorted(leased - running), sorted(running - leased)
        if leaked:
            text = f"{node.name} has a lease for {names(leaked)}, but no running pod has this address"
            if _is_full(node.pod_cidr, leased):
                text = (
                    f"{node.pod_cidr} of {node.name} is used up: {len(leaked)} of {len(leased)} leases belong to no "
                    f"running pod, and no pod can start there ({names(leaked, 3)})"
                )
            legs.append(failed(node.name, "unexpected", text, sorted(running), sorted(leased), "ip"))
        elif lost:
            text = f"{node.name} has no lease for {names(lost)}, the address of a running pod: it can be assigned again"
            legs.append(failed(node.name, "missing", text, sorted(running), sorted(leased), "ip"))
        else:
            legs.append(passed(node.name, sorted(running), sorted(leased), "ip"))
    return Verdict(
        tuple(legs),
        (control("P4", leased_total, f"{leased_total} leases read"),),
        summary=f"{leased_total} leases are the addresses of the running pods of {len(legs)} nodes",
    )


_NOBODYS: Final = 3
"""Addresses of a share of IPv4 that host-local gives to nobody: the network, the gateway and the last one."""


def _is_full(share: str, leased: Collection[str]) -> bool:
    """Every address of a node's share has a lease; of one of IPv6 that never happens."""
    if not share:
        return False
    network = ipaddress.ip_network(share)
    return sum(inside(one, share) for one in leased) >= network.num_addresses - _NOBODYS


def leases_of(store: Iterable[str], lease_dir: str | None) -> set[str]:
    """Addresses that host-local has given away.

    Args:
        store: Paths of its files.
        lease_dir: The network's own folder; without one, all count.
    """
    return {path.rpartition("/")[2] for path in store if _is_lease(path, lease_dir)}


def addresses_of(sandboxes: Iterable[Mapping[str, Any]]) -> set[str]:
    """Addresses of pods that run: of their eth0, link-local ones aside."""
    return {address for row in sandboxes if not row.get("host_network") for address in _sandbox_addresses(row)}


def _is_lease(path: str, lease_dir: str | None) -> bool:
    """A file of the variant's store that is named as an address; `lock` and `last_reserved_ip.0` are not."""
    folder, _, name = path.rpartition("/")
    if folder != (lease_dir or folder).rstrip("/"):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _sandbox_addresses(row: object) -> list[str]:
    if not isinstance(row, dict):
        return []
    for interface in row.get("interfaces") or ():
        if interface.get("name") == "eth0":
            found = [str(text).split("/")[0] for text in interface.get("addresses") or ()]
            return [address for address in found if not ipaddress.ip_address(address).is_link_local]
    return [row["ip"]] if row.get("ip") else []


CHECKS: tuple[Check, ...] = (
    Check(
        "ipam.cidr.disjoint", "node CIDRs do not overlap each other, Services or underlay", "M", "B0", cidrs_disjoint,
        source='"Cluster Networking"; core/v1 podCIDRs', gates=("ncidr", "ranges"),
        inverse="a further node with the first node's CIDR fails",
        causes=("clash with another range of the site",), next=("ip route show table all", "kubectl get node -o yaml"),
    ),
    Check(
        "ipam.lease.match", "leases are exactly the addresses of running pods", "S", "B0", leases_match,
        source=NM, gates=("lease", "node"), causes=("DEL failed", "node crashed"), next=("ls /var/lib/cni/networks/*",),
        once=True,
    ),
)  # fmt: skip
