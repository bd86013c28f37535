"""One delivered component in the cache: a directory that is there whole or not at all.

components/<name>/<key>/entry.json    what it is and from where
components/<name>/<key>/files/<name>  the programs
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from pydantic import Field, ValidationError

from harness.components import elf
from harness.model.base import Record

_CHUNK = 1 << 20


class FileRecord(Record):
    """One file as it was when it was put away."""

    size: int
    mtime_ns: int
    sha256: str


class WatchRecord(Record):
    """A file of the machine that an entry is a copy of."""

    path: str
    size: int
    mtime_ns: int


class Entry(Record):
    """Content of `entry.json`."""

    schema_: int = Field(default=1, alias="schema")
    name: str
    key: str
    version: str
    source: str = Field(description="system, package, release or build")
    origin: str
    stored: str = Field(description="RFC 3339, UTC")
    files: dict[str, FileRecord]
    watch: tuple[WatchRecord, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the one program, or of the list of all with theirs."""
        if len(self.files) == 1:
            return next(iter(self.files.values())).sha256
        lines = "".join(f"{record.sha256}  {name}\n" for name, record in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(directory: Path) -> dict[str, FileRecord]:
    """Records of all files of a directory, made executable and read-only first."""
    records = {}
    for path in sorted(directory.iterdir()):
        path.chmod(0o555)
        info = path.stat()
        records[path.name] = FileRecord(size=info.st_size, mtime_ns=info.st_mtime_ns, sha256=file_digest(path))
    return records


def watch(paths: tuple[Path, ...]) -> tuple[WatchRecord, ...]:
    """Records of the machine's files."""
    stats = [(path, path.stat()) for path in paths]
    return tuple(WatchRecord(path=str(path), size=info.st_size, mtime_ns=info.st_mtime_ns) for path, info in stats)


def write(directory: Path, entry: Entry) -> None:
    """Write `entry.json` into an entry that is being made."""
    (directory / "entry.json").write_text(entry.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")


def read(directory: Path) -> Entry | None:
    """The entry of that directory; None when there is none or it cannot be read."""
    try:
        return Entry.model_validate_json((directory / "entry.json").read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


def damage(directory: Path, entry: Entry, *, thorough: bool = False) -> list[str]:
    """What is wrong with an entry's files.

    Args:
        directory: Of the entry.
        entry: What should be there.
        thorough: Hash every file; else compare sizes and times only, which takes microseconds.
    """
    complaints = []
    for name, record in entry.files.items():
        path = directory / "files" / name
        try:
            info = path.stat()
        except OSError as error:
            complaints.append(f"{path}: {error.strerror}")
            continue
        if info.st_size != record.size:
            complaints.append(f"{path}: {info.st_size} bytes instead of {record.size}")
        elif found := elf.complaint(path):
            complaints.append(f"{path}: {found}")
        elif not thorough and info.st_mtime_ns != record.mtime_ns:
            complaints.append(f"{path}: changed after it was stored")
        elif thorough and (found := file_digest(path)) != record.sha256:
            complaints.append(f"{path}: SHA-256 is {found} instead of {record.sha256}")
    return complaints


def stale(entry: Entry) -> bool:
    """Whether a file of the machine that this is a copy of has changed since. Gone is not changed."""
    for record in entry.watch:
        try:
            info = Path(record.path).stat()
        except OSError:
            continue
        if (info.st_size, info.st_mtime_ns) != (record.size, record.mtime_ns):
            return True
    return False


def remove(directory: Path) -> None:
    """Remove a directory of the cache, if it is there."""
    shutil.rmtree(directory, ignore_errors=True)
