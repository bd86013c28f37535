"""What still works for a lab after its harness was killed: kind, and the clients of the engine that kind started.

A client that is ended does not take back what it asked the engine for: the container comes to be all the same, a moment
after the last look at what there is. So only kind itself is ended, and its clients are waited for.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from harness.model.labstate import LabDir
from harness.providers.kind import state

_NETWORK = "KIND_EXPERIMENTAL_DOCKER_NETWORK"


def settings(place: LabDir) -> dict[str, str]:
    """Variables that kind runs with: its clients inherit them, and they name the lab and nothing else."""
    return {_NETWORK: state.network_name(place)}


def living(place: LabDir) -> list[int]:
    """Processes of this machine that work for a lab, by what they were started with (proc(5), /proc/pid/environ)."""
    ((name, value),) = settings(place).items()
    wanted = f"{name}={value}".encode()
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if wanted in _environment(process)]


def _environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return []


def end_kind(place: LabDir) -> None:
    """End kind, which leads its session, so that it asks for nothing more; its clients come to their end."""
    for pid in living(place):
        with suppress(ProcessLookupError):
            if os.getsid(pid) == pid:
                os.kill(pid, signal.SIGKILL)
