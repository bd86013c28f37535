"""What pods can read of themselves, where nodes are out of reach."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from harness.probes import podstate
from harness.probes.facts import FACTS
from harness.probes.plan import Prober
from harness.probes.podstate import Subject
from harness.runner import Argv, CommandError, Completed, HostRunner


class Agent(HostRunner):
    """Answers `batch` as the agent does, from given files."""

    def __init__(self, files: Mapping[str, str] | None) -> None:
        super().__init__()
        self.files = files
        self.asked: list[dict[str, Any]] = []

    def run(self, argv: Argv, *, input: str | None = None, **more: Any) -> Completed:  # noqa: A002
        del more
        if self.files is None:
            msg = "no connection into pod team-a/a"
            raise CommandError(msg)
        self.asked = json.loads(input or "{}")["commands"]
        lines = [
            {
                "id": one["id"],
                "status": 0,
                "files": {path: self.files[path] for path in one["files"] if path in self.files},
            }
            for one in self.asked
        ]
        return Completed(tuple(map(str, argv)), 0, "".join(json.dumps(line) + "\n" for line in lines), "")


def site(files: Mapping[str, str] | None) -> Prober:
    return Prober("a", "n1", "10.0.0.2", Agent(files), "/responder")


FILES = {
    "/proc/self/root/etc/resolv.conf": "nameserver 10.96.0.10\n",
    "/etc/resolv.conf": "nameserver 10.96.0.10\n",
    "/sys/class/net/eth0/mtu": "1450\n",
    "/proc/sys/net/ipv4/ip_forward": "0\n",
}


def test_a_pod_is_asked_for_files_alone() -> None:
    place = site(FILES)
    dumps = podstate.dump([Subject(place, "team-a")], batch="B0")
    assert isinstance(place.runner, Agent)
    assert all("argv" not in one for one in place.runner.asked)
    assert {one.what: one.vantage for one in dumps} == dict.fromkeys(podstate.WHAT, "pod")
    data = {one.what: one.data for one in dumps}
    assert data["resolv-conf"] == "nameserver 10.96.0.10\n"
    assert data["sysctl"] == {"net.ipv4.ip_forward": "0"}


def test_a_host_network_pod_is_asked_for_its_own_files_only() -> None:
    dumps = podstate.dump(
        [Subject(site(FILES), "team-a", host_network=True)], batch="B4", only=("resolv-conf", "sysctl")
    )
    assert [one.what for one in dumps] == ["resolv-conf"]


def test_a_pod_that_cannot_be_entered_gives_records_of_that() -> None:
    dumps = podstate.dump([Subject(site(None), "team-a")], batch="B0", only=("resolv-conf",))
    assert [one.data for one in dumps] == [{"error": "no connection into pod team-a/a"}]


def test_the_mtu_and_the_resolver_of_a_pod() -> None:
    assert podstate.link_mtu(site(FILES)) == 1450
    assert podstate.resolv_conf(site(FILES)) == "nameserver 10.96.0.10\n"


def test_a_link_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        podstate.link_mtu(site({}), "net1")


def test_facts_made_of_files_are_what_a_pod_is_asked_for() -> None:
    assert all(FACTS[what].files and not FACTS[what].argv for what in podstate.WHAT)
