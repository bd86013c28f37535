"""State of pods as the pods themselves can read it: where nodes are out of reach, and the image has no iproute2.

`responder batch` runs in each pod and reads files of its own namespaces; commands are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from harness.errors import CnilabError
from harness.model.records import Dump
from harness.probes import facts
from harness.probes.facts import Fact
from harness.probes.plan import Prober

WHAT: Final = ("sysctl", "counters", "resolv-conf")
"""Facts that are made of files."""

DEADLINE: Final = 10.0
"""Seconds for all files of a pod."""

_AT_ONCE: Final = 32


@dataclass(frozen=True)
class Subject:
    """A pod.

    Args:
        site: The way in.
        namespace: Of the pod.
        host_network: It has its node's kernel state; only its own files are asked for.
    """

    site: Prober
    namespace: str
    host_network: bool = False

    @property
    def what(self) -> tuple[str, ...]:
        """Facts that it is asked for."""
        return ("resolv-conf",) if self.host_network else WHAT


def dump(subjects: Iterable[Subject], *, batch: str, only: Sequence[str] = ()) -> list[Dump]:
    """Read what pods can read of themselves, one program run per pod.

    Args:
        subjects: The pods.
        batch: As of the observations.
        only: Facts to ask for; empty for all.
    """
    asked = list(subjects)
    with ThreadPoolExecutor(max_workers=max(1, min(_AT_ONCE, len(asked))), thread_name_prefix="dump") as pool:
        return [one for part in pool.map(lambda subject: _read(subject, batch, only), asked) for one in part]


def link_mtu(site: Prober, link: str = "eth0") -> int:
    """MTU of a pod's link, bytes.

    Args:
        site: The way in.
        link: Its name.

    Raises:
        CnilabError: It cannot be read.
    """
    path = f"/sys/class/net/{link}/mtu"
    return int(_files(site, {"mtu": (path,)})["mtu"]["files"][path])


def resolv_conf(site: Prober) -> str:
    """A pod's /etc/resolv.conf.

    Args:
        site: The way in.

    Raises:
        CnilabError: It cannot be read.
    """
    path = "/etc/resolv.conf"
    return str(_files(site, {"conf": (path,)})["conf"]["files"][path])


def _read(subject: Subject, batch: str, only: Sequence[str]) -> list[Dump]:
    wanted: list[Fact] = [facts.FACTS[what] for what in subject.what if not only or what in only]
    if not wanted:
        return []
    problem, lines = "", {}
    patterns = {fact.what: tuple(one.format(proc="/proc/self") for one in fact.files) for fact in wanted}
    try:
        lines = _files(subject.site, patterns)
    except (CnilabError, ValueError) as error:
        problem = str(error)
    return [
        Dump(
            batch=batch,
            vantage="pod",
            place=subject.site.name,
            node=subject.site.node,
            namespace=subject.namespace,
            what=fact.what,
            command=fact.command,
            data=facts.data_of(fact, lines.get(fact.what), problem),
        )
        for fact in wanted
    ]


def _files(site: Prober, patterns: dict[str, tuple[str, ...]]) -> dict[str, dict[str, Any]]:
    commands = [{"id": what, "files": list(files)} for what, files in patterns.items()]
    plan = {"timeout_ms": round(DEADLINE * 1000), "commands": commands}
    done = site.runner.run([site.binary, "batch"], input=json.dumps(plan), timeout=DEADLINE + 10)
    return {line["id"]: line for line in map(json.loads, done.stdout.splitlines())}
