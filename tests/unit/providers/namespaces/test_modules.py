from __future__ import annotations

from pathlib import Path

import pytest

from harness.providers.namespaces import bring_up
from harness.runner import Completed, HostRunner


class Recorded(HostRunner):
    """Remembers what it is asked to run.

    Args:
        bridge: Where settings of bridges are shown.
        brings: Programs for which the module has a setting; none where there is no module.
    """

    def __init__(self, bridge: Path, *brings: str) -> None:
        super().__init__()
        self.bridge = bridge
        self.brings = brings
        self.asked: list[list[str]] = []

    def run(self, argv, **_):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN201
        self.asked.append([str(word) for word in argv])
        for program in self.brings:
            (self.bridge / f"bridge-nf-call-{program}").write_text("1\n")
        return Completed(tuple(self.asked[-1]), int(not self.brings), "", "")


def test_a_kernel_with_modules_gets_the_bridges_filter_before_a_node_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it flannel ends: "Failed to check br_netfilter"; and a failure to load it is not this function's."""
    monkeypatch.setattr(bring_up, "BRIDGE_FILTER", tmp_path / "bridge-nf-call-iptables")
    monkeypatch.setattr("shutil.which", lambda name: f"/sbin/{name}")
    runner = Recorded(tmp_path)
    bring_up.load_modules(runner)
    assert runner.asked == [["modprobe", "br_netfilter"]]
    (tmp_path / "bridge-nf-call-iptables").write_text("1\n")
    bring_up.load_modules(runner)
    assert len(runner.asked) == 1
    assert (tmp_path / "bridge-nf-call-iptables").read_text() == "1\n", "it was there before: it is the machine's own"


def test_the_machines_own_bridges_go_on_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bring_up, "BRIDGE_FILTER", tmp_path / "bridge-nf-call-iptables")
    monkeypatch.setattr("shutil.which", lambda name: f"/sbin/{name}")
    bring_up.load_modules(Recorded(tmp_path, "iptables", "ip6tables"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "bridge-nf-call-iptables": "0\n",
        "bridge-nf-call-ip6tables": "0\n",
    }
