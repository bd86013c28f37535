"""Real labs on this machine, one after the other, each in a state directory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import timeouts
from tests.e2e import snapshot

PREFIX = f"e2e{os.getpid() % 10000}"
"""Begins the names of all labs of this session, so that they meet nobody else's."""

NIGHT = "CNILAB_NIGHT_TESTS"
"""1: what takes too long for every commit runs, too."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is e2e, and none of it works without root."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("night") and not os.environ.get(NIGHT):
                item.add_marker(pytest.mark.skip(reason="takes long: tox -e night"))
            # Not of the fixtures: the first one may have to build all components. An item's own mark counts before that
            # of its module, which may allow more.
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(900, func_only=True))


@pytest.fixture(autouse=True, scope="session")
def _as_patient_as_the_programs() -> Iterator[None]:
    """What tests wait for themselves takes as long here as what the programs that they start wait for."""
    with timeouts.paced(timeouts.heard(os.environ)):
        yield


@dataclass
class Cli:
    """The command line as a user has it: a process of its own.

    Args:
        home: Working directory; state is kept below it.
    """

    home: Path

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.home / "state"

    @property
    def environment(self) -> dict[str, str]:
        """The user's environment, without settings of the user's own cnilab, but with the warm cache."""
        settings = ("CACHE", "SOURCES", "OFFLINE", "APT", "TIMEOUT_SCALE", "UNPINNED", "VM_FAST")
        kept = {f"CNILAB_{name}" for name in settings}
        base = {key: value for key, value in os.environ.items() if not key.startswith("CNILAB_") or key in kept}
        return {**base, "CNILAB_STATE": str(self.state), "XDG_CONFIG_HOME": str(self.home), "CI": "1", "NO_COLOR": "1"}

    def argv(self, *words: str | Path) -> list[str]:
        """The whole vector."""
        return [sys.executable, "-m", "harness.cli.main", *map(str, words)]

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start and return at once, in a process group of its own."""
        return subprocess.Popen(
            self.argv(*words),
            cwd=self.home,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(
        self, *words: str | Path, code: int | None = 0, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end, and insist on the exit code; None accepts any."""
        done = subprocess.run(
            self.argv(*words),
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert code in {None, done.returncode}, f"cnilab {words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def data(self, *words: str | Path, code: int | None = 0, timeout: float = 600) -> dict[str, Any]:
        """Run with `-o json`, and decode; None accepts any exit code."""
        done = self(*words, "-o", "json", code=code, timeout=timeout)
        assert done.stdout, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def mutations(self, lab: str, *faults: str) -> set[str]:
        """Inject faults, insist that each was noticed that changes anything here, and say which checks noticed one."""
        words = [word for fault in faults for word in ("--fault", fault)] or ["--faults"]
        # Each fault is looked at, undone, and waited for: far more than a command usually takes.
        done = self("test", "--cluster", lab, *words, "-o", "json", code=None, timeout=2400)
        assert done.stdout, done.stderr
        items = json.loads(done.stdout)["items"]
        wrong = {one["fault"]: one["detail"] for one in items if one["outcome"] in {"survived", "imprecise", "error"}}
        assert wrong == {}
        return {target.partition("[")[0] for one in items for target in one["killed_by"]}

    def labs(self) -> dict[str, str]:
        """Name and status of all labs."""
        return {item["name"]: item["status"] for item in self.data("status")["items"]}


@pytest.fixture(scope="session", autouse=True)
def _needs_root() -> None:
    if os.geteuid():
        pytest.skip("real clusters need root")


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Components and images are in the cache, so that no test waits for a build."""
    cli = Cli(tmp_path_factory.mktemp("warm"))
    name = f"{PREFIX}-warm"
    cli("components", "ensure", timeout=3600)
    cli("up", "flannel", "--name", name, "--nodes", "1")
    cli("down", name)
    return cli


@pytest.fixture
def untouched(warm: Cli) -> Iterator[list[str]]:
    """The machine must be afterwards as it was before. Yields the names of labs that the test may use."""
    del warm
    mine = [f"{PREFIX}-{letter}" for letter in "abcd"]
    before = snapshot.take(mine)
    yield mine
    assert snapshot.settle(before, mine) == {}


@pytest.fixture
def cli(tmp_path: Path, untouched: list[str]) -> Iterator[Cli]:
    """A user with no lab; whatever the test leaves is taken down, before the machine is looked at again."""
    del untouched
    user = Cli(tmp_path)
    yield user
    user("down", "--all")


@pytest.fixture(scope="session")
def flannel(warm: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, str]]:
    """One lab with flannel and two nodes that tests share; they must leave it as it is."""
    del warm
    cli = Cli(tmp_path_factory.mktemp("flannel"))
    name = f"{PREFIX}-shared"
    cli("up", "flannel", "--name", name)
    yield cli, name
    cli("collect", "--cluster", name)
    cli("down", name)
    assert cli.labs() == {}
