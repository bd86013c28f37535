from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import PreflightError
from harness.model.spec import BARE, LabSpec
from harness.providers import limits
from harness.providers.namespaces import create, provider, state
from harness.providers.namespaces.layout import LabLayout

AMPLE = {limits.INOTIFY: 8192, limits.NEIGHBOURS: 65536}


def test_a_machine_with_default_limits_has_room_for_ten_nodes() -> None:
    assert limits.shortages(LabSpec(nodes=10), {limits.INOTIFY: 128, limits.NEIGHBOURS: 1024}, {}) == []


def test_what_others_take_counts() -> None:
    (short,) = limits.shortages(LabSpec(nodes=10), {**AMPLE, limits.INOTIFY: 128}, {limits.INOTIFY: 60})
    assert str(short) == "fs.inotify.max_user_instances is 128; 60 are in use, and the cluster needs about 95"
    assert short.target == 256


def test_machines_without_kubernetes_come_up_where_no_more_cluster_does() -> None:
    assert limits.shortages(LabSpec(cni=BARE), {limits.INOTIFY: 128, limits.NEIGHBOURS: 8}, {limits.INOTIFY: 128}) == []


def test_a_limit_that_the_kernel_lacks_is_no_shortage() -> None:
    assert limits.shortages(LabSpec(nodes=20), {}, {}) == []


def test_a_shortage_is_refused_unless_raising_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "read", {**AMPLE, limits.INOTIFY: 16}.get)
    monkeypatch.setattr(limits, "inotify_instances", lambda: 0)
    with pytest.raises(PreflightError) as caught:
        limits.raises(LabSpec(), allowed=False)
    assert "sysctl -w fs.inotify.max_user_instances=32" in str(caught.value)
    assert limits.raises(LabSpec(), allowed=True) == {limits.INOTIFY: 32}


def test_limits_go_back_when_the_last_lab_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = {**AMPLE, limits.INOTIFY: 16}
    monkeypatch.setattr(limits, "read", machine.get)
    monkeypatch.setattr(limits, "write", machine.__setitem__)
    monkeypatch.setattr(limits, "inotify_instances", lambda: 0)
    one, two = LabLayout(tmp_path, "one"), LabLayout(tmp_path, "two")
    create.claim(one, LabSpec(name="one"), None, raise_limits=True)
    assert machine[limits.INOTIFY] == 32
    create.claim(two, LabSpec(name="two", nodes=1), None)
    provider.delete(one)
    assert machine[limits.INOTIFY] == 32, "the other lab may need it"
    inherited = state.read(two)
    assert inherited is not None
    assert inherited.raised == {limits.INOTIFY: 16}
    provider.delete(two)
    assert machine[limits.INOTIFY] == 16
