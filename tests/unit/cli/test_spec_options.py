"""A lab that is asked for is read once, whoever runs the command."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from harness.cli.command import command as define
from harness.cli.spec_options import Asked, checked_version, spec_options
from harness.errors import SpecError, UsageError
from harness.model.spec import LabSpec


@define("probe", examples="cnilab probe")
@spec_options
def probe(*, asked: Asked) -> Asked:
    """Says what it was asked for."""
    return asked


def asked_with(*words: str) -> Asked:
    with click.Context(click.Group()) as parent, probe.make_context("probe", list(words), parent=parent) as ctx:
        found: Asked = probe.invoke(ctx)
    return found


def test_options_become_fields_of_the_spec() -> None:
    found = asked_with("flannel", "--name", "mine", "--nodes", "3", "--mtu", "1400", "--provider", "kind")
    spec = found.spec
    assert (spec.name, spec.nodes, spec.underlay.mtu, spec.provider) == ("mine", 3, 1400, "kind")
    assert found.words == ["flannel", "--name", "mine", "--nodes", "3", "--mtu", "1400", "--provider", "kind"]


def test_the_primary_family_is_an_option() -> None:
    found = asked_with("cilium", "--ip-family", "dual", "--primary-family", "ipv6")
    assert found.spec.families == ("ipv6", "ipv4")
    assert found.words == ["cilium", "--ip-family", "dual", "--primary-family", "ipv6"]
    with pytest.raises(SpecError, match="primaryFamily: ipv6 has no meaning: ipFamily is ipv4, not dual"):
        _ = asked_with("cilium", "--primary-family", "ipv6").spec


def test_nothing_is_read_before_it_is_needed() -> None:
    found = asked_with("marbles")
    with pytest.raises(UsageError, match="'marbles' is neither a CNI variant nor a spec file"):
        _ = found.spec


def test_what_is_handed_over_counts_instead_of_the_words() -> None:
    given = Asked("flannel", {"spec.nodes": 4})
    with click.Context(click.Group()) as parent:
        given.hand_over(parent)
        with probe.make_context("probe", ["cilium", "--nodes", "2"], parent=parent) as ctx:
            found: Asked = probe.invoke(ctx)
        assert (found.spec.cni, found.spec.nodes) == ("flannel", 4)
        with probe.make_context("probe", ["cilium", "--nodes", "2"], parent=parent) as ctx:
            later: Asked = probe.invoke(ctx)
        assert (later.spec.cni, later.spec.nodes) == ("cilium", 2)


def test_what_cannot_be_read_is_not_handed_over() -> None:
    with click.Context(click.Group()) as parent, pytest.raises(SpecError, match="--nodes"):
        Asked("flannel", {"spec.nodes": 400}).hand_over(parent)


def test_another_process_gets_the_same_lab(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(
        "apiVersion: cnilab.dev/v1\nkind: Lab\nmetadata: {name: mine}\n"
        "spec: {cni: cilium, pods: {cidr: 10.9.0.0/16}, kubernetes: {version: '1.36', proxyMode: nftables}}\n"
    )
    first = Asked(str(tmp_path / "lab.yaml"), {"spec.underlay.mtu": 1400})
    first.write(tmp_path / "asked.json")
    (tmp_path / "lab.yaml").unlink()
    found = asked_with("--handed-over", str(tmp_path / "asked.json"))
    assert found.spec == first.spec
    assert isinstance(found.spec, LabSpec)
    assert found.words == first.words


def test_a_version_is_checked_without_a_look_at_the_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which families a cluster has is decided when there is to be one; a switch keeps those that it has."""

    def lacking() -> str:
        msg = "the machine was asked for IPv6"
        raise AssertionError(msg)

    monkeypatch.setattr("harness.steps.doctor.ipv6.lacking", lacking)
    with pytest.raises(AssertionError, match="asked for IPv6"):
        _ = Asked("flannel").spec
    assert checked_version("flannel", "0.27.4") == "0.27.4"
    assert checked_version("flannel", None) == ""
    assert checked_version("bridge", None) == ""
    with pytest.raises(SpecError, match="the variant bridge consists of settings of the nodes and has no images"):
        checked_version("bridge", "1.2.3")
    assert capsys.readouterr() == ("", "")
