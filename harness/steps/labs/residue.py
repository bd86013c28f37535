"""What a lab without a cluster has changed on its machines, and not put back: it should be nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from harness.errors import CnilabError
from harness.model.node import Lab, Node

SCRIPT: Final = """
say() { sed "s|^|$1: |"; }
ip -o link | sed 's/^[0-9]*: //; s/[@:].*//' | say link
ip -o addr | sed 's/^[0-9]*: //; s/  */ /g; s/ valid_lft.*//; s/\\\\.*//' | say address
ip -4 route show table all | sed 's/ *$//' | say route
ip -6 route show table all | sed 's/ *$//; s/ expires.*//' | say route
ip neigh show nud permanent | say neighbour
ip rule | say rule
ip -o netns | sed 's/ .*//' | say namespace
iptables-save | say iptables
ip6tables-save | say ip6tables
nft list tables | say nftables
ps -e -o args= | say process
cat /proc/sys/net/ipv4/ip_forward | say ip_forward
ls -d /etc/cni/net.d/* /var/lib/cni/*/* /run/flannel/* /etc/netns/* 2>/dev/null | say file
"""
"""Lines of what there is, each with its kind. Constant: no value comes into it."""

_KERNELS_OWN: Final = re.compile(
    r"""^(ip6?tables:\ ([*#:].*|COMMIT)               # tables stay when their rules are gone
        |nftables:\ table\ ip6?\ (filter|nat|mangle|raw|security)
        |process:\ (\[?(sh|sed|ps)|/bin/sh|.*defunct)\b.*  # of the question itself, and what ends now
        |route:\ (multicast|anycast|local|broadcast)\ .*
        |route:\ .*\ dev\ lo\b.*)$""",
    re.VERBOSE,
)
"""What is there whether somebody made it or not."""

_TENTATIVE: Final = " tentative"
"""An address of which the kernel still finds out whether somebody else has it, too. A second later it does not."""

_CHAIN: Final = re.compile(r"^(ip6?tables): :(\S+) - ")
"""A chain that somebody made; built-in ones have a policy."""


def take(lab: Lab) -> dict[str, frozenset[str]]:
    """What there is on all machines, by their names.

    Raises:
        CnilabError: A machine does not answer.
    """
    machines = [*lab.nodes, *(one for one in (lab.router, lab.far) if one is not None)]
    with ThreadPoolExecutor(len(machines)) as pool:
        found = list(pool.map(_of, machines))
    return {machine.name: lines for machine, lines in zip(machines, found, strict=True)}


def _of(machine: Node) -> frozenset[str]:
    done = machine.runner.run(["sh", "-c", SCRIPT], check=False)
    if not done.stdout:
        msg = f"{machine.name} does not say what it has"
        raise CnilabError(msg, cause=done.stderr.strip())
    return frozenset(significant(done.stdout.splitlines()))


def significant(lines: Iterable[str]) -> list[str]:
    """Lines about what somebody made. Pure."""
    kept = []
    for line in (line.rstrip().removesuffix(_TENTATIVE) for line in lines):
        if chain := _CHAIN.match(line):
            kept.append(f"{chain[1]}: chain {chain[2]}")
        elif not _KERNELS_OWN.match(line):
            kept.append(line)
    return kept


def left(before: Mapping[str, frozenset[str]], after: Mapping[str, frozenset[str]]) -> list[str]:
    """What is new, or gone. Pure.

    Args:
        before: As of `take`.
        after: The same, later.
    """
    found = []
    for machine, lines in after.items():
        found += [f"{machine} has {line}" for line in sorted(lines - before[machine])]
        found += [f"{machine} lacks {line}" for line in sorted(before[machine] - lines)]
    return found
