"""What a report shows, panel by panel: plain frozen data, ready to be laid out, with nothing left to decide.

Builders in `reports.panels` make these from the records of a run; `reports.html`, `junit`, `markdown`, `ctrf` and
`conformance_yaml` write them down. A panel that is `None` had nothing to show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "bad", "warn", "lab", "muted", "note"]
"""good: as expected; bad: the network is at fault; warn: a recommendation, or flaky; lab: the lab is at fault."""


@dataclass(frozen=True)
class Mark:
    """A status that does not depend on colour.

    Args:
        tone: Decides the colour.
        glyph: One character.
        word: What a screen reader says.
    """

    tone: Tone
    glyph: str
    word: str


@dataclass(frozen=True)
class Fact:
    """A name, a value, and perhaps a remark: `kernel`, `6.18`, `no loadable modules`."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Count:
    """A number of the banner: 57, `requirements hold`."""

    value: str
    label: str
    tone: Tone = "muted"


@dataclass(frozen=True)
class LogTail:
    """The end of a log file of the run directory."""

    path: str
    text: str


@dataclass(frozen=True)
class Trouble:
    """Why the lab itself failed: which step, which command, what it said, what to do now."""

    what: str
    step: str = ""
    cause: str = ""
    where: str = ""
    next_step: str = ""
    log: str = ""
    tails: tuple[LogTail, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The banner.

    Args:
        tone: Its colour.
        subject: `flannel 0.28.10 on Kubernetes 1.34.4 (namespaces)`.
        sentence: `57 of 57 requirements hold`.
        detail: A second sentence, when there is something to add.
        counts: Numbers under the sentence.
        run_id: Of the run directory.
        started: RFC 3339, UTC.
        seconds: From start to finish, as far as known.
        reproduce: The command line that does it again.
    """

    tone: Tone
    subject: str
    sentence: str
    detail: str
    counts: tuple[Count, ...]
    run_id: str
    started: str
    seconds: float | None
    reproduce: str


@dataclass(frozen=True)
class LegRow:
    """One part of a requirement's check."""

    leg: str
    mark: Mark
    statement: str
    expected: str
    observed: str


@dataclass(frozen=True)
class EvidenceItem:
    """Something that proves a verdict.

    Args:
        kind: socket, pcap, kernel …
        facts: Short values by name.
        text: As a program printed it.
        title: Of the table.
        columns: Headings of a table.
        rows: Its cells.
        path: A file of the run directory, to be linked.
    """

    kind: str
    facts: tuple[Fact, ...]
    text: str = ""
    title: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    path: str = ""


@dataclass(frozen=True)
class Requirement:
    """A requirement with its verdict."""

    anchor: str
    id: str
    title: str
    level: str
    mark: Mark
    status: str
    reason: str
    statement: str
    source: str
    tested: int
    total: int
    legs: tuple[LegRow, ...]
    controls: tuple[tuple[Mark, Fact], ...]
    evidence: tuple[EvidenceItem, ...]
    next: tuple[str, ...]
    gates: tuple[str, ...]
    blocked_by: str
    wall_ms: float
    flaky: bool

    @property
    def needs_attention(self) -> bool:
        """True when a person should read it first."""
        return self.mark.tone in ("bad", "warn", "lab")


@dataclass(frozen=True)
class Area:
    """All requirements of one subject."""

    anchor: str
    name: str
    requirements: tuple[Requirement, ...]

    @property
    def judged(self) -> int:
        """How many got a verdict."""
        return sum(item.status in ("pass", "fail", "error") for item in self.requirements)

    @property
    def held(self) -> int:
        """How many hold."""
        return sum(item.status == "pass" for item in self.requirements)


@dataclass(frozen=True)
class Requirements:
    """The requirement table: what needs attention, then everything by area."""

    attention: tuple[Requirement, ...]
    areas: tuple[Area, ...]


@dataclass(frozen=True)
class Station:
    """An interface on the way from the wire to the pods."""

    name: str
    role: Literal["nic", "overlay", "bridge"]
    address: str
    mtu: int
    note: str = ""


@dataclass(frozen=True)
class PodBox:
    """A pod in the drawing."""

    name: str
    namespace: str
    address: str
    mtu: int
    veth: str
    on_bridge: bool


@dataclass(frozen=True)
class NodeBox:
    """A node in the drawing."""

    name: str
    role: str
    address: str
    pod_cidr: str
    stations: tuple[Station, ...]
    pods: tuple[PodBox, ...]
    host_pods: tuple[str, ...]


@dataclass(frozen=True)
class OutsideBox:
    """The router, or a host beyond it."""

    name: str
    lines: tuple[str, ...]
    mtu: int = 0


@dataclass(frozen=True)
class Diagram:
    """The lab as it was seen.

    Args:
        nodes: In the order of their names.
        outside: Router first.
        underlay: `172.18.0.0/16`.
        underlay_mtu: Bytes.
        encapsulation: `VXLAN, UDP 8472, VNI 1`; empty when nodes exchange plain packets.
        overhead: Bytes that the encapsulation costs.
        route: Pods at the ends of the traced flow, to be highlighted; empty without one.
        ranges: Address ranges, for the caption.
    """

    nodes: tuple[NodeBox, ...]
    outside: tuple[OutsideBox, ...]
    underlay: str
    underlay_mtu: int
    encapsulation: str
    overhead: int
    route: tuple[str, ...]
    ranges: tuple[Fact, ...]


@dataclass(frozen=True)
class Cell:
    """One source, one destination, one protocol."""

    mark: Mark
    href: str
    label: str
    text: str = ""


@dataclass(frozen=True)
class MatrixTab:
    """The matrix for one protocol, or of one measured value."""

    key: str
    title: str
    rows: tuple[tuple[Cell, ...], ...]
    summary: str


@dataclass(frozen=True)
class PairRow:
    """Everything about one ordered pair, as a row of the plain table."""

    anchor: str
    src: str
    dst: str
    kind: str
    marks: tuple[Mark, ...]
    dialled: str
    seen_as: str
    ttl: str
    rtt: str


@dataclass(frozen=True)
class Axis:
    """A row or column of the matrix."""

    name: str
    node: str
    address: str
    first_of_node: bool


@dataclass(frozen=True)
class Matrix:
    """Pod-to-pod reachability."""

    axes: tuple[Axis, ...]
    groups: tuple[tuple[str, int], ...]
    tabs: tuple[MatrixTab, ...]
    legend: tuple[tuple[Mark, int], ...]
    protocols: tuple[str, ...]
    pairs: tuple[PairRow, ...]
    left_out: str = ""
    aggregated: bool = False


@dataclass(frozen=True)
class LoadRow:
    """Many datagrams, or many connections, between two pods."""

    src: str
    dst: str
    what: str
    mark: Mark
    result: str
    detail: str


@dataclass(frozen=True)
class RungCell:
    """One datagram size from one node to another."""

    size: int
    mark: Mark
    text: str


@dataclass(frozen=True)
class Ladder:
    """All sizes tried from one place to another."""

    src: str
    dst: str
    kind: Literal["same node", "cross node"]
    rungs: tuple[RungCell, ...]
    largest: int
    expected: int


@dataclass(frozen=True)
class MtuRow:
    """MTUs of one node with the arithmetic."""

    node: str
    links: tuple[Fact, ...]
    arithmetic: str
    mark: Mark


@dataclass(frozen=True)
class Mtu:
    """Who has which MTU and what passes."""

    sum: tuple[int, int, int]
    parts: tuple[Fact, ...]
    rows: tuple[MtuRow, ...]
    shown: tuple[Ladder, ...]
    ladders: tuple[Ladder, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class FieldCell:
    """A field of a packet at a hop; `changed` when the hop before had another value."""

    text: str
    changed: bool = False
    was: str = ""


@dataclass(frozen=True)
class Hop:
    """A packet at one tap.

    Args:
        anchor: Its id.
        place: `pod a`, `n1`.
        interface: `eth0`.
        seen: False when the tap did not see the packet.
        time: Since the first tap.
        src: Source address of the (inner) packet.
        dst: Its destination.
        ttl: Its TTL.
        length: Bytes of the outermost IP packet.
        outer: Outer header; empty for a plain packet.
        command: The tcpdump line to type.
        pcap: The capture, relative to the run directory.
        note: What happened here, in words.
    """

    anchor: str
    place: str
    interface: str
    seen: bool
    time: str
    src: FieldCell
    dst: FieldCell
    ttl: FieldCell
    length: FieldCell
    outer: FieldCell
    command: str
    pcap: str
    note: str


@dataclass(frozen=True)
class Segment:
    """A header, or the payload, as a part of the frame."""

    name: str
    bytes: int
    layer: Literal["outer", "tunnel", "inner", "payload"]


@dataclass(frozen=True)
class LayerRow:
    """A header with its fields and the owners of its addresses."""

    layer: str
    name: str
    size: int
    fields: tuple[Fact, ...]


@dataclass(frozen=True)
class Decoded:
    """A packet taken apart."""

    where: str
    segments: tuple[Segment, ...]
    layers: tuple[LayerRow, ...]
    overhead: int
    inner_length: int
    outer_length: int


@dataclass(frozen=True)
class PathSide:
    """One direction of a flow."""

    title: str
    hops: tuple[Hop, ...]
    lost_after: str = ""

    @property
    def wrapped(self) -> bool:
        """Does the packet travel in a tunnel somewhere?"""
        return any(hop.outer.text for hop in self.hops)


@dataclass(frozen=True)
class PacketPath:
    """One flow, tap by tap, there and back."""

    anchor: str
    title: str
    flow: str
    ends: tuple[str, ...]
    sentence: str
    sides: tuple[PathSide, ...]
    decoded: Decoded | None


@dataclass(frozen=True)
class QueryStep:
    """One query of a lookup."""

    name: str
    qtype: str
    rcode: str
    answers: str
    tone: Tone


@dataclass(frozen=True)
class LookupRow:
    """A DNS question, from all the pods that asked it.

    Args:
        name: As asked.
        qtype: A, SRV …
        sources: Who asked.
        transport: udp, tcp or getaddrinfo.
        mark: What came back.
        result: The answer, or why there is none.
        steps: The queries that one lookup caused, when it caused several.
        ms: Median time.
        times: How often it was asked.
    """

    name: str
    qtype: str
    sources: str
    transport: str
    mark: Mark
    result: str
    steps: tuple[QueryStep, ...]
    ms: str
    times: int


@dataclass(frozen=True)
class LookupGroup:
    """Questions with one purpose."""

    title: str
    rows: tuple[LookupRow, ...]


@dataclass(frozen=True)
class Dns:
    """All lookups, by what they are for; `main` is what most people want to see."""

    main: tuple[LookupGroup, ...]
    more: tuple[LookupGroup, ...]
    sentence: str
    left_out: int = 0


@dataclass(frozen=True)
class Share:
    """How many dials one backend answered."""

    name: str
    count: int
    node: str = ""


@dataclass(frozen=True)
class ServiceRow:
    """What was dialled, from where, who answered, and whom they saw."""

    purpose: str
    name: str
    target: str
    proto: str
    sources: str
    mark: Mark
    dials: int
    answered: tuple[Share, ...]
    seen_as: str
    detail: str


@dataclass(frozen=True)
class Services:
    """Dials of Services, and of the outside world."""

    inside: tuple[ServiceRow, ...]
    outside: tuple[ServiceRow, ...]


@dataclass(frozen=True)
class CheckRow:
    """An expectation of a lab's step and whether it was met."""

    mark: Mark
    expectation: str
    observed: str
    reason: str


@dataclass(frozen=True)
class Claim:
    """What people often say, and what is true instead."""

    said: str
    truth: str


@dataclass(frozen=True)
class StepRow:
    """A step of a lab.

    Args:
        anchor: Its id.
        id: Name within the lab.
        title: For people.
        place: Where the command ran.
        prompt: `#` for root, `$` for the operator.
        command: As one would type it.
        output: What it printed, shortened.
        lines: How many lines that was.
        mark: The worst of its expectations.
        exit_status: Of the command.
        checks: Its expectations.
        claims: Common claims that the step corrects.
        seconds: How long it took.
        transcript: File with everything, relative to the run directory.
        evidence: Tables and captures.
    """

    anchor: str
    id: str
    title: str
    place: str
    prompt: str
    command: str
    output: str
    lines: int
    mark: Mark
    exit_status: int | None
    checks: tuple[CheckRow, ...]
    claims: tuple[Claim, ...]
    seconds: float
    transcript: str
    evidence: tuple[EvidenceItem, ...]


@dataclass(frozen=True)
class LabCard:
    """A lab with its steps."""

    anchor: str
    id: str
    title: str
    mark: Mark
    status: str
    summary: str
    reason: str
    steps: tuple[StepRow, ...]
    claims: int
    seconds: float


@dataclass(frozen=True)
class FaultRow:
    """A fault injected and the checks that saw it."""

    anchor: str
    fault: str
    title: str
    inject: str
    mark: Mark
    outcome: str
    killed_by: tuple[str, ...]
    survived: tuple[str, ...]
    imprecise: tuple[str, ...]
    told: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Faults:
    """The mutation test of the suite."""

    rows: tuple[FaultRow, ...]
    killed: int
    counted: int


@dataclass(frozen=True)
class Bar:
    """A step on the timeline, in seconds since the start of the run."""

    step: str
    title: str
    start: float
    end: float
    depth: int
    tone: Tone
    state: str


@dataclass(frozen=True)
class Timeline:
    """Where the time went."""

    phases: tuple[tuple[str, tuple[Bar, ...]], ...]
    total: float
    notes: tuple[tuple[float, str], ...]
    left_out: int = 0


@dataclass(frozen=True)
class PinRow:
    """A program or image of the lab."""

    name: str
    version: str
    source: str
    digest: str


@dataclass(frozen=True)
class Environment:
    """What the run was made of."""

    facts: tuple[Fact, ...]
    host: tuple[Fact, ...]
    pins: tuple[PinRow, ...]
    spec: str
    files: tuple[Fact, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """The whole page."""

    title: str
    verdict: Verdict
    trouble: Trouble | None
    requirements: Requirements | None
    diagram: Diagram | None
    matrix: Matrix | None
    load: tuple[LoadRow, ...]
    paths: tuple[PacketPath, ...]
    mtu: Mtu | None
    dns: Dns | None
    services: Services | None
    labs: tuple[LabCard, ...]
    faults: Faults | None
    timeline: Timeline | None
    environment: Environment
