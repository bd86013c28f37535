"""No file whatever ends as a bug of the program: it is read, or refused with exit code 4 and its place."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cluster import contexts
from harness.errors import CnilabError, UsageError
from harness.model import labfile
from harness.model.family import FAMILIES
from harness.model.load import load_spec
from harness.model.references import Known
from harness.steps.matrix import plan

PART = 500
"""Specs of one test: twenty of them can be shared between processes."""

SPEC = b"""\
apiVersion: cnilab.dev/v1
kind: Lab
metadata: {name: workshop}
spec:
  cni: flannel   # the network
  nodes: 3
  kubernetes: {version: "1.37", proxyMode: iptables}
  ipFamily: dual
  primaryFamily: ipv6
  underlay: {cidr: 172.18.0.0/16, mtu: 1400, cidr6: "fd00:172:18::/64"}
  pods: &pods
    cidr: 10.244.0.0/16
    cidr6: fd00:10:244::/56
    nodeMask6: 64
  services: {cidr: 10.96.0.0/16, domain: 'cluster.local'}
  labs: [pod-pause, pod-model]
"""

LAB = (Path(__file__).parents[3] / "labs" / "pod-pause" / "lab.yaml").read_bytes()

MATRIX = b"""\
apiVersion: cnilab.dev/v1
kind: Matrix
metadata: {name: nightly}
groups:
  - variants: all
  - {variants: [weave], provider: namespaces, kernel: debian, minutes: 45, labs: [pod-pause]}
"""

KUBECONFIG = b"""\
apiVersion: v1
kind: Config
current-context: staging
clusters:
- {name: one, cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: Y2E=, tls-server-name: api}}
contexts:
- {name: staging, context: {cluster: one, user: admin, namespace: team-a}}
users:
- name: admin
  user: {token: abc, client-certificate-data: Y2VydA==, client-key-data: a2V5}
- {name: other, user: {username: me, password: secret}}
"""

NASTY = (
    b"\x00", b"\x07", b"\x1b[31m", b"\x7f", b"\x85", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf",
    b"\xe2\x80\xae", b"\xff\xfe", b"\t", b"\r", b"\r\n", b"\n", b" ", b":", b": ", b"- ", b"? ", b"#", b"%", b"@",
    b"`", b"|", b">", b"!", b"{", b"}", b"[", b"]", b",", b"'", b'"', b"\\", b"---\n", b"...\n", b"%YAML 1.1\n---\n",
    b"%TAG ! x:\n", b'"\\U00A1F4A5"', b'"\\ud800"', b'"\\x00"', b'"\\x1b"', b'"\\q"', b"!!python/object:os.system ",
    b"!!binary x", b"!!int x", b"!!float x", b"!!set {a}", b"!!timestamp 1", b"!x ", b"!<", b"&a ", b"*a ", b"*pods ",
    b"&pods ", b"<<: *pods\n", b"<<: 1\n", b"~", b"null", b"true", b"yes", b".nan", b".inf", b"-.inf", b"1e999",
    b"0x" + b"f" * 300, b"9" * 5000, b"-1", b"0o17", b"0b2", b"1_000", b"190:20:30", b"2001-99-99",
    b"2001-12-14t21:59:43.10-05:00", b"[" * 60, b"{a: " * 60, b"- " * 60, b"x" * 300, b"\xf0\x9f\x92\xa5", b"1.30",
    b"010", b"=", b"{[a]: 1}", b"{1: 2}",
)  # fmt: skip
"""What people and editors put into files by mistake, and what readers have trouble with."""

BOMB = b"a: &a [1,1,1,1,1,1,1,1,1]\n" + b"".join(
    b"%c: &%c [%s]\n" % (one, one, b",".join([b"*%c" % (one - 1)] * 9)) for one in b"bcdefghi"
)
"""A few lines that stand for 9^9 values."""

SEEDS = (
    b'spec: {cni: "\\U00A1F4A5"}', b'spec: {cni: "\\ud800"}', b"spec: {cni: \x07}", b"spec: {cni: a\x00b}",
    b'spec: {cni: "a\\0b"}', b"spec: \xff", b"\xff\xfes\x00p\x00", b"\xef\xbb\xbfspec: \xef\xbb\xbf", b"a: &a [*a]",
    b"? &a {x: *a}\n: b", b"[" * 5000, b"{a: " * 5000, b"- " * 5000, b"spec: {nodes: " + b"9" * 5000 + b"}",
    b"spec: {nodes: 0x" + b"f" * 5000 + b"}", b"spec: {nodes: .nan}", b"spec: {nodes: 1e999}",
    b"spec: {nodes: 2001-99-99}", b"spec: 2001-01-01", b"spec: !!python/object:os.system x", b"spec: !!int x",
    b"spec: !!binary x", b"<<: 1", b"a: 1\n--- \nb: 2", b"spec:\n\tnodes: 1", b"x: *nobody", b"{[a]: 1}",
    b"{{a: 1}: 1}", b"%YAML 3.0\n---\na: 1", BOMB, b"# " + b"x" * 300_000, b"", b"\n", b"---\n---\n", b"spec: {? }",
    b"spec: {labs: [{}]}", b"%", b"a: >9999999999\n x", b'spec: {nodeAddresses: {n1: x, "": 1, "a.b": []}}',
    b"metadata: []", b"metadata: {name: {}}", b"spec: {<<: [1]}",
)  # fmt: skip
"""Files that once ended as a bug, and their kin."""

VARIANTS = ("bridge", "flannel", "flannel-host-gw")


KNOWN = Known(
    VARIANTS,
    ("pod-pause", "pod-model"),
    ("1.37", "1.36"),
    families=lambda _: FAMILIES,
    provided=lambda _: FAMILIES,
    pod_mtu=lambda _, __, mtu: mtu - 70,
)


def mutated(text: bytes, seed: int) -> bytes:
    """A file with one to four mistakes; the same for the same seed."""
    dice = random.Random(seed)  # noqa: S311 - mistakes that can be made again, not a secret
    for _ in range(dice.choice((1, 1, 1, 2, 3, 4))):
        at = dice.randrange(len(text) + 1)
        to = min(len(text), at + dice.choice((0, 0, 1, 1, 2, 5, 20)))
        other = dice.randrange(len(text) + 1)
        byte, printable = bytes([dice.randrange(256)]), bytes([dice.randrange(32, 127)])
        new = dice.choice((dice.choice(NASTY), byte, printable, printable, text[other : other + 15], b"", b"7"))
        text = text[:at] + new + text[to:]
    return text


def judge(load: Callable[[Path], object], file: Path, content: bytes) -> str:
    """Load a file: `read` or `refused`; anything else is an exception."""
    file.write_bytes(content)
    try:
        load(file)
    except CnilabError as error:
        refused = error
    else:
        return "read"
    assert refused.exit_code == UsageError.exit_code, refused
    assert re.fullmatch(r"[^\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]*", str(refused)), repr(str(refused))
    return "refused"


def spec(file: Path) -> object:
    return load_spec(file, KNOWN)


def run(load: Callable[[Path], object], text: bytes, file: Path, seeds: range) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in seeds:
        content = mutated(text, seed)
        try:
            seen[judge(load, file, content)] += 1
        except Exception as error:
            error.add_note(f"seed {seed}: {content!r}")
            raise
    return seen


@pytest.mark.parametrize("first", range(0, 10_000, PART))
def test_ten_thousand_specs_with_mistakes_are_read_or_refused(first: int, tmp_path: Path) -> None:
    seen = run(spec, SPEC, tmp_path / "lab.yaml", range(first, first + PART))
    assert min(seen["read"], seen["refused"]) > 10, seen


@pytest.mark.parametrize("content", SEEDS, ids=range(len(SEEDS)))
@pytest.mark.parametrize("load", [spec, labfile.read, plan.load, contexts.load])
def test_what_once_ended_as_a_bug_is_refused(load: Callable[[Path], object], content: bytes, tmp_path: Path) -> None:
    assert judge(load, tmp_path / "lab.yaml", content) == "refused"


@pytest.mark.parametrize(
    ("load", "text", "count"),
    [(labfile.read, LAB, 60), (plan.load, MATRIX, 60), (contexts.load, KUBECONFIG, 1000)],
    ids=["lab", "matrix", "kubeconfig"],
)
def test_other_files_with_mistakes_are_read_or_refused(
    load: Callable[[Path], object], text: bytes, count: int, tmp_path: Path
) -> None:
    (tmp_path / "pod-pause").mkdir()
    seen = run(load, text, tmp_path / "pod-pause" / "lab.yaml", range(count))
    assert seen["refused"], seen
