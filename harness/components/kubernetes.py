"""The lock for one version of Kubernetes: the default one, another pinned minor version, or any release. Pure.

A minor version that is pinned beside the default has dependencies of its own: `1.36.mod` beside `go.mod`, and the same
sources. Components that depend on Kubernetes' version, as kubeadm and its etcd, say so in the lock (`minors`).
"""

from __future__ import annotations

from datetime import date

from harness.components.lock import Component, Lock
from harness.errors import UsageError

NAME = "kubernetes"


def minor_of(version: str) -> str:
    """`1.37` of `1.37` or `1.37.2`."""
    return ".".join(version.split(".")[:2])


def number(minor: str) -> int:
    """37 of `1.37`: by this minor versions are older and newer."""
    return int(minor.split(".")[1])


def versions(lock: Lock) -> dict[str, str]:
    """Full version of every pinned minor version, newest first; the default is among them."""
    component = lock.component.get(NAME)
    known = {minor_of(component.version): component.version, **component.minors} if component else {}
    return dict(sorted(known.items(), key=lambda item: -number(item[0])))


def with_kubernetes(lock: Lock, wanted: str) -> Lock:
    """The lock for another version of Kubernetes.

    Versions that are not pinned can only come as releases: a Go module pins the dependencies of exactly one version.

    Args:
        lock: As loaded.
        wanted: `1.36` or `1.36.3`.

    Raises:
        UsageError: A minor version that is not pinned, which says nothing about the patch.
    """
    pinned = versions(lock)
    minor = minor_of(wanted)
    if lock.component[NAME].version == pinned.get(minor) and wanted in {minor, pinned[minor]}:
        return lock
    if wanted in {minor, pinned.get(minor)} and minor in pinned:
        return _replaced(lock, {name: _pinned_for(one, minor) for name, one in lock.component.items()})
    if wanted == minor:
        msg = f"Kubernetes {wanted} is not pinned"
        raise UsageError(
            msg,
            where="spec.kubernetes.version",
            next_step=f"use {_either(pinned)}, or a full version, such as {wanted}.0, to download its release",
        )
    return _replaced(lock, {name: _released(lock, one, wanted) for name, one in lock.component.items()})


def _either(pinned: dict[str, str]) -> str:
    *others, last = pinned
    return f"{', '.join(others)} or {last}" if others else last


def _replaced(lock: Lock, components: dict[str, Component]) -> Lock:
    return lock.model_copy(update={"component": components})


def _pinned_for(component: Component, minor: str) -> Component:
    """A component as it is pinned for that minor version; itself when it does not depend on it."""
    changes: dict[str, object] = {"accept": _accepted(component, minor)}
    if minor in component.minors:
        component = component.of_version(component.minors[minor])
        if component.build:
            changes["build"] = component.build.model_copy(update={"modfile": f"{minor}.mod"})
    return component.model_copy(update=changes)


def _released(lock: Lock, component: Component, wanted: str) -> Component:
    """A component for a version that only its release can deliver."""
    minor = minor_of(wanted)
    if component.minors and component.version == lock.component[NAME].version:
        return component.of_version(wanted).model_copy(update={"build": None})
    return _pinned_for(component, minor)


def _accepted(component: Component, minor: str) -> str:
    """Which versions do beside that minor version: older ones of Kubernetes are content with older programs."""
    limits = sorted(component.accept_until, key=number)
    fitting = (component.accept_until[limit] for limit in limits if number(minor) <= number(limit))
    return next(fitting, component.accept)


def unsupported(lock: Lock, wanted: str, today: date) -> str:
    """Why nobody mends this version of Kubernetes any more; empty when somebody does, or when nothing is known.

    Args:
        lock: Has the days on which minor versions end.
        wanted: Minor or full version.
        today: By the clock.
    """
    minor = minor_of(wanted)
    ends = lock.component[NAME].end_of_life
    known = min(ends, key=number, default="")
    if known and number(minor) < number(known):
        return f"Kubernetes {minor} is out of support: {known} is, since {ends[known]}" if ends[known] < today else ""
    end = ends.get(minor)
    return f"Kubernetes {minor} is out of support since {end}" if end is not None and end < today else ""
