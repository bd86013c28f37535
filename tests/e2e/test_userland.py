"""Other userlands than the one that the tests run in: a newer Python, a chroot, containers of Docker and systemd.

A chroot, and some unit tests with one lab under a newer Python are a part of all end-to-end tests. All unit tests, the
README's first command in Debian 13, and labs in containers take long: `tox -e userland`, nightly;
CNILAB_USERLAND_TESTS=1 runs them anywhere.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness import apart
from tests.e2e import userland
from tests.e2e.conftest import PREFIX, Cli
from tests.e2e.engine import engine
from tests.e2e.userland import Place

long = pytest.mark.skipif(not os.environ.get("CNILAB_USERLAND_TESTS"), reason="takes long: tox -e userland")
pytestmark = pytest.mark.timeout(3600, func_only=True)


def lab_comes_and_goes(place: Place, name: str, variant: str = "flannel") -> None:
    """Up, a command in the node, down; what is written in the node is there, and nowhere else."""
    place.cnilab("up", variant, "--nodes", "1", "--name", name)
    try:
        assert "n1" in place.cnilab("exec", "--cluster", name, "n1", "--", "cat", "/etc/hostname").split()
        assert ".conflist" in place.cnilab("exec", "--cluster", name, "n1", "--", "ls", "/etc/cni/net.d")
    finally:
        place.cnilab("down", name)


def test_a_lab_in_a_chroot_is_a_lab(cli: Cli, untouched: list[str], tmp_path: Path) -> None:
    """This machine's own tree, seen through a second mount of it."""
    root = tmp_path / "root"
    root.mkdir()
    script = 'mount --rbind / "$1" && cd "$2" && root=$1 && shift 2 && exec chroot "$root" "$@"'

    def run(*words: str) -> str:
        argv: list[str | Path] = [*apart.words(), "sh", "-c", script, "sh"]
        done = subprocess.run(
            [*argv, root, cli.home, *cli.argv(*words)],
            env=cli.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("up", "bridge", "--nodes", "1", "--name", untouched[0])
    # Written by a command that entered the node, read by one of its own processes, which made the node Ready.
    assert run("exec", "--cluster", untouched[0], "n1", "--", "ls", "/etc/cni/net.d").split() == ["10-bridge.conflist"]
    assert run("exec", "--cluster", untouched[0], "n1", "--", "cat", "/etc/hostname").split() == ["n1"]
    run("down", untouched[0])


@pytest.fixture(scope="module")
def debian(warm: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian 13's tree with a clean clone in it."""
    del warm
    return userland.tree(tmp_path_factory.mktemp("userland") / "debian")


@pytest.fixture(scope="module")
def newer(warm: Cli, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Place:
    """A clean clone with a newer Python: one of this machine's, or Debian 13's in a plain chroot."""
    del warm
    if reason := userland.already():
        pytest.skip(reason)
    python = None if os.environ.get("CNILAB_USERLAND_TESTS") else userland.newer_python()
    if python is None:
        return userland.chroot(request.getfixturevalue("debian"), shared=userland.caches())
    source = tmp_path_factory.mktemp("newer") / "clone"
    userland.clone(source)
    return Place(source, env=userland.environment(CNILAB_PYTHON=str(python)))


def unit_tests(place: Place, *which: str) -> None:
    """Unit tests know their deadlines; those of labs may be stretched."""
    said = place("/usr/bin/env", "-u", "CNILAB_TIMEOUT_SCALE", "./tox", "-e", "unit", "--", *which, timeout=3000)
    assert " passed" in said


@pytest.mark.night
def test_what_a_newer_python_changes_and_a_lab_under_it(newer: Place, untouched: list[str]) -> None:
    """TLS and certificates, the command line, processes, and the models of all data: nightly, it is all unit tests."""
    unit_tests(newer, "tests/unit/cluster", "tests/unit/cli", "tests/unit/model", "tests/unit/pytest_plugin")
    assert newer.python() >= userland.NEWER
    lab_comes_and_goes(newer, untouched[0])


@long
def test_all_unit_tests_under_a_newer_python(newer: Place) -> None:
    unit_tests(newer, "tests/unit")
    assert newer.python() >= userland.NEWER


@long
def test_the_readmes_command_in_debian_13(debian: Path, untouched: list[str]) -> None:
    """From a clean clone; its root directory is a mount point, as a container's is."""
    place = userland.chroot(debian, bound=True, shared=userland.caches())
    said = place("./tox", "-e", "lab-flannel", "--", "--name", untouched[0], timeout=3000)
    assert "lab-flannel: OK" in said
    assert "0 failed" in said
    version = place(".tox/lab-flannel/bin/python", "--version")
    assert version.startswith("Python 3.13"), version
    assert any((debian / userland.SOURCE.relative_to("/") / ".runs").glob("*/report.html"))


@long
@pytest.mark.parametrize("groups", ["private", "host"])
def test_a_lab_in_a_privileged_container(groups: str, debian: Path, untouched: list[str], tmp_path: Path) -> None:
    """With control groups of its own, or with its part of the machine's."""
    place = userland.chroot(debian, shared=userland.caches())
    place("./tox", "-e", "unit", "--notest")
    # By apt, where there is a mirror: the engine's network has none.
    lab_comes_and_goes(place, untouched[0], "bridge")
    data = tmp_path / "docker"
    data.mkdir()
    with engine(data, f"/{PREFIX}-userland") as found:
        docker = [*found.enter, f"{found.programs}/docker", "--host", found.socket]
        with subprocess.Popen(["/bin/tar", "-C", debian, "-c", "."], stdout=subprocess.PIPE) as packed:
            subprocess.run([*docker, "import", "-", "userland:1"], stdin=packed.stdout, check=True, timeout=600)
        cache, state = userland.caches()[0], tmp_path / "state"
        # Its own root is an overlay, and overlays do not stack on one.
        shared = [f"--volume={cache}:{cache}", f"--volume={state}:{userland.SOURCE}/.state"]
        settings = [f"--env={key}={value}" for key, value in place.env.items()]
        options = ["--detach", "--privileged", f"--cgroupns={groups}", *shared, *settings]
        words = [*docker, "run", *options, "userland:1", "sleep", "infinity"]
        name = subprocess.run(words, check=True, capture_output=True, text=True, timeout=300).stdout.strip()
        try:
            inside = (*docker, "exec", "--workdir", str(userland.SOURCE), name)
            lab_comes_and_goes(Place(userland.SOURCE, inside, env=dict(os.environ)), untouched[0], "bridge")
        finally:
            subprocess.run([*docker, "rm", "--force", name], check=False, capture_output=True, timeout=120)


# What doctor says of the container's control groups; the rest of its advice are options of the container.
IN_NSPAWN = """\
set -e
name=$1
lab() { .tox/unit/bin/cnilab --state .state "$@"; }
lab doctor | grep -o 'mount -o remount,rw,bind [a-z/,]*' | while read -r words; do $words; done
lab doctor | sed -n 's/.*into a group of their own: \\(mkdir.*done\\).*/\\1/p' | sh || true
lab up flannel --name "$name"
lab exec --cluster "$name" n1 -- cat /etc/hostname
lab test --cluster "$name" --select model,svc
lab down "$name"
"""


@long
def test_a_lab_in_systemd_nspawn(debian: Path, untouched: list[str]) -> None:
    """doctor says what is in the way, option by option; with all of them the lab passes."""
    place = userland.chroot(debian, shared=userland.caches())
    place("./tox", "-e", "unit", "--notest")
    with userland.nspawn(debian, shared=userland.caches()) as plain:
        said = plain.cnilab("doctor", code=None)
        for missing in ("--capability=all", "--system-call-filter='bpf @keyring'"):
            assert missing in said
        assert "a cluster cannot run here yet" in said
    options = ("--capability=all", "--system-call-filter=bpf @keyring")
    with userland.nspawn(debian, *options, shared=userland.caches()) as whole:
        said = whole("sh", "-c", IN_NSPAWN, "sh", untouched[0])
    assert "n1" in said.split()
    assert ", 0 failed" in said
