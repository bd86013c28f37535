"""What was asked of nodes' plugins when they were called directly, and what they said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from conformance.context import Context
from conformance.legs import broken
from harness.model.records import Leg

Json = Mapping[str, Any]

PARALLEL: Final = 16
"""ADDs at the same time."""

ROOM: Final = 8
"""Size of the range that is used up: the network, the gateway and the last address of IPv4 are nobody's."""

OLD_TTL, NEW_TTL = 100, 200
"""By which the old and the new owner of an address that is used again are told apart: hops take a few away."""


def owner(ttl: int | None) -> str:
    """Who has sent an answer: `old` or `new`; empty for neither.

    Args:
        ttl: As it arrived, hops.
    """
    left = {name: first - ttl for name, first in (("old", OLD_TTL), ("new", NEW_TTL))} if ttl is not None else {}
    return next((name for name, hops in left.items() if 0 <= hops < OLD_TTL // 2), "")


GC_VERSION: Final = "1.1.0"
"""The first version that has GC and STATUS."""


_SINGLE: Final = frozenset({"version", "unknown-version", "conflict", "gc-refused", "status-refused", "status"})
"""Steps that are one call of the main plugin."""


def _since(conf: Json, version: str) -> bool:
    try:
        own = tuple(int(part) for part in str(conf.get("cniVersion")).split("."))
    except ValueError:
        return False
    return own >= tuple(int(part) for part in version.split("."))


def checks(conf: Json) -> bool:
    """CHECK is a verb of the configuration's version."""
    return _since(conf, "0.4.0")


def collects(conf: Json) -> bool:
    """GC and STATUS are verbs of the configuration's version."""
    return _since(conf, GC_VERSION)


def json_error(call: Json) -> Json | None:
    """The error that a call ended with, as the specification wants it (§5); None for success and for anything else."""
    output = call["output"]
    whole = bool(call["status"]) and isinstance(output, dict) and "code" in output and "msg" in output
    return output if whole else None


class Verbs:
    """What was asked of one node's plugins, and what they said."""

    def __init__(self, node: str, data: Json) -> None:
        self.node = node
        self.data = data
        self.conf: Json = data.get("conf") or {}

    def calls(self, step: str) -> list[Json]:
        """The calls of one step, one per plugin of the list."""
        return [call for call in self.data.get("calls") or () if call.get("step") == step]

    def worked(self, step: str) -> bool:
        """Every plugin that was to be called was, and exited with 0."""
        made = self.calls(step)
        return len(made) == len(self.conf.get("plugins", ())) and all(call["status"] == 0 for call in made)

    def told(self, step: str) -> bool:
        """A step was made as far as its plugins let it: no call is missing."""
        made = self.calls(step)
        ended = step in _SINGLE or len(made) >= len(self.conf.get("plugins", ()))
        return bool(made) and (ended or bool(made[-1]["status"]))

    @property
    def scratch(self) -> Json | None:
        """What was seen of networks that no pod has; None where none can be made."""
        found: Json | None = self.data.get("scratch")
        return found

    def gave(self, step: str) -> list[str]:
        """Addresses that an ADD of a network that no pod has says it gave: some that fail exit with 0."""
        made = self.calls(step)
        result = made[-1]["output"] if made and made[-1]["status"] == 0 else None
        ips = result.get("ips") or () if isinstance(result, dict) else ()
        return [str(one["address"]).partition("/")[0] for one in ips]

    def result(self, step: str) -> Json | None:
        """The last plugin's result."""
        made = self.calls(step)
        return made[-1]["output"] if made and isinstance(made[-1]["output"], dict) else None

    def snapshot(self, name: str) -> Json | None:
        """Leases and links at a moment."""
        found: Json | None = (self.data.get("snapshots") or {}).get(name)
        return found

    def said(self, step: str) -> str:
        """The first error of a step, for sentences."""
        for call in self.calls(step):
            if call["status"]:
                output = call["output"]
                text = output.get("msg", "") if isinstance(output, dict) else str(output)
                return f"{call['plugin']} exited with {call['status']}: {text or call['stderr'] or 'no output'}"
        return "not every plugin was called"


def each(context: Context, *, many: bool = False) -> Iterator[Verbs]:
    """The nodes whose plugins were called.

    Args:
        context: The run.
        many: With what was seen of networks that no pod has. Whoever does not need that does not read it, so that it
            is not looked at again where only others judge.
    """
    for node in context.inventory.nodes:
        data = context.read("cni", node.name, "verbs")
        if not isinstance(data, dict):
            continue
        if many and context.attempt("cni", node.name, "attachments") is not None:
            more = context.read("cni", node.name, "attachments")
            data = {**data, "scratch": more["scratch"], "calls": [*data.get("calls", ()), *more["calls"]]}
        yield Verbs(node.name, data)


def able(context: Context, *steps: str, many: bool = False) -> tuple[list[Verbs], list[Leg]]:
    """The nodes of which there is all that a judge needs, and a leg `error` for what of the others is missing.

    Args:
        context: The run.
        steps: That were planned on every node with a usable configuration.
        many: As of `each`.
    """
    found: list[Verbs] = []
    legs: list[Leg] = []
    there = {verbs.node: verbs for verbs in each(context, many=many)}
    for node in context.inventory.nodes:
        verbs = there.get(node.name)
        if verbs is None:
            legs.append(
                broken(node.name, f"{node.name}: plugins were to be called, and no answers are there", "missing")
            )
            continue
        gone = [step for step in steps if verbs.conf and not verbs.told(step)]
        legs += [
            broken(f"{node.name}/{step}", f"{node.name}: the step {step} was not reported", "missing") for step in gone
        ]
        if many and verbs.conf and context.expect.lease_dir and "scratch" not in verbs.data:
            text = f"{node.name}: networks were to be made for many attachments, and nothing of them is there"
            legs.append(broken(f"{node.name}/scratch", text, "missing"))
            continue
        found += [] if gone else [verbs]
    return found, legs
