"""The banner, and why a cluster failed."""

from __future__ import annotations

from dataclasses import dataclass

from reports.model.common import Tone


@dataclass(frozen=True)
class Count:
    """A number of the banner: 57, `requirements hold`."""

    value: str
    label: str
    tone: Tone = "muted"


@dataclass(frozen=True)
class LogTail:
    """The end of a log file of the run directory."""

    path: str
    text: str


@dataclass(frozen=True)
class Trouble:
    """Why the cluster itself failed: which step, which command, what it said, what to do now."""

    what: str
    step: str = ""
    cause: str = ""
    where: str = ""
    next_step: str = ""
    log: str = ""
    tails: tuple[LogTail, ...] = ()


@dataclass(frozen=True)
class Headline:
    """The banner.

    Args:
        tone: Its colour.
        subject: `flannel 0.28.10 on Kubernetes 1.34.4 (namespaces)`.
        sentence: `57 of 57 requirements hold`.
        detail: A second sentence, when there is something to add.
        counts: Numbers under the sentence.
        run_id: Of the run directory.
        started: RFC 3339, UTC.
        seconds: From start to finish, as far as known.
        reproduce: The command line that does it again.
    """

    tone: Tone
    subject: str
    sentence: str
    detail: str
    counts: tuple[Count, ...]
    run_id: str
    started: str
    seconds: float | None
    reproduce: str
