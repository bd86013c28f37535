"""What a switch refuses before it touches anything, and what it keeps for the case that it is killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.kube import Kube
from harness.cni import catalogue
from harness.errors import PreflightError, UsageError
from harness.model import labstate
from harness.model.labstate import LabDir
from harness.model.spec import LabSpec
from harness.probes.netstate import rules_of, without_counters
from harness.providers.namespaces.state import NamespacesState
from harness.runner import HostRunner
from harness.steps.doctor.model import Answer, Question
from harness.steps.lifecycle.attach import Attached
from harness.steps.network import switch


class Api(Kube):
    """An API with some pods."""

    def __init__(self, pods: list[dict[str, Any]]) -> None:
        self._pods = pods

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "", fields: str = "") -> Any:
        del api_version, kind, namespace, labels, fields
        return self._pods


def lab(tmp_path: Path, *pods: dict[str, Any], ready: bool = True) -> Attached:
    """A lab with flannel that exists on paper."""
    spec = LabSpec(name="s-lab", cni="flannel")
    state = NamespacesState(name=spec.name, created="2026-01-01T00:00:00Z", spec=spec, ready=ready)
    labstate.write(LabDir(tmp_path, spec.name), state)
    variant = catalogue.variant("flannel")
    return Attached(spec, variant, None, Api(list(pods)), HostRunner(), tmp_path, None)  # type: ignore[arg-type]  # no nodes needed


def test_a_lab_that_has_the_network_already_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cluster 's-lab' has the network 'flannel' already"):
        switch.check(lab(tmp_path), catalogue.variant("flannel"), cache=tmp_path)


def test_another_version_of_the_same_network_is_another_network(tmp_path: Path) -> None:
    variant = catalogue.variant("flannel")
    switch.check(lab(tmp_path), variant, cache=tmp_path, version="0.27.4")
    there = lab(tmp_path)
    there = replace(there, spec=switch.target_spec(there.spec, variant, "0.27.4"))
    with pytest.raises(UsageError, match=r"has the network 'flannel 0\.27\.4' already"):
        switch.check(there, variant, cache=tmp_path, version="0.27.4")
    # And a switch that names none ends with the pinned one.
    assert switch.target_spec(there.spec, variant).cni_version == ""


def test_a_switch_that_was_interrupted_may_be_repeated(tmp_path: Path) -> None:
    switch.check(lab(tmp_path, ready=False), catalogue.variant("flannel"), cache=tmp_path)


def test_other_providers_are_refused_with_another_way(tmp_path: Path) -> None:
    there = lab(tmp_path)
    there = replace(there, spec=there.spec.model_copy(update={"provider": "kind"}))
    with pytest.raises(UsageError, match="'kind' does not support switching") as caught:
        switch.check(there, catalogue.variant("bridge"), cache=tmp_path)
    assert "bring it up with the other variant" in caught.value.next_step


def with_families(there: Attached, mtu: int = 1500) -> Attached:
    data = there.spec.model_dump(mode="json") | {"ip_family": "dual", "underlay": {"mtu": mtu}}
    return replace(there, spec=LabSpec.model_validate(data))


def test_a_network_without_the_clusters_families_is_refused_with_the_cause(tmp_path: Path) -> None:
    there = with_families(lab(tmp_path))
    with pytest.raises(UsageError, match="the network 'weave' has no IPv6, but cluster 's-lab' does") as caught:
        switch.check(there, catalogue.variant("weave"), cache=tmp_path)
    assert "made with ipFamily dual" in caught.value.cause
    switch.check(there, catalogue.variant("bridge"), cache=tmp_path)


def test_a_network_that_takes_too_much_of_the_links_is_refused_with_the_arithmetic(tmp_path: Path) -> None:
    there = with_families(lab(tmp_path), mtu=1300)
    with pytest.raises(UsageError, match="'cilium-wireguard' leaves pods no room for IPv6") as caught:
        switch.check(there, catalogue.variant("cilium-wireguard"), cache=tmp_path)
    assert "1300 - 95 that it takes = 1205 bytes, but IPv6 needs 1280" in caught.value.cause
    switch.check(there, catalogue.variant("bridge"), cache=tmp_path)


def test_only_what_the_variant_needs_is_asked_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def lacking(name: str) -> Question:
        return Question(
            name, f"{name} title", "blocks", "nothing works", "mend it", lambda _: Answer(ok=False, detail="no")
        )

    monkeypatch.setattr(switch, "CHECKS", (lacking("memory"),))
    switch.check(lab(tmp_path), catalogue.variant("cilium"), cache=tmp_path)
    monkeypatch.setattr(switch, "CHECKS", (lacking("bpf"),))
    with pytest.raises(PreflightError, match="variant 'cilium' is unavailable here"):
        switch.check(lab(tmp_path), catalogue.variant("cilium"), cache=tmp_path)


def test_pods_that_no_taint_keeps_away_are_refused(tmp_path: Path) -> None:
    everywhere = {
        "metadata": {
            "namespace": "logs",
            "name": "tail-1",
            "ownerReferences": [{"kind": "DaemonSet", "controller": True}],
        },
        "spec": {"tolerations": [{"operator": "Exists"}]},
        "status": {"phase": "Running"},
    }
    with pytest.raises(UsageError, match="tolerate every taint"):
        switch.check(lab(tmp_path, everywhere), catalogue.variant("bridge"), cache=tmp_path)


def test_rules_of_routing_are_read_with_their_priority() -> None:
    (first, second) = rules_of("0:\tfrom all lookup local\n9:\tfrom all fwmark 0x200/0xf00 lookup 2004\n")
    assert (first.priority, first.text) == (0, "from all lookup local")
    assert (second.priority, second.text) == (9, "from all fwmark 0x200/0xf00 lookup 2004")


def test_saved_rules_are_equal_whatever_they_counted() -> None:
    one = "# Generated by iptables-save\n*nat\n:PREROUTING ACCEPT [12:744]\n[3:180] -A PREROUTING -j X\nCOMMIT\n"
    assert without_counters(one) == "*nat\n:PREROUTING ACCEPT\n-A PREROUTING -j X\nCOMMIT\n"
