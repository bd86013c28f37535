"""Workflows and scripts call commands that exist, with options that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from harness import yamlio
from harness.cli.app import cli

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = [ROOT / "workshop" / name for name in ("bundle.sh", "setup.sh", "teardown.sh")]

CALL = re.compile(r"""(?:^|[\s/("'])cnilab"?((?: +(?:"[^"]*"|[^\s|<>;&()`"]+))+)""")


def runs(node: Any) -> Iterator[str]:
    """All scripts of a workflow."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "run" and isinstance(value, str):
                yield value
            else:
                yield from runs(value)
    elif isinstance(node, list):
        for item in node:
            yield from runs(item)


def calls(script: str) -> list[list[str]]:
    """Words after `cnilab` of every line of a script, comments left out."""
    lines = script.replace("\\\n", " ").splitlines()
    code = [line for line in lines if not line.lstrip().startswith("#")]
    return [shlex.split(match[1]) for line in code for match in CALL.finditer(line)]


def problems(words: list[str]) -> list[str]:
    """What the command line does not know of these words."""
    command: click.Command = cli
    found: list[str] = []
    for word in words:
        if word == "--":
            break
        if word.startswith("-"):
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            found += [] if word.partition("=")[0] in known else [f"{command.name}: no option {word}"]
        elif isinstance(command, click.Group):
            inner = command.get_command(click.Context(command), word)
            if inner is None:
                found.append(f"{command.name}: no command {word}")
                break
            command = inner
    return found


def test_the_judge_sees_mistakes() -> None:
    assert calls('x="$(sudo .tox/bin/cnilab matrix list -o github)" # y\ncnilab "$a" b >f') == [
        ["matrix", "list", "-o", "github"],
        ["$a", "b"],
    ]
    assert problems(["matrix", "list", "-o", "json", "--file", "x"]) == []
    assert problems(["matrix", "lists"]) == ["matrix: no command lists"]
    assert problems(["matrix", "run", "--onto", "x"]) == ["run: no option --onto"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_commands_of_workflows_exist(path: Path) -> None:
    found = [words for script in runs(yamlio.loads(path.read_text())) for words in calls(script)]
    assert [problem for words in found for problem in problems(words)] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_commands_of_scripts_exist(path: Path) -> None:
    assert [problem for words in calls(path.read_text()) for problem in problems(words)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_whole(path: Path) -> None:
    workflow = yamlio.loads(path.read_text())
    jobs = workflow["jobs"]
    assert workflow["permissions"]
    for job in jobs.values():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(jobs)
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert "@" in step.get("uses", "@")


def test_the_nightly_workflow_runs_what_the_matrix_lists() -> None:
    jobs = yamlio.loads((ROOT / ".github/workflows/nightly.yml").read_text())["jobs"]
    commands = [words[:2] for script in runs(jobs) for words in calls(script)]
    assert ["matrix", "list"] in commands
    assert ["matrix", "run"] in commands
    assert ["matrix", "report"] in commands
    assert jobs["cell"]["strategy"]["fail-fast"] is False


def test_what_is_too_long_for_every_commit_runs_at_night() -> None:
    jobs = yamlio.loads((ROOT / ".github/workflows/nightly.yml").read_text())["jobs"]
    text = (ROOT / "tox.ini").read_text()
    sections = re.findall(r"\[testenv:(\w+)\]\n(.*?)(?=\n\[|\Z)", text, re.DOTALL)
    # kind is a part of night, for whoever wants it alone.
    long = {name for name, body in sections if "_TESTS = 1" in body} - {"kind"}
    assert (
        long
        == set(jobs["machines"]["strategy"]["matrix"]["environment"])
        == {"kernel", "vagrant", "versions", "userland", "night"}
    )
    assert any("./tox -e" in step.get("run", "") for step in jobs["machines"]["steps"])


def test_what_the_workflow_reads_of_a_cell_is_there() -> None:
    jobs = yamlio.loads((ROOT / ".github/workflows/nightly.yml").read_text())["jobs"]
    text = yamlio.dumps(jobs["cell"])
    from harness.cli.commands.matrix import _github  # noqa: PLC0415
    from harness.steps.matrix.plan import load  # noqa: PLC0415

    printed = _github([cell for cell in load() if not cell.unavailable])
    assert "\n" not in printed
    include = yamlio.loads(printed)["include"]
    assert set(re.findall(r"matrix\.(\w+)", text.replace("plan.outputs.cells", ""))) <= set(include[0])
