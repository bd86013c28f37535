"""The probe on nodes: a privileged pod in the node's network and PID namespace, and the node as others see it then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.model.family import Address
from harness.runner import CommandError, Runner

Object = dict[str, Any]

NAME: Final = "cnilab-node"
CONTAINER: Final = "main"

# The agent expects the node's files where a node has them, and itself where our own nodes have it. /proc/1/root is the
# node's root file system (proc(5)); it needs no volume, and nothing can be written by mistake.
_LINKS: Final = {
    "/opt/cnilab/bin/responder": "/responder",
    "/etc/cni": "/proc/1/root/etc/cni",
    "/var/lib/cni": "/proc/1/root/var/lib/cni",
    "/run/flannel": "/proc/1/root/run/flannel",
    "/run/containerd": "/proc/1/root/run/containerd",
}

KIT: Final = "/kit"
"""Where programs that are sent go, in a volume of the pod: the image's own file system may be read-only."""

_THEIRS: Final = ("iptables-save", "ip6tables-save", "iptables-legacy-save", "ip6tables-legacy-save")
"""Programs of the node, not of the image: there are two kinds of iptables, and the node's own is the right one."""

_NODE: Final = "nsenter -t 1 -m --"

_EITHER: Final = ("bpftool",)
"""Programs of the node where it has them and they run, else of the image: few nodes have them."""

_EXACTLY: Final = ("/bin/sh", "-c", 'exec "$@"', "sh")
"""Busybox runs its own applet instead of the program of that name; a shell that is none of its own does not."""


def prepare() -> tuple[str, ...]:
    """The command that makes the image's file system look like the node's, for what is read of it."""
    script = "".join(
        f"mkdir -p {Path(link).parent} && ln -sfn {target} {link} && " for link, target in sorted(_LINKS.items())
    )
    # Debian's tcpdump becomes a user of its own, whom an image of a few programs does not know.
    script += "{ grep -q ^tcpdump: /etc/passwd || echo tcpdump:x:0:0::/:/bin/false >>/etc/passwd; } && "
    script += "mkdir -p /usr/local/sbin && "
    script += "".join(
        f"printf '#!/bin/sh\\n{line}\\n' >/usr/local/sbin/{name} && chmod 755 /usr/local/sbin/{name} && "
        for name, line in _wrapped()
    )
    return ("sh", "-c", script + "true")


def _wrapped() -> Iterator[tuple[str, str]]:
    """Programs, and the line of shell that each is for a probe."""
    for name in _THEIRS:
        yield name, f'exec {_NODE} {name} "$@"'
    for name in _EITHER:
        there = f"{_NODE} {name} version >/dev/null 2>&1"
        yield name, f'{there} && exec {_NODE} {name} "$@"; exec /bin/{name} "$@"'


def daemon_set(namespace: str, spec: Object, nodes: Iterable[str]) -> Object:
    """The DaemonSet, on the nodes of the sample alone.

    Args:
        namespace: Where it goes.
        spec: Of its pods.
        nodes: Names.
    """
    labels = {"app": NAME}
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]} for name in nodes]
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    **spec,
                    "affinity": {
                        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
                    },
                },
            },
        },
    }


def pod_spec(image: str) -> Object:
    """What a probe may do, and needs: the node's network and processes, and all capabilities there.

    Args:
        image: With the agent, a shell, iproute2, nft and tcpdump.
    """
    return _pod_spec({"image": image, "command": ["sleep", "1000000000"]})


def kit_spec(image: str) -> Object:
    """The same, for an image of the responder alone: it keeps the container running, and the programs are sent."""
    spec = _pod_spec({"image": image, "args": ["wait"], "volumeMounts": [{"name": "kit", "mountPath": KIT}]})
    return {**spec, "volumes": [{"name": "kit", "emptyDir": {}}]}


def into_kit(binary: str) -> tuple[str, ...]:
    """Words before a command that lead to the programs that were sent.

    Args:
        binary: Where the responder is in the container.
    """
    return (binary, "in", KIT)


def unpacking(binary: str, size: int) -> tuple[str, ...]:
    """The command that takes the programs from its standard input, and prints the digest of what it got.

    Args:
        binary: Where the responder is in the container.
        size: Bytes that come.
    """
    return (binary, "unpack", KIT, str(size))


def _pod_spec(container: Object) -> Object:
    return {
        "hostNetwork": True,
        "hostPID": True,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {
                "name": CONTAINER,
                **container,
                "imagePullPolicy": "IfNotPresent",
                "securityContext": {"privileged": True},
                "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}},
            }
        ],
    }


@dataclass(frozen=True)
class ExistingNode:
    """A node through its probe. See `model.node.Node`.

    Args:
        name: Its Kubernetes name.
        address: Its InternalIP.
        enter: Runs programs of the probe's image with given words before them.
    """

    name: str
    address: Address
    enter: Callable[..., Runner]

    @property
    def runner(self) -> Runner:
        """The image's programs, in the node's network and PID namespace."""
        return self.enter()

    def into_netns(self, netns: str) -> Runner:
        """See `model.node.Node.into_netns`."""
        return self.enter("nsenter", f"-n{netns}", "--", *_EXACTLY)

    def into_container(self, pid: int) -> Runner:
        """See `model.node.Node.into_container`."""
        return self.enter("nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", "--")

    def file(self, path: str) -> str:
        """See `model.node.Node.file`."""
        done = self.runner.run(["cat", f"/proc/1/root{path}"], check=False)
        if not done.ok:
            msg = f"cannot read {path} on {self.name}"
            raise CommandError(msg, cause=done.tail(), where=self.name)
        return done.stdout


@dataclass(frozen=True)
class ExistingLab:
    """A cluster as a lab. See `model.node.Lab`.

    Args:
        name: Short, for the report.
        nodes: Those that have a probe; none without the node vantage.
        kubeconfig: The user's file.
    """

    name: str
    nodes: tuple[ExistingNode, ...]
    kubeconfig: Path

    @property
    def router(self) -> None:
        """Nothing plays the outside world."""
        return

    @property
    def far(self) -> None:
        """Nothing is behind a link with a small MTU."""
        return
