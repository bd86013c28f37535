"""Lab files: those of the project are right, and wrong ones are told everything at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from harness import resources, yamlio
from harness.cni import catalogue
from harness.errors import SpecError
from harness.model import labfile
from harness.model.lab import LabDefinition, LabGate
from harness.model.variant import Gate
from harness.steps.labs.cluster import OF_CLUSTER, READ_ONLY

GOLDEN = Path(__file__).parents[3] / "golden" / "labs"
LABS = resources.root() / "labs"

CATALOGUE = {
    "pod-two-containers", "pod-pause", "pod-networkmode", "pod-veth-peer", "pod-model", "flannel-bringup",
    "flannel-missing-bridge", "flannel-node-state", "flannel-routes", "flannel-cni0-members", "flannel-arp-fdb",
    "flannel-iptables", "flannel-hostlocal", "flannel-path-matrix", "flannel-vxlan-decode", "flannel-hostgw",
    "flannel-healing", "mtu-inventory", "mtu-df-ladder", "dns-records", "dns-ndots", "svc-iptables",
    "egress-masquerade", "dual-pod", "ndp-vs-arp",
}  # fmt: skip


@pytest.fixture(scope="module")
def labs() -> list[LabDefinition]:
    return labfile.read_all()


def test_the_catalogue_is_complete(labs: list[LabDefinition]) -> None:
    assert {lab.id for lab in labs} >= CATALOGUE


def test_every_lab_asserts_something(labs: list[LabDefinition]) -> None:
    silent = [lab.id for lab in labs if not any(e.level == "assert" for step in lab.steps for e in step.expect)]
    assert silent == []


def test_every_lab_has_a_workshop_text_with_commands_to_type(labs: list[LabDefinition]) -> None:
    for lab in labs:
        text = (LABS / lab.id / "README.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {lab.title}\n"), lab.id
        assert "```" in text, lab.id


def test_the_text_ends_with_the_labs_three_questions(labs: list[LabDefinition]) -> None:
    for lab in labs:
        text = (LABS / lab.id / "README.md").read_text(encoding="utf-8")
        _, _, end = text.partition("\n## Questions\n")
        told = f"\nAnswer first. Then check your answers: `cnilab labs quiz {lab.id}`.\n"
        assert end.startswith(told), lab.id
        end = end.removeprefix(told)
        asked = [line.partition(". ")[2] for line in " ".join(end.split()).replace("? ", "?\n").splitlines()]
        assert [one.ask for one in lab.questions] == asked, lab.id
        assert len(lab.questions) == 3, lab.id


def test_the_index_lists_every_lab_with_what_it_teaches(labs: list[LabDefinition]) -> None:
    rows = [line for line in (LABS / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| [")]
    assert sorted(rows) == sorted(f"| [{lab.id}]({lab.id}/README.md) | {lab.minutes} | {lab.learn} |" for lab in labs)


def test_every_injected_fault_is_repaired_by_a_step(labs: list[LabDefinition]) -> None:
    for lab in labs:
        injected = [step.inject for step in lab.steps if step.inject]
        repaired = {step.repair for step in lab.steps if step.repair}
        assert len(injected) == len(set(injected)), lab.id
        assert set(injected) <= repaired, lab.id


def test_an_operator_runs_only_what_its_terminal_has(labs: list[LabDefinition]) -> None:
    for lab in labs:
        ran = [step.run for step in lab.steps if step.on == "operator" and step.run]
        for fault in lab.faults.values():
            ran += [one.run for one in (*fault.inject, *fault.undo) if (one.at or fault.on) == "operator"]
        assert {argv[0] for argv in ran} <= OF_CLUSTER | READ_ONLY, lab.id


def test_a_lab_that_breaks_the_network_says_that_it_disturbs(labs: list[LabDefinition]) -> None:
    quiet = {lab.id for lab in labs if lab.faults and not lab.disturbs and not lab.bare}
    # Their faults touch only what is theirs: a Service, a size of packet, a pod.
    told = (
        "a lab with faults and no `disturbs`: name it here if its faults touch only its own, else say what they disturb"
    )
    assert quiet == {"svc-iptables", "flannel-vxlan-decode", "dual-pod", "ndp-vs-arp"}, told


def test_a_lab_that_needs_no_cluster_speaks_of_nothing_that_only_a_cluster_has(labs: list[LabDefinition]) -> None:
    for lab in (one for one in labs if one.bare):
        places = {step.on.partition("/")[0] for step in lab.steps}
        assert places <= {"node", "each-node", "netns", "router", "far"}, lab.id
        assert (lab.manifests, lab.disturbs, lab.needs.gates) == ((), (), ()), lab.id
        assert lab.chapter in {"containers", "mtu"}, lab.id


def test_a_lab_that_masquerades_between_pods_never_meets_one_that_looks_at_sources(labs: list[LabDefinition]) -> None:
    by_id = {lab.id: lab for lab in labs}
    for watcher in ("egress-masquerade", "flannel-iptables"):
        assert by_id["pod-model"].conflicts(by_id[watcher])


def test_namespaces_are_listed_again_where_a_process_has_just_ended(labs: list[LabDefinition]) -> None:
    """lsns fails without a word if a process of /proc is gone before lsns comes to it."""
    listing = [
        (lab.id, step.id, step.retry_until)
        for lab in labs
        for step in lab.steps
        if any(re.search(r"\blsns\b", str(word)) for word in step.run or ()) and "--version" not in map(str, step.run)
    ]
    assert [(lab, step) for lab, step, until in listing if not until] == []
    assert len(listing) > 5


def test_taps_have_names_of_their_own(labs: list[LabDefinition]) -> None:
    for lab in labs:
        taps = [tap.name for step in lab.steps for tap in step.capture]
        assert len(taps) == len(set(taps)), lab.id


def test_what_a_program_waits_itself_is_stretched_as_all_deadlines_are() -> None:
    for path in sorted(LABS.glob("*/lab.yaml")):
        assert re.findall(r"--timeout=\d.*", path.read_text(encoding="utf-8")) == [], path


def test_texts_are_plain(labs: list[LabDefinition]) -> None:
    for lab in labs:
        for step in lab.steps:
            for expect in step.expect:
                assert expect.because.endswith("."), (lab.id, step.id, expect.because)


def test_every_mistake_of_a_file_is_reported_at_once_with_its_line() -> None:
    with pytest.raises(SpecError) as caught:
        labfile.read(GOLDEN / "wrong-lab" / "lab.yaml")
    found = str(caught.value).replace(str(GOLDEN) + "/", "").replace(str(resources.root()) + "/", "")
    assert found + "\n" == (GOLDEN / "wrong-lab" / "errors.txt").read_text(encoding="utf-8")


def test_mistakes_are_in_the_order_of_the_file() -> None:
    with pytest.raises(SpecError) as caught:
        labfile.read(GOLDEN / "wrong-lab" / "lab.yaml")
    lines = [int(re.search(r":(\d+):\d+$", problem.where).group(1)) for problem in caught.value.problems]  # type: ignore[union-attr]
    assert lines == sorted(lines)


def _lab(folder: Path, **changes: object) -> Path:
    file = folder / "small" / "lab.yaml"
    file.parent.mkdir()
    base = {
        "id": "small", "title": "Small lab", "chapter": "pods", "learn": "Little.", "minutes": 1,
        "steps": [{"id": "one", "title": "One", "run": ["kubectl", "version"]}],
    }  # fmt: skip
    file.write_text(yamlio.dumps({**base, **changes}), encoding="utf-8")
    return file


def test_a_minimal_lab_is_enough(tmp_path: Path) -> None:
    lab = labfile.read(_lab(tmp_path))
    assert (lab.id, lab.namespace, lab.watches) == ("small", "labs", ("dataplane",))


@pytest.mark.parametrize(
    ("what", "word"),
    [("gates", "vxlann"), ("gates", "dual"), ("driver", "kalico"), ("wire", "gre"), ("masquerade", "ebpf")],
)
def test_a_lab_that_needs_what_no_cluster_has_does_not_load(tmp_path: Path, what: str, word: str) -> None:
    """It would be skipped for ever, and nobody would see that it is not this cluster that lacks something."""
    with pytest.raises(SpecError, match=rf"needs\.{what}\.0: input should be '"):
        labfile.read(_lab(tmp_path, needs={what: [word]}))


def test_a_lab_can_ask_for_what_variants_declare_and_for_what_a_machine_has() -> None:
    declared = {gate for name in catalogue.names() for gate in catalogue.variant(name).gates}
    assert set(get_args(LabGate)) == declared | {"multi", "router", "cap", "nonp"}
    assert set(get_args(LabGate)) <= set(get_args(Gate))


def test_a_script_with_a_value_in_it_is_refused(tmp_path: Path) -> None:
    step = {"id": "one", "title": "One", "run": ["sh", "-c", "rm {{ param.x }}"]}
    with pytest.raises(SpecError, match="a script must be constant"):
        labfile.read(_lab(tmp_path, steps=[step]))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            {"inject": [{"run": ["ip", "link", "set", "eth0", "down"]}]},
            r"faults\.cut: nothing takes back what 'inject'",
        ),
        ({"inject": [], "undo": [{"run": ["sh"], "input": "rm {{ param.x }}"}]}, r"input: a script must be constant"),
        ({"inject": [], "stop": ["flanneld@{{ here }}"]}, r"faults\.cut\.stop\.0: uses here, which is no variable"),
        ({"inject": [{"run": ["ip"], "keep": "node"}]}, r"faults\.cut\.inject\.0\.keep: 'node' has another meaning"),
        ({"on": "node/{{ item }}", "inject": []}, r"faults\.cut\.on: uses item, which is no variable of a fault"),
    ],
)
def test_a_fault_that_cannot_work_does_not_load(tmp_path: Path, fault: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=rf"lab\.yaml:\d+:\d+: .*{said}"):
        labfile.read(_lab(tmp_path, faults={"cut": {"title": "A cut cable", "on": "node/n1", **fault}}))


def test_a_script_may_get_values_as_arguments(tmp_path: Path) -> None:
    step = {"id": "one", "title": "One", "run": ["sh", "-c", 'rm -- "$1"', "sh", "{{ param.x }}"]}
    assert labfile.read(_lab(tmp_path, steps=[step])).steps[0].run[4] == "{{ param.x }}"


def test_a_value_is_known_only_after_the_step_that_saves_it(tmp_path: Path) -> None:
    use = {"id": "use", "title": "Use", "run": ["echo", "{{ saved.it }}"]}
    make = {"id": "make", "title": "Make", "run": ["echo", "x"], "save": "it"}
    assert labfile.read(_lab(tmp_path, steps=[make, use])).steps[1].id == "use"
    (tmp_path / "again").mkdir()
    with pytest.raises(SpecError, match=r"uses saved\.it, which no step before it saves"):
        labfile.read(_lab(tmp_path / "again", steps=[use, make]))


def test_no_controller_gives_its_pods_a_node_itself() -> None:
    """Nothing keeps such pods off a node: `cnilab switch` would wait for them in vain."""
    pinned = []
    for path in sorted((resources.root() / "labs").glob("**/*.yaml")):
        if path.name == "lab.yaml":
            continue
        for item in yamlio.loads_all(path.read_text(encoding="utf-8")):
            template = ((item or {}).get("spec") or {}).get("template") or {}
            pinned += [str(path)] if (template.get("spec") or {}).get("nodeName") else []
    assert pinned == []
