"""What a user means by the two ends of a flow and its protocol."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from harness.errors import UsageError
from harness.model.family import Family, family_of

Proto = Literal["tcp", "udp", "icmp"]
Object = dict[str, Any]

_WORD: Final = re.compile(r"(?:(tcp|udp|icmp)(?:/(\d{1,5}))?|(\d{1,5}))", re.IGNORECASE)


@dataclass(frozen=True)
class Wire:
    """What goes over the flow.

    Args:
        proto: Transport protocol.
        port: Destination port; 0: none was said.
    """

    proto: Proto
    port: int = 0


def wire(word: str) -> Wire:
    """`tcp/443`, `udp/53`, `icmp`, `443`.

    Args:
        word: As the user wrote it.

    Raises:
        UsageError: It is none of these.
    """
    found = _WORD.fullmatch(word.strip())
    port = int(found[2] or found[3] or 0) if found else 0
    if found is None or port > 65535 or ((found[1] or "").lower() == "icmp" and port):
        msg = f"'{word[:40]}' is no protocol and port"
        raise UsageError(msg, next_step="write tcp/443, udp/53, icmp, or a port of TCP")
    proto = (found[1] or "tcp").lower()
    return Wire("udp" if proto == "udp" else "icmp" if proto == "icmp" else "tcp", port)


@dataclass(frozen=True)
class Question:
    """A flow, as a user asks for it.

    Args:
        source: A pod (`name`, `namespace/name`), a node, or `router`.
        target: Likewise, a Service, or an address.
        wire: Protocol and port; None: the first port of a Service, an echo to anything else.
        size: Bytes of the IP packet; 0: a small one.
        family: Over which; None: that of the target.
    """

    source: str
    target: str
    wire: Wire | None = None
    size: int = 0
    family: Family | None = None


@dataclass(frozen=True)
class Virtual:
    """A Service that is dialled.

    Args:
        item: The object.
        port: One of its ports, as the API has it.
        address: Its ClusterIP of the family.
    """

    item: Object
    port: Object
    address: str

    @property
    def name(self) -> str:
        """`namespace/name`."""
        meta = self.item["metadata"]
        return f"{meta['namespace']}/{meta['name']}"


def service(services: Iterable[Object], word: str, asked: Wire | None, family: Family | None) -> Virtual | None:
    """The Service that a word means; None: it means none.

    Args:
        services: All of them.
        word: `svc/web`, `svc/shop/web`, `shop/web`, `web.shop`, `web`, or a ClusterIP.
        asked: Protocol and port; None: the first port of the Service.
        family: Over which family; None: the first one that the Service has.

    Raises:
        UsageError: Several have this name, or it has no such port, or no address.
    """
    found = [item for item in services if _is(item, word)]
    if not found:
        return None
    if len(found) > 1:
        names = sorted(f"svc/{one['metadata']['namespace']}/{one['metadata']['name']}" for one in found)
        msg = f"Services named '{word}' are in several namespaces"
        raise UsageError(msg, cause=", ".join(names), next_step="give it as svc/NAMESPACE/NAME")
    item = found[0]
    addresses = [one for one in _virtual(item) if family in {None, family_of(one)}]
    addresses = [one for one in addresses if one == word] or addresses
    name = f"Service {item['metadata']['namespace']}/{item['metadata']['name']}"
    if not addresses:
        msg = f"{name} has no virtual address{' of this family' if _virtual(item) else ''}"
        raise UsageError(msg, cause=f"type {item['spec'].get('type')}, clusterIP {item['spec'].get('clusterIP')}")
    return Virtual(item, _port(name, item["spec"].get("ports") or (), asked), addresses[0])


def _virtual(item: Object) -> list[str]:
    listed = item["spec"].get("clusterIPs") or [item["spec"].get("clusterIP")]
    return [one for one in listed if one and one != "None"]


def _is(item: Object, word: str) -> bool:
    name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
    text = word.removeprefix("svc/").removeprefix("service/")
    return text in {name, f"{namespace}/{name}", f"{name}.{namespace}", f"{name}.{namespace}.svc", *_virtual(item)}


def _port(name: str, ports: Sequence[Object], asked: Wire | None) -> Object:
    """The port that is meant."""
    fitting = [
        one
        for one in ports
        if asked is None or (one.get("protocol", "TCP").lower() == asked.proto and asked.port in {0, one["port"]})
    ]
    if not fitting:
        there = ", ".join(f"{one.get('protocol', 'TCP').lower()}/{one['port']}" for one in ports)
        msg = f"{name} has no such port"
        raise UsageError(msg, cause=f"its ports: {there or 'none'}")
    return fitting[0]
