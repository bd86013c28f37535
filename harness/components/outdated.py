"""What of the lock is behind: newer versions of pinned components, as Go's module proxy lists them.

What is not pinned by a module of its own name, or whose version somebody else chooses, as kubeadm's etcd, is not asked
for. Prereleases are not news.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from shutil import which
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from harness import timeouts
from harness.components.kubernetes import minor_of
from harness.components.lock import Component, Lock
from harness.components.sources import toolchain
from harness.components.tools import offline
from harness.components.versions import numbers
from harness.errors import CnilabError
from harness.model.base import Record
from harness.runner import Runner

_RELEASE = re.compile(r"v(\d+\.\d+\.\d+)")

_NO_MODULE = {"GOWORK": "off", "GOFLAGS": "-mod=mod"}
"""The question has nothing to do with a module or a workspace around the present directory."""


class Age(Record):
    """A pinned version, and the newest there is."""

    name: str
    minor: str = Field(default="", description="Where several are pinned; they are compared within it")
    pinned: str
    newest: str = Field(default="", description="Empty when it is not known")
    state: Literal["current", "behind", "unknown"]
    module: str
    reason: str = Field(default="", description="Why it is not known")


class Answer(Record):
    """What the proxy says of one module."""

    versions: tuple[str, ...] = ()
    reason: str = ""


def ages(lock: Lock, runner: Runner, cache: Path) -> list[Age]:
    """Ask for every component that names its module.

    Args:
        lock: What is pinned.
        runner: Runs go.
        cache: May have a go, where the machine has none.
    """
    components = [one for one in lock.component.values() if one.build and one.build.upstream]
    modules = list(dict.fromkeys(one.build.upstream for one in components if one.build))
    own = {} if which("go") else toolchain.variables(cache, lock.go)
    answers = ask(modules, runner, own)
    return [age for one in components if one.build for age in judge(one, answers[one.build.upstream])]


def ask(modules: Iterable[str], runner: Runner, way: Mapping[str, str] = MappingProxyType({})) -> dict[str, Answer]:
    """All versions of modules; or why they are not known.

    Args:
        modules: Their paths.
        runner: Runs go.
        way: Variables that lead to it, where it is not the machine's own.
    """
    wanted = list(modules)
    if offline():
        return dict.fromkeys(wanted, Answer(reason="CNILAB_OFFLINE is set: no question was sent"))
    argv = ("env", "-C", "/", "go", "list", "-m", "-e", "-versions", "-json", *wanted)
    try:
        done = runner.run(argv, env={**way, **_NO_MODULE}, timeout=timeouts.DOWNLOAD)
    except CnilabError as error:
        return dict.fromkeys(wanted, Answer(reason=error.cause or error.what))
    return {name: Answer(reason="go gives no information about it") for name in wanted} | _answers(done.stdout)


def _answers(text: str) -> dict[str, Answer]:
    """The documents that go printed one after the other."""
    decoder, found, position = json.JSONDecoder(), {}, 0
    while (position := text.find("{", position)) >= 0:
        document, position = decoder.raw_decode(text, position)
        found[document["Path"]] = _answer(document)
    return found


def _answer(document: Mapping[str, Any]) -> Answer:
    error = document.get("Error")
    if error:
        return Answer(reason=str(error.get("Err", error)))
    return Answer(versions=tuple(document.get("Versions") or ()))


def judge(component: Component, answer: Answer) -> list[Age]:
    """Every pinned version of a component against what there is. Pure.

    Args:
        component: Its default version is compared with all; those for other minor versions of Kubernetes within theirs.
        answer: What the proxy said.
    """
    found = [_age(component, component.pinned, "", answer)]
    return found + [_age(component, pinned, minor, answer) for minor, pinned in component.minors.items()]


def _age(component: Component, pinned: str, minor: str, answer: Answer) -> Age:
    module = component.build.upstream if component.build else ""
    releases = [match[1] for version in answer.versions if (match := _RELEASE.fullmatch(version))]
    mine = [version for version in releases if not minor or minor_of(version) == minor]
    if not mine:
        reason = answer.reason or "no release is listed"
        return Age(name=component.name, minor=minor, pinned=pinned, state="unknown", module=module, reason=reason)
    newest = max(mine, key=numbers)
    behind = numbers(newest) > numbers(pinned)
    state: Literal["behind", "current"] = "behind" if behind else "current"
    return Age(name=component.name, minor=minor, pinned=pinned, newest=newest, state=state, module=module)
