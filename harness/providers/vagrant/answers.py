"""What Vagrant and its hypervisors say, decoded: lines for machines, and the ssh configuration that Vagrant writes.

All of it is pure. Vagrant's lines are `timestamp,target,type,data…` (Vagrant's documentation, Machine Readable Output);
`ssh-config` is a file as of ssh_config(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_COMMA = "%!(VAGRANT_COMMA)"
_ESCAPES = {r"\n": "\n", r"\r": "\r"}

RUNNING = "running"
MISSING = "not_created"

CHANNELS = ("info", "output", "detail", "success", "warn", "error")
"""First datum of a line of the type `ui`: what kind of text follows."""


@dataclass(frozen=True)
class Line:
    """One line of Vagrant's.

    Args:
        target: A machine's name; empty where all are meant.
        kind: Its type.
        data: What belongs to it.
    """

    target: str
    kind: str
    data: tuple[str, ...]

    @property
    def text(self) -> str:
        """What a person would have read; empty for lines that are not for people."""
        if self.kind != "ui" or len(self.data) < 2 or self.data[0] not in CHANNELS:
            return ""
        return self.data[1].strip()


def line(text: str) -> Line | None:
    """Decode a line; None for what is none, as warnings of Ruby are."""
    moment, _, rest = text.rstrip("\r\n").partition(",")
    target, comma, rest = rest.partition(",")
    if not moment.isdigit() or not comma:
        return None
    kind, *data = (_plain(word) for word in rest.split(","))
    return Line(target, kind, tuple(data))


def _plain(word: str) -> str:
    for escape, meaning in _ESCAPES.items():
        word = word.replace(escape, meaning)
    return word.replace(_COMMA, ",")


def lines(text: str) -> list[Line]:
    """Decode all lines of a text."""
    return [found for one in text.splitlines() if (found := line(one)) is not None]


@dataclass(frozen=True)
class Progress:
    """What happens to a machine, as far as a person wants to know.

    Args:
        machine: Which; empty where all are meant.
        text: In Vagrant's words.
    """

    machine: str
    text: str


_PREFIX = re.compile(r"^(?:==> )?(?P<machine>[a-z0-9-]+): +")
_TOLD = ("info", "output", "success")


def progress(one: Line) -> Progress | None:
    """What a line tells a person who waits; None where it is none of the steps of a machine."""
    found = _PREFIX.match(one.text)
    first, *_ = [*_PREFIX.sub("", one.text).strip().splitlines(), ""]
    # Tables of a machine's hardware have a line for each of its parts.
    if one.data[:1] not in {(word,) for word in _TOLD} or not first or first.startswith(("--", "->")):
        return None
    return Progress(one.target or (found["machine"] if found else ""), first.rstrip("."))


_BACKTRACE = re.compile(r"^/\S+\.rb:\d+:in ")


def failure(said: Iterable[Line]) -> str:
    """Why Vagrant gave up, in its own words; empty where it says nothing of that."""
    known = list(said)
    words = [" ".join(one.data[1:]) for one in known if one.kind == "error-exit"]
    if not words:
        words = [one.text for one in known if one.kind == "ui" and one.data[:1] == ("error",)]
    lines = (text.strip() for word in words for text in word.splitlines())
    return "\n".join(dict.fromkeys(text for text in lines if text and not _BACKTRACE.match(text)))


def states(said: Iterable[Line]) -> dict[str, str]:
    """Machine to its state, of `vagrant status`: `running`, `not_created`, or a word of the hypervisor's."""
    return {one.target: one.data[0] for one in said if one.kind == "state" and one.target and one.data}


def plugins(said: Iterable[Line]) -> dict[str, str]:
    """Plugin to version, of `vagrant plugin list`."""
    found: dict[str, str] = {}
    for one in said:
        if one.kind == "plugin-name" and one.data:
            found.setdefault(one.data[0], "")
        elif one.kind == "plugin-version" and one.target:
            found[one.target] = one.data[0].split()[0].rstrip(",") if one.data and one.data[0].split() else ""
        elif one.kind == "ui" and (match := re.match(r"^(?P<name>[\w.-]+) \((?P<version>[\w.]+)", one.text)):
            found[match["name"]] = match["version"]
    return found


def boxes(said: Iterable[Line]) -> list[tuple[str, str]]:
    """Name and provider of the boxes that there are, of `vagrant box list`."""
    names: list[tuple[str, str]] = []
    name = ""
    for one in said:
        if one.kind == "box-name" and one.data:
            name = one.data[0]
        elif one.kind == "box-provider" and one.data:
            names.append((name, one.data[0]))
    return names


def ssh_hosts(text: str) -> dict[str, dict[str, str]]:
    """Host to its settings, of `vagrant ssh-config`; keys in lower case: ssh_config(5) does not tell them apart."""
    found: dict[str, dict[str, str]] = {}
    host: dict[str, str] = {}
    for raw in text.splitlines():
        key, _, value = raw.strip().partition(" ")
        if not key or key.startswith("#"):
            continue
        if key.lower() == "host":
            host = found.setdefault(value.strip(), {})
        else:
            host.setdefault(key.lower(), value.strip().strip('"'))
    return found


def listed(text: str) -> list[str]:
    """Names of virsh's `list --name` and `net-list --name`: one a line."""
    return [name.strip() for name in text.splitlines() if name.strip()]


def volumes(text: str) -> list[str]:
    """Names of virsh's `vol-list`, quiet: name and path."""
    return [raw.split()[0] for raw in text.splitlines() if raw.strip()]


def virtualbox_machines(text: str) -> dict[str, str]:
    """Name to UUID, of `VBoxManage list vms`: `"name" {uuid}`."""
    return dict(re.findall(r'^"(.*)" \{([0-9a-f-]+)\}$', text, re.MULTILINE))
