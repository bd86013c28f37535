"""A lab on kind: its node image, the cluster, the router beside it, and a kubeconfig that names files."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from harness import enter, timeouts
from harness.cluster import coredns, node_config
from harness.cluster.client_kubeconfig import split_client
from harness.cluster.kube import ApiError, Kube
from harness.cni import networks
from harness.components import node_image
from harness.components.store import Store
from harness.errors import CnilabError, PreflightError
from harness.model import labstate
from harness.model.labstate import LabDir
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.providers import limits, registry
from harness.providers.kind import config, create
from harness.providers.kind.answers import EngineError
from harness.providers.kind.engine import Engine, default_host
from harness.providers.protocol import Found, Order

INOTIFY_PER_NODE = 24
"""inotify instances (inotify(7)) of a node: systemd, containerd, kubelet; and a control plane's half."""

IMAGE_VARIABLE = "CNILAB_NODE_IMAGE"
PUBLISHED = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
"""The node image of kind v0.33.0's release notes: kind supports no other than those of its own release."""


def bring_up(order: Order) -> Found:
    """Make a cluster with kind; see `protocol.Driver`."""
    spec, place, journal = order.spec, order.place, order.journal
    engine = Engine()
    create.name_is_free(engine, spec)
    if os.geteuid() == 0 and default_host().startswith("unix:"):
        require_room(spec, limits.read(limits.INOTIFY), limits.inotify_instances())
    create.claim(place, spec, order.run.path)
    with journal.step("up.materials", "programs and images"):
        wanted = networks.network(order.variant).file_systems
        materials = replace(prepare(order, engine), file_systems=wanted)
        networks.deliver(order.store, place, spec, order.variant)
    image = create.guarded(engine, place, materials.image)
    text = cluster_config(spec, order.variant, image, cgroup_v1=engine.facts().cgroups == "1")

    def early(made: LabSpec, kubeconfig: str, goes_on: Callable[[], bool]) -> None:
        with contextlib.suppress(CnilabError):  # all of it is done again, and seriously, when kind has ended
            split_client(place, kubeconfig)
            _start_network(place, made, order.variant, goes_on)

    known, lab = create.create(engine, place, spec, text, materials, journal, early)
    port = split_client(place, place.kubeconfig.read_text(encoding="utf-8"))
    known = known.model_copy(update={"api_port": port})
    labstate.write(place, known)
    return Found(known, lab)


def require_room(spec: LabSpec, limit: int | None, used: int) -> None:
    """Insist on inotify instances: without them containerd starts without its CRI, and kubeadm waits for minutes.

    Args:
        spec: The lab.
        limit: What a user of the engine's machine may have; None when that is not known.
        used: What is taken.

    Raises:
        PreflightError: There are too few.
    """
    short = limits.Shortage(limits.INOTIFY, limit or 0, used, INOTIFY_PER_NODE * spec.nodes)
    if limit is not None and limit < used + short.needed:
        msg = f"this machine's limits are too low for {spec.nodes} nodes of kind"
        name = limits.INOTIFY.replace("/", ".")
        raise PreflightError(msg, cause=str(short), next_step=f"sysctl -w {name}={short.target}, or use fewer nodes")


def _start_network(place: LabDir, spec: LabSpec, variant: Variant, goes_on: Callable[[], bool]) -> None:
    """Give the first node its network while the others join; its agents then wait for them, not they for it."""
    network = networks.network(variant)
    if network.manifests is None or network.configure is not None:
        return
    kube = Kube(place.client_kubeconfig)

    def appears(api_version: str, kind: str, name: str) -> bool:
        for _ in timeouts.ticks(timeouts.API_READY, 0.2):
            try:
                if kube.get(api_version, kind, name, "kube-system") is not None:
                    return True
            except ApiError as error:
                # kubeadm makes its administrator's rights when the API server is ready: a while it refuses with 403.
                if not error.patience:
                    raise
            if not goes_on():
                return False
        return False

    if appears("v1", "ConfigMap", "kubeadm-config"):
        networks.install(place, spec, variant, kube)
    # kubeadm's last phases make these once, and would overwrite what is there.
    if appears("apps/v1", *(("DaemonSet", "kube-proxy") if variant.kube_proxy else ("Deployment", "coredns"))):
        kube.apply(coredns.manifests(spec))


def cluster_config(spec: LabSpec, variant: Variant, image: str, *, cgroup_v1: bool) -> str:
    """Kind's configuration.

    Args:
        spec: The lab.
        variant: Its pod network.
        image: Of the nodes, full name.
        cgroup_v1: The engine's machine has control groups of version 1.
    """
    permitted = node_config.allow_cgroup_v1(spec) if cgroup_v1 else {}
    kubelet = {"syncFrequency": "5s", **permitted, **node_config.crash_loop_back_off(spec)}
    return config.cluster(spec, image, coredns=coredns.IMAGE, kubelet=kubelet, kube_proxy=variant.kube_proxy)


def rendered(spec: LabSpec, variant: Variant) -> dict[str, str]:
    """Kind's configuration as a file; the image is chosen when the engine is asked, and its machine taken for this."""
    image = os.environ.get(IMAGE_VARIABLE) or f"{node_image.REPOSITORY}:…"
    return {"kind.yaml": cluster_config(spec, variant, image, cgroup_v1=enter.cgroup_v1())}


def prepare(order: Order, engine: Engine) -> create.KindMaterials:
    """Programs and images, from the cache or made now; and a node image that the engine has.

    Args:
        order: What the lab shall be.
        engine: Asked for node images.
    """
    store = order.store
    with ThreadPoolExecutor() as pool:
        chosen = pool.submit(node_image_of, store, engine, order.spec.kubernetes.version)
        store.ensure(order.needs.components)
        wanted = order.needs.images
        loads = dict(zip(store.image_references(wanted), store.image_archives(wanted), strict=True))
        return create.KindMaterials(
            programs=store.bin_dir(registry.driver(order.spec.provider).components),
            responder=store.ensure(["responder"])["responder"].path,
            cni=store.cni_dir(),
            image=chosen.result(),
            loads=loads,
        )


def node_image_of(store: Store, engine: Engine, version: str) -> str:
    """The node image to use: the one that the user names, the one built here, or kind's published one.

    Args:
        store: Says what the one built here would be.
        engine: Asked for images.
        version: Of Kubernetes, minor or full.

    Raises:
        PreflightError: None can be had.
    """
    found = known_image(engine, version)
    if not found:
        wanted = os.environ.get(IMAGE_VARIABLE) or (PUBLISHED if of_version(PUBLISHED, version) else "")
        if not wanted:
            msg = f"the engine has no node image with Kubernetes {version}"
            step = f"cnilab components build-node-image --kubernetes {version}, or set one with {IMAGE_VARIABLE}"
            raise PreflightError(msg, cause=f"this version of kind publishes {PUBLISHED}", next_step=step)
        _pull(engine, wanted)
        return wanted
    if found.startswith(f"{node_image.REPOSITORY}:") and not os.environ.get(IMAGE_VARIABLE):
        # One of other components is a whole one, too; but the one of these is better.
        current = node_image.reference(store)
        return current if engine.has_image(current) else found
    return found


def of_version(image: str, version: str) -> bool:
    """Whether a node image has that Kubernetes, by its tag: `cnilab.dev/node:v1.37.2-0123456789ab`."""
    return re.match(rf"[^@]*:v{re.escape(version)}(?=[.@-]|$)", image) is not None


def known_image(engine: Engine, version: str) -> str:
    """A node image that the engine has and that would be used; empty when there is none.

    Args:
        engine: Asked for images.
        version: Of Kubernetes, minor or full. What the user names is used whatever it has.
    """
    named = os.environ.get(IMAGE_VARIABLE, "")
    if named:
        return named if engine.has_image(named) else ""
    built = [image for image in engine.images(node_image.REPOSITORY) if of_version(image, version)]
    if built:
        return built[0]
    return PUBLISHED if of_version(PUBLISHED, version) and engine.has_image(PUBLISHED) else ""


def _pull(engine: Engine, reference: str) -> None:
    try:
        engine.pull(reference)
    except EngineError as error:
        msg = "the engine has no node image and cannot pull one"
        raise PreflightError(
            msg,
            cause=error.cause,
            where=reference,
            next_step="'cnilab components build-node-image' makes one without a registry",
        ) from error
