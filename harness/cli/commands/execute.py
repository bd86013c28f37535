"""`cnilab exec`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from harness.cli.command import command as define
from harness.cli.context import shown
from harness.cli.select import attached, cluster_option, machines
from harness.errors import UsageError
from harness.runner import HostRunner, Runner

if TYPE_CHECKING:
    from harness.model.node import Lab
    from harness.steps.lifecycle.attach import Attached

SURROUNDINGS = ("router", "far", "fabric")


@define(
    "exec",
    on_lab=True,
    examples="""
    cnilab exec n1 -- ip -d link show flannel.1
    cnilab exec router -- tcpdump -ni eth0 -c 5 icmp
    cnilab exec pod default/a -c toolbox -- cat /etc/resolv.conf
    """,
)
@click.argument("words", metavar="NODE|router|far|fabric|pod NAME -- COMMAND...", nargs=-1, required=True)
@click.option("-c", "--container", default="", help="Container of the pod.  [default: the first one]")
@cluster_option(short=False)  # -c is the container's, as of kubectl
def command(words: tuple[str, ...], *, container: str, cluster: str | None) -> None:
    """Run a command in a node, in the router, or in a pod, and exit with its code.

    In a node it runs as root in all of the node's namespaces. Without a command, a shell is started.
    """
    place, *rest = words
    pod = ""
    if place == "pod":
        if not rest:
            msg = "name the pod: cnilab exec pod NAME -- COMMAND"
            raise click.UsageError(msg)
        pod, *rest = rest
    elif place.startswith("pod/"):
        pod = place.removeprefix("pod/")
    argv = rest[1:] if rest[:1] == ["--"] else rest
    vector = pod_vector(attached(cluster), pod, container, argv) if pod else node_vector(machines(cluster), place, argv)
    # The command takes the place of this process: terminal, signals and exit code are its own.
    os.execvp(vector[0], vector)  # noqa: S606 - no shell is wanted


def node_vector(lab: Lab, place: str, argv: list[str]) -> list[str]:
    """The words that run a command on a machine of the cluster."""
    known = {node.name: node for node in lab.nodes}
    for name in SURROUNDINGS:
        machine = getattr(lab, name, None)
        if machine is not None:
            known[name] = machine
    if place not in known:
        msg = f"cluster '{lab.name}' has no machine '{shown(place)}'"
        raise UsageError(msg, cause=f"machines: {', '.join(known)}", next_step="for a pod: cnilab exec pod NAME")
    terminal = {"TERM": os.environ.get("TERM", "dumb")}
    return _vector(known[place].runner, argv or ["/bin/bash", "-l"], terminal)


def pod_vector(there: Attached, pod: str, container: str, argv: list[str]) -> list[str]:
    """The words that run a command in a pod, as a user would type them."""
    namespace, _, name = pod.rpartition("/")
    flags = ["-it" if os.isatty(0) and os.isatty(1) else "-i", "-n", namespace or "default"]
    flags += ["-c", container] if container else []
    return _vector(there.kubectl, ["exec", *flags, name, "--", *(argv or ["/bin/sh"])])


def _vector(runner: Runner, argv: list[str], env: dict[str, str] | None = None) -> list[str]:
    if not isinstance(runner, HostRunner):
        msg = "the machines of this provider cannot be entered from a terminal"
        raise UsageError(msg)
    return list(runner.vector(argv, env))
