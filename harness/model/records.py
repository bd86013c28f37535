"""Records of a run: events, observations and results, one JSON object per line.

Observations are facts; results are verdicts computed from them, so that a saved run can be judged again.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from harness.model.base import Record
from harness.model.disturbed import Held, Removal, Repair, Restart, Rounds, Speed, Stream
from harness.model.family import Family, Proto, family_of_dial
from harness.model.outcome import Outcome
from harness.model.requirement import Level


class Event(Record):
    """A step of the harness, or a part of one."""

    schema_: int = Field(default=1, alias="schema")
    at: str = Field(description="RFC 3339, UTC, microseconds")
    step: str = Field(description="Dotted name: up.cluster.api")
    state: Literal["started", "ok", "failed", "skipped", "note"]
    title: str = Field(default="", description="For people: 'API server ready'")
    seconds: float | None = Field(default=None, description="Duration, when it ended")
    detail: dict[str, Any] = Field(default_factory=dict)


class Try(Record):
    """One attempt at a probe; none is hidden."""

    t_ms: float = Field(description="Start, since the start of the batch")
    ms: float
    outcome: Outcome
    errno: int = 0


class Exchange(Record):
    """One question to a responder and what both ends saw."""

    kind: Literal["exchange"] = "exchange"
    batch: str = Field(description="B1, B3, B5 …")
    purpose: str = Field(description="What the leg is for: mesh, hairpin, nodeport, egress, ports …")
    src: str = Field(description="Name of the source: a pod, a host-network pod, a node, router")
    src_node: str
    src_ip: str
    dst: str = Field(description="Name of what was dialled: a pod, a Service, router …")
    dst_node: str = Field(description="Node of the target; empty when there is none, as for a Service")
    proto: Proto = Field(description="tcp6 is TCP over IPv6")
    dial: str = Field(description="Address and port dialled")
    source: str = Field(default="", description="Address and port of the sender's own socket")
    outcome: Outcome
    errno: int = 0
    token: str = Field(default="", description="Who answered")
    peer: str = Field(default="", description="Whom the responder saw, address and port")
    local: str = Field(default="", description="At which address the responder was reached")
    ttl: int | None = Field(default=None, description="IP TTL at the responder")
    rtt_us: int | None = None
    sent: int = Field(default=0, description="Payload bytes sent")
    received: int = Field(default=0, description="Payload bytes that arrived at the responder")
    intact: bool | None = Field(default=None, description="SHA-256 of the payload equal at both ends")
    attempts: int = 1
    tries: tuple[Try, ...] = Field(default=(), description="Every attempt, the last one being the verdict above")
    nonce: str = Field(default="", description="Marks this probe at every place that logs it")
    mss: int | None = Field(default=None, description="TCP maximum segment size that the responder read in the SYN")
    reply_ttl: int | None = Field(default=None, description="TTL of an ICMP echo reply as it arrived")
    stall_ms: float | None = Field(default=None, description="Longest pause of an upload, at either end")
    syn_resent: int | None = Field(
        default=None, description="SYNs beyond the first one that the connection took, as the sender's kernel counts"
    )
    certificate: str = Field(default="", description="SHA-256 of the certificate that a TLS server showed")
    subject: str = Field(default="", description="Whom that certificate is for")
    issuer: str = Field(default="", description="Who signed it")
    trusted: bool | None = Field(
        default=None, description="It is signed by the cluster's authority, for the name that was asked for"
    )
    detail: str = Field(default="", description="What went wrong beyond the errno")


class Rung(Record):
    """One step of an MTU ladder: a UDP datagram with DF set (IP_PMTUDISC_PROBE)."""

    kind: Literal["rung"] = "rung"
    batch: str
    src: str
    src_node: str
    dst: str
    dst_node: str
    size: int = Field(description="Bytes of the IP packet")
    df: bool = True
    outcome: Outcome
    errno: int = 0
    reported_mtu: int | None = Field(default=None, description="From the socket's error queue, RFC 1191")
    received: int = Field(default=0, description="Payload bytes that arrived")
    intact: bool | None = None
    ms: float = 0.0
    purpose: str = "ladder"
    dial: str = ""
    origin: Literal["", "local", "icmp"] = Field(default="", description="Who said that the packet is too big")
    icmp_type: int | None = None
    icmp_code: int | None = None
    reporter: str = Field(default="", description="Address of the router that sent the ICMP error")
    ttl: int | None = Field(default=None, description="IP TTL at the responder")
    tries: tuple[Try, ...] = ()
    detail: str = ""

    @property
    def family(self) -> Family:
        """That of the address that was dialled."""
        return family_of_dial(self.dial)


class Burst(Record):
    """Numbered datagrams in one direction; counted at the receiver, so that no reply is needed."""

    kind: Literal["burst"] = "burst"
    batch: str
    purpose: str
    src: str
    src_node: str
    dst: str
    dst_node: str
    dial: str
    outcome: Outcome = Field(description="ok: all arrived; lost: some or none; error: the count is not known")
    errno: int = 0
    sent: int = Field(default=0, description="Datagrams")
    received: int | None = Field(default=None, description="Different datagrams that arrived; None: not known")
    duplicates: int = 0
    ms: float = 0.0
    detail: str = ""

    @property
    def family(self) -> Family:
        """That of the address that was dialled."""
        return family_of_dial(self.dial)


class Churn(Record):
    """Many connections, one after the other and at once."""

    kind: Literal["churn"] = "churn"
    batch: str
    purpose: str
    src: str
    src_node: str
    dst: str
    dst_node: str
    dial: str
    outcome: Outcome
    sequential: int
    parallel: int
    connected: int
    untried: int = Field(default=0, description="Of those in a row, for which the machine had no time")
    errors: dict[str, int] = Field(default_factory=dict, description="errno or outcome to count")
    p50_us: int | None = None
    p99_us: int | None = None
    ms: float = 0.0
    detail: str = ""

    @property
    def family(self) -> Family:
        """That of the address that was dialled."""
        return family_of_dial(self.dial)


class Query(Record):
    """One query on the wire of a lookup."""

    name: str
    qtype: str
    rcode: str
    answers: tuple[str, ...] = ()
    ms: float = 0.0
    server: str = ""
    transport: Literal["udp", "tcp"] = "udp"


class Lookup(Record):
    """One DNS question from a pod."""

    kind: Literal["lookup"] = "lookup"
    batch: str
    purpose: str
    src: str
    src_node: str
    name: str
    qtype: str
    transport: Literal["udp", "tcp", "libc"]
    family: Family = Field(default="ipv4", description="The one that is looked at with it")
    server: str
    outcome: Outcome
    rcode: str = ""
    answers: tuple[str, ...] = ()
    truncated: bool = False
    queries: tuple[Query, ...] = ()
    ms: float = 0.0
    errno: int = 0
    tries: tuple[Try, ...] = ()
    detail: str = ""


class Dump(Record):
    """Kernel or API state of one place, as JSON."""

    kind: Literal["dump"] = "dump"
    batch: str
    vantage: Literal["pod", "node", "router", "far", "api", "cni", "recorder"]
    place: str = Field(description="Name of the pod, node …")
    node: str = ""
    what: str = Field(description="addr, link, route, neigh, fdb, rules-iptables, rules-nft, sysctl, leases, pods …")
    data: Any = None
    namespace: str = Field(default="", description="Kubernetes namespace, for a pod")
    command: str = Field(default="", description="The line a person would type there")


class Packet(Record):
    """One packet at one tap, decoded."""

    t_us: int = Field(description="Microseconds since the first packet of the capture set")
    src: str
    dst: str
    proto: str
    length: int = Field(description="Bytes of the IP packet")
    ttl: int
    ip_id: int = 0
    flow_label: int | None = Field(default=None, description="Of IPv6 (RFC 6437)")
    df: bool = False
    more_fragments: bool = False
    fragment_offset: int = 0
    src_port: int | None = None
    dst_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    icmp_seq: int | None = None
    tcp_flags: str = ""
    tcp_mss: int | None = None
    src_mac: str = ""
    dst_mac: str = ""
    vni: int | None = None
    inner: Packet | None = None
    frame: int = Field(default=0, description="Bytes on the wire, link header included")
    arp_op: int | None = Field(default=None, description="1 who-has, 2 is-at")
    icmp_id: int | None = None
    icmp_mtu: int | None = Field(
        default=None,
        description="Next-hop MTU of 'fragmentation needed' (RFC 1191) or 'packet too big' (RFC 4443); of a link, in a "
        "router's advertisement",
    )
    vxlan_flags: int | None = None
    nd_target: str = Field(default="", description="Whom a message of neighbour discovery is about (RFC 4861)")
    nd_mac: str = Field(default="", description="Its option with a link-layer address")
    nd_flags: str = Field(default="", description="R, S and O of a neighbour's advertisement, M and O of a router's")
    nd_lifetime: int | None = Field(default=None, description="Seconds that a router offers itself as default router")
    nd_prefixes: tuple[str, ...] = Field(default=(), description="Prefixes of a router's advertisement")
    mld_groups: tuple[str, ...] = Field(default=(), description="Multicast groups that are asked for or listened to")


class Tap(Record):
    """What one tap saw while probes ran."""

    kind: Literal["tap"] = "tap"
    batch: str
    flow: str = Field(description="Which traffic the set of taps follows: 'a>c icmp'")
    order: int = Field(description="Position on the path, from the sender")
    node: str
    place: str = Field(description="pod name, or the node")
    interface: str
    command: str = Field(description="The line a person would type")
    pcap: str = Field(description="File, relative to the run directory")
    packets: tuple[Packet, ...] = ()
    canary: bool = Field(default=False, description="The tap recorded a marked packet in the same window")
    dropped: int = Field(default=0, description="Packets that the kernel could not hand to the tap")


Disturbed = Stream | Held | Repair | Restart | Rounds | Speed | Removal
"""What is seen while a network is disturbed on purpose."""

Observation = Annotated[Exchange | Rung | Burst | Churn | Lookup | Dump | Tap | Disturbed, Field(discriminator="kind")]


class Evidence(Record):
    """Something that proves a verdict."""

    kind: Literal["socket", "pcap", "kernel", "diff", "api", "cni", "log", "rule-eval", "errqueue"]
    detail: dict[str, Any] = Field(default_factory=dict)


class Leg(Record):
    """One part of a check: a pair, a name, a node."""

    leg: str = Field(description="a>c/tcp/v4/8080")
    status: Literal["pass", "fail", "error", "record"]
    reason: str = ""
    expected: Any = None
    observed: Any = None
    unit: str = ""
    statement: str = Field(default="", description="One sentence in networking terms")


class Control(Record):
    """A control of a check: without it a verdict would mean nothing."""

    kind: str = Field(description="P1 to P7, F01 …, inv")
    ok: bool
    detail: str = ""


class Result(Record):
    """The verdict on one requirement."""

    schema_: int = Field(default=1, alias="schema")
    id: str
    title: str
    area: str = Field(default="", description="The part of the catalogue; empty in records of older versions")
    level: Level
    source: str = Field(default="", description="Where the requirement comes from")
    gates: dict[str, bool] = Field(default_factory=dict)
    status: Literal["pass", "fail", "skip", "not-applicable", "error"]
    reason: str = ""
    statement: str
    legs: tuple[Leg, ...] = Field(default=(), description="All that did not pass, and a sample of those that did")
    families: dict[Family, Literal["pass", "fail", "error", "record", "skip"]] = Field(
        default_factory=dict, description="What its legs of each IP family say, where it was judged over IPv6"
    )
    tested: int = 0
    total: int = 0
    controls: tuple[Control, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    next: tuple[str, ...] = ()
    blocked_by: str = ""
    wall_ms: float = 0.0
    flaky: bool = False
    at: str = Field(default="", description="When it was judged: RFC 3339, UTC; empty in records of older versions")


class LabStep(Record):
    """What one step of a lab did and whether it was as expected."""

    lab: str
    step: str
    title: str
    place: str = Field(description="operator, node n1, pod default/a …")
    command: str = ""
    exit_status: int | None = None
    output: str = Field(default="", description="At most 4 kB; the rest is in the run directory")
    status: Literal["pass", "fail", "skip", "error", "record"]
    expectation: str = ""
    observed: str = ""
    reason: str = ""
    seconds: float = 0.0
    claim: str = Field(default="", description="A common claim that this step corrects")
    evidence: tuple[Evidence, ...] = ()


class Red(Record):
    """A check that failed under a fault."""

    check: str
    reason: str = ""
    statement: str = ""
    legs: tuple[str, ...] = Field(default=(), description="Names of the legs that failed")


FaultOutcome = Literal["killed", "survived", "imprecise", "equivalent", "not-applicable", "error"]


class FaultRun(Record):
    """One mutation of the suite: a fault injected, the checks that should see it."""

    fault: str
    title: str
    inject: str
    outcome: FaultOutcome
    killed_by: tuple[str, ...] = ()
    survived: tuple[str, ...] = Field(default=(), description="Checks that should have failed and did not")
    imprecise: tuple[str, ...] = Field(default=(), description="Checks that should have been spared and failed")
    beside: tuple[str, ...] = Field(default=(), description="Checks that failed, as the catalogue says they may")
    reds: tuple[Red, ...] = Field(default=(), description="All checks that failed, if all were judged")
    unjudged: tuple[str, ...] = Field(default=(), description="Checks that gave no verdict under the fault")
    left_out: tuple[str, ...] = Field(default=(), description="Checks that the fault cannot reach, and were not run")
    judged: int = Field(default=0, description="Checks that were judged under the fault; 0 in older records")
    named: int | None = Field(
        default=None,
        description="The place of what was broken among the causes that were told; 0: none names it; null: causes were "
        "not asked for",
    )
    causes: tuple[str, ...] = Field(default=(), description="Keys of the causes that were told, in their order")
    cause: str = Field(default="", description="The sentence of the first one")
    detail: str = ""
    began: str = Field(default="", description="RFC 3339, UTC; empty in older records")
    seconds: float = 0.0


class Census(Record):
    """What a run of all checks under each fault is about."""

    schema_: int = Field(default=1, alias="schema")
    checks: tuple[str, ...] = Field(description="Checks that passed before, and can fail")
    unsteady: tuple[str, ...] = Field(default=(), description="Checks that can fail, and did not pass before")
    recorded: tuple[str, ...] = Field(default=(), description="Checks that are judged here and can never fail")
    gates: dict[str, bool] = Field(default_factory=dict, description="Truth of gates")
    deviations: dict[str, str] = Field(default_factory=dict, description="What is declared not to hold, and why")
