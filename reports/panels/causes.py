"""Causes as the page tells them: numbered, each with its commands, and with links to what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from harness.model.cause import Cause, Confidence, typed
from reports.model import Because, CauseCard, Causes, Follower, Order, PathStep, Requirement, Requirements, Tone
from reports.text import plural

_NAMES: Final[Mapping[Confidence, tuple[str, Tone]]] = {
    "certain": ("Cause", "bad"),
    "observed": ("Cause", "bad"),
    "possible": ("Possible cause", "warn"),
    "unexplained": ("Symptom", "muted"),
}

_MEANINGS: Final[Mapping[Confidence, str]] = {
    "certain": "by what the kernels said, packets of failed legs end here",
    "observed": "a check read this state itself, and it is wrong",
    "possible": "packets of failed legs may end here, but not all that decides this could be evaluated",
    "unexplained": "nothing that was read explains what was seen",
}

_RED: Final = frozenset({"fail", "error"})


def because(found: Sequence[Cause]) -> dict[str, tuple[Because, ...]]:
    """For each requirement the causes that it is not met because of.

    Args:
        found: All causes, in the order of the page.
    """
    known: dict[str, tuple[Because, ...]] = {}
    for number, cause in enumerate(found, 1):
        for name in cause.follows:
            known[name] = (*known.get(name, ()), _because(number, cause))
    return known


def _because(number: int, cause: Cause) -> Because:
    words = {"possible": f"perhaps cause {number}", "unexplained": f"symptom {number}"}
    # A state and a symptom are told in the words of the requirement itself.
    told = "" if cause.kind in {"state", "symptom"} else f"{cause.sentence} ({cause.confidence})"
    return Because(number, anchor_of(number), words.get(cause.confidence, f"cause {number}"), told)


def anchor_of(number: int) -> str:
    """The anchor of a cause."""
    return f"cause-{number}"


def causes(found: Sequence[Cause], table: Requirements | None) -> Causes | None:
    """The causes of a run; None where there are none.

    Args:
        found: All causes, the one of most first.
        table: The requirements, to be linked.
    """
    if not found:
        return None
    items = {item.id: item for area in table.areas for item in area.requirements} if table is not None else {}
    return Causes(_sentence(found, items), tuple(_card(number, cause, items) for number, cause in enumerate(found, 1)))


def _sentence(found: Sequence[Cause], items: Mapping[str, Requirement]) -> str:
    red = {name for name, item in items.items() if item.status in _RED}
    known = [cause for cause in found if cause.confidence != "unexplained"]
    explained = {name for cause in known for name in cause.follows} & red
    whole = "the requirement that is not met" if len(red) == 1 else f"the {len(red):,} requirements that are not met"
    if not known:
        return f"Nothing that was read explains {whole}"
    firm = any(cause.confidence != "possible" for cause in known)
    count = plural(len(known), "cause" if firm else "possible cause")
    verb = ("explains" if len(known) == 1 else "explain") if firm else "may explain"
    share = "" if explained == red else f"{len(explained)} of "
    return f"{count} {verb} {share}{whole}"


def first(found: Sequence[Cause]) -> str:
    """The cause to be told where there is room for one; empty where nothing explains what was seen.

    Args:
        found: All causes, the one of most first.
    """
    return next((cause.sentence for cause in found if cause.confidence != "unexplained"), "")


def _card(number: int, cause: Cause, items: Mapping[str, Requirement]) -> CauseCard:
    name, tone = _NAMES[cause.confidence]
    followers = tuple(
        Follower(one, items[one].title, items[one].anchor) if one in items else Follower(one, "", "")
        for one in cause.follows
    )
    return CauseCard(
        number=number,
        anchor=anchor_of(number),
        name=f"{name} {number}",
        tone=tone,
        confidence=cause.confidence,
        meaning=_MEANINGS[cause.confidence],
        place=cause.place,
        sentence=f"{cause.sentence[:1].upper()}{cause.sentence[1:]}" if _plain_start(cause) else cause.sentence,
        look=_order(cause.look, cause),
        mend=_order(cause.mend, cause),
        source=cause.source,
        follows=followers,
        kept=sum(item.blocked_by in cause.follows for item in items.values() if item.blocked_by),
        legs=cause.legs,
        flow=cause.flow,
        path=tuple(_step(line) for line in cause.path),
    )


def _plain_start(cause: Cause) -> bool:
    """The sentence begins with a word of English, and not with the name of a node or a device."""
    first = cause.sentence.partition(" ")[0]
    return first.isalpha() and first != cause.place


def _order(text: str, cause: Cause) -> Order | None:
    return Order(text, cause.place, typed(text)) if text else None


def _step(line: str) -> PathStep:
    place, colon, text = line.partition(": ")
    return PathStep(place, text) if colon else PathStep("", line)
