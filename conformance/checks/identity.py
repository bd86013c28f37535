"""Who is who: addresses, network namespaces, and what the containers of a pod share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.checks.reach import NM, cross_node, same_node
from conformance.checks.within import containers_share, localhost, own_address
from conformance.context import Context
from conformance.dumps import INET, addresses, by_name, held, reason, rows, sandbox, sandboxes, unread
from conformance.inventory import Site
from conformance.legs import (
    broken,
    census,
    check_value,
    control,
    evidence_of,
    failed,
    names,
    passed,
    unanswered,
    undialled,
    where,
)
from conformance.maths import duplicates, inside, split_endpoint
from conformance.model import Check, Verdict
from harness.model.family import TITLE
from harness.model.records import Evidence, Leg


def pod_ip_unique(context: Context) -> Verdict:
    """No address is held by two namespaces, or lies in the Service range."""
    owners = list(held(context))
    shared = duplicates(owners)
    legs: list[Leg] = []
    for site in context.inventory.pods:
        mine = [address for address, owner in owners if owner.startswith(f"pod {site.name} ")]
        if not mine:
            legs.append(_without(context, site, context.attempt("pod", site.name, "addr")))
            continue
        clash = [address for address in mine if address in shared]
        service = [address for address in mine if inside(address, context.service_range)]
        if clash:
            legs.append(
                failed(
                    site.name,
                    "wrong-value",
                    f"{clash[0]} belongs to {' and '.join(shared[clash[0]])}",
                    "one owner",
                    list(shared[clash[0]]),
                    "ip",
                )
            )
        elif service:
            text = f"{service[0]} of pod {site.name} lies in the Service range {context.service_range}"
            legs.append(failed(site.name, "wrong-value", text, "outside", service[0], "ip"))
        else:
            legs.append(passed(site.name, "one owner", mine, "ip"))
    sample = duplicates([("10.0.0.1", "pod x"), ("10.0.0.1", "pod y"), ("10.0.0.2", "pod x"), ("10.0.0.2", "pod x")])
    examined = sum(leg.status != "error" for leg in legs)
    return Verdict(
        tuple(legs),
        (
            census(examined, len(context.inventory.pods), "pods"),
            control(
                "P5", sample == {"10.0.0.1": ("pod x", "pod y")}, "a stored duplicate is found, a unique address is not"
            ),
        ),
        tuple(Evidence(kind="kernel", detail={"address": ip, "owners": list(who)}) for ip, who in shared.items()),
        summary=f"{len({address for address, _ in owners})} addresses, each in one namespace",
    )


def _without(context: Context, site: Site, read: Any) -> Leg:
    """A leg of a pod whose addresses could not be read; of one that has none of this family, if that was read."""
    if reason(read) or not rows(read):
        return unread(site.name, where(site), "addr", read)
    family = TITLE[context.family]
    text = f"pod {site.name} on {site.node} has no {family} address"
    return failed(site.name, "missing", text, f"an {family} address", "none", "ip")


def pod_ip_agrees(context: Context) -> Verdict:
    """What the pod sees, what the API says and what peers see are one address."""
    seen_by_peers: dict[str, set[str]] = {}
    unheard: dict[str, str] = {}
    for src, dst in same_node(context):
        one = context.exchange("mesh", src.name, dst.name, "tcp")
        if one is None and dst.ip:
            unheard[src.name] = f"{src.name}>{dst.name}/tcp"
        elif one is not None and one.outcome == "ok" and one.peer:
            seen_by_peers.setdefault(src.name, set()).add(split_endpoint(one.peer)[0])
    legs: list[Leg] = []
    for site in context.inventory.pods:
        read = context.attempt("pod", site.name, "addr")
        kernel = addresses(by_name(read).get("eth0"), family=INET[context.family])
        api = list(site.api_ips)
        peers = sorted(seen_by_peers.get(site.name, ()))
        if not kernel and (reason(read) or not api):
            legs.append(_without(context, site, read))
        elif site.name in unheard:
            legs.append(undialled(context, unheard[site.name]).model_copy(update={"leg": site.name}))
        elif api and set(api) <= set(kernel) and set(peers) <= set(api):
            legs.append(passed(site.name, api, kernel, "ip"))
        else:
            legs.append(
                failed(
                    site.name,
                    "wrong-value",
                    f"pod {site.name} on {site.node} has {names(kernel)} on eth0, the API says {names(api)}, "
                    f"its neighbours see {names(peers)}",
                    api,
                    {"kernel": kernel, "peers": peers},
                    "ip",
                )
            )
    return Verdict(
        tuple(legs),
        (control("P7", any(site.api_ips for site in context.inventory.pods), "the API names pod addresses"),),
        summary=f"kernel, API and neighbours agree on the addresses of {len(legs)} pods",
    )


def pod_ip_in_range(context: Context) -> Verdict:
    """Every pod address belongs to the cluster CIDR, and to its node's share when nodes have one."""
    legs = []
    whole = context.pod_range
    wrong, foreign = [], []
    for site in context.inventory.pods:
        read = context.attempt("pod", site.name, "addr")
        kernel = addresses(by_name(read).get("eth0"), family=INET[context.family])
        if not kernel:
            legs.append(_without(context, site, read))
            continue
        share = context.inventory.node(site.node).pod_cidr if context.gates.get("ncidr") else ""
        legs.append(_placed(site, kernel, whole, share))
        wrong.append(_placed(site, kernel, whole, context.service_range))
        foreign.append(_placed(site, kernel, context.service_range, ""))
    examined = sum(leg.status != "error" for leg in legs)
    return Verdict(
        tuple(legs),
        (
            census(examined, len(context.inventory.pods), "pods"),
            control(
                "P5",
                all(any(leg.status == "fail" for leg in some) for some in (wrong, foreign)),
                f"the same addresses are outside the Service range {context.service_range}",
            ),
        ),
        summary=f"{len(legs)} pod addresses are inside {whole} and their node's podCIDR",
    )


def _placed(site: Site, kernel: list[str], whole: str, share: str) -> Leg:
    """Passed when all addresses of a pod are inside the whole, and inside its node's share where it has one."""
    outside = [ip for ip in kernel if not inside(ip, whole)]
    stray = [ip for ip in kernel if share and not inside(ip, share)]
    if not outside and not stray:
        return passed(site.name, share or whole, kernel, "cidr")
    ip, network = (outside[0], whole) if outside else (stray[0], f"{share}, the podCIDR of {site.node}")
    text = f"pod {site.name} on {site.node} has {ip}, outside {network}"
    return failed(site.name, "wrong-value", text, share or whole, ip, "cidr")


def _inode(context: Context, pod: str, namespace: str) -> int | None:
    found = sandbox(context, pod, namespace)
    return int(found["inode"]) if found and found.get("inode") else None


def netns_private(context: Context) -> Verdict:
    """A pod's network namespace is its own; the rule must flag a host-network pod."""
    everyone: dict[int, list[str]] = {}
    for node in context.inventory.nodes:
        for row in sandboxes(context, node.name):
            if not row.get("host_network") and row.get("inode"):
                everyone.setdefault(int(row["inode"]), []).append(f"{row.get('namespace')}/{row.get('pod')}")
    legs: list[Leg] = []
    for site in context.inventory.pods:
        read = context.attempt("pod", site.name, "addr")
        leg = _private(context, site, everyone)
        unknown = leg.status == "pass" and (reason(read) or not rows(read))
        links = sorted(by_name(read))
        if unknown:
            leg = unread(site.name, where(site), "addr", read)
        elif leg.status == "pass" and links != ["eth0", "lo"]:
            text = f"pod {site.name} has links {names(links)}, not just lo and eth0"
            leg = failed(site.name, "unexpected", text, ["eth0", "lo"], links)
        legs.append(leg)
    flagged = [_private(context, site, everyone).status == "fail" for site in context.inventory.hosts]
    examined = sum(leg.status != "error" for leg in legs)
    return Verdict(
        tuple(legs),
        (
            census(examined, len(context.inventory.pods), "pods"),
            control("inv", flagged and all(flagged), "the same rule flags host-network pods"),
        ),
        summary=f"{examined} pods have their own network namespace, with lo and eth0",
    )


def _private(context: Context, site: Site, everyone: Mapping[int, list[str]]) -> Leg:
    """Passed when a pod's namespace is neither that of its node's own programs nor that of another pod."""
    inode, own = _inode(context, site.pod, site.namespace), context.attempt("node", site.node, "netns")
    if inode is None:
        return _unlisted(context, site, f"no sandbox of pod {site.name} was found on {site.node}")
    if reason(own):
        return unread(site.name, site.node, "netns", own)
    if inode == int(own):
        text = f"pod {site.name} shares the network namespace of node {site.node} (inode {inode})"
        return failed(site.name, "wrong-value", text, "own", inode)
    if len(everyone.get(inode, ())) > 1:
        text = f"pods {names(everyone[inode])} share one network namespace (inode {inode})"
        return failed(site.name, "wrong-value", text, "own", everyone[inode])
    return passed(site.name, "own", inode)


def _unlisted(context: Context, site: Site, text: str) -> Leg:
    """A leg of a pod that is in no list of its node's sandboxes; perhaps there is no list."""
    read = context.attempt("node", site.node, "sandboxes")
    return unread(site.name, site.node, "sandboxes", read) if reason(read) else broken(site.name, text)


def hostnet_identity(context: Context) -> Verdict:
    """A host-network pod has its node's addresses and network namespace; a normal pod must not match."""
    legs: list[Leg] = []
    for site in context.inventory.hosts:
        node = context.inventory.node(site.node)
        found = sandbox(context, site.pod, site.namespace)
        if found is None:
            legs.append(_unlisted(context, site, f"no sandbox of {site.name} was found on {site.node}"))
            continue
        leg = check_value(
            site.name,
            node.address,
            site.api_ips[0] if site.api_ips else "",
            f"host-network pod {site.name} has {names(site.api_ips)} in the API, but its node has {node.address}",
            unit="ip",
        )
        if leg.status == "pass" and not found.get("host_network"):
            text = f"{site.name} should use the network of {site.node}, but has its own namespace"
            leg = failed(site.name, "wrong-value", text, "host network", found.get("inode"))
        legs.append(leg)
    private = {_inode(context, site.pod, site.namespace) for site in context.inventory.pods}
    shared = {_inode(context, site.pod, site.namespace) for site in context.inventory.hosts}
    return Verdict(
        tuple(legs),
        (control("inv", private and not private & shared, "no normal pod matches the rule"),),
        summary=f"{len(legs)} host-network pods have their node's address and namespace",
    )


def identity(context: Context) -> Verdict:
    """Whoever answers is the pod that was dialled."""
    legs: list[Leg] = []
    seen: list[Any] = []
    for src, dst in same_node(context) + cross_node(context):
        for proto in ("tcp", "udp"):
            one = context.exchange("mesh", src.name, dst.name, proto)
            leg = f"{src.name}>{dst.name}/{proto}"
            if one is None or one.outcome != "ok":
                legs.append(unanswered(context, one, leg, "who answers"))
                continue
            seen.append(one)
            text = f"{where(src)} dialled {one.dial}/{proto} of {dst.name} ({dst.node}), but {one.token} answered"
            legs.append(check_value(leg, dst.name, one.token, text, reason="wrong-peer"))
    # What a pod says of itself to itself crosses no network: it is the second source of names.
    own = [one for one in context.exchanges.get("self", ()) if one.outcome == "ok" and one.token == one.src]
    return Verdict(
        tuple(legs),
        (
            control("P7", own, "pods that dial themselves are answered by their own name"),
            control("P4", seen, f"{len(seen)} of {len(legs)} exchanges were answered"),
        ),
        evidence_of(seen, legs),
        total=len(legs),
        summary=f"{len(seen)} answers came from the pod that was dialled",
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "model.pod-ip.unique", "each pod address is unique in the cluster", "M", "B0", pod_ip_unique, source=NM,
        gates=("node",), causes=("lease store wiped", "one CIDR on two nodes"),
        next=("nsenter -t {pid} -n ip addr  # on {node}", "ls /var/lib/cni/networks/*"),
    ),
    Check(
        "model.pod-ip.agrees", "the pod, the API and its peers agree on the pod's address", "M", "B0", pod_ip_agrees,
        source=f"{NM}; core/v1 podIPs", gates=("node",), needs=("B1",),
        causes=("address changed after ADD", "stale status"),
        next=("nsenter -t {pid} -n ip addr  # on {node}", "kubectl get pod -o wide"),
    ),
    Check(
        "model.pod-ip.in-range", "pod addresses belong to the cluster CIDR and to their node's podCIDR", "M", "B0",
        pod_ip_in_range, source='"Cluster Networking"',
        gates=("node", "ranges"), causes=("cluster-wide address management",),
        next=("kubectl get node -o yaml | grep podCIDR",),
    ),
    Check(
        "model.netns.private", "a pod has its own network namespace", "M", "B0", netns_private, source=NM,
        once=True, gates=("node", "hosts"), inverse="the same rule flags host-network pods",
        causes=("host network by mistake",), next=("lsns -t net",),
    ),
    Check(
        "model.hostnet.identity", "a host-network pod has its node's addresses and namespace", "M", "B0",
        hostnet_identity, source="core/v1 hostNetwork",
        gates=("node", "hosts"), inverse="no normal pod matches the rule",
        causes=("not really on the host network",), next=("lsns -t net",),
    ),
    Check(
        "model.ctr.shared", "containers of a pod share address, ports and localhost", "M", "B1", containers_share,
        source=NM, gates=("ctr",), causes=("sandbox fault of the runtime",),
        next=("lsns -t net  # on {node}", "readlink /proc/{pid}/ns/net  # on {node}"),
    ),
    Check(
        "model.localhost", "the loopback address answers inside every pod", "M", "B1", localhost,
        source="RFC 1122 §3.2.1.3; CNI loopback plugin", needs=("B0",),
        causes=("loopback plugin missing",),
        next=("nsenter -t {pid} -n ip link show lo  # on {node}", "lsns -t net  # on {node}"),
    ),
    Check(
        "model.self", "a pod reaches itself at its own address", "M", "B1", own_address, source=NM,
        causes=("lo is down",), next=("nsenter -t {pid} -n ip link show lo  # on {node}",
              "nsenter -t {pid} -n ip route show table local  # on {node}", "lsns -t net  # on {node}"),
    ),
    Check(
        "model.identity", "traffic reaches the pod that it was sent to", "M", "B1", identity, source=NM,
        after=("node.underlay",), causes=("duplicate address", "stray DNAT", "stale neighbour entry"),
        next=("ip neigh show {destination}", "nft list ruleset"),
    ),
)  # fmt: skip
