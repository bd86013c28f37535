"""Which lab a command is about."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.cli.context import checked_name, settings
from harness.errors import BringUpError, NotYoursError, UsageError
from harness.model import labstate

if TYPE_CHECKING:
    from harness.steps.lifecycle.attach import Attached

F = TypeVar("F", bound=Callable[..., Any])


def lab_option() -> Callable[[F], F]:
    """The option `--lab`, the same everywhere."""
    return click.option("-l", "--lab", metavar="NAME", help="Name of the lab. Optional if there is only one.")


def names() -> list[str]:
    """All labs that have state on this machine, healthy or not.

    Raises:
        NotYoursError: The state directory belongs to somebody else.
    """
    return labstate.names(settings().state)


def lives_in_machine(name: str) -> bool:
    """Whether a lab is in a virtual machine of its own; not so for one that is not there.

    Args:
        name: The lab's name.

    Raises:
        UsageError: That cannot be a lab's name.
        NotYoursError: The lab belongs to somebody else.
    """
    try:
        return (settings().state / "labs" / checked_name(name) / "vm").is_dir()
    except PermissionError as error:
        raise NotYoursError(settings().state, error) from error


def chosen(lab: str | None) -> str:
    """The lab that the user named, or the only one.

    Raises:
        UsageError: The name is none, or there are several labs.
        BringUpError: There is no such lab.
    """
    known = names()
    if lab is not None:
        if checked_name(lab) in known:
            return lab
        msg = f"there is no lab '{lab}'"
        cause = f"labs: {', '.join(known) or 'none'}"
        raise BringUpError(msg, cause=cause, next_step=f"cnilab up --name {lab}", notes=_whose())
    if len(known) == 1:
        return known[0]
    if not known:
        msg = "no lab is up"
        raise BringUpError(msg, next_step="cnilab up", notes=_whose())
    msg = "there are several labs"
    raise UsageError(msg, cause=", ".join(known), next_step="name one with --lab")


def _whose() -> list[str]:
    """Who looks for a lab without root may look in the wrong place: labs are root's, and so is their state."""
    if os.geteuid() == 0:
        return []
    return [f"you are not root; root's labs are in root's own directory, not in {settings().state}"]


def attached(lab: str | None) -> Attached:
    """Attach to the chosen lab."""
    from harness.steps.lifecycle.attach import attach  # noqa: PLC0415 - brings the Kubernetes client

    return attach(chosen(lab), settings().state)
