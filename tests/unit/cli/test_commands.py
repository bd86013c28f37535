"""Commands, with the steps below them replaced: what they call, print and return."""

from __future__ import annotations

import json
import os
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import app as entry
from harness.cli.runs import finish
from harness.components.lock import load
from harness.errors import BringUpError, UsageError
from harness.model.run import RunDir
from harness.model.spec import LabSpec
from harness.providers.namespaces import cgroups, state
from harness.providers.namespaces.layout import LabLayout, group_suffix

SURROUNDINGS = ("router", "far", "fabric")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNILAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CNILAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CNILAB_TIMEOUT_SCALE", "1")
    monkeypatch.setenv("CNILAB_REGISTRY_MIRROR", "")
    monkeypatch.delenv("TOX_ENV_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lab(places: Path, lab_name: str, *, ready: bool = True, run: str = "") -> LabLayout:
    layout = LabLayout(places / "state", lab_name)
    me = os.getpid()
    machine = state.MachineState(name="n1", address=IPv4Address("172.18.0.11"), pid=me, started=state.start_time(me))
    known = state.NamespacesState(
        name=lab_name,
        created="2026-01-01T00:00:00Z",
        spec=LabSpec(name=lab_name, nodes=1),
        owner=me,
        ready=ready,
        run=run,
        api_port=4242,
        machines=(machine, *(machine.model_copy(update={"name": name}) for name in SURROUNDINGS)),
    )
    state.write(layout, known)
    return layout


@pytest.fixture
def bring_up(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Records calls of bring_up; makes a state directory as the real one does."""
    calls: list[dict[str, Any]] = []

    def fake(spec: LabSpec, variant: object, **rest: Any) -> object:
        calls.append({"spec": spec, "variant": variant, **rest})
        layout = lab(rest["state"].parent, spec.name, run=str(rest["run"].path))
        with rest["journal"].step("up.api", "API server"):
            if spec.nodes == 13:
                msg = "etcd did not start"
                raise BringUpError(msg, cause="disk full", log="n1/etcd.log")
            if spec.nodes == 14:
                raise KeyboardInterrupt
        return SimpleNamespace(lab=SimpleNamespace(kubeconfig=layout.kubeconfig))

    monkeypatch.setattr("harness.steps.lifecycle.up.bring_up", fake)
    monkeypatch.setattr("harness.steps.doctor.examine.require", lambda *_, **__: [])
    return calls


def test_up_prints_the_kubeconfig_and_nothing_else_on_stdout(
    bring_up: list[dict[str, Any]], places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["up", "flannel-host-gw", "--nodes", "3", "--mtu", "1400"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"export KUBECONFIG={places}/state/labs/flannel-host-gw/kubeconfig\n"
    assert "[" in captured.err
    assert "API server" in captured.err
    spec = bring_up[0]["spec"]
    assert (spec.name, spec.cni, spec.nodes, spec.underlay.mtu) == ("flannel-host-gw", "flannel-host-gw", 3, 1400)


def test_quiet_leaves_stderr_to_errors(bring_up: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["up", "bridge", "-q"]) == 0
    assert entry.run(["-q", "down", "bridge"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith("export KUBECONFIG=")
    assert bring_up


def test_up_leaves_a_run_directory_that_says_how_to_do_it_again(bring_up: list[dict[str, Any]], places: Path) -> None:
    assert entry.run(["up", "bridge", "--name", "mine", "--nodes", "1", "--retain"]) == 0
    info = RunDir(places / ".runs/latest").info()
    assert info.reproduce == "cnilab up bridge --name mine --nodes 1"
    assert (info.lab, info.variant, info.nodes, info.failure) == ("mine", "bridge", 1, {})
    assert info.finished
    assert bring_up[0]["run"].path.name.endswith("-mine")


def test_up_with_another_version_of_the_network_says_so_where_it_says_how_to_do_it_again(
    bring_up: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = ["quay.io/cilium/cilium:v1.19.4"]
    monkeypatch.setattr("harness.cni.networks.references", lambda *_: named)
    assert entry.run(["up", "cilium", "--cni-version", "1.19.4"]) == 0
    (call,) = bring_up
    assert call["spec"].cni_version == "1.19.4"
    assert call["store"].lock.pulled == tuple(named)
    assert call["run"].info().reproduce == "cnilab up cilium --cni-version 1.19.4"
    # The pinned version said aloud is what it would be anyway, and is built.
    assert entry.run(["up", "cilium", "--name", "b", "--cni-version", load().component["cilium"].version]) == 0
    assert (bring_up[1]["spec"].cni_version, bring_up[1]["store"].lock.pulled) == ("", ())


@pytest.mark.parametrize(
    "words", [["up", "cilium", "--cni-version", "1.19"], ["up", "bridge", "--cni-version", "1.9.0"]]
)
def test_a_version_that_cannot_be_is_refused_before_anything_begins(
    words: list[str], bring_up: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(words) == UsageError.exit_code
    assert "--cni-version: spec.cniVersion: is " in capsys.readouterr().err
    assert bring_up == []


def test_a_mirror_that_is_none_is_refused_before_anything_begins(
    bring_up: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["--registry-mirror", "quay.io=http://10.0.0.5", "up", "bridge"]) == UsageError.exit_code
    assert "images would be pulled without TLS" in capsys.readouterr().err
    assert bring_up == []


def test_mirrors_reach_what_pulls(bring_up: list[dict[str, Any]]) -> None:
    mirrors = {"quay.io": "https://a.example.org", "ghcr.io": "https://b.example.org"}
    assert entry.run([*(f"--registry-mirror={host}={url}" for host, url in mirrors.items()), "up", "bridge"]) == 0
    assert entry.run(["up", "bridge", "--name", "other"]) == 0
    assert [call["store"].mirrors for call in bring_up] == [mirrors, {}]


def test_what_is_run_on_the_lab_becomes_a_part_of_doing_it_again(
    bring_up: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert entry.run(["up", "bridge"]) == 0
    run = bring_up[0]["run"]
    for _ in range(2):
        finish(run, command=("cnilab", "test", "--select", "mtu"))
    assert run.info().reproduce == "cnilab up bridge && cnilab test --select mtu"
    monkeypatch.setenv("TOX_ENV_NAME", "lab-bridge")
    assert entry.run(["up", "bridge", "--name", "lab-bridge", "--nodes", "3"]) == 0
    run = bring_up[1]["run"]
    finish(run, command=("cnilab", "test"))
    assert run.info().reproduce == "./tox -e lab-bridge -- --nodes 3"


def test_up_reads_a_spec_file(bring_up: list[dict[str, Any]], places: Path) -> None:
    (places / "w.yaml").write_text(
        "apiVersion: cnilab.dev/v1\nkind: Lab\nmetadata: {name: w}\nspec: {cni: bridge, nodes: 2}\n"
    )
    assert entry.run(["up", "w.yaml", "--nodes", "4"]) == 0
    spec = bring_up[0]["spec"]
    assert (spec.name, spec.cni, spec.nodes) == ("w", "bridge", 4)


def test_a_provider_that_is_not_there_yet_is_refused(
    bring_up: list[dict[str, Any]], places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (places / "k.yaml").write_text("apiVersion: cnilab.dev/v1\nkind: Lab\nspec: {provider: existing}\n")
    assert entry.run(["up", "k.yaml"]) == 4
    assert "an existing cluster cannot be brought up" in capsys.readouterr().err
    assert bring_up == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flanel"], "did you mean 'flannel'?"),
        (["none.yaml"], "cannot read none.yaml"),
        (["flannel", "--nodes", "0"], "--nodes: spec.nodes: is 0; expected 1 to 20"),
        (["flannel", "--name", "../../etc"], "--name: metadata.name"),
        (["flannel", "--name", "x" * 300], "(300 characters)"),
        (["flannel", "--cni", "<b>"], "spec.cni: is '<b>'"),
        (["a b\x1b[31m"], "is neither a CNI variant nor a spec file"),
    ],
)
def test_up_refuses_what_it_cannot_understand_and_makes_nothing(
    words: list[str], message: str, bring_up: list[dict[str, Any]], places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["up", *words]) == 4
    text = capsys.readouterr().err
    assert message in text
    assert "\x1b[31m" not in text
    assert bring_up == []
    assert list(places.iterdir()) == []


def test_a_failed_up_collects_and_takes_the_lab_down(
    bring_up: list[dict[str, Any]], places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["up", "flannel", "--nodes", "13"]) == 11
    text = capsys.readouterr().err
    assert "API server: FAILED: etcd did not start" in text
    assert "cause: disk full" in text
    run = bring_up[0]["run"]
    assert f"log:   {run.path}/logs" in text
    assert run.info().failure["what"] == "etcd did not start"
    assert (run.path / "logs").is_dir()
    assert not (places / "state/labs").exists()


def test_a_failed_up_keeps_the_lab_when_asked_to(
    bring_up: list[dict[str, Any]], places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["up", "flannel", "--nodes", "13", "--retain"]) == 11
    assert "cnilab down flannel" in capsys.readouterr().err
    assert (places / "state/labs/flannel/state.json").exists()
    assert bring_up


def test_an_interrupted_up_takes_the_lab_down(bring_up: list[dict[str, Any]], places: Path) -> None:
    assert entry.run(["up", "flannel", "--nodes", "14"]) == 130
    assert bring_up[0]["run"].info().failure["what"] == "interrupted"
    assert not (places / "state/labs").exists()


def test_up_does_not_write_into_another_run(
    bring_up: list[dict[str, Any]], places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["up", "--run-dir", "here"]) == 0
    assert entry.run(["up", "--replace", "--run-dir", "here"]) == 4
    assert "contains an earlier run" in capsys.readouterr().err
    assert len(bring_up) == 1
    assert (places / "here/run.json").exists()


def test_down_is_idempotent(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab(places, "mine")
    assert entry.run(["down", "mine"]) == 0
    assert "Cluster 'mine' is down." in capsys.readouterr().err
    assert entry.run(["down", "mine"]) == 0
    assert "Cluster 'mine' is not up." in capsys.readouterr().err
    assert entry.run(["down"]) == 0
    assert "No cluster is up." in capsys.readouterr().err


@pytest.mark.parametrize("words", [["down", "lost"], ["down", "--all"], ["down"]])
def test_down_finds_a_cluster_whose_directory_is_gone(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    hierarchy = SimpleNamespace(path=places / "cgroup")
    group = places / "cgroup" / cgroups.TOP / f"lost{group_suffix(places / 'state')}"
    other = group.with_name(f"lost{group_suffix(places / 'elsewhere')}")
    for one in (group / "n1", other):
        one.mkdir(parents=True)
    monkeypatch.setattr(cgroups, "this_machine", lambda: [hierarchy])
    monkeypatch.setattr("harness.steps.lifecycle.down.this_machine", lambda: [hierarchy])
    assert entry.run(words) == 0
    assert "Cluster 'lost' is down." in capsys.readouterr().err
    assert not group.exists()
    assert other.exists()


def test_down_asks_which_when_there_are_several(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        lab(places, name)
    assert entry.run(["down"]) == 4
    assert "cause: one, two" in capsys.readouterr().err
    assert entry.run(["down", "--all"]) == 0
    assert not (places / "state/labs").exists()


def test_down_says_what_is_left_and_exits_12(
    places: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab(places, "mine")
    monkeypatch.setattr("harness.steps.lifecycle.down.tear_down", lambda *_: ["cgroup /sys/fs/cgroup/cnilab/mine"])
    assert entry.run(["down", "mine"]) == 12
    assert "cause: mine: cgroup /sys/fs/cgroup/cnilab/mine" in capsys.readouterr().err


def test_down_never_leaves_the_state_directory(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (places / "precious").write_text("x")
    (places / "state/labs").mkdir(parents=True)
    for name in ("../../precious", "..", ".", "/", "a/../../x", "*", "-"):
        assert entry.run(["down", "--", name]) == 4
    assert (places / "precious").exists()
    assert "is not a valid name of a cluster" in capsys.readouterr().err


def test_status_shows_labs_and_one_labs_machines(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab(places, "mine")
    lab(places, "young", ready=False)
    (places / "state/labs/torn").mkdir()
    (places / "state/labs/torn/state.json").write_text("{")
    assert entry.run(["status"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["NAME", "STATUS", "CNI", "IP", "K8S", "NODES", "AGE", "FAULTS"]
    assert rows[1][2:4] == ["flannel", "IPv4"]
    assert [row[:2] for row in rows[1:]] == [["mine", "Ready"], ["torn", "Damaged"], ["young", "Starting"]]
    assert entry.run(["status", "mine", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "MachineList"
    assert document["items"][0]["status"] == "Running"


def test_status_of_nothing_is_empty_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["status"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "No cluster is up.\n")


@pytest.mark.parametrize(
    "words",
    [
        ["exec", "n1"],
        ["trace", "a", "b"],
        ["apply"],
        ["test"],
        ["collect"],
        ["fault", "inject", "F05"],
        ["fault", "clear"],
    ],
)
def test_commands_on_a_lab_say_when_there_is_none(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(words) == 11
    assert "no cluster is up" in capsys.readouterr().err


def test_exec_becomes_the_command(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab(places, "mine")
    seen: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, vector: seen.append(vector))
    monkeypatch.setattr("harness.providers.namespaces.provider.find", _found())
    assert entry.run(["exec", "n1", "--", "ip", "-d", "link"]) == 0
    assert entry.run(["exec", "pod", "default/a", "-c", "x", "--", "date"]) == 0
    assert "nsenter" in seen[0]
    assert seen[0][-3:] == ["ip", "-d", "link"]
    assert seen[1][-9:] == ["exec", "-i", "-n", "default", "-c", "x", "a", "--", "date"]


def _found() -> Any:
    from harness.providers.namespaces.provider import lab_of  # noqa: PLC0415

    def find(layout: LabLayout) -> Any:
        known = state.read(layout)
        assert known is not None
        return known, lab_of(layout, known)

    return find


def test_exec_names_the_machines_when_there_is_none_of_that_name(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab(places, "mine")
    monkeypatch.setattr("harness.providers.namespaces.provider.find", _found())
    assert entry.run(["exec", "n9", "--", "true"]) == 4
    assert "machines: n1, router, far, fabric" in capsys.readouterr().err


def test_render_writes_the_plan_and_shows_differences(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["render", "flannel", "--to", "plan"]) == 0
    capsys.readouterr()
    assert (places / "plan/manifests/flannel.yaml").exists()
    assert entry.run(["render", "flannel", "--to", "plan", "--diff"]) == 0
    assert capsys.readouterr().out == ""
    assert entry.run(["render", "flannel", "--to", "plan", "--diff", "--mtu", "1400"]) == 1
    text = capsys.readouterr().out
    assert "-  mtu: 1500" in text
    assert "+    mtu: 1400" in text or "+  mtu: 1400" in text


@pytest.mark.parametrize(
    ("words", "first"), [(["man"], "cnilab.1"), (["render", "bridge"], "machines/n1/etc/containerd/config.toml")]
)
def test_a_place_that_cannot_be_written_to_is_a_mistake_of_the_call(
    words: list[str], first: str, places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (places / "file").write_text("")
    assert entry.run([*words, "--to", "file/plan"]) == 4
    assert capsys.readouterr().err == (
        "error: cannot write below file/plan\n"
        "  cause: Not a directory\n"
        f"  where: file/plan/{first}\n"
        "  next:  give a directory with --to that is writable and has free space\n"
    )


def test_a_file_that_cannot_be_compared_is_a_mistake_of_the_call(
    places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (places / "plan").mkdir()
    (places / "plan/spec.yaml").symlink_to("spec.yaml")
    assert entry.run(["render", "bridge", "--to", "plan", "--diff"]) == 4
    said = capsys.readouterr().err
    assert "error: cannot read plan/spec.yaml\n" in said
    assert "  next:  give a directory with --to that you may read\n" in said


def test_render_shows_no_key_and_is_the_same_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["render", "bridge"]) == 0
    first = capsys.readouterr().out
    assert entry.run(["render", "bridge"]) == 0
    assert capsys.readouterr().out == first
    assert "PRIVATE KEY-----\n" not in first


def test_diff_without_a_directory_is_a_usage_error() -> None:
    assert entry.run(["render", "--diff"]) == 4


def test_report_says_what_is_no_run_directory(capsys: pytest.CaptureFixture[str], places: Path) -> None:
    assert entry.run(["report", str(places)]) == 4
    assert "is not a run directory" in capsys.readouterr().err


def test_completion_scripts_name_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert entry.run(["completion", shell]) == 0
        assert "_CNILAB_COMPLETE" in capsys.readouterr().out


def test_completion_answers_with_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_CNILAB_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "cnilab st")
    monkeypatch.setenv("COMP_CWORD", "1")
    entry.run([])
    assert "plain,status" in capsys.readouterr().out


def test_a_file_that_a_full_disk_refuses_ends_a_bring_up_like_any_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*given: object, **more: object) -> None:
        del given, more
        raise OSError(28, "No space left on device", str(tmp_path / "state.json"))

    def given_up(spec: LabSpec, *given: object, **more: object) -> None:
        del given, more
        gone.append(spec.name)

    gone: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.steps.lifecycle.up.bring_up", full)
    monkeypatch.setattr("harness.cli.commands.up._give_up", given_up)
    code = entry.run(["--state", str(tmp_path / "state"), "up", "flannel", "--name", "full", "--skip-preflight"])
    said = capsys.readouterr().err
    assert code == 11
    assert "No space left on device" in said
    assert "state.json" in said
    assert gone == ["full"]
