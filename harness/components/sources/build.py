"""`go build` of the pinned modules in `components/`."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from harness import proc, resources, timeouts
from harness.components.lock import Build, Component
from harness.components.sources import golang, toolchain
from harness.components.sources.base import Delivered, Desk, Refused, probe_version, run_long
from harness.components.sources.golang import MIN_GO
from harness.components.sources.modules import Modules, folders_of
from harness.components.turns import Turns
from harness.errors import CnilabError
from harness.runner import CommandError

CORES_PER_BUILD = 2
"""Cores that one Go build keeps busy until it links.

Two builds at the same time on two cores compile every package that both need twice, and take longer than one after the
other, whose second finds these packages in Go's cache.
"""

ROOM_TO_LINK = 4 * 2**30
"""Bytes that must be available for a build beside one that links: that of Kubernetes takes 2.8 GiB."""

FASTER = ("-gcflags=all=-dwarf=false",)
"""Debug information that the linker would throw away again (-s -w) is not made at all: 9 % of the processor time."""

_PINS = (".mod", ".sum")


def source_digest(module: Path, modfile: str = "go.mod") -> str:
    """SHA-256 over the module's own files: go.mod and go.sum pin everything else by hash.

    Args:
        module: Folder of the module. Tests, hidden files, and what pins other versions do not count.
        modfile: File in it that pins this version.
    """
    others = {path.with_suffix(end) for path in module.glob("*.mod") if path.name != modfile for end in _PINS}
    digest = hashlib.sha256()
    for path in sorted(module.rglob("*")):
        if not path.is_file() or path.name.startswith(".") or path.name.endswith("_test.go") or path in others:
            continue
        digest.update(f"{path.relative_to(module)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def asked_by(modfile: Path) -> str:
    """The version of Go that a go.mod asks for."""
    found = re.search(r"^go ([\d.]+)$", modfile.read_text(encoding="utf-8"), re.MULTILINE)
    return found.group(1) if found else MIN_GO


def progress(lines: list[str]) -> str:
    """How far `go build -v` is, from what it printed: downloads, then each package that is not in Go's cache."""
    compiled = [line for line in lines if line and not line.startswith(("go: ", "#"))]
    if compiled:
        return f"packages compiled: {len(compiled)}, last {compiled[-1]}"
    if any(line.startswith("go: downloading ") for line in lines):
        return downloaded(lines)
    return "nothing to compile so far"


def only_links(lines: list[str], build: Build) -> bool:
    """Whether all is compiled but for the programs' own packages, whose linker keeps one core busy.

    Args:
        lines: What `go build -v` printed; a package's name comes when all that it needs is there.
        build: Names the programs.
    """
    return {line.rpartition("/")[2] for line in lines if not line.startswith(("go: ", "#"))} >= set(
        build.files.values()
    )


def _memory_available() -> int:
    return proc.memory_available(Path("/proc/meminfo").read_text(encoding="ascii"))


def downloaded(lines: list[str]) -> str:
    """How many modules go has fetched, from what it printed."""
    return f"modules downloaded: {sum(line.startswith('go: downloading ') for line in lines)}"


def _modfile(build: Build) -> tuple[str, ...]:
    return () if build.modfile == "go.mod" else (f"-modfile={build.modfile}",)


def _tags(build: Build) -> tuple[str, ...]:
    return ("-tags", ",".join(build.tags)) if build.tags else ()


class BuildSource:
    """Builds with the machine's Go, or with ours where it has none.

    Args:
        need: Finds or installs tools that a build needs, as `Tools.need` does.
        modules: Folder of the modules; by default the project's `components/`.
        own: The cache, which gets a Go where the machine has none that would do; None asks for one to be installed.
    """

    name: ClassVar[str] = "build"

    def __init__(
        self, need: Callable[[str], dict[str, Path]], modules: Path | None = None, own: toolchain.Cache | None = None
    ) -> None:
        self.own = own
        self.modules = modules or resources.root() / "components"
        self.need = need
        self.turns = Turns(max(1, (os.cpu_count() or 1) // CORES_PER_BUILD))

    def deliver(self, component: Component, desk: Desk) -> Delivered | Refused:
        """See `Source.deliver`."""
        build = component.build
        if build is None and not component.module:
            return Refused("the lock names no Go module")
        module = self.modules / build.module if build else Path()
        if build and not (module / build.modfile).is_file():
            return Refused(f"{module} has no {build.modfile}")
        found = self._go(desk, asked_by(module / build.modfile) if build else MIN_GO)
        if isinstance(found, Refused):
            return found
        go, user = found
        if build is None:
            return folders_of(component, desk, golang.environment(user))
        if lacking := self._lacking(build):
            return lacking
        env = golang.environment(user, cgo=build.cgo)
        self._download(build, module, desk, env)
        with self.turns.turn(component.name, desk.check) as leave:
            desk.check()

            def describe(lines: list[str]) -> str:
                if only_links(lines, build) and _memory_available() >= ROOM_TO_LINK:
                    leave()
                return progress(lines)

            return self._build(component, build, module, desk, env, go, describe)

    def _go(self, desk: Desk, asked: str) -> tuple[str, dict[str, str]] | Refused:
        """A go that will do: its version, and the user's settings with what leads to it; the machine's own before ours.

        Args:
            desk: Where to work.
            asked: The version that the module asks for.
        """
        reason = "go is not on PATH"
        if shutil.which("go") and (go := probe_version(desk.runner, golang.VERSION)):
            user = golang.settings(desk.runner)
            reason = golang.too_old(go, asked, user["GOTOOLCHAIN"])
            if not reason:
                return go, user
        remedy = f"install Go {asked} or newer (https://go.dev/dl)"
        if self.own is None or self.own.lock.go is None:
            return Refused(reason, remedy)
        if refused := toolchain.deliver(self.own, desk):
            return Refused(f"{reason}; {refused.reason}", remedy)
        way = toolchain.variables(self.own.cache, self.own.lock.go)
        own = probe_version(desk.runner, golang.VERSION, way)
        if own == self.own.lock.go.version:
            return own, golang.settings(desk.runner, way)
        place = toolchain.place(self.own.cache, self.own.lock.go)
        # PATH cannot have it in it, or its file system runs nothing.
        return Refused(f"{reason}; the one in {place} does not run (check for a colon in its path, or noexec)", remedy)

    def _download(self, build: Build, module: Path, desk: Desk, env: dict[str, str]) -> None:
        """Fetch the sources while another build still has the cores. What is not available is the build's to say."""
        argv = ("go", "list", "-deps", *_modfile(build), *_tags(build), build.target)
        log = desk.scratch / "download.log"
        with suppress(CommandError):
            run_long(desk, argv, deadline=timeouts.DOWNLOAD, env=env, cwd=module, log=log, describe=downloaded)

    def _lacking(self, build: Build) -> Refused | None:
        for tool in build.needs:
            try:
                if tool not in self.need(tool):
                    return Refused(f"the build needs {tool}", f"install {tool}")
            except CnilabError as error:
                return Refused(f"the build needs {tool}: {error.what}", error.next_step)
        return None

    def _build(
        self,
        component: Component,
        build: Build,
        module: Path,
        desk: Desk,
        env: dict[str, str],
        go: str,
        describe: Callable[[list[str]], str],
    ) -> Delivered | Refused:
        out = desk.scratch / "out"
        out.mkdir()
        log = desk.scratch / "build.log"
        # A folder as -o takes several programs under the names of their packages, a file exactly one.
        target = f"{out}/" if build.target == "tool" else f"{out / next(iter(build.files.values()))}"
        flags = " ".join(component.fill(build.ldflags, build.version).split())
        modules = Modules(desk.runner, module / build.modfile, env)
        modfile = (f"-modfile={modules.edited(build.edits, desk.scratch)}",) if build.edits else _modfile(build)
        argv = (
            "go",
            "build",
            "-v",
            "-trimpath",
            "-buildvcs=false",
            *modfile,
            *_tags(build),
            *FASTER,
            "-ldflags",
            flags,
            "-o",
            target,
            build.target,
        )
        done = run_long(desk, argv, deadline=timeouts.BUILD, env=env, cwd=module, log=log, describe=describe)
        if not done.ok:
            remedy = "install the Go version that it asks for" if "requires go >=" in done.stderr else ""
            return Refused(f"go build in {module} failed: {done.tail(8)}", remedy)
        for name, built in build.files.items():
            if not (out / built).is_file():
                return Refused(f"go build in {module} made no program named {built}")
            (out / built).replace(desk.files / name)
        for name, folder in build.folders.items():
            modules.pack(folder, desk.files / name)
        # The go command may have had a newer one compile, as the module asks for it: the program knows.
        compiler = golang.compiler(desk.runner, desk.files / next(iter(build.files)), env) or go
        version = component.fill("{version}", build.version)
        return Delivered(version, f"go build of components/{build.module}, Go {compiler}")
