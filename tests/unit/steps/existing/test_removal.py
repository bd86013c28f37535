"""What a run leaves is removed in spite of an API server that is away for a moment."""

from __future__ import annotations

from typing import Any

import pytest

from harness.cluster.kube import ApiError, Kube, Objects
from harness.steps.existing import stay


class Cluster(Kube):
    """An API with pods of a run, that fails in a row of ways before each list."""

    def __init__(self, *failures: ApiError | None, stubborn: bool = False) -> None:
        self.failures, self.stubborn = list(failures), stubborn
        self.pods = {"a", "b"}
        self.asked = 0

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "", fields: str = "") -> Objects:
        del fields
        self.asked += 1
        assert (namespace, labels) == ("mine", "run=x")
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        found = sorted(self.pods) if kind == "Pod" else []
        return [
            {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "mine"}} for name in found
        ]

    def raw(self, method: str, path: str, body: Any = None, **_: Any) -> None:
        assert (method, bool(body)) == ("DELETE", True)
        if not self.stubborn:
            self.pods.discard(path.rpartition("/")[2])


def remove(cluster: Cluster) -> list[str]:
    return stay.remove(cluster, "run=x", "mine")


def failure(status: int) -> ApiError:
    return ApiError(status, "GET /pods: no answer", "because")


def test_an_api_server_that_is_away_for_a_moment_is_asked_again() -> None:
    cluster = Cluster(failure(0), failure(503), None)
    assert remove(cluster) == []
    assert not cluster.pods


@pytest.mark.parametrize("status", [401, 403])
def test_one_that_refuses_is_not(status: int) -> None:
    cluster = Cluster(failure(status))
    assert remove(cluster) == ["all objects with the label run=x: GET /pods: no answer: because"]
    assert cluster.asked == 1


def test_what_stays_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stay, "GONE", 0.3)
    assert remove(Cluster(stubborn=True)) == ["Pod a", "Pod b"]
