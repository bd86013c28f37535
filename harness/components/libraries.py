"""The shared libraries that programs of this machine load, for images that have these programs."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from harness.components.resolver import Resolver
from harness.errors import PreflightError

_LIBRARY = re.compile(r"^\t(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)


def libraries(store: Resolver, programs: Iterable[Path]) -> dict[str, Path]:
    """The shared libraries and the loader that programs or libraries need, at the paths where they are looked for.

    The answer is kept in the cache: ldd starts one process per program, a second for all of iptables' plugins.

    Args:
        store: Runs ldd and has the cache.
        programs: Static ones need nothing.

    Raises:
        PreflightError: A library is missing on this machine.
    """
    paths = sorted({str(path) for path in programs})
    stats = [(path, (info := Path(path).stat()).st_size, info.st_mtime_ns) for path in paths]
    memo = store.cache / "libraries" / f"{hashlib.sha256(repr(stats).encode()).hexdigest()[:16]}.json"
    found: list[str] | None = json.loads(memo.read_text()) if memo.is_file() else None
    if found is None or not all(Path(path).is_file() for path in found):
        found = _ldd(store, paths)
        with store.exclusive(memo.stem) as scratch:
            (scratch / memo.name).write_text(json.dumps(found))
            memo.parent.mkdir(exist_ok=True)
            (scratch / memo.name).replace(memo)
    # Where a program finds its libraries relative to itself, the path goes up and down again.
    return {os.path.normpath(path).lstrip("/"): Path(path).resolve() for path in found}


def _ldd(store: Resolver, paths: list[str]) -> list[str]:
    # ldd's exit status is 1 as soon as one of them is static: the text says more.
    text = store.runner.run(("ldd", *paths), check=False).stdout
    if "not found" in text:
        lines = [line.strip() for line in text.splitlines() if "not found" in line]
        msg = "a program of this machine lacks a shared library"
        raise PreflightError(msg, cause="\n".join(lines), where=" ".join(paths))
    return sorted(set(_LIBRARY.findall(text)))


def xtables_plugins(multi: Path) -> list[Path]:
    """Plugins of iptables for matches and targets: libxt_*.so, libipt_*.so, libip6t_*.so.

    Args:
        multi: The iptables program itself; only its directory's root counts.

    Raises:
        PreflightError: There are none.
    """
    root = multi.parent.parent  # /usr/sbin/xtables-nft-multi -> /usr
    for pattern in ("lib/*/xtables", "lib64/xtables", "lib/xtables"):
        for directory in sorted(root.glob(pattern)):
            if plugins := sorted(directory.glob("lib*.so")):
                return plugins
    msg = f"iptables' plugins (libxt_*.so) were not found under {root}"
    raise PreflightError(msg, next_step="install the distribution's iptables package again")
