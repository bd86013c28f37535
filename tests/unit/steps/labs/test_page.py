"""The page that says which lab runs where follows from labs and variants."""

from __future__ import annotations

from pathlib import Path

from harness.cni import catalogue
from harness.model import labfile
from harness.model.lab import Needs
from harness.steps.labs.page import page, wants

PAGE = Path(__file__).parents[4] / "docs" / "parity.md"


def test_the_page_is_up_to_date() -> None:
    hint = "python -m harness.steps.labs.page > docs/parity.md"
    assert PAGE.read_text(encoding="utf-8") == page(), hint


def test_every_lab_is_there_once_and_runs_on_some_network() -> None:
    lines = [line for line in page().splitlines() if "](../labs/" in line]
    assert len(lines) == len(labfile.read_all())
    for line in lines:
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == len(catalogue.names()) + 2
            assert {"yes", "long"} & set(cells[1:-1]), line


def test_what_a_lab_needs_is_said_in_words() -> None:
    assert wants(Needs()) == ""
    needs = Needs(gates=("br",), families=("ipv4", "ipv6"), nodes=2, driver=("flannel", "bridge"), wire=("vxlan",))
    assert wants(needs) == "`br`, IPv6, 2 nodes, flannel or bridge, packets on the wire: vxlan"
    assert wants(Needs(proxy=("iptables",), masquerade=("bpf",))) == "kube-proxy: iptables, masquerade by bpf"
