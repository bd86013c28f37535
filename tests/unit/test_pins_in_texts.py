"""Versions that texts name are those of `components.lock`, the one place where they are pinned."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import resources
from harness.components.kubernetes import minor_of, versions
from harness.components.lock import Lock, load

ROOT = resources.root()

TEXTS = ("README.md", "docs/*.md", "labs/**/*.md", "labs/**/*.yaml", "playbooks/**/*.yaml", "workshop/*")

NAMES = {
    "kubernetes": "kubernetes", "kubelet": "kubernetes", "kubectl": "kubernetes", "kubeadm": "kubeadm",
    "coredns": "coredns", "containerd": "containerd", "runc": "runc", "etcd": "etcd", "flannel": "flannel",
    "flanneld": "flannel", "crictl": "crictl", "cilium": "cilium", "kind": "kind",
}  # fmt: skip

_NAMED = re.compile(
    rf"\b(?P<name>{'|'.join(sorted(NAMES, key=len, reverse=True))})(?:[ :=@]|: \{{version: \"| --version )v?"
    r"(?P<version>\d+\.\d+(?:\.\d+)?)(?![\d.]*[/%]| [a-z]*seconds| s\b)",
    re.IGNORECASE,
)
_NODE = re.compile(r"^n\d .*\bv(?P<version>1\.\d+\.\d+)\s*$", re.MULTILINE)

HISTORY = {
    ("docs/performance.md", "cilium", "1.15"): "what it cost before 1.20",
    ("docs/evidence.md", "cilium", "1.15"): "what was seen of it before 1.20",
    ("labs/inv-cni-dirs/lab.yaml", "kubernetes", "1.24"): "where an option was removed",
    ("labs/inv-runtime-cidr/lab.yaml", "kubernetes", "1.33"): "since when there are ServiceCIDR objects",
    ("labs/svc-proxy-modes/lab.yaml", "kubernetes", "1.26"): "where a mode was removed",
}
"""What is no pin: a version of which the text tells a story, or another number."""


def named(text: str) -> Iterator[tuple[str, str]]:
    """Component and version, as often as a text names both side by side; and versions that nodes show."""
    for match in _NAMED.finditer(text):
        yield NAMES[match["name"].lower()], match["version"]
    for match in _NODE.finditer(text):
        yield "kubernetes", match["version"]


def allowed(lock: Lock, name: str) -> set[str]:
    """Pinned versions of a component, in full and as minor versions."""
    component = lock.component[name]
    full = {component.pinned, *component.minors.values()}
    return full | {minor_of(version) for version in full}


MEASURED = ROOT / "docs/mutation.md"
"""A table of runs, which says of each what it ran with; the next run replaces it."""


def texts() -> list[Path]:
    return sorted({path for pattern in TEXTS for path in ROOT.glob(pattern) if path.is_file()} - {MEASURED})


def test_texts_are_found() -> None:
    assert len(texts()) > 40


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("on Kubernetes 1.37 (namespaces)", [("kubernetes", "1.37")]),
        ("[  19.2 s] containerd 2.4.2 (9.8 s)", [("containerd", "2.4.2")]),
        ('kubernetes: {version: "1.37", proxyMode: nftables}', [("kubernetes", "1.37")]),
        ("n1     Ready    <none>   42s   v1.37.2\n", [("kubernetes", "1.37.2")]),
        ("image: ghcr.io/flannel-io/flannel:v0.28.10", [("flannel", "0.28.10")]),
        ("-A FLANNEL-FWD -s 10.244.0.0/16", []),
    ],
)
def test_a_version_is_seen_in_a_text(text: str, found: list[tuple[str, str]]) -> None:
    assert list(named(text)) == found


@pytest.mark.parametrize("path", texts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_versions_in_a_text_are_those_of_the_lock(path: Path) -> None:
    lock, place = load(), str(path.relative_to(ROOT))
    wrong = {
        (name, version)
        for name, version in named(path.read_text(encoding="utf-8"))
        if version not in allowed(lock, name) and (place, name, version) not in HISTORY
    }
    assert not wrong, f"{place} names versions that components.lock does not have: {wrong}"


def test_no_story_is_kept_that_no_text_tells() -> None:
    told = {
        (str(path.relative_to(ROOT)), name, version)
        for path in texts()
        for name, version in named(path.read_text(encoding="utf-8"))
    }
    assert set(HISTORY) <= told


def test_readme_names_every_version_of_kubernetes_that_is_pinned() -> None:
    (line,) = re.findall(r"^- Kubernetes .*?(?=^- )", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert re.findall(r"(?<![\d.\"])1\.\d+(?![.\d])", line) == list(versions(load()))
