"""What a run puts into a cluster is marked, and the mark tells the dead from the living."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from conformance import manifests
from harness import yamlio
from harness.model.spec import LabSpec
from harness.providers.existing import probe, rights
from harness.providers.existing.tenancy import ENFORCE, OWNER, RUN, Mark, Owner, left_over, without

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
OURS = Owner("here", 17, 400, NOW.isoformat())
MARK = Mark("abc123", OURS)
SPEC = LabSpec(nodes=2)


def suite(*, host_network: bool = True, host_ports: bool = True, slices: bool = True) -> list[dict[str, Any]]:
    items = [*manifests.services(SPEC), *manifests.endpoint_slices(LabSpec()), *manifests.pods(SPEC)]
    chosen = without(items, host_network=host_network, host_ports=host_ports, slices=slices)
    return [MARK.put(item, "team-a", {manifests.IMAGE: "registry.example/responder:1"}) for item in chosen]


def ports(items: list[dict[str, Any]]) -> list[int]:
    return [
        port["hostPort"]
        for item in items
        if item["kind"] == "Pod"
        for container in item["spec"]["containers"]
        for port in container["ports"]
        if "hostPort" in port
    ]


def test_everything_is_marked_and_in_the_given_namespace_with_the_given_image() -> None:
    items = suite()
    assert {item["metadata"]["namespace"] for item in items} == {"team-a"}
    assert {item["metadata"]["labels"][RUN] for item in items} == {"abc123"}
    assert all(json.loads(item["metadata"]["annotations"][OWNER])["pid"] == 17 for item in items)
    images = {c["image"] for item in items if item["kind"] == "Pod" for c in item["spec"]["containers"]}
    assert images == {"registry.example/responder:1"}


def test_the_mark_takes_nothing_from_an_object() -> None:
    before = manifests.pods(SPEC)[0]
    after = MARK.put(before, "team-a")
    assert before["metadata"]["labels"].items() <= after["metadata"]["labels"].items()
    assert before["metadata"]["namespace"] == "cnilab-probe"  # a copy was changed, not the original


def test_no_node_port_is_taken_in_a_cluster_of_others() -> None:
    kinds = {item["spec"].get("type") for item in suite() if item["kind"] == "Service"}
    assert kinds == {"ClusterIP", "ExternalName"}


def test_what_a_cluster_does_not_allow_is_left_out() -> None:
    modest = suite(host_network=False, host_ports=False, slices=False)
    assert ports(suite())
    assert ports(modest) == []
    assert not [item for item in modest if item["kind"] == "Pod" and item["spec"]["hostNetwork"]]
    assert {"crowd", "moving"} & {item["metadata"]["name"] for item in modest} == set()
    assert [item for item in modest if item["kind"] == "EndpointSlice"] == []
    assert len([item for item in modest if item["kind"] == "Pod"]) == 4


def marked(owner: Owner | None) -> dict[str, Any]:
    return {"metadata": {"annotations": {OWNER: owner.text()} if owner else {}}}


def test_a_run_whose_process_lives_is_not_left_over() -> None:
    alive = {(17, 400): True}
    assert not left_over(marked(OURS), "here", alive, NOW)
    assert left_over(marked(OURS), "here", {(17, 400): False}, NOW)
    assert left_over(marked(OURS), "here", {}, NOW)


def test_a_run_of_another_machine_is_left_over_when_it_is_old() -> None:
    assert not left_over(marked(OURS), "there", {}, NOW + timedelta(minutes=30))
    assert left_over(marked(OURS), "there", {}, NOW + timedelta(hours=3))


def test_what_has_no_readable_owner_is_left_over() -> None:
    assert left_over(marked(None), "here", {}, NOW)


def test_only_namespaces_whose_pods_need_it_are_privileged() -> None:
    labels = [MARK.namespace("x", privileged=privileged)["metadata"]["labels"] for privileged in (True, False)]
    assert [one.get(ENFORCE) for one in labels] == ["privileged", None]


def test_probes_run_on_the_sample_alone_and_mount_nothing() -> None:
    spec = probe.daemon_set("x", probe.pod_spec("img"), ["a", "b"])["spec"]["template"]["spec"]
    node_affinity = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    names = [term["matchFields"][0]["values"] for term in node_affinity["nodeSelectorTerms"]]
    assert names == [["a"], ["b"]]
    assert "volumes" not in spec
    assert spec["hostPID"]
    assert spec["hostNetwork"]


def granted(role: Iterable[rights.Object]) -> set[tuple[str, str, str]]:
    """Verb, resource and group of all that rules allow."""
    return {
        (verb, resource, group)
        for rule in role
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for group in rule["apiGroups"]
    }


def test_the_documented_role_is_all_that_pods_need() -> None:
    given = granted(rights.ROLE)
    needed = {(one.verb, one.resource, one.group) for one in rights.WANTED if one.part == "pods"}
    assert needed == given


def test_the_page_shows_that_role() -> None:
    page = (Path(__file__).parents[4] / "docs" / "existing.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(apiVersion: rbac.*?)```", page, re.DOTALL)
    assert yamlio.loads(shown)["rules"] == list(rights.ROLE)


def test_the_documented_cluster_role_is_all_that_why_needs() -> None:
    given = granted(rights.CLUSTER_ROLE)
    images = {("create", "pods", ""), ("delete", "pods", "")}
    assert {(one.verb, one.resource, one.group) for one in rights.ASKING} | images == given
    page = (Path(__file__).parents[4] / "docs" / "why.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(apiVersion: rbac.*?)```", page, re.DOTALL)
    assert yamlio.loads(shown)["rules"] == list(rights.CLUSTER_ROLE)


def test_a_probe_prefers_the_nodes_own_programs_for_its_rules() -> None:
    script = probe.prepare()[-1]
    assert 'exec nsenter -t 1 -m -- iptables-save "$@"' in script
    either = 'bpftool version >/dev/null 2>&1 && exec nsenter -t 1 -m -- bpftool "$@"; exec /bin/bpftool "$@"'
    assert either in script
    assert subprocess.run(["/bin/sh", "-n", "-c", script], check=False).returncode == 0


def test_a_review_asks_for_one_verb_in_one_namespace() -> None:
    (right,) = (one for one in rights.WANTED if one.part == "pods" and str(one) == "create pods/exec")
    assert right.review("team-a")["spec"]["resourceAttributes"] == {
        "verb": "create", "resource": "pods", "subresource": "exec", "namespace": "team-a",
    }  # fmt: skip


def test_what_is_denied_closes_its_part_and_no_other() -> None:
    asked = [(one, {"status": {"allowed": one.part != "slices", "reason": "no"}}) for one in rights.WANTED]
    found = rights.answers(asked)
    assert found.has("pods")
    assert found.why("slices") == "not allowed to create endpointslices, patch endpointslices, delete endpointslices"
