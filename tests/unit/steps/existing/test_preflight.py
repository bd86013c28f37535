"""The preflight's table says what can be measured, and what follows from each thing that cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cluster.access import Access
from harness.cluster.kube import Kube
from harness.errors import UsageError
from harness.providers.existing import rights, survey
from harness.providers.existing.rights import Part, Rights
from harness.providers.existing.survey import NodeInfo
from harness.steps.existing.preflight import Survey, Wish, examine, rows

CONFIG = Path("/home/me/config")
NODES = tuple(NodeInfo(f"n{number}", f"192.0.2.{number}", zone=f"z{number % 2}") for number in range(1, 14))


def found(*denied: Part, wish: Wish | None = None, enforced: str = "", **facts: object) -> Survey:
    asked = wish or Wish(CONFIG)
    lacking = Rights({right: "" for right in rights.WANTED if right.part in denied})
    made = Survey(
        wish=asked,
        access=Access(CONFIG, "prod", "https://k8s.example:6443", user="alice"),
        kube=Kube(CONFIG),
        version="1.34.4",
        rights=lacking,
        nodes=NODES,
        chosen=survey.choose(NODES, asked.sample, asked.seed),
        enforced=enforced,
    )
    return replace(made, **facts)  # type: ignore[arg-type]


CASES = {
    "administrator": found(),
    "one-namespace": found(
        "namespaces", "nodes", "probes", "slices", "policies", "network",
        wish=Wish(CONFIG, namespace="team-a"), enforced="baseline", nodes=None, chosen=(),
    ),
    "nothing-allowed": found("pods", "namespaces", "nodes", "probes", "slices", "policies", "network"),
    "no-usable-node": found(nodes=(NodeInfo("w1", "192.0.2.9", system="windows"),), chosen=()),
    "one-node": found(nodes=NODES[:1], chosen=NODES[:1]),
    "both-families": found(families=("ipv4", "ipv6")),
    "pods-only": found(wish=Wish(CONFIG, pods_only=True, sample=4)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_table_of_a_cluster(name: str, golden: Callable[[str, str], None]) -> None:
    lines = [
        f"{row.status:<7} {row.title}: {row.detail}\n        {row.consequence or '-'}\n" for row in rows(CASES[name])
    ]
    blocked = CASES[name].blocked
    golden(f"existing/preflight/{name}.txt", "".join(lines) + (f"\n{blocked}\n" if blocked else ""))


def test_a_table_blocks_exactly_when_the_run_does() -> None:
    for name, case in CASES.items():
        assert any(row.status == "blocks" for row in rows(case)) is (case.blocked is not None), name


def test_a_namespace_that_forbids_it_closes_the_nodes_network_and_says_why() -> None:
    case = found(wish=Wish(CONFIG, namespace="team-a"), enforced="baseline")
    assert case.no_hosts == "namespace team-a enforces Pod Security 'baseline'"
    assert found(wish=Wish(CONFIG, namespace="team-a"), enforced="privileged").no_hosts == ""


def test_a_sample_that_is_too_large_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match="a sample of 21 nodes"):
        examine(Wish(Path("/nonexistent"), sample=21))
