"""Writing files so that nobody sees them half written, or at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError


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


def write_below(directory: Path, texts: Mapping[str, str]) -> None:
    """Write files below a directory that the user named; what is there and not among them is left alone.

    Args:
        directory: Made where it is missing.
        texts: UTF-8, by path relative to the directory.

    Raises:
        UsageError: One of them cannot be written there.
    """
    for name, text in texts.items():
        path = directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            msg = f"cannot write below {directory}"
            step = "give a directory with --to that is writable and has free space"
            raise UsageError(msg, cause=error.strerror or str(error), where=str(path), next_step=step) from error


def write_private(path: Path, content: str) -> None:
    """Write a file that is never readable by others for even a moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)  # of a file that was there before, too
        file.write(content)
