"""The option `--cluster`, and its former name `--lab`, which no help shows and which goes on working."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from harness.cli import app as entry
from harness.cli.alias import Alias
from harness.errors import UsageError
from tests.unit.cli.test_main import commands

OF_A_CLUSTER = ("apply", "test", "mutate", "switch", "exec", "load", "trace", "why", "collect", "judge", "report")
OF_FAULTS = ("fault list", "fault inject", "fault clear")
WORDS = {"switch": ["cilium"], "exec": ["n1"], "load": [__file__], "trace": ["a", "b"], "why": ["a", "b"]}
"""What a command needs beside the cluster's name."""


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory without settings, of a user without any."""
    monkeypatch.setenv("CNILAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cluster(*words: str, name: str = "apply") -> str | None:
    """The cluster that a command is about, as its function gets it."""
    with entry.cli.make_context("cnilab", [name]) as root:
        command = entry.find(name)
        with command.make_context(name, [*words, *WORDS.get(name, [])], parent=root) as ctx:
            assert "lab" not in ctx.params
            found: str | None = ctx.params["cluster"]
            return found


@pytest.mark.parametrize("words", [[], *(name.split() for name, _ in commands())], ids=" ".join)
def test_no_help_shows_the_former_name(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run([*words, "--help"]) == 0
    assert not re.search(r"--lab\b|^ +-l,|_LAB\b", capsys.readouterr().out, re.MULTILINE)


def test_no_manual_page_shows_the_former_name(places: Path) -> None:
    assert entry.run(["man", "--to", "pages", "-q"]) == 0
    texts = [path.read_text(encoding="utf-8").replace("\\-", "-") for path in (places / "pages").glob("*.1")]
    assert any("--cluster" in text for text in texts)
    assert not [text for text in texts if re.search(r"--lab\b", text)]


def test_every_command_with_a_cluster_has_both_names_and_no_other_has() -> None:
    found = {
        name: {flag for one in command.params if isinstance(one, click.Option) for flag in one.opts}
        for name, command in commands()
    }
    there = {*OF_A_CLUSTER, *OF_FAULTS}
    assert {name for name, flags in found.items() if "--cluster" in flags} == there
    assert {name for name, flags in found.items() if {"-l", "--lab"} <= flags} == there


@pytest.mark.parametrize("name", OF_A_CLUSTER)
@pytest.mark.parametrize("flag", ["--cluster", "--lab", "-l"])
def test_both_names_mean_the_same(flag: str, name: str) -> None:
    assert cluster(flag, "monday", name=name) == "monday"
    assert cluster(name=name) is None


@pytest.mark.parametrize("name", [name for name in OF_A_CLUSTER if name != "exec"])
def test_the_short_name_is_c(name: str) -> None:
    assert cluster("-c", "monday", name=name) == "monday"


def test_c_of_exec_is_still_the_container() -> None:
    assert cluster("-c", "toolbox", name="exec") is None


@pytest.mark.parametrize("variable", ["CNILAB_APPLY_CLUSTER", "CNILAB_APPLY_LAB"])
def test_both_names_have_a_variable(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "monday")
    assert cluster() == "monday"
    monkeypatch.setenv(variable, "")
    assert cluster() is None


@pytest.mark.parametrize("key", ["cluster", "lab"])
def test_both_names_are_keys_in_files(key: str, places: Path) -> None:
    (places / "cnilab.toml").write_text(f'[apply]\n{key} = "monday"\n')
    assert cluster() == "monday"


@pytest.mark.parametrize(("new", "old"), [("--cluster", "--lab"), ("--lab", "--cluster")])
def test_the_stronger_source_wins_whatever_name_it_uses(
    new: str, old: str, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (places / "config/cnilab").mkdir(parents=True)
    (places / "config/cnilab/config.toml").write_text(f'[apply]\n{old[2:]} = "user"\n')
    assert cluster() == "user"
    (places / "cnilab.toml").write_text(f'[apply]\n{new[2:]} = "project"\n')
    assert cluster() == "project"
    monkeypatch.setenv(f"CNILAB_APPLY_{old[2:].upper()}", "variable")
    assert cluster() == "variable"
    assert cluster(new, "word") == "word"


def test_the_same_value_may_be_given_twice() -> None:
    assert cluster("--lab", "monday", "--cluster", "monday") == "monday"


def test_two_values_on_the_command_line_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["apply", "--lab", "monday", "-c", "friday"]) == UsageError.exit_code
    assert capsys.readouterr().err.splitlines() == [
        "error: --cluster and --lab are the same option, and have different values",
        "  cause: --cluster is 'friday', --lab is 'monday'",
        "  next:  give only --cluster",
    ]


def test_two_values_in_variables_or_in_a_file_are_an_error_that_names_them(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (places / "cnilab.toml").write_text('[apply]\nlab = "monday"\ncluster = "friday"\n')
    assert entry.run(["apply"]) == UsageError.exit_code
    assert "key cluster of a file is 'friday', key lab of a file is 'monday'" in capsys.readouterr().err
    monkeypatch.setenv("CNILAB_APPLY_CLUSTER", "friday")
    monkeypatch.setenv("CNILAB_APPLY_LAB", "monday")
    assert entry.run(["apply"]) == UsageError.exit_code
    assert "CNILAB_APPLY_CLUSTER is 'friday', CNILAB_APPLY_LAB is 'monday'" in capsys.readouterr().err


def test_a_mistyped_key_gets_the_new_name_as_a_hint(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (places / "cnilab.toml").write_text('[apply]\nlabb = "monday"\nclustr = "monday"\n')
    assert entry.run(["apply"]) == UsageError.exit_code
    assert "'lab'" not in capsys.readouterr().err.partition("next:")[2]


def test_an_alias_is_hidden() -> None:
    hidden = [one for _, command in commands() for one in command.params if isinstance(one, Alias)]
    assert hidden
    assert all(one.hidden for one in hidden)
