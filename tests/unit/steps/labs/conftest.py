"""A cluster that is not there: places whose programs answer from a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import pytest

from harness.model.lab import LabDefinition
from harness.model.records import Packet, Tap
from harness.model.spot import Spot
from harness.runner import Argv, Completed
from harness.steps.labs.place import TapWanted

Answer = Callable[[str, tuple[str, ...]], Completed]


def said(text: str = "", code: int = 0, errors: str = "") -> Completed:
    return Completed((), code, text, errors)


class FakeRunner:
    """Answers commands of one place, and remembers them."""

    def __init__(
        self,
        place: str,
        answer: Answer,
        log: list[tuple[str, tuple[str, ...]]],
        patience: dict[tuple[str, ...], float] | None = None,
        inputs: dict[tuple[str, ...], str | None] | None = None,
    ) -> None:
        self.place = place
        self.inputs = {} if inputs is None else inputs
        self.patience = {} if patience is None else patience
        self.answer = answer
        self.log = log

    def run(
        self,
        argv: Argv,
        *,
        input: str | None = None,  # noqa: A002
        timeout: float = 0.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        del env
        words = tuple(str(word) for word in argv)
        self.inputs[words] = input
        self.patience[words] = timeout
        self.log.append((self.place, words))
        done = self.answer(self.place, words)
        return done.insist(words[0]) if check else done

    def start(
        self,
        argv: Argv,
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] = -3,
        stderr: int | IO[bytes] = -3,
        env: Mapping[str, str] | None = None,
    ) -> Any:
        raise NotImplementedError


class FakeCluster:
    """Two nodes, one pod on each."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.log: list[tuple[str, tuple[str, ...]]] = []
        self.refreshed = 0
        self.patience: dict[tuple[str, ...], float] = {}
        self.inputs: dict[tuple[str, ...], str | None] = {}
        self.packets: dict[str, tuple[Packet, ...]] = {}
        self.agents = ("agentd",)

    def facts(self, namespace: str) -> dict[str, Any]:
        del namespace
        nodes = {name: {"name": name, "address": f"172.18.0.1{i}"} for i, name in enumerate(("n1", "n2"), 1)}
        pods = {name: {"name": name, "ip": f"10.244.{i}.2", "node": f"n{i + 1}"} for i, name in enumerate(("a", "b"))}
        listed = {"node_list": list(nodes.values()), "all_pods": list(pods.values())}
        return {"nodes": nodes, "pods": pods, **listed, "patience": 1}

    def refresh(self) -> None:
        self.refreshed += 1

    def spots(self, on: str, namespace: str, container: str = "") -> list[Spot]:
        del container
        facts = self.facts(namespace)
        kind, _, name = on.partition("/")
        if kind == "operator":
            return [self._spot("operator", "operator", {})]
        if kind in {"node", "each-node"}:
            return [self._spot(n, f"node {n}", {"node": f}) for n, f in facts["nodes"].items() if name in ("", n)]
        return [self._spot(n, f"pod {n}", {"pod": f}) for n, f in facts["pods"].items() if name in ("", n)]

    def _spot(self, name: str, label: str, facts: dict[str, Any]) -> Spot:
        return Spot(name, label, FakeRunner(name, self.answer, self.log, self.patience, self.inputs), facts)

    @contextmanager
    def taps(self, wanted: Sequence[TapWanted], namespace: str, stem: str) -> Iterator[dict[str, Tap]]:
        del namespace
        found: dict[str, Tap] = {}
        self.log.append(("taps", ("start",)))
        yield found
        self.log.append(("taps", ("stop",)))
        for index, tap in enumerate(wanted):
            found[tap.name] = Tap(
                batch="labs", flow=stem, order=index, node="n1", place=tap.on, interface=tap.interface,
                command=f"tcpdump -i {tap.interface}", pcap=f"captures/{stem}.pcap",
                packets=self.packets.get(tap.name, ()),
            )  # fmt: skip


@pytest.fixture
def lab() -> Callable[..., LabDefinition]:
    """Makes a lab of the given steps."""

    def make(*steps: dict[str, Any], **more: Any) -> LabDefinition:
        base = {"id": "small", "title": "Small lab", "chapter": "pods", "learn": "Little.", "minutes": 1}
        return LabDefinition.model_validate({**base, "steps": list(steps), **more})

    return make
