"""What holds for every command: examples, variables named after flags, settings from files, formats."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import click
import pytest

from harness.cli import app as entry
from harness.cli.command import Group, Option, variable
from harness.components.kubernetes import versions
from harness.components.lock import load
from harness.errors import PreflightError, UsageError
from harness.providers.kind.bring_up import IMAGE_VARIABLE, PUBLISHED
from harness.providers.kind.engine import no_engine
from tests.unit.cli.test_main import commands
from tests.unit.components.test_given import KUBE, NPC, archive

BUILT = f"cnilab.dev/node:v{load().component['kubernetes'].version}-0123456789ab"
PUBLISHED_NAME = PUBLISHED.partition("@")[0]
PUBLISHED_DIGEST = PUBLISHED.partition("@sha256:")[2][:12]


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNILAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CNILAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options() -> list[tuple[str, click.Option]]:
    return [
        (name, one)
        for name, command in commands()
        for one in command.params
        if isinstance(one, click.Option) and not one.hidden
    ]


@pytest.mark.parametrize(("name", "option"), options(), ids=lambda one: getattr(one, "opts", [one])[0])
def test_a_variable_is_named_after_its_flag(name: str, option: click.Option) -> None:
    """Click names it after the function's parameter, which is another word now and then."""
    prefix = f"CNILAB_{name.upper().replace(' ', '_').replace('-', '_')}"
    by_click = f"{prefix}_{(option.name or '').upper()}"
    assert isinstance(option, Option) or by_click == variable(option, prefix)


def test_the_variable_that_the_help_names_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["down", "--help"]) == 0
    assert "CNILAB_DOWN_ALL" in capsys.readouterr().out
    monkeypatch.setenv("CNILAB_DOWN_ALL", "1")
    assert entry.run(["down", "somebody"]) == 4
    assert "names or --all, but not both" in capsys.readouterr().err


def groups() -> list[str]:
    found = {name: entry.cli.get_command(click.Context(entry.cli), name) for name in entry.COMMANDS}
    return [name for name, one in found.items() if isinstance(one, click.Group)]


@pytest.mark.parametrize("name", groups())
def test_a_group_has_three_examples_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    group = entry.cli.get_command(click.Context(entry.cli), name)
    assert isinstance(group, Group)
    assert len([line for line in group.examples if re.search(rf"cnilab {name} \w", line)]) >= 3
    assert entry.run([name, "-h"]) == 0
    assert "Examples:" in capsys.readouterr().out


def test_the_version_names_what_labs_are_made_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["version", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["components"]["kubernetes"].startswith("1.")
    selectable = document["kubernetes"]
    assert next(iter(selectable.values()))["version"] == document["components"]["kubernetes"]
    assert [*selectable][:3] == ["1.37", "1.36", "1.35"]
    assert all(date.fromisoformat(one["endOfLife"]) for one in selectable.values())
    assert document["edits"] == {name: list(one.edits) for name, one in load().component.items() if one.edits}
    assert entry.run(["version"]) == 0
    assert re.search(r"^cilium +1\.", capsys.readouterr().out, re.MULTILINE)


def test_who_is_not_root_is_told_whose_labs_these_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], places: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert entry.run(["test"]) == 11
    assert f"root's clusters are in root's own directory, not in {places}/state" in capsys.readouterr().err


def test_a_version_that_nothing_here_pins_is_told_like_every_mistake_of_a_spec(
    places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is made, and together with the others."""
    (places / "old.yaml").write_text(
        "apiVersion: cnilab.dev/v1\nkind: Lab\nspec:\n  nodes: 0\n  kubernetes: {version: '1.30'}\n"
    )
    assert entry.run(["render", "old.yaml"]) == 4
    text = capsys.readouterr().err
    assert "old.yaml:4:3: spec.nodes: is 0; expected 1 to 20" in text
    assert "old.yaml:5:16: spec.kubernetes.version: is '1.30'; expected 1." in text
    assert "or a full version (a full version is downloaded as a release)" in text


@pytest.fixture
def files(places: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The user's file, and the project's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(places / "config"))
    (places / "config" / "cnilab").mkdir(parents=True)
    return places / "config" / "cnilab" / "config.toml", places / "cnilab.toml"


def version(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert entry.run(["version", *words]) == 0
    return capsys.readouterr().out


def test_a_word_wins_over_a_variable_that_over_the_project_and_that_over_the_user(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    user, project = files
    user.write_text('[version]\noutput = "yaml"\n')
    assert version(capsys).startswith("apiVersion:")
    project.write_text('[version]\noutput = "json"\n')
    assert version(capsys).startswith("{")
    monkeypatch.setenv("CNILAB_VERSION_OUTPUT", "table")
    assert version(capsys).startswith("cnilab ")
    assert version(capsys, "-o", "json").startswith("{")


def test_options_in_files_have_the_names_of_flags_before_the_command_and_after(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CNILAB_TIMEOUT_SCALE", raising=False)
    files[1].write_text('timeout-scale = 3\n[render]\nto = "plan"\nnodes = 1\n[components.list]\noutput = "name"\n')
    assert entry.run(["render", "bridge"]) == 0
    assert (files[1].parent / "plan" / "spec.yaml").read_text().count("nodes: 1") == 1
    assert entry.run(["components", "list"]) == 0
    assert "component/kubernetes\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words", "told"),
    [
        ("[up]\nnods = 3\n", ["up"], "'nods' is not an option of 'cnilab up'"),
        ("[upp]\nnodes = 3\n", ["status"], "'upp' is not an option of 'cnilab'"),
        ('[components]\noutput = "wide"\n', ["components", "list"], "'output' is not an option of 'cnilab components'"),
        ("[up\n", ["status"], "cnilab.toml is not valid TOML"),
        ("a = " + "[" * 9000 + "]" * 9000, ["status"], "cnilab.toml is not valid TOML"),
        ("a = " + "9" * 9000, ["status"], "cnilab.toml is not valid TOML"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_a_usage_error_that_names_it(
    text: str, words: list[str], told: str, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files[1].write_text(text)
    assert entry.run(words) == 4
    said = capsys.readouterr().err
    assert told in said
    assert "cnilab.toml" in said
    assert "\n  next:  " in said


def test_a_file_that_cannot_be_read_is_a_usage_error_with_a_next_step(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files[1].write_bytes(b"color = \xff\n")
    assert entry.run(["status"]) == 4
    said = capsys.readouterr().err
    assert "cannot read cnilab.toml" in said
    assert "  next:  make it a readable text file, or remove it" in said


@pytest.mark.parametrize(
    ("text", "words", "key", "cause"),
    [
        ("[up]\nnodes = 'x'\n", ["up"], "up.nodes", "'x' is not a valid integer"),
        ("[up]\nnodes = [3]\n", ["up"], "up.nodes", "A list is only allowed for an option that may be repeated"),
        ("[up]\nnodes = true\n", ["up"], "up.nodes", "It needs a value, not true"),
        ("[up]\nname = 2026-01-01\n", ["up"], "up.name", "It must be text or a number. Put a date or a time"),
        ("[up]\nretain = 5\n", ["up"], "up.retain", "'5' is not a valid boolean"),
        ("[doctor]\nskip = [['a']]\n", ["doctor"], "doctor.skip", "A list is only allowed"),
        ('[up]\nname = "a\\u0000"\n', ["up"], "up.name", "It contains a zero character"),
        ("color = true\n", ["status"], "color", "It needs a value, not true"),
        ("color = 'red'\n", ["status"], "color", "'red' is not one of 'auto', 'always', 'never'"),
        ("[components.list]\noutput = 3\n", ["components", "list"], "components.list.output", "'3' is not one of"),
    ],
)  # fmt: skip
def test_a_value_that_an_option_cannot_have_is_told_with_file_and_key(
    text: str, words: list[str], key: str, cause: str, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files[1].write_text(text)
    assert entry.run([*words, "--help"]) == 4
    said = capsys.readouterr().err
    assert f"'{key.rpartition('.')[2]}' has a value that 'cnilab" in said
    assert f"  cause: {cause}" in said
    assert f"  where: cnilab.toml, key {key}\n" in said
    assert "--help' shows which values are allowed" in said


def parsed(name: str, text: str, files: tuple[Path, Path]) -> tuple[dict[str, object], dict[str, object]]:
    """What cnilab and one of its commands make of a file."""
    files[1].write_text(text)
    with entry.cli.make_context("cnilab", [name]) as root:
        command = entry.find(name)
        with command.make_context(name, [], parent=root) as ctx:
            return root.params, ctx.params


def test_numbers_in_a_file_are_what_the_same_words_are(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CNILAB_STATE", "CNILAB_TIMEOUT_SCALE"):
        monkeypatch.delenv(name, raising=False)
    text = "state = 5\ntimeout-scale = 2.5\nverbose = 2\n[up]\nname = 7\nrun-dir = 5\nnodes = '3'\nretain = true\n"
    before, after = parsed("up", text, files)
    assert (before["state"], before["timeout_scale"], before["verbose"]) == (Path("5"), 2.5, 2)
    assert (after["name"], after["run_dir"], after["nodes"], after["retain"]) == ("7", Path("5"), 3, True)


@pytest.mark.parametrize(("skip", "expected"), [("'disk'", ("disk",)), ("['disk', 4]", ("disk", "4")), ("[]", ())])
def test_an_option_that_may_be_given_several_times_takes_a_list_or_its_only_value(
    skip: str, expected: tuple[str, ...], files: tuple[Path, Path]
) -> None:
    assert parsed("doctor", f"[doctor]\nskip = {skip}\n", files)[1]["skip"] == expected


@pytest.mark.parametrize("text", ["[up\n", "upp = 1\n", "[up]\nnods = 3\n", "[components]\nnods = 3\n"])
@pytest.mark.parametrize("words", ["up --no", "components l"])
def test_whoever_presses_tab_gets_no_complaint_about_a_file(
    text: str,
    words: str,
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files[1].write_text(text)
    monkeypatch.setenv("_CNILAB_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"cnilab {words}")
    monkeypatch.setenv("COMP_CWORD", "2")
    entry.run([])
    said = capsys.readouterr()
    assert said.err == ""
    assert "plain," in said.out


def test_every_command_has_a_manual_page_with_all_of_its_options(
    places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["man", "--to", "pages", "-q"]) == 0
    pages = {path.stem: path.read_text() for path in (places / "pages").glob("*.1")}
    own = {f"cnilab-{name.replace(' ', '-')}" for name, _ in commands()}
    assert set(pages) == own | {"cnilab", *(f"cnilab-{name}" for name in groups())}
    for name, option in options():
        text = pages[f"cnilab-{name.replace(' ', '-')}"]
        assert option.opts[-1].replace("-", r"\-") in text, (name, option.opts)
    assert capsys.readouterr().out == ""


def test_manual_pages_have_no_request_that_troff_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["man"], ["man", "up"], ["man", "components", "list"]):
        assert entry.run(words) == 0
        lines = capsys.readouterr().out.splitlines()
        requests = {line.split()[0] for line in lines if line.startswith((".", "'"))}
        assert requests <= {".TH", ".SH", ".PP", ".TP", ".B", ".nf", ".fi"}
        assert r"12   something is left after down" in "\n".join(lines)
    assert entry.run(["man", "nobody"]) == 4


def test_a_dry_run_says_what_would_be_made_and_makes_nothing(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["up", "cilium", "--nodes", "3", "--dry-run"]) == 0
    said = capsys.readouterr()
    lines = [line.split() for line in said.out.splitlines()]
    assert [line[1] for line in lines if line[0] == "node"] == ["n1", "n2", "n3"]
    assert {"kubernetes", "cilium", "nodeinit"} <= {line[1] for line in lines if line[0] == "component"}
    assert ["image", "quay.io/cilium/cilium:v1.20.2"] in [line[:2] for line in lines]
    assert ["file", "helm/cilium-values.yaml"] in [line[:2] for line in lines]
    assert "would be fetched or built first: kubernetes" in said.err
    assert list(places.iterdir()) == []


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[str]]:
    """Rows of a dry run, the cells parted."""
    assert entry.run(["up", *words, "--dry-run"]) == 0
    return [re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines()]


def test_a_dry_run_of_another_kubernetes_shows_its_versions_and_whether_it_is_mended(
    places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (places / "old.yaml").write_text("apiVersion: cnilab.dev/v1\nkind: Lab\nspec:\n  kubernetes: {version: '1.34'}\n")
    assert entry.run(["up", "old.yaml", "--dry-run", "-o", "json"]) == 0
    out, err = capsys.readouterr()
    found = {item["name"]: item for item in json.loads(out)["items"] if item["what"] == "component"}
    assert found["kubernetes"]["version"] == versions(load())["1.34"]
    assert "Kubernetes 1.34 is out of support since 2026-10-27" in err


@pytest.mark.parametrize("words", [("list",), ("ensure", "pause"), ("export", "x.tar")])
def test_what_is_no_version_of_kubernetes_is_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["components", *words, "--kubernetes", "latest"]) == 4
    assert "'latest' is not a version of Kubernetes, as 1.36 or 1.36.3" in capsys.readouterr().err


def test_components_of_another_kubernetes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["components", "list", "--kubernetes", "1.36", "-o", "json"]) == 0
    pinned = {item["name"]: item["pinned"] for item in json.loads(capsys.readouterr().out)["items"]}
    assert pinned["kubernetes"] == pinned["kubeadm"] == versions(load())["1.36"]


def test_a_dry_run_is_a_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["up", "flannel", "--provider", "kind", "--name", "k", "--dry-run", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [document[key] for key in ("kind", "lab", "provider")] == ["PlannedItemList", "k", "kind"]
    found = {(item["what"], item["name"]): item for item in document["items"]}
    assert found["component", "kind"]["state"] == "missing"
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["component", "flannel"]["version"])
    assert found["node", "n1"]["address"] == "172.18.0.11"
    assert found["image", "cnilab.dev/responder:1"]["source"] == "components"
    assert found["file", "kind.yaml"]["bytes"] > 100
    assert document["missing"] == [name for what, name in found if what == "component"]
    assert entry.run(["up", "flannel", "--dry-run", "-o", "name"]) == 0
    names = capsys.readouterr().out.splitlines()
    assert {"image/cnilab.dev/pause:1", "component/kubernetes", "node/n2"} <= set(names)


def test_the_list_of_labs_says_for_which_network_each_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["labs", "list"]) == 0
    rows = {row[0]: row for row in (re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines())}
    assert rows["ID"][2] == "NETWORK"
    assert [rows[lab][2] for lab in ("flannel-routes", "flannel-hostgw", "pod-pause")] == [
        "flannel, vxlan", "flannel, plain", "any"
    ]  # fmt: skip


def test_formats_are_for_a_dry_run(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["up", "flannel", "-o", "json"]) == 4
    assert "-o needs --dry-run" in capsys.readouterr().err
    monkeypatch.setenv("CNILAB_UP_OUTPUT", "json")
    (places / "cnilab.toml").write_text("[up]\nreplace = true\n")
    assert entry.run(["up", "flannel", "--dry-run"]) == 0, "settings are for all times, and no contradiction"
    assert json.loads(capsys.readouterr().out)["kind"] == "PlannedItemList"
    monkeypatch.setattr("harness.steps.doctor.examine.require", refuse)
    assert entry.run(["up", "flannel"]) == PreflightError.exit_code, "it got as far as doctor"


def refuse(*_: object, **__: object) -> None:
    msg = "not here"
    raise PreflightError(msg)


def test_a_dry_run_refuses_what_up_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["up", "flannel", "--provider", "marbles", "--dry-run"]) == UsageError.exit_code
    assert "--provider: spec.provider: is 'marbles'; expected 'namespaces', " in capsys.readouterr().err
    assert entry.run(["up", "flannel", "--provider", "kind", "--kernel", "debian", "--dry-run"]) != 0
    assert "kernel: debian needs provider namespaces" in capsys.readouterr().err


def test_a_dry_run_names_what_its_user_brings(places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "flanneld-of-today"
    mine.write_text("#!/bin/sh\n")
    saved = archive(tmp_path / "weave.tar", "manifest.json", [{"RepoTags": [KUBE]}])
    assert ["program", "flanneld", f"your own: {mine}"] in planned(capsys, "flannel", "--component", f"flanneld={mine}")
    rows = planned(capsys, "weave", "--component", f"weave-kube={saved}")
    assert ["image", KUBE, f"your own: {saved}"] in rows
    assert ["image", NPC, "missing; add it with cnilab components add"] in rows
    both = archive(tmp_path / "both.tar", "manifest.json", [{"RepoTags": [KUBE, NPC]}])
    rows = planned(capsys, "weave", "--component", f"weave-kube={both}")
    assert ["image", NPC, f"your own: {both}"] in rows, "all images of an archive come with it"
    assert entry.run(["up", "flannel", "--dry-run", "--component", "flanneld=/no/such/file"]) == 4
    assert "there is no file /no/such/file" in capsys.readouterr().err
    assert entry.run(["up", "flannel", "--provider", "kind", "--dry-run", "--component", f"pause={mine}"]) == 4
    assert "no program or image of that name" in capsys.readouterr().err, "kind's containerd has another pause"
    assert not (places / "cache").exists(), "nothing is copied"


def test_a_dry_run_names_the_kernel(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row for row in planned(capsys, "flannel") if row[0] == "kernel"] == []
    row = planned(capsys, "flannel", "--kernel", "debian")[1]
    assert row[:2] == ["kernel", "debian"]
    assert row[2].startswith("would be downloaded: package linux-image-cloud-")
    (places / "cache/kernels/debian/6.1.0-9-cloud").mkdir(parents=True)
    assert planned(capsys, "flannel", "--kernel", "debian")[1] == [
        "kernel", "debian 6.1.0-9-cloud", "cached, in a virtual machine"
    ]  # fmt: skip


class FakeEngine:
    """An engine with these images."""

    has: tuple[str, ...] = ()

    def images(self, repository: str) -> list[str]:
        return [one for one in self.has if one.startswith(f"{repository}:")]

    def has_image(self, reference: str) -> bool:
        return reference in self.has


@pytest.mark.parametrize(
    ("has", "named", "expected"),
    [
        ((), "", [PUBLISHED_NAME, f"would be pulled {PUBLISHED_DIGEST}"]),
        ((PUBLISHED,), "", [PUBLISHED_NAME, f"the engine has it {PUBLISHED_DIGEST}"]),
        ((PUBLISHED, BUILT), "", [BUILT, "the newest that was built here"]),
        ((BUILT,), "mine:2", ["mine:2", "would be pulled"]),
        (("mine:2",), "mine:2", ["mine:2", "the engine has it"]),
        (None, "mine:2", ["mine:2", "chosen at bring-up"]),
        (None, "", [
            "kind's node image",
            f"chosen at bring-up: one built here, or {PUBLISHED_NAME} {PUBLISHED_DIGEST}",
        ]),
    ],
)  # fmt: skip
def test_a_dry_run_names_the_image_of_kinds_nodes(
    has: tuple[str, ...] | None,
    named: str,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def engine() -> FakeEngine:
        if has is None:
            raise no_engine("connection refused")  # noqa: EM101 - the reason, and not the message
        return FakeEngine()

    monkeypatch.setattr(FakeEngine, "has", has)
    monkeypatch.setattr("harness.providers.kind.engine.Engine", engine)
    monkeypatch.setenv(IMAGE_VARIABLE, named)
    rows = planned(capsys, "flannel", "--provider", "kind")
    assert [row[1:] for row in rows if row[0] == "node-image"] == [expected]
    assert "cnilab.dev/pause:1" not in [row[1] for row in rows]
    assert not [row for row in rows if row[0] == "component" and row[1].startswith("pause")]


def test_a_dry_run_goes_with_nothing_that_does_something(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["up", "--dry-run", "--replace"]) == 4
    assert "give only one of them" in capsys.readouterr().err
