"""The report of a lab with both IP families: each panel says of which family it speaks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from harness.model.records import Exchange
from harness.model.run import RunDir
from harness.yamlio import loads
from reports import conformance_yaml, ctrf, html, junit, markdown, marks
from reports.build import build
from reports.drawings.topology import topology
from reports.model import Report
from reports.panels.matrix import altered
from tests.unit.reports import page, sample
from tests.unit.reports.sample import dual
from tests.unit.reports.test_schemas import CTRF, JUNIT


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return build(dual.write(tmp_path / sample.RUN_ID))


def _svg(report: Report) -> str:
    assert report.diagram is not None
    return f"{topology(report.diagram)}\n"


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("junit.xml", junit.render),
        ("summary.md", markdown.render),
        ("ctrf.json", ctrf.render),
        ("conformance-report.yaml", conformance_yaml.render),
        ("topology.svg", _svg),
    ],
)
def test_output_is_as_reviewed(
    report: Report, name: str, render: Callable[[Report], str], golden: Callable[[str, str], None]
) -> None:
    golden(f"reports/dual/{name}", render(report))


def test_the_page_is_sound_html(report: Report) -> None:
    assert page.read(html.render(report)).problems == []


@pytest.mark.parametrize("nodes", [1, 3, 20])
def test_the_page_is_sound_html_for_any_number_of_nodes(tmp_path: Path, nodes: int) -> None:
    run = dual.write(tmp_path / "run", sample.Sample(nodes=nodes))
    assert page.read(html.render(build(run))).problems == []


def test_the_formats_are_what_their_schemas_say(report: Report) -> None:
    assert [f"{error.path}: {error.reason}" for error in JUNIT.iter_errors(junit.render(report))] == []
    document = json.loads(ctrf.render(report))
    assert isinstance(CTRF, jsonschema.Draft7Validator)
    assert [f"{error.json_path}: {error.message}" for error in CTRF.iter_errors(document)] == []


def test_a_run_of_one_family_says_nothing_of_families(full: RunDir) -> None:
    text = html.render(build(full))
    body = text[text.index("<body>") : text.index("<script>")]
    for word in ("IPv6", "family:", 'class="fam ', 'class="family"', "split"):
        assert word not in body


def row(report: Report, name: str) -> str:
    """A requirement's row of the page."""
    text = html.render(report)
    start = text.index(f'id="req-{name}"')
    return text[text.rindex("<details", 0, start) : text.index("</summary>", start)]


def test_a_requirement_shows_both_verdicts_at_a_glance_and_to_a_screen_reader(report: Report) -> None:
    shown = page.read(row(report, "model.pod-pod.cross-node") + "</summary></details>").text
    assert "IPv4 ✓ : pass IPv6 ✗ : fail" in " ".join(shown.split())
    assert 'class="fam good"' in row(report, "model.pod-pod.cross-node")
    assert 'class="fam bad"' in row(report, "model.pod-pod.cross-node")
    assert "fam" not in row(report, "ipam.lease.match")


def test_the_filter_knows_families(report: Report) -> None:
    data = re.search(r'data-text="([^"]+)"', row(report, "model.pod-pod.cross-node"))
    assert data is not None
    assert {"family:ipv4", "family:ipv6", "ipv4:pass", "ipv6:fail", "status:fail"} <= set(data[1].split())
    assert "family:" not in row(report, "ipam.lease.match")
    assert "family:ipv6" in html.render(report).split('id="filter"')[1][:200]


def test_a_square_is_split_where_families_differ_and_says_which_one_is_worse(report: Report) -> None:
    assert report.requirements is not None
    split = {
        item.id: (item.split[0], item.split[1].word)
        for area in report.requirements.areas
        for item in area.requirements
        if item.split
    }
    assert split == {
        "model.pod-pod.cross-node": ("ipv6", "fail"),
        "model.no-nat.cross-node": ("ipv4", "fail"),
        "mtu.mss": ("ipv4", "not met"),
    }
    square = re.search(r'<a class="sq bad split" href="#req-model.pod-pod.cross-node".*?</a>', html.render(report))
    assert square is not None
    assert "✗<sub>6</sub>" in square[0]
    assert "model.pod-pod.cross-node: fail (IPv4: pass, IPv6: fail)" in square[0]


def test_the_matrix_has_its_tabs_by_family_and_both_addresses_on_its_axes(report: Report) -> None:
    matrix = report.matrix
    assert matrix is not None
    assert [(tab.key, tab.family, tab.title) for tab in matrix.tabs] == [
        ("tcp", "IPv4", "TCP"), ("udp", "IPv4", "UDP"), ("tcp6", "IPv6", "TCP"), ("udp6", "IPv6", "UDP"),
        ("ttl", "", "TTL"), ("rtt", "", "Round trip"),
    ]  # fmt: skip
    assert matrix.axes[0].address == "10.244.0.2, fd00:10:244::2"
    text = html.render(report)
    assert re.findall(r'<span class="family" aria-hidden="true">(\w+)</span>', text) == ["IPv4", "IPv6", "both"]
    assert 'TCP<span class="vh"> over IPv6</span>' in text
    shown = re.findall(r"\.tabs > input:nth-of-type\((\d+)\)", text)
    assert len(matrix.tabs) <= len(set(shown))


def test_a_pair_is_broken_in_the_family_in_which_it_is(report: Report) -> None:
    matrix = report.matrix
    assert matrix is not None
    marked = {tab.key: tab.rows[0][3].mark for tab in matrix.tabs}
    assert (marked["tcp"], marked["tcp6"]) == (marks.REACHED, marks.BROKEN)
    pair = next(one for one in matrix.pairs if one.anchor == "pair-a-c")
    assert pair.dialled == "10.244.1.2:8080, [fd00:10:244:1::2]:8080"
    assert pair.seen_as == "10.244.0.2 and fd00:10:244::2"


@pytest.mark.parametrize(
    ("facts", "how"),
    [
        # A record's own source is what the receiver has to see: `src_ip` may be of the other family.
        ({"source": "[fd00:10:244::2]:40000", "peer": "[fd00:10:244::2]:40000"}, ""),
        ({"source": "[fd00:10:244::2]:40000", "peer": "[fd00:10:244::]:40000"}, "seen as fd00:10:244::"),
        ({"source": "[::]:40000", "peer": "[fd00:10:244::2]:40000"}, ""),
        ({"source": "", "peer": "[fd00:10:244::2]:40000"}, ""),
        ({"source": "", "src_ip": "fd00:10:244::2", "peer": "[fd00:10:244::]:4"}, "seen as fd00:10:244::"),
    ],
)
def test_addresses_are_compared_within_one_family(facts: dict[str, str], how: str) -> None:
    exchange = Exchange.model_validate({
        "batch": "B1", "purpose": "mesh", "src": "a", "src_node": "n1", "src_ip": "10.244.0.2", "dst": "c",
        "dst_node": "n2", "proto": "tcp6", "dial": "[fd00:10:244:1::2]:8080", "outcome": "ok", "token": "c", **facts,
    })  # fmt: skip
    from reports.addresses import Owners  # noqa: PLC0415 - one test needs it

    assert altered(exchange, Owners(None)) == how


def test_each_family_has_its_own_sum_and_its_own_ladders(report: Report) -> None:
    assert report.mtu is not None
    assert [(one.family, one.sum, one.ping) for one in report.mtu.tunnels] == [
        ("IPv4", (1500, 50, 1450), 1422), ("IPv6", (1500, 70, 1430), 1382),
    ]  # fmt: skip
    for one in report.mtu.tunnels:
        assert sum(int(part.value) for part in one.parts) == one.sum[1]
    assert [(one.family, one.kind, one.largest, one.expected) for one in report.mtu.shown] == [
        ("IPv4", "cross node", 1450, 1450), ("IPv4", "same node", 1450, 1450),
        ("IPv6", "cross node", 1430, 1430), ("IPv6", "same node", 1431, 1450),
    ]  # fmt: skip
    assert all(rung.mark.tone != "bad" for one in report.mtu.ladders for rung in one.rungs)
    assert [fact.name for fact in report.mtu.rows[0].links][:3] == ["underlay", "flannel.1", "flannel-v6.1"]
    assert report.mtu.rows[0].mark is marks.FAIL  # pods' links are longer than what the second tunnel carries


def test_names_are_grouped_by_family(report: Report) -> None:
    assert report.dns is not None
    titles = [group.title for group in report.dns.main]
    assert titles[:2] == ["Services by their full name, IPv4", "Services by their full name, IPv6"]
    six = report.dns.main[1].rows[0]
    assert (six.qtype, six.result) == ("AAAA", "fd00:10:96::e07")


def test_services_are_grouped_by_family(report: Report) -> None:
    assert report.services is not None
    assert [one.family for one in report.services.inside] == ["IPv4"] * 3 + ["IPv6"] * 3
    spread = report.services.inside[3]
    assert (spread.target, spread.proto, spread.seen_as) == ("[fd00:10:96::e07]:80", "tcp", "its own address")
    assert report.services.outside[1].seen_as == "its node's address"


def test_a_packet_of_each_family_is_followed(report: Report) -> None:
    assert [(path.title, path.flow) for path in report.paths] == [
        ("a → c over IPv4", "ICMP echo"), ("a → c over IPv6", "ICMPv6 echo"),
    ]  # fmt: skip
    six = report.paths[1]
    assert [side.limit for side in six.sides] == ["Hop limit", "Hop limit"]
    assert "hop limit 64 at the first and 62 at the last; no address was translated" in six.sentence
    assert [hop.note for hop in six.sides[0].hops][2:4] == ["routed", "encapsulated, 70 bytes added"]


def test_headers_of_ipv6_are_shown_as_they_are(report: Report) -> None:
    decoded = report.paths[1].decoded
    assert decoded is not None
    assert (decoded.inner_length, decoded.overhead, decoded.outer_length) == (104, 70, 174)
    assert sum(one.bytes for one in decoded.segments if one.layer == "tunnel") == decoded.overhead
    fields = {
        (layer.layer, layer.name): {fact.name: (fact.value, fact.note) for fact in layer.fields}
        for layer in decoded.layers
    }
    outer, inner = fields["outer", "IPv6"], fields["inner", "IPv6"]
    assert outer["source"] == ("fd00:172:18::11", "n1 eth0")
    assert outer["next header"] == ("17", "UDP")
    assert inner["source"] == ("fd00:10:244::2", "pod a on n1")
    assert inner["next header"] == ("58", "ICMPv6")
    assert inner["hop limit"] == ("63", "")
    assert inner["payload length"][0] == "64 bytes"
    assert inner["flow label"] == ("0xbeef5", "one per flow")
    assert fields["inner", "ICMPv6"]["type"] == ("128 / 0", "echo request")


def test_the_drawing_shows_both_addresses_and_both_tunnels(report: Report) -> None:
    assert report.diagram is not None
    node = report.diagram.nodes[0]
    assert [(one.name, one.address, one.second) for one in node.stations] == [
        ("eth0", "172.18.0.11/16", "fd00:172:18::11/64"),
        ("flannel.1", "10.244.0.0/32", ""),
        ("flannel-v6.1", "fd00:10:244::/128", ""),
        ("cni0", "10.244.0.1/24", "fd00:10:244::1/64"),
    ]
    assert (node.pods[0].address, node.pods[0].second) == ("10.244.0.2", "fd00:10:244::2")


def test_the_conformance_report_says_what_each_family_holds(report: Report) -> None:
    areas = {area["name"]: area for area in loads(conformance_yaml.render(report))["areas"]}
    assert areas["Reachability"]["families"] == {
        "ipv4": {"passed": 3}, "ipv6": {"passed": 2, "failed": ["model.pod-pod.cross-node"]},
    }  # fmt: skip
    assert "families" not in areas["Address management"]
