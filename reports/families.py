"""IP families on the page: they are named where both are there, and nothing is said of one that is alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from harness.model.family import FAMILIES, TITLE, Family, family_of_dial
from harness.model.records import Exchange
from reports.text import host_of

_NOBODY = ("", "0.0.0.0", "::")  # noqa: S104 - the address of a socket that is not bound


def families_of(found: Iterable[Family]) -> tuple[Family, ...]:
    """Both families where both are there; none where one is alone, which then needs no name."""
    return FAMILIES if len(set(found)) > 1 else ()


def named(family: Family, among: Collection[Family]) -> str:
    """`IPv6`, where there is another family, too."""
    return TITLE[family] if family in among else ""


def own_address(item: Exchange) -> str:
    """Address of the sender of an exchange, in the family that it went over; empty when that is not known.

    Its socket says it, where it has one; the address that a record has for a place is of the primary family.
    """
    family = family_of_dial(item.dial)
    known = (host_of(item.source), item.src_ip)
    return next((one for one in known if one not in _NOBODY and family_of_dial(one) == family), "")
