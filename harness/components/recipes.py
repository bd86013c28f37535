"""What is in each image: components, and programs of the machine with the libraries they load."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.components.lock import Lock
from harness.components.resolver import Resolver
from harness.errors import PreflightError, UsageError

Content = bytes | str | Path
"""A file's content, the target of a symbolic link, or a file of this machine to copy."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_LIBRARY = re.compile(r"^\t(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)

_BASE: dict[str, Content] = {
    "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/protocols": b"ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\nsctp 132 SCTP\n",
    "etc/services": b"domain 53/tcp\ndomain 53/udp\nhttp 80/tcp\nhttps 443/tcp\n",
}
# A real shell, too: busybox's own prefers its applets to the programs of the same name on PATH.
_TOOLS = ("bridge", "curl", "dig", "ip", "nft", "ping", "sh", "ss", "tcpdump")
_CLANG = "clang-19"
_CILIUM_TOOLS = ("bash", "bpftool", _CLANG, "ipset", "tc")
_CILIUM_SCRIPTS = {
    "scripts.tar": ("init-container.sh",),
    "cni-scripts.tar": ("cni-uninstall.sh", "install-plugin.sh"),
}
"""Archives of the component to what the published image has of each at its root."""


@dataclass(frozen=True)
class Image:
    """One image.

    Args:
        name: Short name, and the archive's.
        reference: Full name with tag: the upstream one where there is an upstream.
        entrypoint: As in the image's configuration.
        command: Likewise.
        components: Components that it is made of.
        contents: Computes its files.
        also: Further full names of the same image.
        given: The user brings it; nothing of it is made here.
        pulled: It is pulled, unless the user brings it; nothing of it is made here.
        env: Variables of its processes, as NAME=value.
    """

    name: str
    reference: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    components: tuple[str, ...]
    contents: Callable[[Resolver], dict[str, Content]]
    also: tuple[str, ...] = ()
    given: bool = False
    pulled: bool = False
    env: tuple[str, ...] = ()

    @property
    def foreign(self) -> bool:
        """Nothing of it is made here."""
        return self.given or self.pulled

    @property
    def place(self) -> str:
        """Of its archive below a folder of the cache, where it is not made here. Of some there may be many versions."""
        name = short_name(self.reference)
        key = hashlib.sha256(self.reference.encode()).hexdigest()[:16]
        return f"{name}-{key}/{name}.tar" if self.pulled else f"{name}/{name}.tar"


PUBLISHERS = ("docker.io/flannel/", "docker.io/rajchaudhuri/", "ghcr.io/flannel-io/", "quay.io/cilium/")
"""Where the projects of networks publish their images."""


def short_name(reference: str) -> str:
    """`cilium` of `quay.io/cilium/cilium:v1.19.4`."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0]


def published(references: Iterable[str]) -> list[Image]:
    """Images that are pulled or brought, by their full names; short names are the last parts of those."""
    known = list(references)
    short = [short_name(one) for one in known]
    names = [
        name if short.count(name) == 1 else re.sub(r"[^a-z0-9.-]+", "-", one.lower())
        for name, one in zip(short, known, strict=True)
    ]
    return [
        Image(name, reference, (), (), (), lambda _: {}, pulled=True)
        for name, reference in zip(names, known, strict=True)
    ]


def images(lock: Lock) -> list[Image]:
    """All images of the lock's versions. Those of a network that is not pinned have the names of those that are."""
    others = published(lock.pulled)
    taken = {image.name for image in others}
    return [*(image for image in _pinned(lock) if image.name not in taken), *others]


def _pinned(lock: Lock) -> list[Image]:
    flannel, plugin, coredns, cilium = (
        lock.component[name].tag for name in ("flannel", "cni-flannel", "coredns", "cilium")
    )
    return [
        Image("pause", "cnilab.dev/pause:1", ("/pause",), (), ("pause",), _pause),
        Image("toolbox", "cnilab.dev/toolbox:1", (), ("/bin/sleep", "1000000000"), ("responder",), _toolbox),
        Image("responder", "cnilab.dev/responder:1", ("/responder",), ("serve",), ("responder",), _responder),
        Image(
            "flannel",
            f"ghcr.io/flannel-io/flannel:{flannel}",
            ("/opt/bin/flanneld",),
            (),
            ("flannel",),
            _flannel,
        ),
        Image(
            "flannel-cni-plugin",
            f"cnilab.dev/flannel-cni-plugin:{plugin}",
            (),
            ("/flannel",),
            ("cni-flannel",),
            _flannel_cni_plugin,
        ),
        Image(
            "cilium",
            f"quay.io/cilium/cilium:{cilium}",
            (),
            ("/usr/bin/cilium-dbg",),
            ("cilium", "cni-plugins"),
            _cilium,
            env=("HUBBLE_SERVER=unix:///var/run/cilium/hubble.sock",),
        ),
        Image(
            "cilium-operator",
            f"quay.io/cilium/operator-generic:{cilium}",
            (),
            ("/usr/bin/cilium-operator-generic",),
            ("cilium",),
            _cilium_operator,
        ),
        Image("coredns", f"registry.k8s.io/coredns/coredns:{coredns}", ("/coredns",), (), ("coredns",), _coredns),
        *_control_plane(lock),
        *(
            Image(name, f"docker.io/rajchaudhuri/{name}:{WEAVE}", (), (), (), lambda _: {}, given=True)
            for name in ("weave-kube", "weave-npc")
        ),
    ]


WEAVE = "2.9.0"
"""Of the fork that goes on, whose module Go's proxy does not serve, so that it cannot be built here."""

KUBEADM_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
"""What kubeadm runs as pods, each in an image of its own name."""

KUBEADM_PAUSES = ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10.1", "registry.k8s.io/pause:3.10.2")
"""Names of the pause image: in the configuration of kind's containerd, in kubeadm 1.34 and 1.35, and in newer ones."""


def _control_plane(lock: Lock) -> list[Image]:
    """What kubeadm wants to find, under the names that it asks for; one image where it has four."""
    kubernetes, etcd = (lock.component[name].pinned for name in ("kubernetes", "etcd-kubeadm"))
    first, *others = (f"registry.k8s.io/{program}:v{kubernetes}" for program in KUBEADM_PROGRAMS)
    pause, *pauses = KUBEADM_PAUSES
    return [
        Image("kubernetes", first, (), (), ("kubernetes",), _kubernetes, tuple(others)),
        Image("etcd", f"registry.k8s.io/etcd:{etcd}-0", (), (), ("etcd-kubeadm",), _etcd),
        Image("kubernetes-pause", pause, ("/pause",), (), ("pause",), _pause, tuple(pauses)),
    ]


def find(lock: Lock, name: str) -> Image:
    """The image of that short name or reference.

    Raises:
        UsageError: There is none.
    """
    known = images(lock)
    for image in known:
        if name in {image.name, image.reference}:
            return image
    msg = f"no image is named {name!r}"
    raise UsageError(msg, next_step=f"choose from: {', '.join(image.name for image in known)}")


def libraries(store: Resolver, programs: Iterable[Path]) -> dict[str, Content]:
    """The shared libraries and the loader that programs or libraries need, at the paths where they are looked for.

    The answer is kept in the cache: ldd starts one process per program, a second for all of iptables' plugins.

    Args:
        store: Runs ldd and has the cache.
        programs: Static ones need nothing.

    Raises:
        PreflightError: A library is missing on this machine.
    """
    paths = sorted({str(path) for path in programs})
    stats = [(path, (info := Path(path).stat()).st_size, info.st_mtime_ns) for path in paths]
    memo = store.cache / "libraries" / f"{hashlib.sha256(repr(stats).encode()).hexdigest()[:16]}.json"
    found: list[str] | None = json.loads(memo.read_text()) if memo.is_file() else None
    if found is None or not all(Path(path).is_file() for path in found):
        found = _ldd(store, paths)
        with store.exclusive(memo.stem) as scratch:
            (scratch / memo.name).write_text(json.dumps(found))
            memo.parent.mkdir(exist_ok=True)
            (scratch / memo.name).replace(memo)
    # Where a program finds its libraries relative to itself, the path goes up and down again.
    return {os.path.normpath(path).lstrip("/"): Path(path).resolve() for path in found}


def _ldd(store: Resolver, paths: list[str]) -> list[str]:
    # ldd's exit status is 1 as soon as one of them is static: the text says more.
    text = store.runner.run(("ldd", *paths), check=False).stdout
    if "not found" in text:
        lines = [line.strip() for line in text.splitlines() if "not found" in line]
        msg = "a program of this machine lacks a shared library"
        raise PreflightError(msg, cause="\n".join(lines), where=" ".join(paths))
    return sorted(set(_LIBRARY.findall(text)))


def _busybox(store: Resolver, *, without: Iterable[str] = ()) -> dict[str, Content]:
    busybox = store.tools.need("busybox")["busybox"].resolve()
    applets = store.runner.run((busybox, "--list")).stdout.split()
    skip = {"busybox", *without}
    return {
        "bin/busybox": busybox,
        **{f"bin/{applet}": "busybox" for applet in applets if applet not in skip},
        **libraries(store, [busybox]),
    }


def _pause(store: Resolver) -> dict[str, Content]:
    return {"pause": store.ensure(["pause"])["pause"].path}


def _responder(store: Resolver) -> dict[str, Content]:
    return {"responder": store.ensure(["responder"])["responder"].path}


def _toolbox(store: Resolver) -> dict[str, Content]:
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
        **_responder(store),
    }


def _flannel(store: Resolver) -> dict[str, Content]:
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


def xtables_plugins(multi: Path) -> list[Path]:
    """Plugins of iptables for matches and targets: libxt_*.so, libipt_*.so, libip6t_*.so.

    Args:
        multi: The iptables program itself; only its directory's root counts.

    Raises:
        PreflightError: There are none.
    """
    root = multi.parent.parent  # /usr/sbin/xtables-nft-multi -> /usr
    for pattern in ("lib/*/xtables", "lib64/xtables", "lib/xtables"):
        for directory in sorted(root.glob(pattern)):
            if plugins := sorted(directory.glob("lib*.so")):
                return plugins
    msg = f"iptables' plugins (libxt_*.so) were not found under {root}"
    raise PreflightError(msg, next_step="install the distribution's iptables package again")


def _flannel_cni_plugin(store: Resolver) -> dict[str, Content]:
    return {**_busybox(store), "flannel": store.ensure(["cni-flannel"])["cni-flannel"].path}


def _cilium(store: Resolver) -> dict[str, Content]:
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


def _cilium_operator(store: Resolver) -> dict[str, Content]:
    cilium = store.ensure(["cilium"])["cilium"]
    return {**_BASE, "usr/bin/cilium-operator-generic": cilium.directory / "cilium-operator-generic"}


def _coredns(store: Resolver) -> dict[str, Content]:
    return {**_BASE, "coredns": store.ensure(["coredns"])["coredns"].path}


def _kubernetes(store: Resolver) -> dict[str, Content]:
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


def _etcd(store: Resolver) -> dict[str, Content]:
    return {**_BASE, **_busybox(store), "usr/local/bin/etcd": store.ensure(["etcd-kubeadm"])["etcd-kubeadm"].path}
