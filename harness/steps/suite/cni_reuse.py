"""An address of a network that no pod has, taken from one attachment and given to another: who answers at it.

Each of the two namespaces has a TTL of its own, which tells whose kernel answers; no program has to run in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from conformance.verbs import NEW_TTL, OLD_TTL
from harness.model.family import Family, family_of_dial
from harness.model.node import Node
from harness.model.records import Exchange
from harness.probes.agent import run_plans
from harness.probes.plan import ExchangeProbe, Probe, Prober, Target
from harness.runner import Runner

ANSWER: Final = 1.0
"""Seconds for an answer on the node itself, before scaling: it takes less than a millisecond, or does not come."""


@dataclass
class Reuse:
    """What is seen of an address before and after it changes hands.

    Args:
        node: Whose.
        neighbour: Namespace of an attachment that keeps its own address.
        seen: Rows: moment, who asked, address, outcome, and the TTL of the answer.
    """

    node: Node
    neighbour: str
    seen: list[dict[str, Any]] = field(default_factory=list)

    def mark(self, old: str, new: str) -> None:
        """Give two namespaces their TTLs, before they have links: IPv6 copies its own to links that come."""
        keys = ("net.ipv4.ip_default_ttl", "net.ipv6.conf.default.hop_limit")
        for netns, ttl in ((old, OLD_TTL), (new, NEW_TTL)):
            words = [f"{key}={ttl}" for key in keys]
            self.node.runner.run(["ip", "netns", "exec", netns, "sysctl", "-qew", *words], check=False)

    def unlock(self, bridge: str, ifname: str) -> None:
        """Let the node and the neighbour believe whoever says that he has an address now.

        A kernel keeps what ARP has told it for a second (`locktime` in arp(7)), against every announcement. Here the
        address changes hands sooner than that, which no pod does.

        Args:
            bridge: Of the node; networks without one have routes instead.
            ifname: The neighbour's interface.
        """
        for runner, device in ((self.node.runner, bridge), (self._inside(), ifname)):
            runner.run(["sysctl", "-qew", f"net.ipv4.neigh.{device}.locktime=0"], check=False)

    def _inside(self) -> Runner:
        return self.node.into_netns(f"/run/netns/{self.neighbour}")

    def ask(self, moment: str, addresses: Sequence[str]) -> None:
        """Ask for an answer at each address: the node, and the neighbour.

        Args:
            moment: `before` or `after` the change.
            addresses: Which.
        """
        runners = {"node": self.node.runner, "neighbour": self._inside()}
        asked: list[Probe] = [_echo(moment, one) for one in addresses]
        plans = {Prober(name, self.node.name, "", runner): asked for name, runner in runners.items()}
        for one in run_plans(plans, batch="B7", deadline=ANSWER, retries=1) if asked else ():
            if isinstance(one, Exchange):
                row = {"moment": moment, "from": one.src, "ip": one.dial, "outcome": one.outcome, "ttl": one.reply_ttl}
                self.seen.append(row)


def _echo(moment: str, address: str) -> ExchangeProbe:
    family: Family = family_of_dial(address)
    return ExchangeProbe(Target("reused", "", address), proto="icmp6" if family == "ipv6" else "icmp", purpose=moment)
