from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import resources
from harness.providers.namespaces.create import clone_tree
from harness.timeouts import wait_until


def test_a_clone_shares_what_never_changes_and_copies_databases(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "blobs").mkdir(parents=True)
    (source / "blobs/layer").write_text("layer")
    (source / "meta.db").write_text("database")
    target.mkdir()
    clone_tree(source, target)
    assert (target / "blobs/layer").stat().st_ino == (source / "blobs/layer").stat().st_ino
    assert (target / "meta.db").stat().st_ino != (source / "meta.db").stat().st_ino
    assert sorted(path.name for path in target.iterdir()) == ["blobs", "meta.db"]


def test_a_copy_ends_when_the_harness_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go on to write into a lab that down is removing, or has removed."""
    slow = tmp_path / "bin/cp"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid.new\nmv {tmp_path}/pid.new {tmp_path}/pid\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    words = "import sys; from pathlib import Path; from harness.providers.namespaces.create import clone_tree"
    program = f"{words}; clone_tree(*map(Path, sys.argv[1:]))"
    harness = subprocess.Popen((sys.executable, "-c", program, tmp_path, tmp_path), cwd=resources.root())
    wait_until("the copy begins", (tmp_path / "pid").exists, 20)
    harness.kill()
    harness.wait()
    pid = int((tmp_path / "pid").read_text())
    try:
        wait_until("the copy ends", lambda: _gone(pid), 5)
    finally:
        if not _gone(pid):
            os.kill(pid, signal.SIGKILL)


def _gone(pid: int) -> bool:
    """Ended, and waited for or not yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
