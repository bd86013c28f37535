"""`cnilab why` on a cluster of others: a lab of ours, reached through nothing but its kubeconfig."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from conformance.manifests import IMAGE
from harness import timeouts, yamlio
from tests.e2e.test_cluster import kubectl
from tests.e2e.test_existing import There, there

__all__ = ["there"]

SHOP = "shop"


@pytest.fixture(scope="module")
def shop(there: There) -> Iterator[There]:
    """A cluster with somebody's pods: a web server on n1, a data base with its Service on n2."""

    def pod(name: str, node: str) -> dict[str, object]:
        ready = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
        container = {"name": "main", "image": IMAGE, "args": ["serve", "--name", name], "readinessProbe": ready}
        spec = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]}
        meta = {"name": name, "namespace": SHOP, "labels": {"app": name}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": meta,
            "spec": {**spec, "tolerations": [{"operator": "Exists"}]},
        }

    service = {"selector": {"app": "db-0"}, "ports": [{"port": 5432, "targetPort": 8080}]}
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}},
        pod("web", "n1"),
        pod("db-0", "n2"),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": SHOP}, "spec": service},
    ]
    kubectl(there.lab, "apply", "-f", "-", text=yamlio.dumps_all(items))
    kubectl(there.lab, "-n", SHOP, "wait", "--for=condition=Ready", "--timeout=60s", "pod/web", "pod/db-0")
    own = ("serviceaccount/default", "configmap/kube-root-ca.crt")
    kubectl(there.lab, "-n", SHOP, "wait", "--for=create", "--timeout=60s", *own)

    def served() -> bool:
        return "db-" in kubectl(there.lab, "-n", SHOP, "get", "endpointslices", "-o", "name")

    timeouts.wait_until("the Service to have endpoints", served, timeouts.ROLLOUT, interval=0.25)
    yield there
    kubectl(there.lab, "delete", "namespace", SHOP, "--wait=true")


def asked(shop: There, *words: str, code: int = 0) -> dict[str, object]:
    """What `why` says, and that nothing is left."""
    before = shop.objects()
    done = shop.user("why", "--kubeconfig", shop.admin, *words, "-o", "json", code=code)
    assert shop.objects() == before
    said: dict[str, object] = json.loads(done.stdout)
    return said


def on(shop: There, node: str, *words: str) -> str:
    """A command in a node, behind the cluster's back."""
    cli, name = shop.lab
    return cli("exec", "--cluster", name, node, "--", *words).stdout


@pytest.mark.parametrize(
    "words",
    [
        ("shop/web", "shop/db-0", "tcp/8080"),
        ("web", "svc/shop/db"),
        pytest.param(("n1", "db-0", "--ip-family", "ipv6"), marks=pytest.mark.night),
        pytest.param(("web", "n2"), marks=pytest.mark.night),
    ],
)
def test_nothing_is_wrong_with_a_healthy_flow(shop: There, words: tuple[str, ...]) -> None:
    said = asked(shop, *words)
    assert (said["fine"], said["arrives"], said["causes"], said["unknown"]) == (True, True, [], [])
    assert {step["direction"] for step in said["items"]} == {"request", "reply"}  # type: ignore[attr-defined]


@pytest.mark.night
def test_programs_are_sent_to_probes_of_any_image(shop: There) -> None:
    said = asked(shop, "shop/web", "shop/db-0", "tcp/8080", "--image", "cnilab.dev/toolbox:1")
    assert (said["fine"], said["arrives"], said["unknown"]) == (True, True, [])


def test_what_is_outside_is_unknown_and_not_guessed(shop: There) -> None:
    said = asked(shop, "shop/web", "8.8.8.8")
    assert said["causes"] == []
    assert "of which nothing was read" in str(said["unknown"])


@pytest.fixture
def no_route(shop: There) -> Iterator[str]:
    """The node of the web server has lost its route to the other one's pods."""
    (route,) = [line for line in on(shop, "n1", "ip", "route").splitlines() if "dev flannel.1" in line]
    share = route.split()[0]
    on(shop, "n1", "ip", "route", "del", share)
    yield share
    on(shop, "n1", "ip", "route", "replace", *route.split())


def test_a_route_that_was_deleted_is_named_for_a_flow_and_for_the_cluster(shop: There, no_route: str) -> None:
    for words in (("shop/web", "shop/db-0", "tcp/8080"), ()):
        said = asked(shop, *words, code=1)
        first = said["causes" if words else "items"][0]  # type: ignore[index]
        assert (first["key"], first["confidence"]) == (f"n1/route/{no_route}", "certain")
        assert first["mend"].startswith(f"ip route add {no_route} ")


@pytest.fixture
def dropped(shop: There) -> Iterator[None]:
    """Somebody's own rule drops what is forwarded to the data base."""
    on(shop, "n1", "nft", "add table inet mine")
    on(shop, "n1", "nft", "add chain inet mine cut { type filter hook forward priority 5; }")
    on(shop, "n1", "nft", "add rule inet mine cut tcp dport 8080 drop")
    yield
    on(shop, "n1", "nft", "delete table inet mine")


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("shop/web", "shop/db-0", "tcp/8080"), marks=pytest.mark.night),
        ("shop/web", "svc/shop/db", "--trace"),
    ],
)
def test_a_rule_that_drops_is_named(shop: There, words: tuple[str, ...]) -> None:
    said = asked(shop, *words, code=1)
    first = said["causes"][0]  # type: ignore[index]
    assert (first["key"], first["confidence"], said["arrives"]) == ("n1/nft/inet mine/cut/1", "certain", False)
    if "--trace" in words:
        assert said["untraced"] == {}
        dropped = {(one["place"], one["table"]) for one in said["traced"] if one["verdict"] == "dropped"}  # type: ignore[attr-defined]
        assert dropped == {("n1", "inet mine")}
    assert "cnilab-trace" not in on(shop, "n1", "nft", "list", "tables")


def test_a_sample_of_nodes_is_asked_without_a_flow(shop: There) -> None:
    said = asked(shop, "--sample", "1", "--seed", "2")
    assert (said["items"], len(said["nodes"]), said["leftOut"]) == ([], 1, {})  # type: ignore[arg-type]
    assert said["ways"]


def test_who_may_not_is_told_what_is_missing_and_nothing_is_made(shop: There) -> None:
    before = shop.objects()
    done = shop.user("why", "--kubeconfig", shop.limited, "shop/web", "n1", code=10)
    assert "not allowed: create namespaces" in done.stderr
    assert "not allowed: list services" in done.stderr
    assert "docs/why.md" in done.stderr
    assert shop.objects() == before


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.night)])
def test_a_command_that_is_interrupted_cleans_up(shop: There, number: signal.Signals) -> None:
    before = shop.objects()
    process = shop.user.start("why", "--kubeconfig", shop.admin)

    def running() -> bool:
        assert process.poll() is None, process.communicate()[1]
        pods = json.loads(kubectl(shop.lab, "get", "pods", "-A", "-l", "app=cnilab-node", "-o", "json"))
        return any(item["status"]["phase"] == "Running" for item in pods["items"])

    timeouts.wait_until("probes on nodes", running, timeouts.ROLLOUT, interval=0.1)
    process.send_signal(number)
    _, said = process.communicate(timeout=180)
    assert process.returncode in {130, 143}, said
    assert shop.objects() == before
