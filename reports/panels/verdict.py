"""The banner: one sentence that says whether the network, a recommendation, or the cluster itself is at fault."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import PurePath

from harness.model.records import Event
from harness.model.run import RunInfo
from reports.model import Count, Headline, LabCard, LogTail, Requirement, Requirements, Tone, Trouble
from reports.source import Source
from reports.text import listing, plural

_TAILS = 6

_FAMILIES = {"dual": "IPv4 and IPv6", "ipv6": "IPv6 alone"}
"""IPv4 alone goes without saying: so it was in all runs that do not know of families."""


def moment(text: str) -> datetime | None:
    """An RFC 3339 moment; None when it is not one."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def elapsed(start: str, end: str) -> float | None:
    """Seconds between two RFC 3339 moments, as far as both are known."""
    one, other = moment(start), moment(end)
    return (other - one).total_seconds() if one and other else None


def subject(info: RunInfo) -> str:
    """`flannel 0.28.10 on Kubernetes 1.34.4 (namespaces, IPv4 and IPv6)`, and where that is not the pinned version."""
    chosen = str(info.spec.get("cniVersion", "") or "")
    versions = (
        [f"{chosen} (not the pinned version)"]
        if chosen
        else [
            pin.version.removeprefix("v")
            for pin in info.pins
            if info.variant == pin.name or info.variant.startswith(f"{pin.name}-")
        ]
    )
    network = f"{info.variant} {versions[0]}" if versions else info.variant
    kubernetes = f" on Kubernetes {kubernetes_version(info)}" if info.kubernetes else ""
    families = _FAMILIES.get(str(info.spec.get("ipFamily") or ""), "")
    return f"{network}{kubernetes} ({', '.join(filter(None, (info.provider, families)))})"


def kubernetes_version(info: RunInfo) -> str:
    """The pinned `1.34.4` where the spec only says `1.34`."""
    asked = info.kubernetes.removeprefix("v")
    pinned = (pin.version.removeprefix("v") for pin in info.pins if pin.name == "kubernetes")
    return next((version for version in pinned if f"{version}.".startswith(f"{asked}.")), asked)


def trouble(source: Source) -> Trouble | None:
    """Why the cluster itself failed; None when it did not."""
    facts = source.info.failure
    failed = _failed_step(source.events)
    if not facts and (failed is None or source.results):
        return None
    error = str(failed.detail.get("error", "")) if failed else ""
    first, _, rest = error.partition("\n")
    log = facts.get("log", "")
    step = failed.step if failed else facts.get("step", "")
    return Trouble(
        what=facts.get("what") or (f"{failed.title or failed.step}: {first}" if failed else "the cluster failed"),
        step=f"{failed.title} ({step})" if failed and failed.title else step,
        cause=facts.get("cause") or rest.strip(),
        where=facts.get("where", ""),
        next_step=facts.get("next_step") or facts.get("next", ""),
        log=log,
        tails=_tails(source, log, f"{step} {' '.join(facts.values())} {error}"),
    )


def _failed_step(events: list[Event]) -> Event | None:
    """The innermost step that failed first: steps around it fail after it, because of it."""
    failed = [event for event in events if event.state == "failed"]
    return failed[0] if failed else None


def _tails(source: Source, log: str, story: str) -> tuple[LogTail, ...]:
    """The named log first, then logs whose node or program the story mentions, then the others."""

    def rank(name: str) -> tuple[bool, int, str]:
        path = PurePath(name)
        named = bool(log) and (log.endswith(name) or path.name == PurePath(log).name)
        return (not named, -sum(word in story for word in (*path.parts[1:-1], path.stem)), name)

    names = sorted(source.files("logs"), key=rank)
    tails = (LogTail(name, source.log_tail(name)) for name in names)
    return tuple([tail for tail in tails if tail.text][:_TAILS])


def verdict(
    source: Source, requirements: Requirements | None, labs: tuple[LabCard, ...], problem: Trouble | None
) -> Headline:
    """The banner of a run.

    Args:
        source: The run.
        requirements: The requirement table, if anything was judged.
        labs: The labs that were applied.
        problem: Why the cluster failed, if it did.
    """
    info = source.info
    items = [item for area in requirements.areas for item in area.requirements] if requirements else []
    tone, sentence = _sentence(items, labs, problem)
    last = info.finished or (source.events[-1].at if source.events else "")
    return Headline(
        tone=tone,
        subject=subject(info),
        sentence=sentence,
        detail=_detail(source, items, labs, problem),
        counts=_counts(items, labs),
        run_id=info.id,
        started=info.started,
        seconds=elapsed(info.started, last),
        reproduce=info.reproduce,
    )


def _judged(items: list[Requirement]) -> list[Requirement]:
    return [item for item in items if item.level != "RECORD" and item.status in ("pass", "fail", "error")]


def _sentence(items: list[Requirement], labs: tuple[LabCard, ...], problem: Trouble | None) -> tuple[Tone, str]:
    judged = _judged(items)
    status = Counter((item.level if item.status == "fail" else "", item.status) for item in items)
    held = sum(item.status == "pass" for item in judged)
    broken_labs = [lab for lab in labs if lab.mark.tone == "bad"]
    if problem is not None:
        return "lab", "the cluster failed before the network could be judged" if not judged else "the cluster failed"
    if not judged and not labs:
        return "muted", "no check was judged yet"
    parts = [_first(held, len(judged), labs)]
    if failed := status["MUST", "fail"]:
        parts.append(f"{failed} {'fails' if failed == 1 else 'fail'}")
    if advice := status["SHOULD", "fail"]:
        parts.append(f"{plural(advice, 'recommendation')} not met")
    if errors := sum(count for (_, name), count in status.items() if name == "error"):
        parts.append(f"no verdict on {errors}")
    if broken_labs:
        parts.append(f"{plural(len(broken_labs), 'lab')} not as expected")
    tone: Tone = "good"
    if failed or broken_labs:
        tone = "bad"
    elif errors:
        tone = "lab"
    elif advice or any(item.flaky for item in items):
        tone = "warn"
    return tone, ", ".join(parts)


def _first(held: int, judged: int, labs: tuple[LabCard, ...]) -> str:
    """The sentence's beginning: of a run without the suite its labs, of any other its requirements."""
    if judged:
        return f"{held} of {plural(judged, 'requirement')} {'holds' if judged == 1 else 'hold'}"
    ran = [lab for lab in labs if lab.status != "skip"]
    return f"{sum(lab.mark.tone in ('good', 'note') for lab in ran)} of {plural(len(ran), 'lab')} as expected"


def _detail(source: Source, items: list[Requirement], labs: tuple[LabCard, ...], problem: Trouble | None) -> str:
    if problem is not None:
        return problem.what
    work = [
        plural(count, one, many)
        for count, one, many in (
            (len(source.exchanges), "exchange", ""),
            (len(source.rungs), "sized datagram", ""),
            (len(source.lookups), "DNS lookup", ""),
            (len(source.taps), "capture", ""),
            (sum(len(lab.steps) for lab in labs), "lab step", ""),
            (len(source.dumps), "kernel and API dump", ""),
        )
        if count
    ]
    nodes = f"on {plural(source.info.nodes, 'node')}" if source.info.nodes else ""
    judged = f"Judged from {listing(work)} {nodes}.".replace(" .", ".") if work else ""
    earlier = [item.earlier for item in items if item.earlier]
    if not earlier:
        return judged
    since = f"{plural(len(earlier), 'verdict')} {'is' if len(earlier) == 1 else 'are'} of an earlier test"
    return f"{judged} {since}, the oldest of {min(earlier)}.".strip()


def _counts(items: list[Requirement], labs: tuple[LabCard, ...]) -> tuple[Count, ...]:
    status = Counter(item.status for item in items)
    records = sum(item.status == "pass" and item.level == "RECORD" for item in items)
    must_fail = sum(item.status == "fail" and item.level == "MUST" for item in items)
    counts: list[tuple[int, str, Tone]] = [
        (status["pass"] - records, "hold", "good"),
        (must_fail, "fail", "bad"),
        (status["fail"] - must_fail, "recommended, not met", "warn"),
        (status["error"], "no verdict", "lab"),
        (sum(item.flaky for item in items), "flaky", "warn"),
        (records, "recorded", "muted"),
        (status["skip"], "skipped", "muted"),
        (status["not-applicable"], "not applicable", "muted"),
    ]
    shown = [Count(f"{number:,}", label, tone) for number, label, tone in counts if number]
    if labs:
        ran = [lab for lab in labs if lab.status != "skip"]
        good = sum(lab.mark.tone in ("good", "note") for lab in ran)
        shown.append(Count(f"{good}/{len(ran)}", "labs as expected", "good" if good == len(ran) else "bad"))
    return tuple(shown)
