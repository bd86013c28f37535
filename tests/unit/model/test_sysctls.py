"""Settings of new network namespaces: a lab's do not depend on the machine's."""

from __future__ import annotations

import json
from pathlib import Path

from harness.cluster.node_config import CONTAINER_SPEC, MachineFacts, containerd_config
from harness.model import sysctls
from harness.model.spec import LabSpec
from harness.providers.namespaces import nodespec
from harness.providers.namespaces.bring_up import container_spec, inherited
from harness.runner import Argv, Completed, HostRunner
from tests.unit.cluster.test_plan import machines


class Said(HostRunner):
    """A program that says what it is told to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.asked: list[str] = []

    def run(self, argv: Argv, **_: object) -> Completed:
        self.asked = [str(word) for word in argv]
        return Completed((), 2, self.text, "grep: no such file")


HARDENED = """\
/proc/sys/net/ipv4/conf/all/arp_ignore:8
/proc/sys/net/ipv4/conf/default/arp_ignore:0
/proc/sys/net/ipv4/conf/all/rp_filter:1
/proc/sys/net/ipv6/conf/all/disable_ipv6:0
"""


def test_what_a_new_namespace_gets_is_asked_in_one() -> None:
    runner = Said(HARDENED)
    assert inherited(runner) == ["net.ipv4.conf.all.arp_ignore=8", "net.ipv4.conf.all.rp_filter=1"]
    assert runner.asked[:3] == ["unshare", "--net", "--"]
    assert "/proc/sys/net/ipv4/conf/default/arp_ignore" in runner.asked


def test_on_a_machine_that_is_as_the_kernel_made_it_nothing_is_odd() -> None:
    assert inherited(Said("".join(f"{path}:0\n" for path in sysctls.files()))) == []
    assert inherited(Said("")) == [], "unshare is not allowed: what needs it says so better"


def test_all_machines_of_a_lab_set_what_they_count_on_for_every_interface() -> None:
    for machine in (*machines(LabSpec()), *nodespec.surroundings()):
        assert sysctls.NETWORK.items() <= machine.sysctls.items(), machine.name
    assert sysctls.NETWORK["?net/ipv4/conf/*/arp_ignore"] == "0"


def test_pods_get_them_by_a_hook_where_the_machines_are_odd() -> None:
    spec = json.dumps({"process": {"rlimits": [1], "cwd": "/"}})
    text = container_spec(Path("/programs"), Said(spec))
    made = json.loads(text)
    (hook,) = made["hooks"]["createContainer"]
    assert hook["args"][:2] == ["nodeinit", "settle"]
    assert "net/ipv4/conf/*/arp_ignore=0" in hook["args"]
    assert made["process"] == {"cwd": "/"}
    for version in ("1.7.3", "2.3.1"):
        facts = MachineFacts(containerd=version, container_spec=text)
        assert f'base_runtime_spec = "{CONTAINER_SPEC}"' in containerd_config(facts)
        assert all(machine.files[CONTAINER_SPEC].content == text for machine in machines(LabSpec(), facts))
    assert "base_runtime_spec" not in containerd_config(MachineFacts())
    assert CONTAINER_SPEC not in machines(LabSpec())[0].files
