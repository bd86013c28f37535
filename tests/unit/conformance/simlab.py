"""A healthy two-node lab with a VXLAN overlay, as observations: what judges must pass, and what tests then break."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from conformance import manifests, plan, questions
from conformance.context import Context, saved
from conformance.inventory import NAMESPACE, ApiServer, Inventory, NodeFact, ServiceFact, ServicePort, Site
from conformance.judging import judge
from conformance.manifests import crowd_addresses
from conformance.maths import base, first_host
from conformance.registry import CHECKS
from harness.cni.catalogue import variant
from harness.model.records import (
    Burst,
    Churn,
    Dump,
    Exchange,
    Lookup,
    Observation,
    Packet,
    Query,
    Result,
    Rung,
    Tap,
    Try,
)
from harness.model.spec import LabSpec
from harness.model.world import FAR_MTU
from harness.probes.plan import BindProbe, BurstProbe, ChurnProbe, ExchangeProbe, LookupProbe, RungProbe
from tests.unit.conformance import simpolicy

SPEC = LabSpec(nodes=2)
CIDR = {"n1": "10.244.0.0/24", "n2": "10.244.1.0/24"}
NODE_IP = {"n1": "172.18.0.11", "n2": "172.18.0.12"}
POD_IP = {"a": "10.244.0.2", "b": "10.244.0.3", "c": "10.244.1.2", "d": "10.244.1.3"}
MAC = {"n1": "52:00:00:00:00:01", "n2": "52:00:00:00:00:02"}
MTU = 1500
OVERHEAD = 50
LARGEST = MTU - OVERHEAD

RULES = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG -s {own} -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d {own} -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE
COMMIT
"""

SUBNET_ENV = """FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET={gateway}/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""
FLANNEL = "flannel.alpha.coreos.com/"


def inventory() -> Inventory:
    """Pods a, b on n1 and c, d on n2, host-network pods h1 and h2, the router, the far host, and all Services."""
    sites = []
    for pod in manifests.pod_plans(SPEC):
        ip = NODE_IP[pod.node] if pod.host_network else POD_IP[pod.name]
        sites.append(
            Site(
                name=pod.name,
                kind="hostnet" if pod.host_network else "pod",
                node=pod.node,
                ip=ip,
                api_ips=(ip,),
                namespace=NAMESPACE,
                pod=pod.name,
                containers=pod.containers,
                host_veth="" if pod.host_network else f"veth{pod.name}",
            )
        )
    sites.append(Site(name="router", kind="outside", ip="172.18.0.1"))
    sites.append(Site(name="far", kind="outside", ip="198.51.100.10"))
    return Inventory(
        nodes=tuple(NodeFact(name=name, address=NODE_IP[name], pod_cidr=CIDR[name], mtu=MTU) for name in CIDR),
        sites=tuple(sites),
        services=tuple(_services()),
        environment={"router": True, "far": True, "cap": True, "dis": False},
        node_dns="10.96.0.10",
        api=ApiServer(cluster_ip="10.96.0.1", port=443, endpoints=("172.18.0.10:6443",), ca="authority"),
    )


def _services() -> Iterable[ServiceFact]:
    for number, item in enumerate(manifests.services(SPEC)):
        name, spec = item["metadata"]["name"], item["spec"]
        selector = spec.get("selector", {"app": "nobody"})
        backends = [pod for pod in manifests.pods(SPEC) if selector.items() <= pod["metadata"]["labels"].items()]
        names = tuple(pod["metadata"]["name"] for pod in backends)
        yield ServiceFact(
            name=name,
            role=name,
            namespace=NAMESPACE,
            cluster_ip=spec.get("clusterIP", "" if "externalName" in spec else f"10.96.1.{number}"),
            ports=tuple(
                ServicePort(
                    name=port["name"],
                    proto=port["protocol"].lower(),
                    port=port["port"],
                    node_port=30000 + 2 * number + (port["protocol"] == "UDP"),
                )
                for port in spec.get("ports", ())
            ),
            endpoints=names,
            endpoint_ips=tuple(POD_IP[backend] for backend in names),
            external_name=spec.get("externalName", ""),
        )


class Lab:
    """Answers probes as a healthy cluster would."""

    def __init__(self) -> None:
        self.inventory = inventory()
        self.variant = variant("flannel")
        self.context = Context(SPEC, self.variant, self.inventory, ())
        self.dials = 0

    def observations(self) -> list[Observation]:
        """A green run of all batches."""
        seen: list[Observation] = [*saved(self.inventory, self.variant), *self.dumps()]
        for batch, make in BATCHES.items():
            for name, probes in make(self.context).items():
                seen += [self.answer(batch[:2], self.inventory.by_name[name], probe) for probe in probes]
        return [*seen, *self.afterwards(seen)]

    def afterwards(self, asked: Sequence[Observation]) -> list[Observation]:
        """What is looked at after the probes: counters, taps, logs, plugins and policies."""
        seen: list[Observation] = [*asked]
        seen += [node_dump("B1", node, what, data) for node in CIDR for what, data in counters()]
        moved = {"from": "a", "to": "d", "seconds": 0.8, "waited": 0.8}
        seen.append(Dump(batch="B3", vantage="api", place="cluster", what="moved", data=moved))
        seen += [dump for node in CIDR for dump in verbs(node)]
        seen += self.taps([one for one in seen if isinstance(one, Exchange) and one.purpose.startswith("wire")])
        asked_names = [one.name for one in seen if isinstance(one, Lookup) and one.purpose == "forward"]
        seen.append(recorder("B4", "dns", [{"qname": name} for name in asked_names]))
        sources = [
            {"nonce": one.nonce, "src": NODE_IP[one.src_node]}
            for one in seen
            if isinstance(one, Exchange) and one.purpose == "egress"
        ]
        seen += [recorder("B5", "sightings", sources), *simpolicy.observations(enforcing=False)]
        return seen[len(asked) :]

    def answer(self, batch: str, src: Site, probe: Any) -> Observation:
        """What a probe observes."""
        match probe:
            case ExchangeProbe():
                return self._exchange(batch, src, probe)
            case BindProbe():
                taken = probe.purpose == "bind-taken"
                return _blank(batch, src, probe.purpose, src.name, src.node, probe.proto, f"*:{probe.port}").model_copy(
                    update={"outcome": "error" if taken else "ok", "errno": 98 if taken else 0}
                )
            case RungProbe():
                return _rung(batch, src, probe)
            case BurstProbe():
                return Burst(
                    batch=batch,
                    purpose=probe.purpose,
                    src=src.name,
                    src_node=src.node,
                    dst=probe.target.name,
                    dst_node=probe.target.node,
                    dial=probe.target.dial,
                    outcome="ok",
                    sent=probe.count,
                    received=probe.count,
                )
            case ChurnProbe():
                return Churn(
                    batch=batch,
                    purpose="churn",
                    src=src.name,
                    src_node=src.node,
                    dst=probe.target.name,
                    dst_node=probe.target.node,
                    dial=probe.target.dial,
                    outcome="ok",
                    sequential=probe.sequential,
                    parallel=probe.parallel,
                    connected=probe.sequential + probe.parallel,
                    p99_us=400,
                )
            case LookupProbe():
                return self._lookup(batch, src, probe)
        raise AssertionError(probe)

    def _exchange(self, batch: str, src: Site, probe: ExchangeProbe) -> Exchange:
        self.dials += 1
        target = probe.target
        dial = target.address if probe.proto == "icmp" else target.dial
        one = _blank(batch, src, probe.purpose, target.name, target.node, probe.proto, dial)
        if probe.expect != "ok":
            quick = Try(t_ms=1.0, ms=0.4, outcome=probe.expect)
            return one.model_copy(update={"outcome": probe.expect, "errno": 111, "tries": (quick,)})
        if probe.tls is not None:
            shown = {"certificate": "5eed", "subject": "CN=kube-apiserver", "issuer": "CN=ca", "trusted": True}
            return one.model_copy(update={"source": f"{src.ip}:{40000 + self.dials}", "syn_resent": 0, **shown})
        port = probe.source_port or 40000 + self.dials
        source = f"{src.ip}:{port}"
        purpose = f"hostport/{probe.proto}" if probe.purpose == "hostport" else probe.purpose
        token, ttl, peer = self._receiver(src, target.name, purpose, source)
        return one.model_copy(
            update={
                "source": src.ip if probe.proto == "icmp" else source,
                "peer": "" if probe.proto == "icmp" else peer,
                "local": dial,
                "token": token,
                "ttl": ttl,
                "rtt_us": 300,
                "sent": probe.size,
                "received": probe.size,
                "intact": True,
                "nonce": f"{self.dials:016x}",
                "mss": LARGEST - 52,
                "stall_ms": 2.0,
                "syn_resent": 0 if probe.proto == "tcp" else None,
            }
        )

    def _receiver(self, src: Site, name: str, purpose: str, source: str) -> tuple[str, int, str]:
        """Who answers, with which TTL the packet arrives, and whom the responder sees."""
        if name == "moving":
            return "a" if purpose.startswith("before") else "d", 62, source
        if purpose.startswith("hostport"):
            return self.inventory.on(name.partition("@")[2])[purpose == "hostport/tcp"].name, 62, source
        service = next((one for one in self.inventory.services if one.name == name.split("@", maxsplit=1)[0]), None)
        if service is not None and service.endpoints:
            if purpose == "itp-local":
                token = next(pod.name for pod in self.inventory.on(src.node) if pod.name in service.endpoints)
            else:
                turn = 0 if purpose == "affinity" else self.dials
                token = service.endpoints[turn % len(service.endpoints)]
            gateway = f"{first_host(CIDR.get(src.node, CIDR['n1']))}:{source.rpartition(':')[2]}"
            return token, 62, gateway if purpose == "hairpin" else source
        if name in {"router", "far", "public", "neighbour"}:
            return "far" if name == "far" else "router", 63, f"{NODE_IP[src.node]}:{20000 + self.dials}"
        target = self.inventory.by_name.get(src.name if name == "localhost" else name)
        if target is None or target.node == src.node:
            return target.name if target else name, 64, source
        mine = source.rpartition(":")[2]
        by_kind = {
            ("hostnet", "pod"): (63, f"{base(CIDR[src.node])}:{mine}"),
            ("pod", "hostnet"): (63, f"{NODE_IP[src.node]}:{mine}"),
            ("pod", "pod"): (62, source),
        }
        return name, *by_kind.get((src.kind, target.kind), (64, source))

    def _lookup(self, batch: str, src: Site, probe: LookupProbe) -> Lookup:
        rcode, answers = self._resolve(probe)
        truncated = probe.purpose == "large-udp"
        return Lookup(
            batch=batch,
            purpose=probe.purpose,
            src=src.name,
            src_node=src.node,
            name=probe.name,
            qtype=probe.qtype,
            transport=probe.transport,
            server="10.96.0.10",
            outcome="ok",
            rcode=rcode,
            answers=() if truncated else tuple(answers),
            truncated=truncated,
            queries=_queries(probe, rcode, answers),
            ms=1.0,
        )

    def _resolve(self, probe: LookupProbe) -> tuple[str, Sequence[str]]:
        tail = f"{NAMESPACE}.svc.cluster.local"
        by_name = {service.name: service for service in self.inventory.services}
        first = probe.name.split(".")[0]
        fixed: dict[str, tuple[str, Sequence[str]]] = {
            "negative": ("NXDOMAIN", ()),
            "negative-relative": ("NXDOMAIN", ()),
            "negative-absolute": ("NXDOMAIN", ()),
            "headless-empty": ("NXDOMAIN", ()),
            "forward": ("NOERROR", ("10.10.1.200",)),
            "schema": ("NOERROR", ('"1.1.0"',)),
            "externalname": ("NOERROR", ("www.outside.test.", "10.10.1.200")),
            "hostname": ("NOERROR", (POD_IP.get(first, ""),)),
            "pod": ("NOERROR", (first.replace("-", "."),)),
            "ptr": ("NOERROR", self._pointers(probe.name, tail)),
        }
        if probe.purpose in fixed:
            return fixed[probe.purpose]
        if probe.purpose.startswith("large"):
            return "NOERROR", crowd_addresses("ipv4")
        if probe.name.startswith("kubernetes."):
            return "NOERROR", ("10.96.0.1",)
        if probe.purpose == "srv":
            service = by_name[probe.name.split(".")[2]]
            pods = [f"0 25 8080 {pod}.{service.name}.{tail}." for pod in service.endpoints]
            return "NOERROR", pods if service.cluster_ip == "None" else (f"0 100 80 {service.name}.{tail}.",)
        service = by_name[first]
        return "NOERROR", service.endpoint_ips if service.cluster_ip == "None" else (service.cluster_ip,)

    def _pointers(self, name: str, tail: str) -> list[str]:
        owners = {service.cluster_ip: service.name for service in self.inventory.services}
        owners |= {ip: f"{pod}.headless" for pod, ip in POD_IP.items()}
        return [
            f"{owner}.{tail}." for ip, owner in owners.items() if ip[:1].isdigit() and questions.reverse(ip) == name
        ]

    def taps(self, exchanges: Sequence[Exchange]) -> list[Tap]:
        """The taps of the captured exchange: both pods and both NICs."""
        places = [("n1", "a", "eth0"), ("n1", "n1", "eth0"), ("n2", "n2", "eth0"), ("n2", "c", "eth0")]
        return [
            Tap(
                batch="B2",
                flow="a<>c",
                order=order,
                node=node,
                place=place,
                interface=interface,
                command=f"tcpdump -nn -i {interface}",
                pcap=f"captures/{place}.pcap",
                canary=True,
                packets=tuple(_packet(one, outer=place == node) for one in exchanges),
            )
            for order, (node, place, interface) in enumerate(places)
        ]

    def dumps(self) -> list[Observation]:
        """Kernel state of nodes and pods."""
        seen: list[Observation] = []
        for node, share in CIDR.items():
            facts: dict[str, Any] = {
                "addr": self._node_links(node),
                "route": _node_routes(node),
                "neigh": [
                    {"dst": base(CIDR[other]), "dev": "flannel.1", "lladdr": MAC[other]} for other in others(node)
                ],
                "fdb": [{"mac": MAC[other], "ifname": "flannel.1", "dst": NODE_IP[other]} for other in others(node)],
                "policy-rules": policy_rules(),
                "conf": {"/run/flannel/subnet.env": SUBNET_ENV.format(gateway=first_host(share))},
                "rules-iptables": RULES.format(own=share),
                "sysctl": _sysctls(),
                "netns": 1000,
                "leases": {f"/var/lib/cni/networks/cbr0/{pod.ip}": "0000" for pod in self.inventory.on(node)}
                | {"/var/lib/cni/networks/cbr0/last_reserved_ip.0": "10.244.0.9"},
                "sandboxes": self._sandboxes(node),
            }
            seen += [node_dump("B0", node, what, data) for what, data in facts.items()]
            seen += [node_dump("B0", node, what, data) for what, data in counters()]
        notes = {
            node: {
                f"{FLANNEL}public-ip": NODE_IP[node],
                f"{FLANNEL}backend-data": json.dumps({"VNI": 1, "VtepMAC": MAC[node]}),
            }
            for node in CIDR
        }
        seen.append(Dump(batch="B0", vantage="api", place="cluster", what="node-objects", data=notes))
        seen.append(node_dump("B0", "n1", "kernel", {"gc_thresh2": 512, "gc_thresh2_ipv6": 512, "shared": True}))
        for site in (*self.inventory.pods, *self.inventory.hosts):
            text = "search cnilab-probe.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n"
            seen.append(pod_dump("B4", site, "resolv-conf", text + "options ndots:5\n"))
        seen += [pod_dump("B0", pod, "addr", _pod_links(pod)) for pod in self.inventory.pods]
        return seen

    def _node_links(self, node: str) -> list[dict[str, Any]]:
        share = CIDR[node]
        links = [
            link("eth0", MTU, [NODE_IP[node]]),
            link("cni0", LARGEST, [first_host(share)]),
            link("flannel.1", LARGEST, [base(share)], address=MAC[node])
            | {"linkinfo": {"info_kind": "vxlan", "info_data": {"id": 1, "port": 8472}}},
        ]
        return links + [link(f"veth{pod.name}", LARGEST, [], master="cni0") for pod in self.inventory.on(node)]

    def _sandboxes(self, node: str) -> list[dict[str, Any]]:
        found = []
        for number, site in enumerate(self.inventory.sites):
            if site.node != node:
                continue
            host = site.kind == "hostnet"
            found.append(
                {
                    "pod": site.name,
                    "namespace": NAMESPACE,
                    "pid": 100 + number,
                    "ip": site.ip,
                    "host_network": host,
                    "inode": 1000 if host else 2000 + number,
                    "interfaces": [] if host else [{"name": "eth0", "addresses": [f"{site.ip}/24"]}],
                }
            )
        return found


def others(node: str) -> list[str]:
    """All nodes but one."""
    return [name for name in CIDR if name != node]


def link(name: str, mtu: int, addresses: Sequence[str], **facts: Any) -> dict[str, Any]:
    """A row of `ip -d -j address`."""
    infos = [{"family": "inet", "local": address, "prefixlen": 24, "scope": "global"} for address in addresses]
    return {"ifname": name, "mtu": mtu, "flags": ["UP", "LOWER_UP"], "addr_info": infos, **facts}


def _pod_links(pod: Site) -> list[dict[str, Any]]:
    return [link("lo", 65536, []), link("eth0", LARGEST, [pod.ip])]


def _node_routes(node: str) -> list[dict[str, Any]]:
    remote = [
        {"dst": CIDR[other], "gateway": base(CIDR[other]), "dev": "flannel.1", "flags": ["onlink"], "table": "main"}
        for other in others(node)
    ]
    return [
        {"dst": "default", "gateway": "172.18.0.1", "dev": "eth0", "table": "main"},
        {"dst": CIDR[node], "dev": "cni0", "table": "main", "flags": []},
        *remote,
    ]


def policy_rules() -> list[dict[str, Any]]:
    """The rules that a kernel has by itself."""
    tables = {0: "local", 32766: "main", 32767: "default"}
    return [{"priority": number, "src": "all", "table": table} for number, table in tables.items()]


def _sysctls() -> dict[str, str]:
    devices = ("all", "eth0", "cni0", "flannel/1")
    values = {f"net.ipv4.conf.{device}.forwarding": "1" for device in devices}
    values |= {f"net.ipv4.conf.{device}.rp_filter": "0" for device in devices}
    return values | {
        "net.ipv4.ip_forward": "1",
        "net.bridge.bridge-nf-call-iptables": "1",
        "net.netfilter.nf_conntrack_count": "100",
        "net.netfilter.nf_conntrack_max": "262144",
    }


def counters() -> list[tuple[str, Any]]:
    """Counters of a node on which nothing was dropped."""
    return [("counters", {"conntrack.drop": 0, "conntrack.insert_failed": 0}), ("rules-nft", [])]


def node_dump(batch: str, node: str, what: str, data: Any) -> Dump:
    """A dump of a node."""
    return Dump(batch=batch, vantage="node", place=node, node=node, what=what, data=data)


def pod_dump(batch: str, site: Site, what: str, data: Any) -> Dump:
    """A dump of a pod."""
    return Dump(batch=batch, vantage="pod", place=site.name, node=site.node, what=what, data=data)


def recorder(batch: str, what: str, data: Any) -> Dump:
    """What the router logged."""
    return Dump(batch=batch, vantage="recorder", place="router", what=what, data=data)


CONF = {"cniVersion": "0.3.1", "name": "cbr0", "plugins": [{"type": "flannel"}, {"type": "portmap"}]}


NOTHING: dict[str, list[str]] = {"routes": [], "neighbours": [], "fdb": [], "rules": []}
"""What a node has of an attachment that it does not have."""


def verbs(node: str = "n1") -> list[Dump]:
    """The plugins of a node, called directly: all as it should be."""
    wrong = {"code": 1, "msg": "incompatible CNI versions"}
    taken = {"code": 999, "msg": "eth0 already exists"}
    result = {
        "cniVersion": "0.3.1",
        "interfaces": [{"name": "cni0"}, {"name": "eth0", "mac": "02:00:00:00:00:07", "sandbox": "/run/netns/x"}],
        "ips": [{"version": "4", "address": "10.244.0.7/24", "gateway": "10.244.0.1"}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.244.0.1"}],
    }
    damaged = (1, {"code": 999, "msg": "interface eth0 has lost 10.244.0.7"})
    single = {
        "check-damaged": damaged,
        "version": (0, {"supportedVersions": ["0.3.1", "0.4.0"]}),
        "unknown-version": (1, wrong),
        "conflict": (1, taken),
        "gc-refused": (1, wrong),
        "status-refused": (1, {"code": 4, "msg": "unknown CNI_COMMAND: STATUS"}),
    }
    many = {
        "status-ready": (0, ""),
        "status-full": (1, {"code": 50, "msg": "no address is left"}),
        "fill-5": (1, {"code": 11, "msg": "no address is left"}),
        **dict.fromkeys(("fill-undone", "fill-del", "gc"), (0, "")),
        **{f"fill-{number}": (0, given(8, number)) for number in range(5)},
        **{f"parallel-{number:02}": (0, given(7, number)) for number in range(16)},
        "fill-again": (0, given(8, 0)),
    }
    calls = [call(step, "flannel", *answer) for step, answer in single.items()]
    for step in ("add", "second", "check", "del", "del-again", "add-plain", "del-no-prev", "add-again", "del-no-netns"):
        output = result if step in {"add", "second", "add-plain", "add-again"} else ""
        calls += [call(step, plugin["type"], 0, output) for plugin in CONF["plugins"]]  # type: ignore[index]
    again = [call(step, "flannel", *answer) for step, answer in many.items()]
    before = NOTHING | {"leases": ["10.244.0.2"], "links": ["cni0", "vetha"]}
    added = NOTHING | {"leases": ["10.244.0.2", "10.244.0.7"], "links": ["cni0", "vetha", "vethx"]}
    added |= {"rules": ["tcp dport 61997 dnat to 10.244.0.7:8080"]}
    full = NOTHING | {"leases": [f"198.18.8.{number + 2}" for number in range(5)], "links": ["cni0", "vetha"]}
    data = {
        "files": {"10-flannel.conflist": json.dumps(CONF)},
        "programs": ["bridge", "flannel", "host-local", "portmap"],
        "conf": CONF,
        "calls": calls,
        "kernel": {
            "address": [link("eth0", 1450, ["10.244.0.7"], address="02:00:00:00:00:07")],
            "route": [{"dst": "default", "gateway": "10.244.0.1", "dev": "eth0"}],
            "route6": [],
        },
        "snapshots": {
            "before": before, "added": added, "conflict": added, "deleted": before, "deleted-again": before,
            "no-prev": before, "no-netns": before,
        },
    }  # fmt: skip
    more = {
        "calls": again,
        "scratch": {
            "parallel": {f"parallel-{number:02}": [f"198.18.7.{number + 2}"] for number in range(16)},
            "looks": {"before": full, "failed": full | {"links": ["cni0", "vetha", "vethy"]}, "after": full},
            "oldest": ["198.18.8.2"],
            "gc": {"valid": ["198.18.8.3"], "stale": ["198.18.8.4"], "after": ["198.18.8.3"], "later": ["198.18.8.3"]},
        },
    }  # fmt: skip
    return [
        Dump(batch="B7", vantage="cni", place=node, node=node, what=what, data=seen)
        for what, seen in (("verbs", data), ("attachments", more))
    ]


def given(net: int, number: int) -> dict[str, Any]:
    """Result of an ADD in a network that no pod has."""
    return {"cniVersion": "0.3.1", "ips": [{"address": f"198.18.{net}.{number + 2}/27"}]}


def call(step: str, plugin: str, status: int, output: Any) -> dict[str, Any]:
    """A call of a plugin, and what it said."""
    return {"step": step, "verb": "", "plugin": plugin, "status": status, "output": output, "stderr": ""}


def _blank(batch: str, src: Site, purpose: str, dst: str, node: str, proto: Any, dial: str) -> Exchange:
    return Exchange(
        batch=batch,
        purpose=purpose,
        src=src.name,
        src_node=src.node,
        src_ip=src.ip,
        dst=dst,
        dst_node=node,
        proto=proto,
        dial=dial,
        outcome="ok",
    )


def _queries(probe: LookupProbe, rcode: str, answers: Sequence[str]) -> tuple[Query, ...]:
    """The questions of a look-up whose judge looks at them: the lab has no addresses but those of IPv4."""
    if not probe.times and not probe.purpose.startswith("negative-"):
        return ()
    walk = not probe.times and not probe.name.endswith(".")
    domains = (f"{NAMESPACE}.svc.cluster.local.", "svc.cluster.local.", "cluster.local.", "") if walk else ("",)
    asked = [(f"{probe.name}.{domain}" if walk else probe.name, kind) for domain in domains for kind in ("A", "AAAA")]
    return tuple(
        Query(name=name, qtype=kind, rcode=rcode, answers=tuple(answers) if kind == "A" else ())
        for name, kind in asked * max(1, probe.times)
    )


def _rung(batch: str, src: Site, probe: RungProbe) -> Rung:
    fits = probe.expect == "ok"
    beyond = probe.purpose == "pmtud"
    return Rung(
        batch=batch,
        src=src.name,
        src_node=src.node,
        dst=probe.target.name,
        dst_node=probe.target.node,
        dial=probe.target.dial,
        size=probe.size,
        outcome=probe.expect,
        purpose=probe.purpose,
        intact=True if fits else None,
        errno=0 if fits else 90,
        reported_mtu=None if fits else FAR_MTU if beyond else LARGEST,
        origin="icmp" if beyond else "",
    )


def _packet(one: Exchange, *, outer: bool) -> Packet:
    port = int(one.source.rpartition(":")[2]) if one.proto != "icmp" else None
    inner = Packet(
        t_us=0,
        src=one.src_ip,
        dst=one.dial.rpartition(":")[0] or one.dial,
        proto=one.proto,
        length=100,
        ttl=63,
        src_port=port,
        dst_port=8080 if port else None,
        icmp_type=8 if one.proto == "icmp" else None,
        tcp_flags="S" if one.proto == "tcp" else "",
        tcp_mss=LARGEST - 40 if one.proto == "tcp" else None,
    )
    if not outer:
        return inner
    return Packet(
        t_us=0,
        src=NODE_IP[one.src_node],
        dst=NODE_IP[one.dst_node],
        proto="udp",
        length=150,
        ttl=64,
        src_port=55555,
        dst_port=8472,
        vni=1,
        inner=inner,
    )


def _wire(run: Context) -> plan.Plan:
    a, c = run.site("a"), run.site("c")
    return plan.wire(a, c, plan.path_mtu(run.inventory, run.expect, a, c))


def _moving(run: Context, purpose: str) -> plan.Plan:
    service = run.inventory.service("moving")
    assert service is not None
    return plan.moving(service, run.site("b"), purpose)


BATCHES: Mapping[str, Callable[[Context], plan.Plan]] = {
    "B0": lambda run: plan.underlay(run.inventory, {}),
    "B1": lambda run: plan.mesh(run.inventory),
    "B1, setups": lambda run: plan.setups(run.inventory),
    "B1, connections": lambda run: plan.connections(run.inventory),
    "B2, wire": _wire,
    "B2": lambda run: plan.packets(run.inventory, run.expect),
    "B3": lambda run: plan.services(run.inventory, run.gates),
    "B3, before": lambda run: _moving(run, "before"),
    "B3, moved": lambda run: _moving(run, "moved"),
    "B4": lambda run: questions.lookups(run.inventory, run.spec, run.gates),
    "B5": lambda run: plan.egress(run.inventory, run.expect, run.gates),
}
"""Plans in the order in which they are run."""

GREEN = tuple(Lab().observations())
"""A green run; frozen, so tests can share it."""

Change = Callable[[Observation], Observation | None]


@cache
def green() -> Context:
    """The green run; tests share it and leave it as it is."""
    return context()


def context(observations: Sequence[Observation] = GREEN, *, variant_name: str = "flannel") -> Context:
    """A run as data."""
    return Context(SPEC, variant(variant_name), inventory(), tuple(observations))


def changed(*changes: Change) -> Context:
    """The green run with observations changed; a change that returns None removes the observation."""
    seen: list[Observation] = []
    for one in GREEN:
        current: Observation | None = one
        for change in changes:
            current = change(current) if current is not None else None
        if current is not None:
            seen.append(current)
    return context(seen)


def exchanges(change: dict[str, Any], **match: Any) -> Change:
    """Change exchanges whose fields match."""

    def apply(one: Observation) -> Observation:
        hit = isinstance(one, Exchange) and all(getattr(one, key) == value for key, value in match.items())
        return one.model_copy(update=change) if hit else one

    return apply


def records(kind: str, change: dict[str, Any], **match: Any) -> Change:
    """Change records of a kind whose fields match."""

    def apply(one: Observation) -> Observation:
        hit = one.kind == kind and all(getattr(one, key) == value for key, value in match.items())
        return one.model_copy(update=change) if hit else one

    return apply


def dumps(edit: Callable[[Any], Any], **match: Any) -> Change:
    """Replace the data of dumps whose fields match."""

    def apply(one: Observation) -> Observation:
        hit = isinstance(one, Dump) and all(getattr(one, key) == value for key, value in match.items())
        return one.model_copy(update={"data": edit(one.data)}) if isinstance(one, Dump) and hit else one

    return apply


def verdict(run: Context, check: str) -> Result:
    """The result of one requirement, without its prerequisites."""
    alone = replace(CHECKS[check], after=())
    return judge(run, alone, {check: alone})


__all__ = ["GREEN", "Lab", "changed", "context", "dumps", "exchanges", "records", "verdict"]
