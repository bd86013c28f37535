"""Twins: every IPv4 address of the simulated lab has one IPv6 address, so that what is said in one family can be said
in the other, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, TypeVar

from conformance.questions import dashed, reverse
from harness.model.disturbed import Repair
from harness.model.family import endpoint, over, transport_of
from harness.model.records import Exchange, Lookup, Observation, Packet, Query, Rung, Tap
from harness.probes.plan import BindProbe, BurstProbe, ChurnProbe, ExchangeProbe, LookupProbe, Probe, RungProbe, Target

_NETWORKS: Final = (
    ("10.244.", "fd00:10:244:", 10),
    ("10.10.", "2001:db8:10:", 10),
    ("172.31.", "2001:db8:31:", 10),
    ("172.18.0.", "fd00:172:18:", 10),
    ("198.51.100.", "2001:db8:100:", 10),
    ("192.0.2.", "2001:db8:2:", 10),
    ("10.96.", "fd00:10:96:", 16),
    ("203.0.113.", "2001:db8:c0de:", 16),
)
"""Beginnings of addresses. What follows keeps its digits (10.244.1.77: fd00:10:244:1::77), or is one number in hex."""

_ALONE: Final = {"127.0.0.1": "::1", "8.8.8.8": "2001:4860:4860::8888", "224.0.0.0": "ff00::"}
_LENGTHS: Final = {32: 128, 24: 64, 16: 56, 4: 8}
"""Prefix lengths: of a host, a node's share, the cluster's range, and multicast."""

_WORDS: Final = (
    ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"),
    ("net.ipv4.conf.", "net.ipv6.conf."),
    ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"),
    ("/ip_tables_names", "/ip6_tables_names"),
    ("flannel.1", "flannel-v6.1"),
    ("flannel/1", "flannel-v6/1"),
    ("/A/", "/AAAA/"),
    ("public-ip", "public-ipv6"),
    ("backend-data", "backend-v6-data"),
    ("FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"),
    ("FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"),
)
"""What has another name beside its addresses."""

_ECHO: Final = {8: 128, 0: 129}
"""Types of an echo request and its answer (RFC 792, RFC 4443)."""

_IP4: Final = r"\d+\.\d+\.\d+\.\d+"
_IP6: Final = r"(?:fd00|2001|ff00):[0-9a-f:]+|::1"
_FOUR: Final = re.compile(rf"(?<![\w.-])(?P<ip>{_IP4})(?:/(?P<length>\d+)|:(?P<port>\d+))?(?![\w.-])")
_SIX: Final = re.compile(
    rf"\[(?P<boxed>{_IP6})\]:(?P<port>\d+)|(?<![\w:.-])(?P<ip>{_IP6})(?![\w:.-])(?:/(?P<length>\d+))?"
)
_DASHED: Final = re.compile(r"(?<![\w-])\d+-\d+-\d+-\d+(?=\.)")
_DASHED6: Final = re.compile(r"(?<![\w-])(?:fd00|2001)-[0-9a-f-]+(?=\.)")
_POINTER: Final = re.compile(rf"({_IP4})\.in-addr\.arpa\.")
_POINTER6: Final = re.compile(r"((?:[0-9a-f]\.){32})ip6\.arpa\.")

Swap = Callable[[str], str]
T = TypeVar("T")


@cache
def twin(address: str) -> str:
    """The IPv6 address of an IPv4 address; the same text for one that is of no network of the lab."""
    if address in _ALONE:
        return _ALONE[address]
    for four, six, base in _NETWORKS:
        if address.startswith(four):
            parts = address.removeprefix(four).split(".")
            if base == 16:
                return str(IPv6Address(f"{six}:{int.from_bytes(map(int, parts)):x}"))
            return str(IPv6Address(f"{six}{parts[0]}::{parts[1]}" if len(parts) == 2 else f"{six}:{parts[0]}"))
    return address


@cache
def untwin(address: str) -> str:
    """The IPv4 address whose twin this is; the same text for one that is nobody's."""
    groups = [f"{int(group, 16):x}" for group in ip_address(address).exploded.split(":")]
    for four, six in _ALONE.items():
        if str(ip_address(address)) == six:
            return four
    for four, six, base in _NETWORKS:
        if groups[:3] == six.strip(":").split(":"):
            two = four.count(".") == 2
            if base == 16:
                number = int(groups[7], 16)
                return f"{four}{number >> 8}.{number & 255}" if two else f"{four}{number}"
            return f"{four}{groups[3]}.{groups[7]}" if two else f"{four}{groups[7]}"
    return address


def forth_text(text: str) -> str:
    """Words about IPv4 as words about IPv6."""
    if not any(mark in text for mark in "./-"):
        return text
    text = _POINTER.sub(lambda found: reverse(twin(".".join(reversed(found[1].split("."))))), text)
    text = _DASHED.sub(lambda found: dashed(twin(found[0].replace("-", "."))), text)
    text = _FOUR.sub(_forth_address, text)
    for four, six in _WORDS:
        text = text.replace(four, six)
    return text


def _forth_address(found: re.Match[str]) -> str:
    address = twin(found["ip"])
    if address == found["ip"]:
        return found[0]
    if found["port"]:
        return endpoint(address, int(found["port"]))
    return f"{address}/{_LENGTHS[int(found['length'])]}" if found["length"] else address


def back_text(text: str) -> str:
    """Words about IPv6 as words about IPv4."""
    if not any(mark in text for mark in ":/-."):
        return text
    text = _POINTER6.sub(_back_pointer, text)
    text = _DASHED6.sub(lambda found: dashed(untwin(found[0].replace("-", ":"))), text)
    text = _SIX.sub(_back_address, text)
    for four, six in _WORDS:
        text = text.replace(six, four)
    return text


def _back_pointer(found: re.Match[str]) -> str:
    digits = found[1].replace(".", "")[::-1]
    return reverse(untwin(":".join(digits[at : at + 4] for at in range(0, 32, 4))))


def _back_address(found: re.Match[str]) -> str:
    if found["boxed"]:
        return f"{untwin(found['boxed'])}:{found['port']}"
    lengths = {six: four for four, six in _LENGTHS.items()}
    address = untwin(found["ip"])
    return f"{address}/{lengths[int(found['length'])]}" if found["length"] else address


def forth_data(data: Any) -> Any:
    """Data about IPv4 as data about IPv6."""
    return _data(data, forth_text, {"inet": "inet6", "ip": "ip6"}, _LENGTHS)


def back_data(data: Any) -> Any:
    """Data about IPv6 as data about IPv4."""
    return _data(data, back_text, {"inet6": "inet", "ip6": "ip"}, {six: four for four, six in _LENGTHS.items()})


def _data(data: Any, text: Swap, families: dict[str, str], lengths: dict[int, int]) -> Any:
    if isinstance(data, str):
        return text(data)
    if isinstance(data, list | tuple):
        return [_data(one, text, families, lengths) for one in data]
    if not isinstance(data, dict):
        return data
    made = {text(key): _data(value, text, families, lengths) for key, value in data.items()}
    if "local" in made and made.get("family") in families:  # an address of a link
        made |= {"family": families[made["family"]], "prefixlen": lengths[made["prefixlen"]]}
    if set(made) == {"addr", "len"}:  # a network of nft
        made["len"] = lengths[made["len"]]
    if set(made) == {"protocol", "field"}:
        made["protocol"] = families.get(made["protocol"], made["protocol"])
    return made


def forth(one: Observation) -> Observation:
    """A record about IPv4 as a record about IPv6."""
    made = type(one).model_validate(forth_data(one.model_dump(mode="json")))
    match made:
        case Exchange():
            mss = None if made.mss is None else made.mss - 20
            return made.model_copy(update={"proto": over(made.proto, "ipv6"), "mss": mss})
        case Lookup():
            kind = {"A": "AAAA"}.get(made.qtype, made.qtype)
            return made.model_copy(update={"qtype": kind, "family": "ipv6", "queries": _swapped(made.queries)})
        case Tap():
            return made.model_copy(update={"packets": tuple(map(_forth_packet, made.packets))})
        case Repair():
            return made.model_copy(update={"family": "ipv6"})
        case _:
            return made


def _swapped(queries: Sequence[Query]) -> tuple[Query, ...]:
    """Questions for addresses of one family as questions for those of the other."""
    other = {"A": "AAAA", "AAAA": "A"}
    return tuple(query.model_copy(update={"qtype": other.get(query.qtype, query.qtype)}) for query in queries)


def _forth_packet(packet: Packet) -> Packet:
    echo = {"icmp_type": _ECHO.get(packet.icmp_type or 0), "proto": "icmp6"} if packet.proto == "icmp" else {}
    mss = {"tcp_mss": packet.tcp_mss - 20} if packet.tcp_mss else {}
    return packet.model_copy(update={**echo, **mss, "inner": packet.inner and _forth_packet(packet.inner)})


def back(one: Observation) -> Observation:
    """A record about IPv6 as a record about IPv4."""
    made = type(one).model_validate(back_data(one.model_dump(mode="json")))
    match made:
        case Exchange():
            mss = None if made.mss is None else made.mss + 20
            return made.model_copy(update={"proto": transport_of(made.proto), "mss": mss})
        case Lookup():
            kind = {"AAAA": "A"}.get(made.qtype, made.qtype)
            return made.model_copy(update={"qtype": kind, "family": "ipv4", "queries": _swapped(made.queries)})
        case Tap():
            return made.model_copy(update={"packets": tuple(map(_back_packet, made.packets))})
        case Repair():
            return made.model_copy(update={"family": "ipv4"})
        case _:
            return made


def _back_packet(packet: Packet) -> Packet:
    types = {six: four for four, six in _ECHO.items()}
    echo = {"icmp_type": types.get(packet.icmp_type or 0), "proto": "icmp"} if packet.proto == "icmp6" else {}
    mss = {"tcp_mss": packet.tcp_mss + 20} if packet.tcp_mss else {}
    return packet.model_copy(update={**echo, **mss, "inner": packet.inner and _back_packet(packet.inner)})


def back_probe(probe: Probe) -> Probe:
    """A probe over IPv6 as one over IPv4."""
    match probe:
        case ExchangeProbe():
            return replace(probe, target=_target(probe.target), proto=transport_of(probe.proto))
        case RungProbe() | BurstProbe() | ChurnProbe():
            return replace(probe, target=_target(probe.target))
        case BindProbe():
            return replace(probe, proto=transport_of(probe.proto), address="")
        case LookupProbe():
            kind = {"AAAA": "A"}.get(probe.qtype, probe.qtype)
            return replace(probe, name=back_text(probe.name), qtype=kind, family="ipv4")


def _target(target: Target) -> Target:
    return replace(target, address=back_text(target.address))


def resized(one: Observation, sizes: dict[int, int]) -> Observation:
    """A step of a ladder with another size, where the edge is elsewhere; any other record as it is."""
    if not isinstance(one, Rung):
        return one
    told = one.reported_mtu
    return one.model_copy(
        update={"size": sizes.get(one.size, one.size), "reported_mtu": sizes.get(told, told) if told else told}
    )
