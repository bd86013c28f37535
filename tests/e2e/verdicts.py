"""What a run found wrong, in words: a list of names alone does not say why, and the run may be gone by then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

WRONG = frozenset({"fail", "error"})


def red(items: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Verdicts that are not as required, each with what it says and what its wrong legs and controls say.

    Args:
        items: Results as `cnilab test -o json` prints them.
    """
    return {
        item["id"]: [
            f"{item['status']} ({item['reason']}): {item['statement']}",
            *(f"{leg['leg']}: {leg['statement']}" for leg in item["legs"] if leg["status"] in WRONG),
            *(f"control {one['kind']}: {one['detail']}" for one in item["controls"] if not one["ok"]),
        ]
        for item in items
        if item["status"] in WRONG
    }
