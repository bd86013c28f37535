"""What a program inherits from whoever calls it, and what must not decide about a lab: locale, encodings, umask.

A translated `ip`, a decimal comma, a file that only root can read inside a node: none of it is seen where it comes
from. So the program settles these once, when it starts, for itself and for all that it starts.
"""

from __future__ import annotations

import io
import locale
import os
import sys
from collections.abc import Mapping
from functools import cache

UTF8_LOCALES = ("C.UTF-8", "C.utf8", "en_US.UTF-8")
"""The first that the machine has is taken: English words, points in numbers, and UTF-8, without which Ansible ends."""

UMASK = 0o022
"""Nodes and images have users other than root. What is secret is made with a mode that says so, whatever this is."""

_INHERITED = frozenset({"LANG", "LANGUAGE", "PYTHONIOENCODING", "PYTHONCOERCECLOCALE"})


def says_yes(name: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a variable allows or forbids what it is there for: 1, yes or true."""
    return environ.get(name, "").lower() in {"1", "yes", "true"}


@cache
def utf8_locale(names: tuple[str, ...] = UTF8_LOCALES) -> str:
    """The locale of everything that is started; `C` where the machine has none with UTF-8.

    Args:
        names: To be tried.
    """
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in names:
            try:
                locale.setlocale(locale.LC_CTYPE, name)
            except locale.Error:
                continue
            return name
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return "C"


def language() -> dict[str, str]:
    """Variables that decide how programs speak and encode."""
    return {"LC_ALL": utf8_locale(), "PYTHONUTF8": "1"}


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a program that is started: ours, without the caller's language.

    Args:
        extra: Variables added.
    """
    kept = {key: value for key, value in os.environ.items() if not _speaks(key)}
    return {**kept, **language(), **(extra or {})}


def _speaks(variable: str) -> bool:
    return variable.startswith("LC_") or variable in _INHERITED


def settle() -> None:
    """Settle it for this process and all that it starts, also where no `Runner` starts it."""
    os.umask(UMASK)
    for name in [name for name in os.environ if _speaks(name)]:
        del os.environ[name]
    os.environ.update(language())
    if sys.getfilesystemencoding() != "utf-8":
        # What Python decided at its start cannot be changed later: names of files would be read in the old encoding.
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - the same words again, without a shell
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)
