"""B7: the CNI plugins of nodes, called directly as a runtime would, on scratch network namespaces (CNI spec §2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any, Final

from conformance import verbs
from harness.model.family import Family
from harness.model.node import Node
from harness.model.records import Dump
from harness.model.variant import Variant
from harness.steps.suite.cni_calls import BIN_DIR, Attachment, Calls, Json, parsed
from harness.steps.suite.cni_scratch import observe_scratch

CONF_DIR: Final = "/etc/cni/net.d"
FIRST: Final = Attachment("cnilab-verbs", "cnilab-verbs")
SECOND: Final = Attachment("cnilab-verbs-2", "cnilab-verbs", "eth1")
"""Another container: some plugins keep state by container, not by attachment as the spec has it."""

HOST_PORT: Final = {"hostPort": 61997, "containerPort": 8080, "protocol": "tcp"}
"""Of the first attachment, for plugins that map ports: their rules must go with it."""

UNKNOWN_VERSION: Final = "9.9.9"
NO_NETWORK: Final = "cnilab-none"
"""Name of a network that has no attachments: a plugin that should refuse GC, and does not, finds nothing to drop."""

AT_ONCE: Final = 8
"""Nodes whose plugins are called at the same time."""


def observe_all(nodes: Sequence[Node], variant: Variant, there: Sequence[Family], *, many: bool = True) -> list[Dump]:
    """What plugins do on every node, all at the same time.

    Args:
        nodes: Whose plugins.
        variant: Says where leases are.
        there: IP families of pods.
        many: Make the networks that no pod has, too: half of the time goes into these.
    """
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(nodes)), thread_name_prefix="verbs") as pool:
        return [
            one for made in pool.map(lambda node: observe_verbs(node, variant, there, many=many), nodes) for one in made
        ]


def observe_verbs(node: Node, variant: Variant, there: Sequence[Family], *, many: bool) -> list[Dump]:
    """Everything that judges of the CNI contract need of one node: `verbs`, and `attachments` of networks of our own.

    Args:
        node: Whose plugins.
        variant: Says where leases are.
        there: IP families of pods.
        many: Make these networks, where the addresses are the main plugin's own.
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
        calls = Calls(node, (variant.expect.lease_dir,) if variant.expect.lease_dir else ())
        kernel = _sequence(calls, conf)
        data |= {"conf": conf, "kernel": kernel, "snapshots": calls.snapshots()}
        data["calls"] = list(calls.made)
        if many and variant.expect.lease_dir:
            scratch = observe_scratch(calls, conf, there)
            more = {"scratch": scratch, "calls": calls.made[len(data["calls"]) :]}
            return [_dump(node, "verbs", data), _dump(node, "attachments", more)]
    return [_dump(node, "verbs", data)]


def _dump(node: Node, what: str, data: Json) -> Dump:
    return Dump(batch="B7", vantage="cni", place=node.name, node=node.name, what=what, data=data)


def active_conf(texts: Mapping[str, str]) -> Json | None:
    """The configuration that a runtime takes: the first in lexical order, as a list; None when it is unusable."""
    for name in sorted(texts):
        if not name.endswith((".conf", ".conflist", ".json")):
            continue
        conf = parsed(texts[name])
        if not isinstance(conf, dict) or "name" not in conf:
            return None
        return (
            conf
            if "plugins" in conf
            else {"name": conf["name"], "cniVersion": conf.get("cniVersion"), "plugins": [conf]}
        )
    return None


def with_port(conf: Json) -> Json:
    """The configuration as a runtime completes it for a container with a port of the host."""

    def completed(plugin: Json) -> Json:
        asks = (plugin.get("capabilities") or {}).get("portMappings")
        return plugin | {"runtimeConfig": {"portMappings": [HOST_PORT]}} if asks else plugin

    return conf | {"plugins": [completed(plugin) for plugin in conf["plugins"]]}


def _sequence(calls: Calls, conf: Json) -> Json:
    """The calls, from a clean start to a clean end, and what the kernel had after the first ADD."""
    run = calls.node.runner.run
    mapped = with_port(conf)
    calls.chain("leftovers", "DEL", mapped, FIRST, gone=True)
    calls.chain("second-leftovers", "DEL", conf, SECOND, gone=True)
    run(["ip", "netns", "delete", FIRST.netns], check=False)
    run(["ip", "netns", "add", FIRST.netns])
    try:
        calls.snapshot("before")
        _versions(calls, conf)
        result = calls.chain("add", "ADD", mapped, FIRST)
        kernel: Json = {
            what: parsed(run(["ip", *words.split(), "-n", FIRST.netns, "-d", "-j", what], check=False).stdout)
            for what, words in (("address", ""), ("route", "-4"))
        }
        kernel["route6"] = parsed(run(["ip", "-6", "-n", FIRST.netns, "-j", "route"], check=False).stdout)
        calls.snapshot("added")
        main: Json = mapped["plugins"][0]
        named = {"name": conf["name"], "cniVersion": conf["cniVersion"]}
        calls.call("conflict", str(main["type"]), {**main, **named}, "ADD", FIRST)
        calls.snapshot("conflict")
        second = calls.chain("second", "ADD", conf, SECOND)
        calls.chain("second-del", "DEL", conf, SECOND, result=second)
        if verbs.checks(conf):
            calls.chain("check", "CHECK", mapped, FIRST, result=result)
            run(["ip", "-n", FIRST.netns, "address", "flush", "dev", "eth0"], check=False)
            calls.chain("check-damaged", "CHECK", mapped, FIRST, result=result)
        _deletions(calls, mapped, result)
    finally:
        run(["ip", "netns", "delete", FIRST.netns], check=False)
    return kernel


def _versions(calls: Calls, conf: Json) -> None:
    """What the main plugin speaks, and what it says to versions that do not have what is asked for."""
    main: Json = conf["plugins"][0]
    kind = str(main["type"])
    named: dict[str, Any] = {**main, "name": conf["name"], "cniVersion": conf["cniVersion"]}
    calls.call("version", kind, {"cniVersion": conf["cniVersion"]}, "VERSION")
    calls.call("unknown-version", kind, {**named, "cniVersion": UNKNOWN_VERSION}, "ADD", FIRST)
    if verbs.collects(conf):
        calls.call("status", kind, named, "STATUS")
        return
    nobody = {**named, "name": NO_NETWORK, "cni.dev/valid-attachments": []}
    calls.call("gc-refused", kind, nobody, "GC")
    calls.call("status-refused", kind, named, "STATUS")


def _deletions(calls: Calls, conf: Json, result: Json | None) -> None:
    """DEL in all the ways in which a runtime may have to call it."""
    calls.chain("del", "DEL", conf, FIRST, result=result)
    calls.snapshot("deleted")
    calls.chain("del-again", "DEL", conf, FIRST, result=result)
    calls.snapshot("deleted-again")
    calls.node.runner.run(["ip", "-n", FIRST.netns, "link", "delete", "eth0"], check=False)
    calls.chain("add-plain", "ADD", conf, FIRST)
    calls.chain("del-no-prev", "DEL", conf, FIRST)
    calls.snapshot("no-prev")
    calls.node.runner.run(["ip", "-n", FIRST.netns, "link", "delete", "eth0"], check=False)
    again = calls.chain("add-again", "ADD", conf, FIRST)
    calls.node.runner.run(["ip", "netns", "delete", FIRST.netns])
    calls.chain("del-no-netns", "DEL", conf, FIRST, gone=True, result=again)
    calls.settled("no-netns", like="before")
