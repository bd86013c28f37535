from __future__ import annotations

import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from harness.errors import PreflightError, UsageError
from harness.model.spec import LabSpec
from harness.providers.namespaces import create, provider, state
from harness.providers.namespaces.layout import LabLayout

HOSTILE = ["", ".", "..", "../x", "a b", 'a"b', "a" * 300, "<b>x</b>", "A", "-a", "a/b", "a\n", "é"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_no_dns_label_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a valid name of a cluster"):
        LabLayout(tmp_path, name)


def test_labs_of_one_name_in_two_state_directories_have_groups_of_their_own(tmp_path: Path) -> None:
    groups = {LabLayout(tmp_path / state, "one").group for state in ("a", "b")}
    assert len(groups) == 2
    assert all(group.startswith("one.") for group in groups)


def test_a_claimed_lab_knows_all_machines_before_any_is_made(tmp_path: Path) -> None:
    layout = LabLayout(tmp_path, "one")
    create.claim(layout, LabSpec(name="one"), None)
    known = state.read(layout)
    assert known is not None
    assert [machine.name for machine in known.machines] == ["n1", "n2", "router", "far", "fabric"]
    assert known.machine("n2").address == IPv4Address("172.18.0.12")


def test_a_name_can_be_claimed_once(tmp_path: Path) -> None:
    layout = LabLayout(tmp_path, "one")
    create.claim(layout, LabSpec(name="one"), None)
    with pytest.raises(PreflightError, match="already a cluster named 'one'"):
        create.claim(layout, LabSpec(name="one"), None)


def test_a_lab_whose_machines_never_started_is_broken_and_can_be_removed(tmp_path: Path) -> None:
    layout = LabLayout(tmp_path, "one")
    create.claim(layout, LabSpec(name="one"), None)
    with pytest.raises(UsageError) as caught:
        provider.find(layout)
    assert "not running: n1, n2, router, far, fabric" in str(caught.value)
    assert provider.delete(layout) == []
    assert list(tmp_path.parent.glob(f"{tmp_path.name}/*")) == []


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    assert provider.delete(LabLayout(tmp_path, "none")) == []


def test_a_damaged_state_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    layout = LabLayout(tmp_path, "one")
    layout.path.mkdir(parents=True)
    layout.state_file.write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="damaged") as caught:
        provider.find(layout)
    assert "cnilab down one" in str(caught.value)
    assert provider.delete(layout) == []


def test_a_process_is_recognised_by_pid_and_start_time() -> None:
    own = os.getpid()
    machine = state.MachineState(name="x", address=IPv4Address("10.0.0.1"), pid=own, started=state.start_time(own))
    assert state.alive(machine)
    assert not state.alive(machine.model_copy(update={"started": machine.started + 1}))
    assert not state.alive(machine.model_copy(update={"pid": 0}))


def test_clones_share_layers_but_not_databases(tmp_path: Path) -> None:
    source = tmp_path / "root"
    (source / "io.containerd.metadata.v1.bolt").mkdir(parents=True)
    database = source / "io.containerd.metadata.v1.bolt/meta.db"
    database.write_bytes(b"db")
    layer = source / "layer"
    layer.write_bytes(b"layer")
    target = tmp_path / "node"
    target.mkdir()
    create.clone_tree(source, target)
    assert (target / "layer").stat().st_ino == layer.stat().st_ino
    assert (target / "io.containerd.metadata.v1.bolt/meta.db").stat().st_ino != database.stat().st_ino
    assert (target / "io.containerd.metadata.v1.bolt/meta.db").read_bytes() == b"db"
