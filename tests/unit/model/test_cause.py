"""What of a cause can be typed."""

from __future__ import annotations

import pytest

from harness.model.cause import typed


@pytest.mark.parametrize(
    "text",
    ["ip route get 10.244.1.2", "iptables-legacy -S", "ip6tables -S", "sysctl -w a=1", "nft list ruleset"],
)
def test_a_command_can_be_typed(text: str) -> None:
    assert typed(text)


@pytest.mark.parametrize(
    "text", ["", "restart the pods of n1", "ip route add 10.244.1.0/24 …, as the agent does", "ipam is wrong"]
)
def test_a_sentence_and_a_command_with_a_gap_cannot(text: str) -> None:
    assert not typed(text)
