"""Which faults are injected and cleared, and what is refused before anything is touched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import CnilabError, UsageError
from harness.faults.catalogue import faults, find
from harness.faults.inject import Scene
from harness.model import injection
from harness.model.injection import Injection
from harness.model.journal import Journal
from harness.model.records import Event
from harness.model.spec import LabSpec
from harness.model.spot import Spot
from harness.steps.faults import hands
from harness.steps.faults.hands import Wanted, able, clear_faults, inject_faults, place_of
from harness.steps.faults.names import possible
from harness.steps.faults.scene import missing
from tests.unit.conformance import simlab
from tests.unit.steps.faults.test_ledger import Machine


@pytest.fixture
def there(tmp_path: Path) -> Any:
    """A cluster whose two nodes are one recording machine."""
    attached = SimpleNamespace(spec=LabSpec(name="hb"), state=tmp_path, variant=simlab.green().variant)
    place = place_of(attached)  # type: ignore[arg-type]
    place.path.mkdir(parents=True)
    machine = attached.kubectl = Machine(place)
    machine.answers = {"ip route show": "10.244.1.0/24 via 10.0.0.2 dev eth0", "pgrep": "17"}
    attached.lab = SimpleNamespace(nodes=[SimpleNamespace(name=name, runner=machine) for name in ("n1", "n2")])
    return attached


@pytest.fixture(autouse=True)
def observed(monkeypatch: pytest.MonkeyPatch, there: Any) -> list[tuple[str, ...]]:
    """Batches that were observed; what they saw is the green lab of the other tests."""
    asked: list[tuple[str, ...]] = []

    def observe(_: object, batches: Sequence[str], *__: object) -> list[object]:
        asked.append(tuple(batches))
        return []

    def scene(*_: object) -> Scene:
        values = dict.fromkeys(possible() - {"MASQ"}, "value")
        return Scene(lambda name: Spot(name, name, there.kubectl), values, ("n1", "n2"), ("agentd",))

    def running(_: object) -> Any:
        def find(namespace: str, pod: str) -> Any:
            return SimpleNamespace(id=pod, namespace=namespace, pod=pod, key=f"{namespace}/{pod}")

        pods = [find("cnilab-probe", pod) for pod in "abcd"]
        return SimpleNamespace(sandboxes=pods, find=find, netns_runner=lambda _: there.kubectl)

    green = simlab.green()
    monkeypatch.setattr("harness.steps.faults.places.sandboxes.take", running)
    monkeypatch.setattr(
        "harness.steps.faults.hands.suites.deploy", lambda *_, **__: SimpleNamespace(inventory=simlab.inventory())
    )
    monkeypatch.setattr(hands, "observe", observe)
    monkeypatch.setattr(hands, "Context", lambda *_: green)
    monkeypatch.setattr(hands, "scene", scene)
    return asked


def inject(there: Any, *words: str, seed: int = 0, secret: bool = False, journal: Journal | None = None) -> list[str]:
    wanted = Wanted(tuple(find(word) for word in words), seed, secret)
    return [one.fault for one in inject_faults(there, wanted, journal or Journal())]


def known(there: Any) -> tuple[Injection, ...]:
    return injection.read(place_of(there))


def test_faults_are_injected_in_the_order_of_the_call_and_cleared_in_the_opposite_one(there: Any) -> None:
    assert inject(there, "fwd-off", "F01") == ["F05", "F01"]
    assert [one.fault for one in known(there)] == ["F05", "F01"]
    assert [one.item.fault for one in clear_faults(there, (), Journal())] == ["F01", "F05"]
    assert clear_faults(there, (), Journal()) == []
    assert clear_faults(there, (find("F05"),), Journal()) == [], "what is not injected is cleared"


@pytest.mark.parametrize(
    ("stat", "awake"),
    [
        ("17 (agentd) T 1 17 17 0 -1", {}),
        ("17 (a) S d) S 1 17 17 0 -1", {"F01": ["n1"]}),  # proc_pid_stat(5): a name can have anything in it
        ("", {"F01": ["n1"]}),
    ],
)
def test_a_program_that_was_stopped_and_runs_again_is_told(there: Any, stat: str, awake: dict[str, Any]) -> None:
    inject(there, "F05", "F01")
    there.kubectl.answers["cat /proc/17/stat"] = stat
    assert hands.awake(there) == awake
    there.kubectl.fails = ("cat /proc/17/stat",)
    assert hands.awake(there) == {"F01": ["n1"]}


def test_one_of_several_is_cleared(there: Any) -> None:
    inject(there, "F05", "F01", "F46")
    assert [one.item.fault for one in clear_faults(there, (find("F01"),), Journal())] == ["F01"]
    assert [one.fault for one in known(there)] == ["F05", "F46"]


def test_what_a_cluster_lacks_is_said_in_words(there: Any) -> None:
    with pytest.raises(UsageError) as caught:
        inject(there, "F05", "F02")
    assert str(caught.value).splitlines()[:2] == [
        "F02 route-detour would change nothing on this cluster",
        "  cause: the cluster lacks: three (the cluster has three nodes or more)",
    ]
    assert known(there) == ()
    assert there.kubectl.ran == []


def test_a_fault_is_injected_once(there: Any, observed: list[tuple[str, ...]]) -> None:
    inject(there, "F05")
    before = list(observed)
    with pytest.raises(UsageError, match="F05 fwd-off is injected already"):
        inject(there, "F01", "F05")
    assert observed == before


def test_a_name_without_a_value_is_known_before_the_first_command(there: Any) -> None:
    with pytest.raises(UsageError, match="F43 masq-missing cannot be injected on this cluster as it is now"):
        inject(there, "F43")
    assert there.kubectl.ran == []


def test_all_are_injected_or_none(there: Any) -> None:
    inject(there, "F46")
    there.kubectl.fails = ("forwarding=0",)
    with pytest.raises(CnilabError, match="sysctl failed with exit status 1"):
        inject(there, "F05", "F07")
    assert [one.fault for one in known(there)] == ["F46"], "what was there before stays"
    assert there.kubectl.ran[-1] == "sysctl -qw net.ipv4.ip_forward=1"


def test_what_could_not_be_undone_after_a_failure_stays_known(there: Any) -> None:
    there.kubectl.fails = ("forwarding=0", "ip_forward=1")
    with pytest.raises(CnilabError) as caught:
        inject(there, "F05", "F07")
    assert caught.value.notes == [
        "not undone: n1: sysctl failed with exit status 1",
        "'cnilab fault clear' tries that again",
    ]
    assert [one.fault for one in known(there)] == ["F05"]


def test_chance_chooses_what_can_be_shown_and_a_seed_chooses_it_again(there: Any) -> None:
    fits = {one.id for one in faults() if not missing(one, simlab.green())} - {"F43"}
    seen = set()
    for seed in (1, 2, 3, 5):
        (first,) = inject(there, seed=seed)
        clear_faults(there, (), Journal())
        assert inject(there, seed=seed) == [first]
        assert inject(there, seed=seed) != [first], "not what is there already"
        clear_faults(there, (), Journal())
        seen.add(first)
    assert seen <= fits
    assert len(seen) > 1


def test_a_secret_is_not_in_the_titles_of_steps(there: Any) -> None:
    told: list[Event] = []
    inject(there, "F05", secret=True, journal=Journal(None, told.append))
    assert told
    text = "".join(event.model_dump_json() for event in told)
    assert not any(word in text for word in ("F05", "fwd-off", "forward"))
    assert injection.phrase(known(there)) == "1 secret fault"


def test_only_what_a_fault_works_with_is_observed(there: Any, observed: list[tuple[str, ...]]) -> None:
    for word in ("F05", "F69", "F46"):
        inject(there, word)
    assert observed == [("B0",), ("B0",), ("B7",), ("B0",)]


def test_a_table_with_rules_of_two_faults_goes_with_both(there: Any) -> None:
    inject(there, "F12", "F13")
    with pytest.raises(UsageError) as caught:
        clear_faults(there, (find("F12"),), Journal())
    assert caught.value.next_step == "clear them together: cnilab fault clear F12 F13"
    assert len(known(there)) == 2
    assert len(clear_faults(there, (find("F12"), find("F13")), Journal())) == 2
    inject(there, "F12")
    inject(there, "F13", secret=True)
    with pytest.raises(UsageError) as caught:
        clear_faults(there, (find("F12"),), Journal())
    assert (caught.value.cause, caught.value.next_step) == ("1 secret fault", "clear them together: cnilab fault clear")


def test_what_cannot_be_undone_is_forgotten_when_asked(there: Any) -> None:
    inject(there, "F05")
    there.kubectl.fails = ("ip_forward=1",)
    for forget in (False, True):
        (done,) = clear_faults(there, (), Journal(), forget=forget)
        assert len(done.failures) == 1
        assert (known(there) == ()) is forget


def test_a_survey_deploys_nothing(there: Any, monkeypatch: pytest.MonkeyPatch, observed: list[tuple[str, ...]]) -> None:
    monkeypatch.setattr(hands, "survey", lambda _: simlab.green())
    found = able(there)
    assert (found["F01"], found["F02"], set(found)) == ([], ["three"], {one.id for one in faults()})
    assert observed == []


def test_an_unknown_fault_is_told_with_those_that_may_be_meant() -> None:
    assert find("FWD-OFF").id == "F05"
    with pytest.raises(UsageError) as caught:
        find("fwdoff")
    assert caught.value.next_step.startswith("did you mean F05 fwd-off or ")
    with pytest.raises(UsageError) as caught:
        find("zzzzzzzz")
    assert caught.value.next_step == "'cnilab fault list' shows all"
