"""The library of causes (`library.yaml`): what each is, the command that shows it, and the one that mends it.

Whoever finds a trouble names its kind, and gives the facts that the kind's templates ask for: `conformance.path`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import Field

from harness import yamlio
from harness.model.base import Data
from harness.model.family import Family

FILE: Final = Path(__file__).with_name("library.yaml")


class Kind(Data):
    """A kind of cause."""

    id: str = Field(description="Stable: `route.missing`")
    sentence: str = Field(description="What is wrong, without a full stop")
    look: str = Field(description="The command that shows it, typed at the place")
    mend: str = Field(default="", description="The command that mends it, typed there; empty where there is none")
    source: str = Field(default="", description="What says that it is wrong: a document of the kernel, a specification")
    judged_by: tuple[str, ...] = Field(
        default=(),
        alias="judgedBy",
        description="Patterns of checks that judge the same thing at the same place, and so fail with it",
    )
    only: tuple[str, ...] = Field(
        default=(), description="The checks that it troubles, where others do not mind; none: all"
    )


def _read() -> Iterator[tuple[str, Kind]]:
    for name, entry in yamlio.loads(FILE.read_text(encoding="utf-8")).items():
        yield name, Kind.model_validate({"id": name, **entry})


@cache
def kinds() -> Mapping[str, Kind]:
    """All kinds of causes, by id."""
    return dict(_read())


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


_OTHERS: Final = (
    (re.compile(r"\biptables\b"), "ip6tables"),
    (re.compile(r"\btable ip "), "table ip6 "),
    (re.compile(r"\bip (route|rule)\b"), r"ip -6 \1"),
)
"""What programs are called, or told, for IPv6."""


def of_family(command: str, family: Family) -> str:
    """A command for one family.

    Args:
        command: As it is for IPv4.
        family: Of the packets that are troubled.
    """
    if family == "ipv4":
        return command
    for pattern, other in _OTHERS:
        command = pattern.sub(other, command)
    return command


def described(name: str, place: str, facts: Mapping[str, str], family: Family = "ipv4") -> dict[str, str]:
    """What a cause of a kind says, as fields of a `Cause`.

    Args:
        name: Of the kind.
        place: Where the trouble is; empty: nowhere in particular.
        facts: What its templates ask for.
        family: Of the packets that are troubled.
    """
    kind = kinds()[name]
    look, mend = (of_family(filled(text, place, facts), family) for text in (kind.look, kind.mend))
    sentence = filled(kind.sentence, place, facts)
    return {"kind": kind.id, "place": place, "sentence": sentence, "look": look, "mend": mend, "source": kind.source}


_PARTS: Final = 3
"""Of the name of a rule: table, chain, number."""


def rule_commands(thing: str, handle: str) -> Iterator[tuple[str, str]]:
    """The commands that show and delete a rule, as facts.

    Args:
        thing: `nft/inet firewalld/filter_FORWARD/4`, `iptables/nat/POSTROUTING/3`.
        handle: Of a rule of nft; empty where it is not known.
    """
    program, _, rest = thing.partition("/")
    parts = rest.split("/")
    if len(parts) != _PARTS:
        return
    table, chain, number = parts
    if program == "nft":
        yield "show", f"nft -a list chain {table} {chain}"
        policy = f"nft chain {table} {chain} '{{ policy accept; }}'"
        yield "delete", policy if number == "policy" else f"nft delete rule {table} {chain} handle {handle or '…'}"
    elif program.startswith("iptables"):
        yield "show", f"{program} -t {table} -nvL {chain} --line-numbers"
        policy = f"{program} -t {table} -P {chain} ACCEPT"
        yield "delete", policy if number == "policy" else f"{program} -t {table} -D {chain} {number}"
