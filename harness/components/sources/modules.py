"""Sources of pinned Go modules: copies with a place or two changed, and folders of them as archives."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import timeouts
from harness.components.lock import Component, Edit, Folder
from harness.components.sources.base import Delivered, Desk, Refused
from harness.errors import PreflightError
from harness.runner import Runner


class Modules:
    """The modules that a go.mod requires, as they lie in Go's module cache.

    Args:
        runner: Runs go.
        modfile: The go.mod, or another file of that form beside it.
        env: Variables for go.
    """

    def __init__(self, runner: Runner, modfile: Path, env: Mapping[str, str]) -> None:
        self._runner = runner
        self._modfile = modfile
        self._folder = modfile.parent
        self._env = env

    def place(self, module: str) -> Path:
        """Where a module's source is; it is downloaded when it is not there yet.

        Raises:
            PreflightError: It is not available.
        """
        words = ("env", "-C", str(self._folder), "go")
        # Without a list of packages this downloads all that go.mod requires, and nothing is lost: a build follows.
        pins = f"-modfile={self._modfile}"
        self._runner.run((*words, "mod", "download", pins, module), env=self._env, timeout=timeouts.DOWNLOAD)
        done = self._runner.run((*words, "list", "-m", pins, "-f", "{{.Dir}}", module), env=self._env)
        found = done.stdout.strip()
        if not found:
            msg = f"the source of {module} is not available"
            raise PreflightError(msg, where=str(self._folder))
        return Path(found)

    def edited(self, edits: Sequence[Edit], scratch: Path) -> Path:
        """A go.mod in which the edited modules are replaced by changed copies.

        A build overlay would be shorter, but go refuses one that lies over its module cache.

        Args:
            edits: What to change.
            scratch: Gets the copies and the go.mod; thrown away after the build.

        Raises:
            PreflightError: A text to be changed is not there exactly once: the module is another one than thought.
        """
        modfile = scratch / "edited.mod"
        for end in (".mod", ".sum"):
            shutil.copyfile(self._modfile.with_suffix(end), modfile.with_suffix(end))
        for module in dict.fromkeys(edit.module for edit in edits):
            copy = scratch / "modules" / module
            shutil.copytree(self.place(module), copy, copy_function=shutil.copyfile)
            self._runner.run(("go", "mod", "edit", f"-replace={module}={copy}", str(modfile)), env=self._env)
        for edit in edits:
            _change(scratch / "modules" / edit.module / edit.file, edit)
        return modfile

    def pack(self, folder: Folder, archive: Path) -> None:
        """Write a folder of a module as a tar archive: sorted, owned by root, dated 1970.

        Args:
            folder: Which one.
            archive: To be made.
        """
        pack(self.place(folder.module), folder, archive)


def pack(module: Path, folder: Folder, archive: Path) -> None:
    """Write a folder of a module as a tar archive: sorted, owned by root, dated 1970.

    Args:
        module: The module's source.
        folder: Which one.
        archive: To be made.
    """
    root = module / folder.path
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            relative = path.relative_to(root)
            first = relative.parts[0]
            if not path.is_file() or first in folder.without or (folder.only and first not in folder.only):
                continue
            content = path.read_bytes()
            info = tarfile.TarInfo(str(relative))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def folders_of(component: Component, desk: Desk, env: Mapping[str, str]) -> Delivered | Refused:
    """Deliver folders of a module at a version that no go.mod of ours pins; Go checks it against its database of sums.

    Args:
        component: Has folders of one module.
        desk: Where to work.
        env: Variables for go.
    """
    module = next(folder.module for folder in component.module.values())
    words = ("env", "-C", str(desk.scratch), "go", "mod", "download", "-json", f"{module}@v{component.pinned}")
    desk.say(f"downloading {module} v{component.pinned}")
    done = desk.runner.run(words, check=False, timeout=timeouts.DOWNLOAD, env=env)
    try:
        told: dict[str, str] = json.loads(done.stdout)
    except ValueError:
        told = {"Error": done.tail()}
    if not done.ok or "Dir" not in told:
        reason = told.get("Error") or done.tail()
        return Refused(f"go mod download: {reason}", f"'go list -m -versions {module}' lists the available versions")
    for name, folder in component.module.items():
        pack(Path(told["Dir"]), folder, desk.files / name)
        if not archived(desk.files / name):
            return Refused(f"{module} v{component.pinned} has no {folder.path}", "use a version nearer the pinned one")
    return Delivered(component.pinned, f"{module} v{component.pinned} {told.get('Sum', '')}".strip())


def archived(archive: Path) -> list[str]:
    """Names of the files in an archive."""
    with tarfile.open(archive) as tar:
        return tar.getnames()


def _change(path: Path, edit: Edit) -> None:
    text = path.read_text(encoding="utf-8")
    if text.count(edit.find) != 1:
        msg = f"{edit.module} is not the version for which the edit in the lock was made"
        raise PreflightError(msg, cause=f"{edit.file} contains the text of the edit {text.count(edit.find)} times")
    # The copy of Go's module cache is as read-only as that; written anew it is this build's own.
    path.unlink()
    path.write_text(text.replace(edit.find, edit.replace), encoding="utf-8")
