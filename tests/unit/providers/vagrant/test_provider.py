"""Labs of virtual machines are made, found again and removed, whatever state they are in; by programs that stand in."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import timeouts, yamlio
from harness.cni import catalogue
from harness.errors import BringUpError, PreflightError, UsageError
from harness.model.journal import Journal
from harness.model.labstate import LabDir
from harness.model.records import Event
from harness.model.spec import LabSpec, Vagrant
from harness.providers import registry
from harness.providers.vagrant import bring_up, create, engine, provider, state
from harness.providers.vagrant.bring_up import rendered
from harness.providers.vagrant.driver import DRIVER
from harness.providers.vagrant.node import VagrantNode
from harness.providers.vagrant.ssh import Way
from harness.runner import Completed, HostRunner, stop
from harness.steps.labs import apply

UP = r"""
echo "1795908402,,ui,info,Bringing machine 'n1' up with 'libvirt' provider..."
echo "1795908421,n1,ui,info,==> n1: Starting domain."
echo "1795908421,n1,ui,info,==> n1: Machine booted and ready!"
"""

VAGRANT = r"""#!/bin/sh
echo "$PWD $VAGRANT_DEFAULT_PROVIDER $*" >>"$ASKED"
case "$1" in
up) %(up)s ;;
ssh-config) printf 'Host n1\n  HostName 192.168.121.7\n\nHost router\n  HostName 192.168.121.8\n' ;;
status) printf '1,n1,state,running\n1,n2,state,shutoff\n' ;;
destroy) %(destroy)s ;;
esac
"""

VIRSH = r"""#!/bin/sh
shift 3
echo "virsh $*" >>"$ASKED"
case "$*" in
"list --all --name") cat "$THERE/machines" ;;
"vol-list default") sed 's|$| /images/x|' "$THERE/disks" ;;
"net-list --all --name") cat "$THERE/networks" ;;
esac
"""


@pytest.fixture
def spec() -> LabSpec:
    return LabSpec(name="shop", provider="vagrant", nodes=1, vagrant=Vagrant(hypervisor="qemu"))


@pytest.fixture
def place(tmp_path: Path) -> LabDir:
    return LabDir(tmp_path / "state", "shop")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make `vagrant` and `virsh`; returns the file that has what they were asked."""
    folder, asked = tmp_path / "bin", tmp_path / "asked"
    folder.mkdir()
    asked.touch()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(asked))
    monkeypatch.setenv("THERE", str(tmp_path))

    def make(up: str = UP, destroy: str = "exit 0", **there: str) -> Path:
        for name in ("machines", "disks", "networks"):
            (tmp_path / name).write_text(there.get(name, ""))
        for name, text in {"vagrant": VAGRANT % {"up": up, "destroy": destroy}, "virsh": VIRSH}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        return asked

    return make


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Machines that do not answer; nobody is asked."""
    found: dict[str, str] = {}
    monkeypatch.setattr(provider, "silences", lambda _: found)
    return found


def claimed(place: LabDir, spec: LabSpec, **changes: Any) -> state.VagrantState:
    known = create.claim(place, spec, None).model_copy(update=changes)
    state.write(place, known)
    return known


def test_a_state_is_there_before_anything_is_made_and_names_are_this_labs_own(place: LabDir, spec: LabSpec) -> None:
    assert create.claim(place, spec, None).api_port == 16443
    assert json.loads(place.state_file.read_text())["started"] is False
    with pytest.raises(PreflightError, match="already a cluster named 'shop'"):
        create.claim(place, spec, None)
    other = LabDir(place.state / "other", "shop")
    assert state.unique_name(place) != state.unique_name(other)
    text = rendered(spec, catalogue.variant("flannel"), state.unique_name(place))["Vagrantfile"]
    assert f'default_prefix = "{state.unique_name(place)}-"' in text
    assert f'libvirt__network_name: "{state.unique_name(place)}"' in text


def test_vagrant_makes_the_machines_and_every_step_of_each_is_told(
    place: LabDir, spec: LabSpec, programs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, heard = programs(), list[Event]()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    opened: list[str] = []
    monkeypatch.setattr(create, "_open", lambda machine: opened.append(machine.name))
    create.claim(place, spec, None)
    create.machines(place, spec, {"Vagrantfile": "x"}, Journal(None, heard.append))
    folder = state.folder(place)
    assert asked.read_text().splitlines() == [
        f"{folder} libvirt up --machine-readable --provider libvirt router",
        f"{folder} libvirt up --machine-readable --provider libvirt n1",
        f"{folder} libvirt ssh-config",
    ]
    notes = [one.title for one in heard if one.state == "note"]
    steps = ["Bringing machine 'n1' up with 'libvirt' provider", "n1: Starting domain", "n1: Machine booted and ready!"]
    assert notes == [*steps, *steps], "of each turn, once"
    log = (place.path / "vagrant.log").read_text()
    assert log.count("booted and ready") == 2, "the log has all turns"
    assert [one.state for one in heard if one.step == "up.machines" and one.state != "note"] == ["started", "ok"]
    assert sorted(opened) == ["n1", "router"]
    assert state.ssh_config(place).stat().st_mode & 0o777 == 0o600
    known = state.read(place)
    assert known is not None
    assert known.started


def test_a_failure_of_vagrant_has_its_words_and_its_log(
    place: LabDir, spec: LabSpec, programs: Callable[..., Path]
) -> None:
    programs(up="echo '1,,error-exit,Vagrant::Errors::X,no room at all'; exit 1")
    create.claim(place, spec, None)
    with pytest.raises(BringUpError, match="vagrant could not make the machines") as caught:
        create.machines(place, spec, {"Vagrantfile": "x"}, Journal(None))
    assert caught.value.cause == "no room at all"
    assert "no room at all" in Path(caught.value.log).read_text()


def test_vagrant_is_not_waited_for_without_an_end(
    place: LabDir, spec: LabSpec, programs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(up=f"{UP}trap 'exit 1' INT; while :; do sleep 0.05; done")
    monkeypatch.setattr("harness.timeouts.MACHINES_UP", 1.0)
    create.claim(place, spec, None)
    with pytest.raises(BringUpError, match="did not make the machines within 1 s") as caught:
        create.machines(place, spec, {"Vagrantfile": "x"}, Journal(None))
    assert "booted and ready" in caught.value.cause
    assert engine.living(place.path) == []


def test_down_lets_vagrant_destroy_and_removes_what_it_does_not_know_of(
    place: LabDir, spec: LabSpec, programs: Callable[..., Path]
) -> None:
    claimed(place, spec)
    unique = state.unique_name(place)
    asked = programs(
        destroy="exit 1",
        machines=f"{unique}-n1\n{unique}x-n1\nother\n",
        disks=f"{unique}-n1.img\nother.img\n",
        networks=f"default\n{unique}\n",
    )
    state.folder(place).mkdir()
    (state.folder(place) / "Vagrantfile").write_text("x")
    assert provider.delete(place) == []
    assert not place.path.exists()
    told = asked.read_text()
    assert "destroy --force" in told.splitlines()[0]
    for words in (f"undefine {unique}-n1 --nvram", f"vol-delete {unique}-n1.img", f"net-undefine {unique}"):
        assert f"virsh {words}" in told
    assert "undefine other" not in told
    assert f"undefine {unique}x-n1" not in told
    assert provider.delete(place) == [], "once more does no harm"


def test_what_cannot_be_removed_is_named_and_the_state_stays(
    place: LabDir, spec: LabSpec, programs: Callable[..., Path], tmp_path: Path
) -> None:
    claimed(place, spec)
    unique = state.unique_name(place)
    programs(machines=f"{unique}-n1\n")
    refusing = '[ "$1" = undefine ] && { echo "error: it is held" >&2; exit 1; }\n'
    text = VIRSH.replace("shift 3\n", f"shift 3\n{refusing}")
    (tmp_path / "bin/virsh").write_text(text)
    assert provider.delete(place) == [f"machine {unique}-n1: error: it is held"]
    assert state.read(place) is not None


def test_a_killed_bring_up_is_ended_before_anything_is_removed(
    place: LabDir, spec: LabSpec, programs: Callable[..., Path]
) -> None:
    programs()
    claimed(place, spec)
    works = engine.Vagrant(place.path, "qemu", place.path).environment
    process = HostRunner().start(["sleep", "1000"], env=works)
    try:
        # The kernel shows a program's environment a moment after it closed what the parent waits for.
        timeouts.wait_until("it has its environment", lambda: engine.living(place.path) == [process.pid], 10)
        threading.Thread(target=process.wait, daemon=True).start()  # else it stays in the table of processes
        assert engine.end_all(place.path) == []
        assert process.wait(10) == -signal.SIGKILL
    finally:
        stop(process)


def test_a_damaged_state_does_not_keep_a_lab_from_being_removed(place: LabDir, programs: Callable[..., Path]) -> None:
    asked = programs(machines=f"{state.unique_name(place)}-n7\n")
    state.folder(place).mkdir(parents=True)
    place.state_file.write_text("{")
    assert registry.delete(place) == []
    assert not place.path.exists()
    assert f"undefine {state.unique_name(place)}-n7" in asked.read_text()


def test_a_lab_that_did_not_come_up_or_does_not_answer_is_broken(
    place: LabDir, spec: LabSpec, silent: dict[str, str]
) -> None:
    known = claimed(place, spec)
    with pytest.raises(UsageError, match="is broken") as caught:
        provider.find(place)
    assert caught.value.cause == "its bring-up did not end"
    state.write(place, known.model_copy(update={"started": True}))
    _, lab = provider.find(place)
    assert [node.name for node in (*lab.nodes, lab.router, lab.far) if node is not None] == ["n1", "router", "far"]
    silent["n1"] = "ssh: connect to host: No route to host"
    with pytest.raises(UsageError) as caught:
        provider.find(place)
    assert caught.value.cause == "n1 does not answer: ssh: connect to host: No route to host"


def test_machines_have_the_health_that_vagrant_says(
    place: LabDir, spec: LabSpec, programs: Callable[..., Path]
) -> None:
    programs()
    claimed(place, spec.model_copy(update={"nodes": 2}))
    assert [one.status for one in DRIVER.machines(place)] == ["Missing"] * 3, "nothing was rendered"
    state.folder(place).mkdir()
    (state.folder(place) / "Vagrantfile").write_text("x")
    found = {one.name: one.status for one in DRIVER.machines(place)}
    assert found == {"n1": "Running", "n2": "Dead", "router": "Missing"}


def test_the_far_host_is_a_namespace_of_the_router(place: LabDir, spec: LabSpec) -> None:
    lab = provider.lab_of(place, claimed(place, spec))
    assert lab.far is not None
    assert lab.router is not None
    assert lab.far.way == lab.router.way
    words = lab.far.runner.vector(["true"])[-1]
    assert words.endswith("nsenter --net=/run/netns/far -- true")
    assert lab.router.into_container(7).vector(["true"])[-1].endswith("nsenter -t 7 -a -- true")


def test_playbooks_reach_machines_over_the_same_connection(place: LabDir, spec: LabSpec) -> None:
    lab = provider.lab_of(place, claimed(place, spec))
    found = yamlio.loads(bring_up.inventory(lab, spec, catalogue.variant("cilium")))
    n1 = found["all"]["children"]["control_plane"]["hosts"]["n1"]
    assert n1["cluster_address"] == "172.18.0.11"
    assert f"ControlPath={lab.nodes[0].way.control}" in n1["ansible_ssh_args"]
    assert n1["ansible_ssh_use_tty"] is False, "on a terminal ls writes columns, and roles read lines"
    skipped = found["all"]["vars"]["kubernetes_skip_phases"]
    assert skipped == "addon/coredns,addon/kube-proxy", "cilium does kube-proxy's work"

    class Attached:
        pass

    attached = Attached()
    attached.lab, attached.kubectl = lab, None  # type: ignore[attr-defined]
    hosts = yamlio.loads(apply.hosts(attached))["all"]["children"]  # type: ignore[arg-type]
    assert hosts["nodes"]["hosts"]["n1"]["ansible_connection"] == "ssh"
    assert hosts["outside"]["hosts"]["router"]["ansible_become"] is True


def test_programs_are_copied_where_they_are_missing_or_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"22")
    put: list[str] = []
    monkeypatch.setattr(create, "put", lambda _machine, _source, path: put.append(path))

    class Runner:
        def run(self, argv: list[str], **_: Any) -> Any:
            there = "/opt/a/one 1\n/opt/a/two 9\n" if argv[0] == "stat" else ""
            return type("Done", (), {"stdout": there})()

    class Machine:
        runner = Runner()

    create._give(Machine(), {"/opt/a/one": one, "/opt/a/two": two})  # type: ignore[arg-type]
    assert put == ["/opt/a/two"]


def test_a_server_for_ssh_is_restarted_once_and_listens_when_that_has_returned() -> None:
    """Told to reload, it listens to nobody for as long as it takes to start again: the next connection was refused."""
    ran: list[tuple[str, ...]] = []
    files: dict[str, str] = {}

    class Machine:
        way = type("Closing", (), {"close": lambda _: ran.append(("close",))})()

        @property
        def runner(self) -> Machine:
            return self

        def run(self, argv: list[str], *, input: str = "", **_: Any) -> Completed:  # noqa: A002 - as a runner has it
            if argv[0] == "tee":
                files[argv[1]] = input
            ran.append(tuple(argv))
            return Completed(tuple(argv), 0, files.get(argv[-1], "") if argv[0] == "cat" else "", "")

    create._open(Machine())  # type: ignore[arg-type]
    assert "MaxSessions 200" in files["/etc/ssh/sshd_config.d/lab.conf"]
    assert ran[-2:] == [("systemctl", "restart", "ssh"), ("close",)]
    ran.clear()
    create._open(Machine())  # type: ignore[arg-type]
    assert ("systemctl", "restart", "ssh") not in ran


def test_a_machines_file_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\necho 'cat: /x: No such file' >&2; exit 1\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    node = VagrantNode("n1", LabSpec().node_address("n1"), Way(tmp_path / "c", "n1", tmp_path / "s"))
    with pytest.raises(Exception, match="cat on n1 failed") as caught:
        node.file("/x")
    assert "No such file" in str(caught.value)
