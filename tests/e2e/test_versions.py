"""Every pinned minor version of Kubernetes comes up, and its network is as required: `tox -e versions`.

A cold build takes minutes for each of them, so that a commit tries the default one only, as every other test does.
"""

from __future__ import annotations

import json
import os

import pytest

from harness.components.kubernetes import versions
from harness.components.lock import load
from tests.e2e.conftest import Cli
from tests.e2e.test_cluster import kubectl

pytestmark = [
    pytest.mark.skipif(not os.environ.get("CNILAB_VERSION_TESTS"), reason="takes long: tox -e versions"),
    pytest.mark.timeout(3600, func_only=True),
]

PINNED = versions(load())

SPEC = """\
apiVersion: cnilab.dev/v1
kind: Lab
spec:
  cni: flannel
  kubernetes: {{version: "{minor}"}}
"""


@pytest.mark.parametrize("minor", PINNED)
def test_a_pinned_minor_version_comes_up_and_its_network_is_as_required(
    minor: str, cli: Cli, untouched: list[str]
) -> None:
    name = untouched[0]
    (cli.home / "lab.yaml").write_text(SPEC.format(minor=minor))
    cli("components", "ensure", "--kubernetes", minor, timeout=3000)
    cli("up", "lab.yaml", "--name", name, "--run-dir", "run")
    lab = cli, name
    nodes = json.loads(kubectl(lab, "get", "nodes", "-o", "json"))["items"]
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes} == {f"v{PINNED[minor]}"}
    server = json.loads(kubectl(lab, "version", "-o", "json"))["serverVersion"]
    assert server["gitVersion"] == f"v{PINNED[minor]}"
    pins = {pin["name"]: pin["version"] for pin in json.loads((cli.home / "run" / "run.json").read_text())["pins"]}
    assert pins["kubernetes"] == PINNED[minor]
    assert cli.data("apply", "--cluster", name)["items"]
    assert cli.data("test", "--cluster", name)["items"]
