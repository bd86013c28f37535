"""Evidence: logs of all machines and pods, API objects and kernel state, into the run directory, without secrets.

Nothing here fails a run: what cannot be had is noted in `logs/collect.txt`, and the rest is taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.errors import CnilabError
from harness.model.journal import Journal
from harness.model.labstate import LabDir
from harness.model.run import RunDir
from harness.providers.registry import driver_of
from harness.runner import Runner
from harness.steps.lifecycle.attach import Attached, attach

REDACTED = "REDACTED"

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), REDACTED),
    # JSON web tokens (RFC 7519): three base64url parts, the first of which begins with {" in base64.
    (re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"), REDACTED),
    (re.compile(r"(?i)(authorization:\s*(?:bearer|basic)\s+)\S+"), rf"\1{REDACTED}"),
    (
        re.compile(
            r"""(?ix)(["']?(?:client-key-data|token|password|passwd|secret[-_]?key|api[-_]?key|id-token|refresh-token)"""
            r"""["']?\s*[:=]\s*["']?)(?!REDACTED|(?:true|false|null)\b)[^\s"',;}&]+"""
        ),
        rf"\1{REDACTED}",
    ),
)

API_KINDS = (
    ("v1", "Node"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Event"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
)
"""Never Secrets."""

KERNEL: dict[str, tuple[str, ...]] = {
    "addresses": ("ip", "-d", "addr"),
    "routes": ("ip", "route", "show", "table", "all"),
    "neighbours": ("ip", "neigh"),
    "fdb": ("bridge", "fdb"),
    "bridge-links": ("bridge", "-d", "link"),
    "iptables": ("iptables-save", "-c"),
    "nftables": ("nft", "list", "ruleset"),
    "sockets": ("ss", "-tulpn"),
    "processes": ("ps", "-e", "-o", "pid,ppid,stat,etime,args"),
    "mounts": ("cat", "/proc/self/mounts"),
    "sysctl-net": ("sysctl", "-a", "--pattern", r"^net\.(ipv4\.(ip_forward|conf|neigh)|bridge)"),
}
"""File name → what a person would type on the machine."""


def redact(text: str) -> str:
    """The text without private keys, tokens and passwords."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def redact_object(value: Any) -> Any:
    """A decoded API object without secrets: managed fields, applied-configuration copies, and secret texts."""
    if isinstance(value, dict):
        return {
            key: redact_object(item)
            for key, item in value.items()
            if key not in {"managedFields", "kubectl.kubernetes.io/last-applied-configuration"}
        }
    if isinstance(value, list):
        return [redact_object(item) for item in value]
    return redact(value) if isinstance(value, str) else value


class _Collector:
    """Writes evidence below one directory, and remembers what could not be had."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.missed: list[str] = []
        self.taken = 0

    def write(self, name: str, text: str) -> None:
        path = self.target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(redact(text), encoding="utf-8")
        self.taken += 1

    def attempt(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except (CnilabError, OSError, ValueError, KeyError) as error:
            self.missed.append(f"{what}: {str(error).splitlines()[0]}")


def collect(name: str, state: Path, run: RunDir, journal: Journal) -> list[Path]:
    """Collect everything that can be had of a lab, in whatever state it is.

    Args:
        name: The lab.
        state: The state directory of all labs.
        run: Files go to its `logs/`.
        journal: Gets one step.

    Returns:
        The directory, when anything was taken.
    """
    collector = _Collector(run.path / "logs")
    place = LabDir(state, name)
    with journal.step("collect", f"logs and kernel state of cluster {name}") as detail:
        _service_logs(collector, place)
        collector.attempt("kernel state", lambda: _kernel_of_living(collector, place))
        collector.attempt("the cluster", lambda: _if_cluster(collector, attach(name, state)))
        if collector.missed:
            collector.write("collect.txt", "Could not be collected:\n" + "\n".join(collector.missed) + "\n")
        detail["files"], detail["missed"] = collector.taken, len(collector.missed)
    return [collector.target] if collector.taken else []


def _service_logs(collector: _Collector, place: LabDir) -> None:
    for name, read in driver_of(place).logs(place):
        collector.attempt(name, lambda name=name, read=read: collector.write(name, read()))  # type: ignore[misc]


def _kernel_of_living(collector: _Collector, place: LabDir) -> None:
    living = driver_of(place).living(place)
    with ThreadPoolExecutor(max_workers=8) as pool:
        for node in living:
            for what, argv in KERNEL.items():
                pool.submit(
                    collector.attempt, f"{node.name}: {what}", _dump(collector, node.name, node.runner, what, argv)
                )


def _dump(collector: _Collector, node: str, runner: Runner, what: str, argv: tuple[str, ...]) -> Callable[[], None]:
    def take() -> None:
        done = runner.run(argv, check=False, timeout=10.0)
        text = f"# {' '.join(argv)}\n{done.stdout}{done.stderr}"
        collector.write(f"{node}/kernel/{what}.txt", text)

    return take


def _if_cluster(collector: _Collector, there: Attached) -> None:
    if there.variant.kubernetes:
        _cluster(collector, there)


def _cluster(collector: _Collector, there: Attached) -> None:
    with ThreadPoolExecutor(max_workers=8) as pool:
        for api_version, kind in API_KINDS:
            pool.submit(collector.attempt, kind, _objects(collector, there, api_version, kind))
        for namespace, pod, container in _containers(there):
            pool.submit(
                collector.attempt, f"log of {namespace}/{pod}", _pod_log(collector, there, namespace, pod, container)
            )


def _objects(collector: _Collector, there: Attached, api_version: str, kind: str) -> Callable[[], None]:
    def take() -> None:
        items = redact_object(there.kube.list(api_version, kind))
        collector.write(f"api/{kind.lower()}s.json", json.dumps(items, indent=1, ensure_ascii=False) + "\n")

    return take


def _containers(there: Attached) -> Iterator[tuple[str, str, str]]:
    for pod in there.kube.list("v1", "Pod"):
        meta, spec = pod["metadata"], pod["spec"]
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            yield meta["namespace"], meta["name"], container["name"]


def _pod_log(collector: _Collector, there: Attached, namespace: str, pod: str, container: str) -> Callable[[], None]:
    def take() -> None:
        text = there.kube.logs(namespace, pod, container, lines=5000)
        if text:
            collector.write(f"pods/{namespace}/{pod}/{container}.log", text)

    return take
