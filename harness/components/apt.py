"""Debian's package tools: install ordinary tools, download what must not be installed.

apt checks every package against the distribution's signed lists, so nothing is checked a second time here.
"""

from __future__ import annotations

import itertools
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import timeouts
from harness.runner import Completed, Runner

ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "LANGUAGE": ""}
"""What it says is read here: no translation, which LANGUAGE alone may ask for."""

# Another apt may be at work, on a fresh machine often the one that installs security updates.
WAIT_FOR_LOCK = ("-o", "DPkg::Lock::Timeout=120")

_NEW = "The following NEW packages will be installed:"


HEARTBEAT = 5.0
"""Seconds between signs of life while apt, which is silent, is at work."""


@contextmanager
def heartbeat(say: Callable[[str], None], what: str, every: float = HEARTBEAT) -> Iterator[None]:
    """Say again and again that something silent is still at work.

    Args:
        say: Told what and for how many seconds.
        what: As `installing tcpdump`.
        every: Seconds.
    """
    done = threading.Event()
    start = time.monotonic()

    def beat() -> None:
        while not done.wait(every):
            say(f"{what}: {time.monotonic() - start:.0f} s")

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Apt:
    """One apt at a time; package lists are refreshed at most once, and only when something was not found.

    Args:
        runner: Runs apt-get.
        installed: Told the names of packages that were not there before, as soon as apt has tried to install them.
    """

    def __init__(self, runner: Runner, installed: Callable[[list[str]], None] = lambda _: None) -> None:
        self._runner = runner
        self._installed = installed
        self._lock = threading.Lock()
        self._refreshed = False

    @staticmethod
    def present() -> bool:
        """Whether this is a machine with apt."""
        return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None

    def install(self, packages: list[str]) -> Completed:
        """Install packages without their recommendations. Takes root."""
        return self._run("install", "-y", "-q", "--no-install-recommends", *WAIT_FOR_LOCK, *packages)

    def download(self, package: str, directory: Path) -> Completed:
        """Download a package's archive and nothing else. Takes no root, but package lists.

        Args:
            package: Its name.
            directory: Where the archive goes. Only our user may be able to write there, hence apt's own is not used.
        """
        return self._run("download", "-q", "-o", "APT::Sandbox::User=root", package, directory=directory)

    def _run(self, *words: str, directory: Path = Path("/")) -> Completed:
        with self._lock:
            done = self._apt(words, directory)
            if not done.ok and not self._refreshed and os.geteuid() == 0:
                self._refreshed = True
                self._apt(("update", "-q", *WAIT_FOR_LOCK), directory)
                done = self._apt(words, directory)
            return done

    def _apt(self, words: tuple[str, ...], directory: Path) -> Completed:
        argv = ("env", "-C", str(directory), "apt-get", *words)
        done = self._runner.run(argv, env=ENVIRONMENT, timeout=timeouts.DOWNLOAD, check=False)
        if words[0] == "install" and (new := new_packages(done.stdout)):
            self._installed(new)
        return done


def new_packages(text: str) -> list[str]:
    """Packages that an installation adds, as apt-get lists them first: what was there in another version is not new."""
    _, _, rest = text.partition(f"{_NEW}\n")
    lines = itertools.takewhile(lambda line: line.startswith("  "), rest.splitlines())
    return [name for line in lines for name in line.split()]
