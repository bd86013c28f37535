"""A cluster of fifty nodes: a sample is looked at, and what that costs the API server grows with the sample alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.model.journal import Journal
from harness.model.run import RunDir
from harness.providers.existing.rights import WANTED
from harness.steps.existing import stay
from harness.steps.existing.deploy import Deployment, Placed
from harness.steps.existing.preflight import POLL, Survey, Wish, examine
from tests.e2e.conftest import Cli
from tests.e2e.fleet import fleet

NODES = 50
PODS = 3
"""Pods of the suite on each node."""


@pytest.fixture(scope="module")
def fifty(warm: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    del warm
    cli = Cli(tmp_path_factory.mktemp("fleet"))
    # The nodes that are played have addresses of one family, and a node that lacks one of the cluster's is left out.
    cli("up", "flannel", "--ip-family", "ipv4", "--name", "e2e-fleet", "--nodes", "1")
    kubeconfig = cli.state / "labs" / "e2e-fleet" / "kubeconfig"
    try:
        with fleet(kubeconfig, NODES):
            yield kubeconfig
    finally:
        cli("down", "e2e-fleet")


def count(found: Survey, run: Path) -> tuple[Placed, Counter[str], float]:
    """Put the suite on the sample and take it away; the requests by method, and the seconds."""
    requests: Counter[str] = Counter()
    send = found.kube.raw

    def counted(method: str, *rest: Any, **more: Any) -> Any:
        requests[method] += 1
        return send(method, *rest, **more)

    found.kube.raw = counted  # type: ignore[method-assign]
    start = time.monotonic()
    with stay.stay(found, Journal()) as here:
        placed = Deployment(here, RunDir(run), Journal(), lambda _: Path("/none")).placed()
    return placed, requests, time.monotonic() - start


def test_a_sample_has_all_zones_and_roles_and_is_the_same_again(fifty: Path) -> None:
    found = examine(Wish(fifty, sample=12, seed=3))
    assert found.nodes is not None
    assert len(found.nodes) == NODES + 1
    strata = {(one.zone, one.control_plane) for one in found.nodes}
    assert {(one.zone, one.control_plane) for one in found.chosen} == strata
    assert examine(Wish(fifty, sample=12, seed=3)).chosen == found.chosen
    assert examine(Wish(fifty, sample=12, seed=4)).chosen != found.chosen


def test_the_preflight_asks_each_thing_once(fifty: Path) -> None:
    found = examine(Wish(fifty))
    version, pages = 1, 1
    families = 4  # pods of kube-system, ranges of Services, and two Services that every cluster has
    assert found.kube.requests == version + len(WANTED) + pages + families


@pytest.mark.night
def test_what_a_run_asks_of_the_api_grows_with_the_sample_alone(fifty: Path, tmp_path: Path) -> None:
    runs = {size: count(examine(Wish(fifty, sample=size)), tmp_path) for size in (4, 16)}
    for size, (placed, requests, seconds) in runs.items():
        assert len(placed.places) == size
        assert len(placed.sites) == PODS * size
        # While it waits it looks once in a while, however many nodes there are.
        assert (
            requests["GET"] <= 21 + size + 2 * seconds / POLL
        )  # whose ports are taken: pods of each node, and Services
    more = {method: runs[16][1][method] - runs[4][1][method] for method in ("POST", "DELETE")}
    assert more == {"POST": PODS * 12, "DELETE": PODS * 12}
    assert runs[4][1]["PATCH"] == runs[16][1]["PATCH"] == 0
