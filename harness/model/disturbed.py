"""Records of what was seen while a network was disturbed on purpose: agents that restart, state that is deleted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.model.base import Record
from harness.model.family import Family, family_of_dial
from harness.model.netstate import NetState
from harness.model.outcome import Outcome


class Stream(Record):
    """Numbered datagrams at a steady pace in one direction, counted at the receiver."""

    kind: Literal["stream"] = "stream"
    batch: str
    purpose: str = Field(description="What happened meanwhile: restart")
    trial: int = Field(default=0, description="Which of several times")
    src: str
    src_node: str
    dst: str
    dst_node: str
    dial: str
    outcome: Outcome = Field(description="ok: all arrived; lost: some or none; error: the count is not known")
    errno: int = Field(default=0, description="Of the last sending that the kernel refused")
    sent: int = Field(default=0, description="Datagrams, those among them that the kernel refused to send")
    received: int | None = Field(default=None, description="Different datagrams that arrived; None: not known")
    gap: int = Field(default=0, description="Most numbers in a row that are missing before the highest that came")
    last: int = Field(default=0, description="The highest number that came")
    pace_ms: float = Field(default=10.0, description="Milliseconds from one datagram to the next")
    pause_ms: float = Field(default=0.0, description="Longest time between two sendings: of the sender, not of the way")
    ms: float = 0.0
    detail: str = ""

    @property
    def family(self) -> Family:
        """That of the address that was dialled."""
        return family_of_dial(self.dial)

    @property
    def lost(self) -> int:
        """Datagrams that did not arrive."""
        return max(0, self.sent - (self.received or 0))

    @property
    def dark_ms(self) -> float:
        """The longest time in which nothing arrived, as so many datagrams in a row: a pause of the sender is none."""
        if not self.received:
            return self.sent * self.pace_ms
        return max(self.gap, self.sent - 1 - self.last) * self.pace_ms


class Held(Record):
    """A TCP connection over which was asked once, and again much later."""

    kind: Literal["held"] = "held"
    batch: str
    purpose: str = Field(description="What happened between the two: restart, idle")
    trial: int = 0
    src: str
    src_node: str
    dst: str
    dst_node: str
    dial: str
    before: Outcome = Field(description="Of the first question")
    outcome: Outcome = Field(description="Of the second one, over the same connection")
    errno: int = 0
    token: str = Field(default="", description="Who answered the second one")
    source: str = Field(default="", description="Address and port of the sender's own socket")
    ms: float = Field(default=0.0, description="How long the connection was held")
    detail: str = ""

    @property
    def family(self) -> Family:
        """That of the address that was dialled."""
        return family_of_dial(self.dial)


class Thing(Record):
    """Something of a node's network that was deleted on purpose."""

    text: str = Field(description="As ip(8) or iptables(8) say it")
    gone: bool = Field(description="The kernel took it away when it was asked to")
    seconds: float | None = Field(default=None, description="Until it was there again; None: it did not come back")
    seen: str = Field(
        default="", description="What was there in its place when nobody waited any longer, or why it stayed"
    )
    put_back: bool = Field(default=False, description="The suite made it again itself")


class Repair(Record):
    """What became of the routes or rules of a node that were deleted."""

    kind: Literal["repair"] = "repair"
    batch: str
    purpose: str = "heal"
    what: Literal["routes", "rules"] = Field(description="As the variant's `healSeconds` says it")
    family: Family = "ipv4"
    src: str = Field(description="The node")
    waited: float = Field(description="Seconds that were waited for what did not come back")
    things: tuple[Thing, ...] = Field(default=(), description="None where the network has no such thing there")
    detail: str = Field(default="", description="Why nothing could be deleted or read")


class Restart(Record):
    """The agent of a node that was ended, and the one that came instead."""

    kind: Literal["restart"] = "restart"
    batch: str
    purpose: str = "restart"
    trial: int = 0
    trials: int = Field(description="How many there were to be")
    src: str = Field(description="The node")
    before: tuple[str, ...] = Field(default=(), description="UIDs of the agent's pods before")
    after: tuple[str, ...] = Field(default=(), description="UIDs of those that are ready afterwards")
    seconds: float | None = Field(default=None, description="Until another one was ready; None: none was")
    waited: float = 0.0
    seen: str = Field(default="", description="State of the agent's pods when nobody waited any longer")
    share_before: tuple[str, ...] = Field(default=(), description="podCIDRs of the node, and lines of the agent's file")
    share_after: tuple[str, ...] = ()


class Rounds(Record):
    """Attachments that were made and deleted many times, by a node's own CNI plugins."""

    kind: Literal["rounds"] = "rounds"
    batch: str
    purpose: str = "rounds"
    src: str = Field(description="The node")
    asked: int = Field(description="Rounds that were to be made")
    made: int = Field(description="Rounds of which ADD and DEL ended well")
    failed: tuple[str, ...] = Field(default=(), description="What plugins said when they did not")
    before: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="What the node had, a line each")
    during: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="After the first ADD")
    after: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class Speed(Record):
    """One measurement between two pods."""

    kind: Literal["speed"] = "speed"
    batch: str
    purpose: str = Field(description="throughput, rounds or setups")
    trial: int = 0
    src: str
    src_node: str
    dst: str
    dst_node: str
    dial: str
    outcome: Outcome
    errno: int = 0
    token: str = Field(default="", description="Who answered; connections that ask nothing have none")
    amount: int = Field(default=0, description="Bytes that arrived, rounds, or connections")
    ms: float = Field(default=0.0, description="Time that it took")
    p50_us: int | None = None
    p99_us: int | None = None
    detail: str = ""

    @property
    def family(self) -> Family:
        """That of the address that was dialled."""
        return family_of_dial(self.dial)


class Removal(Record):
    """A node before its pod network was taken away, and afterwards."""

    kind: Literal["removal"] = "removal"
    batch: str
    purpose: str = "removal"
    src: str = Field(description="The node")
    installed: NetState
    bare: NetState
    plugins: tuple[str, ...] = Field(default=(), description="CNI plugins that every node has before any network")
    agents: tuple[str, ...] = Field(default=(), description="Pods in the node's own network that stay")
    kube_proxy: bool = Field(default=False, description="The node runs kube-proxy all the time")
    api: tuple[str, ...] = Field(default=(), description="What is left in the API; told with the first node")
    detail: str = Field(default="", description="Why the network could not be taken away")
