"""What can become of a packet, a connection or a question: one word for records, probes and judges."""

from __future__ import annotations

from typing import Literal

Outcome = Literal[
    "ok", "timeout", "refused", "unreachable", "msgsize", "reset", "short", "corrupt", "lost", "error"
]  # fmt: skip
