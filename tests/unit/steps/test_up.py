"""When the API server counts as ready."""

from __future__ import annotations

from typing import Any, cast

import pytest

from harness.cluster.kube import ApiError, Kube
from harness.model.wellknown import EMULATED
from harness.steps.up import LATE_HOOKS, api_ready


class Starting:
    """An API server whose hooks are still at work; `exclude` is that of apiserver/pkg/server/healthz."""

    def __init__(self, *pending: str) -> None:
        self.pending = {f"poststarthook/{one}" for one in pending}
        self.namespaces = True

    def get(self, version: str, kind: str, name: str) -> Any:
        assert (version, kind, name) == ("v1", "Namespace", "kube-system")
        return {} if self.namespaces else None

    def raw(self, method: str, path: str, *, timeout: float) -> Any:
        assert (method, timeout > 0) == ("GET", True)
        place, _, query = path.partition("?")
        assert place == "/readyz"
        excluded = {word.removeprefix("exclude=") for word in query.split("&")}
        if self.pending - excluded:
            raise ApiError(500, "GET /readyz: the API server answered 500", "")
        return "ok"


def ready(*pending: str) -> bool:
    return api_ready(cast("Kube", Starting(*pending)))


def test_an_administrator_does_not_wait_for_roles() -> None:
    assert ready()
    assert ready(*LATE_HOOKS)
    assert not ready("start-service-ip-repair-controllers")
    assert not ready(*LATE_HOOKS, "crd-informer-synced")


def test_namespaces_of_the_system_are_made_before_anything_goes_there() -> None:
    server = Starting()
    server.namespaces = False
    assert not api_ready(cast("Kube", server))


def test_on_an_emulated_processor_all_must_be_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATED, "1")
    assert ready()
    assert not ready(LATE_HOOKS[0])
