"""What Vagrant 2.3.4 with vagrant-libvirt 0.11.2 said, as it was recorded, and what is understood of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.providers.vagrant import answers
from harness.providers.vagrant.engine import up_failed

RECORDED = Path(__file__).parent / "recorded"


def said(name: str) -> list[answers.Line]:
    return answers.lines((RECORDED / name).read_text(encoding="utf-8"))


def test_a_line_has_its_commas_and_line_feeds_again() -> None:
    one = answers.line(r"1795908405,n2,ui,warn,==> n2: No version%!(VAGRANT_COMMA) so\n==> n2: nothing")
    assert one == answers.Line("n2", "ui", ("warn", "==> n2: No version, so\n==> n2: nothing"))


@pytest.mark.parametrize("text", ["", "ruby: warning: x", "1795908405", "1795908405,n1", "x,n1,ui,info,y"])
def test_what_is_no_line_of_the_format_is_none(text: str) -> None:
    assert answers.line(text) is None


@given(st.text())
def test_no_text_is_too_strange_to_be_read(text: str) -> None:
    for one in answers.lines(f"1,n1,ui,info,{text}\n{text}"):
        answers.progress(one)
    answers.ssh_hosts(text)
    answers.volumes(text)
    answers.virtualbox_machines(text)


def test_progress_has_the_steps_of_each_machine_and_no_table_and_no_warning() -> None:
    steps = [step for one in said("up-failed.csv") if (step := answers.progress(one)) is not None]
    assert [step.text for step in steps if step.machine == "n1"] == [
        "Creating image (snapshot of base box volume)",
        "Creating domain with the following settings",
        "Creating shared folders metadata",
        "Updating domain definition due to configuration change",
        "Starting domain",
        "Waiting for domain to get an IP address",
    ]
    assert answers.Progress("", "Bringing machine 'router' up with 'libvirt' provider") in steps
    assert {step.machine for step in steps} == {"", "router", "n1", "n2"}


def test_a_failure_is_told_without_the_backtrace_and_with_a_next_step(tmp_path: Path) -> None:
    error = up_failed(said("up-failed.csv"), tmp_path / "vagrant.log")
    assert "'router' machine" in error.cause
    assert "The specified wait_for timeout (2 seconds) was exceeded" in error.cause
    assert ".rb:" not in error.cause
    assert "did not boot within Vagrant's own deadline" in error.next_step
    assert error.log == str(tmp_path / "vagrant.log")


@pytest.mark.parametrize(
    ("words", "step"),
    [
        ("The box 'cnilab/node' could not be found or\ncould not be accessed in the remote catalog.", "build-box"),
        ("Vagrant cannot forward the specified ports on this VM, since they would collide: port collision", "apiPort"),
        ("Error while connecting to Libvirt: Call to virConnectOpen failed: Failed to connect socket", "libvirtd"),
        ("Call to virDomainCreateWithFlags failed: could not access KVM kernel module", "hypervisor: qemu"),
        ("something else", "cnilab doctor --provider vagrant"),
    ],
)
def test_what_is_known_of_a_failure_decides_what_to_do(words: str, step: str) -> None:
    line = answers.Line("", "error-exit", ("Vagrant::Errors::Any", words))
    assert step in up_failed([line], Path("/log")).next_step


def test_a_failure_without_a_last_line_is_told_by_what_was_said_of_errors() -> None:
    line = answers.Line("n1", "ui", ("error", "no room"))
    assert answers.failure([line, line]) == "no room"
    assert answers.failure([]) == ""


def test_plugins_and_boxes_are_found() -> None:
    assert answers.plugins(said("plugin-list.csv"))["vagrant-libvirt"] == "0.11.2"
    assert answers.boxes(said("box-list.csv")) == [("cnilab/node", "libvirt")]
    assert answers.plugins([]) == {}
    assert answers.boxes([]) == []


def test_states_are_machines_alone() -> None:
    text = (
        "1795910000,n1,metadata,provider,libvirt\n1795910000,n1,state,running\n1795910000,n1,state-human-short,running\n"
        "1795910000,router,state,not_created\n1795910000,,ui,info,Current machine states:\\n\\nn1 running (libvirt)\n"
    )
    assert answers.states(answers.lines(text)) == {"n1": "running", "router": "not_created"}


def test_the_ways_to_machines_are_read() -> None:
    text = 'Host n1\n  HostName 192.168.121.7\n  IdentityFile "/a b/key"\n  # x\n\nHost router\n  Port 2222\n'
    assert answers.ssh_hosts(text) == {
        "n1": {"hostname": "192.168.121.7", "identityfile": "/a b/key"},
        "router": {"port": "2222"},
    }


def test_lists_of_hypervisors_are_read() -> None:
    names = answers.volumes((RECORDED / "vol-list.txt").read_text(encoding="utf-8"))
    assert names[:2] == ["cnilab-shop-e061b953-n1.img", "cnilab-shop-e061b953-n2.img"]
    assert answers.listed("n1\n\n  n2 \n") == ["n1", "n2"]
    text = '"cnilab-shop-1-n1" {0a1b-2c}\n"a "quoted" one" {ff-0}\nno line\n'
    assert answers.virtualbox_machines(text) == {"cnilab-shop-1-n1": "0a1b-2c", 'a "quoted" one': "ff-0"}
