"""What doctor asks, of what, and what it finds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from harness.components import carry, tools
from harness.components.store import Store
from harness.model.family import Family
from harness.model.spec import LabSpec
from harness.providers.needs import lock_for, needs
from harness.steps.doctor.host import Host

Severity = Literal["blocks", "limits", "info"]
Status = Literal["ok", "blocks", "limits", "info"]


@dataclass(frozen=True)
class Plan:
    """What the machine shall do, for checks of room.

    Args:
        spec: The lab.
        state: The state directory.
        cache: The cache directory.
        host: The machine.
        coming: What is missing and can be installed is still to be, by `up`.
    """

    spec: LabSpec
    state: Path
    cache: Path
    host: Host = field(default_factory=Host)
    coming: bool = field(default_factory=tools.may_install)
    _once: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of components that this lab takes and that are not in the cache: looked for once, for all checks."""
        with self._once:  # checks run at the same time
            return self._missing

    @cached_property
    def _missing(self) -> tuple[str, ...]:
        store = Store(self.cache, lock=lock_for(self.spec))
        wanted = needs(self.spec, store).components
        return tuple(one.name for one in carry.list_components(store) if one.state != "cached" and one.name in wanted)


@dataclass(frozen=True)
class Answer:
    """What a check found.

    Args:
        ok: All is well.
        detail: What was found, in a few words.
        fix: Better advice than the check's own, when the finding allows it.
        severity: Another severity than the check's own, likewise.
    """

    ok: bool
    detail: str = ""
    fix: str = ""
    severity: Severity | None = None


@dataclass(frozen=True)
class Question:
    """One question to the machine.

    Args:
        id: Stable, for `--skip`.
        title: What is asked.
        severity: What a failure means: no lab at all; a lab that lacks something; nothing for the default lab.
        consequence: What follows from a failure.
        fix: How to mend it.
        probe: Answers the question.
        program: A program of the machine that asks the kernel: without it nothing is known of the kernel.
        provider: Of labs that it concerns; empty: of all that ask for it.
        family: IP family that labs have which it concerns; None: all.
    """

    id: str
    title: str
    severity: Severity
    consequence: str
    fix: str
    probe: Callable[[Plan], Answer] = field(repr=False)
    program: str = ""
    provider: str = ""
    family: Family | None = None


@dataclass(frozen=True)
class Finding:
    """A check and its answer.

    Args:
        check: The check.
        status: `ok`, or what the failure means.
        detail: What was found.
        fix: How to mend it; empty when all is well.
    """

    check: Question
    status: Status
    detail: str
    fix: str
