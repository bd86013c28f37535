"""Deadlines, in seconds, by name: every wait in the project uses one of these and says what it waited for.

Generous against a busy two-core machine: a deadline that fires means broken, not slow. `paced` stretches all of them
for software emulation and slow CI (`--timeout-scale 4`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from harness.errors import BringUpError, CnilabError, NotYetError

T = TypeVar("T")

CONNECT = 5.0  # and the TLS handshake
COMMAND = 30.0
NODE_BOOT = 20.0
ETCD_READY = 20.0
API_READY = 60.0
ROLES_MADE = 10.0
"""A refusal of rights may last as long: an API server that starts knows its users before it knows their rights."""
NODE_REGISTERED = 60.0
NODE_READY = 90.0
ROLLOUT = 120.0
POD_RUNNING = 60.0
DNS_ANSWERS = 60.0
TAP_LISTENING = 10.0
PROCESS_EXIT = 10.0
HELM = 120.0
PLAYBOOK = 600.0
MACHINES_UP = 1800.0  # virtual ones, from a box that may have to be downloaded
MACHINES_DOWN = 300.0
CLUSTER_PLAYBOOK = 1800.0  # kubeadm, with all that it may download
JUDGING = 600.0  # it needs nothing but this machine's processors, which may be busy
DOWNLOAD = 900.0
BUILD = 3600.0


VARIABLE = "CNILAB_TIMEOUT_SCALE"
"""Has the factor, for a program of ours that another one starts."""


class _Factors:
    """Those that are in force, the present one last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered: tuple[list[float], ...] = ([1.0],)

    @property
    def present(self) -> float:
        return self._entered[-1][0]

    def enter(self, factor: float) -> list[float]:
        entry = [factor]
        with self._lock:
            self._entered = (*self._entered, entry)
        return entry

    def leave(self, entry: list[float]) -> None:
        with self._lock:
            self._entered = tuple(one for one in self._entered if one is not entry)


_factors = _Factors()


@contextmanager
def paced(factor: float) -> Iterator[None]:
    """Multiply all deadlines of this process until the block ends.

    An entry point does this once, as soon as it knows the factor: the command line, a relay. The factor is the
    process's and not an argument, because it says how fast the machine is on which all waits of the process happen,
    whoever waits; as an argument it would be in every signature from there to the last `wait_until`. It is not a
    context variable, because the threads of a pool wait too, and do not inherit these. It is safe with threads: the
    block that was entered last counts, and each ends without the others.

    Args:
        factor: Above zero, and finite.

    Raises:
        ValueError: It is another number.
    """
    if not (factor > 0 and math.isfinite(factor)):
        msg = f"a factor for deadlines is a finite number above zero, not {factor}"
        raise ValueError(msg)
    entry = _factors.enter(factor)
    try:
        yield
    finally:
        _factors.leave(entry)


def factor() -> float:
    """What all deadlines of this process are multiplied with now; 1 where nobody said another one."""
    return _factors.present


def variables() -> dict[str, str]:
    """Variables for a program of ours that is started: it shall be as patient as this one."""
    return {VARIABLE: f"{factor():g}"}


def heard(environ: Mapping[str, str]) -> float:
    """The factor that a program was started with.

    Args:
        environ: Its environment.

    Raises:
        ValueError: It is no number.
    """
    return float(environ.get(VARIABLE) or 1)


def scaled(seconds: float) -> float:
    """A deadline of a wait, which looks again and again, times the factor of `paced`."""
    return seconds * factor()


def stretched(seconds: float) -> float:
    """A deadline of one answer (a program, a request) and of what cleans up: a factor below one hurries waits alone."""
    return max(seconds, scaled(seconds))


def ticks(
    deadline: float, interval: float = 0.02, longest: float = 0.25, *, scale: Callable[[float], float] = scaled
) -> Iterator[float]:
    """Yield elapsed seconds at growing intervals until the deadline passes.

    Args:
        deadline: Seconds in all, before scaling.
        interval: Seconds between the first two ticks; grows by half each time.
        longest: Upper bound of the interval, in seconds; scaled, that of the pause after a look that took long.
        scale: Scales both.
    """
    start = time.monotonic()
    end = start + scale(deadline)
    while (now := time.monotonic()) < end:
        yield now - start
        # On a machine that is said to be slow a look that takes long is better paid back with a pause. Elsewhere it was
        # one that waited for a server to start, and the next answer may be there at once.
        pause = max(interval, min(time.monotonic() - now, scale(longest)))
        time.sleep(max(0.0, min(pause, end - time.monotonic())))
        interval = min(interval * 1.5, longest)


def wait_until(what: str, probe: Callable[[], T | None], deadline: float, *, interval: float = 0.02) -> T:
    """Poll until the probe returns something other than None or False.

    Args:
        what: What is waited for, for the error: "node n2 to be Ready".
        probe: Returns a truthy value when it is there. Raises `NotYetError` to say why not, as the last of which is
            the cause if the deadline passes. Any other `CnilabError` ends the wait when its patience does.
        deadline: Seconds, before scaling. Of a wait for many (`NotYetError.left`): for the next of them.
        interval: Seconds between the first two polls.

    Raises:
        BringUpError: When the deadline passes; names what was waited for, for how long, and what was seen last.
        CnilabError: The probe's own, when waiting for longer cannot help.
    """
    last: CnilabError | None = None
    since: float | None = None  # when the present row of errors began that have an end to their patience
    fewest = math.inf
    looks = ticks(deadline, interval, longest := max(interval, 0.25))
    while (elapsed := next(looks, None)) is not None:
        try:
            value = probe()
        except CnilabError as error:
            last = error
            if isinstance(error, NotYetError) and error.left < fewest:
                fewest = error.left
                time.sleep(interval)
                looks = ticks(deadline, interval, longest)
            since = None if error.patience == math.inf else elapsed if since is None else since
            if since is not None and elapsed - since >= scaled(error.patience):
                raise
            continue
        last = since = None
        if value is not None and value is not False:
            return value
    raise _too_late(what, deadline, last) from last


def _too_late(what: str, deadline: float, last: CnilabError | None) -> BringUpError:
    """The error of a deadline that passed."""
    error = BringUpError(
        f"waited {scaled(deadline):.0f} s for {what}",
        next_step="if this machine is slow, extend all deadlines with CNILAB_TIMEOUT_SCALE=4",
    )
    if last is not None:
        error.cause = "\n".join(filter(None, [f"last seen: {last.what}", last.cause]))
        error.where, error.log = last.where, last.log
    return error
