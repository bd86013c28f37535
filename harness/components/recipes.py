"""All images: their names, what they are made of, and which are made elsewhere; `payloads` has their files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from harness.components import payloads
from harness.components.lock import Lock
from harness.components.payloads import Content
from harness.components.resolver import Resolver
from harness.errors import UsageError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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
        Image("pause", "cnilab.dev/pause:1", ("/pause",), (), ("pause",), payloads.pause),
        Image("toolbox", "cnilab.dev/toolbox:1", (), ("/bin/sleep", "1000000000"), ("responder",), payloads.toolbox),
        Image("responder", "cnilab.dev/responder:1", ("/responder",), ("serve",), ("responder",), payloads.responder),
        Image(
            "flannel",
            f"ghcr.io/flannel-io/flannel:{flannel}",
            ("/opt/bin/flanneld",),
            (),
            ("flannel",),
            payloads.flannel,
        ),
        Image(
            "flannel-cni-plugin",
            f"cnilab.dev/flannel-cni-plugin:{plugin}",
            (),
            ("/flannel",),
            ("cni-flannel",),
            payloads.flannel_cni_plugin,
        ),
        Image(
            "cilium",
            f"quay.io/cilium/cilium:{cilium}",
            (),
            ("/usr/bin/cilium-dbg",),
            ("cilium", "cni-plugins"),
            payloads.cilium,
            env=("HUBBLE_SERVER=unix:///var/run/cilium/hubble.sock",),
        ),
        Image(
            "cilium-operator",
            f"quay.io/cilium/operator-generic:{cilium}",
            (),
            ("/usr/bin/cilium-operator-generic",),
            ("cilium",),
            payloads.cilium_operator,
        ),
        Image(
            "hubble-relay",
            f"quay.io/cilium/hubble-relay:{cilium}",
            ("/usr/bin/hubble-relay",),
            ("serve",),
            ("cilium",),
            payloads.hubble_relay,
            # As published: its root is read-only, and gops writes a file.
            env=("GOPS_CONFIG_DIR=/tmp",),
        ),
        Image(
            "coredns", f"registry.k8s.io/coredns/coredns:{coredns}", ("/coredns",), (), ("coredns",), payloads.coredns
        ),
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
        Image("kubernetes", first, (), (), ("kubernetes",), payloads.kubernetes, tuple(others)),
        Image("etcd", f"registry.k8s.io/etcd:{etcd}-0", (), (), ("etcd-kubeadm",), payloads.etcd),
        Image("kubernetes-pause", pause, ("/pause",), (), ("pause",), payloads.pause, tuple(pauses)),
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
