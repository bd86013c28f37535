"""What the kernels of a real cluster said, for walks: stored whole, and changed by tests as faults change it."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from conformance.context import Context, restore
from harness.model.records import Dump
from harness.model.spec import LabSpec

FOLDER = Path(__file__).with_name("worlds")

Dumps = dict[tuple[str, str], Any]
"""Data by place and subject."""

Change = Callable[[Dumps], None]


def names() -> list[str]:
    """Networks of which a healthy cluster is stored."""
    return sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))


@cache
def _read(name: str) -> tuple[LabSpec, tuple[Dump, ...]]:
    data = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    return LabSpec.model_validate(data["spec"]), tuple(Dump.model_validate(one) for one in data["dumps"])


def context(name: str, *changes: Change) -> Context:
    """A run that has looked at the cluster.

    Args:
        name: Of the network.
        changes: What has been done to it before.
    """
    spec, dumps = _read(name)
    data: Dumps = {(one.place, one.what): copy.deepcopy(one.data) for one in dumps}
    for change in changes:
        change(data)
    changed = [one.model_copy(update={"data": data.pop((one.place, one.what))}) for one in dumps]
    # What the stored cluster was not asked for, as another dump of the place.
    for (place, what), value in data.items():
        like = next(one for one in dumps if one.place == place)
        changed.append(like.model_copy(update={"what": what, "data": value}))
    # Whoever restores a run looks for the inventory first.
    ordered: list[Dump] = sorted(changed, key=lambda one: one.what not in {"inventory", "variant"})
    return restore(spec, ordered)
