"""Writes digests of releases into the lock: published checksums, fetched once by whoever maintains it.

The lock is changed as a text, so that its comments and its order stay.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from harness.components.lock import ARCHITECTURES, Artefact, Component, Lock
from harness.components.sources.download import BadDownloadError
from harness.components.sources.release import published

Digests = dict[tuple[str, int], dict[str, dict[str, str]]]
"""Component and number of the artefact to digests by version, the default one without name, and by architecture."""

DEFAULT = ""

_HEADING = re.compile(r"^\[\[?([^\]]+)\]\]?\s*$")
_KEY = re.compile(r"^(\w+)\s*=")
_OURS = ("digests", "others")
"""Keys that are written here."""


@dataclass(frozen=True)
class Outcome:
    """What became of one artefact for one architecture.

    Args:
        component: Its name.
        url: Of the file.
        digest: Published; empty when there is none.
        before: What the lock says by now.
        problem: Why there is none.
    """

    component: str
    url: str
    digest: str
    before: str
    problem: str = ""

    @property
    def action(self) -> str:
        """`pin`, `keep`, `change`: the same version with another digest is no good sign; or `fail`."""
        if not self.digest:
            return "fail"
        return "pin" if not self.before else "keep" if self.before == self.digest else "change"


def look(
    lock: Lock, names: Collection[str], fetch: Callable[[str, str], str] = published
) -> tuple[Digests, list[Outcome]]:
    """Fetch what is published of releases.

    Args:
        lock: As loaded.
        names: Components; empty: all that have a release.
        fetch: Checksum of a file, by the URLs of the checksums and of the file.
    """
    digests: Digests = {}
    outcomes: list[Outcome] = []
    for component in (lock.find(name) for name in names or lock.component):
        for number, artefact in enumerate(component.release.artefacts if component.release else ()):
            place = digests.setdefault((component.name, number), {})
            for version in (DEFAULT, *component.minors.values()):
                seen = list(_artefact(component, artefact, version, fetch))
                outcomes += seen
                found = {arch: one.digest for arch, one in zip(ARCHITECTURES.values(), seen, strict=True) if one.digest}
                place[version] = {**_pinned(artefact, version), **found}
    return digests, outcomes


def _artefact(
    component: Component, artefact: Artefact, version: str, fetch: Callable[[str, str], str]
) -> Iterator[Outcome]:
    named = version or (component.release.version if component.release else "")
    for arch in ARCHITECTURES.values():
        url, checksum = (component.fill(text, named, arch) for text in (artefact.url, artefact.checksum))
        before = _pinned(artefact, version)
        try:
            yield Outcome(component.name, url, fetch(checksum, url), before.get(arch, ""))
        except (BadDownloadError, OSError, http.client.HTTPException) as error:
            yield Outcome(component.name, url, "", before.get(arch, ""), f"{checksum}: {error}")


def _pinned(artefact: Artefact, version: str) -> dict[str, str]:
    return {str(arch): digest for arch, digest in artefact.pinned(version, DEFAULT).items()}


def written(text: str, digests: Digests) -> str:
    """The lock's text with digests: lines below each artefact's checksum, in place of those that are there.

    Args:
        text: As it is.
        digests: As `look` found them; artefacts that are not among them stay as they are.
    """
    lines: list[str] = []
    place: tuple[str, int] = ("", -1)
    for line in text.splitlines(keepends=True):
        if heading := _HEADING.match(line):
            place = _next(place, heading[1].split("."))
        key = _KEY.match(line)
        if key and key[1] in _OURS and place in digests:
            continue
        lines.append(line)
        if key and key[1] == "checksum" and place in digests:
            lines += _lines(digests[place])
    return "".join(lines)


def _lines(known: dict[str, dict[str, str]]) -> Iterator[str]:
    if mine := known.get(DEFAULT):
        yield f"digests = {_table(mine)}\n"
    if others := {version: found for version, found in known.items() if version and found}:
        pairs = ", ".join(f'"{version}" = {_table(found)}' for version, found in others.items())
        yield f"others = {{ {pairs} }}\n"


def _table(found: dict[str, str]) -> str:
    pairs = ", ".join(f'{arch} = "{digest}"' for arch, digest in sorted(found.items()))
    return f"{{ {pairs} }}"


def _next(place: tuple[str, int], words: list[str]) -> tuple[str, int]:
    """Which artefact begins below a heading; none below most of them."""
    if len(words) == 4 and words[0] == "component" and words[2:] == ["release", "artefacts"]:
        return words[1], place[1] + 1 if place[0] == words[1] else 0
    if len(words) >= 2 and words[:2] == ["component", place[0]]:
        return place
    return "", -1
