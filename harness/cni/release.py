"""A network that comes as a Helm chart: which one, and what it is told. Pure; `harness.cni.charts` installs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.model.spec import LabSpec
from harness.model.variant import Variant

Object = dict[str, Any]


@dataclass(frozen=True)
class Release:
    """What `helm upgrade --install` is given.

    Args:
        name: Of the release.
        namespace: Where it lives.
        component: The component that brings the chart, packed as `chart.tar`.
        values: The values document of a lab's variant.
        images: Full names of the images of its programs, by the chart's own default values.
        kinds: CustomResourceDefinitions that are made before, by their names; the component brings them as `crds.tar`.
        instead: Values by their paths that keep the chart's programs from making these kinds as well.
    """

    name: str
    namespace: str
    component: str
    values: Callable[[LabSpec, Variant], Object]
    images: Callable[[Object], list[str]]
    kinds: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
