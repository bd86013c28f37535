"""NetworkPolicy: for every connection, what the API says and what was seen; what leaked comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness import yamlio
from harness.model.records import Dump, Exchange, Lookup, Observation, Result
from reports import marks
from reports.model import Cell, Mark, Policies, PolicyCase, PolicyProblem, PolicyTable
from reports.text import Ids, plural, port_of

MOST_PROBLEMS: Final = 60
_BATCH: Final = "B6"
_DNS: Final = "dns"
_ONLY_IF_SEEN: Final = (marks.IGNORED, marks.DEVIATION)


@dataclass(frozen=True, order=True)
class _Dial:
    """`x/a>y/b/tcp/8080`, taken apart."""

    src: str
    dst: str
    service: str

    @classmethod
    def read(cls, text: str) -> _Dial:
        ends, proto, port = text.rsplit("/", 2)
        src, _, dst = ends.partition(">")
        return cls(src, dst, f"{proto} {port}")


@dataclass(frozen=True)
class _Round:
    """What the API says of the dials of a round, and what was seen."""

    data: Mapping[str, Any]
    seen: Mapping[_Dial, Mark]
    why: Mapping[_Dial, str]


def policies(observations: list[Observation], results: Iterable[Result], ids: Ids) -> Policies | None:
    """The panel; None when no policy was tried.

    Args:
        observations: All of the run.
        results: Tell which requirements the variant declares not to meet.
        ids: Gives `policy-deny-ingress`.
    """
    record = next((one.data for one in reversed(observations) if isinstance(one, Dump) and one.batch == _BATCH), None)
    if not isinstance(record, dict) or not record.get("rounds"):
        return None
    enforced = bool(record["enforcing"])
    declared = {one.id for one in results if one.reason == "deviation"}
    told = [*record["rounds"], *([record["newcomer"]] if enforced else [])]
    rounds = [_round(data, observations, declared, enforced=enforced) for data in told]
    rounds = [one for one in rounds if one.seen]
    names = {row["name"]: _label(row) for row in record["endpoints"]}
    anchors = {case["id"]: ids.new("policy", case["id"]) for one in rounds for case in one.data["cases"]}
    problems = [found for one in rounds for found in _problems(one, anchors)] if enforced else []
    problems.sort(key=lambda found: found.mark is not marks.LEAK)
    counts = Counter(mark for one in rounds for mark in one.seen.values())
    return Policies(
        enforced=enforced,
        mark=_overall(counts, enforced=enforced),
        sentence=_sentence(counts, rounds, enforced=enforced),
        note=_note(rounds) if enforced else "",
        problems=tuple(problems[:MOST_PROBLEMS]),
        left_out=max(0, len(problems) - MOST_PROBLEMS),
        overview=None if enforced else _overview(rounds[0], record["endpoints"]),
        cases=tuple(
            _case(one, case, anchors, names, enforced=enforced) for one in rounds for case in one.data["cases"]
        ),
        legend=tuple((mark, counts[mark]) for mark in marks.POLICY_STATES if counts[mark] or mark not in _ONLY_IF_SEEN),
    )


def _round(
    data: Mapping[str, Any], observations: Iterable[Observation], declared: set[str], *, enforced: bool
) -> _Round:
    known = {_Dial.read(text) for case in data["cases"] if case["check"] in declared for text in case["dials"]}
    got: dict[_Dial, bool] = {}
    for one in observations:
        if isinstance(one, Exchange | Lookup) and (one.batch, one.purpose) == (_BATCH, data["purpose"]):
            got[_dial_of(one)] = one.outcome == "ok" or any(attempt.outcome == "ok" for attempt in one.tries)
    seen: dict[_Dial, Mark] = {}
    why: dict[_Dial, str] = {}
    for text, said in data["expected"].items():
        dial = _Dial.read(text)
        why[dial] = said["why"]
        if dial in got:
            leak = marks.LEAK if enforced else marks.IGNORED
            seen[dial] = (
                (marks.REACHED if got[dial] else marks.BROKEN)
                if said["allowed"]
                else (leak if got[dial] else marks.DENIED)
            )
    for dial in known & seen.keys():
        if seen[dial] in (marks.LEAK, marks.BROKEN):
            seen[dial] = marks.DEVIATION
    return _Round(data, seen, why)


def _dial_of(one: Exchange | Lookup) -> _Dial:
    if isinstance(one, Lookup):
        return _Dial(one.src, _DNS, f"{'tcp' if one.transport == 'tcp' else 'udp'} 53")
    return _Dial(one.src, one.dst, f"{one.proto} {port_of(one.dial)}")


def _overall(counts: Mapping[Mark, int], *, enforced: bool) -> Mark:
    if not enforced:
        return marks.RECORD
    if counts[marks.LEAK] or counts[marks.BROKEN]:
        return marks.FAIL
    return marks.RECORD if counts[marks.DEVIATION] else marks.PASS


def _sentence(counts: Mapping[Mark, int], rounds: Sequence[_Round], *, enforced: bool) -> str:
    cases = sum(len(one.data["cases"]) for one in rounds)
    if not enforced:
        stored = sum(len(case["policies"]) for one in rounds for case in one.data["cases"])
        stored -= sum(len(one.data["rejected"]) for one in rounds)
        through, stopped = counts[marks.IGNORED], counts[marks.DENIED]
        return (
            f"The API server stored {plural(stored, 'policy', 'policies')}, and the network does not enforce them: of "
            f"{plural(through + stopped, 'connection')} that they forbid, {through:,} got through."
        )
    total = sum(counts.values())
    good = counts[marks.REACHED] + counts[marks.DENIED]
    return (
        f"{good:,} of {plural(total, 'connection')} in {plural(cases, 'case')} were as the API requires: "
        f"{plural(counts[marks.LEAK], 'leak')}, {counts[marks.BROKEN]:,} broken"
        + (f", {counts[marks.DEVIATION]:,} that the variant declares." if counts[marks.DEVIATION] else ".")
    )


def _note(rounds: Sequence[_Round]) -> str:
    timed = [one.data["seconds"] for one in rounds if "seconds" in one.data]
    known = [seconds for seconds in timed if seconds is not None]
    late = len(timed) - len(known)
    words = f"Policies were in force within {max(known) * 1000:,.0f} ms of their acceptance." if known else ""
    return f"{words} {plural(late, 'round')} never became stable.".strip() if late else words


def _problems(one: _Round, anchors: Mapping[str, str]) -> Iterable[PolicyProblem]:
    owner = {_Dial.read(text): case for case in one.data["cases"] for text in case["dials"]}
    for dial, mark in sorted(one.seen.items()):
        if mark in (marks.LEAK, marks.BROKEN) and dial in owner:
            case = owner[dial]
            yield PolicyProblem(
                mark, dial.src, dial.dst, dial.service, case["title"], f"#{anchors[case['id']]}", one.why[dial]
            )


def _case(
    one: _Round, case: Mapping[str, Any], anchors: Mapping[str, str], names: Mapping[str, str], *, enforced: bool
) -> PolicyCase:
    wanted = {_Dial.read(text) for text in case["dials"]}
    counts = Counter(one.seen[dial] for dial in wanted if dial in one.seen)
    bad = counts[marks.LEAK] + counts[marks.BROKEN]
    summary = f"{counts[marks.REACHED]} allowed, {counts[marks.DENIED]} stopped"
    if counts[marks.IGNORED]:
        summary = f"{plural(counts[marks.IGNORED], 'forbidden connection')} got through"
    if counts[marks.DEVIATION]:
        summary = f"declared deviation: {counts[marks.DEVIATION]} not as the API says"
    if bad:
        summary = f"{plural(counts[marks.LEAK], 'leak')}, {counts[marks.BROKEN]} broken"
    return PolicyCase(
        anchor=anchors[case["id"]],
        title=case["title"],
        requirement=case["check"],
        mark=_overall(counts, enforced=enforced),
        summary=summary,
        tables=tuple(_tables(one, case, wanted, names)) if enforced else (),
        policies=tuple(yamlio.dumps(manifest).rstrip() for manifest in case["policies"]),
        open=bool(bad),
    )


def _tables(
    one: _Round, case: Mapping[str, Any], wanted: set[_Dial], names: Mapping[str, str]
) -> Iterable[PolicyTable]:
    """The closed pods are columns: they are few, and the others are many."""
    inward = list(case["closed"]["Ingress"])
    outward = list(case["closed"]["Egress"])
    if inward:
        yield _table("Ingress: from ↓ to →", one, wanted, inward, names, inward=True)
    if outward:
        yield _table("Egress: from → to ↓", one, wanted, outward, names, inward=False)


def _table(
    title: str, one: _Round, wanted: set[_Dial], closed: Sequence[str], names: Mapping[str, str], *, inward: bool
) -> PolicyTable:
    def ends(dial: _Dial) -> tuple[str, str]:
        return (dial.dst, dial.src) if inward else (dial.src, dial.dst)

    mine = [dial for dial in wanted if ends(dial)[0] in closed]
    services = sorted({dial.service for dial in mine}, key=lambda text: (text.partition(" ")[2].zfill(5), text))
    used = {name: [one_ for one_ in services if any(ends(dial)[0] == name and dial.service == one_ for dial in mine)]
            for name in closed}  # fmt: skip
    others = [name for name in names if any(ends(dial)[1] == name for dial in mine)]

    def cell(pod: str, service: str, other: str) -> Cell:
        dial = _Dial(other, pod, service) if inward else _Dial(pod, other, service)
        mark = one.seen.get(dial, marks.UNTESTED) if dial in wanted else marks.UNTESTED
        return Cell(mark, "", f"{dial.src} → {dial.dst}, {service}: {mark.word}; {one.why.get(dial, 'not part of it')}")

    rows = tuple(
        (names[other], tuple(cell(pod, service, other) for pod in closed for service in used[pod])) for other in others
    )
    groups = tuple((pod, len(used[pod])) for pod in closed)
    return PolicyTable(title, groups, tuple(service for pod in closed for service in used[pod]), rows)


def _label(endpoint: Mapping[str, Any]) -> str:
    """Pods and nodes are known by their names; addresses outside are known by themselves."""
    outside = endpoint["kind"] == "outside"
    return f"{endpoint['ip']} ({endpoint['name']})" if outside else str(endpoint["name"])


def _overview(one: _Round, endpoints: Sequence[Mapping[str, Any]]) -> PolicyTable:
    """Every pod to every pod on one port, under all policies at once."""
    pods = [row["name"] for row in endpoints if row["kind"] == "pod" and row["name"] != _DNS]
    service = "tcp 8080"

    def cell(src: str, dst: str) -> Cell:
        dial = _Dial(src, dst, service)
        mark = one.seen.get(dial, marks.UNTESTED)
        return Cell(mark, "", f"{src} → {dst}: {mark.word}; {one.why.get(dial, '')}".rstrip("; "))

    rows = tuple((src, tuple(cell(src, dst) for dst in pods)) for src in pods)
    return PolicyTable(f"From ↓ to →, {service}", tuple((pod, 1) for pod in pods), (service,) * len(pods), rows)
