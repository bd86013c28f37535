"""Ansible: the inventory, job events, and what is not kept of a run."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness import resources, yamlio
from harness.ansible import inventory
from harness.ansible.play import Failures, _forget_environment, journal_event, settings
from harness.model import labfile
from harness.steps.labs.objects import manifests

GOLDEN = Path(__file__).parents[3] / "golden" / "labs"


def test_the_inventory_is_as_it_was() -> None:
    nodes = [inventory.namespace_host(f"n{i}", f"172.18.0.1{i}", 4000 + i) for i in (1, 2)]
    router = inventory.namespace_host("router", "172.18.0.1", 4000)
    text = inventory.render(nodes, router, {"kubeconfig": "/state/lab/kubeconfig"}, "/usr/bin/python3")
    assert text == (GOLDEN / "inventory.yaml").read_text(encoding="utf-8")


def test_without_a_router_there_is_no_group_for_it() -> None:
    assert "outside" not in yamlio.loads(inventory.render([], None, {}, "/usr/bin/python3"))["all"]["children"]


def event(kind: str, **data: Any) -> dict[str, Any]:
    return {"event": kind, "event_data": {"task": "List the plugins", "host": "n1", "duration": 0.1234, **data}}


def test_a_task_becomes_an_event_with_its_host_and_duration() -> None:
    made = journal_event(event("runner_on_ok", res={"changed": True}), "ansible.labs")
    assert made is not None
    assert (made.step, made.state, made.title, made.seconds) == ("ansible.labs", "ok", "List the plugins (n1)", 0.123)
    assert made.detail == {"host": "n1", "changed": True}


def test_events_that_say_nothing_new_are_left_out() -> None:
    assert journal_event(event("runner_on_skipped"), "x") is None
    assert journal_event(event("playbook_on_stats"), "x") is None


def test_a_failure_keeps_what_the_program_said() -> None:
    failures = Failures()
    failures.add(event("runner_on_failed", res={"stderr": "ls: no such directory\n", "msg": "non-zero return code"}))
    failures.add(event("runner_on_failed", res={"msg": "fine"}, ignore_errors=True))
    assert failures.found == [("n1", "List the plugins", "ls: no such directory")]


def test_the_callers_environment_is_not_kept_in_a_run(tmp_path: Path) -> None:
    record = tmp_path / "command"
    record.write_text(json.dumps({"command": ["ansible-playbook"], "env": {"TOKEN": "secret", "ANSIBLE_HOME": "/x"}}))
    _forget_environment(record)
    assert json.loads(record.read_text()) == {"command": ["ansible-playbook"], "env": {"ANSIBLE_HOME": "/x"}}


def test_ansible_stays_in_the_run_directory(tmp_path: Path) -> None:
    kept = settings(tmp_path)
    assert kept["ANSIBLE_HOME"].startswith(str(tmp_path))
    assert kept["ANSIBLE_LOCAL_TEMP"].startswith(str(tmp_path))


def test_every_playbook_that_labs_name_is_there() -> None:
    for lab in labfile.read_all():
        assert (resources.root() / "playbooks" / lab.playbook).is_file()


# -- manifests ---------------------------------------------------------------------------------------------------------

FACTS = {"node_list": [{"name": f"n{i + 1}", "index": i} for i in range(3)]}


def test_objects_that_labs_share_are_applied_once() -> None:
    made = manifests(labfile.read_all(), resources.root(), FACTS)
    names = [(one["kind"], one["metadata"]["name"]) for one in made]
    assert len(names) == len(set(names))
    assert made[0]["kind"] == "Namespace"


def test_there_is_a_box_on_every_node() -> None:
    made = manifests(labfile.read_all(), resources.root(), FACTS)
    boxes = {one["metadata"]["name"]: one["spec"]["nodeName"] for one in made if one["metadata"]["name"][:3] == "box"}
    assert boxes == {"box1": "n1", "box2": "n1", "box3": "n2", "box4": "n3"}


def test_no_pod_pulls_an_image() -> None:
    def specs(value: Any) -> list[dict[str, Any]]:
        if isinstance(value, dict):
            own = list(value.get("containers", ()))
            return own + [spec for item in value.values() for spec in specs(item)]
        return [spec for item in value for spec in specs(item)] if isinstance(value, list) else []

    containers = specs(manifests(labfile.read_all(), resources.root(), FACTS))
    assert {container["imagePullPolicy"] for container in containers} == {"IfNotPresent"}
    assert all(container["image"].startswith("cnilab.dev/") for container in containers)


# -- the connection plugin ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    path = resources.root() / "playbooks" / "plugins" / "connection" / "cnilab_namespace.py"
    spec = importlib.util.spec_from_file_location("cnilab_namespace", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # Ansible makes its directories when it is imported: in the home of whoever runs the tests, if not told where.
        patch.setenv("ANSIBLE_HOME", str(tmp_path_factory.mktemp("ansible")))
        spec.loader.exec_module(module)
    return module


def connection(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch, program: Path) -> Any:
    made = plugin.Connection.__new__(plugin.Connection)
    options = {"pid": 1, "executable": str(program)}
    monkeypatch.setattr(made, "get_option", lambda name: options[name], raising=False)
    monkeypatch.setattr(made, "_play_context", type("Context", (), {"remote_addr": "n1"})(), raising=False)
    return made


@pytest.fixture
def nsenter(tmp_path: Path) -> Path:
    """Prints its arguments one per line, then what it reads."""
    path = tmp_path / "nsenter"
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\ncat\n')
    path.chmod(0o755)
    return path


def test_a_program_is_started_in_the_namespaces_of_the_process(
    plugin: ModuleType, monkeypatch: pytest.MonkeyPatch, nsenter: Path
) -> None:
    code, out, _ = connection(plugin, monkeypatch, nsenter)._enter("dd", "of=/tmp/a b; c", data=b"content")
    assert (code, out) == (0, b"-t\n1\n-a\n--\ndd\nof=/tmp/a b; c\ncontent")


def test_a_node_that_is_gone_is_said_to_be(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch, nsenter: Path) -> None:
    made = connection(plugin, monkeypatch, nsenter)
    monkeypatch.setattr(made, "get_option", lambda _: 2**22 + 5)
    with pytest.raises(plugin.AnsibleConnectionFailure, match="node n1 is gone"):
        made._enter("true")
