"""Tabular cases of the suite, read from `conformance/cases/*.yaml` and checked."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field

from harness import yamlio
from harness.model.base import Data

CASES = Path(__file__).parent / "cases"


class PortCase(Data):
    """A port, and what on a node could get in its way."""

    port: int = Field(ge=1, le=65535)
    why: str


class SizeCase(Data):
    """A size in bytes, and why this one."""

    size: int = Field(ge=28, le=65535)
    why: str


class NameCase(Data):
    """A name to look up, with `{ns}` and `{zone}` to fill in."""

    name: str
    why: str


class Sizes(Data):
    """Packet and payload sizes, bytes."""

    ladder: tuple[SizeCase, ...]
    fragmented: tuple[SizeCase, ...]
    unfragmented: int
    bulk: int
    small: int
    upload: int


class Names(Data):
    """DNS names by what they prove."""

    search: tuple[NameCase, ...]
    negative: tuple[NameCase, ...]
    negative_relative: tuple[NameCase, ...]
    headless_empty: tuple[NameCase, ...]
    forward: str
    schema_: str = Field(alias="schema")
    large: str


class Ports(Data):
    """The port list."""

    ports: tuple[PortCase, ...]


@cache
def ports() -> tuple[int, ...]:
    """Ports that a pod must be able to serve on."""
    return tuple(case.port for case in Ports.model_validate(_read("ports.yaml")).ports)


@cache
def sizes() -> Sizes:
    """Packet and payload sizes."""
    return Sizes.model_validate(_read("sizes.yaml"))


@cache
def names() -> Names:
    """DNS names."""
    return Names.model_validate(_read("dns.yaml"))


def _read(name: str) -> object:
    return yamlio.loads((CASES / name).read_text(encoding="utf-8"))
