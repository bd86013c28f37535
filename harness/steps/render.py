"""What `up` would put into the world, as files: nothing is started, built or changed.

Certificates and keys are made new by every `up`, so they are shown as placeholders; two renderings are the same to
the byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import yamlio
from harness.cluster import coredns
from harness.errors import UsageError
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.steps import providers
from harness.steps.networks import network

ALTERNATIVES = "helm/"
"""Folder of files that are for others: `up` makes none of them. Values for a network's published chart."""


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
    files |= providers.driver(spec.provider).render(spec, variant)
    files["manifests/coredns.yaml"] = yamlio.dumps_all(coredns.manifests(spec))
    driver = network(variant)
    if driver.manifests is not None:
        files[f"manifests/{variant.driver}.yaml"] = yamlio.dumps_all(driver.manifests(spec, variant))
    if driver.chart is not None:
        files[f"{ALTERNATIVES}{variant.driver}-values.yaml"] = yamlio.dumps(driver.chart(spec, variant))
    return dict(sorted(files.items()))


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
        step = "name a directory with --to that you may read"
        raise UsageError(msg, cause=error.strerror or str(error), where=str(path), next_step=step) from error
