"""What `up` would put into the world, as files: nothing is started, built or changed.

Certificates and keys are made new by every `up`, so they are shown as placeholders; two renderings are the same to
the byte.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import yamlio
from harness.cluster import coredns
from harness.cni import charts
from harness.cni.networks import chart, network, objects_of, unadapted
from harness.components.store import Store
from harness.errors import UsageError
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.providers import registry
from harness.runner import HostRunner, Runner

CHARTS = "helm/"
"""Folder of what a network's chart is told, and, where helm is at hand, of what it makes of that."""


@dataclass(frozen=True)
class Difference:
    """How a file on disk differs from what would be rendered.

    Args:
        path: Relative to the directory.
        state: What happens to it.
        text: Unified diff.
    """

    path: str
    state: str
    text: str


def render(spec: LabSpec, variant: Variant) -> dict[str, str]:
    """All files of a lab, by relative path.

    Args:
        spec: The lab.
        variant: Its CNI variant.
    """
    files = {"spec.yaml": yamlio.dumps(json.loads(spec.model_dump_json(by_alias=True)))}
    files |= registry.driver(spec.provider).render(spec, variant)
    if not variant.kubernetes:
        return dict(sorted(files.items()))
    files["manifests/coredns.yaml"] = yamlio.dumps_all(coredns.manifests(spec))
    driver = network(variant)
    manifests = driver.manifests(spec, variant) if driver.manifests is not None else []
    # What its project's own manifest of another version is, only that says; see `charted`.
    if manifests and not unadapted(spec, variant):
        files[f"manifests/{variant.driver}.yaml"] = yamlio.dumps_all(manifests)
    if driver.release is not None:
        files[f"{CHARTS}{driver.release.name}-values.yaml"] = yamlio.dumps(driver.release.values(spec, variant))
    return dict(sorted(files.items()))


def charted(store: Store, spec: LabSpec, variant: Variant, runner: Runner | None = None) -> dict[str, str]:
    """What helm makes of a network's chart, by relative path; nothing where helm or the chart is not in the cache.

    Of a version that is not pinned its project's manifest, or the chart, is downloaded.

    Args:
        store: Has the cache.
        spec: The lab.
        variant: Its CNI variant.
        runner: Runs helm.
    """
    if component := unadapted(spec, variant):
        return {f"manifests/{component}.yaml": yamlio.dumps_all(objects_of(store, spec, variant))}
    release = chart(spec, variant)
    if release is None:
        return {}
    if spec.cni_version:
        store.ensure([release.component])
    if not all(store.cached(name) for name in (charts.PROGRAM, release.component)):
        return {}
    with tempfile.TemporaryDirectory(prefix="cnilab-") as scratch:
        folder = Path(scratch)
        unpacked, values = folder / "chart", folder / "values.yaml"
        charts.unpack(store, release.component, unpacked)
        values.write_text(yamlio.dumps(release.values(spec, variant)), encoding="utf-8")
        helm = charts.Helm(store.program(charts.PROGRAM), folder, runner or HostRunner())
        with charts.told_of_version(spec, variant, release):
            objects = helm.template(unpacked, release, values, spec.kubernetes.version)
    return {f"{CHARTS}{release.name}.yaml": yamlio.dumps_all(objects)}


def differences(files: Mapping[str, str], directory: Path) -> list[Difference]:
    """What writing would change, in the order of the files.

    Raises:
        UsageError: A file there cannot be read.
    """
    import difflib  # noqa: PLC0415 - only for --diff

    found = []
    for name, text in files.items():
        path = directory / name
        old = _read(path)
        if old != text:
            lines = difflib.unified_diff(
                (old or "").splitlines(keepends=True), text.splitlines(keepends=True), f"a/{name}", f"b/{name}"
            )
            found.append(Difference(name, "new" if old is None else "changed", "".join(lines)))
    return found


def _read(path: Path) -> str | None:
    """A file as it is; None where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        msg = f"cannot read {path}"
        step = "give a directory with --to that you may read"
        raise UsageError(msg, cause=error.strerror or str(error), where=str(path), next_step=step) from error
