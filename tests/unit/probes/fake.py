"""A runner that answers from a function, and nodes and labs of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from harness.model.family import Address
from harness.runner import Argv, CommandError, Completed, HostRunner, Runner

Answer = Callable[[tuple[str, ...], str], str | int]


@dataclass
class FakeRunner(HostRunner):
    """Records what it was asked to run; a number as answer is an exit status."""

    answer: Answer
    calls: list[tuple[str, ...]] = field(default_factory=list)
    prefix: tuple[str, ...] = ()
    cwd: Path | None = None

    def run(
        self,
        argv: Argv,
        *,
        input: str | None = None,  # noqa: A002
        timeout: float = 1.0,  # noqa: ARG002
        check: bool = True,
        env: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> Completed:
        vector = tuple(os.fspath(word) for word in argv)
        self.calls.append(vector)
        said = self.answer(vector, input or "")
        status, text = (said, "it broke") if isinstance(said, int) else (0, said)
        done = Completed(vector, status, text if status == 0 else "", text if status else "")
        if check and status:
            msg = "failed"
            raise CommandError(msg, done)
        return done


@dataclass(frozen=True)
class FakeNode:
    name: str
    address: Address
    runner: Runner
    entered: list[str] = field(default_factory=list)

    def into_netns(self, netns: str) -> Runner:
        self.entered.append(netns)
        return self.runner

    def into_container(self, pid: int) -> Runner:
        self.entered.append(str(pid))
        return self.runner

    def file(self, path: str) -> str:
        return self.runner.run(["cat", path]).stdout


@dataclass(frozen=True)
class FakeLab:
    nodes: tuple[FakeNode, ...]
    router: FakeNode | None = None
    far: FakeNode | None = None
    name: str = "lab"
    kubeconfig: Path = Path("/nonexistent")


def node(name: str, address: str, answer: Answer) -> FakeNode:
    return FakeNode(name, IPv4Address(address), FakeRunner(answer))
