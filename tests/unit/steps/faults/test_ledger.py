"""What is injected is written down before it happens, and taken back by another process that has only the file."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import UsageError
from harness.faults.inject import KFAULT, Scene
from harness.faults.model import Fault
from harness.model import injection
from harness.model.expression import ExpressionError
from harness.model.injection import Injection
from harness.model.labstate import LabDir
from harness.model.spot import Spot
from harness.runner import Argv, CommandError, Completed
from harness.steps.faults.ledger import Ledger, TakenBack, inject, take_back
from harness.steps.faults.places import Places


class KilledError(BaseException):
    """Stands for SIGKILL: nothing of the process runs after it."""


class Machine:
    """A node's runner: remembers commands, looks at the file whenever one runs, and may be killed at one."""

    def __init__(self, place: LabDir) -> None:
        self.place = place
        self.ran: list[str] = []
        self.known: list[tuple[Injection, ...]] = []
        self.inputs: list[str] = []
        self.answers: dict[str, str] = {}
        self.fails: tuple[str, ...] = ()
        self.silent: tuple[str, ...] = ()
        self.dies_at = ""

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
        words = " ".join(str(word) for word in argv)
        self.known.append(injection.read(self.place))
        if self.dies_at and self.dies_at in words:
            raise KilledError
        self.ran.append(words)
        self.inputs.append(input or "")
        if any(one in words for one in self.silent):
            msg = "no answer within 1 s"
            raise CommandError(msg)
        code = 1 if any(one in words for one in self.fails) else 0
        answer = next((text for key, text in self.answers.items() if key in words), "")
        done = Completed(tuple(str(word) for word in argv), code, answer, "no")
        return done.insist(str(argv[0])) if check else done

    def start(self, argv: Argv, **_: object) -> subprocess.Popen[bytes]:
        raise NotImplementedError


@pytest.fixture
def place(tmp_path: Path) -> LabDir:
    found = LabDir(tmp_path, "hb")
    found.path.mkdir(parents=True)
    return found


@pytest.fixture
def machine(place: LabDir) -> Machine:
    return Machine(place)


@pytest.fixture
def places(machine: Machine) -> Places:
    nodes = tuple(SimpleNamespace(name=name, runner=machine) for name in ("n1", "n2"))
    return Places(SimpleNamespace(lab=SimpleNamespace(nodes=nodes, name="hb"), kubectl=machine))  # type: ignore[arg-type]


@pytest.fixture
def scene(machine: Machine) -> Scene:
    return Scene(
        lambda name: Spot(name, name, machine), {"C2": "10.244.1.0/24", "N2": "10.0.0.2"}, ("n1",), ("agentd",)
    )


def fault(number: str = "F00", **facts: object) -> Fault:
    base: dict[str, object] = {"id": number, "name": f"x{number}", "title": "A fault", "kills": ("node.routes",)}
    return Fault.model_validate({**base, "inject": (), **facts})


def at(command: str, **more: Any) -> dict[str, Any]:
    return {"at": "n1", "run": command.split(" "), **more}


ROUTE: dict[str, Any] = {
    "stop": ("agent@n1",),
    "table": ("n1",),
    "inject": (
        at("ip route show {{C2}}", keep="route"),
        at("ip route del {{C2}}"),
        at("ip route add unreachable {{C2}}"),
    ),
    "undo": (at("ip route del unreachable {{C2}}"), at("ip route replace {{*route}}")),
}
ANSWERS = {"pgrep": "17\n", "route show": "10.244.1.0/24 via 10.0.0.2 dev eth0\n"}

Put = Callable[..., Injection]


@pytest.fixture
def put(place: LabDir, machine: Machine, places: Places, scene: Scene) -> Put:
    machine.answers = ANSWERS

    def one(what: Fault, *, secret: bool = False) -> Injection:
        return inject(what, scene, places, Ledger(place), secret=secret)

    return one


def clear(place: LabDir, places: Places) -> list[TakenBack]:
    """As another process does."""
    ledger = Ledger(place)
    return [take_back(item, places, ledger) for item in reversed(ledger.items)]


def undo(items: tuple[Injection, ...]) -> list[str]:
    return [" ".join(step.run) for step in items[-1].undo]


def test_the_file_is_there_before_the_first_command_and_knows_how_to_undo_each(put: Put, machine: Machine) -> None:
    put(fault(**ROUTE))
    assert machine.ran == [
        "pgrep -x agentd",
        "kill -STOP 17",
        "nft -f -",
        "ip route show 10.244.1.0/24",
        "ip route del 10.244.1.0/24",
        "ip route add unreachable 10.244.1.0/24",
    ]
    assert machine.inputs[2] == KFAULT
    unreachable, table, go_on = (
        "ip route del unreachable 10.244.1.0/24",
        "nft delete table inet kfault",
        "kill -CONT 17",
    )
    replace = "ip route replace 10.244.1.0/24 via 10.0.0.2 dev eth0"
    assert [undo(items) for items in machine.known] == [
        [unreachable],
        [unreachable, go_on],
        [unreachable, table, go_on],
        [unreachable, table, go_on],
        [unreachable, replace, table, go_on],
        [unreachable, replace, table, go_on],
    ]
    assert [len(items[0].did) for items in machine.known] == [0, 1, 2, 3, 4, 5]
    assert not any(items[0].complete for items in machine.known)


def test_the_file_is_private_and_versioned(put: Put, place: LabDir) -> None:
    put(fault(**ROUTE))
    path = place.path / "faults.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith('{\n "schema": 1,')
    assert injection.read(place)[0].complete
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(UsageError, match="the record of what is injected in cluster 'hb' cannot be read"):
        injection.read(place)


def test_clearing_needs_only_the_file_and_repeats(put: Put, place: LabDir, machine: Machine, places: Places) -> None:
    put(fault(**ROUTE))
    machine.ran.clear()
    (done,) = clear(place, places)
    assert machine.ran == [
        "ip route del unreachable 10.244.1.0/24",
        "ip route replace 10.244.1.0/24 via 10.0.0.2 dev eth0",
        "nft delete table inet kfault",
        "kill -CONT 17",
    ]
    assert (done.failures, done.doubtful, done.moot) == ([], [], [])
    assert not (place.path / "faults.json").exists()
    assert clear(place, places) == []


def test_the_last_one_is_undone_first(put: Put, place: LabDir, machine: Machine, places: Places) -> None:
    for number in ("F01", "F02"):
        put(fault(number, inject=(at("true"),), undo=(at(f"undo {number}"),)))
    machine.ran.clear()
    clear(place, places)
    assert machine.ran == ["undo F02", "undo F01"]


@pytest.mark.parametrize("moment", ["pgrep", "kill -STOP", "nft -f", "route show", "route del", "add unreachable"])
def test_a_fault_whose_injection_was_killed_is_cleared(
    moment: str, put: Put, place: LabDir, machine: Machine, places: Places
) -> None:
    """What was never done cannot be undone, which is no failure then."""
    machine.dies_at = moment
    with pytest.raises(KilledError):
        put(fault(**ROUTE))
    assert not injection.read(place)[0].complete
    machine.dies_at, machine.fails = "", ("del unreachable",)
    (done,) = clear(place, places)
    assert done.failures == []
    assert [" ".join(step.run) for step in done.doubtful] == ["ip route del unreachable 10.244.1.0/24"]
    assert injection.read(place) == ()


def test_a_clearing_that_was_killed_goes_on_where_it_was(
    put: Put, place: LabDir, machine: Machine, places: Places
) -> None:
    put(fault(**ROUTE))
    machine.dies_at = "route replace"
    with pytest.raises(KilledError):
        clear(place, places)
    machine.ran.clear()
    machine.dies_at, machine.fails = "", ("route replace",)
    (done,) = clear(place, places)
    assert machine.ran[0].startswith("ip route replace"), "what is done is not repeated"
    assert (len(done.doubtful), done.failures) == (1, [])
    assert injection.read(place) == ()


def test_what_fails_is_tried_again_and_the_rest_is_not(
    put: Put, place: LabDir, machine: Machine, places: Places
) -> None:
    put(fault(**ROUTE))
    for _ in range(2):
        machine.fails = ("route replace",)
        (done,) = clear(place, places)
        assert [step.run[2] for step, _ in done.failures] == ["replace"]
        assert undo(injection.read(place)) == []
        assert [step.run[2] for step in injection.read(place)[0].failed] == ["replace"]
    machine.fails = ()
    machine.ran.clear()
    assert clear(place, places)[0].failures == []
    assert machine.ran == ["ip route replace 10.244.1.0/24 via 10.0.0.2 dev eth0"]


def test_a_command_that_did_not_end_is_a_failure_also_of_half_a_fault(
    put: Put, place: LabDir, machine: Machine, places: Places
) -> None:
    machine.dies_at = "add unreachable"
    with pytest.raises(KilledError):
        put(fault(**ROUTE))
    machine.dies_at, machine.silent = "", ("del unreachable",)
    assert len(clear(place, places)[0].failures) == 1


def test_a_program_that_another_fault_needs_stopped_stays_so(
    put: Put, place: LabDir, machine: Machine, places: Places
) -> None:
    for number in ("F01", "F02"):
        put(fault(number, stop=("agent@n1",)))
    machine.ran.clear()
    last, first = clear(place, places)
    assert machine.ran == ["kill -CONT 17"]
    assert ([len(one.shared) for one in (last, first)], first.item.fault) == ([1, 0], "F01")


def test_a_link_that_is_not_restored_is_told_by_its_place(
    put: Put, place: LabDir, machine: Machine, places: Places
) -> None:
    machine.answers = {"ip -4 -j route": '[{"dst": "default", "gateway": "10.0.0.1"}]', "ip -j neigh": "[]"}
    put(fault(state=("n1:eth0",), inject=(at("ip link set eth0 down"),)))
    machine.fails = ("route replace default",)
    ((_, error),) = clear(place, places)[0].failures
    assert error.what == "could not restore the state of n1"


def test_a_value_that_is_not_there_is_known_before_the_first_command(put: Put, machine: Machine) -> None:
    with pytest.raises(ExpressionError, match="T9"):
        put(fault(inject=(at("true"),), undo=(at("ip route del {{T9}}"),)))
    assert machine.ran == []


def test_a_pod_that_is_gone_took_the_fault_with_it(
    place: LabDir, machine: Machine, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the same name that was made since is another one."""

    def running(sandbox: str) -> Any:
        pod = SimpleNamespace(id=sandbox, namespace="cnilab-probe", pod="a", key="cnilab-probe/a")
        return SimpleNamespace(sandboxes=(pod,), find=lambda *_: pod, netns_runner=lambda _: machine)

    monkeypatch.setattr("harness.steps.faults.places.sandboxes.take", lambda _: running("old"))
    there = Scene(lambda name: Spot(name, name, machine), {}, ("n1",), ())
    action = {"at": "a", "run": ["ip", "link", "set", "lo", "down"]}
    inject(fault(inject=(action,), undo=({**action, "run": ["up"]},)), there, places, Ledger(place), secret=False)
    assert injection.read(place)[0].undo[0].where.sandbox == "old"
    machine.ran.clear()
    monkeypatch.setattr("harness.steps.faults.places.sandboxes.take", lambda _: running("new"))
    again = Places(places._attached)
    (done,) = clear(place, again)
    assert (machine.ran, len(done.moot), done.failures) == ([], 1, [])


def test_only_one_at_a_time(place: LabDir) -> None:
    with (
        injection.held(place),
        pytest.raises(UsageError, match="another command injects or clears faults in cluster 'hb' now"),
        injection.held(place),
    ):
        pytest.fail("two hold it")
    with injection.held(place):
        pass


def test_what_needs_an_intact_cluster_says_what_is_injected_and_keeps_secrets(put: Put, place: LabDir) -> None:
    injection.require_none(place, "'cnilab apply'")
    put(fault("F01", inject=()), secret=False)
    put(fault("F02", inject=()), secret=True)
    with pytest.raises(UsageError) as caught:
        injection.require_none(place, "'cnilab apply'")
    assert str(caught.value) == (
        "cluster 'hb' has injected faults, but 'cnilab apply' needs one without\n"
        "  cause: injected: F01 xF01, and 1 secret fault\n"
        "  next:  cnilab fault clear --cluster hb"
    )
