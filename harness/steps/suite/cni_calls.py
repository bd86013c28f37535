"""Direct calls of a node's CNI plugins, as a runtime would make them, and what the node has at a moment."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import Any, Final

from harness import timeouts
from harness.model.node import Node

BIN_DIR: Final = "/opt/cni/bin"

Json = dict[str, Any]

_LOOK: Final = r"""
others() {
  tables=$(nft list tables) || return 1
  case $(iptables -V) in *nf_tables*) known='filter nat mangle raw security' ;; *) known= ;; esac
  printf '%s\n' "$tables" | while read -r _ family table; do
    case "$family $known " in "ip "*" $table "* | "ip6 "*" $table "*) continue ;; esac
    test -z "$table" || nft list table "$family" "$table"
  done
}
say() { kind=$1; shift; if said=$("$@" 2>/dev/null); then printf '@%s\n%s\n' "$kind" "$said"; fi; }
printf '@leases\n'
test $# -eq 0 || find "$@" -mindepth 1 -maxdepth 1 -type f 2>/dev/null
say links ip -o link show
say routes ip -o -4 route show table all
say routes ip -o -6 route show table all
say neighbours ip -o neigh show nud all
say fdb bridge fdb show
say rules iptables-save
say rules ip6tables-save
say rules others
"""
"""One program for a whole look: a node is looked at often. A part that could not be read is not printed.

nft takes five times as long as iptables-save for tables that belong to iptables: it shows those of others alone.
"""

GONE: Final = 5.0
"""Seconds, before scaling, until the kernel has taken away the links of a namespace that is gone.

It does so later, in a queue of its own (net/core/net_namespace.c, cleanup_net), and a busy machine takes its time.
"""

_PASSING: Final = re.compile(
    r"\b(counter packets \d+ bytes \d+|expires \S+|linkdown|dead|REACHABLE|STALE|DELAY|PROBE)\b"
)
"""Words that change while nothing does."""

_PORT: Final = re.compile(r"^(\d+\.\d+\.\d+\.\d+):\d+$")

_ABSENT: Final = re.compile(r"\b(FAILED|INCOMPLETE|NONE)\b")
"""States of a neighbour that nobody knows: the kernel was asked for it, and that is all."""


@dataclass(frozen=True)
class Attachment:
    """What a runtime attaches.

    Args:
        container: Its id.
        netns: Name of its network namespace on the node.
        ifname: The interface that it wants.
    """

    container: str
    netns: str
    ifname: str = "eth0"


@dataclass
class Calls:
    """A node's plugins, and what was asked of them."""

    node: Node
    lease_dirs: tuple[str, ...] = ()
    made: list[Json] = field(default_factory=list)
    looks: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def chain(
        self, name: str, verb: str, conf: Json, to: Attachment, *, gone: bool = False, result: Json | None = None
    ) -> Json | None:
        """Call all plugins of a list: in order, and for DEL in the opposite order.

        Args:
            name: Of the step, for judges.
            verb: ADD, DEL or CHECK.
            conf: The configuration list.
            to: The attachment.
            gone: Its namespace is no more.
            result: Of the ADD, for DEL and CHECK.

        Returns:
            The last plugin's result, for ADD.
        """
        plugins = conf["plugins"]
        for plugin in reversed(plugins) if verb == "DEL" else plugins:
            single = {**plugin, "name": conf["name"], "cniVersion": conf["cniVersion"]}
            if result is not None:
                single["prevResult"] = result
            call = self.call(name, str(plugin["type"]), single, verb, to, gone=gone)
            if call["status"]:
                return None
            if verb == "ADD":
                result = call["output"] if isinstance(call["output"], dict) else None
        return result

    def call(
        self, name: str, plugin: str, conf: Json, verb: str, to: Attachment | None = None, *, gone: bool = False
    ) -> Json:
        """Call one plugin and remember what it said.

        Args:
            name: Of the step.
            plugin: Its type.
            conf: Its configuration.
            verb: Of CNI.
            to: The attachment; None for verbs that are about none.
            gone: Its namespace is no more.
        """
        env = {"CNI_COMMAND": verb, "CNI_PATH": BIN_DIR}
        if to is not None:
            netns = "" if gone else f"/run/netns/{to.netns}"
            env |= {"CNI_CONTAINERID": to.container, "CNI_NETNS": netns, "CNI_IFNAME": to.ifname}
        words = ["env", *(f"{key}={value}" for key, value in env.items()), f"{BIN_DIR}/{plugin}"]
        done = self.node.runner.run(words, input=json.dumps(conf), check=False)
        made = {"step": name, "verb": verb, "plugin": plugin, "status": done.returncode, "stderr": done.stderr[-400:]}
        made |= {"output": parsed(done.stdout), "container": to.container if to is not None else ""}
        self.made.append(made)
        return made

    def snapshot(self, name: str) -> None:
        """Remember what the node has at this moment."""
        self.looks[name] = self.look()

    def settled(self, name: str, like: str) -> None:
        """Remember what the node has when a namespace is gone: without its links, or when it has had its time.

        Args:
            name: Of the moment.
            like: An earlier moment; what links it has may be there.
        """
        for _ in timeouts.ticks(GONE, 0.1, 0.5):
            self.snapshot(name)
            if set(self.looks[name].get("links", ())) <= set(self.looks[like].get("links", ())):
                break

    def look(self, *lease_dirs: str) -> dict[str, list[str]]:
        """Leases, links, routes, neighbours, forwarding entries and rules of the node, a line each.

        Args:
            lease_dirs: Where leases are, beside the cluster's own.
        """
        folders = (*self.lease_dirs, *lease_dirs)
        return sections(self.node.runner.run(["sh", "-c", _LOOK, "look", *folders], check=False).stdout)

    def snapshots(self) -> dict[str, dict[str, list[str]]]:
        """All moments, with only those objects of the attachments: others of a node come and go."""
        own = marks(self.made)
        return {name: about(look, own) for name, look in self.looks.items()}


def sections(text: str) -> dict[str, list[str]]:
    """What the node printed, by kind; what it could not read is missing."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("@"):
            lines = found.setdefault(line[1:], [])
        elif line.strip():
            lines.append(line.strip())
    names = (line.rpartition("/")[2] for line in found.get("leases", ()))
    found["leases"] = sorted(one for one in names if one != "lock" and not one.startswith("last_reserved"))
    if "links" in found:
        found["links"] = sorted(line.split()[1].partition("@")[0].rstrip(":") for line in found["links"])
    if "neighbours" in found:
        found["neighbours"] = [line for line in found["neighbours"] if not _ABSENT.search(line)]
    return {kind: sorted(" ".join(_PASSING.sub("", line).split()) for line in lines) for kind, lines in found.items()}


def marks(made: Iterable[Mapping[str, Any]]) -> set[str]:
    """Words by which an object of an attachment is known: its container, its addresses and its MAC."""
    found = {str(call["container"]) for call in made if call.get("container")}
    for call in made:
        result = call["output"] if isinstance(call["output"], dict) else {}
        found |= {str(ip_interface(str(one["address"])).ip) for one in result.get("ips") or () if one.get("address")}
        inside = (one for one in result.get("interfaces") or () if one.get("sandbox") and one.get("mac"))
        found |= {str(one["mac"]).lower() for one in inside}
    return found


def about(look: Mapping[str, list[str]], own: Collection[str]) -> dict[str, list[str]]:
    """Of a look: all leases and links, and of all else the lines with a word of an attachment.

    Args:
        look: Lines by kind.
        own: Words by which its objects are known.
    """
    kept = {kind: [line for line in lines if not _words(line).isdisjoint(own)] for kind, lines in look.items()}
    # The kernel keeps the link-local neighbour of whoever sent a solicitation until it is old: no plugin made it.
    if "neighbours" in kept:
        kept["neighbours"] = [line for line in kept["neighbours"] if not line.startswith("fe80:")]
    return kept | {kind: look[kind] for kind in ("leases", "links") if kind in look}


def _words(line: str) -> set[str]:
    """Words of a line, of addresses without their prefix length or port."""
    plain = (word.partition("/")[0] for word in re.split(r"[\s\\\"',{}()\[\]]+", line))
    return {_PORT.sub(r"\1", word) for word in plain}


def parsed(text: str) -> Any:
    """JSON, or the end of what is none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text[-400:]
