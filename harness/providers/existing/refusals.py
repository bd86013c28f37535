"""Why a pod of the suite will never run, from its status: a port that somebody has, an image, or anything else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from harness.errors import BringUpError

Object = dict[str, Any]

_NEVER: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError"}
)
"""Reasons of a waiting container that waiting does not mend."""

_PORT: Final = re.compile(r"NodePorts|free ports|could be bound|address already in use")
"""What kubelet's admission, the scheduler and the responder say when somebody else has a port."""

_NO_SHELL: Final = re.compile(r'"sh":|executable file not found|no such file or directory')

RESTARTS: Final = 2
"""A container that ended so often goes on ending."""

_IMAGE: Final = "set another one with --image: one that nodes can pull and that has a shell, or the responder image"


@dataclass(frozen=True)
class Trouble:
    """A pod that will not run as it is.

    Args:
        pod: Its name.
        node: Where it should have run.
        kind: port: another port may do; image: another image may; lost: nothing will.
        what: One sentence.
        why: What was said of it.
        next_step: What a user can do.
    """

    pod: str
    node: str
    kind: Literal["port", "image", "lost"]
    what: str
    why: str
    next_step: str = ""

    @property
    def error(self) -> BringUpError:
        """The trouble as the end of a run."""
        return BringUpError(self.what, cause=self.why, where=f"pod {self.pod}", next_step=self.next_step)

    @property
    def reason(self) -> str:
        """On one line."""
        return f"{self.what}: {self.why}".replace("\n", " ")


def trouble(item: Object) -> Trouble | None:
    """What is wrong with a pod for good; None when it runs, or may yet run.

    Args:
        item: The pod.
    """
    name, node, status = item["metadata"]["name"], item["spec"].get("nodeName", ""), item.get("status", {})
    if status.get("phase") == "Failed":
        said = f"{status.get('reason') or ''}: {status.get('message') or ''}".strip(": ")
        kind: Literal["port", "lost"] = "port" if _PORT.search(said) else "lost"
        return Trouble(name, node, kind, f"pod {name} was refused by node {node}", said or "no reason given")
    for one in status.get("containerStatuses") or ():
        found = next(_of_container(one, name, node), None)
        if found:
            return found
    return None


def _of_container(one: Object, name: str, node: str) -> Iterator[Trouble]:
    state = one.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (one.get("lastState") or {}).get("terminated") or {}
    said = f"{waiting.get('reason') or ''}: {waiting.get('message') or ''}".strip(": ")
    if waiting.get("reason") in _NEVER:
        yield Trouble(name, node, "image", f"image {one['image']} is not available on node {node}", said, _IMAGE)
    last = f"{ended.get('reason') or ''}: {ended.get('message') or ''}".strip(": ")
    if not one.get("ready") and ended.get("exitCode"):
        if _PORT.search(last):
            yield Trouble(name, node, "port", f"a port of pod {name} is in use on node {node}", last)
        elif ended.get("reason") in {"StartError", "ContainerCannotRun"} and _NO_SHELL.search(last):
            yield Trouble(
                name,
                node,
                "image",
                f"image {one['image']} does not contain the program that the suite starts",
                last,
                _IMAGE,
            )
        elif int(one.get("restartCount") or 0) >= RESTARTS:
            yield Trouble(name, node, "lost", f"pod {name} does not keep running on node {node}", last)
