"""The nightly matrix: what it asks for, what this machine can do of it, and how a night goes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness import timeouts
from harness.cni import catalogue
from harness.errors import SpecError, UsageError
from harness.model.load import load_spec
from harness.model.matrix import Cell
from harness.model.references import Known
from harness.model.spec import Kubernetes
from harness.runner import HostRunner
from harness.steps.doctor.model import Answer, Finding, Plan, Question, Status
from harness.steps.matrix import plan as matrix
from harness.steps.matrix import run

EXPECTED = "expected the name of one of the"
HEAD = "apiVersion: cnilab.dev/v1\nkind: Matrix\n"


def cell(name: str = "flannel", **changes: object) -> Cell:
    fields: dict[str, object] = {"provider": "namespaces", "kernel": "host", "nodes": 2, "labs": "default"}
    fields["kubernetes"] = Kubernetes().version
    fields |= {"id": name, "variant": "flannel", "minutes": 30, "unavailable": ""} | changes
    return Cell(**fields)  # type: ignore[arg-type]


def finding(check: str, status: Status, detail: str = "no") -> Finding:
    made = Question(check, check.title(), "info", "nothing works", "mend it", lambda _: Answer(ok=True))
    return Finding(made, status, detail, "")


def finds(*findings: Finding) -> Callable[[Plan], Sequence[Finding]]:
    return lambda _: findings


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(HEAD + text, encoding="utf-8")
        return path

    return write


def test_the_nightly_matrix_has_every_variant_on_namespaces() -> None:
    found = matrix.load()
    found = [one for one in found if one.ip_family == "ipv4"]
    usual = {one.variant for one in found if one.provider == "namespaces" and one.kernel == "host"}
    assert usual == set(catalogue.names())


def test_a_cell_may_have_another_version_of_its_network(written: Callable[[str], Path], tmp_path: Path) -> None:
    path = written("groups: [{name: old, variants: [flannel], cniVersion: 0.27.4}, {variants: [flannel]}]\n")
    other, pinned = matrix.load(path)
    (words,) = run.work(other, tmp_path / "x", tmp_path).parts
    assert words[words.index("--cni-version") + 1] == "0.27.4"
    assert "--cni-version" not in run.work(pinned, tmp_path / "y", tmp_path).parts[0]
    assert run.item(other)["cniVersion"] == "0.27.4"
    assert run.spec(cell(cni_version="0.27.4", labs="all"))["spec"]["cniVersion"] == "0.27.4"
    assert "cniVersion" not in run.spec(cell(labs="all"))["spec"]


def test_a_cell_may_have_other_families(written: Callable[[str], Path], tmp_path: Path) -> None:
    path = written("groups: [{variants: [flannel, weave], ipFamily: dual}, {variants: [flannel, weave, cilium]}]\n")
    dual, weave, *usual = matrix.load(path)
    assert (dual.id, dual.unavailable) == ("dual-flannel", "")
    assert {one.id: one.ip_family for one in usual} == {"flannel": "dual", "weave": "ipv4", "cilium": "ipv4"}
    assert weave.unavailable == "the variant 'weave' has no IPv6"
    (words,) = run.work(dual, tmp_path / "x", tmp_path).parts
    assert words[words.index("--ip-family") + 1] == "dual"
    assert run.item(dual)["ipFamily"] == "dual"
    assert run.spec(cell(ip_family="ipv6", labs="all"))["spec"]["ipFamily"] == "ipv6"


def test_a_cell_on_kind_has_what_kind_has_unasked(written: Callable[[str], Path]) -> None:
    (found,) = matrix.load(written("groups: [{variants: [flannel], provider: kind}]\n"))
    assert found.ip_family == "ipv4"


def test_the_nightly_matrix_asks_for_both_families() -> None:
    families = {(one.variant, one.provider, one.ip_family) for one in matrix.load()}
    assert families >= {
        ("flannel", "namespaces", "dual"),
        ("flannel", "namespaces", "ipv6"),
        ("flannel", "namespaces", "ipv4"),
        ("cilium", "namespaces", "dual"),
        ("flannel", "kind", "dual"),
    }


def test_the_nightly_matrix_asks_for_every_provider_and_the_other_kernel() -> None:
    found = matrix.load()
    assert {one.provider for one in found} == {"namespaces", "kind", "vagrant", "existing"}
    assert {one.variant for one in found if one.kernel == "debian"} >= {"flannel", "cilium-geneve", "weave"}


def test_ids_of_the_nightly_matrix_are_unique_names_of_labs() -> None:
    ids = [one.id for one in matrix.load()]
    assert len(ids) == len(set(ids))
    assert all(len(one) <= 30 for one in ids)


def test_a_variant_that_is_still_to_come_is_unavailable_with_the_reason() -> None:
    unknown = [one for one in matrix.load() if one.variant not in catalogue.names()]
    assert all(one.unavailable == f"no variant '{one.variant}' yet" for one in unknown)


def test_a_users_matrix_says_where_it_is_wrong(written: Callable[[str], Path]) -> None:
    path = written("groups:\n  - variants: [flanel]\n    labs: [pod-modl]\n")
    with pytest.raises(SpecError) as caught:
        matrix.load(path)
    assert [str(one).removeprefix(f"{path.parent}/") for one in caught.value.problems] == [
        f"mine.yaml:4:16: groups.0.variants.0: is 'flanel'; {EXPECTED} variants (did you mean 'flannel'?)",
        f"mine.yaml:5:12: groups.0.labs.0: is 'pod-modl'; {EXPECTED} labs (did you mean 'pod-model'?)",
    ]


def test_an_unknown_key_of_a_users_matrix_is_an_error_with_its_place(written: Callable[[str], Path]) -> None:
    path = written("groups:\n  - variants: [flannel]\n    node: 3\n")
    with pytest.raises(SpecError) as caught:
        matrix.load(path)
    assert [one.where.rpartition("/")[2] for one in caught.value.problems] == ["mine.yaml:5:5"]


def test_two_cells_of_one_name_are_refused(written: Callable[[str], Path]) -> None:
    path = written("groups:\n  - variants: [flannel]\n  - variants: [flannel]\n    nodes: 3\n")
    with pytest.raises(UsageError, match="several cells with the same name"):
        matrix.load(path)


def test_a_group_with_a_name_tells_its_cells_apart(written: Callable[[str], Path]) -> None:
    path = written("groups:\n  - variants: [flannel]\n  - variants: [flannel]\n    nodes: 3\n    name: three\n")
    assert [(one.id, one.nodes) for one in matrix.load(path)] == [("flannel", 2), ("three-flannel", 3)]


def test_cells_are_chosen_by_id_and_a_mistyped_one_is_named() -> None:
    found = [cell("a"), cell("b")]
    assert matrix.choose(found, ["b"]) == [found[1]]
    with pytest.raises(UsageError, match="no cell 'bb'") as caught:
        matrix.choose(found, ["bb"])
    assert caught.value.next_step == "did you mean 'b'?"


def test_what_a_variant_needs_of_the_kernel_makes_only_that_variant_unavailable(tmp_path: Path) -> None:
    found = [cell("g", variant="cilium-geneve"), cell("f"), cell("b", variant="bridge")]
    answers = finds(finding("geneve", "blocks", "the kernel refused"), finding("vxlan", "info", "none"))
    judged = matrix.judged(found, tmp_path, tmp_path, look=answers)
    assert [one.unavailable for one in judged] == ["Geneve: the kernel refused", "Vxlan: none", ""]


def test_what_every_lab_needs_makes_all_unavailable(tmp_path: Path) -> None:
    judged = matrix.judged([cell("f"), cell("b")], tmp_path, tmp_path, look=finds(finding("root", "blocks", "uid 1")))
    assert {one.unavailable for one in judged} == {"Root: uid 1"}


def test_the_machine_is_asked_once_per_provider(tmp_path: Path) -> None:
    asked = []

    def look(plan: Plan) -> Sequence[Finding]:
        asked.append(plan.spec.cni)
        return ()

    matrix.judged([cell("f"), cell("b", variant="bridge")], tmp_path, tmp_path, look=look)
    assert asked == ["flannel"]


def test_words_of_a_usual_cell_can_be_typed(tmp_path: Path) -> None:
    wanted = cell("debian-weave", variant="weave", kernel="debian", labs="none")
    (words,) = run.work(wanted, tmp_path, tmp_path).parts
    expected = (
        "run weave --name debian-weave --nodes 2 --kernel debian --ip-family ipv4 --run-dir DIR --replace --no-labs"
    )
    assert list(words) == expected.replace("DIR", str(tmp_path)).split()


def test_what_words_cannot_say_is_a_spec_that_can_be_read(tmp_path: Path) -> None:
    (words,) = run.work(cell("k", provider="kind", labs=("pod-model",)), tmp_path / "k", tmp_path).parts
    spec = load_spec(Path(words[1]), Known(catalogue.names(), ["pod-model"]))
    assert (spec.name, spec.provider, spec.cni, spec.labs) == ("k", "kind", "flannel", ("pod-model",))


def test_a_cluster_of_others_is_reached_by_its_kubeconfig_alone_and_taken_down(tmp_path: Path) -> None:
    found = run.work(cell("x", provider="existing"), tmp_path / "x", tmp_path / "state")
    assert [part[0] for part in (*found.parts, *found.ending)] == ["up", "test", "report", "down"]
    assert found.parts[1][1:3] == ("--kubeconfig", str(tmp_path / "state/labs/x/kubeconfig"))
    assert "existing" not in found.parts[0]


def test_another_kernel_has_what_a_variant_needs_of_one_but_not_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "_machine_lacks", lambda: "")
    answers = finds(finding("dummy", "info"), finding("weave-images", "info", "not in the cache"))
    judged = matrix.judged([cell("w", variant="weave", kernel="debian")], tmp_path, tmp_path, look=answers)
    assert [one.unavailable for one in judged] == ["Weave-Images: not in the cache"]


PROGRAM = """
import pathlib, sys, time
variant, run = sys.argv[2], pathlib.Path(sys.argv[sys.argv.index("--run-dir") + 1])
run.mkdir()
(run / "run.json").write_text("{}")
if variant == "bridge":
    time.sleep(60)
sys.exit({"cilium": 1, "weave": 11}.get(variant, 0))
"""


def night(tmp_path: Path, cells: list[Cell]) -> tuple[list[run.Outcome], list[str]]:
    told: list[str] = []
    program = [sys.executable, "-c", PROGRAM]
    return run.run_cells(cells, tmp_path / "night", tmp_path, program, HostRunner(), told.append), told


def test_a_failed_cell_does_not_keep_the_others_from_running(tmp_path: Path) -> None:
    cells = [cell("a", variant="cilium"), cell("b", unavailable="no kernel"), cell("c"), cell("d", variant="weave")]
    outcomes, told = night(tmp_path, cells)
    assert [(one.state, one.exit) for one in outcomes] == [("failed", 1), ("unavailable", 0), ("ok", 0), ("failed", 11)]
    assert told[0] == "=== a: cell 1 of 3, at most 30 min"
    assert told[2] == "--- b: unavailable: no kernel"


def test_a_cell_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    with timeouts.paced(0.01):
        outcomes, _ = night(tmp_path, [cell("a", variant="bridge", minutes=1)])
    assert (outcomes[0].state, outcomes[0].exit) == ("timeout", 11)


def test_the_record_of_a_night_has_all_cells(tmp_path: Path) -> None:
    night(tmp_path, [cell("a"), cell("b", unavailable="no kernel")])
    record = json.loads((tmp_path / "night" / "matrix.json").read_text())
    assert [(one["id"], one["state"], one["unavailable"]) for one in record["items"]] == [
        ("a", "ok", ""),
        ("b", "unavailable", "no kernel"),
    ]


def test_an_earlier_night_is_not_written_over(tmp_path: Path) -> None:
    night(tmp_path, [cell("a")])
    with pytest.raises(UsageError, match="contains an earlier night"):
        night(tmp_path, [cell("a")])
