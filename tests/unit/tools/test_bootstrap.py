"""The script `./tox` on machines that lack something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run(tmp_path: Path, python: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "tox", "--version"],
        cwd=tmp_path,
        env={"PATH": "/nowhere", "CNILAB_PYTHON": python, "CNILAB_TOOLS": str(tmp_path / "tools"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with what the script itself needs, and no apt-get."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("dirname", "id", "cmp", "rm", "mkdir", "cp"):
        (folder / name).symlink_to(next(p for p in (Path("/usr/bin") / name, Path("/bin") / name) if p.exists()))
    return folder


def test_a_machine_without_python_is_told_so(tmp_path: Path, bare: Path) -> None:
    done = run(tmp_path, "no-such-python", PATH=str(bare))
    assert done.returncode == 10
    assert "no Python 3.11 or later found" in done.stderr


def test_an_old_python_is_no_python(tmp_path: Path, bare: Path) -> None:
    old = script(tmp_path / "python", "exit 1")
    done = run(tmp_path, str(old), PATH=str(bare))
    assert done.returncode == 10
    assert "no Python 3.11 or later found" in done.stderr


def test_a_python_without_venv_is_named_with_the_package_that_brings_it(tmp_path: Path, bare: Path) -> None:
    # New enough, but `import ensurepip, venv` fails: Debian without python3-venv.
    without = script(tmp_path / "python", 'case "$2" in *ensurepip*) exit 1;; esac; exit 0')
    done = run(tmp_path, str(without), PATH=str(bare))
    assert done.returncode == 10
    assert f"{without} cannot make virtual environments; install python3-venv" in done.stderr


def test_the_venv_package_is_installed_where_that_is_possible(tmp_path: Path, bare: Path) -> None:
    marker = tmp_path / "installed"
    without = script(tmp_path / "python", f'case "$2" in *ensurepip*) test -e {marker};; *) exit 0;; esac')
    script(bare / "apt-get", f'echo "$@" >> {tmp_path}/apt; case "$1" in install) : > {marker};; esac')
    (bare / "id").unlink()
    script(bare / "id", "echo 0")
    done = run(tmp_path, str(without), PATH=str(bare))
    assert "installing python3 python3-venv with apt-get" in done.stderr
    assert (tmp_path / "apt").read_text().startswith("install -y")
    assert done.returncode != 10 or "could not install tox" in done.stderr


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    """Programs of an environment that is there already; tox says what it was told."""
    tools = tmp_path / "tools/bin"
    tools.mkdir(parents=True)
    (tools / "python").symlink_to(sys.executable)
    (tmp_path / "tools/pins").write_bytes((ROOT / "tools/requirements.txt").read_bytes())
    return tools


def test_an_environment_that_is_complete_is_used_at_once(tmp_path: Path, bare: Path, complete: Path) -> None:
    script(complete / "tox", 'echo "tox $*"; echo "$UV_PYTHON_DOWNLOADS"')
    done = run(tmp_path, "no-such-python", PATH=str(bare))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"tox --root {ROOT} -c {ROOT}/tox.ini --version\nnever\n"


def test_uv_trusts_whom_the_machine_trusts(tmp_path: Path, bare: Path, complete: Path) -> None:
    """Its own list lacks the certificate of a company's proxy, which pip accepts."""
    script(complete / "tox", 'echo "${UV_SYSTEM_CERTS:-its own}"')
    text = (ROOT / "tox").read_text()
    places = (
        next(line for line in text.splitlines() if line.startswith("for trusted in ")).removesuffix("; do").split()[3:]
    )
    there = any(Path(place).exists() for place in places)
    assert run(tmp_path, "no-such-python", PATH=str(bare)).stdout.split() == (["true"] if there else ["its", "own"])
    assert run(tmp_path, "no-such-python", PATH=str(bare), UV_SYSTEM_CERTS="false").stdout == "false\n"


def test_every_pin_has_a_digest_and_no_host_is_named() -> None:
    text = (ROOT / "tools/requirements.txt").read_text()
    pins = [line for line in text.splitlines() if "==" in line]
    assert {line.split("==")[0] for line in pins} >= {"tox", "tox-uv", "uv"}
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text


@pytest.mark.parametrize("path", ["tox", ".ci/run"])
def test_scripts_can_be_run_and_parsed(path: str) -> None:
    assert os.access(ROOT / path, os.X_OK)
    shell = "/bin/sh" if path == "tox" else "/bin/bash"
    subprocess.run([shell, "-n", ROOT / path], check=True)
