"""Why requirements are not met: what is wrong, and which of them follow from it."""

from __future__ import annotations

import re
from typing import Final, Literal

from pydantic import Field

from harness.model.base import Record
from harness.model.family import Family

Confidence = Literal["certain", "possible", "observed", "unexplained"]


class Cause(Record):
    """One thing that is wrong, and what follows from it."""

    key: str = Field(description="By which it is known, whatever it troubles: n1/route/10.244.1.0/24")
    kind: str = Field(description="Of the library of causes: route.missing; or `state`, `symptom`")
    place: str = Field(default="", description="Where it is: a node, a pod, the router")
    sentence: str = Field(description="What is wrong, in networking terms")
    confidence: Confidence = Field(
        description="certain: by what the kernels said, packets of failed legs end there; possible: they may, as not "
        "all that decides can be evaluated; observed: a check of the state itself failed; unexplained: nothing that "
        "was read explains what was seen"
    )
    look: str = Field(default="", description="The command that shows it, typed at the place")
    mend: str = Field(default="", description="The command that mends it, typed at the place")
    source: str = Field(default="", description="What says that it is wrong")
    follows: tuple[str, ...] = Field(default=(), description="Requirements that are not met because of it")
    legs: int = Field(default=0, description="Failed legs among them that it explains")
    flow: str = Field(default="", description="A packet that it troubles")
    path: tuple[str, ...] = Field(default=(), description="The steps of that packet until there")


class Answer(Record):
    """What was broken in a stored case: what the causes that are told must name."""

    schema_: int = Field(default=1, alias="schema")
    fault: str = Field(description="Id in the catalogue of faults")
    title: str = Field(description="What was wrong, for people")
    inject: str = Field(description="The commands that broke it")
    family: Family = Field(description="The IP family that it breaks")
    held: bool = Field(default=False, description="The library of causes was not changed for this fault")
    keys: tuple[str, ...] = Field(description="Patterns of keys of causes: one of them names what was broken")


_PROGRAMS: Final = re.compile(
    r"(bridge|conntrack|ethtool|ip|ip6?tables(-(legacy|nft))?(-save)?|ipset|ipvsadm|kill|kubectl|nft|nstat|ps|ss|sysctl|tc"
    r"|traceroute)\s"
)


def typed(text: str) -> bool:
    """Is it a command that can be typed as it is, and not a sentence on what to do, or a command with a gap?

    Args:
        text: What a cause says on how to see it, or how to mend it.
    """
    return _PROGRAMS.match(f"{text} ") is not None and "…" not in text
