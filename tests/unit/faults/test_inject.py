"""Whatever was injected is undone, in the opposite order, also when something fails in between."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping

import pytest

from harness.faults.inject import KFAULT, Scene, injected, route_vector, saved_state
from harness.faults.model import Action, Fault
from harness.runner import Argv, CommandError, Completed

Answer = Callable[[tuple[str, ...]], str]


class Recording:
    """A runner that remembers vectors and answers from a function."""

    def __init__(self, answer: Answer = lambda _: "", fails: tuple[str, ...] = ()) -> None:
        self.answer, self.fails = answer, fails
        self.ran: list[str] = []
        self.inputs: list[str] = []

    def run(
        self,
        argv: Argv,
        *,
        input: str | None = None,  # noqa: A002 - as Runner has it
        timeout: float = 1.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        del timeout, env
        vector = tuple(str(word) for word in argv)
        self.ran.append(" ".join(vector))
        self.inputs.append(input or "")
        code = 1 if any(word in self.ran[-1] for word in self.fails) else 0
        done = Completed(vector, code, self.answer(vector), "no")
        if check and code:
            msg = "failed"
            raise CommandError(msg, done)
        return done

    def start(self, argv: Argv, **_: object) -> subprocess.Popen[bytes]:
        raise NotImplementedError


def scene(runner: Recording, **values: str) -> Scene:
    return Scene({"n1": runner, "a": runner}, {"C2": "10.244.1.0/24", "U": "eth0", **values}, ("agentd",), ("n1",))


def fault(**facts: object) -> Fault:
    base: dict[str, object] = {"id": "F00", "name": "x", "title": "x", "kills": ("node.routes",), "inject": ()}
    return Fault.model_validate(base | facts)


def test_a_route_is_kept_deleted_and_put_back() -> None:
    runner = Recording(lambda words: "10.244.1.0/24 via 10.244.1.0 dev v onlink\n" if "show" in words else "")
    one = fault(
        inject=(
            Action(at="n1", run="ip route show {C2}", keep="route"),
            Action(at="n1", run="ip route del {C2}"),
        ),
        undo=(Action(at="n1", run="ip route replace {*route}"),),
    )
    with injected(one, scene(runner)):
        assert runner.ran[-1] == "ip route del 10.244.1.0/24"
    assert runner.ran[-1] == "ip route replace 10.244.1.0/24 via 10.244.1.0 dev v onlink"


def test_the_table_is_made_before_and_deleted_after() -> None:
    runner = Recording()
    one = fault(table=("n1",), inject=(Action(at="n1", run="nft add rule inet kfault kfwd drop"),))
    with injected(one, scene(runner)):
        assert runner.ran == ["nft -f -", "nft add rule inet kfault kfwd drop"]
        assert runner.inputs[0] == KFAULT
    assert runner.ran[-1] == "nft delete table inet kfault"


def test_a_program_that_would_repair_it_stands_still_meanwhile() -> None:
    runner = Recording(lambda words: "17 18" if words[0] == "pgrep" else "")
    with injected(fault(stop=("agent@n1",)), scene(runner)):
        assert runner.ran == ["pgrep -x agentd", "kill -STOP 17", "kill -STOP 18"]
    assert runner.ran[-2:] == ["kill -CONT 17", "kill -CONT 18"]


def test_a_fault_that_cannot_be_injected_is_undone_too() -> None:
    runner = Recording(fails=("reboot",))
    one = fault(
        table=("n1",), inject=(Action(at="n1", run="reboot"),), undo=(Action(at="n1", run="ip link set eth0 up"),)
    )
    with pytest.raises(CommandError), injected(one, scene(runner)):
        pytest.fail("the body must not run")
    assert "ip link set eth0 up" in runner.ran
    assert "nft delete table inet kfault" in runner.ran


def test_undoing_goes_on_after_a_failure_and_then_says_so() -> None:
    runner = Recording(fails=("first",))
    one = fault(undo=(Action(at="n1", run="first"), Action(at="n1", run="second")))
    with pytest.raises(CommandError), injected(one, scene(runner)):
        pass
    assert runner.ran == ["first", "second"]


def test_a_body_that_fails_leaves_no_fault() -> None:
    runner = Recording()
    one = fault(undo=(Action(at="n1", run="undo"),))
    msg = "probe"
    with pytest.raises(RuntimeError, match=msg), injected(one, scene(runner)):
        raise RuntimeError(msg)
    assert runner.ran == ["undo"]


def test_routes_and_permanent_neighbours_of_a_link_are_replayed_and_the_kernels_own_are_not() -> None:
    def answer(words: tuple[str, ...]) -> str:
        if words[2] == "route":
            return json.dumps(
                [
                    {"dst": "10.244.0.0/24", "protocol": "kernel"},
                    {"dst": "10.244.1.0/24", "gateway": "10.244.1.0", "flags": ["onlink"]},
                    {"dst": "default", "gateway": "10.0.0.1", "metric": 100, "flags": []},
                ]
            )
        return json.dumps([{"dst": "10.244.1.0", "lladdr": "02:00:00:00:00:01", "state": ["PERMANENT"]}])

    assert [" ".join(vector) for vector in saved_state(Recording(answer), "v0")] == [
        "ip route replace 10.244.1.0/24 via 10.244.1.0 dev v0 onlink",
        "ip route replace default via 10.0.0.1 dev v0 metric 100",
        "ip neigh replace 10.244.1.0 lladdr 02:00:00:00:00:01 dev v0 nud permanent",
    ]


def test_a_route_keeps_its_scope_and_source() -> None:
    row = {"dst": "10.1.0.0/16", "scope": "link", "prefsrc": "10.1.0.1"}
    assert route_vector(row, "d")[4:] == ["dev", "d", "scope", "link", "src", "10.1.0.1"]
