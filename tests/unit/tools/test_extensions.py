"""What the pages on extensions say is enough: a copy of the repository that follows them has what they describe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SpecError
from harness.model import labfile
from harness.steps.labs.run import LabRun
from tests.unit.steps.labs.conftest import FakeCluster, said
from tests.unit.tools.pages import FENCE, blocks, changed, follow

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = {
    "adding-a-network.md": [
        "harness/cni/ptp/__init__.py", "harness/cni/ptp/network.py", "harness/cni/ptp/variants/ptp.yaml",
        "harness/model/variant.py", "README.md", "tests/unit/cni/test_ptp.py",
    ],
    "adding-a-provider.md": [
        "harness/providers/paper/__init__.py", "harness/providers/paper/driver.py", "harness/model/spec.py",
        "pyproject.toml", "docs/providers.md",
    ],
    "writing-a-lab.md": ["labs/mtu-of-pods/lab.yaml", "labs/mtu-of-pods/README.md", "labs/README.md"],
    "writing-a-check.md": [
        "conformance/checks/identity.py", "conformance/checks/identity.py", "tests/unit/conformance/broken.py",
        "harness/faults/catalogue.yaml",
    ],
}  # fmt: skip
"""Pages with the places that an extension touches. A longer list is a step back."""

FOLDERS = ("harness", "conformance", "reports", "labs", "playbooks", "components", "docs", "tests/unit", "tests/golden")
FILES = ("components.lock", "pyproject.toml", "README.md", "LICENSE", "workshop/README.md")

FIT_OR_NOT = (0, 10)
"""Exit codes of doctor: this machine may be fit for labs, or not."""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, with all extensions of all pages."""
    copy = tmp_path_factory.mktemp("extended")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder)
    for name in FILES:
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    for page, places in PAGES.items():
        assert follow(DOCS / page, copy) == places
    return copy


@pytest.fixture
def run(tree: Path, tmp_path: Path) -> Run:
    """Runs a module of the copy, with directories of its own."""

    def start(*words: str, codes: tuple[int, ...] = (0,), **more: str) -> subprocess.CompletedProcess[str]:
        own = {name: str(tmp_path / name.lower()) for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CNILAB_")}
        environ = {**kept, **own, "PYTHONPATH": str(tree), "CNILAB_APT": "no", "NO_COLOR": "1", **more}
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tree, env=environ, text=True, capture_output=True, check=False
        )
        assert done.returncode in codes, f"{words}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done

    return start


@pytest.fixture
def cnilab(run: Run) -> Run:
    return lambda *words, **more: run("harness.cli.main", *words, **more)


@pytest.fixture
def tests_of(run: Run) -> Run:
    """Runs tests of the copy."""
    return lambda *words, **more: run("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *words, **more)


def passed(done: subprocess.CompletedProcess[str]) -> int:
    """How many tests did; none failed."""
    (words,) = [line for line in done.stdout.splitlines() if " passed" in line]
    return int(words.split(" passed")[0].split()[-1])


# -- network -----------------------------------------------------------------------------------------------------------


def test_the_network_is_known_to_the_program(cnilab: Run) -> None:
    assert "cni: ptp" in cnilab("render", "ptp").stdout
    found = json.loads(cnilab("doctor", "ptp", "-o", "json", codes=FIT_OR_NOT).stdout)
    assert {"iptables", "namespaces"} <= {one["id"] for one in found["items"]}


def test_the_network_passes_what_all_networks_must(tests_of: Run) -> None:
    done = tests_of(
        "tests/unit/cni/test_ptp.py", "tests/unit/cni/test_variants.py", "tests/unit/steps/matrix/test_cells.py",
        "tests/unit/tools/test_docs.py", "tests/unit/conformance/test_judging.py", "-k",
        "ptp or nightly_matrix or readme",
    )  # fmt: skip
    assert passed(done) > 5


# -- provider ----------------------------------------------------------------------------------------------------------


def test_the_provider_is_known_to_the_program(cnilab: Run) -> None:
    assert "==> paper/machines.yaml <==" in cnilab("render", "flannel", "--provider", "paper").stdout
    found = json.loads(cnilab("doctor", "--provider", "paper", "-o", "json", codes=FIT_OR_NOT).stdout)
    assert {one["id"] for one in found["items"]} == {"disk-state", "leftovers"}
    assert "paper or vagrant" in " ".join(cnilab("up", "--help").stdout.split())


def test_a_lab_on_paper_is_planned_refused_shown_and_removed(cnilab: Run, tmp_path: Path) -> None:
    words = ("up", "flannel", "--provider", "paper", "--skip-preflight", "--run-dir", str(tmp_path / "run"))
    failed = cnilab(*words, "--retain", codes=(11,))
    assert "a cluster on paper has no machines" in failed.stderr
    plan = tmp_path / "xdg_state_home/cnilab/labs/flannel/paper/machines.yaml"
    assert "172.18.0.12" in plan.read_text(encoding="utf-8")
    machines = json.loads(cnilab("status", "flannel", "-o", "json").stdout)["items"]
    assert [(one["name"], one["status"]) for one in machines] == [("n1", "Missing"), ("n2", "Missing")]
    cnilab("down", "flannel")
    assert not plan.parents[1].exists()
    assert json.loads(cnilab("status", "-o", "json").stdout)["items"] == []


def test_the_provider_keeps_the_promises_of_all(tests_of: Run) -> None:
    tests_of("tests/unit/model/test_load.py", "-k", "everything-wrong", CNILAB_UPDATE_GOLDEN="1")
    done = tests_of(
        "tests/unit/providers/test_registry.py", "tests/unit/cli/test_conventions.py",
        "-vv", "-k", "driver or dry_run",
    )  # fmt: skip
    assert "test_every_driver_has_all_that_is_asked_of_one[paper]" in done.stdout


# -- lab ---------------------------------------------------------------------------------------------------------------


def test_the_lab_is_found_and_passes_what_all_labs_must(cnilab: Run, tests_of: Run) -> None:
    found = json.loads(cnilab("labs", "list", "-o", "json").stdout)["items"]
    assert "mtu-of-pods" in {one["id"] for one in found}
    assert passed(tests_of("tests/unit/steps/labs/test_labfile.py")) > 20


def test_the_labs_mistakes_are_reported_as_the_page_says(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "common").symlink_to(tree / "labs/common")
    file = tmp_path / "mtu-of-pods/lab.yaml"
    file.parent.mkdir()
    right = (tree / "labs/mtu-of-pods/lab.yaml").read_text(encoding="utf-8")
    file.write_text(right.replace("minutes:", "minuts:").replace("pod_mtu", "pod_mto"), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        labfile.read(file)
    found = [str(one).replace(f"{tmp_path}/", "labs/") for one in caught.value.problems]
    (told,) = [one.text.splitlines() for one in blocks(DOCS / "writing-a-lab.md") if one.text.startswith("labs/mtu-of")]
    for said_, shown in zip(found, told, strict=True):
        beginning, _, end = shown.partition(", … ")
        assert said_.startswith(beginning)
        assert said_.endswith(end)


@pytest.mark.parametrize(("mtu", "status"), [("1450", "pass"), ("1500", "fail")])
def test_the_engine_runs_the_lab(tree: Path, tmp_path: Path, mtu: str, status: str) -> None:
    class Cluster(FakeCluster):
        def facts(self, namespace: str) -> dict[str, Any]:
            more = {"pod_mtu": 1450, "variant": {"expect": {"overhead_on": "interface"}}}
            return {**super().facts(namespace), **more}

    lab = labfile.read(tree / "labs/mtu-of-pods/lab.yaml")
    cluster = Cluster(lambda _, argv: said(f"{mtu}\n") if argv[0] == "cat" else said(code=1))
    records = LabRun(lab, cluster, tmp_path / "lab", tmp_path, lambda _: None).run()
    assert [one.status for one in records] == [status]


# -- check and fault ---------------------------------------------------------------------------------------------------


def test_the_check_and_its_fault_are_there_and_seen(tree: Path, run: Run, tests_of: Run) -> None:
    judges = "tests/unit/conformance/test_judges.py"
    assert passed(tests_of(judges, "-k", "model.pod-ip.only")) == 1
    tests_of(judges, "-k", "sentences", CNILAB_UPDATE_GOLDEN="1")
    sentences = (tree / "tests/golden/conformance/sentences.txt").read_text(encoding="utf-8")
    assert "model.pod-ip.only a\n    pod a on n1 has 10.244.0.99 on eth0, and the API does not know it" in sentences
    page = run("conformance.page").stdout
    assert "| `model.pod-ip.only` | S | a pod has no address but those that the API names | `node` | B0 | F99 |" in page
    assert "| F99 | address-extra |" in page
    (tree / "docs/conformance.md").write_text(page, encoding="utf-8")
    (tree / "docs/faults.md").write_text(run("harness.steps.faults.page").stdout, encoding="utf-8")
    done = tests_of(
        "tests/unit/conformance", "tests/unit/faults", "tests/unit/steps/faults/test_page.py", "-k",
        "pod-ip.only or F99 or page or inverted_probe or unique or every_judge",
    )  # fmt: skip
    assert passed(done) > 15


@pytest.mark.parametrize("page", PAGES)
def test_readers_see_which_file_a_block_is(page: str) -> None:
    """A fence's info string is not shown."""
    text = FENCE.sub("", (DOCS / page).read_text(encoding="utf-8"))
    assert [one.title for one in blocks(DOCS / page) if one.title and f"`{one.title}`" not in text] == []


def test_a_change_that_does_not_fit_is_an_error() -> None:
    assert changed("a\nb\nc d\n", "-b\n+x\n c…\n+y\n", "t") == "a\nx\nc d\ny\n"
    for text in ("a\n", "b\nb\n"):
        with pytest.raises(AssertionError, match="t has"):
            changed(text, "-b\n+x\n", "t")
