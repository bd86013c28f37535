"""The responder's way into pods of any image with a shell: which image, and the program through `exec`."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

from harness import timeouts
from harness.cluster.execute import PodRunner
from harness.cluster.kube import ApiError, Object
from harness.cluster.stream import Place
from harness.errors import BringUpError
from harness.model.journal import Journal
from harness.providers.existing import probe, shells
from harness.providers.existing.survey import NodeInfo
from harness.runner import CommandError
from harness.steps.existing.preflight import RESPONDER
from harness.steps.existing.stay import Stay

Program = Callable[[Literal["responder", "kit"]], Path]
"""Gives what is sent, for this machine's architecture, when it is needed: the responder, or packed programs."""

SEND: Final = 60.0
"""Seconds until the program is in a pod, before scaling: a megabyte and a half through the API server and kubelet."""

EQUIP: Final = 180.0
"""The same for a probe's programs, which are seven times as much."""

_AT_ONCE: Final = 6


class Sender:
    """Sends the responder into pods, each once.

    Args:
        here: The run's stay in the cluster.
        enter: The way into pods.
        program: What is sent.
        journal: Gets a step.
    """

    def __init__(self, here: Stay, enter: PodRunner, program: Program, journal: Journal) -> None:
        self.here = here
        self.enter = enter
        self.program = program
        self.journal = journal
        self._filled: set[str] = set()
        self._tools: frozenset[str] | None = None

    def choose(self) -> None:
        """Find an image that is on the nodes already, where the user named none: the responder's, or one with a shell.

        Without either, nodes try to get the responder's, and say that they cannot.
        """
        here = self.here
        if here.found.wish.image:
            return
        nodes = here.found.chosen
        if not nodes or all(RESPONDER in one.images for one in nodes):
            return
        found = shells.candidates(one.images for one in nodes)
        with self.journal.step("existing.image", "find an image with a shell on the nodes") as detail:
            detail["tried"] = found
            verdicts = self._tried(found, nodes[0]) if found else {}
            image = next((one for one in found if verdicts.get(one)), "")
            detail["image"] = image or f"none: {RESPONDER}"
        if image:
            here.image, here.streams = image, True

    def _tried(self, images: Sequence[str], node: NodeInfo) -> Mapping[str, bool]:
        here = self.here
        pods = [
            here.mark.put(shells.trial(f"trial-{number}", node.name, here.namespace, image), here.namespace)
            for number, image in enumerate(images, start=1)
        ]
        try:
            here.create(pods)
            return here.kube.wait(
                f"{len(pods)} images to report whether they have a shell",
                "v1",
                "Pod",
                shells.tried,
                namespace=here.namespace,
                labels=f"{here.mark.selector},app=trial",
                deadline=timeouts.POD_RUNNING,
            )
        except (ApiError, BringUpError):
            return {}  # then the responder's own image is asked for, and its absence said
        finally:
            here.kube.delete(pods, wait=False)

    def fill(self, items: Iterable[Object]) -> None:
        """Send the program into pods that wait for it.

        Args:
            items: Pods that run; those that have it are left alone.

        Raises:
            BringUpError: It did not arrive; names the pod.
        """
        waiting = [item for item in items if item["metadata"]["uid"] not in self._filled]
        if not self.here.streams or not waiting:
            return
        with self.journal.step("existing.send", f"send the responder into {len(waiting)} pods") as detail:
            places = _places(waiting)
            parcel = self._parcel(places[0])
            detail |= {"bytes": len(parcel.data), "digest": f"sha256:{parcel.digest}"}
            _at_each(places, functools.partial(self._send, parcel))
        self._filled |= {item["metadata"]["uid"] for item in waiting}

    def equip(self, items: Iterable[Object]) -> None:
        """Send probes on nodes their programs, where their image does not have them.

        Args:
            items: Probes that run.

        Raises:
            CnilabError: The programs are not available, or did not arrive.
        """
        probes = list(items)
        if not self.here.kit or not probes:
            return
        self.fill(probes)
        with self.journal.step("existing.equip", f"send programs to probes on {len(probes)} nodes") as detail:
            kit = self.program("kit").read_bytes()
            digest = hashlib.sha256(kit).hexdigest()
            detail |= {"bytes": len(kit), "digest": f"sha256:{digest}"}
            _at_each(_places(probes), functools.partial(self._unpack, kit, digest))

    def _unpack(self, kit: bytes, digest: str, place: Place) -> None:
        words = probe.unpacking(self.here.binary, len(kit))
        try:
            shown = self.enter.into(place).send(words, kit, timeout=EQUIP).decode(errors="replace").strip()
        except CommandError as error:
            msg = f"the programs of a probe could not be sent into pod {place}"
            step = "set an image that has them with --node-image"
            raise BringUpError(msg, cause=str(error), next_step=step) from error
        if shown != digest:
            msg = f"the data that arrived in pod {place} differs from the data that was sent"
            raise BringUpError(msg, cause=f"{shown[:100]!r} instead of {digest}", where=probe.KIT)

    def _parcel(self, place: Place) -> shells.Parcel:
        if self._tools is None:
            said = self.enter.into(place).send(shells.PROBE).decode(errors="replace")
            self._tools = frozenset(said.split())
        parcel = _packed(self.program("responder"), self._tools)
        if parcel.lacking:
            msg = f"nothing can be sent into pods of the image {self.here.image}"
            raise BringUpError(msg, cause=f"it has no {parcel.lacking}", next_step="--image busybox:stable")
        return parcel

    def _send(self, parcel: shells.Parcel, place: Place) -> None:
        into = self.enter.into(place)
        try:
            into.send(parcel.receive, parcel.data, timeout=SEND)
            shown = into.send(parcel.check, timeout=SEND)
        except CommandError as error:
            msg = f"the responder could not be sent into pod {place}"
            raise BringUpError(msg, cause=str(error), next_step=f"use another image than {self.here.image}") from error
        if not parcel.arrived(shown):
            msg = f"the data that arrived in pod {place} differs from the responder that was sent"
            raise BringUpError(msg, cause=f"{shown[:100]!r} instead of {parcel.digest}", where=shells.BINARY)
        into.send(shells.BEGIN)


def _places(items: Iterable[Object]) -> list[Place]:
    return [Place(item["metadata"]["namespace"], item["metadata"]["name"]) for item in items]


def _at_each(places: Iterable[Place], send: Callable[[Place], None]) -> None:
    """Send to several pods at a time; one that fails is raised."""
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="send") as pool:
        list(pool.map(send, places))


@functools.cache
def _packed(program: Path, tools: frozenset[str]) -> shells.Parcel:
    return shells.Parcel(program.read_bytes(), tools)
