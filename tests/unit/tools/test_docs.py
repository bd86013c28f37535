"""Documents say what the code says. `UPDATE_GOLDEN=1` writes those that are made from it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import get_args

import pytest

from conformance.model import Level
from conformance.registry import AREAS
from harness.cli.app import COMMANDS
from harness.cni import catalogue
from harness.faults import catalogue as faults
from harness.model.variant import Gate

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"

GATES = {
    "multi": "two nodes or more",
    "ctr": "two containers or more in a pod",
    "kubelet": "pods are made by a kubelet",
    "svc": "some Service proxy",
    "kp": "that proxy is kube-proxy",
    "kpf": "Services without kube-proxy",
    "dns": "cluster DNS",
    "np": "NetworkPolicy is enforced",
    "v6": "IPv6",
    "dual": "dual-stack",
    "ovl": "an overlay carries packets between nodes",
    "br": "pods of a node share a Linux bridge",
    "ncidr": "each node has its own pod CIDR",
    "lease": "host-local keeps leases as files",
    "masq": "egress is masqueraded by the variant",
    "hport": "hostPort",
    "router": "the lab has a router that plays the outside world",
    "cap": "captures are allowed",
    "cni4": "the CNI configuration speaks 0.4.0 or later",
    "cni11": "the CNI configuration speaks 1.1.0 or later",
    "sctp": "the kernel has SCTP",
    "dis": "the run may disturb the cluster",
}

LEVELS = {"M": "must", "S": "should", "R": "recorded"}

HEAD = """# Requirements

What the conformance suite judges. Made from the code, as a test sees to. *must*: a failure fails the run; *should*:
it is reported, and fails with `--strict`; *recorded*: never fails. A requirement whose gate is closed in a cluster is
not applicable there. Faults are those of `cnilab test --faults` that it has to notice.
"""


def conformance() -> str:
    parts = [HEAD]
    noticed: dict[str, list[str]] = {}
    for fault in faults.faults():
        for target in fault.kills:
            noticed.setdefault(re.sub(r"\[.*", "", target), []).append(fault.id)
    for area, checks in AREAS.items():
        parts.append(f"## {area}\n\n| id | level | requirement | gates | faults | source |\n|---|---|---|---|---|---|")
        for check in checks:
            seen = " ".join(dict.fromkeys(noticed.get(check.id, ())))
            gates = " ".join(f"`{gate}`" for gate in check.gates)
            parts[-1] += (
                f"\n| `{check.id}` | {LEVELS[check.level]} | {check.title} | {gates} | {seen} | {check.source} |"
            )
        parts[-1] += "\n"
    rows = "\n".join(f"| `{gate}` | {text} |" for gate, text in GATES.items())
    parts.append(
        "## Gates\n\nFeatures, declared by variants or found in the cluster.\n\n"
        f"| gate | open when |\n|---|---|\n{rows}\n"
    )
    return "\n".join(parts)


def test_the_list_of_requirements_is_that_of_the_code() -> None:
    path = DOCS / "conformance.md"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(conformance())
    assert path.read_text() == conformance()


def test_gates_and_levels_are_all_explained() -> None:
    assert set(GATES) == set(get_args(Gate))
    assert set(LEVELS) == set(get_args(Level))


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text())
    assert [one for one in targets if "://" not in one and not (path.parent / one).exists()] == []


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_commands_in_documents_exist(path: Path) -> None:
    words = set(re.findall(r"(?:^|[`$(\s])cnilab (?:-[-\w]+(?: \d+)? )*([a-z]+)", path.read_text()))
    prose = {"on", "is", "says", "a", "that"}
    assert sorted(words - set(COMMANDS) - prose) == []


def test_the_readme_names_all_variants() -> None:
    text = (ROOT / "README.md").read_text()
    for name in catalogue.names():
        assert f"`{name}`" in text
