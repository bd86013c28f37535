"""A cluster that is up is a real one: kubectl, logs, exec, port-forward, trace, load."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import timeouts
from harness.yamlio import dumps_all
from tests.e2e.conftest import Cli

NAMESPACE = "e2e"
PODS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
    *(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "box", "image": "cnilab.dev/toolbox:1", "imagePullPolicy": "Never"}],
            },
        }
        for name, node in (("a", "n1"), ("c", "n2"))
    ),
]


def program(cli: Cli, name: str) -> list[str | Path]:
    """kubectl of the lab, with nothing written to the user's home."""
    state = cli.state / "labs" / name
    programs = Path(json.loads((state / "state.json").read_text())["programs"])
    return [programs / "kubectl", "--kubeconfig", state / "kubeconfig", "--cache-dir", state / "kubectl-cache"]


def kubectl(lab: tuple[Cli, str], *words: str, text: str = "", code: int = 0) -> str:
    done = subprocess.run(
        [*program(*lab), *words],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def pods(flannel: tuple[Cli, str]) -> Iterator[tuple[Cli, str]]:
    """Pods a on n1 and c on n2."""
    kubectl(flannel, "apply", "-f", "-", text=dumps_all(PODS))
    kubectl(flannel, "-n", NAMESPACE, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s")
    yield flannel
    # Whoever has the lab next compares what is there before and after: this must be gone by then.
    kubectl(flannel, "-n", NAMESPACE, "delete", "pods", "--all", "--grace-period=1", "--wait=false")
    kubectl(flannel, "delete", "namespace", NAMESPACE, "--wait=true", "--timeout=120s")


def test_the_kubeconfig_is_private(flannel: tuple[Cli, str]) -> None:
    cli, name = flannel
    mode = (cli.state / "labs" / name / "kubeconfig").stat().st_mode
    assert mode & 0o777 == 0o600


def test_nodes_and_workloads_have_the_upstream_names(flannel: tuple[Cli, str]) -> None:
    nodes = json.loads(kubectl(flannel, "get", "nodes", "-o", "json"))["items"]
    assert [node["metadata"]["name"] for node in nodes] == ["n1", "n2"]
    assert "kube-flannel-ds" in kubectl(flannel, "-n", "kube-flannel", "get", "ds", "-o", "name")
    assert "coredns" in kubectl(flannel, "-n", "kube-system", "get", "deploy", "-o", "name")
    assert kubectl(flannel, "-n", "kube-flannel", "logs", "ds/kube-flannel-ds")


def test_authorization_is_on(flannel: tuple[Cli, str]) -> None:
    secrets = kubectl(flannel, "auth", "can-i", "list", "secrets", "--as", "system:node:n1", "-A", code=1)
    assert re.fullmatch(r"no( - .+)?\n", secrets), "newer versions say why"
    assert kubectl(flannel, "auth", "can-i", "*", "*").strip() == "yes"


def test_logs_and_exec_work(pods: tuple[Cli, str]) -> None:
    assert "eth0" in kubectl(pods, "-n", NAMESPACE, "exec", "a", "--", "ip", "-br", "addr")
    cli, name = pods
    out = cli("exec", "--cluster", name, "pod", f"{NAMESPACE}/a", "--", "hostname").stdout
    assert out == "a\n"
    assert cli("exec", "--cluster", name, "n2", "--", "hostname").stdout == "n2\n"
    cli("exec", "--cluster", name, "n1", "--", "sh", "-c", "exit 7", code=7)


@contextmanager
def forwarded(lab: tuple[Cli, str], *words: str) -> Iterator[int]:
    cli, name = lab
    process = subprocess.Popen([*program(cli, name), "port-forward", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, line
        yield int(found[1])
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def test_port_forward_works(flannel: tuple[Cli, str]) -> None:
    with forwarded(flannel, "-n", "kube-system", "deploy/coredns", ":8080") as port:

        def answers() -> bool:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(b"GET /health HTTP/1.0\r\nHost: x\r\n\r\n")
                return b"200 OK" in connection.recv(200)

        timeouts.wait_until("CoreDNS's health page", answers, 20)


def test_trace_shows_the_tunnel(pods: tuple[Cli, str]) -> None:
    cli, name = pods
    traced = cli.data("trace", "--cluster", name, f"{NAMESPACE}/a", f"{NAMESPACE}/c")
    assert traced["answered"]
    hops = [
        (hop["direction"], hop["interface"]) for hop in traced["items"] if hop["interface"] in {"flannel.1", "eth0"}
    ]
    assert ("request", "flannel.1") in hops
    outer = [hop["outer"] for hop in traced["items"] if hop["outer"]]
    assert {(packet["src"], packet["vni"]) for packet in outer} == {("172.18.0.11", 1), ("172.18.0.12", 1)}
    ttls = [hop["packet"]["ttl"] for hop in traced["items"] if hop["direction"] == "request"]
    assert (ttls[0], ttls[-1]) == (64, 62)


def test_trace_to_the_outside_shows_the_masquerade(pods: tuple[Cli, str]) -> None:
    cli, name = pods
    traced = cli.data("trace", "--cluster", name, f"{NAMESPACE}/a", "8.8.8.8")
    assert any("source" in change for hop in traced["items"] for change in hop["changed"])


def test_trace_of_what_cannot_be_reached_says_where_it_ended(pods: tuple[Cli, str]) -> None:
    cli, name = pods
    done = cli("trace", "--cluster", name, f"{NAMESPACE}/a", "172.18.0.99", code=1)
    assert "no answer; last seen at n1:cni0" in done.stderr


def test_load_brings_an_image_into_every_node(flannel: tuple[Cli, str]) -> None:
    cli, name = flannel
    cache = Path(cli.environment.get("CNILAB_CACHE") or Path.home() / ".cache/cnilab")
    archive = next(cache.glob("images/*/pause.tar"))
    loaded = cli.data("load", "--cluster", name, archive)
    assert {item["node"] for item in loaded["items"]} == {"n1", "n2"}
    assert all("pause" in item["image"] for item in loaded["items"])


def test_loading_what_is_no_image_fails_clearly(flannel: tuple[Cli, str], tmp_path: Path) -> None:
    cli, name = flannel
    (tmp_path / "x.tar").write_text("this is no archive")
    assert "not an image" in cli("load", "--cluster", name, tmp_path / "x.tar", code=4).stderr


def test_collect_leaves_no_secret_in_the_run_directory(flannel: tuple[Cli, str]) -> None:
    cli, name = flannel
    logs = Path(cli("collect", "--cluster", name).stdout.strip())
    assert (logs / "n1/kubelet.log").stat().st_size > 0
    assert (logs / "n2/kernel/fdb.txt").exists()
    assert (logs / "api/pods.json").exists()
    secret = re.compile(rb"PRIVATE KEY-----\s*\n|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.")
    assert [str(path) for path in logs.rglob("*") if path.is_file() and secret.search(path.read_bytes())] == []


def test_output_is_for_pipes(flannel: tuple[Cli, str]) -> None:
    cli, name = flannel
    assert cli("status", "-o", "name").stdout == f"lab/{name}\n"
    assert cli.data("status", name)["kind"] == "MachineList"
    assert cli("-q", "status").stderr == ""
