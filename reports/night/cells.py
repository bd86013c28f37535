"""One run of the night: what it was, what it found, and the line that the history keeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

from harness.model.run import RunInfo
from harness.model.spec import Provider
from reports.model import Headline, LabCard, Requirement, Requirements
from reports.night.history import Entry
from reports.panels.causes import first
from reports.panels.labs import labs
from reports.panels.requirements import requirements
from reports.panels.timeline import timeline
from reports.panels.verdict import kubernetes_version, trouble, verdict
from reports.source import Source
from reports.text import Ids, shorten, unique

_PROVIDERS: Final = get_args(Provider)
_SENTENCE: Final = 200


@dataclass(frozen=True)
class Run:
    """A run directory as input.

    Args:
        source: Its records.
        href: Its page, relative to the night's; empty where there is none.
        problem: Why there is none.
    """

    source: Source
    href: str
    problem: str = ""


@dataclass(frozen=True)
class Planned:
    """A cell that was to run.

    Args:
        id: In the matrix; also the lab's name.
        key: As that of its history.
        name: For people.
        reason: Why there may be no run of it.
    """

    id: str
    key: str
    name: str
    reason: str


@dataclass(frozen=True)
class Cell:
    """A run, read and judged.

    Args:
        key: Provider, kernel, variant, Kubernetes minor and nodes: what its history is kept under.
        name: For people.
        href: Its page; empty where there is none.
        info: `run.json`.
        verdict: As of its own page.
        requirements: By id.
        areas: The same by area.
        labs: By id.
        entry: Its line of the history.
        cause: The first thing that is wrong; empty where nothing is, or nothing explains it.
        problems: What could not be read.
    """

    key: str
    name: str
    href: str
    info: RunInfo
    verdict: Headline
    requirements: dict[str, Requirement]
    areas: Requirements | None
    labs: dict[str, LabCard]
    entry: Entry
    cause: str
    problems: tuple[str, ...]

    def link(self, fragment: str) -> str:
        """A place on its page; empty without a page."""
        return f"{self.href}#{fragment}" if self.href else ""


def read(run: Run) -> Cell:
    """Read a run directory, whole or partial."""
    source = run.source
    info = source.info
    ids = Ids()
    table = requirements(source.results, ids)
    cards = labs(source.lab_steps, source.events, ids)
    found = verdict(source, table, cards, trouble(source))
    by_id = {item.id: item for area in table.areas for item in area.requirements} if table else {}
    families = str(info.spec.get("ipFamily") or USUAL)
    key = key_of(info.provider, kernel_of(info), info.variant, kubernetes_version(info), info.nodes, families)
    return Cell(
        key=key,
        name=name_of(info.provider, kernel_of(info), info.variant, families),
        href=run.href,
        info=info,
        verdict=found,
        requirements=by_id,
        areas=table,
        labs={card.id: card for card in cards},
        entry=_entry(key, source, found, by_id, cards),
        cause=shorten(first(source.causes), _SENTENCE),
        problems=(*source.problems, *([run.problem] if run.problem else [])),
    )


def kernel_of(info: RunInfo) -> str:
    """The kernel that the spec asked for; older runs knew only the machine's own."""
    kernel = info.spec.get("kernel", "host")
    return kernel if isinstance(kernel, str) else "host"


USUAL: Final = "ipv4"
"""IP families of a cluster that go without saying; older runs knew no others."""

_FAMILIES: Final = {"dual": "dual stack", "ipv6": "IPv6 alone"}


def key_of(provider: str, kernel: str, variant: str, kubernetes: str, nodes: int, families: str = USUAL) -> str:
    """`namespaces/host/flannel/1.34/2`, `namespaces/host/flannel/dual/1.34/2`."""
    minor = ".".join(kubernetes.removeprefix("v").split(".")[:2])
    unusual = "" if families == USUAL else f"{families}/"
    return f"{provider}/{kernel}/{variant}/{unusual}{minor}/{nodes}"


def name_of(provider: str, kernel: str, variant: str, families: str = USUAL) -> str:
    """`flannel`, `flannel on kind`, `weave under debian`, `flannel, dual stack`: what is usual goes without saying."""
    where = "" if provider in ("namespaces", "") else f" on {provider}"
    under = "" if kernel in ("host", "") else f" under {kernel}"
    has = "" if families == USUAL else f", {_FAMILIES.get(families, families)}"
    return f"{variant}{where}{under}{has}"


def told_apart(names: Sequence[tuple[str, str]]) -> list[str]:
    """Names with what else tells their cells apart, where several have the same one.

    Args:
        names: Names and keys.
    """
    short = [name for name, _ in names]
    result = []
    for name, key in names:
        if short.count(name) == 1:
            result.append(name)
            continue
        *_, minor, nodes = key.split("/")
        result.append(f"{name}, {nodes} nodes, Kubernetes {minor}")
    return result


def rank(key: str) -> tuple[int, str, str]:
    """Sort key: usual providers and kernels first, then by name."""
    provider, kernel, rest = (*key.split("/", 2), "", "")[:3]
    place = _PROVIDERS.index(provider) if provider in _PROVIDERS else len(_PROVIDERS)
    return place, "" if kernel == "host" else kernel, rest


def status_of(item: Requirement) -> str:
    """A requirement's status as the history keeps it."""
    if item.status == "fail" and item.level != "MUST":
        return "advice"
    return "flaky" if item.flaky and item.status == "pass" else item.status


def _entry(
    key: str, source: Source, found: Headline, table: dict[str, Requirement], cards: tuple[LabCard, ...]
) -> Entry:
    status = {name: status_of(item) for name, item in table.items()}
    status |= {f"lab:{card.id}": card.status for card in cards}
    judged = [one for one in table.values() if one.level != "RECORD" and one.status in ("pass", "fail", "error")]
    return Entry(
        id=source.info.id,
        key=key,
        started=source.info.started,
        seconds=found.seconds,
        tone=found.tone,
        sentence=shorten(found.sentence, _SENTENCE),
        held=sum(one.status == "pass" for one in judged),
        judged=len(judged),
        verdicts={
            word: tuple(sorted(name for name, one in status.items() if one == word)) for word in unique(status.values())
        },
        pins=_pins(source.info),
        phases=_phases(source),
    )


def _pins(info: RunInfo) -> dict[str, str]:
    """Versions of all that a run is made of; with the digest, because a version may be built anew."""
    pins = {
        pin.name: f"{pin.version} {pin.digest.removeprefix('sha256:')[:12]}".strip()
        for pin in sorted(info.pins, key=lambda pin: pin.name)
    }
    own = {"the machine's kernel": info.host.get("kernel", ""), "cnilab": info.version}
    return {**{name: version for name, version in own.items() if version}, **pins}


def _phases(source: Source) -> dict[str, float]:
    drawn = timeline(source.events)
    spans = (
        {name: (min(b.start for b in bars), max(b.end for b in bars)) for name, bars in drawn.phases} if drawn else {}
    )
    return {name: round(end - start, 1) for name, (start, end) in spans.items()}
