"""The files of each image: components, and programs of the machine with the libraries that they load."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path

from harness.components.libraries import libraries, xtables_plugins
from harness.components.resolver import Resolver
from harness.errors import PreflightError

Content = bytes | str | Path
"""A file's content, the target of a symbolic link, or a file of this machine to copy."""

_BASE: dict[str, Content] = {
    "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/protocols": b"ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\nsctp 132 SCTP\n",
    "etc/services": b"domain 53/tcp\ndomain 53/udp\nhttp 80/tcp\nhttps 443/tcp\n",
}
# A real shell, too: busybox's own prefers its applets to the programs of the same name on PATH.
_TOOLS = ("bpftool", "bridge", "curl", "dig", "ip", "nft", "ping", "sh", "ss", "tc", "tcpdump")
_CLANG = "clang-19"
_CILIUM_TOOLS = ("bash", "bpftool", _CLANG, "ipset", "tc")
_CILIUM_SCRIPTS = {
    "scripts.tar": ("init-container.sh",),
    "cni-scripts.tar": ("cni-uninstall.sh", "install-plugin.sh"),
}
"""Archives of the component to what the published image has of each at its root."""


def _busybox(store: Resolver, *, without: Iterable[str] = ()) -> dict[str, Content]:
    busybox = store.tools.need("busybox")["busybox"].resolve()
    applets = store.runner.run((busybox, "--list")).stdout.split()
    skip = {"busybox", *without}
    return {
        "bin/busybox": busybox,
        **{f"bin/{applet}": "busybox" for applet in applets if applet not in skip},
        **libraries(store, [busybox]),
    }


def pause(store: Resolver) -> dict[str, Content]:
    """The program that keeps a pod's namespaces."""
    return {"pause": store.ensure(["pause"])["pause"].path}


def responder(store: Resolver) -> dict[str, Content]:
    """What answers probes, and nothing else."""
    return {"responder": store.ensure(["responder"])["responder"].path}


def toolbox(store: Resolver) -> dict[str, Content]:
    """The responder, and tools that people look around with."""
    return _with_tools(store, *_TOOLS)


def kit(store: Resolver) -> dict[str, Content]:
    """The toolbox without what is there for people alone: a fifth of it, when it is packed."""
    return _with_tools(store, *(name for name in _TOOLS if name not in {"curl", "dig"}))


def _with_tools(store: Resolver, *names: str) -> dict[str, Content]:
    found = store.tools.need(*names)
    programs = {f"bin/{name}": path.resolve() for name, path in found.items()}
    return {
        **_BASE,
        **_busybox(store, without=found),
        **programs,
        **libraries(store, programs.values()),
        **responder(store),
    }


def flannel(store: Resolver) -> dict[str, Content]:
    """flanneld, and what it runs."""
    flannel = store.ensure(["flannel"])["flannel"]
    return {
        **_BASE,
        **_network_tools(store),
        **{f"opt/bin/{name}": flannel.directory / name for name in flannel.files},
    }


def _network_tools(store: Resolver, *more: Path) -> dict[str, Content]:
    """A shell, busybox, ip, nft and iptables, with all that they load; and the libraries of further programs."""
    found = store.tools.need("iptables", "ip6tables", "nft", "ip", "sh")
    programs: dict[str, Path] = {
        f"sbin/{name}": path.resolve() for name, path in found.items() if name in {"nft", "ip"}
    }
    programs["bin/sh"] = found["sh"].resolve()
    # The machine's own choice between iptables-nft and iptables-legacy: rules of both kinds on one node would confuse.
    multi = found["iptables"].resolve()
    programs[f"sbin/{multi.name}"] = multi
    plugins = xtables_plugins(multi)
    return {
        **_busybox(store, without=found),
        **programs,
        **{
            f"sbin/{family}{suffix}": multi.name
            for family in ("iptables", "ip6tables")
            for suffix in ("", "-save", "-restore")
        },
        # Plugins are loaded by name at run time, so ldd of iptables does not show them; some need libm.
        **{str(path).lstrip("/"): path.resolve() for path in plugins},
        **libraries(store, [*programs.values(), *plugins, *more]),
    }


def flannel_cni_plugin(store: Resolver) -> dict[str, Content]:
    """The plugin, and a shell that puts it into place."""
    return {**_busybox(store), "flannel": store.ensure(["cni-flannel"])["cni-flannel"].path}


def cilium(store: Resolver) -> dict[str, Content]:
    """As the published image: agent, tools, scripts, compiler and the datapath's sources. Envoy is not among them."""
    found = store.ensure(["cilium", "cni-plugins"])
    cilium = found["cilium"].directory
    tools = store.tools.need(*_CILIUM_TOOLS)
    if lacking := [name for name in _CILIUM_TOOLS if name not in tools]:
        packages = " ".join(store.lock.tool[name].package for name in lacking)
        msg = f"cilium's agent needs {', '.join(lacking)} to compile and load the datapath"
        raise PreflightError(msg, next_step=f"as root: apt-get install --no-install-recommends {packages}")
    clang = tools[_CLANG].resolve()
    programs = {
        # It looks for its libraries beside itself.
        str(clang).lstrip("/"): clang,
        "bin/bash": tools["bash"].resolve(),
        **{f"sbin/{name}": tools[name].resolve() for name in ("bpftool", "ipset", "tc")},
    }
    return {
        **_BASE,
        # One directory under two names, as in every distribution: the agent's control group is mounted below the one,
        # and looked for below the other.
        "var/run": "/run",
        **_network_tools(store, *programs.values()),
        **programs,
        "usr/bin/clang": str(clang),
        "usr/bin/cilium-agent": cilium / "cilium-agent",
        "usr/bin/cilium-dbg": cilium / "cilium-dbg",
        "usr/bin/cilium": "cilium-dbg",
        "usr/bin/hubble": cilium / "hubble",
        "opt/cni/bin/cilium-cni": cilium / "cilium-cni",
        "cni/loopback": found["cni-plugins"].directory / "loopback",
        **_scripts(cilium),
        **_unpacked(cilium / "bpf.tar", "var/lib/cilium/bpf"),
    }


def _scripts(cilium: Path) -> dict[str, Content]:
    files: dict[str, Content] = {}
    for archive, names in _CILIUM_SCRIPTS.items():
        unpacked = _unpacked(cilium / archive, "")
        files |= {name: unpacked[f"/{name}"] for name in names}
    return files


def _unpacked(archive: Path, below: str) -> dict[str, Content]:
    """The files of an archive, by their paths below a directory of an image."""
    with tarfile.open(archive) as tar:
        files = ((info.name, tar.extractfile(info)) for info in tar)
        return {f"{below}/{name}": file.read() for name, file in files if file is not None}


def cilium_operator(store: Resolver) -> dict[str, Content]:
    """The operator alone."""
    cilium = store.ensure(["cilium"])["cilium"]
    return {**_BASE, "usr/bin/cilium-operator-generic": cilium.directory / "cilium-operator-generic"}


def hubble_relay(store: Resolver) -> dict[str, Content]:
    """Hubble's relay alone."""
    return {**_BASE, "usr/bin/hubble-relay": store.ensure(["cilium"])["cilium"].directory / "hubble-relay"}


def coredns(store: Resolver) -> dict[str, Content]:
    """CoreDNS alone."""
    return {**_BASE, "coredns": store.ensure(["coredns"])["coredns"].path}


def kubernetes(store: Resolver) -> dict[str, Content]:
    """All of Kubernetes under all of its names, with what kube-proxy runs."""
    found = store.ensure(["kubernetes"])["kubernetes"]
    conntrack = store.tools.need("conntrack")["conntrack"].resolve()
    links = {
        f"usr/local/bin/{link}": target
        for link, target in store.lock.component["kubernetes"].links.items()
        if link not in found.files
    }
    return {
        **_BASE,
        **_network_tools(store, conntrack),
        "usr/sbin/conntrack": conntrack,
        **{f"usr/local/bin/{name}": found.directory / name for name in found.files},
        **links,
    }


def etcd(store: Resolver) -> dict[str, Content]:
    """etcd, and a shell beside it."""
    return {**_BASE, **_busybox(store), "usr/local/bin/etcd": store.ensure(["etcd-kubeadm"])["etcd-kubeadm"].path}
