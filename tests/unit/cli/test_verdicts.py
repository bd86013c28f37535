"""What a terminal says of a run: causes first, and commands that can be typed as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest

from harness.cli.context import Settings
from harness.cli.verdicts import SHOWN, conclude
from harness.model.cause import Cause
from harness.model.gaps import gaps
from harness.model.records import Result
from tests.unit.reports import sample

RESULTS = sample.results(sample.Sample())


@pytest.fixture(autouse=True)
def _called() -> Iterator[None]:
    """As a command is, which knows how much it may say."""
    with click.Context(click.Command("test"), obj=Settings()):
        yield


def test_causes_come_before_requirements(capsys: pytest.CaptureFixture[str]) -> None:
    assert conclude(RESULTS, sample.causes(), "table", strict=False) == 1
    heard = capsys.readouterr()
    first = heard.out.splitlines()[0]
    assert first.startswith("Cause 1: n1 gives 10.244.0.3 > 10.244.1.3:8080/tcp another sender")
    assert "  mend:    on n1: iptables -t nat -D FLANNEL-POSTRTG 4" in heard.out
    assert "Possible cause 2: n2 has no cni0" in heard.out
    assert "Unexplained 3: MSS 1460 > 1410" in heard.out
    assert "First cause: n1 gives" in heard.err.splitlines()[-1]
    assert gaps(heard.out + heard.err) == []


def test_a_terminal_shows_only_the_first_of_many(capsys: pytest.CaptureFixture[str]) -> None:
    many = [Cause(key=str(n), kind="state", sentence=f"n{n} is odd", confidence="observed") for n in range(SHOWN + 3)]
    conclude(RESULTS, many, "table", strict=False)
    heard = capsys.readouterr().out
    assert f"n{SHOWN - 1} is odd" in heard
    assert f"n{SHOWN} is odd" not in heard


def test_data_has_all_causes(capsys: pytest.CaptureFixture[str]) -> None:
    conclude(RESULTS, sample.causes(), "json", strict=False)
    heard = capsys.readouterr()
    assert [one["key"] for one in json.loads(heard.out)["causes"]] == [one.key for one in sample.causes()]
    assert "Cause 1" not in heard.err


def test_without_causes_nothing_is_said_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    conclude(RESULTS, (), "table", strict=False)
    heard = capsys.readouterr()
    assert "ause" not in heard.out + heard.err


@pytest.mark.parametrize(
    ("families", "said"),
    [
        ({"ipv4": "pass", "ipv6": "fail"}, "timeout (IPv6)"),
        ({"ipv4": "skip", "ipv6": "record"}, "timeout (IPv4)"),
        ({"ipv4": "fail", "ipv6": "error"}, "timeout"),
        ({}, "timeout"),
    ],
)
def test_a_family_that_fails_alone_is_named(
    families: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = Result.model_validate(
        {
            "id": "x.y", "title": "t", "level": "M", "status": "fail", "reason": "timeout", "statement": "s",
            "families": families,
        }
    )  # fmt: skip
    conclude([one], (), "table", strict=False)
    assert capsys.readouterr().out.splitlines()[1].endswith(f"  {said}")
