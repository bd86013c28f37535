"""The surroundings of the go command: what leads it to modules is the user's, what decides about a program is ours.

Go reads variables, and a file that `go env -w` writes. With GOARCH=arm64 in there a lab would get programs that do not
run here; flags, experiments and another GOROOT change them so that nobody notices.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from harness.components.lock import architecture
from harness.components.tools import offline
from harness.components.versions import accepts
from harness.runner import CommandError, Runner

COMPILER_GOGC: Final = "400"
"""How much garbage go's compiler may make before it looks for it: 7 % of its time, for memory that is there anyway."""

KEPT: Final = (
    "GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE", "GOAUTH", "GOVCS",
    "GOCACHE", "GOCACHEPROG", "GOMODCACHE", "GOPATH", "GOTMPDIR",
)  # fmt: skip
"""From where modules come and where they are kept. All of them are checked against go.sum."""

DROPPED: Final = (
    "GO111MODULE", "GO386", "GOAMD64", "GOARM", "GOARM64", "GOBIN", "GODEBUG", "GOEXPERIMENT", "GOFIPS140", "GOROOT",
    "AR", "CC", "CXX", "FC", "GCCGO", "PKG_CONFIG",
    "CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_CXXFLAGS", "CGO_FFLAGS", "CGO_LDFLAGS",
)  # fmt: skip
"""What is empty is go's own choice."""

MIN_GO: Final = "1.21"
"""From here on the go command fetches the newer toolchain that a module asks for, unless GOTOOLCHAIN forbids it."""

VERSION: Final = ("env", "GOENV=off", "GOROOT=", "GOFLAGS=", "go", "version")
"""The command that says which go it is: with a GOROOT of the user's own, or flags that it does not know, it fails."""

_HARMLESS_FLAG: Final = re.compile(r"-modcacherw(=\w+)?|-p=\d+")
_TOOLCHAIN_RULE: Final = re.compile(r"(local|path|auto)|(local|go[\w.]+)\+(auto|path)")


def settings(runner: Runner, way: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """The user's own settings that stay, wherever they are written.

    Args:
        runner: Runs go.
        way: Variables that lead to it, where it is not the machine's own.
    """
    words = ("env", "-C", "/", "go", "env", "-json", *KEPT, "GOFLAGS", "GOTOOLCHAIN")
    try:
        told: dict[str, str] = json.loads(runner.run(words, env=way).stdout)
    except (CommandError, ValueError):
        told = {}  # with a GOROOT that is not there go says nothing; what variables say is still inherited
    kept = {key: told[key] for key in KEPT if told.get(key)}
    flags = (told.get("GOFLAGS") or os.environ.get("GOFLAGS", "")).split()
    rule = told.get("GOTOOLCHAIN") or os.environ.get("GOTOOLCHAIN", "")
    return {
        **way,
        **kept,
        "GOFLAGS": " ".join(["-mod=readonly", *(flag for flag in flags if _HARMLESS_FLAG.fullmatch(flag))]),
        # Whether a newer one may be fetched is the user's to say; which one a module is built with is go.mod's.
        "GOTOOLCHAIN": rule if _TOOLCHAIN_RULE.fullmatch(rule) else "auto",
    }


def too_old(found: str, asked: str, rule: str) -> str:
    """Why a go will not do; empty when it will.

    Args:
        found: Its version.
        asked: The version that a module asks for.
        rule: What GOTOOLCHAIN says; empty for nothing.
    """
    if not accepts(f">={MIN_GO}", found):
        return f"go is version {found}, but {MIN_GO} or newer is needed"
    if accepts(f">={asked}", found) or not rule or "auto" in rule:
        return ""
    return f"go is version {found}, but {asked} is needed, and GOTOOLCHAIN={rule} forbids go to fetch a newer one"


def compiler(runner: Runner, program: Path, way: Mapping[str, str]) -> str:
    """The version of Go that compiled a program, as its build information has it; empty where that is not known.

    Args:
        runner: Runs go.
        program: Built by it.
        way: Variables that lead to it.
    """
    done = runner.run(("go", "version", program), env=way, check=False)
    found: list[str] = re.findall(r"\bgo(\d+(?:\.\d+)+)\b", done.stdout)
    return found[-1] if done.ok and found else ""


def environment(user: dict[str, str], *, cgo: bool = False) -> dict[str, str]:
    """Variables for go. GOWORK: a workspace around the checkout must not change what go.mod pins.

    Args:
        user: As of `settings`.
        cgo: What is built has C in it.
    """
    return {
        **dict.fromkeys(DROPPED, ""),
        **user,
        "GOENV": "off",
        "GOOS": "linux",
        "GOARCH": architecture(),
        "CGO_ENABLED": "1" if cgo else "0",
        "GOWORK": "off",
        "GOGC": os.environ.get("GOGC", COMPILER_GOGC),
        **({"GOPROXY": "off"} if offline() else {}),
    }
