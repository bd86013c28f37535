"""What was asked of nodes' plugins when they were called directly, and what they said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from conformance.context import Context

Json = Mapping[str, Any]


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


def each(context: Context) -> Iterator[Verbs]:
    """The nodes whose plugins were called."""
    for node in context.inventory.nodes:
        data = context.read("cni", node.name, "verbs")
        if isinstance(data, dict):
            yield Verbs(node.name, data)
