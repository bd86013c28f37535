"""Every program of a lab, from the first source that can deliver it.

<cache>/components/<name>/<key>/  delivered components, see `entry`
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.components import elf
from harness.components import entry as entries
from harness.components.apt import Apt
from harness.components.cache import Cache
from harness.components.entry import Entry
from harness.components.installed import Installed
from harness.components.lock import Component, Lock, architecture, load
from harness.components.sources.base import CancelledError, Delivered, Desk, Refused, Source
from harness.components.sources.build import BuildSource, source_digest
from harness.components.sources.package import PackageSource
from harness.components.sources.release import ReleaseSource
from harness.components.sources.system import SystemSource
from harness.components.tools import Tools, offline
from harness.errors import CnilabError, PreflightError, UsageError
from harness.model.journal import Journal, now
from harness.model.run import Pin
from harness.runner import HostRunner, Runner

DEFAULT_SOURCES = ("cache", "system", "package", "release", "build")
"""First hit wins. Packages come before releases: signed by the distribution, small, and near."""

NETWORK_SOURCES = frozenset({"package", "release"})
"""Left out with CNILAB_OFFLINE=1. A build may still find its modules in Go's own cache."""

OF_MODULES = frozenset({"cache", "build"})
"""Those that know Go modules."""

AT_ONCE = 16
"""Components at the same time; downloads mostly wait, and builds have a limit of their own."""

NOTE_EVERY = 15.0

_UNSAID: Any = {
    "summary": True,
    "minors": True,
    "accept_until": True,
    "end_of_life": True,
    "published": True,
    "build": {"seconds", "upstream"},
    "release": {"artefacts": {"__all__": {"digests", "others"}}},
}
"""Neither the words about a component, nor other versions, nor the guess how long it takes change what it is."""


@dataclass(frozen=True)
class Resolved:
    """A component that is there.

    Args:
        name: As in the lock.
        version: As found.
        source: `system`, `package`, `release` or `build`: where it came from in the first place.
        path: The program, when the component is one; else the directory with all of them.
        digest: SHA-256 of the program, or over the list of all with theirs.
        directory: Directory with the component's programs.
        files: Their names.
    """

    name: str
    version: str
    source: str
    path: Path
    digest: str
    directory: Path
    files: tuple[str, ...]


def default_sources() -> tuple[str, ...]:
    """Sources in order: `$CNILAB_SOURCES`, separated by commas, or `DEFAULT_SOURCES`; without network when offline."""
    chosen = os.environ.get("CNILAB_SOURCES", "")
    names = tuple(filter(None, (name.strip() for name in chosen.split(",")))) or DEFAULT_SOURCES
    return tuple(name for name in names if name not in NETWORK_SOURCES) if offline() else names


class Resolver(Cache):
    """Delivers components, each fetched or built at most once.

    Args:
        cache: Where all is kept. May be shared by several cnilab processes at a time.
        sources: Names of sources in the order of trying; by default from the environment.
        journal: Gets a step per component that is not in the cache yet.
        lock: What is pinned; by default the project's `components.lock`.
        mirrors: URLs by the registries that they stand for; see `mirrors.parse`.
        runner: Runs programs on this machine.
    """

    def __init__(
        self,
        cache: Path,
        sources: tuple[str, ...] | None = None,
        journal: Journal | None = None,
        *,
        lock: Lock | None = None,
        mirrors: Mapping[str, str] = MappingProxyType({}),
        runner: Runner | None = None,
    ) -> None:
        super().__init__(cache)
        self.mirrors = mirrors
        self.journal = journal or Journal()
        self.lock = lock or load()
        self.runner = runner or HostRunner()
        self.installed = Installed(self.cache, self.runner)
        apt = Apt(self.runner, self.installed.add)
        self.tools = Tools(self.lock.tool, apt, lambda text: self.journal.note("components.tools", text))
        self.modules = BuildSource(self.tools.need, own=self)
        offers: dict[str, Source] = {
            source.name: source for source in (SystemSource(), PackageSource(apt), ReleaseSource(), self.modules)
        }
        names = default_sources() if sources is None else sources
        if unknown := [name for name in names if name not in offers and name != "cache"]:
            msg = f"no source of components is named {unknown[0]!r}"
            raise UsageError(msg, where="CNILAB_SOURCES", next_step=f"choose from: {', '.join(DEFAULT_SOURCES)}")
        self.sources = names
        self._offers = offers
        self._pins: dict[str, Pin] = {}

    def key(self, component: Component) -> str:
        """What the lock says about a component, its architecture, and the sources of its module, as a short hash.

        The Go version is not part of it: a cache carried to a machine without Go must still be of use.
        """
        text = component.model_dump_json(exclude=_UNSAID, exclude_defaults=True) + component.pinned + architecture()
        if component.build:
            text += source_digest(self.modules.modules / component.build.module, component.build.modfile)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def directory(self, component: Component) -> Path:
        """Where a component is, or will be, in the cache."""
        return self.cache / "components" / component.name / self.key(component)

    def ensure(self, names: Iterable[str]) -> dict[str, Resolved]:
        """Make components available.

        Args:
            names: Components, or programs that they deliver.

        Returns:
            By component name, in the order asked for.

        Raises:
            PreflightError: A component is not available; says what was tried and what to do. Or the cache cannot be
                written.
        """
        wanted = list({component.name: component for component in map(self.lock.find, names)}.values())
        found = {component.name: hit for component in wanted if (hit := self._cached(component))}
        missing = [component for component in wanted if component.name not in found]
        # Longest first: the longest build decides when all are there.
        builds = {component.name: component.build.seconds for component in missing if component.build}
        missing.sort(key=lambda component: -builds.get(component.name, 0))
        self.modules.turns.expect(builds)
        found |= self._obtain_all(missing)
        for item in found.values():
            self._pins[item.name] = Pin(
                name=item.name,
                version=item.version,
                source="module" if self.lock.component[item.name].module else item.source,
                digest=item.digest,
                edits=self.lock.component[item.name].edits,
            )
        return {component.name: found[component.name] for component in wanted}

    def cached(self, name: str) -> Resolved | None:
        """A component, if it is in the cache already."""
        return self._cached(self.lock.find(name))

    def pins(self) -> list[Pin]:
        """Everything that was delivered through this store so far, programs and images."""
        return [self._pins[name] for name in sorted(self._pins)]

    def add_pin(self, pin: Pin) -> None:
        """Record something made of components, such as an image."""
        self._pins[pin.name] = pin

    def _cached(self, component: Component) -> Resolved | None:
        directory = self.directory(component)
        entry = entries.read(directory)
        if entry is None or entries.stale(entry) or entries.damage(directory, entry):
            return None
        if "cache" not in self.sources and entry.source not in self.sources:
            return None
        return _resolved(directory, entry)

    def _obtain_all(self, missing: Sequence[Component]) -> dict[str, Resolved]:
        """Get several at a time. The first failure stops the others: an error after five minutes helps nobody."""
        cancelled = threading.Event()
        found: dict[str, Resolved] = {}
        failure: CnilabError | None = None
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="components") as pool:
            jobs = [pool.submit(self._obtain, component, cancelled) for component in missing]
            try:
                for job in as_completed(jobs):
                    try:
                        resolved = job.result()
                    except CnilabError as error:
                        cancelled.set()
                        failure = failure or error
                    else:
                        found[resolved.name] = resolved
            except BaseException:  # Ctrl-C above all: the pool waits for its threads, and they look at this
                cancelled.set()
                raise
        if failure:
            raise failure
        return found

    def _obtain(self, component: Component, cancelled: threading.Event) -> Resolved:
        """Get one component that was not in the cache a moment ago."""
        title = f"{component.name} {component.pinned}"
        say = self._speaker(f"components.{component.name}", component.name)
        with self.journal.step(f"components.{component.name}", title) as closing:
            try:
                with self.exclusive(f"component-{component.name}", say, cancelled) as scratch:
                    resolved = self._cached(component) or self._deliver(component, scratch, say, cancelled)
            finally:
                self.modules.turns.forget(component.name)
            closing.update(version=resolved.version, source=resolved.source)
        return resolved

    def _deliver(
        self, component: Component, scratch: Path, say: Callable[[str], None], cancelled: threading.Event
    ) -> Resolved:
        refusals: list[tuple[str, Refused]] = []
        # Of one that is a module's folders all other sources know nothing.
        for name in self.sources if not component.module else [one for one in self.sources if one in OF_MODULES]:
            if name == "cache":
                refusals.append((name, Refused("not cached yet")))
                continue
            if cancelled.is_set():
                msg = "stopped"
                raise CancelledError(msg)
            place = scratch / name
            (place / "scratch").mkdir(parents=True)
            (place / "entry" / "files").mkdir(parents=True)
            desk = Desk(place / "entry" / "files", place / "scratch", self.runner, say, cancelled)
            answer = self._offers[name].deliver(component, desk)
            if isinstance(answer, Delivered) and (foreign := _foreign(desk.files)):
                answer = Refused(foreign)
            if isinstance(answer, Delivered):
                return self._put_away(component, name, answer, place / "entry")
            if os.strerror(errno.ENOSPC).lower() in answer.reason.lower():
                raise OSError(errno.ENOSPC, answer.reason)  # the next source would fail as well, with a worse reason
            refusals.append((name, answer))
        raise nothing_worked(component, refusals)

    def _put_away(self, component: Component, source: str, delivered: Delivered, made: Path) -> Resolved:
        directory = self.directory(component)
        entry = Entry(
            name=component.name,
            key=directory.name,
            version=delivered.version,
            source=source,
            origin=delivered.origin,
            stored=now(),
            files=entries.describe(made / "files"),
            watch=entries.watch(delivered.watch),
        )
        entries.write(made, entry)
        self.publish(made, directory)
        return _resolved(directory, entry)

    def _speaker(self, step: str, what: str) -> Callable[[str], None]:
        """A function that passes on progress messages, seldom enough for a log: one in `NOTE_EVERY` seconds."""
        last = time.monotonic()

        def say(text: str) -> None:
            nonlocal last
            if time.monotonic() - last >= NOTE_EVERY:
                last = time.monotonic()
                self.journal.note(step, f"{what}: {text}")

        return say


def _foreign(files: Path) -> str:
    """Why delivered programs are of no use on this machine; empty when all are for it."""
    return next((found for path in sorted(files.iterdir()) if (found := elf.complaint(path))), "")


def _resolved(directory: Path, entry: Entry) -> Resolved:
    files = directory / "files"
    names = tuple(entry.files)
    path = files / names[0] if len(names) == 1 else files
    return Resolved(entry.name, entry.version, entry.source, path, entry.digest, files, names)


def nothing_worked(component: Component, refusals: Sequence[tuple[str, Refused]]) -> PreflightError:
    """The error that lists every source tried, its reason, and what to do."""
    remedies = list(dict.fromkeys(refused.remedy for _, refused in refusals if refused.remedy))
    other = "copy the cache of another machine: cnilab components export, then import"
    remedies.append(f"or {other}" if remedies else other)
    return PreflightError(
        f"{component.name} {component.pinned} ({component.summary}) is not available",
        cause="\n".join(f"{name}: {refused.reason}" for name, refused in refusals),
        where="spec.cniVersion" if component.module else "components.lock",
        next_step="\n".join(remedies),
    )
