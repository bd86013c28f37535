"""Networks that follow each other on the same nodes: nothing of the first is left, and each is as required."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from harness import timeouts
from tests.e2e.conftest import Cli
from tests.e2e.test_cluster import kubectl
from tests.e2e.verdicts import red

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: mine, namespace: default, labels: {app: mine}}
spec:
  nodeName: n2
  containers: [{name: main, image: cnilab.dev/toolbox:1, command: [sleep, "3600"]}]
"""
FLANNEL = ("flannel.1", "flannel-v6.1", "FLANNEL", "10-flannel", "cbr0", "/opt/cni/bin/flannel")
"""Words of flannel alone: no inventory has them once it is gone."""

SHARED = {"bridge": ("cni0",), "cilium": ("cni0", "KUBE-SVC")}
"""What flannel has and others may have, too, by who follows it: gone between the two. kube-proxy stays for bridge."""

OTHERS_OWN = {
    "bridge": ("10-bridge",),
    "cilium": ("cilium_", "lxc", "CILIUM", "05-cilium", "cil_", "/sys/fs/bpf/tc"),
}
"""The same of who follows it."""


OTHERS = os.environ.get("CNILAB_E2E_CILIUM", "cilium-vxlan,cilium-kube-proxy").split(",")
"""Variants that CI has no whole flow for: switched to, they meet the suite all the same, without a bring-up of each.
The night has a whole run of each, and of cilium-cluster-pool and cilium-lean, which differ less from `cilium`."""


def wrong(cli: Cli, name: str) -> dict[str, list[str]]:
    """Requirements that are not met."""
    items = cli.data("test", "--cluster", name, code=None)["items"]
    assert sum(item["status"] == "pass" for item in items) >= 80
    return red(items)


def inventory(run: Path, when: str) -> list[dict[str, Any]]:
    """What the switch wrote down of every node."""
    states: list[dict[str, Any]] = json.loads((run / "switch" / f"{when}.json").read_text())
    return states


def lasting(state: dict[str, Any]) -> dict[str, Any]:
    """Of an inventory, what does not depend on which pods there are."""
    chains = {
        line.split()[0]
        for text in state["firewall"].values()
        for line in text.splitlines()
        if line.startswith(":") and not line.startswith((":KUBE-SVC", ":KUBE-SEP", ":KUBE-EXT", ":KUBE-SVL", ":CNI-"))
    }
    return {
        "links": sorted(link["name"] for link in state["links"] if link["kind"] != "veth" and link["name"] != "cni0"),
        "routes": sorted(
            f"{one['dst']} {one['dev']}"
            for one in state["routes"]
            if one["dev"] in {"eth0", "flannel.1", "flannel-v6.1"}
        ),
        "rules": state["rules"],
        "neighbours": [one for one in state["neighbours"] if one["dev"] == "eth0"],
        "chains": sorted(chains),
        "programs": state["programs"],
        "pins": state["pins"],
        "files": sorted(path for path in state["files"] if not path.startswith(("/var/lib/cni", "/run/netns"))),
        "processes": state["processes"],
    }


@pytest.mark.night
@pytest.mark.parametrize("other", ["bridge", "cilium"])
def test_from_flannel_to_another_and_back(other: str, cli: Cli, untouched: list[str], tmp_path: Path) -> None:
    name = untouched[0]
    runs = Path(os.environ.get("CNILAB_E2E_RUNS", tmp_path)) / f"switch-{other}"
    there, back = runs / "there", runs / "back"
    cli("up", "flannel", "--name", name, "--run-dir", runs / "up")
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(POD)
    lab = (cli, name)
    kubectl(lab, "apply", "-f", str(manifest))
    kubectl(lab, "wait", "--for=condition=Ready", "pod/mine", "--timeout=60s")

    document = cli.data("switch", other, "--run-dir", there)
    assert (document["from"], document["to"]) == ("flannel", other)
    assert [item["left"] for item in document["items"]] == [[], [], []]
    for state in inventory(there, "between"):
        assert [word for word in (*FLANNEL, *SHARED[other], *OTHERS_OWN[other]) if word in json.dumps(state)] == []
    for state in inventory(there, "after"):
        gone = FLANNEL if other == "bridge" else (*FLANNEL, *SHARED[other])
        assert [word for word in gone if word in json.dumps(state)] == []
        assert state["processes"] == ([] if other == "cilium" else ["kube-proxy"])
    assert cli.data("status")["items"][0]["spec"]["cni"] == other
    kubectl(lab, "wait", "--for=condition=Ready", "pod/mine", "--timeout=60s")
    assert wrong(cli, name) == {}

    # Killed when the pods are gone: the same call goes on from there.
    process = cli.start("switch", "flannel", "--run-dir", tmp_path / "killed")
    events = tmp_path / "killed" / "events.jsonl"

    def agents_go() -> bool:
        assert process.poll() is None, process.communicate()
        return events.exists() and '"switch.agents"' in events.read_text()

    timeouts.wait_until("the pods to have left", agents_go, 120)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert cli.labs() == {name: "Broken"}
    document = cli.data("switch", "flannel", "--run-dir", back)
    assert [item["left"] for item in document["items"]] == [[], [], []]
    for state in inventory(back, "after"):
        assert [word for word in OTHERS_OWN[other] if word in json.dumps(state)] == []
    assert wrong(cli, name) == {}
    before, after = inventory(there, "before"), inventory(back, "after")
    assert [lasting(state) for state in after] == [lasting(state) for state in before]
    kubectl(lab, "wait", "--for=condition=Ready", "pod/mine", "--timeout=60s")
    assert kubectl(lab, "get", "customresourcedefinitions", "-o", "name") == ""
    cli("down", name)


@pytest.mark.night
def test_other_variants_of_cilium_meet_the_suite_on_the_same_nodes(cli: Cli, untouched: list[str]) -> None:
    name = untouched[0]
    runs = Path(os.environ.get("CNILAB_E2E_RUNS", cli.home))
    here = [variant for variant in OTHERS if cli("doctor", variant, code=None).returncode == 0]
    assert here, "this kernel can run none of them"
    first, *others = here
    cli("up", first, "--name", name, "--run-dir", runs / first)
    assert wrong(cli, name) == {}, first
    for variant in others:
        document = cli.data("switch", variant, "--run-dir", runs / variant)
        assert [item["left"] for item in document["items"]] == [[], [], []], variant
        assert wrong(cli, name) == {}, variant
    for variant in here:
        cli("report", runs / variant)
    cli("down", name)


def test_what_cannot_work_is_refused_before_anything_is_touched(cli: Cli, untouched: list[str]) -> None:
    name = untouched[0]
    cli("up", "bridge", "--name", name, "--nodes", "1")
    before = cli("exec", "n1", "--", "iptables-save", "-t", "nat").stdout.count("-A ")
    assert "has the network 'bridge' already" in cli("switch", "bridge", code=4).stderr
    assert "did you mean 'cilium'" in cli("switch", "cilum", code=4).stderr
    findings = {item["id"]: item["status"] for item in cli.data("doctor", "cilium-geneve", code=None)["items"]}
    if findings["geneve"] == "ok":
        pytest.skip("this kernel has Geneve")
    done = cli("switch", "cilium-geneve", code=10)
    assert "variant 'cilium-geneve' is unavailable here" in done.stderr
    assert cli.labs() == {name: "Ready"}
    assert cli("exec", "n1", "--", "iptables-save", "-t", "nat").stdout.count("-A ") == before
    cli("down", name)
