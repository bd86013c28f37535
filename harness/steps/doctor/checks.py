"""The checks of `doctor`, as data. Whatever can be tried cheaply is tried, not guessed from versions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from harness import apart
from harness.components import given, recipes, tools
from harness.components.kubernetes import unsupported
from harness.components.lock import load as load_lock
from harness.errors import CnilabError, UsageError
from harness.model import labstate
from harness.model.family import Family
from harness.model.labstate import LabDir, LabState
from harness.providers import registry
from harness.providers.namespaces import cgroups
from harness.providers.namespaces.layout import group_suffix
from harness.steps.doctor import builds, container, docker, ipv6, vagrant
from harness.steps.doctor import cgroups as doctor_cgroups
from harness.steps.doctor.model import Answer, Plan, Question

MIB = 2**20
GIB = 2**30

FIRST_NODES_MEMORY = 600 * MIB
NODE_MEMORY = 250 * MIB
LINK_MEMORY = 3 * GIB
"""What Go's linker takes for Kubernetes on the first run: 2.8 GiB, and little less with GOGC=50."""
PODS_PER_NODE = 8
"""What labs and the conformance suite start on a node, with the cluster's own."""


def _root(plan: Plan) -> Answer:
    uid = plan.host.uid()
    return Answer(uid == 0, "root" if uid == 0 else f"user id {uid}")


def _programs(plan: Plan) -> Answer:
    known = load_lock().tool
    missing = [name for name, tool in known.items() if not tool.optional and not plan.host.which(name)]
    if not missing:
        return Answer(ok=True, detail=f"{len(known)} found")
    detail, fix = f"missing: {', '.join(missing)}", tools.advice(known, missing, coming=plan.coming)
    return Answer(ok=False, detail=detail, fix=fix, severity="limits" if plan.coming else None)


def _namespaces(plan: Plan) -> Answer:
    flags = ("--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork", "--mount-proc")
    done = plan.host.run([*apart.words(*flags, mountinfo=plan.host.read("/proc/self/mountinfo")), "true"])
    return Answer(done.ok, "net, mnt, uts, ipc, pid, cgroup" if done.ok else done.tail(1))


def _link(kind: str) -> Callable[[Plan], Answer]:
    def probe(plan: Plan) -> Answer:
        if not container.holds(plan, "NET_ADMIN"):
            return Answer(ok=False, detail="unknown without CAP_NET_ADMIN", fix=container.PRIVILEGED)
        found = plan.host.links.get(kind, False)
        words = "created one in a temporary namespace" if found else "the kernel refused to create one"
        return Answer(found, words, _load(plan, kind))

    return probe


def _load(plan: Plan, module: str) -> str:
    """How to get a part of the kernel: one without loadable modules has it built in, or never."""
    return f"modprobe {module}" if plan.host.exists("/proc/modules") else f"use a kernel that has {module}"


def _br_netfilter(plan: Plan) -> Answer:
    if plan.host.exists("/proc/sys/net/bridge/bridge-nf-call-iptables"):
        return Answer(ok=True, detail="present")
    if plan.host.which("modprobe") and plan.host.run(["modprobe", "--dry-run", "br_netfilter"]).ok:
        return Answer(ok=True, detail="a module that the first cluster loads")
    return Answer(ok=False, detail="/proc/sys/net/bridge does not exist", fix=_load(plan, "br_netfilter"))


def _iptables(plan: Plan) -> Answer:
    rule = ["-t", "nat", "-A", "POSTROUTING", "-m", "comment", "--comment", "cnilab", "-j", "MASQUERADE"]
    done = plan.host.unshared(["iptables", "-w", *rule])
    version = plan.host.run(["iptables", "--version"]).stdout.strip()
    return Answer(done.ok, version if done.ok else done.tail(1))


def _nftables(plan: Plan) -> Answer:
    done = plan.host.unshared(["nft", "add", "table", "inet", "cnilab"])
    return Answer(done.ok, "added a table in a temporary namespace" if done.ok else done.tail(1))


def _netem(plan: Plan) -> Answer:
    done = plan.host.unshared(["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"])
    return Answer(done.ok, "present" if done.ok else done.tail(1), _load(plan, "sch_netem"))


def _overlay(plan: Plan) -> Answer:
    place = plan.state
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".cnilab-doctor-", dir=place) as scratch:
            for folder in ("lower", "upper", "work", "merged"):
                (Path(scratch) / folder).mkdir()
            # From within: the directory may have any name, and commas and colons mean something in these options.
            options = "lowerdir=lower,upperdir=upper,workdir=work"
            words = ["env", "-C", scratch, "mount", "-t", "overlay", "overlay", "-o", options, "merged"]
            done = plan.host.unshared(words)
    except OSError as error:
        return Answer(ok=False, detail=f"{place}: {error.strerror}")
    return Answer(done.ok, f"on {place}" if done.ok else done.tail(1))


def _bpf(plan: Plan) -> Answer:
    if container.filtered(plan, "bpf"):
        return Answer(ok=False, detail="the system call bpf is refused", fix=container.UNFILTERED)
    done = plan.host.unshared(["mount", "-t", "bpf", "bpf", "/mnt"])
    return Answer(done.ok, "can be mounted" if done.ok else done.tail(1))


def _ipvs(plan: Plan) -> Answer:
    # The match is what asks the kernel for IPVS; there is no other way without a program of its own.
    done = plan.host.unshared(["iptables", "-w", "-A", "OUTPUT", "-m", "ipvs", "--ipvs"])
    words = "added a match in a temporary namespace" if done.ok else "the kernel has no IP sets, or lacks their match"
    return Answer(done.ok, words, _load(plan, "xt_ipvs"))


def _esp(plan: Plan) -> Answer:
    state = ["src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "1", "mode", "tunnel"]
    cipher = ["aead", "rfc4106(gcm(aes))", "0x" + 20 * "00", "128"]
    done = plan.host.unshared(["ip", "xfrm", "state", "add", *state, *cipher])
    detail = "added a state in a temporary namespace" if done.ok else "the kernel refused an ESP state"
    return Answer(done.ok, detail)


def _ipset(plan: Plan) -> Answer:
    done = plan.host.unshared(["ipset", "create", "cnilab", "hash:ip"])
    return Answer(done.ok, "created one in a temporary namespace" if done.ok else done.tail(1))


def _weave_images(plan: Plan) -> Answer:
    wanted = [image for image in recipes.images(load_lock()) if image.given and not plan.spec.cni_version]
    missing = [one.reference for one in wanted if not plan.host.exists(str(given.place(plan.cache, one)))]
    return Answer(
        not missing, f"not in the cache: {', '.join(missing)}" if missing else "present", given.advice(missing)
    )


def neighbour_entries(plan: Plan) -> int:
    """Entries that a lab's neighbour tables have together; the kernel counts them for all namespaces in one.

    A pod knows its gateway and the pods of its node that it talks to; a node its pods, the other nodes, and with an
    overlay their tunnel ends.
    """
    nodes = plan.spec.nodes
    return nodes * (PODS_PER_NODE * (PODS_PER_NODE + 1) + PODS_PER_NODE + 2 * nodes + 4)


def _neighbours(plan: Plan) -> Answer:
    limits: dict[Family, int] = {}
    for family in plan.spec.families:
        text = plan.host.read(f"/proc/sys/net/{family}/neigh/default/gc_thresh3").strip()
        limits |= {family: int(text)} if text.isdigit() and int(text) else {}
    if not limits:
        return Answer(ok=True, detail="the kernel does not show it")
    family = min(limits, key=lambda one: limits[one])  # with as many neighbours in each
    limit, wanted = limits[family], neighbour_entries(plan)
    fix = f"sysctl -w net.{family}.neigh.default.gc_thresh3={max(4096, 2 * wanted)}"
    return Answer(limit >= wanted, f"{limit} entries allowed, about {wanted} needed for {plan.spec.nodes} nodes", fix)


def _inotify(plan: Plan) -> Answer:
    text = plan.host.read("/proc/sys/fs/inotify/max_user_instances").strip()
    limit, wanted = int(text) if text.isdigit() else 0, 24 * plan.spec.nodes
    fix = f"sysctl -w fs.inotify.max_user_instances={max(512, 2 * wanted)}"
    return Answer(limit >= wanted, f"{limit} instances allowed, about {wanted} needed", fix)


def _memory(plan: Plan) -> Answer:
    free, wanted = plan.host.memory_available(), FIRST_NODES_MEMORY + NODE_MEMORY * plan.spec.nodes
    what = f"about {wanted / GIB:.1f} GiB needed for {plan.spec.nodes} nodes"
    if free >= wanted and free < LINK_MEMORY and "kubernetes" in plan.missing:
        what = f"about {LINK_MEMORY / GIB:.1f} GiB needed to build Kubernetes"
        return Answer(ok=False, detail=f"{free / GIB:.1f} GiB available, {what}", fix=builds.ELSEWHERE)
    detail = f"{free / GIB:.1f} GiB available, {what}"
    return Answer(free >= wanted, detail, severity="blocks" if free < wanted // 2 else None)


def _disk_state(plan: Plan) -> Answer:
    return _disk(plan, plan.state, (200 + 100 * plan.spec.nodes) * MIB)


def _disk_cache(plan: Plan) -> Answer:
    # A build of Kubernetes needs Go's module and build caches beside the cache itself.
    return _disk(plan, plan.cache, 8 * GIB if plan.missing else 100 * MIB)


def _disk(plan: Plan, place: Path, wanted: int) -> Answer:
    free = plan.host.free_bytes(place)
    return Answer(free >= wanted, f"{free / GIB:.1f} GiB free at {place}, about {wanted / GIB:.1f} GiB needed")


def _support(plan: Plan) -> Answer:
    version = plan.spec.kubernetes.version
    text = unsupported(load_lock(), version, plan.host.today())
    return Answer(not text, text or version)


def _leftovers(plan: Plan) -> Answer:
    found, fixes = [], []
    for name in labstate.names(plan.state):
        reason = _left_over(plan, name)
        if reason:
            found.append(f"{name} ({reason})")
            fixes.append(f"cnilab down {name}")
    return Answer(not found, f"left by earlier runs: {', '.join(found)}" if found else "none", "; ".join(fixes))


def _left_over(plan: Plan, name: str) -> str:
    try:
        known = labstate.read(LabDir(plan.state, name), LabState)
    except UsageError:
        return "its state cannot be read"
    except CnilabError as error:
        return error.what
    if known is None:
        return "no state file"
    if not known.ready:
        return "" if labstate.start_time(known.owner) else "bring-up was killed"
    machines = registry.driver(known.spec.provider).machines(LabDir(plan.state, name))
    dead = [machine.name for machine in machines if machine.status != "Running"]
    return f"not running: {', '.join(dead)}" if dead else ""


def _stray_cgroups(plan: Plan) -> Answer:
    labs = set(labstate.names(plan.state))
    found = cgroups.with_suffix(group_suffix(plan.state), doctor_cgroups.mounted(plan))
    stray = {name: count for name, count in found.items() if name not in labs}
    if not stray:
        return Answer(ok=True, detail="none")
    told = ", ".join(f"{name} ({count} processes)" for name, count in sorted(stray.items()))
    return Answer(
        ok=False,
        detail=f"of clusters without a state file: {told}",
        fix="; ".join(map("cnilab down {}".format, sorted(stray))),
    )


def _stray_mounts(plan: Plan) -> Answer:
    below = f"{plan.state}/labs/"
    mounts = [line.split()[4] for line in plan.host.read("/proc/self/mountinfo").splitlines() if len(line.split()) > 4]
    stray = [mount for mount in mounts if mount.startswith(below)]
    fix = "; ".join(f"umount -l {mount}" for mount in stray[:3])
    return Answer(not stray, f"{len(stray)} below {below}" if stray else "none", fix)


def _port(plan: Plan) -> Answer:
    port = plan.host.loopback_port()
    return Answer(port > 0, "a free port was found" if port else "127.0.0.1 has no free TCP port")


_LOAD = "load the module"
_NAT = "use a kernel with NF_NAT and NETFILTER_XT_TARGET_MASQUERADE"

CHECKS: tuple[Question, ...] = (
    Question("root", "root", "blocks", "namespaces cannot be created", "run it with sudo", _root),
    *container.CAPABILITIES,
    Question("programs", "programs of this machine", "blocks", "nodes lack tools", "install them", _programs),
    Question(
        "namespaces",
        "namespaces",
        "blocks",
        "nodes cannot be created",
        "use a kernel with NET_NS, PID_NS, UTS_NS, IPC_NS and CGROUPS",
        _namespaces,
    ),
    Question("veth", "veth links", "blocks", "no links", _LOAD, _link("veth"), "ip"),
    Question("bridge", "bridges", "blocks", "no link between nodes", _LOAD, _link("bridge"), "ip"),
    Question(
        "br-netfilter",
        "br_netfilter",
        "limits",
        "Services fail between pods of one node",
        _LOAD,
        _br_netfilter,
    ),
    Question("vxlan", "VXLAN links", "limits", "the variant flannel does not work", _LOAD, _link("vxlan"), "ip"),
    Question("iptables", "iptables", "blocks", "Services and masquerade do not work", _NAT, _iptables, "iptables"),
    *ipv6.CHECKS,
    Question(
        "nftables",
        "nftables",
        "limits",
        "proxyMode nftables does not work",
        "use a kernel with NF_TABLES_INET",
        _nftables,
        "nft",
    ),
    Question(
        "overlay",
        "overlayfs on the state directory",
        "blocks",
        "containers and nodes have no root file system",
        "put --state on ext4, xfs or tmpfs: overlayfs does not stack on overlayfs",
        _overlay,
    ),
    *doctor_cgroups.CHECKS,
    *container.OTHER,
    Question("memory", "memory", "limits", "programs are killed", "use fewer nodes", _memory),
    Question(
        "disk-state", "disk, state", "blocks", "nodes cannot write", "free disk space, or move it: --state", _disk_state
    ),
    Question(
        "disk-cache",
        "disk, cache",
        "blocks",
        "components cannot be stored",
        "free disk space, or move it: --cache",
        _disk_cache,
    ),
    Question("port", "loopback port", "blocks", "kubectl cannot reach the API server", "end some programs", _port),
    Question(
        "neighbours",
        "neighbour table",
        "limits",
        "packets are lost when it overflows; all nodes share this table",
        "use fewer nodes",
        _neighbours,
    ),
    Question("inotify", "inotify instances", "limits", "kubelet: too many open files", "raise the limit", _inotify),
    *builds.CHECKS,
    Question(
        "kubernetes",
        "Kubernetes",
        "limits",
        "its project no longer fixes bugs in it",
        "omit kubernetes.version, or set a newer one",
        _support,
    ),
    Question("leftovers", "leftovers: clusters", "limits", "their names are in use", "cnilab down --all", _leftovers),
    Question(
        "leftovers-cgroups",
        "leftovers: cgroups",
        "info",
        "their processes keep running",
        "see the line above",
        _stray_cgroups,
    ),
    Question(
        "leftovers-mounts", "leftovers: mounts", "limits", "files cannot be removed", "umount them", _stray_mounts
    ),
    Question(
        "bpf", "bpf file system", "info", "the variant cilium does not work", "use a kernel with BPF_SYSCALL", _bpf
    ),
    Question(
        "ipset",
        "IP sets",
        "info",
        "cilium with kube-proxy does not work",
        "use a kernel with IP_SET_HASH_IP",
        _ipset,
        "ipset",
    ),
    Question("ipvs", "IPVS", "info", "proxyMode ipvs does not work", _LOAD, _ipvs, "iptables"),
    Question(
        "esp",
        "IPsec (ESP)",
        "info",
        "overlays with IPsec do not work",
        "use a kernel with INET_ESP and CRYPTO_GCM",
        _esp,
        "ip",
    ),
    Question("geneve", "Geneve links", "info", "overlays with Geneve do not work", _LOAD, _link("geneve"), "ip"),
    Question(
        "wireguard", "WireGuard links", "info", "overlays with WireGuard do not work", _LOAD, _link("wireguard"), "ip"
    ),
    Question("ipip", "IPIP links", "info", "overlays with IPIP do not work", _LOAD, _link("ipip"), "ip"),
    Question("dummy", "dummy links", "info", "the variant weave does not work", _LOAD, _link("dummy"), "ip"),
    Question(
        "weave-images",
        "images of weave",
        "info",
        "the variant weave does not work: its images can be neither built nor downloaded here",
        "cnilab components add",
        _weave_images,
    ),
    Question("netem", "netem", "info", "faults that delay or lose packets cannot be injected", _LOAD, _netem, "tc"),
    *docker.CHECKS,
    *vagrant.CHECKS,
)
"""In the order in which a reader wants them: what everything stands on first."""
