"""What the outside world saw: the router's log of every datagram, connection, query and echo request."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import Field

from harness.errors import NotYetError
from harness.model.base import Record
from harness.model.node import Node
from harness.model.world import LOG
from harness.timeouts import wait_until


class Sighting(Record):
    """Something that reached the outside."""

    t: str = Field(description="RFC 3339, UTC, microseconds")
    proto: str = Field(description="tcp, udp, icmp, icmp6, http, dns")
    src: str
    sport: int = 0
    dst: str
    dport: int = 0
    nonce: str = Field(default="", description="Of a probe, in hexadecimal")
    qname: str = ""
    qtype: str = ""
    path: str = ""
    ttl: int | None = None
    icmp_id: int | None = None
    icmp_seq: int | None = None
    interface: str = ""


@dataclass(frozen=True)
class Recorder:
    """Reads the log of the router, or of the far host.

    Args:
        node: Where the log is.
        path: Of the log there.
    """

    node: Node
    path: str = LOG

    def mark(self) -> int:
        """Bytes logged so far: the place to read on from."""
        done = self.node.runner.run(["stat", "-c", "%s", self.path])
        return int(done.stdout)

    def since(self, mark: int = 0) -> list[Sighting]:
        """Everything logged after a mark; a line still being written is left for next time."""
        done = self.node.runner.run(["tail", "-c", f"+{mark + 1}", self.path])
        return [
            Sighting.model_validate(json.loads(line))
            for line in done.stdout.splitlines(keepends=True)
            if line.endswith("\n")
        ]

    def wait(self, mark: int, nonces: set[str], deadline: float = 2.0) -> list[Sighting]:
        """As `since`, once all nonces are there.

        Args:
            mark: From `mark`.
            nonces: Of the probes that must have arrived.
            deadline: Seconds.

        Raises:
            BringUpError: Not all arrived in time.
        """

        def complete() -> list[Sighting]:
            seen = self.since(mark)
            missing = nonces - {one.nonce for one in seen}
            if missing:
                msg = f"{len(missing)} have not arrived: {', '.join(sorted(missing)[:5])}"
                raise NotYetError(msg, where=self.path)
            return seen

        return wait_until(f"{len(nonces)} probes in the log of {self.node.name}", complete, deadline)
