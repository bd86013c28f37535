from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from harness.errors import ReportError
from harness.model.journal import TEST
from harness.model.records import Dump, Event, Evidence, Exchange, Leg, Result
from harness.model.run import RunDir
from harness.model.topology import Interface, Place, Topology, TopologyNode
from harness.model.wellknown import SUPPORT
from reports import html, marks
from reports.addresses import Owners
from reports.build import build
from reports.model import Mark
from reports.panels.diagram import diagram
from reports.panels.mtu import mtu
from tests.unit.reports import sample


def _result(**facts: object) -> Result:
    return Result.model_validate(
        {"id": "model.x", "title": "X", "level": "M", "status": "pass", "statement": "x", **facts}
    )


def _only(tmp_path: Path, *results: Result) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.write_info(sample.info(sample.Sample()))
    run.add_results(results)
    return run


def test_the_banner_counts_what_holds(tmp_path: Path) -> None:
    verdict = build(_only(tmp_path, _result(id="model.x"), _result(id="dns.y", level="S"))).verdict
    assert verdict.subject == "flannel 0.28.10 on Kubernetes 1.34.4 (namespaces)"
    assert verdict.sentence == "2 of 2 requirements hold"
    assert verdict.tone == "good"


def test_a_network_that_is_not_the_pinned_one_is_called_so(tmp_path: Path) -> None:
    run = _only(tmp_path, _result())
    run.write_info(run.info().model_copy(update={"spec": {"cniVersion": "0.27.4"}}))
    report = build(run)
    assert report.verdict.subject == "flannel 0.27.4 (not the pinned version) on Kubernetes 1.34.4 (namespaces)"
    facts = {fact.name: fact.value for fact in report.environment.facts}
    assert facts["network"] == "0.27.4, not the pinned version, from its project's own images"


def test_records_are_not_counted_as_requirements(tmp_path: Path) -> None:
    verdict = build(_only(tmp_path, _result(), _result(id="model.r", level="R"))).verdict
    assert verdict.sentence == "1 of 1 requirement holds"


def test_a_failed_requirement_makes_the_banner_red(full: RunDir) -> None:
    verdict = build(full).verdict
    assert verdict.tone == "bad"
    assert verdict.sentence.startswith("14 of 16 requirements hold, 1 fails, 1 recommendation not met")


def test_a_failed_recommendation_alone_is_a_warning(tmp_path: Path) -> None:
    assert build(_only(tmp_path, _result(), _result(id="mtu.s", level="S", status="fail"))).verdict.tone == "warn"


def test_an_error_blames_the_lab_and_not_the_network(tmp_path: Path) -> None:
    verdict = build(_only(tmp_path, _result(), _result(id="mtu.s", status="error"))).verdict
    assert verdict.tone == "lab"
    assert "no verdict on 1" in verdict.sentence


def test_the_last_verdict_on_a_requirement_counts(tmp_path: Path) -> None:
    verdict = build(_only(tmp_path, _result(status="fail"), _result(status="pass"))).verdict
    assert verdict.sentence == "1 of 1 requirement holds"


def test_failures_come_before_advice_and_flakiness(full: RunDir) -> None:
    requirements = build(full).requirements
    assert requirements is not None
    assert [item.mark for item in requirements.attention] == [marks.FAIL, marks.FLAKY, marks.ADVICE]


def test_areas_are_those_of_the_catalogue_and_older_records_go_by_their_first_word(tmp_path: Path) -> None:
    table = build(_only(tmp_path, _result(id="old.x"), _result(id="svc.y", area="services"))).requirements
    assert table is not None
    assert [(area.key, area.name) for area in table.areas] == [("services", "Services"), ("old", "old")]


def test_a_failed_bring_up_names_step_cause_and_log(partial: RunDir) -> None:
    report = build(partial)
    assert report.verdict.tone == "lab"
    assert report.trouble is not None
    assert report.trouble.step == "API server answers (up.cluster.api)"
    assert "bind: address already in use" in report.trouble.cause
    assert report.trouble.tails[0].path == "logs/n1/etcd.log"
    assert not any((report.requirements, report.matrix, report.diagram))
    assert report.timeline is not None


def test_secrets_in_logs_are_not_shown(partial: RunDir) -> None:
    report = build(partial)
    assert report.trouble is not None
    texts = " ".join(tail.text for tail in report.trouble.tails)
    assert "abcdefghijklmnopqrstuvwxyz0123456789" not in texts
    assert "[redacted]" in texts


def test_a_half_written_line_is_told_and_the_rest_is_shown(full: RunDir) -> None:
    with (full.path / "results.jsonl").open("a") as file:
        file.write('{"schema":1,"id":"model.tr')
    report = build(full)
    assert report.requirements is not None
    assert report.environment.problems == ("results.jsonl: 1 of 20 lines could not be read",)


def test_a_kubernetes_that_nobody_mends_is_told_beside_its_version(full: RunDir) -> None:
    assert "support" not in [fact.name for fact in build(full).environment.facts]
    text = "Kubernetes 1.34 is out of support since 2026-10-27"
    full.add_event(Event(at="2026-11-01T00:00:00Z", step=SUPPORT, state="note", title=text))
    assert text in [fact.value for fact in build(full).environment.facts if fact.name == "support"]


def test_a_directory_without_anything_still_gives_a_report(tmp_path: Path) -> None:
    report = build(RunDir(tmp_path))
    assert report.verdict.sentence == "no check was judged yet"
    assert report.environment.problems


def test_no_directory_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no run directory") as caught:
        build(RunDir(tmp_path / "nowhere"))
    assert caught.value.next_step


def test_a_translated_source_is_unexpected_in_the_matrix(full: RunDir) -> None:
    matrix = build(full).matrix
    assert matrix is not None
    tcp = matrix.tabs[0]
    assert tcp.rows[1][3].mark is marks.UNEXPECTED
    assert tcp.rows[0][3].mark is marks.REACHED
    assert tcp.summary == "14 of 16 pairs as expected"
    pair = next(row for row in matrix.pairs if row.anchor == "pair-b-d")
    assert pair.seen_as == "seen as 10.244.0.0"


def test_the_matrix_is_grouped_by_node(full: RunDir) -> None:
    matrix = build(full).matrix
    assert matrix is not None
    assert matrix.groups == (("n1", 2), ("n2", 2))
    assert [axis.first_of_node for axis in matrix.axes] == [True, False, True, False]


def test_an_answer_from_another_pod_is_unexpected(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.write_info(sample.info(sample.Sample()))
    run.add_observations([
        Exchange(
            batch="B1", purpose="mesh", src="a", src_node="n1", src_ip="10.244.0.2", dst="c", dst_node="n2",
            proto="tcp", dial="10.244.1.2:8080", outcome="ok", token="d", peer="10.244.0.2:1", local="10.244.1.2:8080",
        )
    ])  # fmt: skip
    matrix = build(run).matrix
    assert matrix is not None
    assert matrix.tabs[0].rows[0][1].mark is marks.UNEXPECTED


def test_a_large_cluster_is_shown_by_node(tmp_path: Path) -> None:
    matrix = build(sample.write(tmp_path / "run", sample.Sample(nodes=11, pods_per_node=6))).matrix
    assert matrix is not None
    assert matrix.aggregated
    assert len(matrix.axes) == 11
    assert {row.anchor for row in matrix.pairs} >= {f"pair-b-p{65}"}


def test_of_pings_in_both_directions_the_senders_is_followed(full: RunDir) -> None:
    path = build(full).paths[0]
    assert (path.title, path.flow) == ("a → c", "ICMP echo")
    assert {hop.src.text for hop in path.sides[0].hops} == {"10.244.0.2"}
    assert {hop.src.text for hop in path.sides[1].hops} == {"10.244.1.2"}


def test_the_set_with_the_most_taps_is_shown(tmp_path: Path) -> None:
    taps = sample.taps(sample.Sample())
    run = RunDir(tmp_path / "run")
    run.write_info(sample.info(sample.Sample()))
    run.write_topology(sample.topology(sample.Sample()))
    run.add_observations([*(tap.model_copy(update={"batch": "trace", "flow": "a>c icmp"}) for tap in taps), *taps[:4]])
    assert [len(path.sides[0].hops) for path in build(run).paths] == [7]


def test_a_translated_packet_is_followed_and_its_new_address_named(tmp_path: Path) -> None:
    taps = sample.taps(sample.Sample())[:2]
    inside, outside = taps[0].packets[1], taps[1].packets[1].model_copy(update={"src": "172.18.0.11", "ttl": 63})
    run = RunDir(tmp_path / "run")
    run.write_info(sample.info(sample.Sample()))
    run.write_topology(sample.topology(sample.Sample()))
    run.add_observations([
        taps[0].model_copy(update={"flow": "a>8.8.8.8 icmp", "packets": (inside,)}),
        taps[1].model_copy(update={"flow": "a>8.8.8.8 icmp", "packets": (outside,)}),
    ])  # fmt: skip
    hops = build(run).paths[0].sides[0].hops
    assert hops[1].note == "routed, source translated to node n1"
    assert (hops[1].src.changed, hops[1].src.was) == (True, "10.244.0.2")


def test_the_path_marks_what_changed_from_hop_to_hop(full: RunDir) -> None:
    there = build(full).paths[0].sides[0]
    assert [hop.ttl.text for hop in there.hops] == ["64", "64", "63", "63", "63", "62", "62"]
    assert [hop.ttl.changed for hop in there.hops] == [False, False, True, False, False, True, False]
    assert [hop.note for hop in there.hops][2:6] == [
        "routed", "encapsulated, 50 bytes added", "forwarded unchanged", "routed, decapsulated",
    ]  # fmt: skip


def test_the_answer_is_followed_the_other_way(full: RunDir) -> None:
    back = build(full).paths[0].sides[1]
    assert (back.hops[0].place, back.hops[-1].place) == ("pod c", "pod a")


def test_the_tunnel_packet_is_decoded_with_the_owners_of_its_addresses(full: RunDir) -> None:
    decoded = build(full).paths[0].decoded
    assert decoded is not None
    assert (decoded.inner_length, decoded.overhead, decoded.outer_length) == (84, 50, 134)
    tunnel = [segment.bytes for segment in decoded.segments if segment.layer == "tunnel"]
    assert sum(tunnel) == decoded.overhead
    owners = {(layer.layer, layer.name): [fact.note for fact in layer.fields[:2]] for layer in decoded.layers}
    assert owners["outer", "IPv4"] == ["n1 eth0", "n2 eth0"]
    assert owners["inner", "Ethernet"] == ["n1 flannel.1", "n2 flannel.1"]
    assert owners["inner", "IPv4"] == ["pod a on n1", "pod c on n2"]


def test_a_packet_that_disappears_is_told_where_it_was_last_seen(tmp_path: Path) -> None:
    taps = sample.taps(sample.Sample())
    run = RunDir(tmp_path / "run")
    run.write_info(sample.info(sample.Sample()))
    run.add_observations([*taps[:4], *(tap.model_copy(update={"packets": ()}) for tap in taps[4:])])
    path = build(run).paths[0]
    assert path.sides[0].lost_after == "n1 eth0"
    assert "3 taps did not see it" in path.sentence


def test_the_mtu_arithmetic_is_shown(full: RunDir) -> None:
    found = build(full).mtu
    assert found is not None
    assert found.sum == (1500, 50, 1450)
    assert [row.arithmetic for row in found.rows] == ["1500 − 50 = 1450"] * 2
    assert [ladder.largest for ladder in found.ladders] == [1450] * 3
    assert {ladder.kind for ladder in found.shown} == {"cross node", "same node"}


@pytest.mark.parametrize(
    ("status", "reason", "mark"),
    [("fail", "wrong-value", marks.FAIL), ("record", "deviation", marks.TOO_LONG)],
)
def test_links_that_are_longer_than_a_tunnel_are_no_failure_where_the_variant_declares_them(
    status: Literal["fail", "record"], reason: str, mark: Mark
) -> None:
    said = Result(
        id="mtu.agree",
        title="t",
        level="M",
        status="pass",
        statement="",
        legs=(Leg(leg="n1:cni0/ipv6", status=status, reason=reason),),
    )
    node = TopologyNode(
        name="n1",
        address="172.18.0.11",
        interfaces=(
            Interface(name="eth0", kind="veth", mtu=1500, addresses=("172.18.0.11/16",)),
            Interface(name="flannel-v6.1", kind="vxlan", mtu=1430),
        ),
        pods=(Place(name="a", ip="10.244.0.2", interfaces=(_eth0("veth1"),)),),
    )
    panel = mtu(Topology(nodes=(node,)), [], [said])
    assert panel is not None
    assert panel.rows[0].mark is mark


def test_silence_above_the_mtu_is_worse_than_a_refusal(full: RunDir) -> None:
    rungs = [
        rung.model_copy(update={"outcome": "timeout"})
        for rung in RunDir(full.path).observations()
        if rung.kind == "rung"
    ]
    panel = mtu(full.topology(), rungs)
    assert panel is not None
    assert panel.ladders[0].rungs[-1].mark is marks.BROKEN


def test_a_service_names_who_answered_and_what_they_saw(full: RunDir) -> None:
    services = build(full).services
    assert services is not None
    spread = services.inside[0]
    assert [(share.name, share.count, share.node) for share in spread.answered] == [
        ("b", 4, "n1"),
        ("c", 4, "n2"),
        ("d", 4, "n2"),
    ]
    assert spread.seen_as == "its own address"
    assert services.outside[0].seen_as == "its node's address"


def test_the_address_that_a_node_is_seen_under_is_not_mixed_with_that_of_pods(full: RunDir) -> None:
    services = build(full).services
    assert services is not None
    spread = [row for row in services.inside if row.name == "spread"]
    assert [(row.sources, row.seen_as) for row in spread] == [
        ("a", "its own address"), ("h1", "10.244.0.0 (n1 flannel.1)"),
    ]  # fmt: skip


def test_an_echo_does_not_tell_what_the_far_end_saw(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.write_info(sample.info(sample.Sample()))
    run.add_observations([
        Exchange(
            batch="B5", purpose="egress", src="a", src_node="n1", src_ip="10.244.0.2", dst="router", dst_node="",
            proto="icmp", dial="8.8.8.8", outcome="ok", peer="10.244.0.2",
        )
    ])  # fmt: skip
    services = build(run).services
    assert services is not None
    assert services.outside[0].seen_as == ""


def test_a_question_of_several_pods_is_one_row(full: RunDir) -> None:
    dns = build(full).dns
    assert dns is not None
    service = dns.main[0].rows
    assert [(row.sources, row.times, row.result) for row in service] == [("a and b", 2, "10.96.14.7")]


def test_the_search_path_is_shown_query_by_query(full: RunDir) -> None:
    dns = build(full).dns
    assert dns is not None
    searched = next(group for group in dns.main if "search" in group.title).rows[0]
    assert [step.rcode for step in searched.steps] == ["NXDOMAIN", "NXDOMAIN", "NXDOMAIN", "NOERROR"]


def test_lost_datagrams_are_counted(full: RunDir) -> None:
    assert [(row.result, row.mark.tone) for row in build(full).load] == [
        ("700 of 700 made", "good"), ("198 of 200 arrived", "bad"),
    ]  # fmt: skip


def test_a_lab_is_as_good_as_its_worst_step(full: RunDir) -> None:
    assert [(lab.id, lab.mark) for lab in build(full).labs] == [
        ("flannel-routes", marks.PASS), ("pod-pause", marks.FAIL), ("docker-networks", marks.SKIP),
    ]  # fmt: skip


def test_all_expectations_of_a_step_are_shown_with_it(full: RunDir) -> None:
    lab = build(full).labs[0]
    assert (lab.title, [step.id for step in lab.steps]) == ("Three kinds of route", ["routes", "port"])
    routes = lab.steps[0]
    assert [(check.mark, check.observed) for check in routes.checks] == [
        (marks.PASS, "1 == 1"), (marks.RECORD, "10.244.1.0"),
    ]  # fmt: skip
    assert routes.transcript == "labs/flannel-routes/01-routes.txt"
    assert [(item.columns, item.rows) for item in routes.evidence] == [
        (("to", "via"), (("10.244.1.0/24", "10.244.1.0"),)),
    ]  # fmt: skip


def test_the_last_run_of_a_lab_counts(tmp_path: Path) -> None:
    steps = sample.lab_steps()
    run = RunDir(tmp_path / "run")
    run.write_info(sample.info(sample.Sample()))
    run.add_lab_steps([*steps, steps[3].model_copy(update={"status": "pass"})])
    pause = next(lab for lab in build(run).labs if lab.id == "pod-pause")
    assert (pause.status, len(pause.steps)) == ("pass", 1)


def test_a_claim_is_taken_apart_into_what_is_said_and_what_is_true(full: RunDir) -> None:
    port = build(full).labs[0].steps[1]
    assert [(claim.said, claim.truth) for claim in port.claims] == [
        ("VXLAN is UDP 4789.", "That is IANA's number; flannel uses 8472."),
    ]  # fmt: skip


def test_a_skipped_lab_says_why(full: RunDir) -> None:
    lab = build(full).labs[2]
    assert (lab.title, lab.reason) == ("Default, custom, host", "needs a Docker engine")


def test_json_on_one_line_is_spread_over_several(tmp_path: Path) -> None:
    line = (
        '[{"ifname": "eth0", "mtu": 1500, "operstate": "UP"}, {"ifname": "lo", "mtu": 65536, "operstate": "UNKNOWN"}]'
    )
    run = RunDir(tmp_path / "run")
    run.add_lab_steps([sample.lab_steps()[0].model_copy(update={"output": line})])
    assert build(run).labs[0].steps[0].output.splitlines() == [
        "[", '  {"ifname": "eth0", "mtu": 1500, "operstate": "UP"},',
        '  {"ifname": "lo", "mtu": 65536, "operstate": "UNKNOWN"}', "]",
    ]  # fmt: skip


def test_evidence_links_only_into_the_run_directory(tmp_path: Path) -> None:
    paths = ("captures/a.pcap", "/etc/passwd", "../x", "javascript:alert(1)", "a/../../b")
    evidence = tuple(Evidence(kind="pcap", detail={"path": path}) for path in paths)
    requirements = build(_only(tmp_path, _result(status="fail", evidence=evidence))).requirements
    assert requirements is not None
    assert [item.path for item in requirements.attention[0].evidence] == ["captures/a.pcap", "", "", "", ""]


def test_missed_faults_lower_the_score(full: RunDir) -> None:
    faults = build(full).faults
    assert faults is not None
    assert (faults.killed, faults.counted) == (1, 2)


def test_steps_that_overlap_keep_their_times(full: RunDir) -> None:
    timeline = build(full).timeline
    assert timeline is not None
    bars = {bar.step: bar for _, bars in timeline.phases for bar in bars}
    assert (bars["test.B3"].start, bars["test.B3"].end) == (26.0, 31.0)
    assert [phase for phase, _ in timeline.phases] == ["up", "apply", "labs", "test", "down"]


def test_a_step_that_never_ended_says_so(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    for event in sample.events()[:5]:
        run.add_event(event)
    timeline = build(run).timeline
    assert timeline is not None
    assert "did not end" in {bar.state for _, bars in timeline.phases for bar in bars}


def test_of_a_suite_that_ran_twice_the_last_observations_count(full: RunDir) -> None:
    before = build(full)
    again = sample.Sample()
    broken = [
        item.model_copy(update={"outcome": "timeout"}) if isinstance(item, Exchange) and item.batch == "B1" else item
        for item in sample.observations(again)
        if getattr(item, "batch", "") == "B1"
    ]
    first = Dump(batch="B0", vantage="node", place="n1", what="route")
    full.add_observations([first, *broken])
    after = build(full)
    assert before.matrix is not None
    assert after.matrix is not None
    assert before.matrix.tabs[0].summary == "14 of 16 pairs as expected"
    assert after.matrix.tabs[0].summary == "0 of 16 pairs as expected"
    assert after.dns == before.dns


def test_numbers_of_the_banner_agree_with_its_sentence(full: RunDir) -> None:
    verdict = build(full).verdict
    counts = {count.label: count.value for count in verdict.counts}
    assert verdict.sentence.startswith(f"{counts['hold']} of 16 requirements hold")
    assert counts["recorded"] == "1"


def test_a_phase_that_recorded_only_its_parts_gets_a_bar_around_them(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    for event in sample.events():
        if event.step.startswith("up."):
            run.add_event(event)
    timeline = build(run).timeline
    assert timeline is not None
    assert timeline.left_out == 0
    whole = timeline.phases[0][1][0]
    assert (whole.step, whole.start, whole.end, whole.depth) == ("up", 0.0, 6.4, 0)


def test_pods_of_one_name_in_several_namespaces_are_told_apart() -> None:
    """The suite's own pods are called by their bare names in all records; those of policies by `namespace/name`."""
    there = (
        Place(name="a", namespace="cnilab-np-x", ip="10.244.0.7"),
        Place(name="c", namespace="cnilab-np-x", ip="10.244.0.8"),
        Place(name="a", namespace="cnilab-probe", ip="10.244.0.2"),
    )
    elsewhere = (Place(name="c", namespace="cnilab-probe", ip="10.244.1.2"), Place(name="web", namespace="shop"))
    nodes = (
        TopologyNode(name="n1", address="172.18.0.11", pods=there),
        TopologyNode(name="n2", address="172.18.0.12", pods=elsewhere),
    )
    owners = Owners(Topology(nodes=nodes))
    assert owners.node_of_pod == {"a": "n1", "x/a": "n1", "x/c": "n1", "c": "n2", "web": "n2"}
    assert owners.ip("10.244.0.8") == "pod x/c on n1"
    assert owners.ip("10.244.1.2") == "pod c on n2"
    drawn = diagram(Topology(nodes=nodes))
    assert drawn is not None
    assert [pod.name for node in drawn.nodes for pod in node.pods] == ["a", "x/a", "x/c", "c", "web"]


def test_the_veth_of_a_pod_is_the_one_that_it_names() -> None:
    links = (Interface(name="veth1", peer="a:eth0"), Interface(name="veth2", peer="a:eth0"))
    pods = tuple(
        Place(name="a", namespace=namespace, ip=f"10.244.0.{number}", interfaces=(own,))
        for number, (namespace, own) in enumerate(
            {"cnilab-np-x": _eth0("veth1"), "cnilab-probe": _eth0("veth2")}.items(), start=2
        )
    )
    drawn = diagram(Topology(nodes=(TopologyNode(name="n1", address="", interfaces=links, pods=pods),)))
    assert drawn is not None
    assert {pod.name: pod.veth for pod in drawn.nodes[0].pods} == {"x/a": "veth1", "a": "veth2"}


def _eth0(peer: str) -> Interface:
    return Interface(name="eth0", kind="veth", mtu=1450, peer=peer)


def test_verdicts_of_an_earlier_test_say_so(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.write_info(sample.info(sample.Sample()))
    one, other, *_ = sample.results(sample.Sample())
    run.add_results(result.model_copy(update={"at": "2026-11-21T15:00:05.000000Z"}) for result in (one, other))
    for at in ("2026-11-21T15:00:00.000000Z", "2026-11-21T15:30:00.000000Z"):
        run.add_event(Event(at=at, step=TEST, state="started"))
    run.add_results([other.model_copy(update={"at": "2026-11-21T15:30:09.000000Z"})])
    report = build(run)
    assert report.requirements is not None
    items = [item for area in report.requirements.areas for item in area.requirements]
    assert {item.id: item.earlier for item in items} == {one.id: "2026-11-21 15:00:05 UTC", other.id: ""}
    assert report.verdict.detail.endswith("1 verdict is of an earlier test, the oldest of 2026-11-21 15:00:05 UTC.")
    assert html.render(report).count("Judged by an earlier test of this run, at 2026-11-21 15:00:05 UTC") == 1
