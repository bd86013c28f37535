"""The CNI contract: what a node's plugins do when they are called directly, as a runtime would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from conformance.context import Context
from conformance.dumps import INET, addresses, rows
from conformance.legs import broken, census, check_value, control, failed, names, passed
from conformance.model import Check, Verdict
from conformance.verbs import Verbs, able, each, json_error
from harness.model.records import Evidence, Leg

CNI = "CNI specification 1.1.0"
INCOMPATIBLE = 1
"""Error code of a version that a plugin does not speak (§5)."""

Json = Mapping[str, Any]


def evidence(context: Context, step: str, *, prefix: bool = False) -> tuple[Evidence, ...]:
    """The first calls of a step.

    Args:
        context: The run.
        step: Its name.
        prefix: Of all steps whose names begin so, those of networks that no pod has among them.
    """
    return tuple(
        Evidence(kind="cni", detail={"node": verbs.node, **call})
        for verbs in each(context, many=prefix)
        for call in verbs.data.get("calls") or ()
        if call.get("step") == step or (prefix and str(call.get("step")).startswith(step))
    )[:4]


def conf_active(context: Context) -> Verdict:
    """Exactly one configuration is there, it is the variant's, it parses, and every plugin of it exists."""
    asked, legs = able(context)
    for verbs in asked:
        files: Json = verbs.data.get("files") or {}
        confs = sorted(name for name in files if name.endswith((".conf", ".conflist", ".json")))
        programs = set(verbs.data.get("programs") or ())
        text = f"{verbs.node} has {names(confs)}, and the first wins; expected only {context.expect.conf_file}"
        legs.append(check_value(f"{verbs.node}/file", [context.expect.conf_file], confs, text))
        wanted = _types(files.get(confs[0], "") if confs else "")
        if wanted is None:
            text = f"{confs[0] if confs else 'the configuration'} of {verbs.node} is not a valid configuration list"
            legs.append(failed(f"{verbs.node}/json", "wrong-value", text, "a plugin list", "not JSON"))
            continue
        missing = sorted(wanted - programs)
        text = f"{verbs.node} has no executable for plugin {names(missing)}"
        legs.append(check_value(f"{verbs.node}/plugins", [], missing, text, reason="missing"))
    return Verdict(
        tuple(legs),
        (
            census(sum(isinstance(verbs.data.get("files"), dict) for verbs in asked), len(asked), "directories"),
            control("P5", _types('{"plugins":[{"type":"x"}]}') == {"x"} and _types('{"plug') is None, "stored samples"),
        ),
        summary=f"{context.expect.conf_file} is the only configuration, and all its plugins exist",
    )


def _types(text: str) -> set[str] | None:
    """Plugins that a configuration needs, those for addresses among them; None when it is no configuration."""
    try:
        conf = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(conf, dict):
        return None
    plugins = conf.get("plugins", [conf])
    kinds = {str(plugin["type"]) for plugin in plugins if "type" in plugin}
    kinds |= {str(plugin["ipam"]["type"]) for plugin in plugins if (plugin.get("ipam") or {}).get("type")}
    return kinds or None


def add_result(context: Context) -> Verdict:
    """ADD exits with 0 and prints a result of the requested version, with interfaces, addresses and routes."""
    asked, legs = able(context, "add")
    usable, called = sum(bool(verbs.conf) for verbs in asked), sum(bool(verbs.calls("add")) for verbs in asked)
    for verbs in asked:
        leg = f"{verbs.node}/add"
        result = verbs.result("add")
        version = verbs.conf.get("cniVersion")
        if not verbs.conf:
            text = f"{verbs.node} has no usable configuration: nothing could be called"
            legs.append(failed(leg, "missing", text, "a result", "no configuration"))
        elif not verbs.worked("add") or result is None:
            text = f"ADD on {verbs.node} failed: {verbs.said('add')}"
            legs.append(failed(leg, "wrong-value", text, "a result", verbs.said("add")))
        else:
            lacking = _lacking(verbs, result)
            text = f"the result of ADD on {verbs.node} has no {names(lacking)}"
            legs.append(check_value(leg, [], lacking, text, reason="missing"))
            text = f"the result of ADD on {verbs.node} has version {result.get('cniVersion')}, requested was {version}"
            legs.append(check_value(f"{leg}/version", version, result.get("cniVersion"), text))
    return Verdict(
        tuple(legs),
        (
            control(
                "P4",
                asked and called >= usable,
                f"plugins were called on {called} of {usable} nodes",
            ),
        ),
        evidence(context, "add"),
        summary=f"ADD gives a result with interfaces, addresses and routes on {len(asked)} nodes",
    )


def _lacking(verbs: Verbs, result: Json) -> list[str]:
    """What is not in a result: a list, the MAC or the namespace of eth0, a route that the namespace has."""
    found = [key for key in ("interfaces", "ips") if not result.get(key)]
    own: Json = next((one for one in result.get("interfaces") or () if one.get("name") == "eth0"), {})
    if "interfaces" not in found:
        found += [text for key, text in (("mac", "MAC"), ("sandbox", "sandbox")) if not own.get(key)]
    named = {str(one.get("dst")) for one in result.get("routes") or ()}
    kernel: Json = verbs.data.get("kernel") or {}
    for what, whole in (("route", "0.0.0.0/0"), ("route6", "::/0")):
        held = any(row.get("dst") == "default" for row in rows(kernel.get(what)))
        found += [f"route to {whole}, which its namespace has"] if held and whole not in named else []
    return found


def add_effect(context: Context) -> Verdict:
    """The kernel has what the result says: the interface with its MAC and addresses."""
    asked, legs = able(context, "add")
    for verbs in asked:
        result = verbs.result("add") or {}
        kernel = {str(row.get("ifname")): row for row in rows((verbs.data.get("kernel") or {}).get("address"))}
        link = kernel.get("eth0")
        held = addresses(link) + addresses(link, family=INET["ipv6"])
        wanted = [str(entry["address"]).partition("/")[0] for entry in result.get("ips") or ()]
        text = f"the result of ADD on {verbs.node} says {names(wanted)}, but eth0 has {names(held)}"
        leg = f"{verbs.node}/addresses"
        good = wanted and set(wanted) == set(held)
        legs.append(passed(leg, wanted, held, "ip") if good else failed(leg, "wrong-value", text, wanted, held, "ip"))
        for entry in result.get("interfaces") or ():
            if entry.get("sandbox") and entry.get("name") == "eth0":
                mac = str(link.get("address", "")) if link else ""
                text = f"the result of ADD on {verbs.node} says MAC {entry.get('mac')}, eth0 has {mac}"
                legs.append(check_value(f"{verbs.node}/mac", str(entry.get("mac", "")).lower(), mac.lower(), text))
    return Verdict(
        tuple(legs),
        (
            control(
                "P7",
                any((verbs.data.get("kernel") or {}).get("address") for verbs in asked),
                "the kernel was asked",
            ),
        ),
        evidence(context, "add"),
        summary="eth0 has the address and the MAC that ADD's result names",
    )


def add_conflict(context: Context) -> Verdict:
    """A second ADD with the same interface name is an error, and changes nothing."""
    asked, legs = able(context, "conflict", "second", "add-again")
    elsewhere = []
    for verbs in asked:
        made = verbs.calls("conflict")
        status = made[0]["status"] if made else None
        # Not every plugin gives a namespace a second interface; any makes the first one again once it is gone.
        elsewhere.append(verbs.worked("second") or verbs.worked("add-again"))
        text = f"a second ADD of eth0 on {verbs.node} exited with {status}: it must be an error"
        leg = f"{verbs.node}/status"
        legs.append(passed(leg, "an error", status) if status else failed(leg, "unexpected", text, "an error", status))
        before, after = verbs.snapshot("added"), verbs.snapshot("conflict")
        text = f"a second ADD of eth0 on {verbs.node} left objects behind"
        legs.append(unchanged(f"{verbs.node}/diff", before, after, text, QUIET))
    return Verdict(
        tuple(legs),
        (control("P2", any(elsewhere), "ADD works if the interface does not exist"),),
        evidence(context, "conflict"),
        summary="a second ADD with the same interface name is refused and changes nothing",
    )


KINDS = ("leases", "links", "routes", "neighbours", "fdb", "rules")
"""What an attachment may leave on a node."""

QUIET = ("leases", "links", "routes", "rules")
"""Of these, what no packet makes: neighbours and forwarding entries come with the first one of a container."""


def unchanged(leg: str, before: Json | None, after: Json | None, text: str, kinds: tuple[str, ...] = KINDS) -> Leg:
    """Passed when nothing changed between two moments that were both looked at.

    Args:
        leg: Its name.
        before: Objects by kind.
        after: The same, later.
        text: What to say of a change, before what it is.
        kinds: What must not change.
    """
    unread = dict.fromkeys(kind for kind in kinds for look in (before, after) if kind not in (look or {}))
    if before is None or after is None or unread:
        return broken(leg, f"{leg}: {names(unread)} were not read before and after", "missing")
    old, new = ({kind: look[kind] for kind in kinds} for look in (before, after))
    return check_value(leg, old, new, f"{text}: {difference(old, new)}", reason="unexpected")


def difference(before: Json, after: Json) -> str:
    """What is more and what is less."""
    parts = []
    for kind in before:
        old, new = set(before[kind]), set(after.get(kind, ()))
        parts += [f"{kind} +{names(sorted(new - old))}"] if new - old else []
        parts += [f"{kind} -{names(sorted(old - new))}"] if old - new else []
    return "; ".join(parts) or "no difference"


def _released(context: Context, step: str, moment: str, title: str) -> Verdict:
    """DEL succeeds, and nothing of the attachment is left."""
    asked, legs = able(context, "add", step)
    grew = []
    for verbs in asked:
        before, added, after = (verbs.snapshot(name) for name in ("before", "added", moment))
        grew.append(before != added and added is not None)
        text = f"{title} on {verbs.node} failed: {verbs.said(step)}"
        leg = f"{verbs.node}/status"
        legs.append(passed(leg, 0, 0) if verbs.worked(step) else failed(leg, "wrong-value", text, 0, verbs.said(step)))
        legs.append(unchanged(f"{verbs.node}/diff", before, after, f"{title} on {verbs.node} left objects behind"))
    return Verdict(
        tuple(legs),
        (control("P6", any(grew), "after ADD there was one more lease and link"),),
        evidence(context, step),
        summary=f"{title} succeeds, and leases, links, routes, neighbours and rules are as before ADD",
    )


def released(context: Context) -> Verdict:
    """After DEL nothing of the attachment is left."""
    return _released(context, "del", "deleted", "DEL")


def del_repeat(context: Context) -> Verdict:
    """DEL again is no error."""
    return _released(context, "del-again", "deleted-again", "a repeated DEL")


def del_no_netns(context: Context) -> Verdict:
    """DEL when the namespace is gone releases what there is."""
    return _released(context, "del-no-netns", "no-netns", "DEL without the namespace")


def del_no_prev(context: Context) -> Verdict:
    """DEL without the result of ADD releases what there is."""
    return _released(context, "del-no-prev", "no-prev", "DEL without prevResult")


def check_ok(context: Context) -> Verdict:
    """CHECK passes right after ADD."""
    asked, legs = able(context, "add", "check")
    for verbs in asked:
        text = f"CHECK on {verbs.node} failed right after ADD: {verbs.said('check')}"
        leg = f"{verbs.node}/check"
        legs.append(
            passed(leg, 0, 0) if verbs.worked("check") else failed(leg, "wrong-value", text, 0, verbs.said("check"))
        )
    return Verdict(
        tuple(legs),
        (control("P6", any(verbs.worked("add") for verbs in asked), "ADD worked"),),
        evidence(context, "check"),
        summary="CHECK passes right after ADD",
    )


def check_detects(context: Context) -> Verdict:
    """CHECK reports an error once the address is gone."""
    asked, legs = able(context, "check", "check-damaged")
    for verbs in asked:
        made = verbs.calls("check-damaged")
        text = f"CHECK on {verbs.node} reports success although eth0 has lost its address"
        leg = f"{verbs.node}/address"
        seen = any(call["status"] for call in made)
        legs.append(passed(leg, "an error", verbs.said("check-damaged")) if seen
                    else failed(leg, "unexpected", text, "an error", "success"))  # fmt: skip
    return Verdict(
        tuple(legs),
        (control("P6", any(verbs.worked("check") for verbs in asked), "CHECK passed before the damage"),),
        evidence(context, "check-damaged"),
        summary="CHECK reports an error once the address is gone",
    )


def version(context: Context) -> Verdict:
    """VERSION lists the configuration's version; an unknown version is refused with code 1 and JSON."""
    asked, legs = able(context, "version", "unknown-version")
    for verbs in asked:
        made = verbs.calls("version")
        output = made[0]["output"] if made else None
        supported = output.get("supportedVersions", []) if isinstance(output, dict) else []
        wanted = verbs.conf.get("cniVersion")
        leg = f"{verbs.node}/version"
        text = f"the main plugin of {verbs.node} supports {names(supported, 9)}, the configuration has {wanted}"
        legs.append(
            passed(leg, wanted, supported) if wanted in supported else failed(leg, "missing", text, wanted, supported)
        )
    return Verdict(
        tuple(legs),
        (control("inv", any(_code(verbs) == INCOMPATIBLE for verbs in asked), "an unknown version has code 1"),),
        evidence(context, "version"),
        summary="the main plugin supports the version of its configuration",
    )


def _code(verbs: Verbs) -> int | None:
    made = verbs.calls("unknown-version")
    output = made[0]["output"] if made else None
    return int(output.get("code", 0)) if isinstance(output, dict) and made and made[0]["status"] else None


def error(context: Context) -> Verdict:
    """An error is JSON with a code and a message, and a non-zero exit."""
    asked, legs = able(context, "add", "unknown-version", "conflict")
    for verbs in asked:
        for step in ("unknown-version", "conflict"):
            made = verbs.calls(step)
            call: Json = made[0] if made else {"status": None, "output": None}
            output, good = call["output"], json_error(call) is not None
            observed = {"status": call["status"], "output": output}
            text = (
                f"the main plugin of {verbs.node} answered {step} with status {call['status']} and {str(output)[:80]!r}"
            )
            leg = f"{verbs.node}/{step}"
            legs.append(
                passed(leg, "JSON error", observed)
                if good
                else failed(leg, "wrong-value", text, "JSON error", observed)
            )
    return Verdict(
        tuple(legs),
        (control("P2", any(verbs.worked("add") for verbs in asked), "a correct call works"),),
        evidence(context, "conflict"),
        summary="errors are JSON with a code and a message",
    )


NEXT = ("cat /etc/cni/net.d/*", "ip -d link", "ls {leases}")

CHECKS: tuple[Check, ...] = (
    Check(
        "cni.conf.active", "one configuration wins, and all its plugins exist", "M", "B7", conf_active,
        source=f"{CNI} §1, §3",
        gates=("verbs",), causes=("leftovers of another network",), next=("ls /etc/cni/net.d", "ls /opt/cni/bin"),
        once=True,
    ),
    Check(
        "cni.add.result", "ADD gives a complete result of the requested version", "M", "B7", add_result,
        source=f"{CNI} §2 ADD, §5", gates=("verbs",), causes=("plugin older than its configuration",), next=NEXT,
        once=True,
    ),
    Check(
        "cni.add.effect", "the kernel state agrees with ADD's result", "M", "B7", add_effect, source=f"{CNI} §5",
        gates=("verbs",), after=("cni.add.result",), causes=("a wrapper or a chained plugin altered it",), next=NEXT,
        once=True,
    ),
    Check(
        "cni.add.conflict", "a second ADD of the same interface is an error and changes nothing", "M", "B7",
        add_conflict, source=f"{CNI} §2 ADD", once=True, gates=("verbs",), after=("cni.add.result",),
        causes=("plugin adopts foreign links",),
        next=NEXT,
    ),
    Check(
        "ipam.release", "after DEL nothing of the attachment is left", "M", "B7", released, source=f"{CNI} §2 DEL",
        gates=("verbs",), after=("cni.add.result",), causes=("DEL without its configuration", "plugin missing"),
        next=NEXT,
        once=True,
    ),
    Check(
        "cni.del.repeat", "DEL can be repeated", "M", "B7", del_repeat, source=f"{CNI} §2 DEL",
        gates=("verbs",), after=("cni.add.result",), causes=("plugin needs what it has just deleted",), next=NEXT,
        once=True,
    ),
    Check(
        "cni.del.no-netns", "DEL works when the namespace is gone", "S", "B7", del_no_netns, source=f"{CNI} §2 DEL",
        once=True, gates=("verbs",), after=("cni.add.result",), causes=("plugin needs the namespace",), next=NEXT,
    ),
    Check(
        "cni.del.no-prev", "DEL works without the result of ADD", "S", "B7", del_no_prev, source=f"{CNI} §2 DEL",
        once=True, gates=("verbs",), after=("cni.add.result",), causes=("plugin keeps nothing of its own",), next=NEXT,
    ),
    Check(
        "cni.check.ok", "CHECK passes after ADD", "M", "B7", check_ok, source=f"{CNI} §2 CHECK",
        once=True, gates=("cni4", "verbs"),
        after=("cni.add.result",), causes=("something changed the attachment",), next=NEXT,
    ),
    Check(
        "cni.check.detects", "CHECK reports an error once the attachment is damaged", "S", "B7", check_detects,
        source=f"{CNI} §2 CHECK", once=True, gates=("cni4", "verbs"), after=("cni.add.result",),
        causes=("CHECK is a stub",), next=NEXT,
    ),
    Check(
        "cni.version", "the main plugin speaks its configuration's version", "M", "B7", version, source=f"{CNI} §5",
        once=True, gates=("verbs",), inverse="an unknown version has code 1",
        causes=("plugin older than its configuration",), next=NEXT,
    ),
    Check(
        "cni.error", "errors are JSON with a code and a message", "S", "B7", error, source=f"{CNI} §5",
        once=True, gates=("verbs",), after=("cni.add.result",), causes=("panic instead of an error",), next=NEXT,
    ),
)  # fmt: skip
