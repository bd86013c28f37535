"""Attachments that come and go: many rounds of ADD and DEL of a node's own plugins, and what is left of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from harness.model.disturbed import Rounds
from harness.model.node import Node
from harness.steps.suite.cni_calls import Attachment, Calls, Json, about, marks
from harness.steps.suite.cni_verbs import AT_ONCE, CONF_DIR, active_conf
from harness.steps.suite.deploy import Suite

NAME: Final = "cnilab-rounds"
"""The network namespace of these attachments, and how the names of their containers begin."""

KEPT: Final = 5
"""Failures whose words are kept."""

_LEFT: Final = 'name=$1; shift; test $# -eq 0 || grep -rhsF "$name-" "$@"'
"""Lines of lease stores that name a container of ours."""

_FORGET: Final = 'name=$1; shift; test $# -eq 0 || grep -rlsF "$name-" "$@" | xargs -r rm -f'
"""Remove these files: a plugin whose DEL does nothing leaves them."""


def observe_rounds(suite: Suite, rounds: int) -> list[Rounds]:
    """Make attachments and delete them, on all nodes at the same time.

    Args:
        suite: The deployed suite.
        rounds: How many, one after the other.
    """
    if not suite.gates.get("verbs"):
        return []
    nodes = suite.attached.lab.nodes
    lease_dir = suite.attached.variant.expect.lease_dir
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(nodes)), thread_name_prefix="rounds") as pool:
        return list(pool.map(lambda node: _of_node(node, lease_dir, rounds), nodes))


def _of_node(node: Node, lease_dir: str | None, rounds: int) -> Rounds:
    conf = _conf(node)
    if conf is None:
        return Rounds(batch="B8", src=node.name, asked=rounds, made=0, failed=("no configuration is usable",))
    calls = Calls(node, (lease_dir,) if lease_dir else ())
    _forget(calls, conf)
    before = calls.look()
    during: dict[str, list[str]] = {}
    failed: list[str] = []
    calls.node.runner.run(["ip", "netns", "add", NAME])
    try:
        said = (_round(calls, conf, number, during) for number in range(rounds))
        failed += [problem for problem in said if problem]
        after = calls.look()
    finally:
        _forget(calls, conf)
    own = marks(calls.made)
    looks = {"before": before, "during": during, "after": after}
    kept = {when: {kind: tuple(lines) for kind, lines in about(look, own).items()} for when, look in looks.items()}
    return Rounds(
        batch="B8", src=node.name, asked=rounds, made=rounds - len(failed), failed=tuple(failed[:KEPT]), **kept
    )


def _conf(node: Node) -> Json | None:
    files = node.runner.run(["ls", CONF_DIR], check=False).stdout.split()
    return active_conf({one: node.runner.run(["cat", f"{CONF_DIR}/{one}"], check=False).stdout for one in files})


def _round(calls: Calls, conf: Json, number: int, during: dict[str, list[str]]) -> str:
    """One attachment; empty when both ends of its life went well, else what a plugin said."""
    site = Attachment(f"{NAME}-{number:03}", NAME)
    first = len(calls.made)
    result = calls.chain(f"add-{number}", "ADD", conf, site)
    if not during:
        during |= calls.look()
    calls.chain(f"del-{number}", "DEL", conf, site, result=result)
    return next((_said(call) for call in calls.made[first:] if call["status"]), "")


def _said(call: Json) -> str:
    output = call["output"]
    words = output.get("msg") if isinstance(output, dict) else output
    return f"{call['plugin']} {call['verb']}: {words or call['stderr'] or call['status']}"


def _forget(calls: Calls, conf: Json) -> None:
    """Leave nothing of these attachments, whatever plugins do: what is left was looked at before."""
    run = calls.node.runner.run
    run(["ip", "netns", "delete", NAME], check=False)
    left = run(["sh", "-c", _LEFT, "left", NAME, *calls.lease_dirs], check=False).stdout.splitlines()
    for container in sorted({line.strip() for line in left if line.strip().startswith(f"{NAME}-")}):
        calls.chain("leftovers", "DEL", conf, Attachment(container, NAME), gone=True)
    run(["sh", "-c", _FORGET, "forget", NAME, *calls.lease_dirs], check=False)
