"""Why requirements are not met, first of all that the page says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reports.model.common import Tone
from reports.text import plural


@dataclass(frozen=True)
class Because:
    """That a requirement is not met because of a cause.

    Args:
        number: Of the cause, as the page counts them.
        anchor: Of the cause.
        words: `cause 1`, `perhaps cause 2`, `symptom 3` where nothing explains it.
        sentence: The cause, with its confidence; empty where it only repeats what was seen.
    """

    number: int
    anchor: str
    words: str
    sentence: str

    def told(self, *, first: bool) -> str:
        """`because of cause 1`, and behind another one `and cause 2`.

        Args:
            first: None is told before it.
        """
        explains = "" if self.words.startswith("symptom") else "because of "
        return f"{explains if first else 'and '}{self.words}"


@dataclass(frozen=True)
class Order:
    """What to type, or what to do, and where.

    Args:
        text: A command, or a sentence.
        place: A node, a pod, the router; empty where it does not matter.
        typed: It is a command.
    """

    text: str
    place: str
    typed: bool

    @property
    def where(self) -> str:
        """`, on n1`; empty without a place."""
        return f", on {self.place}" if self.place else ""


@dataclass(frozen=True)
class PathStep:
    """One step of a packet: where, and what happens to it."""

    place: str
    text: str


@dataclass(frozen=True)
class Follower:
    """A requirement that is not met because of a cause.

    Args:
        id: As in the catalogue.
        title: What it claims; empty where the run has no verdict on it.
        anchor: Of its row; empty without a verdict.
    """

    id: str
    title: str
    anchor: str


@dataclass(frozen=True)
class CauseCard:
    """One thing that is wrong, with what shows and what mends it.

    Args:
        number: In the order of the page.
        anchor: For links.
        name: `Cause 1`, `Possible cause 2`, `Symptom 3`.
        tone: Of the name.
        confidence: certain, observed, possible, unexplained.
        meaning: What that word means.
        place: Where it is: a node, a pod, the router; may be empty.
        sentence: What is wrong.
        look: What shows it.
        mend: What mends it.
        source: What says that it is wrong.
        follows: Requirements that are not met because of it.
        kept: Requirements that were not judged because one of those failed.
        legs: Failed legs that it explains.
        flow: A packet that it troubles.
        path: The steps of that packet, the last one at the trouble.
    """

    number: int
    anchor: str
    name: str
    tone: Tone
    confidence: str
    meaning: str
    place: str
    sentence: str
    look: Order | None
    mend: Order | None
    source: str
    follows: tuple[Follower, ...]
    kept: int
    legs: int
    flow: str
    path: tuple[PathStep, ...]

    @property
    def data(self) -> dict[str, Any]:
        """The cause as data: what is wrong, where, how sure that is, what shows and mends it, what follows from it."""
        texts = {
            "place": self.place,
            "cause": self.sentence,
            "confidence": self.confidence,
            "see": self.look.text if self.look is not None else "",
            "mend": self.mend.text if self.mend is not None else "",
            "source": self.source,
        }
        told = {name: text for name, text in texts.items() if text}
        return {"number": self.number, **told, "follows": [one.id for one in self.follows]}

    @property
    def consequence(self) -> str:
        """`22 requirements are not met because of it`."""
        count = len(self.follows)
        verb = "is" if count == 1 else "are"
        if self.confidence == "unexplained":
            return f"{plural(count, 'requirement')} {verb} not met"
        perhaps = ", perhaps" if self.confidence == "possible" else ""
        return f"{plural(count, 'requirement')} {verb} not met{perhaps} because of it"

    @property
    def unjudged(self) -> str:
        """`3 more were not judged, as they need one of these`; empty where all were judged."""
        if not self.kept:
            return ""
        needed = "it" if len(self.follows) == 1 else "one of these"
        verb, needs = ("was", "it needs") if self.kept == 1 else ("were", "they need")
        return f"{self.kept:,} more {verb} not judged, as {needs} {needed}"


@dataclass(frozen=True)
class Causes:
    """Why requirements are not met, the cause of most first.

    Args:
        sentence: How many causes explain how many requirements.
        cards: The causes.
    """

    sentence: str
    cards: tuple[CauseCard, ...]
