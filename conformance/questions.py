"""Which name is asked for from where (B4). Pure: from an inventory to look-ups, one set of questions per node."""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal

from conformance.families import BOTH_TYPES
from conformance.inventory import Inventory
from conformance.pairs import first_pods
from conformance.plan import Plan
from conformance.tables import names
from harness.model.family import record_type
from harness.model.spec import LabSpec
from harness.probes.plan import LookupProbe, Probe

SOCKETS = 12
"""Sockets from which one place asks two questions each."""

FEW = 5
"""Records of so many endpoints fit a DNS answer of 512 bytes (RFC 1035 §2.3.4)."""


def lookups(inventory: Inventory, spec: LabSpec, gates: Mapping[str, bool], fresh: str = "") -> Plan:
    """B4: one set of questions per node, from its first pod; every pod asks for one name.

    Questions that bear no address are asked once, beside those of the primary family.
    """
    table, kind, first = names(), record_type(inventory.family), inventory.family == spec.primary
    words = {"ns": inventory.namespace, "zone": spec.services.domain}
    own, zone = f"{words['ns']}.svc.{words['zone']}.", words["zone"]
    plan: Plan = defaultdict(list)
    virtual = [service for service in inventory.services if service.cluster_ip not in ("", "None")]
    for number, site in enumerate(first_pods(inventory)):
        probes: list[Probe] = [LookupProbe(f"{service.name}.{own}", kind, purpose="service") for service in virtual]
        probes += [LookupProbe(case.name.format(**words), kind, purpose="negative") for case in table.negative]
        probes += [
            LookupProbe(case.name.format(**words), kind, purpose="headless-empty") for case in table.headless_empty
        ]
        probes += _records(inventory, own, zone)
        probes += [
            LookupProbe(f"spread.{own}", kind, transport="tcp", purpose="tcp"),
            LookupProbe(table.large.format(**words), kind, purpose="large-udp"),
            LookupProbe(table.large.format(**words), kind, transport="tcp", purpose="large-tcp"),
            LookupProbe(table.large.format(**words), kind, edns=4096, purpose="large-edns"),
        ]
        if gates.get("router"):
            probes.append(LookupProbe(f"probe-{fresh}{number}-{kind.lower()}.{table.forward}", kind, purpose="forward"))
            probes.append(LookupProbe(table.forward, kind, purpose="forward"))
        if first:
            probes += [
                LookupProbe(case.name.format(**words), BOTH_TYPES, "libc", purpose="search") for case in table.search
            ]
            probes += _stub(own)
            probes += _named(inventory, own, zone)
            probes += [LookupProbe(f"spread.{own}", kind, purpose="latency") for _ in range(20)]
        plan[site.name] += probes
    for site in inventory.pods:
        plan[site.name].append(LookupProbe(f"spread.{own}", kind, purpose="every-pod"))
    return dict(plan)


def fresh_of(seen: Iterable[str]) -> str:
    """What made the new names of a look new; empty where none was asked for.

    Args:
        seen: Names that were asked for.
    """
    found = (re.match(r"probe-(.*)\d+-(?:a|aaaa)\.", name) for name in seen)
    return next((one[1] for one in found if one), "")


def _stub(own: str) -> list[Probe]:
    """What the resolver of a C library does and a single question does not show; and, to compare, what it does not."""
    probes: list[Probe] = [
        LookupProbe(f"spread.{own}", BOTH_TYPES, purpose="one-socket", times=SOCKETS),
        LookupProbe(f"spread.{own}", BOTH_TYPES, purpose="own-sockets", times=SOCKETS, apart=True),
    ]
    for case in names().negative_relative:
        probes += [
            LookupProbe(case.name, BOTH_TYPES, "libc", purpose="negative-relative"),
            LookupProbe(f"{case.name}.", BOTH_TYPES, "libc", purpose="negative-absolute"),
        ]
    return probes


def _named(inventory: Inventory, own: str, zone: str) -> list[Probe]:
    """Records that bear no address."""
    whole: Literal["udp", "tcp"] = "udp" if len(inventory.pods) <= FEW else "tcp"
    probes: list[Probe] = [
        LookupProbe(f"external.{own}", "CNAME", purpose="externalname"),
        LookupProbe(names().schema_.format(zone=zone), "TXT", purpose="schema"),
    ]
    for service in inventory.services:
        if service.role in {"spread", "headless"}:
            probes += [
                LookupProbe(f"_{port.name}._{port.proto}.{service.name}.{own}", "SRV", whole, purpose="srv")
                for port in service.ports
            ]
    return probes


def _records(inventory: Inventory, own: str, zone: str) -> list[Probe]:
    """Addresses beyond those of Services, and the names of addresses."""
    kind = record_type(inventory.family)
    # Many endpoints do not fit one datagram; that such an answer is cut and asked again is a check of its own.
    whole: Literal["udp", "tcp"] = "udp" if len(inventory.pods) <= FEW else "tcp"
    probes: list[Probe] = [LookupProbe(f"headless.{own}", kind, transport=whole, purpose="headless")]
    probes += [
        LookupProbe(reverse(service.cluster_ip), "PTR", purpose="ptr")
        for service in inventory.services
        if service.role == "spread"
    ]
    for pod in first_pods(inventory):
        if not pod.ip:
            continue
        probes += [
            LookupProbe(f"{pod.name}.headless.{own}", kind, purpose="hostname"),
            LookupProbe(reverse(pod.ip), "PTR", purpose="ptr"),
            LookupProbe(f"{dashed(pod.ip)}.{own.partition('.')[0]}.pod.{zone}.", kind, purpose="pod"),
        ]
    return probes


def reverse(address: str) -> str:
    """`10.96.0.1` to `1.0.96.10.in-addr.arpa.` (RFC 1035 §3.5); IPv6 by its nibbles in ip6.arpa (RFC 3596 §2.5)."""
    return f"{ipaddress.ip_address(address).reverse_pointer}."


def dashed(address: str) -> str:
    """An address as the first label of a pod's own name: `10-244-1-2`, `fd00-10-244--2`."""
    return address.replace(".", "-").replace(":", "-")
