"""B7: the CNI plugins of a node, called directly as a runtime would, on a scratch network namespace (CNI spec §2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from harness.model.node import Node
from harness.model.records import Dump
from harness.model.variant import Variant

CONF_DIR: Final = "/etc/cni/net.d"
BIN_DIR: Final = "/opt/cni/bin"
NETNS: Final = "cnilab-verbs"
CONTAINER: Final = "cnilab-verbs"
SECOND: Final = "cnilab-verbs-2"
"""Container of the second attachment: some plugins keep state by container, not by attachment as the spec has it."""

UNKNOWN_VERSION: Final = "9.9.9"

Json = dict[str, Any]


@dataclass
class _Calls:
    """A node's plugins, and what was asked of them."""

    node: Node
    conf: Json
    lease_dir: str
    made: list[Json] = field(default_factory=list)
    snapshots: dict[str, Json] = field(default_factory=dict)

    def chain(self, name: str, verb: str, *, gone: bool = False, result: Json | None = None) -> Json | None:
        """Call all plugins of the list: in order, and for DEL in the opposite order.

        Args:
            name: Of the step, for judges; `second` is another attachment.
            verb: ADD, DEL or CHECK.
            gone: The namespace is no more.
            result: Of the ADD, for DEL and CHECK.

        Returns:
            The last plugin's result, for ADD.
        """
        plugins = self.conf["plugins"]
        for plugin in reversed(plugins) if verb == "DEL" else plugins:
            conf = {**plugin, "name": self.conf["name"], "cniVersion": self.conf["cniVersion"]}
            if result is not None:
                conf["prevResult"] = result
            call = self.call(name, str(plugin["type"]), conf, verb, gone=gone)
            if call["status"]:
                return None
            if verb == "ADD":
                result = call["output"] if isinstance(call["output"], dict) else None
        return result

    def call(self, name: str, plugin: str, conf: Json, verb: str, *, gone: bool = False) -> Json:
        """Call one plugin and remember what it said."""
        second = name.startswith("second")
        env = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": SECOND if second else CONTAINER,
            "CNI_NETNS": "" if gone else f"/run/netns/{NETNS}",
            "CNI_IFNAME": "eth1" if second else "eth0",
            "CNI_PATH": BIN_DIR,
        }
        words = ["env", *(f"{key}={value}" for key, value in env.items()), f"{BIN_DIR}/{plugin}"]
        done = self.node.runner.run(words, input=json.dumps(conf), check=False)
        made = {"step": name, "verb": verb, "plugin": plugin, "status": done.returncode, "stderr": done.stderr[-400:]}
        self.made.append(made | {"output": _parsed(done.stdout)})
        return self.made[-1]

    def snapshot(self, name: str) -> None:
        """Leases and links of the node at this moment."""
        leases = self.node.runner.run(["ls", self.lease_dir], check=False).stdout.split() if self.lease_dir else []
        links = json.loads(self.node.runner.run(["ip", "-j", "link"]).stdout)
        self.snapshots[name] = {
            "leases": sorted(one for one in leases if one != "lock" and not one.startswith("last_reserved")),
            "links": sorted(str(link["ifname"]) for link in links),
        }


def observe_verbs(node: Node, variant: Variant) -> Dump:
    """Everything that judges of the CNI contract need of one node, as one record.

    Args:
        node: Whose plugins.
        variant: Says where leases are.
    """
    files = node.runner.run(["ls", CONF_DIR], check=False).stdout.split()
    texts = {name: node.runner.run(["cat", f"{CONF_DIR}/{name}"], check=False).stdout for name in sorted(files)}
    programs = node.runner.run(["find", BIN_DIR, "-maxdepth", "1", "-perm", "-u+x", "-not", "-type", "d"], check=False)
    data: Json = {
        "files": texts,
        "programs": sorted(PurePosixPath(line).name for line in programs.stdout.splitlines()),
    }
    conf = active_conf(texts)
    if conf is not None:
        calls = _Calls(node, conf, variant.expect.lease_dir or "")
        data |= {"conf": conf, "kernel": _sequence(calls), "calls": calls.made, "snapshots": calls.snapshots}
    return Dump(batch="B7", vantage="cni", place=node.name, node=node.name, what="verbs", data=data)


def active_conf(texts: Mapping[str, str]) -> Json | None:
    """The configuration that a runtime takes: the first in lexical order, as a list; None when it is unusable."""
    for name in sorted(texts):
        if not name.endswith((".conf", ".conflist", ".json")):
            continue
        conf = _parsed(texts[name])
        if not isinstance(conf, dict) or "name" not in conf:
            return None
        return (
            conf
            if "plugins" in conf
            else {"name": conf["name"], "cniVersion": conf.get("cniVersion"), "plugins": [conf]}
        )
    return None


def _sequence(calls: _Calls) -> Json:
    """The calls, from a clean start to a clean end, and what the kernel had after the first ADD."""
    run = calls.node.runner.run
    main: Json = calls.conf["plugins"][0]
    version = {"name": calls.conf["name"], "cniVersion": calls.conf["cniVersion"]}
    calls.chain("leftovers", "DEL", gone=True)
    calls.chain("second-leftovers", "DEL", gone=True)
    run(["ip", "netns", "delete", NETNS], check=False)
    run(["ip", "netns", "add", NETNS])
    try:
        calls.snapshot("before")
        calls.call("version", str(main["type"]), {"cniVersion": calls.conf["cniVersion"]}, "VERSION")
        calls.call("unknown-version", str(main["type"]), {**main, **version, "cniVersion": UNKNOWN_VERSION}, "ADD")
        result = calls.chain("add", "ADD")
        kernel = {
            what: _parsed(run(["ip", "-n", NETNS, "-d", "-j", what], check=False).stdout)
            for what in ("address", "route")
        }
        calls.snapshot("added")
        calls.call("conflict", str(main["type"]), {**main, **version}, "ADD")
        calls.snapshot("conflict")
        second = calls.chain("second", "ADD")
        calls.chain("second-del", "DEL", result=second)
        if str(calls.conf["cniVersion"]) >= "0.4.0":
            calls.chain("check", "CHECK", result=result)
            run(["ip", "-n", NETNS, "address", "flush", "dev", "eth0"], check=False)
            calls.chain("check-damaged", "CHECK", result=result)
        calls.chain("del", "DEL", result=result)
        calls.snapshot("deleted")
        calls.chain("del-again", "DEL", result=result)
        calls.snapshot("deleted-again")
        again = calls.chain("add-again", "ADD")
        run(["ip", "netns", "delete", NETNS])
        calls.chain("del-no-netns", "DEL", gone=True, result=again)
        calls.snapshot("no-netns")
    finally:
        run(["ip", "netns", "delete", NETNS], check=False)
    return kernel


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text[-400:]
