"""Whatever was injected is undone, in the opposite order, also when something fails in between."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from harness import timeouts
from harness.faults.inject import KFAULT, Injected, Scene, injected, route_vector, saved_state
from harness.faults.model import Fault
from harness.model.expression import ExpressionError
from harness.model.fault import Action
from harness.model.spot import Spot
from harness.runner import Argv, CommandError, Completed

Answer = Callable[[tuple[str, ...]], str]


class Recording:
    """A runner that remembers vectors and answers from a function."""

    def __init__(self, answer: Answer = lambda _: "", fails: tuple[str, ...] = ()) -> None:
        self.answer, self.fails = answer, fails
        self.ran: list[str] = []
        self.inputs: list[str] = []
        self.patience: list[float] = []

    def run(
        self,
        argv: Argv,
        *,
        input: str | None = None,  # noqa: A002 - as Runner has it
        timeout: float = 1.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        del env
        self.patience.append(timeout)
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
    known = {"C2": "10.244.1.0/24", "U": "eth0", **values}
    return Scene(lambda name: Spot(name, f"place {name}", runner), known, ("n1",), ("agentd",))


def does(command: str, **more: Any) -> Action:
    return Action(at="n1", run=tuple(command.split(" ")), **more)


def fault(**facts: object) -> Fault:
    base: dict[str, object] = {"id": "F00", "name": "x", "title": "A fault", "kills": ("node.routes",), "inject": ()}
    return Fault.model_validate(base | facts)


def test_a_route_is_kept_deleted_and_put_back() -> None:
    runner = Recording(lambda words: "10.244.1.0/24 via 10.244.1.0 dev v onlink\n" if "show" in words else "")
    one = fault(
        inject=(
            Action(at="n1", run=("ip", "route", "show", "{{ C2 }}"), keep="route"),
            Action(at="n1", run=("ip", "route", "del", "{{ C2 }}")),
        ),
        undo=(Action(at="n1", run=("ip", "route", "replace", "{{* route }}")),),
    )
    with injected(one, scene(runner)):
        assert runner.ran[-1] == "ip route del 10.244.1.0/24"
    assert runner.ran[-1] == "ip route replace 10.244.1.0/24 via 10.244.1.0 dev v onlink"


def test_the_table_is_made_before_and_deleted_after() -> None:
    runner = Recording()
    one = fault(table=("n1",), inject=(does("nft add rule inet kfault kfwd drop"),))
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
    one = fault(table=("n1",), inject=(does("reboot"),), undo=(does("ip link set eth0 up"),))
    with pytest.raises(CommandError), injected(one, scene(runner)):
        pytest.fail("the body must not run")
    assert "ip link set eth0 up" in runner.ran
    assert "nft delete table inet kfault" in runner.ran


def test_undoing_goes_on_after_a_failure_and_then_says_so() -> None:
    runner = Recording(fails=("first", "third"))
    one = fault(undo=(does("first"), does("second"), does("third"), does("{{nowhere}}")))
    with pytest.raises(CommandError) as caught, injected(one, scene(runner)):
        pass
    assert runner.ran == ["first", "second", "third"]
    assert caught.value.notes == ["failed", "nowhere: 'nowhere' is undefined"]


def test_what_was_never_read_is_not_put_back() -> None:
    runner = Recording(fails=("show",))
    undo = (does("ip route replace {{*route}}"), does("ip link set eth0 up"))
    one = fault(inject=(does("ip route show", keep="route"), does("ip route del default")), undo=undo)
    with pytest.raises(CommandError), injected(one, scene(runner)):
        pytest.fail("the body must not run")
    assert runner.ran == ["ip route show", "ip link set eth0 up"]


def test_all_commands_are_remembered_those_that_failed_among_them() -> None:
    runner = Recording(lambda words: "17" if words[0] == "pgrep" else "", fails=("reboot",))
    done = Injected(fault(stop=("agent@*",), inject=(does("true"), does("reboot")), undo=(does("up"),)))
    with pytest.raises(CommandError):
        done.inject(scene(runner))
    assert done.undo(scene(runner)) == []
    ran = [(one.spot.label, " ".join(one.argv), one.completed.returncode) for one in done.ran]
    commands = [
        ("pgrep -x agentd", 0),
        ("kill -STOP 17", 0),
        ("true", 0),
        ("reboot", 1),
        ("up", 0),
        ("kill -CONT 17", 0),
    ]
    assert ran == [("place n1", command, code) for command, code in commands]


def test_a_value_that_is_not_there_leaves_no_fault() -> None:
    runner = Recording()
    one = fault(inject=(does("ip route del {{T9}}"),), undo=(does("undo"),))
    with pytest.raises(ExpressionError, match="T9"), injected(one, scene(runner)):
        pytest.fail("the body must not run")
    assert runner.ran == ["undo"]


def test_a_command_has_as_long_as_it_says() -> None:
    runner = Recording()
    with injected(fault(inject=(does("slow", deadline=190),), undo=(does("undo"),)), scene(runner)):
        pass
    assert runner.patience == [190, timeouts.COMMAND]


def test_a_place_has_facts_of_its_own() -> None:
    runner = Recording()
    base = scene(runner)
    there = Scene(lambda name: Spot(name, name, runner, {"node": {"name": name}}), base.values, base.nodes, base.agents)
    with injected(fault(inject=(Action(at="n1", run=("echo", "{{ node.name }}")),), undo=(does("undo"),)), there):
        assert runner.ran == ["echo n1"]


def test_a_link_that_a_network_does_not_have_has_no_state() -> None:
    runner = Recording(lambda _: "[]")
    with injected(fault(state=("n1:{{ V }}", "n1:{{ U }}")), scene(runner)):
        assert {words.split("dev ")[1].split()[0] for words in runner.ran} == {"eth0"}


def test_a_body_that_fails_leaves_no_fault() -> None:
    runner = Recording()
    one = fault(undo=(does("undo"),))
    msg = "probe"
    with pytest.raises(RuntimeError, match=msg), injected(one, scene(runner)):
        raise RuntimeError(msg)
    assert runner.ran == ["undo"]


def test_what_a_link_loses_when_it_is_down_is_replayed_and_the_kernels_own_is_not() -> None:
    def answer(words: tuple[str, ...]) -> str:
        if words[:4] == ("ip", "-6", "-j", "address"):
            told = [{"family": "inet6", "local": "fd00::11", "prefixlen": 64, "scope": "global"}]
            return json.dumps([{"ifname": "v0", "addr_info": told}])
        if words[:4] == ("ip", "-6", "-j", "route"):
            own = {"dst": "fe80::/64", "protocol": "kernel", "flags": []}
            return json.dumps([own, {"dst": "default", "gateway": "fd00::1", "metric": 1024, "flags": []}])
        if words[:4] == ("ip", "-4", "-j", "route"):
            return json.dumps(
                [
                    {"dst": "10.244.0.0/24", "protocol": "kernel"},
                    {"dst": "10.244.1.0/24", "gateway": "10.244.1.0", "flags": ["onlink"]},
                    {"dst": "default", "gateway": "10.0.0.1", "metric": 100, "flags": []},
                ]
            )
        return json.dumps([{"dst": "10.244.1.0", "lladdr": "02:00:00:00:00:01", "state": ["PERMANENT"]}])

    assert [" ".join(vector) for vector in saved_state(Recording(answer), "v0")] == [
        "ip -6 address replace fd00::11/64 dev v0 nodad",
        "ip -4 route replace 10.244.1.0/24 via 10.244.1.0 dev v0 onlink",
        "ip -4 route replace default via 10.0.0.1 dev v0 metric 100",
        "ip -6 route replace default via fd00::1 dev v0 metric 1024",
        "ip neigh replace 10.244.1.0 lladdr 02:00:00:00:00:01 dev v0 nud permanent",
    ]


def test_a_route_keeps_its_scope_and_source() -> None:
    row = {"dst": "10.1.0.0/16", "scope": "link", "prefsrc": "10.1.0.1"}
    assert route_vector(row, "d")[5:] == ["dev", "d", "scope", "link", "src", "10.1.0.1"]
