"""Images are given to a node's containerd once, and what it refuses is said with the node's name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from harness import timeouts
from harness.containerd import RefusedError, import_archive, import_missing
from harness.errors import BringUpError
from harness.model.node import Node
from harness.runner import HostRunner

CTR = """\
case $4 in
list) echo there:1 ;;
import) read -r name; echo "unpacking $name (sha256:0)...done" ;;
esac
"""


@dataclass
class Machine:
    """A node whose ctr is a line of shell."""

    runner: HostRunner
    name: str = "n1"


def node(script: str) -> Node:
    return cast("Node", Machine(HostRunner(("sh", "-c", script))))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """What the shell above takes for an image."""
    path = tmp_path / "absent.tar"
    path.write_text("absent:1\n")
    return path


def test_only_images_that_a_node_lacks_are_imported(archive: Path) -> None:
    archives = {"there:1": archive.with_name("not-read.tar"), "absent:1": archive}
    assert import_missing(node(CTR), archives) == ["absent:1"]


@pytest.mark.parametrize(
    "said",
    [
        "unpacking absent:1 (sha256:0)...done\\nunpacking other:2 (sha256:1)...done",
        (
            "absent:1                  \\tsaved\\t\\nother:2    saved\\napplication/vnd.oci.image.index.v1+json 0\\n"
            "Importing\\telapsed: 0.1 s\\ttotal:   0.0 B"
        ),
        "\\033[2Kabsent:1\\twaiting\\t\\nabsent:1\\tsaved\\t\\033[K\\nabsent:1\\tsaved\\t\\nother:2\\tsaved\\t",
    ],
)
def test_ctr_of_every_version_says_what_it_imported(said: str, archive: Path) -> None:
    assert import_archive(node(f"cat >/dev/null; printf '{said}\\n'"), archive) == ["absent:1", "other:2"]


def test_what_containerd_refuses_is_told_with_its_reason(archive: Path) -> None:
    with pytest.raises(RefusedError, match=r"containerd does not accept absent\.tar") as caught:
        import_archive(node("cat >/dev/null; echo ctr: no space left on device >&2; exit 1"), archive)
    assert caught.value.cause == "ctr: no space left on device"
    assert caught.value.where == "node n1"


def test_an_import_that_does_not_end_is_ended(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "ROLLOUT", 0.3)
    pid = tmp_path / "pid"
    with pytest.raises(BringUpError, match="was not imported within 0 s"):
        import_archive(node(f"echo $$ >{pid}; exec sleep 60"), archive)
    assert not Path("/proc", pid.read_text().strip()).exists()
