"""Providers by the name that a lab's spec has, and labs by theirs.

A driver is loaded when the first lab of its provider is met, so that nobody waits for what the others import.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import CnilabError, NotYoursError, UsageError
from harness.model import labstate
from harness.model.family import FAMILIES, Family, IpFamily
from harness.model.labstate import LabDir, LabState
from harness.model.spec import PROVIDERS
from harness.providers.protocol import Driver, Found


def driver(name: str) -> Driver:
    """The driver of a provider: `DRIVER` of the module `driver` in its folder beside this module.

    Raises:
        UsageError: This version has none.
    """
    if name == "existing":
        msg = "an existing cluster cannot be brought up"
        raise UsageError(msg, next_step="'cnilab test --kubeconfig FILE' runs the conformance suite on it")
    if name not in PROVIDERS:
        msg = f"the provider '{name}' does not exist yet"
        raise UsageError(msg, next_step=f"spec.provider: {', '.join(PROVIDERS)}")
    found: Driver = importlib.import_module(f"{__package__}.{name}.driver").DRIVER
    return found


def families(name: str) -> Sequence[Family]:
    """IP families that a provider can give to nodes; all, where nothing is known of it: what it lacks is told later."""
    return driver(name).families if name in PROVIDERS else FAMILIES


def usual_families(variant: str, provider: str) -> IpFamily:
    """IP families of a cluster that asks for none: both, where the variant and the provider have both unasked.

    Args:
        variant: Name of a variant that there is.
        provider: Name of a provider; one that does not exist yet has IPv4.
    """
    if provider not in PROVIDERS or driver(provider).usual != "dual":
        return "ipv4"
    from harness.cni import catalogue  # noqa: PLC0415 - a lab that is up is found without a reader of YAML

    return catalogue.variant(variant).usual


def known_state(place: LabDir) -> LabState | None:
    """All that is known of a lab, as its provider's own state; None when there is no such lab.

    Raises:
        UsageError: The state cannot be read.
    """
    common = labstate.read(place, LabState)
    return None if common is None else labstate.read(place, driver(common.spec.provider).model)


def driver_of(place: LabDir) -> Driver:
    """The driver of a lab that may be broken; the default provider's when nothing says whose it is."""
    try:
        common = labstate.read(place, LabState)
    except UsageError:
        common = None
    return driver(common.spec.provider if common and common.spec.provider in PROVIDERS else PROVIDERS[0])


def find(name: str, state: Path) -> Found:
    """A lab that is up.

    Args:
        name: Its name.
        state: The state directory of all labs.

    Raises:
        UsageError: There is none, or it is broken.
    """
    place = LabDir(state, name)
    common = labstate.read(place, LabState)
    if common is None:
        raise labstate.no_such_lab(place)
    return driver(common.spec.provider).find(place)


def delete(place: LabDir) -> list[str]:
    """Remove a lab in whatever state it is.

    Where nothing says whose it is, every provider looks for what it may have made under that name.

    Returns:
        What is left, in words; empty is good.

    Raises:
        NotYoursError: It belongs to somebody else: nothing is touched.
    """
    try:
        common = labstate.read(place, LabState)
    except NotYoursError:
        raise
    except CnilabError:
        common = None
    if common is not None:
        return driver(common.spec.provider).delete(place)
    # The default provider needs no state at all, and takes the lab's directory with it: it comes last.
    return [left for name in reversed(PROVIDERS) for left in driver(name).delete(place)]


def mark_ready(place: LabDir, *, own: Mapping[str, Path]) -> None:
    """Note that the bring-up ended well.

    Args:
        place: The lab's directories.
        own: Programs that the user brought; see `components.own`.
    """
    known = known_state(place)
    if known is not None:
        brought = {name: str(path) for name, path in own.items()}
        labstate.write(place, known.model_copy(update={"ready": True, "own": brought}))
