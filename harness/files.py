"""Writing files so that nobody sees them half written, or at all."""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, content: str) -> Path:
    """Write a file in one step: a reader sees the old one or the new one, whole.

    Args:
        path: In a directory that is there.
        content: UTF-8; line ends stay as they are.

    Returns:
        The path.
    """
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(content, encoding="utf-8", newline="\n")
    draft.replace(path)
    return path


def write_private(path: Path, content: str) -> None:
    """Write a file that is never readable by others for even a moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
