"""The engine: order of commands, faults, captures, and what becomes of results."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import timeouts
from harness.model.lab import LabDefinition
from harness.model.records import LabStep, Packet
from harness.runner import CommandError, Completed
from harness.steps.labs.run import LabRun
from tests.unit.steps.labs.conftest import Answer, FakeCluster, said

MakeLab = Callable[..., LabDefinition]
ECHO = {"id": "echo", "title": "Echo", "run": ["echo", "x"]}


def run(definition: LabDefinition, cluster: FakeCluster, tmp_path: Path) -> list[LabStep]:
    return LabRun(definition, cluster, tmp_path / "labs" / "small", tmp_path, lambda _: None).run()


def always(text: str = "", code: int = 0, errors: str = "") -> Answer:
    return lambda _place, _argv: said(text, code, errors)


def step(**fields: Any) -> dict[str, Any]:
    return {"id": "one", "title": "One step", **fields}


def expect(that: str, **fields: Any) -> dict[str, Any]:
    return {"that": that, "because": "It is so.", **fields}


def test_an_expectation_that_holds_passes_and_shows_its_sides(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(always("10.244.0.2\n"))
    made = run(lab(step(on="pod/a", run=["curl", "x"], expect=[expect("stdout.strip() == pod.ip")])), cluster, tmp_path)
    assert [(one.status, one.observed) for one in made] == [("pass", "10.244.0.2 == 10.244.0.2")]


def test_an_expectation_that_does_not_hold_fails_and_shows_its_sides(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(always("10.244.9.9\n"))
    made = run(lab(step(on="pod/a", run=["curl", "x"], expect=[expect("stdout.strip() == pod.ip")])), cluster, tmp_path)
    assert [(one.status, one.observed) for one in made] == [("fail", "10.244.9.9 == 10.244.0.2")]


def test_a_record_never_fails(lab: MakeLab, tmp_path: Path) -> None:
    made = run(lab(step(run=["ls"], expect=[expect("rc == 5", level="record")])), FakeCluster(always()), tmp_path)
    assert made[0].status == "record"


def test_expressions_in_words_are_replaced_and_stay_one_word(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(always())
    run(lab(step(run=["curl", "http://{{ pods.b.ip }}/a b; rm -rf /"])), cluster, tmp_path)
    assert cluster.log == [("operator", ("curl", "http://10.244.1.2/a b; rm -rf /"))]


def test_in_several_places_one_wrong_place_is_named(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(lambda place, _: said("yes" if place == "n1" else "no"))
    definition = lab(step(on="each-node", run=["cat", "x"], expect=[expect("result == 'yes'")]))
    made = run(definition, cluster, tmp_path)
    assert (made[0].status, made[0].reason, made[0].observed) == ("fail", "not true in 1 of 2", "node n2: no == yes")
    assert made[0].place == "node n1, node n2"


def test_a_command_runs_for_every_item_in_every_place(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(always())
    run(lab(step(**{"on": "each-node", "for": "['x', 'y']", "run": ["ping", "{{ item }}"]})), cluster, tmp_path)
    assert sorted(cluster.log) == [(n, ("ping", i)) for n in ("n1", "n2") for i in ("x", "y")]


def test_items_are_called_by_their_names(lab: MakeLab, tmp_path: Path) -> None:
    items = '[{"metadata": {"name": "web"}}, {"ifname": "cni0"}, {"other": 1}]'
    definition = lab(step(run=["ip"], parse="json", expect=[expect("item == 1", **{"for": "result"})]))
    made = run(definition, FakeCluster(always(items)), tmp_path)
    assert [line.partition(":")[0] for line in made[0].observed.splitlines()] == ["web", "cni0", '{"other"']


def test_an_empty_census_is_a_failure_and_not_a_pass(lab: MakeLab, tmp_path: Path) -> None:
    definition = lab(step(run=["ls"], expect=[expect("item == 1", **{"for": "[]"})]))
    made = run(definition, FakeCluster(always()), tmp_path)
    assert (made[0].status, made[0].reason) == ("fail", "the census is empty")


def test_something_missing_in_a_result_fails_the_expectation(lab: MakeLab, tmp_path: Path) -> None:
    definition = lab(step(run=["ip"], parse="json", expect=[expect("result.mtu == 1450")]))
    made = run(definition, FakeCluster(always("{}")), tmp_path)
    assert made[0].status == "fail"
    assert "mtu" in made[0].observed


def test_saved_results_of_several_places_are_kept_by_place(lab: MakeLab, tmp_path: Path) -> None:
    steps = [
        step(on="each-node", run=["cat", "x"], save="them"),
        {"id": "two", "title": "Two", "expect": [expect("saved.them.n1 == 'n1' and saved.them.n2 == 'n2'")]},
    ]
    made = run(lab(*steps), FakeCluster(lambda place, _: said(place)), tmp_path)
    assert [one.status for one in made] == ["pass", "pass"]


def test_a_command_that_fails_stops_the_lab_and_skips_the_rest(lab: MakeLab, tmp_path: Path) -> None:
    made = run(lab(step(run=["ls"]), {**ECHO}), FakeCluster(always("", 2, "no such file")), tmp_path)
    assert [(one.step, one.status) for one in made] == [("one", "fail"), ("echo", "skip")]
    assert made[0].reason == "ls failed with exit status 2"
    assert made[0].observed == "operator: ls failed with exit status 2\nno such file"


def test_a_command_that_fails_leaves_its_transcript_and_captures(lab: MakeLab, tmp_path: Path) -> None:
    tap = {"name": "wire", "on": "node/n1", "filter": ["icmp"]}
    definition = lab(step(on="each-node", run=["ping", "{{ pods.b.ip }}"], capture=[tap]))
    made = run(definition, FakeCluster(lambda place, _: said(code=0 if place == "n1" else 1)), tmp_path)
    assert (made[0].place, made[0].command) == ("node n2, node n1", "ping 10.244.1.2")
    assert [one.kind for one in made[0].evidence] == ["log", "pcap"]


def test_a_program_that_hangs_fails_its_step(lab: MakeLab, tmp_path: Path) -> None:
    def answer(_place: str, _argv: tuple[str, ...]) -> Completed:
        msg = "no answer within 30 s"
        raise CommandError(msg)

    made = run(lab(step(run=["curl"]), {**ECHO}), FakeCluster(answer), tmp_path)
    assert [(one.status, one.exit_status) for one in made] == [("fail", 124), ("skip", None)]
    assert "no answer within 30 s" in made[0].observed


def test_an_expression_that_misses_something_fails_its_step(lab: MakeLab, tmp_path: Path) -> None:
    definition = lab(step(run=["ip"], parse="json", let={"first": "result[0].mtu"}, expect=[expect("first == 1")]))
    made = run(definition, FakeCluster(always("[]")), tmp_path)
    assert made[0].status == "fail"


def test_a_step_that_runs_always_runs_after_a_failure(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(lambda _place, argv: said(code=0 if argv[0] == "echo" else 1))
    made = run(lab(step(run=["ls"]), {**ECHO, "always": True}), cluster, tmp_path)
    assert [(one.step, one.status) for one in made] == [("one", "fail"), ("echo", "pass")]


def test_a_step_whose_condition_is_false_is_skipped_with_the_condition(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(always())
    made = run(lab(step(run=["ls"], when="nodes | length == 3"), {**ECHO}), cluster, tmp_path)
    assert [(one.status, one.reason) for one in made] == [("skip", "only when nodes | length == 3"), ("pass", "")]
    assert cluster.log == [("operator", ("echo", "x"))]


def test_a_failing_command_is_fine_where_the_step_says_so(lab: MakeLab, tmp_path: Path) -> None:
    definition = lab(step(run=["ping"], mayFail=True, expect=[expect("rc == 1")]))
    assert run(definition, FakeCluster(always(code=1)), tmp_path)[0].status == "pass"


def test_a_step_is_repeated_until_it_holds(lab: MakeLab, tmp_path: Path) -> None:
    answers = iter(["", "no", "yes"])
    cluster = FakeCluster(lambda _place, _argv: said(next(answers)))
    made = run(lab(step(run=["get"], retryUntil="result == 'yes'", expect=[expect("rc == 0")])), cluster, tmp_path)
    assert (made[0].status, len(cluster.log)) == ("pass", 3)


def test_a_deadline_that_passes_says_what_was_waited_for(lab: MakeLab, tmp_path: Path) -> None:
    definition = lab(step(run=["get"], retryUntil="result == 'yes'", deadline=0.1))
    made = run(definition, FakeCluster(always("no")), tmp_path)
    assert made[0].status == "fail"
    assert made[0].reason == "waited 0 s, but this did not become true: result == 'yes'"


CUT = {"title": "A cut cable", "on": "each-node", "inject": [{"run": ["cut"]}], "undo": [{"run": ["mend"]}]}
FAULT = {"cut": CUT}


def test_a_fault_is_repaired_by_its_step_and_only_once(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(always())
    definition = lab(step(inject="cut"), {"id": "two", "title": "Two", "repair": "cut"}, faults=FAULT)
    made = run(definition, cluster, tmp_path)
    assert cluster.log == [("n1", ("cut",)), ("n2", ("cut",)), ("n1", ("mend",)), ("n2", ("mend",))]
    assert [one.status for one in made] == ["pass", "pass"]


def test_a_repair_reads_its_text_and_what_it_does_besides_reads_none(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(always())
    undo = [{"run": ["mend"], "input": "of {{ node.name }}"}, {"run": ["look"]}]
    run(lab(step(inject="cut"), faults={"cut": {**CUT, "on": "node/n1", "undo": undo}}), cluster, tmp_path)
    assert cluster.inputs == {("cut",): None, ("mend",): "of n1", ("look",): None}


def test_a_fault_can_be_repaired_in_one_place_first(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(always())
    steps = [step(inject="cut"), {"id": "two", "title": "Two", "repair": "cut", "repairOn": "node/n2"}, {**ECHO}]
    run(lab(*steps, faults=FAULT), cluster, tmp_path)
    assert [place for place, argv in cluster.log if argv == ("mend",)] == ["n2", "n1"]
    assert cluster.log.index(("operator", ("echo", "x"))) < cluster.log.index(("n1", ("mend",)))


def test_a_fault_is_repaired_when_a_later_step_fails(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(lambda _place, argv: said(code=1 if argv[0] == "ls" else 0))
    made = run(lab(step(inject="cut"), {**ECHO, "run": ["ls"]}, faults=FAULT), cluster, tmp_path)
    assert [place for place, argv in cluster.log if argv == ("mend",)] == ["n2", "n1"]
    assert [one.step for one in made][-2:] == ["repair-cut", "repair-cut"]


def test_what_runs_always_finds_a_repaired_cluster_and_a_repair_that_fails_does_not_keep_it_from_running(
    lab: MakeLab, tmp_path: Path
) -> None:
    """A repair may take pods along, and the clean-up creates them again: the other way round they were missing."""
    for mended in (0, 1):
        codes = {"ls": 1, "mend": mended}
        cluster = FakeCluster(lambda _place, argv, codes=codes: said(code=codes.get(argv[0], 0)))  # type: ignore[misc]
        last = {"id": "last", "title": "Last", "repair": "cut"}
        steps = [step(inject="cut"), {**ECHO, "run": ["ls"]}, last, {**ECHO, "id": "anew", "always": True}]
        made = run(lab(*steps, faults=FAULT), cluster, tmp_path)
        assert [argv[0] for _, argv in cluster.log] == ["cut", "cut", "ls", "mend", "mend", "echo"]
        repaired = "error" if mended else "pass"
        assert [(one.step, one.status) for one in made] == [
            ("one", "pass"), ("echo", "fail"), ("repair-cut", repaired), ("repair-cut", repaired),
            ("last", "skip"), ("anew", "pass"),
        ]  # fmt: skip


def test_a_fault_is_repaired_when_the_engine_is_interrupted(lab: MakeLab, tmp_path: Path) -> None:
    def answer(_place: str, argv: tuple[str, ...]) -> Completed:
        if argv[0] == "ls":
            raise KeyboardInterrupt
        return said()

    cluster = FakeCluster(answer)
    with pytest.raises(KeyboardInterrupt):
        run(lab(step(inject="cut"), {**ECHO, "run": ["ls"]}, faults=FAULT), cluster, tmp_path)
    assert [place for place, argv in cluster.log if argv == ("mend",)] == ["n2", "n1"]


def test_once_stopped_no_step_begins_but_faults_are_repaired(lab: MakeLab, tmp_path: Path) -> None:
    stop = threading.Event()

    def answer(_place: str, argv: tuple[str, ...]) -> Completed:
        if argv[0] == "cut":
            stop.set()
        return said()

    cluster = FakeCluster(answer)
    definition = lab(step(inject="cut"), {**ECHO}, faults=FAULT)
    made = LabRun(definition, cluster, tmp_path / "labs", tmp_path, lambda _: None, stop).run()
    assert [(one.step, one.status, one.reason) for one in made] == [
        ("one", "pass", ""), ("repair-cut", "pass", ""), ("repair-cut", "pass", ""), ("echo", "skip", "interrupted"),
    ]  # fmt: skip
    assert [place for place, argv in cluster.log if argv == ("mend",)] == ["n2", "n1"]


def test_a_half_injected_fault_is_repaired_where_it_was_tried(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(lambda place, argv: said(code=1 if (place, argv[0]) == ("n2", "cut") else 0))
    made = run(lab(step(inject="cut"), faults=FAULT), cluster, tmp_path)
    assert made[0].status == "fail"
    assert [place for place, argv in cluster.log if argv == ("mend",)] == ["n2", "n1"]


def test_a_repair_that_fails_is_an_error(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(lambda _place, argv: said(code=1 if argv[0] == "mend" else 0, errors="stuck"))
    made = run(lab(step(inject="cut"), faults=FAULT), cluster, tmp_path)
    assert [one.status for one in made] == ["pass", "error", "error"]


def test_a_repair_goes_on_after_a_failure_in_every_place(lab: MakeLab, tmp_path: Path) -> None:
    fault = {**CUT, "undo": [{"run": ["mend"]}, {"run": ["look"]}]}
    cluster = FakeCluster(lambda _place, argv: said(code=1 if argv[0] == "mend" else 0, errors="stuck"))
    made = run(
        lab(step(inject="cut"), {"id": "two", "title": "Two", "repair": "cut"}, faults={"cut": fault}),
        cluster,
        tmp_path,
    )
    assert cluster.log[2:] == [(place, (word,)) for place in ("n1", "n2") for word in ("mend", "look")]
    assert [one.status for one in made] == ["pass", "fail"]
    assert made[1].reason.splitlines() == [
        "could not repair 'cut'", "  cause: stuck", "  where: node n1", "  note:  could not repair 'cut'",
    ]  # fmt: skip


def test_a_repair_that_hangs_is_tried_once_more_at_the_end(lab: MakeLab, tmp_path: Path) -> None:
    hung: list[str] = []

    def answer(place: str, argv: tuple[str, ...]) -> Completed:
        if (place, argv[0]) == ("n1", "mend") and not hung:
            hung.append(place)
            msg = "no answer within 30 s"
            raise CommandError(msg)
        return said()

    cluster = FakeCluster(answer)
    made = run(lab(step(inject="cut"), {"id": "two", "title": "Two", "repair": "cut"}, faults=FAULT), cluster, tmp_path)
    assert [place for place, argv in cluster.log if argv == ("mend",)] == ["n1", "n2", "n1"]
    assert [(one.step, one.status) for one in made] == [("one", "pass"), ("two", "error"), ("repair-cut", "pass")]


def test_a_fault_stops_programs_keeps_what_it_reads_and_acts_in_other_places(lab: MakeLab, tmp_path: Path) -> None:
    fault = {
        "title": "A detour",
        "on": "node/n1",
        "stop": ["agent@{{ node.name }}"],
        "inject": [
            {"run": ["ip", "route", "show"], "keep": "route"},
            {"at": "operator", "run": ["kubectl", "cordon", "{{ node.name }}"]},
        ],
        "undo": [{"run": ["ip", "route", "replace", "{{* route }}"]}],
    }
    cluster = FakeCluster(
        lambda _place, argv: said("17" if argv[0] == "pgrep" else "default via x" if "show" in argv else "")
    )
    made = run(lab(step(inject="detour"), faults={"detour": fault}), cluster, tmp_path)
    assert cluster.log == [
        ("n1", ("pgrep", "-x", "agentd")),
        ("n1", ("kill", "-STOP", "17")),
        ("n1", ("ip", "route", "show")),
        ("operator", ("kubectl", "cordon", "n1")),
        ("n1", ("ip", "route", "replace", "default", "via", "x")),
        ("n1", ("kill", "-CONT", "17")),
    ]
    assert [(one.status, one.command) for one in made][1:] == [("pass", "ip route replace default via x")]


def test_taps_run_around_the_command_and_their_packets_are_judged(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(always())
    cluster.packets["wire"] = (Packet(t_us=0, src="10.244.0.2", dst="8.8.8.8", proto="icmp", length=84, ttl=63),)
    tap = {"name": "wire", "on": "node/n1", "filter": ["icmp"]}
    definition = lab(step(on="pod/a", run=["ping"], capture=[tap], expect=[expect("taps.wire[0].ttl == 63")]))
    made = run(definition, cluster, tmp_path)
    assert cluster.log == [("taps", ("start",)), ("a", ("ping",)), ("taps", ("stop",))]
    assert made[0].status == "pass"
    pcap = next(one for one in made[0].evidence if one.kind == "pcap")
    assert pcap.detail["decoded"] == ["10.244.0.2 > 8.8.8.8 icmp ttl 63 length 84"]


def test_a_transcript_is_kept_as_a_terminal_would_show_it(lab: MakeLab, tmp_path: Path) -> None:
    made = run(lab(step(on="node/n1", run=["ip", "a b"])), FakeCluster(always("hello\n")), tmp_path)
    log = next(one for one in made[0].evidence if one.kind == "log")
    text = (tmp_path / log.detail["transcript"]).read_text(encoding="utf-8")
    assert text == "# node n1\n$ ip 'a b'\nhello\n[exit 0]\n\n"


def test_a_table_has_a_row_for_each_item(lab: MakeLab, tmp_path: Path) -> None:
    table = {"title": "Nodes", "of": "node_list", "columns": {"name": "item.name", "address": "item.address"}}
    made = run(lab(step(run=["ls"], tables=[table])), FakeCluster(always()), tmp_path)
    found = next(one for one in made[0].evidence if one.kind == "kernel")
    assert found.detail["rows"] == [["n1", "172.18.0.11"], ["n2", "172.18.0.12"]]


def test_pods_are_read_again_after_a_step_that_says_so(lab: MakeLab, tmp_path: Path) -> None:
    cluster = FakeCluster(always())
    run(lab(step(run=["kubectl"], refresh=True)), cluster, tmp_path)
    assert cluster.refreshed == 1


def test_after_a_lab_that_broke_off_pods_are_read_again(lab: MakeLab, tmp_path: Path) -> None:
    """Its pods may be others now, and the step that says so is one of those that did not run."""
    cluster = FakeCluster(lambda _place, argv: said(code=int(argv[0] == "broken")))
    run(lab(step(run=["fine"])), cluster, tmp_path)
    assert cluster.refreshed == 0
    run(lab(step(run=["broken"]), step(id="anew", run=["kubectl"], refresh=True)), cluster, tmp_path)
    assert cluster.refreshed == 1


def test_a_corrected_claim_is_shown_only_where_it_was_corrected(lab: MakeLab, tmp_path: Path) -> None:
    expectations = [expect("rc == 0", claim="It is 1."), expect("rc == 1", claim="It is 0.")]
    made = run(lab(step(run=["ls"], expect=expectations)), FakeCluster(always()), tmp_path)
    assert [one.claim for one in made] == ["It is 1.", ""]


def test_a_fault_has_as_long_as_it_says(lab: MakeLab, tmp_path: Path) -> None:
    fault = {
        "title": "Slow",
        "on": "operator",
        "inject": [{"run": ["cut"], "deadline": 190}],
        "undo": [{"run": ["mend"]}, {"run": ["wait"], "deadline": 60}],
    }
    cluster = FakeCluster(always())
    run(lab(step(inject="slow"), faults={"slow": fault}), cluster, tmp_path)
    assert cluster.patience == {("cut",): 190, ("mend",): timeouts.COMMAND, ("wait",): 60}
