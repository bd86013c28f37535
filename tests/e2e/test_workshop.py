"""A workshop of two: labs side by side, a kubeconfig each, and nothing left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import Cli

WORKSHOP = Path(__file__).parents[2] / "workshop"


def script(cli: Cli, name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [WORKSHOP / name, *map(str, words)],
        env={**cli.environment, "CNILAB": str(Path(sys.executable).with_name("cnilab"))},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{name}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def test_two_students_get_a_cluster_each_and_nothing_is_left(cli: Cli, untouched: list[str], tmp_path: Path) -> None:
    place, students = tmp_path / "workshop", untouched[:2]
    names = tmp_path / "names"
    names.write_text("\n".join(students))
    first = script(cli, "setup.sh", "--dir", place, "--force", names)
    kubeconfigs = [place / "students" / name / "kubeconfig" for name in students]
    assert first.stdout.splitlines() == [
        f"{name}\texport KUBECONFIG={path}" for name, path in zip(students, kubeconfigs, strict=True)
    ]
    servers = set()
    for name, kubeconfig in zip(students, kubeconfigs, strict=True):
        assert kubeconfig.stat().st_mode & 0o777 == 0o600
        assert f"export KUBECONFIG={kubeconfig}" in (place / "students" / name / "handout.txt").read_text()
        kubectl = (place / "bin" / "kubectl", "--kubeconfig", kubeconfig, "--cache-dir", tmp_path / "kubectl")
        argv = [*map(str, kubectl), "get", "nodes", "-o", "json"]
        nodes = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
        assert [node["metadata"]["name"] for node in nodes["items"]] == ["n1"]
        servers.add(nodes["items"][0]["metadata"]["uid"])
    assert len(servers) == 2, "two students share a cluster"

    # A directory belongs to its student, who may put links there: root must not write through them.
    precious = tmp_path / "precious"
    precious.write_text("of somebody else")
    for file in ("kubeconfig", "handout.txt"):
        (place / "students" / students[0] / file).unlink()
        (place / "students" / students[0] / file).symlink_to(precious)
    again = script(cli, "setup.sh", "--dir", place, "--force", names)
    assert precious.read_text() == "of somebody else"
    assert [path.is_symlink() for path in kubeconfigs] == [False, False]
    assert kubeconfigs[0].stat().st_mode & 0o777 == 0o600
    assert again.stdout == first.stdout
    assert [f"==> {name}: is up" in again.stderr for name in students] == [True, True]

    script(cli, "teardown.sh", "--dir", place)
    assert not place.exists()
    script(cli, "teardown.sh", "--dir", place)
