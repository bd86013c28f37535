"""Which cluster a command is about."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from harness.cli.alias import Alias
from harness.cli.context import checked_name, settings
from harness.errors import BringUpError, NotYoursError, UsageError
from harness.model import labstate

if TYPE_CHECKING:
    from harness.model.node import Lab
    from harness.steps.lifecycle.attach import Attached

F = TypeVar("F", bound=Callable[..., Any])


OF_A_CLUSTER: Final = "Name of the cluster. Optional if there is only one."


def cluster_option(*, short: bool = True, words: str = OF_A_CLUSTER) -> Callable[[F], F]:
    """The option `--cluster`, the same everywhere; `--lab` is its former name.

    Args:
        short: It is `-c`, too; not so for a command whose `-c` is something else.
        words: Of the help.
    """

    def decorate(function: F) -> F:
        flags = ("-c", "--cluster") if short else ("--cluster",)
        click.option("-l", "--lab", cls=Alias, of="cluster")(function)
        return click.option(*flags, metavar="NAME", help=words)(function)

    return decorate


def names() -> list[str]:
    """All clusters of cnilab that have state on this machine, healthy or not.

    Raises:
        NotYoursError: The state directory belongs to somebody else.
    """
    return labstate.names(settings().state)


def lives_in_machine(name: str) -> bool:
    """Whether a cluster is in a virtual machine of its own; not so for one that is not there.

    Args:
        name: The cluster's name.

    Raises:
        UsageError: That cannot be a cluster's name.
        NotYoursError: The cluster belongs to somebody else.
    """
    try:
        return (settings().state / "labs" / checked_name(name) / "vm").is_dir()
    except PermissionError as error:
        raise NotYoursError(settings().state, error) from error


def chosen(cluster: str | None) -> str:
    """The cluster that the user named, or the only one.

    Raises:
        UsageError: The name is none, or there are several clusters.
        BringUpError: There is no such cluster.
    """
    known = names()
    if cluster is not None:
        if checked_name(cluster) in known:
            return cluster
        msg = f"there is no cluster '{cluster}'"
        cause = f"clusters: {', '.join(known) or 'none'}"
        raise BringUpError(msg, cause=cause, next_step=f"cnilab up --name {cluster}", notes=_whose())
    if len(known) == 1:
        return known[0]
    if not known:
        msg = "no cluster is up"
        raise BringUpError(msg, next_step="cnilab up; for labs without a cluster, cnilab up bare", notes=_whose())
    msg = "there are several clusters"
    raise UsageError(msg, cause=", ".join(known), next_step="name one with --cluster")


def _whose() -> list[str]:
    """Who looks for a cluster without root may look in the wrong place: they are root's, and so is their state."""
    if os.geteuid() == 0:
        return []
    return [f"you are not root; root's clusters are in root's own directory, not in {settings().state}"]


def machines(cluster: str | None) -> Lab:
    """The machines of the chosen cluster; its API is not asked for."""
    from harness.providers.registry import find  # noqa: PLC0415

    return find(chosen(cluster), settings().state).lab


def attached(cluster: str | None, *, bare: bool = False) -> Attached:
    """Attach to the chosen cluster.

    Args:
        cluster: As the user named it.
        bare: Machines without Kubernetes will do.

    Raises:
        UsageError: There is no cluster on its machines.
    """
    from harness.steps.lifecycle.attach import attach  # noqa: PLC0415 - brings the Kubernetes client

    found = attach(chosen(cluster), settings().state)
    if not bare and not found.variant.kubernetes:
        msg = f"'{found.lab.name}' has no Kubernetes, and no pod network"
        raise UsageError(msg, next_step="'cnilab up flannel' makes a cluster; '--cluster' names another one")
    return found
