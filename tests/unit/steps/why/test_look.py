"""What is read for one flow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from harness.model.family import Family
from harness.probes.sandboxes import Sandbox, Sandboxes
from harness.steps.why.look import as_given

GIVEN = [{"ip": "10.244.0.2"}, {"ip": "fd00:10:244::2"}]


def pod(name: str, *ips: str, **facts: Any) -> Sandbox:
    known = {"id": name, "pod": name, "namespace": "shop", "uid": "1", "node": "n1", "pid": 1, "netns": "", "inode": 1}
    return Sandbox.model_validate({**known, "ip": "10.244.0.2", "ips": ips, **facts})


class Api:
    """Says what pods were given, and remembers who asked."""

    def __init__(self, item: Any) -> None:
        self.item = item
        self.asked: list[tuple[str, ...]] = []

    def get(self, *words: str) -> Any:
        self.asked.append(words)
        return self.item


def given(item: Any, family: Family, *words: str, pods: tuple[Sandbox, ...]) -> tuple[list[tuple[str, ...]], Api]:
    api = Api(item)
    attached: Any = SimpleNamespace(kube=api)
    return [one.ips for one in as_given(attached, Sandboxes((), pods), words, family).sandboxes], api


def test_an_address_that_a_pod_lost_is_the_one_that_it_was_given() -> None:
    item = {"status": {"podIPs": GIVEN}}
    pods = (pod("a", "10.244.0.2"), pod("b", "10.244.0.3"))
    for word in ("a", "shop/a", "pod/a"):
        found, api = given(item, "ipv6", word, "svc/web", pods=pods)
        assert found == [("10.244.0.2", "fd00:10:244::2"), ("10.244.0.3",)]
        assert api.asked == [("v1", "Pod", "a", "shop")]
    found, _ = given(item, "ipv4", "a", pods=(pod("a", "fd00:10:244::2"),))
    assert found == [("fd00:10:244::2", "10.244.0.2")]


def test_nobody_is_asked_of_a_pod_that_has_an_address_or_is_not_meant() -> None:
    for word, one in (("a", pod("a", "fd00::2")), ("other/a", pod("a")), ("a", pod("a", host_network=True))):
        found, api = given({}, "ipv6", word, pods=(one,))
        assert (found, api.asked) == ([one.ips], [])


def test_a_pod_that_was_never_given_one_stays_without() -> None:
    items: tuple[Any, ...] = ({"status": {"podIPs": GIVEN[:1]}}, {"status": {}}, None)
    for item in items:
        found, api = given(item, "ipv6", "a", pods=(pod("a", "10.244.0.2"),))
        assert (found, len(api.asked)) == ([("10.244.0.2",)], 1)
