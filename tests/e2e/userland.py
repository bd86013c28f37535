"""Other userlands: a distribution's tree, entered by chroot, with nothing of this machine but its kernel.

What comes into it beside the distribution: a clean clone of HEAD, this machine's way to its mirrors, and, bound to
their own paths so that no test waits for builds and downloads, the caches of components, uv and pip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import apart
from harness.components import rootfs
from harness.enter import this_machine
from harness.errors import PreflightError
from tests.e2e import stores

CHECKOUT = Path(__file__).parents[2]
NEWER = (3, 13)
"""The oldest Python that is stricter than Debian 12's, and that Debian 13 has."""

RELEASE = "trixie"
PACKAGES = ("ca-certificates", "git", "iproute2", "kmod", "procps", "python3", "python3-venv")
"""By apt, and nothing else; what a lab needs beside them `cnilab up` installs itself, as anywhere."""

SOURCE = Path("/src")

# As people enter one. The bind of the tree to itself makes its root a mount point, which many do not care for.
ENTER = """\
set -e
root=$1 bound=$2; shift 2
if [ "$bound" = yes ]; then mount --bind "$root" "$root"; fi
for place in /proc /sys /dev; do mount --rbind "$place" "$root$place"; done
while [ "$1" != -- ]; do mkdir -p "$root$1"; mount --bind "$1" "$root$1"; shift; done
shift
exec chroot "$root" sh -c 'cd "$1" && shift && exec "$@"' sh "$@"
"""

_OF_MIRRORS = ("PIP_", "UV_", "GOPROXY", "GOSUMDB", "GONOSUMDB", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_NOT_THERE = {"PIP_FIND_LINKS", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT"}
_FILES = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")


def environment(**more: str) -> dict[str, str]:
    """A user's: this machine's way to its mirrors and the warm cache, and nothing of the checkout that tests run in."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if (name.startswith(_OF_MIRRORS) or name.lower().endswith("_proxy")) and name not in _NOT_THERE
    }
    if scale := os.environ.get("CNILAB_TIMEOUT_SCALE"):
        kept["CNILAB_TIMEOUT_SCALE"] = scale
    own = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(Path.home()),
        "CNILAB_CACHE": str(stores.cache()),
        "UV_LINK_MODE": "copy",
        "CI": "1",
        "NO_COLOR": "1",
    }
    return {**kept, **own, **more}


@dataclass(frozen=True)
class Place:
    """A clean clone, and the words that lead to the userland that it is in.

    Args:
        source: The clone, as its userland sees it.
        enter: Before every command.
        env: Variables.
    """

    source: Path
    enter: tuple[str | Path, ...] = ()
    env: dict[str, str] = field(default_factory=environment)

    def __call__(self, *words: str | Path, code: int | None = 0, timeout: float = 900) -> str:
        """Run in the clone, insist on the exit code, and return what was said; None accepts any code."""
        done = subprocess.run(
            [*self.enter, *words],
            cwd=None if self.enter else self.source,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
        )
        assert code in {None, done.returncode}, f"{words}: {done.returncode}\n{done.stdout[-6000:]}"
        return done.stdout

    def cnilab(self, *words: str, code: int | None = 0) -> str:
        """The clone's own command line, after `./tox -e unit`."""
        return self(self.source / ".tox/unit/bin/cnilab", "--state", self.source / ".state", *words, code=code)

    def python(self) -> tuple[int, ...]:
        """Version of the interpreter of the clone's environment."""
        text = self(self.source / ".tox/unit/bin/python", "-c", "import sys; print(*sys.version_info[:2])")
        return tuple(map(int, text.split()))


def clone(target: Path) -> None:
    """HEAD as others get it: nothing that is not committed, no file shared with this checkout."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("a clean clone needs git")
    subprocess.run([git, "clone", "--quiet", "--no-hardlinks", CHECKOUT, target], check=True, timeout=300)


def newer_python() -> Path | None:
    """An interpreter of this machine that is new enough, and can make virtual environments."""
    names = [f"python3.{minor}" for minor in range(20, NEWER[1] - 1, -1)]
    found = [Path(path) for name in names if (path := shutil.which(name))]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found += sorted(versions.glob("3.*/bin/python3"), reverse=True)
    ask = f"import ensurepip, sqlite3, ssl, sys, venv; sys.exit(sys.version_info < {NEWER})"
    for program in found:
        if subprocess.run([program, "-c", ask], capture_output=True, check=False, timeout=60).returncode == 0:
            return program
    return None


def tree(target: Path) -> Path:
    """Debian's tree of its own, which a test may change; skips the test where it is not available."""
    try:
        base = rootfs.system(
            stores.store(), PACKAGES, what=f"a userland of {RELEASE}", instead="leave it out", release=RELEASE
        )
    except PreflightError as error:
        pytest.skip(f"no userland of {RELEASE} can be made: {error.what}: {error.cause}")
    subprocess.run(["/bin/cp", "-a", "--reflink=auto", base, target], check=True, timeout=600)
    for name in _FILES:
        if Path("/", name).exists():
            (target / name).unlink(missing_ok=True)
            shutil.copyfile(Path("/", name), target / name)
    settings = subprocess.run(["/usr/bin/apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    proxies = [line for line in settings.splitlines() if line.startswith("Acquire::") and "roxy" in line]
    (target / "etc/apt/apt.conf.d/99machine").write_text("".join(f"{line}\n" for line in proxies))
    clone(target / SOURCE.relative_to("/"))
    return target


def chroot(root: Path, *, bound: bool = False, shared: Sequence[Path] = (), source: Path = SOURCE) -> Place:
    """A tree that is entered in a mount namespace of its own, which lives as long as what was started there.

    Args:
        root: The tree.
        bound: Its root is made a mount point before.
        shared: Directories that are in it under their own paths, too.
        source: The clone in it.
    """
    into = (*apart.words(), "sh", "-c", ENTER, "sh")
    return Place(source, (*into, root, "yes" if bound else "no", *shared, "--", source))


@contextmanager
def nspawn(root: Path, *options: str, shared: Sequence[Path] = (), source: Path = SOURCE) -> Iterator[Place]:
    """A tree in containers of systemd-nspawn: one for each command, and nothing of it goes on after that.

    Args:
        root: The tree.
        *options: Beside those that lead to the clone.
        shared: Directories that are in it under their own paths, too.
        source: The clone in it.
    """
    program = shutil.which("systemd-nspawn")
    if program is None:
        pytest.skip("systemd-nspawn is missing: apt-get install systemd-container")
    booted = Path("/run/systemd/system").is_dir()
    unregistered = () if booted else ("--register=no", "--keep-unit")
    env = environment()
    words = [f"--setenv={key}={value}" for key, value in env.items()] + [f"--bind={path}" for path in shared]
    enter = (program, "--quiet", "--console=pipe", *unregistered, f"--directory={root}", f"--chdir={source}", *words)
    before = _groups()
    try:
        yield Place(source, (*enter, *options, "--"), {**os.environ, **env})
    finally:
        if not booted:
            for group in sorted(_groups() - before, reverse=True):
                with suppress(OSError):
                    group.rmdir()


def _groups() -> set[Path]:
    """Control groups that systemd-nspawn makes, and leaves where no systemd takes care of them."""
    tops = [hierarchy.path / name for hierarchy in this_machine() for name in ("payload", "supervisor")]
    return {Path(place) for top in tops for place, _, _ in os.walk(top)}


def caches() -> list[Path]:
    """Of components, of uv and of pip, where there are any."""
    home = Path.home() / ".cache"
    return [path for path in (stores.cache(), home / "uv", home / "pip") if path.is_dir()]


def already() -> str:
    """Why nothing newer is to be looked for; empty otherwise."""
    return f"all tests run under Python {sys.version.split()[0]}" if sys.version_info >= NEWER else ""
