from __future__ import annotations

from datetime import date

import pytest

from harness.components.kubernetes import unsupported, versions, with_kubernetes
from harness.components.lock import Component, Lock, load
from harness.errors import UsageError


@pytest.fixture(scope="module")
def lock() -> Lock:
    return load()


def default(lock: Lock) -> str:
    return next(iter(versions(lock).values()))


def test_the_default_version_needs_no_other_lock(lock: Lock) -> None:
    full = default(lock)
    assert with_kubernetes(lock, full) is lock
    assert with_kubernetes(lock, full.rpartition(".")[0]) is lock


@pytest.mark.parametrize("minor", ["1.34", "1.35", "1.36"])
def test_another_pinned_version_is_built_from_pins_of_its_own(lock: Lock, minor: str) -> None:
    full = versions(lock)[minor]
    for wanted in (minor, full):
        found = with_kubernetes(lock, wanted).component
        for name in ("kubernetes", "kubeadm", "etcd-kubeadm"):
            build = found[name].build
            assert build is not None
            assert build.modfile == f"{minor}.mod"
        assert found["kubernetes"].version == found["kubeadm"].version == full
        assert found["flannel"] == lock.component["flannel"]


def test_any_other_version_in_full_comes_from_its_release_only(lock: Lock) -> None:
    for name in ("kubernetes", "kubeadm"):
        component = with_kubernetes(lock, "1.33.1").component[name]
        assert component.build is None
        assert component.release is not None
        assert "/v1.33.1/" in component.fill(component.release.artefacts[0].url)
    assert lock.component["kubernetes"].version == default(lock)


def test_another_patch_of_a_pinned_minor_keeps_what_fits_that_minor(lock: Lock) -> None:
    found = with_kubernetes(lock, "1.36.0").component
    assert found["kubernetes"].build is None
    assert found["etcd-kubeadm"].version == lock.component["etcd-kubeadm"].minors["1.36"]


def test_a_minor_version_that_is_not_pinned_does_not_name_a_patch(lock: Lock) -> None:
    with pytest.raises(UsageError, match=r"Kubernetes 1\.33 is not pinned") as caught:
        with_kubernetes(lock, "1.33")
    assert "1.33.0" in caught.value.next_step
    assert all(minor in caught.value.next_step for minor in versions(lock))


@pytest.mark.parametrize(
    ("wanted", "accepted"),
    [("1.37", ">=2"), ("1.36", ">=2"), ("1.35", ">=1.6"), ("1.34", ">=1.6"), ("1.30.1", ">=1.6")],
)
def test_older_versions_are_content_with_older_programs_of_the_distribution(
    lock: Lock, wanted: str, accepted: str
) -> None:
    assert with_kubernetes(lock, wanted).component["containerd"].accept.startswith(accepted)


@pytest.mark.parametrize(
    ("wanted", "today", "out"),
    [
        ("1.34", "2026-10-27", False),
        ("1.34", "2026-10-28", True),
        ("1.34.4", "2026-10-28", True),
        ("1.20.1", "2026-10-28", True),
        ("1.99", "2036-01-01", False),
    ],
)
def test_a_version_is_out_of_support_the_day_after_its_last(wanted: str, today: str, out: bool) -> None:
    component = Component.model_validate(
        {
            "name": "kubernetes",
            "summary": "",
            "version": "1.37.2",
            "kind": "bin",
            "system": {"programs": {}},
            "end_of_life": {"1.33": date(2026, 6, 28), "1.34": date(2026, 10, 27)},
        }
    )
    lock = Lock.model_validate({"schema": 1, "component": {"kubernetes": component.model_dump()}})
    assert bool(unsupported(lock, wanted, date.fromisoformat(today))) is out


def test_the_end_of_every_pinned_version_is_known(lock: Lock) -> None:
    assert set(versions(lock)) <= set(lock.component["kubernetes"].end_of_life)


def test_what_is_out_of_support_is_said_with_the_day(lock: Lock) -> None:
    text = unsupported(lock, "1.34.4", date(2026, 11, 1))
    assert text == "Kubernetes 1.34 is out of support since 2026-10-27"


@pytest.mark.parametrize("wanted", ["1.36", "1.31.0"])
def test_another_version_of_kubernetes_has_no_digest_of_this_one(wanted: str) -> None:
    lock = load()
    pinned = lock.component["kubernetes"]
    assert pinned.release
    artefacts = tuple(one.model_copy(update={"digests": {"amd64": "0" * 64}}) for one in pinned.release.artefacts)
    release = pinned.release.model_copy(update={"artefacts": artefacts})
    full = {**lock.component, "kubernetes": pinned.model_copy(update={"release": release})}
    other = with_kubernetes(lock.model_copy(update={"component": full}), wanted).component["kubernetes"]
    assert other.release
    assert [one.digests for one in other.release.artefacts] == [{}] * len(artefacts)
