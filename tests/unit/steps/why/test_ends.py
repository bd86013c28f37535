"""What users write of a flow's ends, and what is made of it."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UsageError
from harness.steps.why.ends import Wire, service, wire


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("tcp/443", Wire("tcp", 443)),
        ("UDP/53", Wire("udp", 53)),
        ("icmp", Wire("icmp")),
        ("tcp", Wire("tcp")),
        ("8080", Wire("tcp", 8080)),
    ],
)
def test_protocol_and_port_as_people_write_them(word: str, expected: Wire) -> None:
    assert wire(word) == expected


@pytest.mark.parametrize("word", ["", "sctp/1", "tcp/", "tcp/65536", "icmp/8", "-1", "tcp/80/x", "tcp 80"])
def test_what_is_no_protocol_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="is no protocol and port"):
        wire(word)


def item(name: str, namespace: str, *addresses: str, ports: tuple[tuple[str, int], ...] = (("TCP", 80),)) -> Any:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": addresses[0] if addresses else "None",
            "clusterIPs": list(addresses) or ["None"],
            "ports": [{"protocol": proto, "port": port} for proto, port in ports],
        },
    }


SERVICES = [
    item("web", "shop", "10.96.0.7", "fd00::7", ports=(("TCP", 80), ("TCP", 443), ("UDP", 443))),
    item("db", "shop", "10.96.0.8"),
    item("db", "bank", "10.96.0.9"),
    item("headless", "shop"),
]


@pytest.mark.parametrize(
    "word", ["web", "shop/web", "web.shop", "web.shop.svc", "svc/web", "svc/shop/web", "10.96.0.7"]
)
def test_a_service_by_its_names_and_its_address(word: str) -> None:
    found = service(SERVICES, word, None, None)
    assert found is not None
    assert (found.name, found.address, found.port["port"]) == ("shop/web", "10.96.0.7", 80)


def test_its_address_tells_the_family() -> None:
    found = service(SERVICES, "fd00::7", None, None)
    assert found is not None
    assert found.address == "fd00::7"
    six = service(SERVICES, "web", None, "ipv6")
    assert six is not None
    assert six.address == "fd00::7"


def test_a_port_of_it_by_protocol_and_number() -> None:
    found = service(SERVICES, "web", Wire("udp", 443), None)
    assert found is not None
    assert found.port == {"protocol": "UDP", "port": 443}


def test_nothing_has_this_name() -> None:
    assert service(SERVICES, "box1", None, None) is None


@pytest.mark.parametrize(
    ("word", "asked", "family", "text"),
    [
        ("db", None, None, "Services named 'db' are in several namespaces"),
        ("web", Wire("tcp", 81), None, "Service shop/web has no such port"),
        ("headless", None, None, "Service shop/headless has no virtual address"),
        ("svc/bank/db", None, "ipv6", "Service bank/db has no virtual address of this family"),
    ],
)
def test_what_cannot_be_meant_is_refused(word: str, asked: Wire | None, family: Any, text: str) -> None:
    with pytest.raises(UsageError) as refused:
        service(SERVICES, word, asked, family)
    assert refused.value.what == text
    assert refused.value.cause or refused.value.next_step
