"""Pods of any image that has a shell: it waits for the responder, which comes through `exec`, and becomes it.

The program goes into an emptyDir volume, which is writable whatever the image and its user are, and gone with the pod.
No shell text is made of anything: what varies is in positional parameters.
"""

from __future__ import annotations

import copy
import gzip
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

Object = dict[str, Any]

FOLDER: Final = "/cnilab"
BINARY: Final = f"{FOLDER}/responder"
"""The responder in such a pod."""

_READY: Final = f"{FOLDER}/ready"

_WAIT: Final = f'until [ -e {_READY} ]; do sleep 0.2 2>/dev/null || sleep 1; done; exec {BINARY} "$@"'
"""Fractions of seconds are no part of POSIX, and most shells' sleep has them."""

TOOLS: Final = ("head", "cat", "gunzip", "gzip", "chmod", "sha256sum")

PROBE: Final = ("sh", "-c", 'for one in "$@"; do command -v "$one" >/dev/null && echo "$one"; done; :', "sh", *TOOLS)
"""Says which of the tools are there."""

_LINE: Final = 200
"""Bytes that one line of octal numbers carries, for shells without any tool."""

_KNOWN: Final = ("busybox", "alpine", "toolbox", "flannel", "debian", "ubuntu", "calico/node", "cilium/cilium", "weave")
"""Parts of names of images that have a shell as a rule, the smaller ones first."""

MOST: Final = 6
"""Images that are tried."""


def is_responder(image: str) -> bool:
    """An image of the responder, by the last part of its name: nothing needs to be sent into it."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0] == "responder"


def streamed(pod: Object, image: str) -> Object:
    """A pod of responders as one whose containers wait for the program.

    Args:
        pod: Its containers' args are the responder's.
        image: Theirs: containers of others stay as they are.
    """
    made = copy.deepcopy(pod)
    spec = made["spec"]
    for container in spec["containers"]:
        if container["image"] == image and "command" not in container:
            container["command"] = ["sh", "-c", _WAIT, "responder"]
            container["volumeMounts"] = [*container.get("volumeMounts", ()), {"name": "cnilab", "mountPath": FOLDER}]
            others = [one for one in spec.get("volumes", ()) if one["name"] != "cnilab"]
            spec["volumes"] = [*others, {"name": "cnilab", "emptyDir": {}}]
    return made


def candidates(nodes: Iterable[frozenset[str]]) -> list[str]:
    """Images that every node has and that may have a shell, best first; a name with a tag, where there is one.

    Args:
        nodes: Names of the images of each.
    """
    listed = list(nodes)
    common = frozenset.intersection(*listed) if listed else frozenset()
    ranked = [
        (rank, "@" in name, name)
        for name in common
        for rank, word in enumerate(_KNOWN)
        if word in name and "cni-plugin" not in name
    ]
    return list(dict.fromkeys(name for _, digest, name in sorted(ranked) if not digest))[:MOST]


def trial(name: str, node: str, namespace: str, image: str) -> Object:
    """A pod that ends well when its image has a shell. It is not pulled: it is there, or is of no use.

    Args:
        name: The pod's.
        node: Where it runs.
        namespace: Where it goes.
        image: On trial.
    """
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", "exit 0"],
        "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": "trial"}},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
        },
    }


def tried(pods: Sequence[Object]) -> Mapping[str, bool] | None:
    """Image to whether it has a shell, once every pod on trial has ended; None before."""
    found: dict[str, bool] = {}
    for pod in pods:
        status = pod.get("status", {})
        waiting = [(one.get("state") or {}).get("waiting") or {} for one in status.get("containerStatuses") or ()]
        stuck = any(one.get("reason", "").startswith(("Err", "Create", "Run", "Start", "Invalid")) for one in waiting)
        if status.get("phase") not in {"Succeeded", "Failed"} and not stuck:
            return None
        found[pod["spec"]["containers"][0]["image"]] = status.get("phase") == "Succeeded"
    return found


@dataclass(frozen=True)
class Parcel:
    """The program, as it is sent into pods of one image.

    Args:
        program: Its bytes.
        tools: Those of `TOOLS` that the image has.
    """

    program: bytes
    tools: frozenset[str]

    @property
    def lacking(self) -> str:
        """What the image lacks without which nothing can be sent; empty when it can."""
        if "chmod" not in self.tools:
            return "chmod"
        return "" if self.tools & {"sha256sum", "cat"} else "sha256sum, and cat instead of it"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the program."""
        return hashlib.sha256(self.program).hexdigest()

    @cached_property
    def data(self) -> bytes:
        """What is sent: packed where the image can unpack, as numbers where it can do nothing but print."""
        if not self.tools & {"head", "cat"}:
            lines = (self.program[start : start + _LINE] for start in range(0, len(self.program), _LINE))
            return b"".join(b"".join(b"\\%03o" % byte for byte in line) + b"\n" for line in lines) + b".\n"
        return gzip.compress(self.program, 6, mtime=0) if self._unpack else self.program

    @property
    def _unpack(self) -> str:
        # Not both: `gunzip` may be a script that wants another shell.
        return "gzip -dc" if "gzip" in self.tools else "gunzip -c" if "gunzip" in self.tools else ""

    @property
    def receive(self) -> tuple[str, ...]:
        """The command that takes `data` from its standard input, and makes a program of it."""
        if not self.tools & {"head", "cat"}:
            take = 'while read -r line; do [ "$line" = . ] && break; printf "$line"; done'
        else:
            # With an old API server a standard input does not end.
            take = 'head -c "$1"' if "head" in self.tools else "cat"
            take += f" | {self._unpack}" if self._unpack else ""
        return ("sh", "-c", f"{take} >{BINARY} && chmod 755 {BINARY}", "sh", str(len(self.data)))

    @property
    def check(self) -> tuple[str, ...]:
        """The command that shows what arrived: its digest, or all of it."""
        # Through the shell: with busybox, tools may be nothing but a part of it.
        tool = "sha256sum" if "sha256sum" in self.tools else "cat"
        return ("sh", "-c", f'{tool} "$1"', "sh", BINARY)

    def arrived(self, shown: bytes) -> bool:
        """Whether `check` showed the program."""
        if "sha256sum" in self.tools:
            return shown.split()[:1] == [self.digest.encode()]
        return hashlib.sha256(shown).hexdigest() == self.digest


BEGIN: Final = ("sh", "-c", f": >{_READY}")
"""The command that lets the waiting shells become the program."""
