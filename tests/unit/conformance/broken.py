"""Broken labs, one defect each: what is changed in a green run, which check must say so, and at which leg."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from conformance.strays import seen_from
from harness.model.family import Family
from harness.model.records import Dump, Exchange, Lookup, Observation, Packet, Query, Rung, Tap
from tests.unit.conformance.broken_disturbed import DEFECTS
from tests.unit.conformance.simlab import NOTHING, VIRTUAL, Change, dumps, exchanges, records


@dataclass(frozen=True)
class Broken:
    """A defect and its judge.

    Args:
        what: The defect, in words; the test's name.
        check: Who must fail.
        changes: To the green run.
        leg: One of the legs that must fail.
        reason: With this reason.
        family: That of the change, in a lab that has both.
    """

    what: str
    check: str
    changes: tuple[Change, ...]
    leg: str
    reason: str = ""
    family: Family = "ipv4"


def rows(edit: Callable[[dict[str, Any]], dict[str, Any] | None], **match: Any) -> Change:
    """Edit or remove rows of a dump."""
    return dumps(lambda data: [new for row in data if (new := edit(row)) is not None], **match)


def set_link(name: str, **facts: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Change facts of one link."""
    return lambda row: row | facts if row["ifname"] == name else row


def without(key: str, value: str) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """Leave out rows with a value."""
    return lambda row: None if row.get(key) == value else row


def add_address(address: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A further address on eth0."""

    def edit(row: dict[str, Any]) -> dict[str, Any]:
        more = [{"family": "inet", "local": address, "prefixlen": 32, "scope": "global"}]
        return row | {"addr_info": [*row["addr_info"], *more]} if row["ifname"] == "eth0" else row

    return edit


def queries(edit: Callable[[int, Query], Query], **match: Any) -> Change:
    """Change queries of look-ups whose fields match, each by its number."""

    def apply(one: Observation) -> Observation:
        if not isinstance(one, Lookup) or any(getattr(one, key) != value for key, value in match.items()):
            return one
        return one.model_copy(update={"queries": tuple(starmap(edit, enumerate(one.queries)))})

    return apply


def lost(query: Query) -> Query:
    """No answer came."""
    return query.model_copy(update={"rcode": "timeout", "answers": ()})


def walked(name: str, answer: str) -> Change:
    """A name of the search list of pod a has an address, and the walk ends there."""

    def apply(one: Observation) -> Observation:
        if not isinstance(one, Lookup) or (one.purpose, one.src) != ("negative-relative", "a"):
            return one
        before = [query for query in one.queries if query.qtype == "A"][:1]
        found = [query.model_copy(update={"name": name, "rcode": "NOERROR", "answers": (answer,)}) for query in before]
        return one.model_copy(update={"rcode": "NOERROR", "answers": (answer,), "queries": (*before, *found)})

    return apply


def new_address(address: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Another address on eth0."""
    infos = [{"family": "inet", "local": address, "prefixlen": 24, "scope": "global"}]
    return set_link("eth0", addr_info=infos)


def flagged(name: str, **flags: bool) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Flags of the addresses of a link."""
    return lambda row: (
        row | {"addr_info": [info | flags for info in row["addr_info"]]} if row["ifname"] == name else row
    )


def rungs(change: dict[str, Any], accept: Callable[[Rung], bool]) -> Change:
    """Change steps of a ladder."""

    def apply(one: Observation) -> Observation:
        return one.model_copy(update=change) if isinstance(one, Rung) and accept(one) else one

    return apply


def packets(edit: Callable[[Packet], Packet], **match: Any) -> Change:
    """Change the packets of taps."""

    def apply(one: Observation) -> Observation:
        hit = isinstance(one, Tap) and all(getattr(one, key) == value for key, value in match.items())
        if not isinstance(one, Tap) or not hit:
            return one
        return one.model_copy(update={"packets": tuple(edit(packet) for packet in one.packets)})

    return apply


def without_answers(one: Observation) -> Observation:
    """The backends of one Service answer, except one."""
    if isinstance(one, Exchange) and one.purpose == "spread" and one.token == "d":
        return one.model_copy(update={"token": "a"})
    return one


def text(old: str, new: str, **match: Any) -> Change:
    """Replace words of a textual dump."""
    return dumps(lambda data: data.replace(old, new), **match)


def further_rule(rule: dict[str, Any]) -> Change:
    """A policy-routing rule of n1 beside the kernel's own."""
    return dumps(lambda data: [*data, rule], place="n1", what="policy-rules")


def more_route(route: dict[str, Any]) -> Change:
    """A route of n1; a default route leads to the router."""
    way = {"gateway": "172.18.0.1", "dev": "eth0"} if route["dst"] == "default" else {}
    return dumps(lambda data: [*data, route | way], vantage="node", place="n1", what="route")


def conf_line(old: str, new: str) -> Change:
    """Other words in the agent's file of n1."""
    return dumps(lambda data: {path: words.replace(old, new) for path, words in data.items()}, place="n1", what="conf")


def note(node: str, name: str, value: str) -> Change:
    """Another annotation of a node."""
    key = f"flannel.alpha.coreos.com/{name}"
    return dumps(lambda data: data | {node: data[node] | {key: value}}, what="node-objects")


def verb(step: str, **facts: Any) -> Change:
    """Change the calls of a step."""

    def edit(data: dict[str, Any]) -> dict[str, Any]:
        calls = [call | facts if call["step"] == step else call for call in data["calls"]]
        return data | {"calls": calls}

    many = ("fill-", "parallel-", "status-ready", "status-full", "gc-ipam")
    return dumps(edit, what="attachments" if step == "gc" or step.startswith(many) else "verbs")


def moment(name: str, **facts: Any) -> Change:
    """Change what was there at a moment of the calls."""
    return dumps(
        lambda data: data | {"snapshots": data["snapshots"] | {name: data["snapshots"][name] | facts}}, what="verbs"
    )


def probed(node: str, container: str, *, ready: bool = True, **counts: int) -> Change:
    """Change what a kubelet says of a container's probes under the policy."""

    def edit(data: dict[str, Any]) -> dict[str, Any]:
        one = data["pods"][node]
        under = {
            "ready": one["under"]["ready"] | {container: ready},
            "probes": one["under"]["probes"] | {container: counts},
        }
        said = [*one["events"], [container, "Readiness probe failed: context deadline exceeded"]]
        return data | {"pods": data["pods"] | {node: one | {"under": under, "events": said}}}

    return dumps(edit, what="kubelet")


def stray(client: str, target: str, *, resets: int = 0, **facts: Any) -> Change:
    """Change what became of a connection into which packets were sent that do not belong there."""

    def edit(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        hit = {seen_from(row) for row in rows if (row.get("client"), row.get("target")) == (client, target)}
        return [
            row | (facts if "client" in row else {"resets": resets}) if seen_from(row) in hit else row for row in rows
        ]

    return dumps(edit, what="strays")


def scratch(**facts: Any) -> Change:
    """Change what was seen of networks that no pod has."""
    return dumps(lambda data: data | {"scratch": data["scratch"] | facts}, what="attachments")


def leftover() -> dict[str, Any]:
    """What was there around an ADD that left a link."""
    before = NOTHING | {"leases": ["198.18.8.2"], "links": ["cni0"]}
    return {"before": before, "failed": before, "after": before | {"links": ["cni0", "vethy"]}}


def drops(one: Observation) -> Observation:
    """A rule dropped packets during the mesh."""
    if isinstance(one, Dump) and (one.batch, one.place, one.what) == ("B1", "n1", "rules-nft"):
        expr = [{"counter": {"packets": 7, "bytes": 420}}, {"drop": None}]
        return one.model_copy(
            update={"data": [{"rule": {"table": "kfault", "chain": "kfwd", "handle": 4, "expr": expr}}]}
        )
    return one


SNAT = {"peer": "10.244.0.0:61234"}
API_DNAT = [
    {"chain": {"family": "inet", "table": "kfault", "name": "kpre", "type": "nat", "hook": "prerouting", "prio": -110}},
    {
        "rule": {
            "family": "inet", "table": "kfault", "chain": "kpre", "handle": 4,
            "expr": [
                {
                    "match": {
                        "op": "==",
                        "left": {"payload": {"protocol": "ip", "field": "daddr"}},
                        "right": "10.96.0.1",
                    }
                },
                {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 443}},
                {"dnat": {"family": "ip", "addr": "10.0.2.15", "port": 6443}},
            ],
        }
    },
]  # fmt: skip
STRANGER = {"certificate": "0dd", "subject": "CN=n1", "issuer": "CN=n1-ca", "trusted": False}
NFT_SNAT = [
    {
        "chain": {
            "family": "inet", "table": "kfault", "name": "kpost", "type": "nat", "hook": "postrouting", "prio": 90,
            "policy": "accept",
        }
    },
    {
        "rule": {
            "family": "inet", "table": "kfault", "chain": "kpost", "handle": 9,
            "expr": [
                {
                    "match": {
                        "op": "==",
                        "left": {"payload": {"protocol": "ip", "field": "daddr"}},
                        "right": {"prefix": {"addr": "10.244.1.0", "len": 24}},
                    }
                },
                {"masquerade": None},
            ],
        }
    },
]  # fmt: skip


def nft_chain(family: str, kind: str, hook: str, *rules: list[Any]) -> list[Any]:
    """A table of nftables with one chain at a hook."""
    place = {"family": family, "table": "t"}
    base = {**place, "name": "c", "type": kind, "hook": hook, "prio": 10, "policy": "accept"}
    return [{"chain": base}, *({"rule": {**place, "chain": "c", "handle": 9, "expr": rule}} for rule in rules)]


def nft_match(protocol: str, name: str, right: Any) -> dict[str, Any]:
    """A match of nftables on a field of a header."""
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": name}}, "right": right}}


def more_rules(node: str, *rules: Any) -> Change:
    """Further rules of nftables."""
    return dumps(lambda data: [*data, *rules], place=node, what="rules-nft")


def saved_rules(node: str, table: str, chain: str, *lines: str) -> Change:
    """Further rules of iptables, and where it had none, a chain for them."""

    def edit(text: str) -> str:
        before, star, after = text.partition(f"*{table}\n")
        own, commit, others = after.partition("COMMIT\n")
        head = "" if f":{chain} " in own else f":{chain} ACCEPT [0:0]\n"
        return (
            before
            + (star or f"*{table}\n")
            + head
            + own
            + "".join(f"{line}\n" for line in lines)
            + "COMMIT\n"
            + (others if commit else "")
        )

    return dumps(edit, place=node, what="rules-iptables")


LEFTOVER = """*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -d {virtual}/32 -j DNAT --to-destination 10.244.0.250
COMMIT
"""
ESTABLISHED = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
TRANSLATED = {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}
DATAGRAMS = nft_match("udp", "dport", 8080)
REJECTED = {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}
HOST_FIREWALL = nft_chain(
    "inet", "filter", "forward", [ESTABLISHED, {"accept": None}], [TRANSLATED, {"accept": None}], [REJECTED]
)
LONG = {"match": {"op": ">", "left": {"meta": {"key": "length"}}, "right": 1400}}


def reused(**facts: Any) -> Change:
    """Change what was seen of an address that was given again."""
    return dumps(
        lambda data: data | {"scratch": data["scratch"] | {"reuse": data["scratch"]["reuse"] | facts}},
        what="attachments",
    )


def asked_again(place: str, **facts: Any) -> Change:
    """Change the answer that somebody got from the address after it had changed hands."""

    def edit(data: dict[str, Any]) -> dict[str, Any]:
        seen = data["scratch"]["reuse"]
        hit = {"moment": "after", "from": place}
        rows = [row | facts if hit.items() <= row.items() else row for row in seen["asked"]]
        return data | {"scratch": data["scratch"] | {"reuse": seen | {"asked": rows}}}

    return dumps(edit, what="attachments")


NARROW = rungs(
    {"outcome": "timeout"}, lambda one: (one.purpose, one.src_node) == ("underlay", "n1") and one.size > 1400
)
"""From n1, only packets of 1400 bytes reach other nodes."""

CASES = (
    Broken("what is between two nodes is narrower than their NICs", "node.path-mtu", (NARROW,), "n1>n2", "timeout"),
    Broken(
        "an address that was given again has two owners",
        "ipam.reuse",
        (reused(held={"old": ["198.18.8.2"], "new": ["198.18.8.2"]}),),
        "n1/198.18.8.2/held",
        "unexpected",
    ),
    Broken(
        "the node does not find the new owner of an address",
        "ipam.reuse",
        (asked_again("node", outcome="timeout", ttl=None),),
        "n1/node>198.18.8.2",
        "timeout",
    ),
    Broken(
        "the old owner of an address still answers to its neighbours",
        "ipam.reuse",
        (asked_again("neighbour", ttl=99),),
        "n1/neighbour>198.18.8.2",
        "wrong-peer",
    ),
    Broken(
        "a host firewall's own chain rejects what iptables accepts",
        "node.filters",
        (
            more_rules("n1", *HOST_FIREWALL),
            exchanges({"outcome": "timeout", "errno": 110}, purpose="mesh", src="a", dst="c"),
        ),
        "n1/a to c, leaving/tcp",
        "unexpected",
    ),
    Broken(
        "a rule of iptables-legacy leads a Service to an address that no pod has",
        "node.filters",
        (
            dumps(lambda _: {"/proc/thread-self/net/ip_tables_names": "nat\n"}, place="n1", what="legacy-tables"),
            dumps(lambda _: LEFTOVER.format(virtual=VIRTUAL["sole-c"]), place="n1", what="rules-legacy"),
            exchanges({"outcome": "timeout", "errno": 110, "token": ""}, purpose="vip", src="a", dst="sole-c"),
        ),
        "n1/Service sole-c/tcp",
        "unexpected",
    ),
    Broken(
        "a node's NIC drops what is longer than 1400 bytes",
        "node.filters",
        (
            more_rules("n2", *nft_chain("netdev", "filter", "ingress", [LONG, {"drop": None}])),
            dumps(
                lambda _: [{"family": "netdev", "table": "t", "chain": "c", "devices": ["eth0"]}],
                place="n2", what="hook-devices",
            ),
        ),
        "n2/tunnel of n1 to n2, arriving/udp",
        "unexpected",
    ),
    Broken(
        "a rule without an address turns all connections to one port",
        "node.filters",
        (
            saved_rules("n1", "nat", "PREROUTING", "-A PREROUTING -p tcp --dport 443 -j REDIRECT --to-ports 8080"),
            exchanges({"token": "a"}, purpose="ports", src="a", dst="c"),
        ),
        "n1/a to c, leaving/tcp",
        "unexpected",
    ),
    Broken(
        "a filter of frames drops what goes from pod to pod of a node",
        "node.filters",
        (
            more_rules("n1", *nft_chain("bridge", "filter", "forward", [DATAGRAMS, {"drop": None}])),
            exchanges({"outcome": "timeout", "errno": 110}, purpose="mesh", src="a", dst="b"),
        ),
        "n1/a to b/udp",
        "unexpected",
    ),
    Broken(
        "a table for marks drops what comes from other nodes",
        "node.filters",
        (
            saved_rules("n1", "mangle", "FORWARD", "-A FORWARD -i flannel.1 -p udp -j DROP"),
            exchanges({"outcome": "timeout", "errno": 110}, purpose="mesh", src="c", dst="a"),
        ),
        "n1/c to a, arriving/udp",
        "unexpected",
    ),
    Broken(
        "a node masquerades what its pods send to others",
        "node.filters",
        (more_rules("n1", *NFT_SNAT), exchanges(SNAT, purpose="mesh", src="a")),
        "n1/a to c, leaving/tcp",
        "unexpected",
    ),
    Broken(
        "two namespaces are kept apart although there is no policy",
        "np.default",
        (exchanges({"outcome": "timeout", "errno": 110}, purpose="policy-after", src="x/a", dst="y/b"),),
        "after:x/a>y/b/tcp/8080",
        "timeout",
    ),
    Broken(
        "a pod does not answer from the other node",
        "model.pod-pod.cross-node",
        (exchanges({"outcome": "timeout", "errno": 110, "attempts": 3}, purpose="mesh", src="a", dst="c"),),
        "a>c/tcp",
        "timeout",
    ),
    Broken(
        "connections to a pod are refused on the way",
        "model.pod-pod.cross-node",
        (exchanges({"outcome": "refused", "errno": 111}, purpose="mesh", src="a", dst="d", proto="tcp"),),
        "a>d/tcp",
        "refused",
    ),
    Broken(
        "pods of a node are isolated",
        "model.pod-pod.same-node",
        (exchanges({"outcome": "timeout", "errno": 110}, purpose="mesh", src="a", dst="b"),),
        "a>b/udp",
        "timeout",
    ),
    Broken(
        "ICMP is filtered",
        "model.protocols",
        (exchanges({"outcome": "timeout"}, purpose="mesh", proto="icmp", src="a"),),
        "a>c/icmp",
    ),
    Broken(
        "port 443 is filtered",
        "model.ports",
        (exchanges({"outcome": "timeout"}, purpose="ports", dial="10.244.1.2:443", proto="tcp"),),
        "a>c/tcp/443",
    ),
    Broken(
        "another pod answers at one port",
        "model.ports",
        (exchanges({"token": "d"}, purpose="ports", dial="10.244.1.2:8472", proto="udp"),),
        "a>c/udp/8472",
        "wrong-peer",
    ),
    Broken(
        "one direction is dropped",
        "model.one-way",
        (records("burst", {"outcome": "lost", "received": 0}, purpose="one-way", src="a"),),
        "a>c/udp",
        "lost",
    ),
    Broken(
        "a few datagrams are lost",
        "model.loss",
        (records("burst", {"outcome": "lost", "received": 193}, purpose="loss", src="a"),),
        "a>c/udp",
    ),
    Broken(
        "a detour costs a hop",
        "model.hops",
        (exchanges({"ttl": 61}, purpose="mesh", src="a", dst="c", proto="tcp"),),
        "a>c/ttl",
        "wrong-value",
    ),
    Broken(
        "payload is changed on the way",
        "model.integrity",
        (exchanges({"intact": False}, purpose="integrity", src="a"),),
        "a>c/tcp",
        "corrupt",
    ),
    Broken(
        "a sibling answers at a pod's own address",
        "model.self",
        (exchanges({"token": "b"}, purpose="self", src="a", proto="tcp"),),
        "a>a/tcp",
        "wrong-peer",
    ),
    Broken(
        "another pod answers at localhost",
        "model.localhost",
        (exchanges({"token": "b"}, purpose="localhost", src="a", proto="udp"),),
        "a>localhost/udp",
        "wrong-peer",
    ),
    Broken(
        "another pod answers a node",
        "model.node-pod.local",
        (exchanges({"token": "b"}, purpose="host", src="h1", dst="a", proto="udp"),),
        "h1>a/udp",
        "wrong-peer",
    ),
    Broken(
        "a pod of another node answers a node",
        "model.node-pod.remote",
        (exchanges({"token": "d"}, purpose="host", src="h1", dst="c", proto="tcp"),),
        "h1>c/tcp",
        "wrong-peer",
    ),
    Broken(
        "a program without a name answers at the pod's own node",
        "model.pod-node.own",
        (exchanges({"token": ""}, purpose="host", src="a", dst="h1", proto="tcp"),),
        "a>h1/tcp",
        "wrong-peer",
    ),
    Broken(
        "a pod's own node answers instead of another",
        "model.pod-node.remote",
        (exchanges({"token": "h1"}, purpose="host", src="a", dst="h2", proto="udp"),),
        "a>h2/udp",
        "wrong-peer",
    ),
    Broken(
        "a node does not reach its pod",
        "model.node-pod.local",
        (exchanges({"outcome": "timeout"}, purpose="host", src="h1", dst="a"),),
        "h1>a/tcp",
    ),
    Broken(
        "a node does not reach a remote pod",
        "model.node-pod.remote",
        (exchanges({"outcome": "unreachable", "errno": 113}, purpose="host", src="h1", dst="c"),),
        "h1>c/tcp",
        "unreachable",
    ),
    Broken(
        "a node refuses its own pods",
        "model.pod-node.own",
        (exchanges({"outcome": "timeout"}, purpose="host", src="a", dst="h1"),),
        "a>h1/udp",
    ),
    Broken(
        "a node refuses remote pods",
        "model.pod-node.remote",
        (exchanges({"outcome": "timeout"}, purpose="host", src="a", dst="h2"),),
        "a>h2/tcp",
    ),
    Broken(
        "connections fail under load",
        "conn.churn",
        (records("churn", {"connected": 690, "errors": {"110": 10}}, src="a"),),
        "a>c/tcp",
    ),
    Broken(
        "the first SYN to another node is lost",
        "conn.setup",
        (exchanges({"syn_resent": 1, "rtt_us": 1031000, "attempts": 3}, purpose="setup", src="a", dst="c"),),
        "a>c/tcp",
        "lost",
    ),
    Broken(
        "two SYNs of a node's connections to its own pod are lost",
        "conn.setup",
        (exchanges({"syn_resent": 2, "rtt_us": 3031000}, purpose="setup", src="h1", dst="a"),),
        "h1>a/tcp",
        "lost",
    ),
    Broken(
        "traffic between nodes is masqueraded",
        "model.no-nat.cross-node",
        (exchanges(SNAT, purpose="mesh", src="a", dst="c", proto="tcp"),),
        "a>c/tcp",
        "wrong-source",
    ),
    Broken(
        "ports are translated",
        "model.no-nat.same-node",
        (exchanges({"peer": "10.244.0.2:1024"}, purpose="mesh", src="a", dst="b"),),
        "a>b/tcp",
        "wrong-source",
    ),
    Broken(
        "a destination is rewritten",
        "model.no-nat.cross-node",
        (exchanges({"local": "10.244.1.3:8080"}, purpose="mesh", src="a", dst="c", proto="tcp"),),
        "a>c/tcp",
        "wrong-dest",
    ),
    Broken(
        "packets are rewritten on the wire, and back",
        "model.no-nat.wire",
        (packets(lambda packet: packet.model_copy(update={"src": "10.244.0.99"}), place="c"),),
        "a>c/tcp@c",
        "wrong-source",
    ),
    Broken(
        "replies cross the underlay without the tunnel",
        "model.no-nat.wire",
        (packets(lambda packet: packet.inner or packet, place="n2"),),
        "c>a/tcp@n2:eth0",
        "wrong-source",
    ),
    Broken(
        "somebody else answers",
        "model.identity",
        (exchanges({"token": "d"}, purpose="mesh", src="a", dst="c", proto="tcp"),),
        "a>c/tcp",
        "wrong-peer",
    ),
    Broken(
        "two pods have one address",
        "model.pod-ip.unique",
        (rows(add_address("10.244.0.2"), vantage="pod", place="c", what="addr"),),
        "a",
    ),
    Broken(
        "a pod's address drifted",
        "model.pod-ip.agrees",
        (rows(new_address("10.244.9.9"), vantage="pod", place="a", what="addr"),),
        "a",
    ),
    Broken(
        "a pod's address is outside its node's share",
        "model.pod-ip.in-range",
        (rows(new_address("10.244.1.77"), vantage="pod", place="a", what="addr"),),
        "a",
    ),
    Broken(
        "a pod uses the node's network",
        "model.netns.private",
        (rows(lambda row: row | ({"inode": 1000} if row["pod"] == "a" else {}), place="n1", what="sandboxes"),),
        "a",
    ),
    Broken(
        "a host-network pod is not",
        "model.hostnet.identity",
        (rows(lambda row: row | {"host_network": False}, place="n1", what="sandboxes"),),
        "h1",
    ),
    Broken(
        "containers do not share ports",
        "model.ctr.shared",
        (exchanges({"outcome": "ok", "errno": 0}, purpose="bind-taken", src="a"),),
        "a/port",
    ),
    Broken(
        "the loopback of a pod is down",
        "model.localhost",
        (rows(set_link("lo", flags=[]), vantage="pod", place="a", what="addr"),),
        "a/lo",
    ),
    Broken(
        "a pod does not reach itself",
        "model.self",
        (exchanges({"outcome": "timeout"}, purpose="self", src="a"),),
        "a>a/tcp",
    ),
    Broken(
        "a lease has no pod",
        "ipam.lease.match",
        (dumps(lambda data: data | {"/var/lib/cni/networks/cbr0/10.244.0.77": ""}, place="n1", what="leases"),),
        "n1",
        "unexpected",
    ),
    Broken(
        "a pod has no lease",
        "ipam.lease.match",
        (dumps(lambda data: {k: v for k, v in data.items() if not k.endswith("0.2")}, place="n1", what="leases"),),
        "n1",
        "missing",
    ),
    Broken(
        "a link has another MTU",
        "mtu.agree",
        (rows(set_link("eth0", mtu=1500), vantage="pod", place="a", what="addr"),),
        "a",
    ),
    Broken(
        "full-size packets vanish",
        "mtu.exact",
        (rungs({"outcome": "timeout"}, lambda rung: (rung.src, rung.dst, rung.size) == ("a", "c", 1450)),),
        "a>c/1450",
        "timeout",
    ),
    Broken(
        "full-size packets are refused",
        "mtu.exact",
        (
            rungs(
                {"outcome": "msgsize", "errno": 90, "reported_mtu": 1350},
                lambda rung: (rung.src, rung.dst, rung.size) == ("c", "a", 1450),
            ),
        ),
        "c>a/1450",
        "msgsize",
    ),
    Broken(
        "a packet that is too big vanishes without an error",
        "mtu.plus-one",
        (
            rungs(
                {"outcome": "timeout", "reported_mtu": None},
                lambda rung: (rung.src, rung.dst, rung.size) == ("a", "b", 1451),
            ),
        ),
        "a>b/1451",
        "timeout",
    ),
    Broken(
        "a packet that is too big arrives",
        "mtu.plus-one",
        (rungs({"outcome": "ok"}, lambda rung: (rung.src, rung.size) == ("a", 1451)),),
        "a>c/1451",
        "unexpected",
    ),
    Broken(
        "the tunnel fragments",
        "mtu.wire",
        (packets(lambda packet: packet.model_copy(update={"more_fragments": True}), place="n1"),),
        "n1:eth0/a<>c",
        "unexpected",
    ),
    Broken(
        "the tunnel has another VNI",
        "mtu.wire",
        (packets(lambda packet: packet.model_copy(update={"vni": 2}), place="n2"),),
        "n2:eth0/a<>c",
    ),
    Broken(
        "fragments are dropped",
        "mtu.fragments",
        (exchanges({"outcome": "timeout"}, purpose="fragmented", src="a"),),
        "a>c/udp/3000",
    ),
    Broken(
        "an upload stalls",
        "mtu.payload",
        (exchanges({"stall_ms": 2800.0}, purpose="integrity", src="a"),),
        "a>c/tcp",
        "late",
    ),
    Broken(
        "the segment size is clamped",
        "mtu.mss",
        (packets(lambda packet: packet.model_copy(update={"tcp_mss": 400}), place="c"),),
        "a>c/mss",
    ),
    Broken(
        "the ICMP error of a small link does not come back",
        "mtu.pmtud",
        (rungs({"outcome": "timeout", "reported_mtu": None}, lambda rung: rung.purpose == "pmtud"),),
        "a>far/1450",
        "timeout",
    ),
    Broken(
        "Services do not work on one node",
        "svc.clusterip.reach",
        (exchanges({"outcome": "timeout"}, purpose="vip", src="a"),),
        "a>sole-c/tcp",
    ),
    Broken(
        "a Service has a foreign backend",
        "svc.clusterip.set",
        (exchanges({"token": "h1"}, purpose="spread", src="a", token="b"),),
        "a>spread",
        "unexpected",
    ),
    Broken("a backend is never used", "svc.clusterip.set", (without_answers,), "a>spread", "missing"),
    Broken(
        "a Service masquerades its clients",
        "svc.clusterip.source",
        (exchanges({"peer": "172.18.0.11:4711"}, purpose="vip", src="a"),),
        "a>sole-c/tcp",
        "wrong-source",
    ),
    Broken(
        "a node does not reach a Service",
        "svc.from-node",
        (exchanges({"outcome": "timeout"}, purpose="vip", src="h2", dst="sole-a"),),
        "h2>sole-a/tcp",
    ),
    Broken(
        "a pod does not reach itself through its Service",
        "svc.hairpin",
        (exchanges({"outcome": "timeout"}, purpose="hairpin", src="a"),),
        "a>sole-a/tcp",
    ),
    Broken(
        "a Service without endpoints is silent",
        "svc.no-endpoints",
        (exchanges({"outcome": "timeout", "errno": 110}, purpose="no-endpoints", src="a"),),
        "a>vip-empty/tcp",
        "timeout",
    ),
    Broken(
        "a Service without endpoints drops two packets and refuses the third",
        "svc.no-endpoints",
        (exchanges({"rtt_us": 3_010_000, "tries": ()}, purpose="no-endpoints", src="a"),),
        "a>vip-empty/tcp",
        "late",
    ),
    Broken(
        "a node sends what is for a Service without endpoints to its router",
        "svc.no-endpoints",
        (exchanges({"outcome": "unreachable", "errno": 101}, purpose="no-endpoints", src="a"),),
        "a>vip-empty/tcp",
        "elsewhere",
    ),
    Broken(
        "a node drops a NodePort",
        "svc.nodeport",
        (exchanges({"outcome": "timeout"}, purpose="nodeport", dst_node="n2"),),
        "router>nodeport@n2/tcp",
    ),
    Broken(
        "a Service does not move",
        "svc.endpoint-change",
        (exchanges({"token": "a"}, purpose="moved"), exchanges({"token": "a"}, purpose="moved-fresh")),
        "b>moving/tcp",
        "late",
    ),
    Broken(
        "a UDP flow stays with the old endpoint",
        "svc.udp-stale",
        (exchanges({"token": "a"}, purpose="moved-flow"),),
        "b>moving/udp",
        "late",
    ),
    Broken(
        "host ports do not work on one node",
        "svc.hostport.reach",
        (exchanges({"outcome": "refused", "errno": 111}, purpose="hostport", dst_node="n1"),),
        "router>hostport@n1/tcp",
        "refused",
    ),
    Broken(
        "a node port leads to a pod that is no endpoint",
        "svc.nodeport",
        (exchanges({"token": "x"}, purpose="nodeport", dst_node="n1", proto="tcp"),),
        "router>nodeport@n1/tcp",
        "wrong-peer",
    ),
    Broken(
        "policy Local leads to a pod of another node, with the client's address",
        "svc.etp-local",
        (exchanges({"token": "a"}, purpose="etp-local", dst_node="n2", outcome="ok"),),
        "router>etp-local@n2/tcp",
        "wrong-peer",
    ),
    Broken(
        "affinity keeps a client on a pod that is no endpoint",
        "svc.affinity",
        (exchanges({"token": "x"}, purpose="affinity", src="a"),),
        "a>affinity",
        "wrong-peer",
    ),
    Broken(
        "a pod answers for the outside world",
        "egress.reach",
        (exchanges({"token": "b"}, purpose="egress", src="a", proto="udp"),),
        "a>router/udp",
        "wrong-peer",
    ),
    Broken(
        "another program answers for the outside world at a shared source port",
        "egress.ports",
        (exchanges({"token": ""}, purpose="egress-port", src="a", proto="tcp"),),
        "a>router/tcp",
        "wrong-peer",
    ),
    Broken(
        "a host port leads to the pod of the other protocol",
        "svc.hostport.reach",
        (exchanges({"token": "a"}, purpose="hostport", dst_node="n1", proto="tcp"),),
        "h2>hostport@n1/tcp",
        "wrong-peer",
    ),
    Broken(
        "a host port of one address leads to the pod that has it for another address",
        "svc.hostport.scope",
        (exchanges({"token": "a"}, purpose="bound", dst_node="n1", proto="tcp"),),
        "h1>bound@n1/tcp",
        "wrong-peer",
    ),
    Broken(
        "a host port of one address answers at another one",
        "svc.hostport.scope",
        (exchanges({"outcome": "ok", "token": "a"}, purpose="bound-loopback", dst_node="n1", proto="udp"),),
        "h1>loopback@n1/udp",
        "unexpected",
    ),
    Broken(
        "host ports of one address do not work on one node",
        "svc.hostport.scope",
        (exchanges({"outcome": "refused", "errno": 111}, purpose="bound", dst_node="n1"),),
        "router>bound@n1/udp",
        "refused",
    ),
    Broken(
        "a client resets its connection to a Service because of a packet that was not translated",
        "ct.invalid",
        (stray("b", "sole-a", resets=2, outcome="reset"),),
        "b>sole-a/tcp",
        "reset",
    ),
    Broken(
        "a connection to a Service does not outlive a packet out of its window",
        "ct.invalid",
        (stray("a", "sole-c", outcome="timeout"),),
        "a>sole-c/tcp",
        "timeout",
    ),
    Broken(
        "a connection to a Service leads to a pod that is no endpoint",
        "ct.invalid",
        (stray("a", "sole-c", token="d"),),
        "a>sole-c/tcp",
        "wrong-peer",
    ),
    Broken(
        "a kubelet gets no answer from a pod under a policy",
        "model.kubelet-probe",
        (probed("n1", "http", ready=False, successful=2, failed=3),),
        "kubelet@n1>k1/http",
        "timeout",
    ),
    Broken(
        "a policy Local does not keep the source",
        "svc.etp-local",
        (exchanges({"peer": "10.244.1.1:999"}, purpose="etp-local", outcome="ok"),),
        "router>etp-local@n2/tcp",
        "wrong-source",
    ),
    Broken(
        "a policy Local forwards to another node",
        "svc.etp-local",
        (exchanges({"outcome": "ok", "token": "c"}, purpose="etp-local", outcome="timeout"),),
        "router>etp-local@n1/tcp",
        "unexpected",
    ),
    Broken(
        "an internal policy Local leaves the node",
        "svc.itp-local",
        (exchanges({"outcome": "ok", "token": "c"}, purpose="itp-local", src="a"),),
        "a>itp-local/tcp",
        "unexpected",
    ),
    Broken(
        "affinity is forgotten",
        "svc.affinity",
        (exchanges({"token": "d", "peer": "x"}, purpose="affinity", src="a", source="10.244.0.2:40200"),
         lambda one: one.model_copy(update={"token": "d"})
         if isinstance(one, Exchange) and one.purpose == "affinity" and one.src == "a" and one.nonce[-1] in "02468"
         else one),
        "a>affinity",
    ),
    Broken(
        "a connection of a faithful client is lost",
        "svc.affinity",
        (lambda one: one.model_copy(update={"outcome": "timeout", "token": ""})
         if isinstance(one, Exchange) and one.purpose == "affinity" and one.src == "a" and one.nonce[-1] == "0"
         else one,),
        "a>affinity",
        "lost",
    ),
    Broken(
        "a pod's search list is cut",
        "dns.resolv-conf",
        (text(" svc.cluster.local cluster.local", "", vantage="pod", place="a", what="resolv-conf"),),
        "a",
    ),
    Broken(
        "the name server is silent",
        "dns.service",
        (records("lookup", {"outcome": "timeout", "answers": (), "rcode": ""}, src="a"),),
        "a?spread.cnilab-probe.svc.cluster.local./A/udp",
        "timeout",
    ),
    Broken(
        "a Service has a wrong address in DNS",
        "dns.service",
        (records("lookup", {"answers": ("10.96.9.9",)}, purpose="service", src="c"),),
        "c?spread.cnilab-probe.svc.cluster.local./A/udp",
        "wrong-value",
    ),
    Broken(
        "a named port has no SRV record",
        "dns.srv",
        (records("lookup", {"answers": (), "rcode": "NXDOMAIN"}, purpose="srv", src="a"),),
        "a?_web._tcp.spread.cnilab-probe.svc.cluster.local./SRV/udp",
        "missing",
    ),
    Broken(
        "an address has no name",
        "dns.ptr",
        (records("lookup", {"answers": (), "rcode": "NXDOMAIN"}, purpose="ptr", src="a"),),
        "a?2.0.244.10.in-addr.arpa./PTR/udp",
    ),
    Broken(
        "a headless Service lacks an endpoint",
        "dns.headless",
        (records("lookup", {"answers": ("10.244.0.2",)}, purpose="headless", src="a"),),
        "a?headless.cnilab-probe.svc.cluster.local./A/udp",
    ),
    Broken(
        "the name server does not make names of addresses",
        "dns.pod",
        (records("lookup", {"answers": (), "rcode": "NXDOMAIN"}, purpose="pod", src="a"),),
        "a?10-244-0-2.cnilab-probe.pod.cluster.local./A/udp",
        "missing",
    ),
    Broken(
        "an unknown name has an address",
        "dns.negative",
        (records("lookup", {"rcode": "NOERROR", "answers": ("192.0.2.1",)}, purpose="negative", src="a"),),
        "a?no-such-service.cnilab-probe.svc.cluster.local./A/udp",
        "unexpected",
    ),
    Broken(
        "the second of two questions of a socket is lost",
        "dns.same-socket",
        (queries(lambda number, query: query if number % 2 == 0 else lost(query), purpose="one-socket", src="a"),),
        "a?spread.cnilab-probe.svc.cluster.local./A+AAAA/udp",
        "lost",
    ),
    Broken(
        "the name server answers no question of any socket",
        "dns.same-socket",
        (queries(lambda _, query: lost(query), purpose="one-socket"),
         queries(lambda _, query: lost(query), purpose="own-sockets")),
        "c?spread.cnilab-probe.svc.cluster.local./A+AAAA/udp",
        "timeout",
    ),
    Broken(
        "one of two questions of a socket gets a wrong answer",
        "dns.same-socket",
        (queries(
            lambda number, query: query.model_copy(update={"answers": ("10.96.9.9",)}) if number == 4 else query,
            purpose="one-socket", src="a",
        ),),
        "a?spread.cnilab-probe.svc.cluster.local./A+AAAA/udp",
        "wrong-value",
    ),
    Broken(
        "the node's search domain has every name",
        "dns.negative.relative",
        (walked("nosuch.probe.outside.test.", "8.8.8.8"),),
        "a?nosuch/A+AAAA/libc",
        "unexpected",
    ),
    Broken(
        "the cluster's own zone has every name",
        "dns.negative.relative",
        (walked("nosuch.cnilab-probe.svc.cluster.local.", "10.96.9.9"),),
        "a?nosuch/A+AAAA/libc",
        "unexpected",
    ),
    Broken(
        "the name server fails on a candidate of the search list",
        "dns.negative.relative",
        (queries(
            lambda number, query: query.model_copy(update={"rcode": "SERVFAIL"}) if number == 2 else query,
            purpose="negative-relative", src="a",
        ),),
        "a?nosuch/A+AAAA/libc",
        "wrong-value",
    ),
    Broken(
        "an empty headless Service ends in SERVFAIL",
        "dns.headless-empty",
        (records("lookup", {"rcode": "SERVFAIL"}, purpose="headless-empty", src="a"),),
        "a?vacant.cnilab-probe.svc.cluster.local./A/udp",
        "wrong-value",
    ),
    Broken(
        "an external name is no CNAME",
        "dns.externalname",
        (records("lookup", {"answers": ()}, purpose="externalname", src="a"),),
        "a?external.cnilab-probe.svc.cluster.local./CNAME/udp",
    ),
    Broken(
        "the zone has another schema",
        "dns.schema",
        (records("lookup", {"answers": ('"1.0.0"',)}, purpose="schema", src="a"),),
        "a?dns-version.cluster.local./TXT/udp",
    ),
    Broken(
        "short names do not resolve",
        "dns.search",
        (records("lookup", {"answers": (), "rcode": "NXDOMAIN"}, purpose="search", src="a"),),
        "a?spread/A+AAAA/libc",
    ),
    Broken(
        "DNS over TCP is dropped",
        "dns.tcp",
        (records("lookup", {"outcome": "timeout", "answers": ()}, purpose="tcp", src="a"),),
        "a?spread.cnilab-probe.svc.cluster.local./A/tcp",
    ),
    Broken(
        "a large answer is cut without saying so",
        "dns.large",
        (records("lookup", {"truncated": False, "answers": ("203.0.113.1",)}, purpose="large-udp", src="a"),),
        "a?crowd.cnilab-probe.svc.cluster.local./A/udp/tc",
        "short",
    ),
    Broken(
        "names outside do not resolve",
        "dns.forward",
        (records("lookup", {"rcode": "SERVFAIL", "answers": ()}, purpose="forward", src="a"),),
        "a?www.outside.test./A/udp",
    ),
    Broken(
        "a pod does not get outside",
        "egress.reach",
        (exchanges({"outcome": "timeout"}, purpose="egress", src="a"),),
        "a>router/icmp",
    ),
    Broken(
        "a pod is seen outside as itself",
        "egress.source",
        (dumps(lambda data: [row | {"src": "10.244.0.2"} for row in data], what="sightings"),),
        "a>router/tcp",
        "wrong-source",
    ),
    Broken(
        "two pods are one outside",
        "egress.ports",
        (exchanges({"peer": "172.18.0.11:20000"}, purpose="egress-port", src_node="n1", proto="udp"),),
        "a>router/udp",
        "wrong-source",
    ),
    Broken(
        "a bridge of a node covers an outside address",
        "egress.targets",
        (exchanges({"outcome": "unreachable", "errno": 113, "token": ""}, purpose="target", src_node="n1",
                   dst="neighbour"),
         dumps(lambda data: [*data, {"ifname": "docker0", "flags": ["UP"], "addr_info": [
             {"family": "inet", "local": "172.31.0.1", "prefixlen": 16, "scope": "global"}]}],
               vantage="node", place="n1", what="addr")),
        "a>neighbour/tcp",
        "unreachable",
    ),
    Broken(
        "one node's pods do not reach an outside address",
        "egress.targets",
        (exchanges({"outcome": "timeout", "errno": 110, "token": ""}, purpose="target", src_node="n1", dst="far"),),
        "b>far/udp",
        "timeout",
    ),
    Broken(
        "somebody else has an outside address",
        "egress.targets",
        (exchanges({"token": "n1"}, purpose="target", src="a", dst="public", proto="tcp"),),
        "a>public/tcp",
        "wrong-peer",
    ),
    Broken(
        "a rule sends the API server's Service to an address that no node has",
        "svc.api-server",
        (exchanges({"outcome": "timeout", "errno": 110, "certificate": "", "trusted": None}, purpose="api",
                   src_node="n2"),
         dumps(lambda _: API_DNAT, place="n2", what="rules-nft")),
        "c>kubernetes/tcp",
        "timeout",
    ),
    Broken(
        "the API server's Service leads nowhere",
        "svc.api-server",
        (exchanges({"outcome": "refused", "errno": 111, "certificate": "", "trusted": None}, purpose="api", src="h2"),),
        "h2>kubernetes/tcp",
        "refused",
    ),
    Broken(
        "another server answers for the API server",
        "svc.api-server",
        (exchanges(STRANGER, purpose="api", src="d"),),
        "d>kubernetes/tcp",
        "wrong-peer",
    ),
    Broken(
        "what answers for the API server does not speak TLS",
        "svc.api-server",
        (exchanges({"certificate": "", "subject": "", "issuer": "", "trusted": None, "detail": "not TLS"},
                   purpose="api", src="a"),),
        "a>kubernetes/tcp",
        "wrong-peer",
    ),
    Broken(
        "a rule masquerades pod traffic",
        "egress.scope",
        (dumps(lambda _: NFT_SNAT, place="n1", what="rules-nft"),),
        "n1/a to c leaving",
    ),
    Broken(
        "a node has lost a route",
        "node.routes",
        (rows(without("dst", "10.244.1.0/24"), vantage="node", place="n1", what="route"),),
        "n1:10.244.1.0/24",
        "missing",
    ),
    Broken(
        "a node's route leaves the tunnel out",
        "node.routes",
        (rows(lambda row: row | {"gateway": "172.18.0.11", "dev": "eth0", "flags": []}
              if row["dst"] == "10.244.0.0/24" else row, place="n2", what="route"),),
        "n2:10.244.0.0/24",
        "wrong-value",
    ),
    Broken(
        "a node has a foreign route",
        "node.routes",
        (dumps(lambda data: [*data, {"dst": "10.244.7.0/24", "gateway": "172.18.0.9", "dev": "eth0", "table": "main"}],
               place="n1", what="route"),),
        "n1:foreign",
        "unexpected",
    ),
    Broken(
        "a forwarding entry is missing",
        "node.overlay",
        (dumps(lambda _: [], place="n1", what="fdb"),),
        "n1>n2/fdb",
        "missing",
    ),
    Broken(
        "a neighbour entry is wrong",
        "node.overlay",
        (rows(lambda row: row | {"lladdr": "02:00:00:00:00:99"}, place="n1", what="neigh"),),
        "n1>n2/neigh",
        "wrong-value",
    ),
    Broken(
        "a node does not forward",
        "node.sysctl",
        (dumps(lambda data: data | {"net.ipv4.ip_forward": "0"}, place="n1", what="sysctl"),),
        "n1:net.ipv4.ip_forward",
    ),
    Broken(
        "reverse path filtering is strict",
        "node.sysctl",
        (dumps(lambda data: data | {"net.ipv4.conf.all.rp_filter": "1"}, place="n1", what="sysctl"),),
        "n1:flannel.1.rp_filter",
    ),
    Broken(
        "the policy of FORWARD is DROP",
        "node.forward",
        (text(":FORWARD ACCEPT", ":FORWARD DROP", place="n1", what="rules-iptables"),),
        "n1/a to c leaving/tcp",
    ),
    Broken(
        "the masquerade rule is missing",
        "node.masq-rules",
        (text("-j FLANNEL-POSTRTG", "-j RETURN", place="n1", what="rules-iptables"),),
        "n1/to 8.8.8.8/tcp",
    ),
    Broken(
        "a pod's veth is not a port of the bridge",
        "node.links",
        (rows(lambda row: {key: value for key, value in row.items() if key != "master"}
              if row["ifname"] == "vetha" else row, vantage="node", place="n1", what="addr"),),
        "n1:a",
    ),
    Broken(
        "the bridge has lost its address",
        "node.links",
        (rows(set_link("cni0", addr_info=[]), vantage="node", place="n1", what="addr"),),
        "n1:cni0/address",
    ),
    Broken(
        "a rule of a VPN takes packets for other nodes' pods",
        "node.rules",
        (further_rule({"priority": 5270, "src": "all", "table": "52"}), more_route({"dst": "default", "table": "52"})),
        "n1:pods of n2",
        "wrong-value",
    ),
    Broken(
        "a rule takes the packets of one pod to the router",
        "node.rules",
        (
            further_rule({"priority": 9, "src": "10.244.0.3", "table": "7"}),
            more_route({"dst": "default", "table": "7"}),
        ),
        "n1:pods of n2",
    ),
    Broken(
        "a rule refuses packets for Services",
        "node.rules",
        (further_rule({"priority": 90, "src": "all", "dst": "10.96.0.0", "dstlen": 16, "action": "prohibit"}),),
        "n1:Services",
    ),
    Broken(
        "the rule for the node's own addresses is gone",
        "node.rules",
        (rows(without("table", "local"), place="n1", what="policy-rules"),),
        "n1:local",
        "missing",
    ),
    Broken(
        "the rule for the main table is gone",
        "node.rules",
        (rows(without("table", "main"), place="n1", what="policy-rules"),),
        "n1:main",
        "missing",
    ),
    Broken(
        "a bridge of docker covers an address outside the cluster",
        "node.ranges",
        (more_route({"dst": "10.10.1.0/24", "dev": "docker0", "table": "main"}),),
        "n1:outside",
        "unexpected",
    ),
    Broken(
        "a blackhole covers a Service",
        "node.ranges",
        (more_route({"type": "blackhole", "dst": "10.96.1.0", "table": "main"}),),
        "n1:Services",
    ),
    Broken(
        "a route of a VPN covers a node",
        "node.ranges",
        (more_route({"dst": "172.18.0.12", "dev": "tun0", "table": "main"}),),
        "n1:nodes",
    ),
    Broken(
        "a link of somebody else has an address of pods",
        "node.ranges",
        (dumps(lambda data: [*data, {"ifname": "virbr0", "flags": ["UP"], "addr_info": [
            {"family": "inet", "local": "10.244.9.1", "prefixlen": 32, "scope": "global"}]}],
               vantage="node", place="n1", what="addr"),),
        "n1:pods",
    ),
    Broken(
        "the agent's file has another node's share",
        "node.agent-files",
        (conf_line("FLANNEL_SUBNET=10.244.0.1/24", "FLANNEL_SUBNET=10.244.1.1/24"),),
        "n1:share",
        "wrong-value",
    ),
    Broken(
        "a node's annotation has the address of another network",
        "node.agent-files",
        (note("n2", "public-ip", "192.0.2.15"),
         rows(lambda row: row | {"dst": "192.0.2.15"}, place="n1", what="fdb")),
        "n2:address",
        "wrong-value",
    ),
    Broken(
        "a node's annotation has the MAC address of an earlier tunnel",
        "node.agent-files",
        (note("n2", "backend-data", '{"VNI": 1, "VtepMAC": "02:00:00:00:00:99"}'),),
        "n2:tunnel",
        "wrong-value",
    ),
    Broken(
        "the connection table is full",
        "ct.headroom",
        (dumps(lambda data: data | {"net.netfilter.nf_conntrack_count": "250000"}, place="n1", what="sysctl"),),
        "n1",
    ),
    Broken("a rule drops packets of the mesh", "ct.counters", (drops,), "n1"),
    Broken(
        "another configuration comes first",
        "cni.conf.active",
        (dumps(lambda data: data | {"files": {"00-x.conf": '{"type": "loopback"}', **data["files"]}}, what="verbs"),),
        "n1/file",
    ),
    Broken(
        "the configuration is cut in half",
        "cni.conf.active",
        (dumps(lambda data: data | {"files": {"10-flannel.conflist": '{"cniVersion'}}, what="verbs"),),
        "n1/json",
    ),
    Broken(
        "a plugin is not installed",
        "cni.conf.active",
        (dumps(lambda data: data | {"programs": ["bridge", "portmap"]}, what="verbs"),),
        "n1/plugins",
        "missing",
    ),
    Broken(
        "ADD fails",
        "cni.add.result",
        (verb("add", status=1, output={"code": 11, "msg": "try again later"}),),
        "n1/add",
    ),
    Broken(
        "the result of ADD lies",
        "cni.add.effect",
        (verb("add", output={"ips": [{"address": "192.0.2.77/24"}], "interfaces": [{"name": "eth0"}]}),),
        "n1/addresses",
    ),
    Broken(
        "a second ADD is no error",
        "cni.add.conflict",
        (verb("conflict", status=0, output=""),),
        "n1/status",
        "unexpected",
    ),
    Broken(
        "a second ADD leaves a lease",
        "cni.add.conflict",
        (moment("conflict", leases=["10.244.0.2", "10.244.0.7", "10.244.0.8"]),),
        "n1/diff",
        "unexpected",
    ),
    Broken(
        "DEL leaves a lease",
        "ipam.release",
        (moment("deleted", leases=["10.244.0.2", "10.244.0.7"]),),
        "n1/diff",
        "unexpected",
    ),
    Broken(
        "DEL leaves a route",
        "ipam.release",
        (moment("deleted", routes=["10.244.0.7 dev vethx scope link"]),),
        "n1/diff",
        "unexpected",
    ),
    Broken(
        "DEL leaves a neighbour",
        "ipam.release",
        (moment("deleted", neighbours=["10.244.0.7 dev cni0 lladdr 02:00:00:00:00:07 PERMANENT"]),),
        "n2/diff",
        "unexpected",
    ),
    Broken(
        "DEL leaves the rule of a port",
        "ipam.release",
        (moment("deleted", rules=["tcp dport 61997 dnat to 10.244.0.7:8080"]),),
        "n1/diff",
        "unexpected",
    ),
    Broken("DEL wants the result of ADD", "cni.del.no-prev", (verb("del-no-prev", status=1),), "n1/status"),
    Broken(
        "DEL without the result of ADD leaves a lease",
        "cni.del.no-prev",
        (moment("no-prev", leases=["10.244.0.2", "10.244.0.7"]),),
        "n1/diff",
        "unexpected",
    ),
    Broken(
        "the result of ADD has no MAC",
        "cni.add.result",
        (verb("add", output={"cniVersion": "0.3.1", "ips": [{"address": "x"}], "interfaces": [{"name": "eth0"}]}),),
        "n1/add",
        "missing",
    ),
    Broken("GC is no error where there is none", "cni.gc", (verb("gc-refused", status=0, output=""),), "n1/refused"),
    Broken(
        "GC drops the lease of a valid attachment",
        "cni.gc",
        (scratch(gc={"valid": ["198.18.8.3"], "stale": ["198.18.8.4"], "after": [], "later": []}),),
        "n1/valid",
        "missing",
    ),
    Broken(
        "STATUS is no error where there is none",
        "cni.status",
        (verb("status-refused", status=0, output=""),),
        "n1/refused",
    ),
    Broken(
        "STATUS says that nothing works, and all does",
        "cni.status",
        (verb("status-ready", status=1, output={"code": 50, "msg": "not ready"}),),
        "n1/status-ready",
    ),
    Broken(
        "STATUS has no code for a full range",
        "cni.status",
        (verb("status-full", status=1, output="panic: nil"),),
        "n1/status-full",
    ),
    Broken(
        "two ADDs at the same time get one address",
        "ipam.parallel",
        (verb("parallel-03", output={"ips": [{"address": "198.18.7.2/27"}]}),),
        "n1/distinct",
    ),
    Broken(
        "an ADD fails because there is another one",
        "ipam.parallel",
        (verb("parallel-03", status=1, output={"code": 11, "msg": "the store is locked"}),),
        "n1/parallel-03",
    ),
    Broken("ADD without an address left is no error", "ipam.exhaust", (verb("fill-5", status=0),), "n1/error"),
    Broken(
        "an ADD that failed leaves a link",
        "ipam.exhaust",
        (scratch(looks=leftover()),),
        "n1/diff",
        "unexpected",
    ),
    Broken(
        "an ADD that failed takes the address of another attachment",
        "ipam.exhaust",
        (scratch(oldest=[]),),
        "n1/others",
    ),
    Broken("a full range stays full after DEL", "ipam.exhaust", (verb("fill-again", status=1),), "n1/again", "missing"),
    Broken("a repeated DEL is an error", "cni.del.repeat", (verb("del-again", status=1),), "n1/status"),
    Broken("DEL wants the namespace", "cni.del.no-netns", (verb("del-no-netns", status=1),), "n1/status"),
    Broken(
        "the main plugin is too old",
        "cni.version",
        (verb("version", output={"supportedVersions": ["0.1.0", "0.2.0"]}),),
        "n1/version",
    ),
    Broken("an error is no JSON", "cni.error", (verb("conflict", output="panic: nil"),), "n1/conflict"),
    Broken(
        "the neighbour table is too small",
        "neigh.headroom",
        (dumps(lambda data: data | {"gc_thresh2": 8}, what="kernel"),),
        "kernel",
    ),
    *(Broken(*defect) for defect in DEFECTS),
)  # fmt: skip

DUAL_CASES = (
    Broken(
        "the neighbour table of IPv6 is too small",
        "neigh.headroom",
        (dumps(lambda data: data | {"gc_thresh2_ipv6": 8}, what="kernel"),),
        "kernel/ipv6",
    ),
    Broken(
        "a pod has no IPv6 address",
        "dual.pod-ips",
        (rows(set_link("eth0", addr_info=[]), vantage="pod", place="a", what="addr"),),
        "a/kernel/ipv6",
        "missing",
        "ipv6",
    ),
    Broken(
        "a pod has another IPv6 address than the API says",
        "dual.pod-ips",
        (rows(new_address("10.244.0.9"), vantage="pod", place="a", what="addr"),),
        "a/kernel/ipv6",
        "wrong-value",
        "ipv6",
    ),
    Broken(
        "no Service answers over IPv6",
        "dual.service",
        (exchanges({"outcome": "refused", "errno": 111}, purpose="vip", src="a"),),
        "a>sole-c/tcp/ipv6",
        "refused",
        "ipv6",
    ),
    Broken(
        "no Service answers over IPv4",
        "dual.service",
        (exchanges({"outcome": "timeout", "errno": 110}, purpose="vip", src="c"),),
        "c>sole-a/tcp",
        "timeout",
        "ipv4",
    ),
    Broken(
        "a pair of pods is connected over IPv4 alone",
        "v6.reach",
        (exchanges({"outcome": "unreachable", "errno": 113}, purpose="mesh", src="a", dst="c", proto="tcp"),),
        "a>c/tcp",
        "unreachable",
        "ipv6",
    ),
    Broken(
        "a pair of pods is connected over IPv6 alone",
        "v6.reach",
        (exchanges({"outcome": "timeout", "errno": 110}, purpose="mesh", src="a", dst="b", proto="tcp"),),
        "a>b/tcp",
        "timeout",
        "ipv4",
    ),
    Broken(
        "packets with options are dropped",
        "v6.extensions",
        (exchanges({"outcome": "timeout", "errno": 110}, purpose="extension-destination", src="a"),),
        "a>c/destination",
        "timeout",
        "ipv6",
    ),
    Broken(
        "an address of a pod is a duplicate",
        "v6.dad",
        (rows(flagged("eth0", dadfailed=True, tentative=True), vantage="pod", place="a", what="addr"),),
        "a",
        "unexpected",
        "ipv6",
    ),
    Broken(
        "a node has an address from a router advertisement",
        "v6.dad",
        (rows(flagged("eth0", dynamic=True), vantage="node", place="n2", what="addr"),),
        "n2",
        "unexpected",
        "ipv6",
    ),
)
"""Defects that only a lab with both families has; the changes are to the part of one, as a lab of IPv4 alone has it."""

BROKEN_CONTROLS = (
    ("np.default", "P4", (exchanges({"purpose": "gone"}, purpose="policy-before", src="y/b"),)),
    ("np.absent", "P6", (exchanges({"outcome": "timeout"}, purpose="policy-before", src="y/b"),)),
    ("model.pod-pod.cross-node", "P1", (exchanges({"outcome": "timeout"}, purpose="self"),)),
    ("model.ports", "P2", (exchanges({"outcome": "timeout"}, purpose="mesh"),)),
    ("model.protocols", "P2", (exchanges({"outcome": "timeout"}, purpose="mesh", proto="tcp"),)),
    ("model.no-nat.wire", "P3", (records("tap", {"canary": False}, place="n1"),)),
    ("model.no-nat.wire", "P1", (packets(lambda one: one.model_copy(update={"proto": "esp"}), place="a"),
                                 packets(lambda one: one.model_copy(update={"proto": "esp"}), place="c"))),
    ("model.integrity", "P2", (exchanges({"outcome": "timeout"}, purpose="integrity-small"),)),
    ("model.ctr.shared", "P1", (exchanges({"outcome": "error"}, purpose="bind-free"),)),
    ("model.ctr.shared", "inv", (exchanges({"outcome": "ok"}, purpose="closed"),)),
    ("mtu.exact", "P2", (rungs({"outcome": "timeout"}, lambda rung: rung.size == 576),)),
    ("mtu.wire", "P3", (records("tap", {"canary": False}),)),
    ("mtu.fragments", "P2", (exchanges({"outcome": "timeout"}, purpose="unfragmented"),)),
    ("mtu.pmtud", "P2", (exchanges({"outcome": "timeout"}, purpose="far-small"),)),
    ("svc.udp-stale", "P2", (exchanges({"token": "a"}, purpose="moved-fresh"),)),
    ("svc.hairpin", "P1", (exchanges({"outcome": "timeout"}, purpose="vip"),)),
    ("svc.nodeport", "P1", (exchanges({"outcome": "timeout"}, purpose="vip"),)),
    ("svc.affinity", "P2", (exchanges({"token": "a"}, purpose="spread"),)),
    ("svc.itp-local", "inv", (lambda one: None if isinstance(one, Exchange) and one.purpose == "itp-local"
                              and one.src == "a" else one,)),
    ("egress.reach", "P1", (exchanges({"outcome": "timeout"}, purpose="egress-node"),)),
    ("dns.forward", "P3", (dumps(lambda _: [], what="dns"),)),
    ("cni.version", "inv", (verb("unknown-version", status=0, output=""),)),
    ("cni.add.conflict", "P2", (verb("second", status=1), verb("add-again", status=1))),
    ("ipam.release", "P6", (moment("added", leases=["10.244.0.2"], links=["cni0", "vetha"], rules=[]),)),
    ("node.underlay", "P1", (exchanges({"outcome": "timeout"}, purpose="underlay-self"),)),
)  # fmt: skip
"""Check, control that must break, and what breaks it."""
