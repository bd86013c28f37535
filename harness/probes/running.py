"""Agents that run in several places until they are told to end: here, when a block is left.

Each of them says when all of its probes have begun, and the block starts then: what they see is the whole time of what
happens in it, however long an agent takes to start and however long the block lasts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

from harness import timeouts
from harness.errors import CnilabError
from harness.probes.plan import Prober

Line = Mapping[str, Any]
Request = Mapping[str, Any]

LONGEST: Final = 240.0
"""Seconds after which an agent ends by itself: nothing that happens meanwhile takes as long."""

BEGINS: Final = 10.0
"""Seconds that the agents may need to begin, before scaling.

What has not begun by then is waited for no longer: its own record says what became of it."""

SETTLED: Final = 15.0
"""Seconds that an agent may need to count and to end when it is told to, before scaling."""

_BEGUN: Final = "begun"
"""Id of the line that an agent prints when all of its probes have begun."""


@dataclass
class Running:
    """Agents that run.

    Args:
        lines: What each of them said, by the probe's id; there when the block is left. An agent that could not be
            started has one line with id `failure`.
    """

    lines: dict[Prober, dict[str, Line]] = field(default_factory=dict)

    def line(self, site: Prober, probe: str) -> Line:
        """What an agent said of a probe, or why it said nothing."""
        told = self.lines.get(site, {})
        missing: Line = {"outcome": "error", "detail": "the agent ended without a result for this probe"}
        return told.get(probe) or told.get("failure") or missing


@dataclass
class _Agent:
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def said(self) -> str:
        """All that it has printed; its own place in the file stays as it is."""
        number = self.output.fileno()
        return os.pread(number, os.fstat(number).st_size, 0).decode(errors="replace")

    def begun(self) -> bool:
        """All of its probes have begun, or it has ended."""
        return self.process.poll() is not None or _BEGUN in _lines(self.said())


@contextlib.contextmanager
def running(requests: Mapping[Prober, Sequence[Request]]) -> Iterator[Running]:
    """Run agents for as long as the body runs.

    Args:
        requests: What each agent is asked, as it reads it.
    """
    found = Running()
    agents: dict[Prober, _Agent] = {}
    try:
        for site, probes in requests.items():
            try:
                agents[site] = _start(site, probes)
            except (CnilabError, OSError) as error:
                found.lines[site] = {"failure": {"outcome": "error", "detail": str(error)}}
        for _ in timeouts.ticks(BEGINS):
            if all(agent.begun() for agent in agents.values()):
                break
        yield found
    finally:
        _tell(agents)
        for site, agent in agents.items():
            found.lines[site] = _end(agent)


def _start(site: Prober, probes: Sequence[Request]) -> _Agent:
    deadline = round(timeouts.scaled(LONGEST) * 1000)
    plan = {"deadline_ms": deadline, "lasting": True, "probes": list(probes)}
    output = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when the agent has ended
    try:
        process = site.runner.start([site.binary, "run"], stdin=subprocess.PIPE, stdout=output, stderr=output)
    except (CnilabError, OSError):
        output.close()
        raise
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # it has ended already: its output says so
            process.stdin.write(f"{json.dumps(plan)}\n".encode())
            process.stdin.flush()
    return _Agent(process, output)


def _tell(agents: Mapping[Prober, _Agent]) -> None:
    """Tell all agents at the same time that nothing is to last any longer."""
    for agent in agents.values():
        with contextlib.suppress(OSError):
            if agent.process.stdin is not None:
                agent.process.stdin.write(b"end\n")
                agent.process.stdin.close()


def _end(agent: _Agent) -> dict[str, Line]:
    """Wait for an agent that was told, and read its lines by probe; what it complained of, where it has none."""
    try:
        status = agent.process.wait(timeouts.stretched(SETTLED))
    except subprocess.TimeoutExpired:
        # A runner may have put a process between us and the agent: the group is the agent's own.
        os.killpg(agent.process.pid, signal.SIGKILL)
        status = agent.process.wait()
    text = agent.said()
    agent.output.close()
    found = _lines(text)
    if not found:
        last = " ".join(text.strip().splitlines()[-2:])
        found["failure"] = {"outcome": "error", "detail": last or f"the agent ended with status {status}"}
    return found


def _lines(text: str) -> dict[str, Line]:
    found: dict[str, Line] = {}
    for row in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError, TypeError, KeyError):
            line = json.loads(row)
            found[str(line["id"])] = line
    return found
