"""NetworkPolicy: for every connection, what the API says and what was seen; what leaked comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness import yamlio
from harness.model.family import FAMILIES, TITLE, Family, family_of, family_of_proto, transport_of
from harness.model.records import Dump, Exchange, Lookup, Observation, Result
from reports import marks
from reports.families import families_of, named
from reports.model import Cell, Mark, Policies, PolicyCase, PolicyProblem, PolicyTable
from reports.text import Ids, plural, port_of

MOST_PROBLEMS: Final = 60
_BATCH: Final = "B6"
_DNS: Final = "dns"
_OVER_IPV6: Final = "/ipv6"
_ONLY_IF_SEEN: Final = (marks.IGNORED, marks.DEVIATION)


@dataclass(frozen=True, order=True)
class _Dial:
    """`x/a>y/b/tcp/8080`, or `x/a>y/b/tcp/8080/ipv6`, taken apart."""

    src: str
    dst: str
    service: str
    family: Family = "ipv4"

    @classmethod
    def read(cls, text: str) -> _Dial:
        alone = text.removesuffix(_OVER_IPV6)
        ends, proto, port = alone.rsplit("/", 2)
        src, _, dst = ends.partition(">")
        return cls(src, dst, f"{proto} {port}", "ipv4" if alone == text else "ipv6")


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
    both = families_of(dial.family for one in rounds for dial in one.seen)
    names = {family: {row["name"]: _label(row, family) for row in record["endpoints"]} for family in FAMILIES}
    anchors = {case["id"]: ids.new("policy", case["id"]) for one in rounds for case in one.data["cases"]}
    problems = [found for one in rounds for found in _problems(one, anchors, both)] if enforced else []
    problems.sort(key=lambda found: found.mark is not marks.LEAK)
    counts = Counter(mark for one in rounds for mark in one.seen.values())
    return Policies(
        enforced=enforced,
        mark=_overall(counts, enforced=enforced),
        sentence=_sentence(counts, rounds, enforced=enforced),
        note=_note(rounds) if enforced else "",
        problems=tuple(problems[:MOST_PROBLEMS]),
        left_out=max(0, len(problems) - MOST_PROBLEMS),
        overviews=() if enforced or not rounds else tuple(_overviews(rounds[0], record["endpoints"], both)),
        cases=tuple(
            _case(one, case, anchors, names, enforced=enforced, both=both)
            for one in rounds
            for case in one.data["cases"]
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
        return _Dial(one.src, _DNS, f"{'tcp' if one.transport == 'tcp' else 'udp'} 53", one.family)
    transport, family = transport_of(one.proto), family_of_proto(one.proto)
    return _Dial(one.src, one.dst, f"{transport} {port_of(one.dial)}", family)


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


def _problems(one: _Round, anchors: Mapping[str, str], both: Collection[Family]) -> Iterable[PolicyProblem]:
    owner = {_Dial.read(text): case for case in one.data["cases"] for text in case["dials"]}
    for dial, mark in sorted(one.seen.items()):
        if mark in (marks.LEAK, marks.BROKEN) and dial in owner:
            case = owner[dial]
            yield PolicyProblem(
                mark=mark,
                src=dial.src,
                dst=dial.dst,
                service=dial.service,
                case=case["title"],
                href=f"#{anchors[case['id']]}",
                why=one.why[dial],
                family=named(dial.family, both),
            )


def _case(
    one: _Round,
    case: Mapping[str, Any],
    anchors: Mapping[str, str],
    names: Mapping[Family, Mapping[str, str]],
    *,
    enforced: bool,
    both: Collection[Family],
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
        tables=tuple(_tables(one, case, wanted, names, both)) if enforced else (),
        policies=tuple(yamlio.dumps(manifest).rstrip() for manifest in case["policies"]),
        open=bool(bad),
    )


def _tables(
    one: _Round,
    case: Mapping[str, Any],
    wanted: set[_Dial],
    names: Mapping[Family, Mapping[str, str]],
    both: Collection[Family],
) -> Iterable[PolicyTable]:
    """The closed pods are columns: they are few, and the others are many."""
    for family in sorted({dial.family for dial in wanted}):
        over = f" over {TITLE[family]}" if family in both else ""
        mine = {dial for dial in wanted if dial.family == family}
        for title, direction in ((f"Ingress{over}: from ↓ to →", "Ingress"), (f"Egress{over}: from → to ↓", "Egress")):
            if closed := list(case["closed"][direction]):
                yield _table(title, one, mine, closed, names[family], inward=direction == "Ingress", family=family)


def _table(
    title: str,
    one: _Round,
    wanted: set[_Dial],
    closed: Sequence[str],
    names: Mapping[str, str],
    *,
    inward: bool,
    family: Family,
) -> PolicyTable:
    def ends(dial: _Dial) -> tuple[str, str]:
        return (dial.dst, dial.src) if inward else (dial.src, dial.dst)

    mine = [dial for dial in wanted if ends(dial)[0] in closed]
    services = sorted({dial.service for dial in mine}, key=lambda text: (text.partition(" ")[2].zfill(5), text))
    used = {name: [one_ for one_ in services if any(ends(dial)[0] == name and dial.service == one_ for dial in mine)]
            for name in closed}  # fmt: skip
    others = [name for name in names if any(ends(dial)[1] == name for dial in mine)]

    def cell(pod: str, service: str, other: str) -> Cell:
        dial = _Dial(*((other, pod) if inward else (pod, other)), service, family)
        mark = one.seen.get(dial, marks.UNTESTED) if dial in wanted else marks.UNTESTED
        return Cell(mark, "", f"{dial.src} → {dial.dst}, {service}: {mark.word}; {one.why.get(dial, 'not part of it')}")

    rows = tuple(
        (names[other], tuple(cell(pod, service, other) for pod in closed for service in used[pod])) for other in others
    )
    groups = tuple((pod, len(used[pod])) for pod in closed)
    return PolicyTable(title, groups, tuple(service for pod in closed for service in used[pod]), rows)


def _label(endpoint: Mapping[str, Any], family: Family) -> str:
    """Pods and nodes are known by their names; addresses outside are known by themselves."""
    if endpoint["kind"] != "outside":
        return str(endpoint["name"])
    addresses = endpoint.get("ips") or [endpoint["ip"]]
    address = next((one for one in addresses if one and family_of(one) == family), endpoint["ip"])
    return f"{address} ({endpoint['name']})"


def _overviews(one: _Round, endpoints: Sequence[Mapping[str, Any]], both: Collection[Family]) -> Iterable[PolicyTable]:
    """One table for each family that was tried."""
    for family in sorted({dial.family for dial in one.seen}):
        yield _overview(one, endpoints, family, over=f" over {TITLE[family]}" if family in both else "")


def _overview(one: _Round, endpoints: Sequence[Mapping[str, Any]], family: Family, *, over: str) -> PolicyTable:
    """Every pod to every pod on one port, under all policies at once."""
    pods = [row["name"] for row in endpoints if row["kind"] == "pod" and row["name"] != _DNS]
    service = "tcp 8080"

    def cell(src: str, dst: str) -> Cell:
        dial = _Dial(src, dst, service, family)
        mark = one.seen.get(dial, marks.UNTESTED)
        return Cell(mark, "", f"{src} → {dst}: {mark.word}; {one.why.get(dial, '')}".rstrip("; "))

    rows = tuple((src, tuple(cell(src, dst) for dst in pods)) for src in pods)
    return PolicyTable(f"From ↓ to →, {service}{over}", tuple((pod, 1) for pod in pods), (service,) * len(pods), rows)
