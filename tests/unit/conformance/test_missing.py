"""What was wanted and is missing takes no leg away in silence: no check passes with less, or blames the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from conformance.context import INVENTORY, VARIANT, Context
from conformance.reads import Reads, reads
from conformance.registry import CHECKS
from harness.model.disturbed import Held, Removal, Repair, Restart, Rounds, Speed, Stream
from harness.model.family import family_of_proto
from harness.model.records import Dump, Exchange, Observation, Result, Tap
from tests.unit.conformance import simdual, simlab
from tests.unit.conformance.broken import rows
from tests.unit.conformance.controls import green
from tests.unit.conformance.simlab import Change, dumps, exchanges, records

Key = tuple[str, ...]


def subject(one: Observation) -> str:
    """`exchange mesh`, `dump sysctl`, `tap`."""
    if isinstance(one, Tap):
        return one.kind
    return f"{one.kind} {one.what if isinstance(one, Dump) else one.purpose}"


def place(one: Observation) -> str:
    return one.place if isinstance(one, Dump | Tap) else one.src


def needed(one: Observation, read: Reads) -> bool:
    """It may matter to a check; of policies, which are read whole, all does."""
    if isinstance(one, Dump):
        return one.what in read.subjects and one.what not in {INVENTORY, VARIANT}
    if isinstance(one, Stream | Held | Repair | Restart | Rounds | Speed | Removal):
        return True  # judges go through all of these
    return isinstance(one, Tap) or one.batch == "B6" or one.purpose in read.purposes | {"ladder", "churn", "pmtud"}


def lost(run: Context, check: str) -> Iterator[tuple[str, frozenset[int]]]:
    """Sets of records to take away: of each subject and place one, and of each subject all.

    Of policies one per subject: their judges go through all dials alike.
    """
    alone = replace(CHECKS[check], after=())
    read = reads(run, [alone], {check: alone})
    ones: dict[Key, int] = {}
    alls: dict[str, set[int]] = {}
    for number, one in enumerate(run.observations):
        if needed(one, read) and ("B6" in alone.batches or one.batch != "B6"):
            ones[subject(one), "" if one.batch == "B6" else place(one)] = number
            alls.setdefault(subject(one), set()).add(number)
    yield from ((what, frozenset({number})) for (what, _), number in ones.items())
    yield from ((what, frozenset(numbers)) for what, numbers in alls.items())


def without(run: Context, numbers: frozenset[int], check: str) -> Result:
    left = tuple(one for number, one in enumerate(run.observations) if number not in numbers)
    return simlab.verdict(replace(run, observations=left, memo={}), check)


@pytest.mark.parametrize("check", CHECKS)
def test_what_is_missing_is_an_error_and_not_one_leg_less(check: str) -> None:
    run = green(check)
    whole = simlab.verdict(run, check)
    for what, numbers in lost(run, check):
        result = without(run, numbers, check)
        same = result.status == "pass" and result.tested == whole.tested
        if same:
            continue
        names = [f"{what} {place(run.observations[number])}" for number in sorted(numbers)[:3]]
        assert result.status in {"error", "skip"}, f"without {names}: {result.status}: {result.statement}"
        assert result.reason in {"missing", "unread", "control", "empty-census"}, f"without {names}: {result.statement}"


@pytest.mark.parametrize(
    ("check", "what"),
    [
        ("model.ports", "exchange ports"),
        ("model.identity", "exchange mesh"),
        ("mtu.exact", "rung ladder"),
        ("mtu.fragments", "exchange fragmented"),
        ("svc.nodeport", "exchange nodeport"),
        ("dns.service", "lookup every-pod"),
        ("egress.ports", "exchange egress-port"),
        ("conn.churn", "churn churn"),
    ],
)
def test_what_is_missing_of_one_family_is_missing_there_alone(check: str, what: str) -> None:
    run = simdual.green("dual")
    (number, *_) = (
        number for number, one in enumerate(run.observations) if subject(one) == what and over(one) == "ipv6"
    )
    result = without(run, frozenset({number}), check)
    assert result.reason == "missing", result.statement
    assert result.families == {"ipv4": "pass", "ipv6": "error"}


def over(one: Observation) -> str:
    return family_of_proto(one.proto) if isinstance(one, Exchange) else getattr(one, "family", "")


def test_of_two_datagrams_that_differ_in_size_the_right_one_is_missing() -> None:
    run = simlab.green()
    for gone in (one for one in run.exchanges["fragmented"] if one.src == "a"):
        less = replace(run, observations=tuple(one for one in run.observations if one is not gone), memo={})
        legs = simlab.verdict(less, "mtu.fragments").legs
        assert [leg.leg for leg in legs if leg.status == "error"] == [f"a>c/udp/{gone.sent}"]


UNANSWERED = {"outcome": "timeout", "errno": 110, "peer": "", "token": "", "ttl": None, "mss": None, "nonce": "none"}
NEED_ANSWERS: dict[str, tuple[Change, str]] = {
    "model.identity": (exchanges(UNANSWERED, purpose="mesh", src="a", dst="c"), "a>c/tcp"),
    "model.no-nat.cross-node": (exchanges(UNANSWERED, purpose="mesh", src="a", dst="c"), "a>c/udp"),
    "model.hops": (exchanges(UNANSWERED, purpose="mesh", src="a", dst="c"), "a>c/ttl"),
    "model.node-pod.source": (exchanges(UNANSWERED, purpose="host", src="h1", dst="c"), "h1>c/source"),
    "svc.clusterip.source": (exchanges(UNANSWERED, purpose="vip", src="a", dst="sole-c"), "a>sole-c/tcp"),
    "egress.source": (exchanges(UNANSWERED, purpose="egress", src="a"), "a>router/icmp"),
}


@pytest.mark.parametrize("check", NEED_ANSWERS)
def test_an_exchange_without_an_answer_is_written_down_by_who_needs_one(check: str) -> None:
    change, leg = NEED_ANSWERS[check]
    result = simlab.verdict(simlab.changed(change), check)
    assert result.status == "pass", result.statement
    assert result.tested == simlab.verdict(simlab.green(), check).tested
    (found,) = (one for one in result.legs if one.leg == leg)
    assert found.status == "record"
    assert found.statement.endswith(" is not known")


@pytest.mark.parametrize("check", sorted({*NEED_ANSWERS} - {"egress.source"}))
def test_without_any_answer_there_is_no_verdict(check: str) -> None:
    result = simlab.verdict(simlab.changed(records("exchange", UNANSWERED)), check)
    assert (result.status, result.reason) == ("error", "control")


@pytest.mark.parametrize(
    ("check", "change", "leg"),
    [
        ("model.hops", exchanges({"ttl": None}, purpose="mesh", src="a", dst="c"), "a>c/ttl"),
        ("egress.source", rows(lambda row: None if row["src"].endswith("11") else row, what="sightings"),
         "a>router/icmp"),
        ("ipam.release", dumps(lambda data: data | {"snapshots": {"added": {}}}, what="verbs"), "n1/diff"),
        ("cni.add.conflict", dumps(lambda data: data | {"snapshots": {}}, what="verbs"), "n1/diff"),
    ],
)  # fmt: skip
def test_what_a_record_does_not_say_is_missing(check: str, change: Change, leg: str) -> None:
    result = simlab.verdict(simlab.changed(change), check)
    assert (result.status, result.reason) == ("error", "missing")
    assert leg in {one.leg for one in result.legs if one.status == "error"}
