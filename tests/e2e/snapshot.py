"""What a machine looks like: taken before and after a lab, the two must be equal.

Other labs and other people's programs may run on the same machine: what belongs to them is left out, and what comes
and goes by itself is looked at again for a while.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness import timeouts

_TOP = "cnilab"
_NAMESPACES = ("net", "mnt", "uts", "ipc", "pid", "cgroup")

_HOME = Path.home()
_OF_USERS = (".kube", ".ansible", ".docker")
_FOLDERS = ("/etc", "/opt", "/var/lib", "/run", "/usr/local/bin", *(f"{_HOME}/{name}" for name in _OF_USERS))
_CHURN = re.compile(
    r"^(/run/(systemd|udev|user|utmp|log|lock|sshd|screen|sudo|dbus|initctl|crond|cron)|"
    r"/var/lib/(apt|dpkg|systemd|ucf|pam|docker|man-db|update-|ubuntu)|/etc/(ld\.so\.cache|\.pwd\.lock|mtab))"
)
_VARYING_SYSCTLS = re.compile(
    r"^(kernel\.(random\.|ns_last_pid|pty\.nr|perf_event_max_sample_rate|sched_domain)|"
    r"fs\.(dentry-state|file-nr|inode-|quota\.|aio-nr|binfmt_misc)|net\.netfilter\.nf_conntrack_count|"
    r"net\.ipv[46]\.(neigh|conf)\.[^.]+\.(base_reachable|retrans)|vm\.drop_caches|vm\.stat_refresh)"
)


@dataclass(frozen=True)
class Snapshot:
    """Sets of words, one per kind of thing that a lab could leave behind."""

    links: frozenset[str]
    addresses: frozenset[str]
    routes: frozenset[str]
    namespaces: frozenset[str]
    processes: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    files: frozenset[str]
    sysctls: frozenset[str]
    firewall: frozenset[str]
    sockets: frozenset[str]
    bpf: frozenset[str]


def take(mine: Collection[str]) -> Snapshot:
    """Look at everything.

    Args:
        mine: Names of the labs whose traces count; other labs' are not ours to judge.
    """
    counted = _counted_processes(mine)
    return Snapshot(
        links=frozenset(_names(_json("ip", "-j", "link"), "ifname")),
        addresses=frozenset(
            f"{link['ifname']} {address['local']}"
            for link in _json("ip", "-j", "addr")
            for address in link.get("addr_info", ())
        ),
        routes=frozenset(_lines("ip", "route", "show", "table", "all")),
        namespaces=frozenset(_namespaces(counted)),
        processes=frozenset(_processes(counted)),
        mounts=frozenset(_mounts()),
        cgroups=frozenset(_cgroups(mine)),
        files=frozenset(_files()),
        sysctls=frozenset(line for line in _lines("sysctl", "-a") if not _VARYING_SYSCTLS.match(line)),
        firewall=frozenset(re.sub(r"\[\d+:\d+\]|packets \d+ bytes \d+", "", line) for line in _firewall()),
        sockets=frozenset(_listening(counted)),
        bpf=frozenset(_bpf(mine)),
    )


def differences(before: Snapshot, after: Snapshot) -> dict[str, list[str]]:
    """What came and what went, by kind; empty is good."""
    found: dict[str, list[str]] = {}
    for kind in fields(Snapshot):
        old, new = getattr(before, kind.name), getattr(after, kind.name)
        changed = [f"+ {word}" for word in sorted(new - old)]
        if kind.name not in {"processes", "namespaces", "sockets", "bpf"}:  # ours may end
            changed += [f"- {word}" for word in sorted(old - new)]
        if changed:
            found[kind.name] = changed
    return found


def settle(before: Snapshot, mine: Collection[str], deadline: float = 15.0) -> dict[str, list[str]]:
    """Differences that stay: what others start and end meanwhile goes away by itself.

    Args:
        before: The machine as it was.
        mine: As of `take`.
        deadline: Seconds.
    """
    persistent: dict[str, set[str]] | None = None
    for _ in timeouts.ticks(deadline, 0.5, 2.0):
        found = {kind: set(words) for kind, words in differences(before, take(mine)).items()}
        # Only what is there every time counts; short-lived processes of others are different ones each time.
        persistent = found if persistent is None else {k: v & found.get(k, set()) for k, v in persistent.items()}
        persistent = {kind: words for kind, words in persistent.items() if words}
        if not persistent:
            return {}
    return {kind: sorted(map(_explained, words)) for kind, words in (persistent or {}).items()}


def _explained(word: str) -> str:
    """A namespace with the processes that hold it."""
    found = re.search(r"(\w+):\[\d+\]$", word)
    if not found:
        return word
    holders = [pid for pid in _pids() if _link(f"/proc/{pid}/ns/{found[1]}") == found[0]]
    told = [f"{pid} {_read(f'/proc/{pid}/cmdline').replace(chr(0), ' ')[:60]}" for pid in holders[:3]]
    return f"{word} held by {told}"


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _run(*argv: str) -> str:
    if shutil.which(argv[0]) is None:
        return ""
    return subprocess.run(argv, capture_output=True, text=True, check=False, errors="replace").stdout


def _lines(*argv: str) -> list[str]:
    return [line.strip() for line in _run(*argv).splitlines() if line.strip()]


def _json(*argv: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_run(*argv) or "[]")
    return found


def _names(items: list[dict[str, Any]], key: str) -> Iterator[str]:
    return (str(item[key]) for item in items if key in item)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _counted_processes(mine: Collection[str]) -> set[int]:
    """Processes that a lab of ours may have left.

    What a killed harness leaves is in a cgroup of ours, or an orphan with the harness's environment. A process whose
    living parent is somebody else belongs to them; kernel threads and other labs' machines are not ours either.
    """
    parents = {pid: _parent(pid) for pid in _pids()}
    counted = set()
    for pid in parents:
        lab = re.search(rf"/{_TOP}/([^./\n]+)", _read(f"/proc/{pid}/cgroup"))
        ancestors = set(_ancestors(pid, parents))
        orphan = not ancestors and "CNILAB_" in _read(f"/proc/{pid}/environ")
        if lab[1] in mine if lab else orphan or os.getpid() in ancestors:
            counted.add(pid)
    return counted


def _parent(pid: int) -> int:
    text = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(text[1]) if len(text) > 1 else 0


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    """All above it, but for the machine's own init."""
    while (pid := parents.get(pid, 0)) > 1:
        yield pid


def _namespaces(counted: set[int]) -> Iterator[str]:
    """Namespaces other than the machine's own, by what holds them: a process of ours, or a bind mount."""
    own = {_link(f"/proc/self/ns/{kind}") for kind in _NAMESPACES}
    for pid in counted:
        yield from {_link(f"/proc/{pid}/ns/{kind}") for kind in _NAMESPACES} - own - {""}
    yield from _lines("ls", "/run/netns")


def _processes(counted: set[int]) -> Iterator[str]:
    for pid in counted:
        words = _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
        if words:
            yield f"{pid} {words[:120]}"


def _mounts() -> Iterator[str]:
    for line in _read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        yield f"{before.split()[4]} {after.split()[0]}"


def _cgroups(mine: Collection[str]) -> Iterator[str]:
    for line in _mounts():
        where, kind = line.rsplit(" ", 1)
        if kind not in {"cgroup", "cgroup2"}:
            continue
        for name in mine:
            for group in Path(where, _TOP).glob(f"{name}.*"):
                yield from (folder for folder, _, _ in os.walk(group))


def _files() -> Iterator[str]:
    for top in _FOLDERS:
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if not _CHURN.match(f"{folder}/{name}")]
            yield from (f"{folder}/{name}" for name in (*names, *folders) if not _CHURN.match(f"{folder}/{name}"))
    for path in ("/etc/hosts", "/etc/resolv.conf", "/etc/machine-id", f"{_HOME}/.kube/config"):
        yield f"{path} {hash(_read(path))}"


def _firewall() -> Iterator[str]:
    yield from (line for line in _lines("iptables-save") if not line.startswith("#"))
    yield from (line for line in _lines("ip6tables-save") if not line.startswith("#"))
    yield from _lines("nft", "list", "ruleset")


def _listening(counted: set[int]) -> Iterator[str]:
    for line in _lines("ss", "-H", "-tulnp"):
        if counted & {int(pid) for pid in re.findall(r"pid=(\d+)", line)}:
            words = line.split()
            yield f"{words[0]} {words[4]}"


def _bpf(mine: Collection[str]) -> Iterator[str]:
    """Programs and maps in the kernel, wherever they are attached or pinned, and the machine's own pins.

    The kernel does not say to which namespace a program belongs: while other labs run, theirs cannot be told from ours.
    Arrays of programs do not count: the kernel empties and frees them by itself, later, and now and then forgets an
    empty one that no program, pin, process or namespace holds any more. Every other map of the same owner does count.
    """
    yield from (str(path) for path in Path("/sys/fs/bpf").rglob("*"))
    if _other_labs(mine):
        return
    for kind in ("prog", "map"):
        for item in _json("bpftool", "-j", kind, "show"):
            name = str(item.get("name", ""))
            if not name.startswith("sd_") and item.get("type") != "prog_array":  # sd_: systemd's, for its services
                yield f"{kind} {item['id']} {item.get('type')} {name}"


def _other_labs(mine: Collection[str]) -> bool:
    tops = {where for where, kind in (line.rsplit(" ", 1) for line in _mounts()) if kind in {"cgroup", "cgroup2"}}
    groups = (group for top in tops for group in Path(top, _TOP).glob("*"))
    return any(group.is_dir() and group.name.rpartition(".")[0] not in mine for group in groups)
