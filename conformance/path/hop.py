"""What a walk leaves behind: its steps, what is wrong on the way, and how it ended. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NoReturn

from conformance.netfilter import Flow

Direction = Literal["request", "reply"]


@dataclass(frozen=True)
class Trouble:
    """Something of a place that stops packets, or leads or changes them wrongly.

    Args:
        kind: Of the library of causes: `route.missing`.
        place: Whose: a node, a pod, the router.
        thing: What of it: `route/10.244.1.0/24`, `nft/inet firewalld/filter_FORWARD/4`.
        facts: What the sentence needs beside.
        certain: It is so; otherwise it may be, as not all that decides can be evaluated.
        deviates: It is not what the network promises, although packets may arrive; otherwise the kernel drops them.
    """

    kind: str
    place: str
    thing: str
    facts: Mapping[str, str] = field(default_factory=dict)
    certain: bool = True
    deviates: bool = False

    @property
    def key(self) -> str:
        """By which it is known, whatever packets it troubles: `n1/route/10.244.1.0/24`."""
        return f"{self.place}/{self.thing}"


@dataclass(frozen=True)
class Step:
    """One decision on the way.

    Args:
        direction: Of the packet.
        place: Where it is.
        device: By which link it comes or leaves; empty for what has none.
        text: What is decided, and by what.
        packet: As it is after it.
    """

    direction: Direction
    place: str
    device: str
    text: str
    packet: str


@dataclass(frozen=True)
class Walk:
    """A packet's way, and that of its answer.

    Args:
        steps: In order.
        troubles: What is certainly wrong: the first one first. None: nothing is known to be wrong.
        doubts: What may stop it.
        unknown: What decides and cannot be evaluated: the walk ended there.
        arrived: Where the packet arrived; empty: nowhere.
        answered: Its answer came back.
        unread: What could not be read of places on the way: it may decide before anything else does.
    """

    steps: tuple[Step, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    doubts: tuple[Trouble, ...] = ()
    unknown: tuple[str, ...] = ()
    arrived: str = ""
    answered: bool = False
    unread: tuple[str, ...] = ()

    @property
    def server(self) -> str:
        """The place to which the packet came, where nothing is wrong with its way; empty: none."""
        return self.arrived if self.answered and not self.troubles else ""


class StoppedError(Exception):
    """The packet goes no further."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.key)
        self.trouble = trouble


class BlindError(Exception):
    """What decides here cannot be evaluated."""


@dataclass(frozen=True)
class Change:
    """A translation: replies that pass the same place are translated back.

    Args:
        place: Where.
        before: The packet as it came.
        after: As it went on.
    """

    place: str
    before: Flow
    after: Flow


@dataclass
class Trail:
    """A walk while it goes on.

    Args:
        dialled: The packet as its sender made it.
        prefer: To which of several endpoints a Service is to lead; empty: the first one.
        error: The ICMP message by which a router answers; empty: it does not.
        hops: The sender, and its setting of the hops that its packets make; None: the usual one.
        exempt: The last rule that has accepted the packet where it would have been translated; empty: none.
    """

    dialled: Flow
    prefer: str = ""
    exempt: str = ""
    error: str = ""
    hops: tuple[str, str] | None = None
    direction: Direction = "request"
    steps: list[Step] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    doubts: list[Trouble] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def step(self, place: str, device: str, text: str, flow: Flow) -> None:
        """Note a decision."""
        self.steps.append(Step(self.direction, place, device, text, str(flow)))

    def wrong(self, trouble: Trouble) -> None:
        """Note what does not stop the packet, and should not be."""
        if trouble.certain:
            self.troubles.append(trouble)
        else:
            self.doubts.append(trouble)


def stop(kind: str, place: str, thing: str, **facts: object) -> NoReturn:
    """End the walk: raises StoppedError.

    Args:
        kind: Of the library of causes.
        place: Whose.
        thing: What of it.
        facts: What the sentence needs beside.
    """
    raise StoppedError(Trouble(kind, place, thing, {name: str(value) for name, value in facts.items()}))
