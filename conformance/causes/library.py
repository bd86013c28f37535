"""The library of causes: for each kind of trouble what it is, the command that shows it, and the one that mends it.

Sentences and commands are templates: `{place}` is where the trouble is, other names are facts that whoever finds such a
trouble gives. To add a kind of cause, add an entry here, and raise it where a walk decides (`conformance.path`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Kind:
    """A kind of cause.

    Args:
        id: Stable: `route.missing`.
        sentence: What is wrong, without a full stop.
        look: The command that shows it, typed at the place.
        mend: The command that mends it, typed there; empty where there is none.
        source: What says that it is wrong: a document of the kernel, a specification.
        judged_by: Patterns of checks that judge the same thing at the same place, and so fail with it.
        only: The checks that it troubles, where others do not mind; none: all.
    """

    id: str
    sentence: str
    look: str
    mend: str = ""
    source: str = ""
    judged_by: tuple[str, ...] = ()
    only: tuple[str, ...] = ()


_TABLES = ("node.routes", "node.rules", "node.ranges")
_RULES = ("node.forward", "node.filters", "node.masq-rules", "egress.scope", "ct.*")
_LINKS = ("model.localhost", "model.ctr.shared", "node.links", "mtu.agree", "model.pod-ip.*", "dual.pod-ips", "v6.dad")

_ALL: Final = (
    # Tables
    Kind(
        "route.missing",
        "{place} has no route to {share}: it sends {address} by {route}",
        "ip route get {address}",
        "ip route add {share} …, as the agent of the network does when it starts on {place}",
        "ip-route(8): the route with the longest prefix decides",
        _TABLES,
    ),
    Kind(
        "route.astray",
        "the route {route} of {place} covers {address}, which is reached by {wanted}",
        "ip route get {address}",
        "ip route del {route}",
        "ip-route(8): the route with the longest prefix decides",
        _TABLES,
    ),
    Kind(
        "route.refuses",
        "the route {route} of {place} refuses {address}",
        "ip route get {address}",
        "ip route del {route}",
        "ip-route(8), TYPE",
        _TABLES,
    ),
    Kind(
        "route.none",
        "{place} has no route that covers {address}{note}",
        "ip route get {address}",
        "ip route add default via …",
        "Netfilter packet flow: routing decision, then output",
        _TABLES,
    ),
    Kind("route.circle", "packets for {place} go in circles", "ip route", judged_by=_TABLES),
    Kind(
        "rule.astray",
        "{rule} of {place} sends {address} by {route}, before the table main is asked",
        "ip rule; ip route get {address}",
        "ip rule del pref {number}",
        "ip-rule(8): rules are asked by their preference",
        _TABLES,
    ),
    Kind(
        "rule.refuses",
        "{rule} of {place} refuses packets for {address}",
        "ip rule",
        "ip rule del pref {number}",
        "ip-rule(8), TYPE",
        _TABLES,
    ),
    # Filters and translations
    Kind(
        "rule.drops",
        "{place} drops {flow} at {hook}: {rule}",
        "{show}",
        "{delete}",
        "nft(8), VERDICT STATEMENT: a drop ends it, whatever other tables accept",
        _RULES,
    ),
    Kind(
        "rule.rejects",
        "{place} rejects {flow} at {hook}: {rule}; that another table accepts it does not help",
        "{show}",
        "{delete}",
        "nft(8), VERDICT STATEMENT",
        _RULES,
    ),
    Kind(
        "rule.redirects",
        "{place} leads {flow} to {to}: {rule}",
        "{show}",
        "{delete}",
        "nft(8), NAT STATEMENTS",
        _RULES,
    ),
    Kind(
        "rule.masquerades",
        "{place} gives {flow} another sender: {rule}",
        "{show}",
        "{delete}",
        "Kubernetes network model: pods reach each other without NAT",
        (*_RULES, "model.no-nat.*"),
    ),
    Kind(
        "rule.sender",
        "{place} gives {flow} the sender {to}, which is no address of it: {rule}",
        "{show}",
        "{delete}",
        "nft(8), NAT STATEMENTS: answers go to the sender that the packet has",
        (*_RULES, "egress.*"),
    ),
    Kind(
        "rule.one-port",
        "{place} gives all packets like {flow} the same sender's port: {rule}; a second one to the same server is lost",
        "{show}",
        "{delete}",
        "nft(8), NAT STATEMENTS",
        only=("egress.ports", "ct.*"),
    ),
    Kind(
        "rule.exempts",
        "{place} exempts {flow} from translation: {rule}",
        "{show}",
        "{delete}",
        "nft(8), VERDICT STATEMENT: accept ends the chain",
        (*_RULES, "egress.*"),
    ),
    Kind(
        "rule.mss",
        "{place} changes the segment size of {flow}: {rule}",
        "{show}",
        "{delete}",
        "RFC 9293, section 3.7.1",
        only=("mtu.mss",),
    ),
    Kind(
        "rule.foreign",
        "{place} hands {flow} to another program at {hook}: {rule}",
        "{show}",
        "{delete}",
        "nft(8), QUEUE STATEMENT",
        _RULES,
    ),
    Kind(
        "rule.untracks",
        "{place} takes {flow} from connection tracking, so that nothing translates it: {rule}",
        "{show}",
        "{delete}",
        "nft(8), NOTRACK STATEMENT",
        _RULES,
    ),
    Kind(
        "masquerade.missing",
        "{place} lets {flow} leave by {device} with the pod's address: no rule masquerades it",
        "iptables -t nat -S POSTROUTING; nft list ruleset",
        "restart the agent of the network on {place}, which sets the rule",
        "Kubernetes: pods reach the outside through their node",
        (*_RULES, "egress.*"),
    ),
    Kind(
        "rule.ttl",
        "{place} sets the TTL of {flow} to {ttl}: {rule}",
        "{show}",
        "{delete}",
        "RFC 1812, section 5.3.1: each router takes one hop away, and no more",
        ("model.hops",),
    ),
    Kind("ttl.spent", "{flow} arrives at {place} with no hop left", "traceroute {address}"),
    Kind(
        "service.rules",
        "no rule of {place} leads {flow} to an endpoint of the Service {service}",
        "iptables -t nat -S KUBE-SERVICES; nft list table ip kube-proxy",
        "restart kube-proxy on {place}",
        "Kubernetes, virtual IPs and Service proxies",
        ("svc.*", "dns.*"),
    ),
    Kind(
        "hostport.rules",
        "no rule of {place} leads {flow}, which is for a host port, to its pod",
        "iptables -t nat -S CNI-HOSTPORT-DNAT; nft list ruleset",
        "delete the pods with host ports on {place}: the plugin portmap sets the rules with the next ones",
        "CNI, plugin portmap",
        ("svc.hostport.*",),
    ),
    Kind(
        "service.unrefused",
        "no rule of {place} refuses {flow}, which is for a Service without endpoints",
        "iptables -t filter -S KUBE-SERVICES; nft list table ip kube-proxy",
        "restart kube-proxy on {place}",
        "Kubernetes, virtual IPs and Service proxies",
        ("svc.*",),
    ),
    Kind(
        "service.stranger",
        "{place} leads the Service {service} to {to}, which is no endpoint of it: {rule}",
        "{show}",
        "{delete}",
        "Kubernetes, virtual IPs and Service proxies",
        (*_RULES, "svc.*"),
    ),
    # Settings
    Kind(
        "forwarding.off",
        "{place} does not forward: {key} is 0",
        "sysctl {key}",
        "sysctl -w {key}=1",
        "ip-sysctl.rst: ip_forward, forwarding",
        ("node.sysctl",),
    ),
    Kind(
        "filter.reverse",
        "{place} drops {flow}, which comes by {device}, as its answer would leave by {way}: {key} is 1 (strict)",
        "sysctl {key}",
        "sysctl -w {key}=2",
        "ip-sysctl.rst: rp_filter; RFC 3704",
        ("node.sysctl",),
    ),
    Kind(
        "reply.unhooked",
        "{place} hands answers from port to port of its bridge past all rules, so that they come from another address "
        "than was dialled ({dialled}): {key} is 0",
        "sysctl {key}",
        "sysctl -w {key}=1",
        "bridge-nf-call-iptables: Kubernetes, container runtimes, forwarding IPv4 and letting iptables see bridged "
        "traffic",
        ("node.sysctl",),
    ),
    Kind(
        "reply.untranslated",
        "answers do not pass {place} again, which has translated the request to {dialled}: {flow}",
        "conntrack -L -d {dialled}",
    ),
    Kind("reply.elsewhere", "the answer {flow} goes to {place}, and not to {source}", "ip -br address"),
    # Links
    Kind(
        "link.down",
        "{device} of {place} is down",
        "ip link show {device}",
        "ip link set {device} up",
        "ip-link(8)",
        _LINKS,
    ),
    Kind(
        "link.missing",
        "{place} has no {device}",
        "ip -br link",
        "restart the agent of the network on {place}, which makes it",
        "",
        _LINKS,
    ),
    Kind(
        "mtu.small",
        "{device} of {place} has an MTU of {mtu} B, and {flow} has {length} B",
        "ip link show {device}",
        "ip link set {device} mtu {length}",
        "RFC 1191; RFC 8201",
        ("mtu.*", "node.links"),
    ),
    Kind(
        "port.detached",
        "{port} of {place} is not a port of {bridge}",
        "ip -d link show {port}",
        "ip link set {port} master {bridge}",
        "CNI, plugin bridge",
        _LINKS,
    ),
    Kind(
        "port.blocked",
        "the port {port} of {bridge} on {place} is {state}",
        "bridge -d link show dev {port}",
        "bridge link set dev {port} state 3",
        "bridge(8)",
        _LINKS,
    ),
    Kind(
        "port.isolated",
        "the ports {port} and {other} of {bridge} on {place} are isolated from each other",
        "bridge -d link show dev {port}",
        "bridge link set dev {port} isolated off",
        "bridge(8), isolated",
        _LINKS,
    ),
    Kind(
        "port.hairpin",
        "the port {port} of {bridge} on {place} does not send packets of {pod} back to it: hairpin is off",
        "bridge -d link show dev {port}",
        "bridge link set dev {port} hairpin on",
        "CNI, plugin bridge, hairpinMode",
        (*_LINKS, "svc.hairpin"),
    ),
    Kind(
        "gateway.nobody",
        "nobody on {place} has {address}, which {asker} needs to send by {device}",
        "ip -br address",
        "restart the pods of {place}: the plugin gives the bridge its address with the next one",
        "CNI, plugin bridge, isGateway",
        _LINKS,
    ),
    Kind("neighbour.nobody", "{place} has no neighbour with {address} at {device}", "ip neigh show dev {device}"),
    Kind(
        "neighbour.wrong",
        "{place} has {mac} as the MAC of {address} at {device}, where {right} is right, and keeps it for good",
        "ip neigh show {address}",
        "ip neigh del {address} dev {device}",
        "ip-neighbour(8), nud permanent",
    ),
    Kind(
        "neighbour.silent",
        "{owner} does not answer when {place} asks for the MAC of {address} at {device}",
        "ip neigh show {address}",
        "ip neigh flush to {address}",
        "RFC 826; RFC 4861",
    ),
    Kind(
        "neighbour.other",
        "{place} has {mac} as the MAC of {address} at {device}, which is not that of {owner}",
        "ip neigh show {address}",
        "ip neigh flush to {address}",
        "RFC 826; RFC 4861",
        ("model.pod-ip.unique", "model.identity"),
    ),
    Kind(
        "nexthop.nobody",
        "{place} sends {flow} to {address}, which no machine of the cluster has",
        "ip route get {address}",
        judged_by=("node.agent-files", "node.overlay", *_TABLES),
    ),
    Kind(
        "address.lost",
        "{place} has not got its address {address}",
        "ip -br address",
        "delete the pod: the next one has its address",
        "CNI specification, ADD",
        _LINKS,
    ),
    Kind(
        "address.twice",
        "{place} and {other} both have {address}",
        "ip -br address",
        "delete the pod that was not given it: ip address del {address} dev eth0",
        "Kubernetes network model: every pod has an address of its own",
        ("model.pod-ip.*", "model.identity", "ipam.*", "dual.pod-ips"),
    ),
    Kind(
        "family.off",
        "{place} has IPv6 switched off, and so not {address}: {key} is 1",
        "sysctl {key}",
        "sysctl -w {key}=0, then delete the pod: the next one has its address",
        "ip-sysctl.rst: disable_ipv6",
        _LINKS,
    ),
    Kind(
        "address.unusable",
        "{place} does not use {address}: {why}",
        "ip -6 address",
        "delete the pod: the next one has another address",
        "RFC 4862, section 5.4",
        _LINKS,
    ),
    Kind(
        "source.own",
        "{place} gets {flow} from its own address, and drops it: nothing masquerades what comes back to its sender",
        "iptables -t nat -S",
        "restart kube-proxy, which sets the rule",
        "Kubernetes, hairpin traffic",
        ("svc.hairpin",),
    ),
    # Servers
    Kind(
        "server.silent",
        "packets arrive at {place}, which does not answer: {what}",
        "kubectl -n {namespace} describe pod {pod}; kubectl -n {namespace} logs {pod}",
        "kubectl -n {namespace} delete pod {pod}",
    ),
    Kind(
        "server.answers",
        "{place} answers, and not as the cluster's objects say: {what}",
        "kubectl -n {namespace} get configmap coredns -o yaml; kubectl -n {namespace} logs {pod}",
        "kubectl -n {namespace} edit configmap coredns",
        "Kubernetes DNS-Based Service Discovery",
    ),
    # Tunnels
    Kind(
        "tunnel.neighbour.missing",
        "{place} has no MAC for {address} at {device}, and so no frame for {peer}",
        "ip neigh show dev {device}",
        "ip neigh replace {address} lladdr {right} dev {device} nud permanent",
        "vxlan.rst; flannel's backend writes neighbours of its peers",
        ("node.overlay",),
    ),
    Kind(
        "tunnel.neighbour.wrong",
        "{place} has {mac} as the MAC of {address} at {device}, but {device} of {peer} has {right}",
        "ip neigh show dev {device}",
        "ip neigh replace {address} lladdr {right} dev {device} nud permanent",
        "vxlan.rst; flannel's backend writes neighbours of its peers",
        ("node.overlay",),
    ),
    Kind(
        "tunnel.fdb.missing",
        "{place} has no forwarding entry for {mac} at {device}: frames for {peer} go nowhere",
        "bridge fdb show dev {device}",
        "bridge fdb append {mac} dev {device} dst …",
        "bridge(8), fdb; vxlan.rst",
        ("node.overlay",),
    ),
    Kind(
        "tunnel.fdb.wrong",
        "{place} sends frames for {peer} to {to}, which is no address of it (forwarding entry of {mac} at {device})",
        "bridge fdb show dev {device}",
        "bridge fdb replace {mac} dev {device} dst …",
        "bridge(8), fdb; vxlan.rst",
        ("node.overlay", "node.agent-files"),
    ),
    Kind(
        "tunnel.differs",
        "{device} of {place} has {word} {mine}, that of {peer} has {theirs}",
        "ip -d link show {device}",
        "restart the agent of the network on {place}",
        "vxlan.rst",
        ("node.overlay",),
    ),
)  # fmt: skip

KINDS: Final[Mapping[str, Kind]] = {kind.id: kind for kind in _ALL}
"""All kinds of causes, by id."""


class _Facts(dict[str, str]):
    """Facts of a trouble: what a template asks for and nobody said is left out."""

    def __missing__(self, key: str) -> str:
        return "…"


def filled(template: str, place: str, facts: Mapping[str, str]) -> str:
    """A template with its facts.

    Args:
        template: Of a kind.
        place: Where the trouble is.
        facts: What else is known.
    """
    return template.format_map(_Facts(facts, place=place))


def rule_commands(thing: str, handle: str) -> Iterator[tuple[str, str]]:
    """The commands that show and delete a rule, as facts.

    Args:
        thing: `nft/inet firewalld/filter_FORWARD/4`, `iptables/nat/POSTROUTING/3`.
        handle: Of a rule of nft; empty where it is not known.
    """
    program, _, rest = thing.partition("/")
    parts = rest.split("/")
    if program == "nft" and len(parts) == 3:
        table, chain, number = parts
        yield "show", f"nft -a list chain {table} {chain}"
        if number == "policy":
            yield "delete", f"nft chain {table} {chain} '{{ policy accept; }}'"
        else:
            yield "delete", f"nft delete rule {table} {chain} handle {handle or '…'}"
    elif program.startswith("iptables") and len(parts) == 3:
        table, chain, number = parts
        yield "show", f"{program} -t {table} -nvL {chain} --line-numbers"
        kept = (
            f"{program} -t {table} -P {chain} ACCEPT"
            if number == "policy"
            else f"{program} -t {table} -D {chain} {number}"
        )
        yield "delete", kept
