"""The CNI variants that this version knows: files in `variants`, in the folder of the network that they are of."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from harness import yamlio
from harness.components.versions import numbers
from harness.errors import SpecError, UsageError
from harness.model.ownfiles import mistakes
from harness.model.spec import BARE, LabSpec
from harness.model.variant import DRIVERS, Variant

_FOLDER = Path(__file__).parent

_OF_PROXY_MODE: Mapping[str, tuple[str, ...]] = {"nftables": ("nftables",), "ipvs": ("ipvs", "ipset", "dummy")}
"""What kube-proxy needs of the kernel in its modes: for IPVS a dummy link has the addresses of all Services."""

NOT_OF_KERNEL = frozenset({"weave-images"})
"""What of `needs` no other kernel has, either."""


def names() -> list[str]:
    """Names of all variants."""
    return sorted(_files())


def targets() -> list[str]:
    """What can be brought up: all variants, and machines without any."""
    return [*names(), BARE]


@cache
def _files() -> dict[str, Path]:
    return {path.stem: path for driver in DRIVERS for path in (_FOLDER / driver / "variants").glob("*.yaml")}


@cache
def variant(name: str) -> Variant:
    """Load a variant.

    Raises:
        UsageError: There is none of that name; suggests the nearest.
        SpecError: Its file is wrong.
    """
    if name == BARE:
        return _load(_FOLDER / f"{BARE}.yaml")
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        msg = f"there is no CNI variant named {name[:60]!r}"
        hint = f"did you mean '{near[0]}'?" if near else "choose one of these"
        raise UsageError(msg, cause=f"variants: {', '.join(names())}", next_step=hint)
    return _load(_files()[name])


def _load(path: Path) -> Variant:
    try:
        return Variant.model_validate({"driver": path.parts[-3], **yamlio.loads(path.read_text(encoding="utf-8"))})
    except ValidationError as error:
        msg = f"variant file {path.name} is wrong"
        raise SpecError(msg, mistakes(path, error, Variant)) from error


def of(spec: LabSpec) -> Variant:
    """A lab's variant, with what is to be expected in its families and of the network's version that it asks for.

    Raises:
        UsageError: There is none of that name; suggests the nearest.
        SpecError: Its file is wrong.
    """
    chosen = variant(spec.cni).among(spec.families)
    limits = chosen.expect.overhead_before if spec.cni_version else {}
    for limit in sorted(limits, key=numbers):
        if numbers(spec.cni_version) < numbers(limit):
            expect = chosen.expect.model_copy(update={"overhead": limits[limit]})
            return chosen.model_copy(update={"expect": expect})
    return chosen


def needs(spec: LabSpec) -> tuple[str, ...]:
    """What a lab needs beyond what every lab does: its variant, and kube-proxy in the spec's mode where it runs.

    Returns:
        Ids of doctor's checks.
    """
    chosen = variant(spec.cni)
    of_mode = _OF_PROXY_MODE.get(spec.kubernetes.proxy_mode, ()) if chosen.kube_proxy else ()
    return (*chosen.needs, *of_mode)
