"""Ends of log files."""

from __future__ import annotations

from pathlib import Path

LIMIT = 4 * 2**20
"""Bytes kept of a log: its end, where the cause is."""


def tail_bytes(path: Path, limit: int = LIMIT) -> str:
    """The end of a text file, beginning with a whole line."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size > limit:
            file.seek(size - limit)
            file.readline()
            return f"[the first {file.tell()} bytes are left out]\n" + file.read().decode(errors="replace")
        return file.read().decode(errors="replace")
