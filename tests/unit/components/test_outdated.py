from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.components.lock import Component, GoPin, architecture, load
from harness.components.outdated import Answer, ages, ask, judge, judge_toolchain
from harness.components.sources import toolchain
from harness.runner import HostRunner

PLUGINS = "github.com/containernetworking/plugins"


def component(pinned: str, **more: object) -> Component:
    build = {"module": "thing", "target": "tool", "files": {"thing": "thing"}, "upstream": "example.org/thing"}
    return Component.model_validate(
        {"name": "thing", "summary": "", "version": pinned, "kind": "bin", "build": build, **more}
    )


@pytest.mark.parametrize(
    ("pinned", "listed", "newest", "state"),
    [
        ("1.9.1", ("v1.9.0", "v1.9.1"), "1.9.1", "current"),
        ("1.9.1", ("v1.10.0", "v1.9.1"), "1.10.0", "behind"),
        ("1.9.1", ("v1.9.1", "v1.10.0-rc.1", "v2.0.0+incompatible"), "1.9.1", "current"),
        ("1.9.1", ("v1.9.0",), "1.9.0", "current"),
        ("1.9.1", (), "", "unknown"),
    ],
)
def test_releases_are_compared_by_number_and_prereleases_are_no_news(
    pinned: str, listed: tuple[str, ...], newest: str, state: str
) -> None:
    (age,) = judge(component(pinned), Answer(versions=listed))
    assert (age.newest, age.state) == (newest, state)


def test_other_minor_versions_are_compared_within_theirs() -> None:
    one = component("1.37.2", minors={"1.36": "1.36.1", "1.35": "1.35.4"})
    listed = ("v1.35.4", "v1.36.1", "v1.36.3", "v1.37.2", "v1.38.0-beta.0")
    found = [(age.minor, age.newest, age.state) for age in judge(one, Answer(versions=listed))]
    assert found == [("", "1.37.2", "current"), ("1.36", "1.36.3", "behind"), ("1.35", "1.35.4", "current")]


@pytest.mark.parametrize(
    ("listed", "newest", "state"),
    [
        (("1.26.8", "1.26.10", "1.9.2"), "1.26.10", "behind"),
        (("1.26.8", "1.27rc1", "1.26"), "1.26.8", "current"),
        ((), "", "unknown"),
    ],
)
def test_go_is_compared_with_its_releases_for_this_machine(listed: tuple[str, ...], newest: str, state: str) -> None:
    versions = [f"v0.0.1-go{one}.linux-{architecture()}" for one in listed]
    versions += ["v0.0.1-go1.99.0.darwin-amd64", "v0.0.1-go1.99.0.linux-riscv64"]
    age = judge_toolchain(GoPin(version="1.26.8", sums={}), Answer(versions=tuple(versions)))
    assert (age.name, age.newest, age.state) == ("go", newest, state)


GO = """#!/bin/sh
echo "$GOFLAGS $GOWORK $*" > {record}
cat {answer}
"""


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A go on PATH that answers with the file beside its record."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "go").write_text(GO.format(record=tmp_path / "record", answer=tmp_path / "answer"))
    (place / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
    monkeypatch.delenv("CNILAB_OFFLINE", raising=False)
    return tmp_path / "record"


def test_a_module_that_the_proxy_refuses_does_not_hide_the_others(record: Path) -> None:
    documents = [
        {"Path": "example.org/one", "Versions": ["v1.0.0", "v1.1.0"]},
        {"Path": "example.org/two", "Error": {"Err": "403 Forbidden"}},
    ]
    record.with_name("answer").write_text("\n".join(json.dumps(one, indent=1) for one in documents))
    found = ask(["example.org/one", "example.org/two", "example.org/three"], HostRunner())
    assert found["example.org/one"].versions == ("v1.0.0", "v1.1.0")
    assert found["example.org/two"].reason == "403 Forbidden"
    assert found["example.org/three"].reason
    assert record.read_text().startswith("-mod=mod off list -m -e -versions -json example.org/one")


def test_who_is_offline_is_told_so_and_nothing_is_asked(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNILAB_OFFLINE", "1")
    found = ages(load(), HostRunner(), Path("/none"))
    assert {age.state for age in found} == {"unknown"}
    assert all("CNILAB_OFFLINE" in age.reason for age in found)
    assert found[-1].name == "go"
    assert not record.exists()


def test_without_go_the_reason_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "env").symlink_to("/usr/bin/env")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CNILAB_OFFLINE", raising=False)
    assert "go" in ask(["example.org/one"], HostRunner())["example.org/one"].reason


def test_each_module_is_asked_for_once(record: Path) -> None:
    record.with_name("answer").write_text("")
    ages(load(), HostRunner(), Path("/none"))
    words = record.read_text().split()
    assert len(words) == len(set(words))
    assert {PLUGINS, toolchain.MODULE} <= set(words)
