"""What a user's spec file becomes, and everything that is said about a wrong one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import yamlio
from harness.errors import SpecError, UsageError
from harness.model.document import schema
from harness.model.family import FAMILIES
from harness.model.load import load_spec, make_spec
from harness.model.references import Known
from harness.model.spec import LabSpec

GOLDEN = Path(__file__).parents[2] / "golden" / "spec"
VARIANTS = ("bridge", "flannel", "flannel-host-gw", "weave")
LABS = ("pod-pause", "pod-model", "flannel-routes")
PINNED = {"bridge": "", "flannel": "0.28.10", "flannel-host-gw": "0.28.10", "weave": "2.9.0"}
OLD = {"weave", "vagrant"}
"""What has no IPv6."""
KNOWN = Known(
    VARIANTS,
    LABS,
    network=PINNED.__getitem__,
    families=lambda name: FAMILIES[:1] if name in OLD else FAMILIES,
    provided=lambda name: FAMILIES[:1] if name in OLD else FAMILIES,
    pod_mtu=lambda name, _, mtu: mtu - (70 if name == "flannel" else 0),
)


def load(text: str, tmp_path: Path, **overrides: object) -> LabSpec:
    path = tmp_path / "lab.yaml"
    path.write_text(text)
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_spec(path, Known(VARIANTS, LABS), dotted)


def head(spec: str) -> str:
    return f"apiVersion: cnilab.dev/v1\nkind: Lab\nspec: {{{spec}}}\n"


def test_a_whole_file_becomes_the_spec_that_it_says(tmp_path: Path) -> None:
    spec = load(
        "apiVersion: cnilab.dev/v1\nkind: Lab\nmetadata: {name: workshop}\n"
        "spec:\n  cni: bridge\n  nodes: 3\n  underlay: {mtu: 1400}\n"
        "  kubernetes: {version: '1.33', proxyMode: nftables}\n  labs: [pod-pause]\n",
        tmp_path,
    )
    assert (spec.name, spec.cni, spec.nodes, spec.underlay.mtu) == ("workshop", "bridge", 3, 1400)
    assert (spec.kubernetes.version, spec.kubernetes.proxy_mode, spec.labs) == ("1.33", "nftables", ("pod-pause",))


def test_what_is_left_out_has_defaults(tmp_path: Path) -> None:
    assert load("apiVersion: cnilab.dev/v1\nkind: Lab\n", tmp_path) == LabSpec()


def test_an_option_wins_over_the_file_and_is_named_when_it_is_wrong(tmp_path: Path) -> None:
    assert load(head("nodes: 2"), tmp_path, spec__nodes=5).nodes == 5
    with pytest.raises(SpecError) as error:
        load(head("nodes: 2"), tmp_path, spec__nodes=50)
    assert [problem.where for problem in error.value.problems] == ["--nodes"]


@pytest.mark.parametrize(("asked", "became"), [("0.27.4", "0.27.4"), ("1.2.0-rc.1", "1.2.0-rc.1"), ("0.28.10", "")])
def test_a_version_of_the_network_is_kept_unless_it_is_the_pinned_one(asked: str, became: str) -> None:
    wanted = {"spec.cni": "flannel", "spec.cniVersion": asked}
    assert make_spec(KNOWN, wanted).cni_version == became


@pytest.mark.parametrize("version", ["v0.27.4", "0.27", "latest", "0.27.4@sha256:00", "../1.2.3", "1.2.3\n"])
def test_what_is_no_version_of_a_network_is_refused_by_its_option(version: str) -> None:
    with pytest.raises(SpecError) as error:
        make_spec(KNOWN, {"spec.cni": "flannel", "spec.cniVersion": version})
    assert [(one.where, one.path) for one in error.value.problems] == [("--cni-version", "spec.cniVersion")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"spec.cni": "bridge"}, "the variant bridge consists of settings of the nodes and has no images"),
        ({"spec.cni": "flannel", "spec.provider": "existing"}, "the cluster already has a network"),
    ],
)
def test_what_has_no_network_of_ours_has_no_version(options: dict[str, str], said: str) -> None:
    with pytest.raises(SpecError, match=said) as error:
        make_spec(KNOWN, {**options, "spec.cniVersion": "0.27.4"})
    assert [one.where for one in error.value.problems] == ["--cni-version"]


@pytest.mark.parametrize("case", sorted(path.stem for path in GOLDEN.glob("*.yaml")))
def test_every_problem_of_a_file_is_reported_at_once(case: str, golden: Callable[[str, str], None]) -> None:
    with pytest.raises(SpecError) as error:
        load_spec(GOLDEN / f"{case}.yaml", KNOWN)
    text = str(error.value).replace(f"{GOLDEN}/", "") + "\n"
    golden(f"spec/{case}.txt", text)


@pytest.mark.parametrize(
    "name",
    ["", "two words", "it's", '"', "../../etc", "a/b", "x" * 300, "<b>x</b>", "-a", "a-", "Ä", "a\nb", "\x1b[31m", "A"],
)
def test_a_hostile_name_is_refused_without_reaching_the_terminal(name: str) -> None:
    with pytest.raises(SpecError) as error:
        make_spec(Known(VARIANTS), {"metadata.name": name})
    text = str(error.value)
    assert "lower-case letters" in text
    assert re.fullmatch(r"[^\x00-\x09\x0b-\x1f]*", text)
    assert max(map(len, text.splitlines())) < 260


def test_families_that_a_variant_lacks_are_refused_by_their_option_too() -> None:
    with pytest.raises(SpecError, match="ipv4: the variant weave has no IPv6") as error:
        make_spec(KNOWN, {"spec.cni": "weave", "spec.ipFamily": "dual"})
    assert [(one.where, one.path) for one in error.value.problems] == [("--ip-family", "spec.ipFamily")]


@pytest.mark.parametrize(("cni", "mtu", "least"), [("flannel", 1349, 1350), ("bridge", 1279, 1280)])
def test_pods_have_room_for_the_least_packet_of_ipv6(cni: str, mtu: int, least: int) -> None:
    asked = {"spec.cni": cni, "spec.ipFamily": "dual"}
    assert make_spec(KNOWN, {**asked, "spec.underlay.mtu": least}).underlay.mtu == least
    assert make_spec(KNOWN, {"spec.cni": cni, "spec.underlay.mtu": mtu}).underlay.mtu == mtu
    with pytest.raises(SpecError) as error:
        make_spec(KNOWN, {**asked, "spec.underlay.mtu": mtu})
    assert [one.path for one in error.value.problems] == ["spec.underlay.mtu"]


@pytest.mark.parametrize(
    ("asked", "families"),
    [
        ({}, ("ipv4",)),
        ({"spec.ipFamily": "ipv6"}, ("ipv6",)),
        ({"spec.ipFamily": "dual"}, ("ipv4", "ipv6")),
        ({"spec.ipFamily": "dual", "spec.primaryFamily": "ipv6"}, ("ipv6", "ipv4")),
    ],
)
def test_the_primary_family_comes_first_everywhere(asked: dict[str, str], families: tuple[str, ...]) -> None:
    spec = make_spec(KNOWN, asked)
    assert spec.families == families
    assert spec.primary == families[0]
    for ranges in (spec.pod_cidrs, spec.service_cidrs, spec.underlay_cidrs):
        assert tuple(f"ipv{one.version}" for one in ranges) == families
    assert tuple(f"ipv{one.version}" for one in spec.all_addresses("n2")) == families
    assert str(spec.node_address("n2", "ipv6")) == "fd00:172:18::12"


@pytest.mark.parametrize("clash", ["pods: {cidr: 172.18.0.0/20}", "services: {cidr: 10.244.128.0/17}"])
def test_overlapping_ranges_are_found(clash: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="overlaps"):
        load(head(clash), tmp_path)


@pytest.mark.parametrize(
    ("ranges", "text"),
    [
        ("pods: {cidr: 224.0.0.0/16}", "224.0.0.0/16 is multicast"),
        ("pods: {cidr: 169.254.0.0/16}", "169.254.0.0/16 is link-local"),
        ("services: {cidr: 127.1.0.0/16}", "127.1.0.0/16 is loopback"),
        ("pods: {cidr: 8.8.0.0/16}", "8.8.0.0/16 covers 8.8.8.8, an address of the outside world"),
        ("ipFamily: dual, pods: {cidr6: 'fe80::/56'}", "fe80::/56 is link-local"),
        ("ipFamily: dual, services: {cidr6: 'ff00::/112'}", "ff00::/112 is multicast"),
        (
            "ipFamily: dual, pods: {cidr6: '2001:4860:4860::/56'}",
            "2001:4860:4860::/56 covers 2001:4860:4860::8888, an address of the outside world",
        ),
    ],
)
def test_ranges_that_mean_something_else_are_refused(ranges: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        load(head(ranges), tmp_path)
    assert [problem.message for problem in error.value.problems] == [text]


def test_a_clash_with_a_default_that_stands_in_for_a_broken_value_is_not_reported(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        load(head("underlay: {cidr: nonsense}, services: {cidr: 172.18.4.0/24}"), tmp_path)
    assert [problem.path for problem in error.value.problems] == ["spec.underlay.cidr"]


def test_yaml_that_is_no_yaml_has_a_position(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        load("spec: [1,\n}", tmp_path)
    assert re.search(r"lab\.yaml:2:1$", error.value.problems[0].where)


def test_a_key_given_twice_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="duplicate key"):
        load("apiVersion: cnilab.dev/v1\nkind: Lab\nspec:\n  nodes: 2\n  nodes: 3\n", tmp_path)


UNREADABLE = {
    "control": b"kind: Lab\nspec: {cni: \x07flannel}\n",
    "escape": b'spec:\n  cni: "\\U00A1F4A5"\n',
    "escaped-control": b'spec:\n  cni: "\\e[31m"\n',
    "not-utf8": b"kind: Lab\nspec: {cni: fl\xe4nnel}\n",
    "utf16": "kind: Lab\n".encode("utf-16"),
    "tab": b"spec:\n\tnodes: 2\n",
    "two-documents": b"kind: Lab\n---\nkind: Lab\n",
    "tag": b"spec: !!python/object:os.system {}\n",
    "alias": b"spec: *nobody\n",
    "recursive": b"spec: &a {labs: [*a]}\n",
    "bomb": b"a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + b"".join(
        b"%c: &%c [%s]\n" % (one, one, b", ".join([b"*%c" % (one - 1)] * 10)) for one in b"bcdef"
    ),
    "deep": b"spec: " + b"[" * 100 + b"]" * 100,
    "large": b"# " + b"x" * 300_000,
    "twice": b"kind: Lab\nspec: {nodes: 2, nodes: 3}\n",
    "date": b"kind: Lab\napiVersion: cnilab.dev/v1\nspec: {nodes: 2001-99-99}\n",
    "huge-number": b"kind: Lab\napiVersion: cnilab.dev/v1\nspec: {nodes: 0x" + b"f" * 5000 + b"}\n",
    "long-number": b"kind: Lab\napiVersion: cnilab.dev/v1\nspec: {nodes: " + b"9" * 5000 + b"}\n",
    "no-number": b"kind: Lab\napiVersion: cnilab.dev/v1\nspec: {nodes: .nan}\n",
    "merge": b"kind: Lab\nspec: {<<: 1}\n",
}  # fmt: skip
"""Files that no reader makes a spec of, by what is wrong with them."""


def test_files_that_cannot_be_read_are_refused_with_the_place(
    tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    said = []
    path = tmp_path / "lab.yaml"
    for name, content in UNREADABLE.items():
        path.write_bytes(content)
        with pytest.raises(SpecError) as error:
            load_spec(path, Known(VARIANTS))
        assert all(re.search(r":[0-9]+:[0-9]+$", problem.where) for problem in error.value.problems)
        said.append(f"{name}\n{error.value}\n".replace(f"{tmp_path}/", ""))
    golden("spec/unreadable.txt", "\n".join(said))


def test_a_byte_order_mark_at_the_beginning_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_bytes(b"\xef\xbb\xbfapiVersion: cnilab.dev/v1\nkind: Lab\n")
    assert load_spec(path, Known(VARIANTS)) == LabSpec()


@pytest.mark.parametrize("content", [b"", b"- a\n", b"text", b"\xff\xfe", b"!!python/object:os.system {}\n"])
def test_a_file_that_is_no_spec_is_a_usage_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        load_spec(path, Known(VARIANTS))


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load_spec(tmp_path / "none.yaml", Known(VARIANTS))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["name", "cni", "nodes", "kubernetes", "underlay", "pods", "services", "labs", "provider", "x", "ipFamily",
     "primaryFamily", "nodeAddresses", "secondAddresses"]
)  # fmt: skip


FAMILY_VALUES = st.sampled_from(["ipv4", "ipv6", "dual", "IPv6", "", 6, None, "fd00::/56", "10.0.0.0/8", "fd00::1/56"])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.fixed_dictionaries({"ipFamily": FAMILY_VALUES, "primaryFamily": FAMILY_VALUES}),
    st.integers(40, 128),
    st.integers(40, 128),
    st.integers(1000, 2000),
    st.integers(1, 20),
)
def test_what_of_families_is_accepted_can_be_planned(
    families: dict[str, object], prefix: int, mask: int, mtu: int, nodes: int
) -> None:
    asked = {f"spec.{key}": value for key, value in families.items()}
    asked |= {"spec.pods.cidr6": f"fd00:10:244::/{prefix}", "spec.pods.nodeMask6": mask}
    asked |= {"spec.underlay.mtu": mtu, "spec.nodes": nodes}
    with suppress(SpecError):
        spec = make_spec(KNOWN, asked)
        for family in spec.families:
            whole, length = spec.pods.range(family), spec.pods.mask(family)
            assert 2 ** (length - whole.prefixlen) >= nodes
            assert len({spec.node_address(name, family) for name in spec.node_names}) == nodes
        assert "ipv6" not in spec.families or (mtu - 70 >= 1280 and mask - prefix <= 16)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_no_value_whatever_makes_the_loader_crash(tmp_path_factory: pytest.TempPathFactory, spec: object) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yamlio.dumps({"apiVersion": "cnilab.dev/v1", "kind": "Lab", "spec": spec}))
    with suppress(SpecError):
        load_spec(path, KNOWN)


def test_the_schema_says_what_the_loader_wants() -> None:
    described = json.loads(json.dumps(schema()))
    assert described["$defs"]["LabSpec"]["additionalProperties"] is False
    assert "name" not in described["$defs"]["LabSpec"]["properties"]
    assert set(described["required"]) == {"apiVersion", "kind"}


def test_the_schema_is_as_recorded(golden: Callable[[str, str], None]) -> None:
    golden("spec/schema.json", json.dumps(schema(), indent=1) + "\n")


MACHINE = "this machine has no IPv6"
BYTES = "bytes for pods, and IPv6 needs 1280"


def unasked(text: str, tmp_path: Path, *, machine: str = "") -> tuple[str, list[str]]:
    """IP families of a spec that asks for none, and what is said about them."""
    notes: list[str] = []
    known = replace(
        KNOWN,
        usual=lambda name, provider: "ipv4" if {name, provider} & {*OLD, "kind"} else "dual",
        machine=lambda: machine,
        note=notes.append,
    )
    path = tmp_path / "lab.yaml"
    path.write_text(head(text))
    return load_spec(path, known).ip_family, notes


@pytest.mark.parametrize(
    ("text", "machine", "families", "reason"),
    [
        ("", "", "dual", ""),
        ("cni: bridge", "", "dual", ""),
        ("cni: weave", "", "ipv4", ""),
        ("provider: kind", "", "ipv4", ""),
        ("cni: weave", MACHINE, "ipv4", ""),
        ("ipFamily: ipv4", MACHINE, "ipv4", ""),
        ("ipFamily: dual", MACHINE, "dual", ""),
        ("", MACHINE, "ipv4", MACHINE),
        ("kernel: debian", MACHINE, "dual", ""),
        ("kernel: debian, kernelArguments: [quiet]", MACHINE, "dual", ""),
        (
            "kernel: debian, kernelArguments: [quiet, ipv6.disable=1]",
            "",
            "ipv4",
            "kernelArguments has ipv6.disable=1",
        ),
        ("underlay: {mtu: 1350}", "", "dual", ""),
        (
            "underlay: {mtu: 1349}",
            "",
            "ipv4",
            f"an underlay.mtu of 1349 leaves 1279 {BYTES}",
        ),
        ("cni: bridge, underlay: {mtu: 1349}", "", "dual", ""),
        ("nodes: 1, nodeAddresses: {n1: 172.18.0.11}", "", "ipv4", "nodeAddresses has no IPv6 addresses"),
    ],
)
def test_a_spec_that_asks_for_no_family_gets_both_where_it_can(
    text: str, machine: str, families: str, reason: str, tmp_path: Path
) -> None:
    notes = [f"the cluster has IPv4 alone: {reason}"] if reason else []
    assert unasked(text, tmp_path, machine=machine) == (families, notes)


def test_a_primary_family_needs_no_word_about_families_where_both_are_usual(tmp_path: Path) -> None:
    assert unasked("primaryFamily: ipv6", tmp_path) == ("dual", [])
    with pytest.raises(SpecError) as caught:
        unasked("primaryFamily: ipv6", tmp_path, machine=MACHINE)
    assert "has no meaning: ipFamily is ipv4" in str(caught.value.problems[0])


def test_the_schema_promises_no_family() -> None:
    assert "default" not in schema()["$defs"]["LabSpec"]["properties"]["ipFamily"]


def test_words_for_a_kernel_need_a_kernel_that_is_started(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        unasked("kernelArguments: [quiet]", tmp_path)
    assert "spec.kernelArguments: are for the kernel of a VM: kernel is host" in str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (
            "kernel: debian, kernelArguments: ['a b', quiet, 7, '']",
            [f"kernelArguments.{number}" for number in (0, 2, 3)],
        ),
        ("labs: [1, all, {}, [x]], nodes: 0", ["labs.0", "labs.2", "labs.3", "nodes"]),
        ("kernel: debian, kernelArguments: quiet", ["kernelArguments"]),
    ],
)
def test_what_is_wrong_in_a_list_is_said_once_for_each_item(text: str, places: list[str], tmp_path: Path) -> None:
    """An item that is wrong was replaced by an empty text. That was wrong too, and reading the spec never ended."""
    with pytest.raises(SpecError) as caught:
        unasked(text, tmp_path)
    assert [problem.path.removeprefix("spec.") for problem in caught.value.problems] == places
