"""Pod networks by their variant: what an installation needs beforehand, and what is done.

A network is a folder beside this module; see `docs/adding-a-network.md`.
"""

from __future__ import annotations

import fnmatch
import importlib
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from harness import yamlio
from harness.cluster.kube import Kube
from harness.cni import charts
from harness.cni.charts import Charts
from harness.cni.flannel import manifests as flannel
from harness.cni.network import Configuration, Network
from harness.cni.release import Release
from harness.components import recipes
from harness.components.lock import Lock
from harness.components.store import Store
from harness.errors import BringUpError
from harness.model.labstate import LabDir
from harness.model.spec import LabSpec
from harness.model.variant import DRIVERS, Variant

Object = dict[str, Any]

MANIFEST = "manifest.tar"
"""What a component delivers its network's own manifest as."""

_MANIFESTS = "manifests"
"""Of a lab's directory: the same, unpacked."""


def of(driver: str) -> Network:
    """The network of a driver: `NETWORK` of the module `network` in its folder beside this module.

    Args:
        driver: One of `model.variant.Driver`, but `generic`, which is the network of a cluster that others made.
    """
    name = f"{__package__}.{driver}.network"
    try:
        found: Network = importlib.import_module(name).NETWORK
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and not name.startswith(str(error.name)):
            raise  # it is there, and imports something that is not
        msg = f"the network '{driver}' has no module {name} with NETWORK"
        raise BringUpError(msg, cause=str(error), next_step="docs/adding-a-network.md says what it needs") from error
    return found


def network(variant: Variant) -> Network:
    """The network of a variant; of machines without Kubernetes one that has nothing."""
    return of(variant.driver) if variant.kubernetes else Network()


def configurations() -> dict[str, Configuration]:
    """Where agents say how they work, by driver; of those that have more than one way."""
    known = {driver: of(driver).configuration for driver in DRIVERS}
    return {driver: found for driver, found in known.items() if found is not None}


def chart(spec: LabSpec, variant: Variant) -> Release | None:
    """The Helm chart of a lab's network; None where it has none.

    Which kinds a version has is known of the pinned one; of others they are their own programs' to make.
    """
    release = network(variant).release
    return replace(release, kinds=(), instead=()) if release is not None and spec.cni_version else release


def unadapted(spec: LabSpec, variant: Variant) -> str:
    """The component that brings the manifest of a version that is not pinned; empty where this program has it all."""
    return variant.driver if spec.cni_version and network(variant).adapted is not None else ""


def deliver(store: Store, place: LabDir, spec: LabSpec, variant: Variant) -> None:
    """Put what a network's installation needs into the lab's directory: helm and a chart, or a manifest.

    Args:
        store: Has it, or gets it.
        place: The lab's directories.
        spec: The lab.
        variant: Its network.
    """
    release = chart(spec, variant)
    if release is not None:
        Charts(place).deliver(store, release)
        if spec.cni_version and (odd := unknown(store, spec, variant)):
            title = f"the chart of {release.name} {spec.cni_version} does not know: {', '.join(odd)}"
            store.journal.note("up.materials", title)
    if component := unadapted(spec, variant):
        charts.unpack(store, component, place.path / _MANIFESTS, MANIFEST)


def unknown(store: Store, spec: LabSpec, variant: Variant) -> list[str]:
    """Values of a variant that the chart of this version does not know: neither by default nor in a template."""
    release = chart(spec, variant)
    if release is None:
        return []
    asked = charts.unknown_values(release.values(spec, variant), _defaults(store, release))
    text = "".join(_members(store, release.component, charts.CHART, "templates/*").values())
    return [path for path in asked if f".Values.{path}" not in text]


def _defaults(store: Store, release: Release) -> Object:
    """A chart's own values."""
    found: Object = yamlio.loads(_member(store, release.component, charts.CHART, "values.yaml"))
    return found


def _member(store: Store, component: str, archive: str, name: str) -> str:
    """A file of what a component brings as an archive; empty when it is not in there."""
    return _members(store, component, archive, name).get(name, "")


def _members(store: Store, component: str, archive: str, pattern: str) -> dict[str, str]:
    """Files of it, by their names."""
    path = store.ensure([component])[component].directory / archive
    with tarfile.open(path) as tar:
        wanted = (info for info in tar if fnmatch.fnmatch(info.name, pattern))
        return {info.name: file.read().decode() for info in wanted if (file := tar.extractfile(info)) is not None}


def components(spec: LabSpec, variant: Variant) -> tuple[str, ...]:
    """Components that its installation needs, beside what is in its images."""
    release, component = chart(spec, variant), unadapted(spec, variant)
    return (*((charts.PROGRAM, release.component) if release else ()), *((component,) if component else ()))


def images(lock: Lock, spec: LabSpec, variant: Variant) -> tuple[str, ...]:
    """Short names of the images that its pods are made of."""
    if not spec.cni_version:
        return network(variant).images
    return tuple(image.name for image in recipes.images(lock) if image.pulled)


def references(store: Store, spec: LabSpec, variant: Variant) -> list[str]:
    """Full names of the images of a version that is not pinned, as its chart or its manifest has them.

    Raises:
        PreflightError: These are not available.
    """
    release = chart(spec, variant)
    if release is not None:
        return release.images(_defaults(store, release))
    return pod_images(objects_of(store, spec, variant))


def pod_images(objects: Iterable[Object]) -> list[str]:
    """Full names of the images of workloads, each once."""
    pods = [one["spec"]["template"]["spec"] for one in objects if "template" in one.get("spec", {})]
    named = [
        container["image"]
        for pod in pods
        for kind in ("initContainers", "containers")
        for container in pod.get(kind, ())
    ]
    return list(dict.fromkeys(named))


def objects_of(store: Store, spec: LabSpec, variant: Variant) -> list[Object]:
    """The objects of a network without its chart's, for a lab that need not be there."""
    component = unadapted(spec, variant)
    return _rendered(spec, variant, _member(store, component, MANIFEST, flannel.MANIFEST) if component else "")


def _rendered(spec: LabSpec, variant: Variant, manifest: str) -> list[Object]:
    """The same, from the text of the project's own manifest where there is one."""
    driver = network(variant)
    if manifest and driver.adapted is not None:
        return driver.adapted(yamlio.loads_all(manifest), spec, variant)
    return driver.manifests(spec, variant) if driver.manifests is not None else []


def _made(place: LabDir, spec: LabSpec, variant: Variant) -> list[Object]:
    path = place.path / _MANIFESTS / flannel.MANIFEST
    return _rendered(spec, variant, path.read_text(encoding="utf-8") if unadapted(spec, variant) else "")


def install(place: LabDir, spec: LabSpec, variant: Variant, api: Kube) -> None:
    """Make a network's objects.

    Args:
        place: The lab's directories; `deliver` was called.
        spec: The lab.
        variant: Its network.
        api: Its API.
    """
    if network(variant).manifests is not None:
        api.apply(_made(place, spec, variant))
    release = chart(spec, variant)
    if release is not None:
        Charts(place).install(release, spec, variant, api)


def objects(place: LabDir, spec: LabSpec, variant: Variant) -> list[Object]:
    """All that `install` makes."""
    made = _made(place, spec, variant)
    release = chart(spec, variant)
    return [*made, *Charts(place).objects(release, spec, variant)] if release is not None else made
