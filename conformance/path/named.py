"""Rules as things that are wrong: by which key they are known, and what is said of them. Pure."""

from __future__ import annotations

import re
from typing import Final

from conformance.hooks import Station
from conformance.netfilter import DNAT, MASQUERADE, REJECT, SMALL, SNAT, UNKNOWN, End, Flow
from conformance.path.hop import Trouble

_KINDS: Final = {
    REJECT: "rule.rejects", DNAT: "rule.redirects", MASQUERADE: "rule.masquerades", SNAT: "rule.masquerades",
    UNKNOWN: "rule.foreign",
}  # fmt: skip


def of_rule(place: str, end: End, flow: Flow, station: Station) -> Trouble:
    """What a rule does, as something that is wrong.

    Args:
        place: Whose rule.
        end: What it does.
        flow: With which packet.
        station: Where.
    """
    facts = {"flow": said(flow), "hook": str(station), "rule": end.rule or "a rule", "to": end.to}
    return Trouble(_KINDS.get(end.verdict, "rule.drops"), place, thing_of(end.rule), facts)


_NFT: Final = re.compile(r"table (\S+) (\S+), chain (\S+?)(?:, rule (\d+))?$")
_SAVED: Final = re.compile(r"(?:(iptables\S*), )?table (\S+), chain (\S+?)(?:, rule (\d+))?$")


def thing_of(rule: str) -> str:
    """A rule as the end of a key: `nft/inet firewalld/filter_FORWARD/4`, `iptables/nat/POSTROUTING/3`."""
    text = rule.replace("the policy of ", "")
    policy = "policy" if text != rule else ""
    if found := _NFT.search(text):
        return f"nft/{found[1]} {found[2]}/{found[3]}/{found[4] or policy}"
    if found := _SAVED.search(text):
        return f"{found[1] or 'iptables'}/{found[2]}/{found[3]}/{found[4] or policy}"
    return f"rules/{rule}"


def lowered(place: str, flow: Flow) -> Trouble:
    """The rule that gives a packet another TTL, as something that is wrong.

    Args:
        place: Whose rule.
        flow: The packet after it.
    """
    word = "hop limit" if flow.family == "ipv6" else "TTL"
    facts = {"flow": str(flow), "rule": flow.ttl_rule, "ttl": str(flow.ttl), "word": word}
    return Trouble("rule.ttl", place, thing_of(flow.ttl_rule), facts, deviates=True)


def clamps(place: str, flow: Flow) -> Trouble:
    """The rule that gives connections another segment size, as something that may be wrong.

    Args:
        place: Whose rule.
        flow: The packet after it.
    """
    facts = {"flow": str(flow), "rule": flow.mss_rule}
    return Trouble("rule.mss", place, thing_of(flow.mss_rule), facts, deviates=True)


def said(flow: Flow) -> str:
    """A packet as sentences have it, with its size where that matters."""
    return f"{flow} of {flow.length} B" if flow.length != SMALL else str(flow)
