"""Ports of nodes: which are taken, as far as objects say, and which ones the suite takes instead."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any, Final

Object = dict[str, Any]

RANGE: Final = range(20000, 30000)
"""Below the usual range of NodePorts, and of the ports that kernels give to connections (ip_local_port_range)."""

_OVER: Final = ("Succeeded", "Failed")


def of_pod(pod: Object) -> frozenset[int]:
    """Ports of its node that a pod takes or declares; none when it has ended."""
    if pod.get("status", {}).get("phase") in _OVER:
        return frozenset()
    spec = pod["spec"]
    found: set[int] = set()
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        for port in container.get("ports") or ():
            found.add(port.get("hostPort") or (port.get("containerPort") if spec.get("hostNetwork") else 0) or 0)
    return frozenset(found - {0})


def of_one_address(pod: Object) -> frozenset[int]:
    """Ports that a pod has for one address of its node alone (hostIP)."""
    declared = (port for container in pod["spec"].get("containers") or () for port in container.get("ports") or ())
    return frozenset(port["hostPort"] for port in declared if port.get("hostPort") and port.get("hostIP"))


def taken(pods: Iterable[Object], services: Iterable[Object]) -> frozenset[int]:
    """All ports that some node has given away.

    Args:
        pods: Of all namespaces, as far as they may be listed.
        services: The same; a NodePort is taken on every node.
    """
    found = {port for pod in pods for port in of_pod(pod)}
    for item in services:
        spec = item["spec"]
        found |= {port.get("nodePort") or 0 for port in spec.get("ports") or ()}
        found.add(spec.get("healthCheckNodePort") or 0)
    return frozenset(found - {0})


LISTENING: Final = ("ss", "-Hlntu")
"""The command that says where programs of a machine listen, whether an object tells of them or not."""


def listening(text: str) -> frozenset[int]:
    """Ports of a machine on which somebody listens.

    Args:
        text: What the command printed: protocol, state, two queues, local address and port, and the peer's.
    """
    ends = (fields[4].rpartition(":")[2] for line in text.splitlines() if len(fields := line.split()) > 4)
    return frozenset(int(port) for port in ends if port.isdigit())


def free(used: Iterable[int], seed: str) -> Iterator[int]:
    """Ports that nobody is known to have, in an order that two runs do not share.

    Args:
        used: What is taken.
        seed: Of the order.
    """
    gone = frozenset(used)
    numbers = list(RANGE)
    random.Random(seed).shuffle(numbers)  # noqa: S311 - an order that can be made again, not a secret
    yield from (number for number in numbers if number not in gone)
