"""Networks of a node's plugins that no pod has: with ranges and a lease store of their own, which may be used up."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from conformance import verbs
from harness.model.family import Family
from harness.steps.suite.cni_calls import Attachment, Calls, Json, about
from harness.steps.suite.cni_reuse import Reuse

ROOT: Final = "/run/cnilab-verbs"
"""All files of these networks on a node: leases, what flannel's plugin reads and keeps."""


@dataclass(frozen=True)
class Scratch:
    """A network.

    Args:
        name: Of the configuration.
        bridge: Its bridge on the node, where the plugin makes one.
        ranges: Of each family; of a range that is kept for measurements, which no cluster routes (RFC 2544, RFC 5180).
    """

    name: str
    bridge: str
    ranges: dict[Family, str]

    @property
    def folder(self) -> str:
        """Its files on the node."""
        return f"{ROOT}/{self.name}"

    @property
    def leases(self) -> str:
        """host-local's directory."""
        return f"{self.folder}/{self.name}"


WIDE: Final = Scratch("cnilab-many", "cnilab-many0", {"ipv4": "198.18.7.0/27", "ipv6": "2001:2:0:7::/123"})
NARROW: Final = Scratch("cnilab-few", "cnilab-few0", {"ipv4": "198.18.8.0/29", "ipv6": "2001:2:0:8::/125"})

LEAST: Final = 5
"""ADDs that a narrow network has addresses for, with a gateway of its own; without one it has more."""

SITES: Final = tuple(Attachment(f"cnilab-verbs-m{one:02}", f"cnilab-verbs-m{one:02}") for one in range(verbs.PARALLEL))


def configured(conf: Json, there: Sequence[Family], scratch: Scratch, version: str) -> Json | None:
    """The node's main plugin for such a network; None where its addresses are not host-local's.

    Args:
        conf: The node's.
        there: IP families of pods.
        scratch: The network.
        version: Of CNI.
    """
    main: Json = conf["plugins"][0]
    new: Json
    if main["type"] == "flannel":
        delegate = {**(main.get("delegate") or {}), "bridge": scratch.bridge}
        new = {**main, "delegate": delegate, "subnetFile": f"{scratch.folder}/subnet.env"}
        new |= {"dataDir": f"{scratch.folder}/flannel", "ipam": {"dataDir": scratch.folder}}
    elif (main.get("ipam") or {}).get("type") == "host-local":
        ranges = [[{"subnet": scratch.ranges[family]}] for family in there]
        new = {**main, "ipam": {"type": "host-local", "ranges": ranges, "dataDir": scratch.folder}}
        new |= {"bridge": scratch.bridge} if "bridge" in main else {}
    else:
        return None
    return {"name": scratch.name, "cniVersion": version, "plugins": [new]}


def subnet_file(there: Sequence[Family], scratch: Scratch) -> str:
    """What flannel's plugin reads of a network; rules of its own it must not make."""
    keys: dict[Family, str] = {"ipv4": "FLANNEL_", "ipv6": "FLANNEL_IPV6_"}
    lines = [f"{keys[family]}{what}={scratch.ranges[family]}" for family in there for what in ("NETWORK", "SUBNET")]
    return "\n".join([*lines, "FLANNEL_MTU=1400", "FLANNEL_IPMASQ=true", ""])


def observe_scratch(calls: Calls, conf: Json, there: Sequence[Family]) -> Json | None:
    """Many ADDs at once, a range that is used up, GC and STATUS; everything is gone afterwards.

    Args:
        calls: Of the node; the sequence has told which versions its main plugin speaks.
        conf: The node's configuration.
        there: IP families of pods.

    Returns:
        What was seen beside the calls; None where no such network can be made.
    """
    version = str(conf["cniVersion"])
    wide = configured(conf, there, WIDE, version)
    narrow = configured(conf, there, NARROW, verbs.GC_VERSION if _speaks(calls, verbs.GC_VERSION) else version)
    if wide is None or narrow is None:
        return None
    _clear(calls)
    _prepare(calls, there)
    try:
        return {"parallel": _parallel(calls, wide), **_exhausted(calls, narrow)}
    finally:
        _clear(calls)


def _speaks(calls: Calls, version: str) -> bool:
    said = next((call["output"] for call in calls.made if call["step"] == "version"), None)
    return isinstance(said, dict) and version in said.get("supportedVersions", ())


def _prepare(calls: Calls, there: Sequence[Family]) -> None:
    run = calls.node.runner.run
    for scratch in (WIDE, NARROW):
        run(["mkdir", "-p", scratch.folder])
        run(["tee", f"{scratch.folder}/subnet.env"], input=subnet_file(there, scratch))
    run(["ip", "-batch", "-"], input="".join(f"netns add {site.netns}\n" for site in SITES))


def _clear(calls: Calls) -> None:
    """Take away all that these networks have, also what a plugin that does not delete has left."""
    run = calls.node.runner.run
    run(["ip", "-force", "-batch", "-"], input="".join(f"netns delete {site.netns}\n" for site in SITES), check=False)
    for scratch in (WIDE, NARROW):
        run(["ip", "link", "delete", scratch.bridge], check=False)
    run(["rm", "-rf", ROOT])


def _each(calls: Calls, sites: Sequence[Attachment], what: str) -> str:
    """What `ip` prints for each of some namespaces, after its name; one program, because these are many."""
    script = f'for one in "$@"; do echo "@$one"; ip -n "$one" {what} 2>/dev/null; done'
    return calls.node.runner.run(["sh", "-c", script, "each", *(site.netns for site in sites)], check=False).stdout


def _held(calls: Calls, sites: Sequence[Attachment]) -> dict[str, list[str]]:
    """Addresses of attachments, as the kernel has them, by namespace."""
    found: dict[str, list[str]] = {}
    netns = ""
    for line in _each(calls, sites, "-o address show scope global").splitlines():
        if line.startswith("@"):
            found[netns := line[1:]] = []
        else:
            found[netns].append(line.split()[3].partition("/")[0])
    return found


def _detach(calls: Calls, *sites: Attachment) -> None:
    """What a plugin that does not delete has left would be in the way of the next network."""
    _each(calls, sites, "link delete eth0")


def _parallel(calls: Calls, conf: Json) -> Json:
    """Attach all at the same time, as a kubelet does after a node's start; addresses by step."""
    steps = [f"parallel-{number:02}" for number in range(len(SITES))]
    with ThreadPoolExecutor(max_workers=len(SITES)) as pool:
        pairs = zip(steps, SITES, strict=True)
        results = list(pool.map(lambda pair: calls.chain(pair[0], "ADD", conf, pair[1]), pairs))
        held = _held(calls, SITES)
        made = zip(SITES, results, strict=True)
        list(pool.map(lambda pair: calls.chain("parallel-del", "DEL", conf, pair[0], result=pair[1]), made))
    _detach(calls, *SITES)
    return {step: held.get(site.netns, []) for step, site in zip(steps, SITES, strict=True)}


def _exhausted(calls: Calls, conf: Json) -> Json:
    """Fill a small range until ADD fails, look what that has changed, and free one address."""
    main: Json = {**conf["plugins"][0], "name": conf["name"], "cniVersion": conf["cniVersion"]}
    if verbs.collects(conf):
        calls.call("status-ready", str(main["type"]), main, "STATUS")
    looks: Json = {}
    results: list[Json | None] = []
    reuse = Reuse(calls.node, SITES[1].netns)
    reuse.mark(SITES[0].netns, SITES[verbs.ROOM].netns)
    for number, site in enumerate(SITES[: verbs.ROOM]):
        # Only the last of these counts, and a look takes as long as an ADD.
        looks.pop("before", None)
        if number in {0, *range(LEAST, verbs.ROOM)}:
            looks["before"] = calls.look(NARROW.leases)
        results.append(calls.chain(f"fill-{number}", "ADD", conf, site))
        if not worked(results[-1]):
            break
    last = SITES[len(results) - 1]
    looks["failed"] = calls.look(NARROW.leases)
    # A runtime calls DEL when ADD has failed: some plugins leave it to that to take away what they had made.
    calls.chain("fill-undone", "DEL", conf, last)
    looks["after"] = calls.look(NARROW.leases)
    seen: Json = {
        "looks": {moment: about(look, {last.container}) for moment, look in looks.items()},
        "oldest": _held(calls, SITES[:1]).get(SITES[0].netns, []),
    }
    _detach(calls, last)
    heir = SITES[verbs.ROOM]
    reuse.unlock(NARROW.bridge, SITES[1].ifname)
    reuse.ask("before", seen["oldest"])
    calls.chain("fill-del", "DEL", conf, SITES[0], result=results[0])
    calls.chain("fill-again", "ADD", conf, heir)
    held = _held(calls, (SITES[0], heir))
    reuse.ask("after", [ip for ip in seen["oldest"] if ip in held.get(heir.netns, ())])
    seen["reuse"] = {"asked": reuse.seen, "old": SITES[0].netns, "new": heir.netns, "held": held}
    if verbs.collects(conf):
        seen |= _collected(calls, main, [*SITES[1 : len(results) - 1], heir])
    for site in (*SITES[: len(results)], heir):
        calls.chain("fill-clear", "DEL", conf, site)
    return seen


def worked(result: Json | None) -> bool:
    """An ADD has said which addresses it gave: some that fail exit with 0."""
    return bool(result and result.get("ips"))


def _collected(calls: Calls, main: Json, attached: Sequence[Attachment]) -> Json:
    """STATUS of a full range, and GC of all attachments but the last."""
    kind = str(main["type"])
    calls.call("status-full", kind, main, "STATUS")
    before = _leases(calls)
    valid = [{"containerID": one.container, "ifname": one.ifname} for one in attached[:-1]]
    calls.call("gc", kind, {**main, "cni.dev/valid-attachments": valid}, "GC")
    after = _leases(calls)
    # Not every plugin passes GC on to the one that has the addresses.
    ipam = str((main.get("ipam") or {}).get("type") or "")
    if ipam:
        calls.call("gc-ipam", ipam, {**main, "cni.dev/valid-attachments": valid}, "GC")
    later = _leases(calls)
    keep = {one.container for one in attached[:-1]}
    return {
        "gc": {
            "valid": sorted(ip for ip, owner in before.items() if owner in keep),
            "stale": sorted(ip for ip, owner in before.items() if owner not in keep),
            "after": sorted(after),
            "later": sorted(later),
        }
    }


def _leases(calls: Calls) -> dict[str, str]:
    """Address -> container of the narrow network's leases: a file each, whose first line is the container."""
    done = calls.node.runner.run(["grep", "-r", "-m1", ".", NARROW.leases], check=False)
    pairs = (line.rpartition("/")[2].rpartition(":") for line in done.stdout.splitlines())
    return {address: owner.strip() for address, _, owner in pairs if not address.startswith("last_reserved")}
