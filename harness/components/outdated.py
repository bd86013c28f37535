"""What of the lock is behind: newer versions of pinned components and of Go, as Go's module proxy lists them.

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
from harness.components.lock import Component, GoPin, Lock, architecture
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
    """Ask for every component that names its module, and for Go.

    Args:
        lock: What is pinned.
        runner: Runs go.
        cache: May have a go, where the machine has none.
    """
    components = [one for one in lock.component.values() if one.build and one.build.upstream]
    modules = list(dict.fromkeys(one.build.upstream for one in components if one.build))
    modules += [toolchain.MODULE] if lock.go else []
    own = {} if which("go") else toolchain.variables(cache, lock.go)
    answers = ask(modules, runner, own)
    found = [age for one in components if one.build for age in judge(one, answers[one.build.upstream])]
    return [*found, *([judge_toolchain(lock.go, answers[toolchain.MODULE])] if lock.go else [])]


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
    releases = [match[1] for version in answer.versions if (match := _RELEASE.fullmatch(version))]
    module = component.build.upstream if component.build else ""
    found = [Age(name=component.name, pinned=component.pinned, state="unknown", module=module)]
    found += [found[0].model_copy(update={"minor": one, "pinned": pinned}) for one, pinned in component.minors.items()]
    return [_compared(age, releases, answer.reason) for age in found]


def judge_toolchain(pinned: GoPin, answer: Answer) -> Age:
    """The pinned Go against what there is for this machine's architecture; its releases are versions of one module.

    Args:
        pinned: What the lock says.
        answer: What the proxy said.
    """
    release = re.compile(rf"v0\.0\.1-go(\d+\.\d+\.\d+)\.linux-{architecture()}")
    releases = [match[1] for version in answer.versions if (match := release.fullmatch(version))]
    age = Age(name="go", pinned=pinned.version, state="unknown", module=toolchain.MODULE)
    return _compared(age, releases, answer.reason)


def _compared(age: Age, releases: Iterable[str], reason: str) -> Age:
    """With the newest of these; of another minor version than the default one, with the newest of that."""
    mine = [version for version in releases if not age.minor or minor_of(version) == age.minor]
    if not mine:
        return age.model_copy(update={"reason": reason or "no release is listed"})
    newest = max(mine, key=numbers)
    state = "behind" if numbers(newest) > numbers(age.pinned) else "current"
    return age.model_copy(update={"newest": newest, "state": state})
