"""kind's node image, made on this machine from the project's own components: no registry is asked.

It is what kind's own Dockerfile makes (images/base/Dockerfile of the pinned module): a small Debian with systemd,
kind's files on top, containerd, runc, kubeadm and kubelet. Beside that it has what labs bring to every node anyway: all
CNI plugins, the responder, and the images of kubeadm's pods and of flannel, unpacked.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from harness.components import rootfs
from harness.components.store import Store
from harness.errors import PreflightError
from harness.model import firstly
from harness.runner import stop

FORMAT = 2
"""Counts changes of this writer: part of the image's name."""

REPOSITORY = "cnilab.dev/node"

PACKAGES = (
    "bash", "ca-certificates", "conntrack", "curl", "dbus", "ethtool", "ipset", "iproute2", "iptables", "iputils-ping",
    "jq", "kmod", "libseccomp2", "mount", "nftables", "procps", "socat", "systemd", "systemd-sysv", "tcpdump",
    "util-linux",
)  # fmt: skip
"""What kind's Dockerfile installs and a lab needs, and tools that people look around with."""

IMAGES = (
    "kubernetes", "etcd", "kubernetes-pause", "coredns", "toolbox", "responder", "flannel", "flannel-cni-plugin",
)  # fmt: skip
"""Unpacked in the image. Others, which are large, are loaded when a lab wants them."""

_COMPONENTS = ("kubernetes", "kubeadm", "containerd", "runc", "crictl", "responder", "kind-base")

_PRUNED = (
    "lib/systemd/system/multi-user.target.wants/*",
    "etc/systemd/system/*.wants/*",
    "lib/systemd/system/local-fs.target.wants/*",
    "lib/systemd/system/sockets.target.wants/*udev*",
    "lib/systemd/system/sockets.target.wants/*initctl*",
    "lib/systemd/system/basic.target.wants/*",
    "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
    # Settings of the whole machine (sysctl.d(5)), which a node is no place for.
    "usr/lib/sysctl.d/*",
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
)
"""As in kind's Dockerfile: a node starts what it needs, and nothing else."""

_UNITS = ("containerd.service", "kubelet.service", "undo-mount-hacks.service")


def reference(store: Store) -> str:
    """The image's full name; another one as soon as anything in it is another.

    Raises:
        PreflightError: A component is not available.
    """
    return f"{REPOSITORY}:{rootfs.stamp(store, FORMAT, PACKAGES, _COMPONENTS, IMAGES, firstly.script())}"


@contextmanager
def tree(store: Store) -> Iterator[Path]:
    """The image's root directory, which is there as long as the context is open.

    Raises:
        PreflightError: A component or the distribution's packages are not available, or this is not root.
    """
    system = rootfs.system(
        store,
        PACKAGES,
        what="the node image's system",
        instead="use an image that kind publishes: docker pull kindest/node",
    )
    with store.exclusive("node-image") as scratch:
        root = scratch / "root"
        rootfs.grow(store, system, root)
        _prune(root)
        _kind_files(store, root)
        _programs(store, root)
        _settings(store, root)
        rootfs.load(store, root, IMAGES)
        yield root


@contextmanager
def archive(store: Store, root: Path) -> Iterator[IO[bytes]]:
    """The tree as one tar archive, to be read while it is written.

    Raises:
        PreflightError: It could not be read as a whole.
    """
    process = store.runner.start(["tar", "--numeric-owner", "-C", root, "-c", "."], stdout=subprocess.PIPE)
    if process.stdout is None:
        msg = "tar has no output"
        raise PreflightError(msg)
    try:
        yield process.stdout
    finally:
        process.stdout.close()
        stop(process)


def _prune(root: Path) -> None:
    for pattern in _PRUNED:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _kind_files(store: Store, root: Path) -> None:
    """Kind's own files, with one change: containers are never killed later than what starts them."""
    with tarfile.open(store.ensure(["kind-base"])["kind-base"].directory / "base.tar") as tar:
        for info in tar:
            content = tar.extractfile(info)
            if content is not None:
                program = info.name.startswith(("usr/local/bin/", "kind/bin/"))
                rootfs.write(root / info.name, content.read(), 0o755 if program else 0o644)
    config = root / "etc/containerd/config.toml"
    text = config.read_text(encoding="utf-8")
    # Without CAP_SYS_RESOURCE runc cannot give a container a lower oom_score_adj than its own, and dies.
    rootfs.write(config, text.replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true").encode())


def _programs(store: Store, root: Path) -> None:
    places = {
        "containerd": "usr/local/bin",
        "runc": "usr/local/sbin",
        "crictl": "usr/local/bin",
        "kubernetes": "usr/bin",
        "kubeadm": "usr/bin",
        "responder": "opt/cnilab/bin",
        **dict.fromkeys(store.cni_components(), "opt/cni/bin"),
    }
    rootfs.programs(store, root, places)


def _settings(store: Store, root: Path) -> None:
    version = store.lock.component["kubernetes"].pinned
    journald = root / "etc/systemd/journald.conf"
    rootfs.write(journald, journald.read_bytes() + b"ReadKMsg=no\n")
    rootfs.write(root / "kind/version", f"v{version}".encode())
    rootfs.write(root / "etc/containerd/cri-base.json", json.dumps(_container_spec(store)).encode())
    rootfs.write(root / firstly.PROGRAM.lstrip("/"), firstly.script().encode(), 0o755)
    (root / "etc/kubernetes/manifests").mkdir(parents=True, exist_ok=True)
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    for unit in _UNITS:
        (wanted / unit).symlink_to(f"/etc/systemd/system/{unit}")
    masked = root / "etc/systemd/system/systemd-binfmt.service"
    masked.unlink(missing_ok=True)
    masked.symlink_to("/dev/null")
    init = root / "sbin/init"
    if not init.exists():
        init.symlink_to("/lib/systemd/systemd")


def _container_spec(store: Store) -> dict[str, object]:
    """What containers of pods start from: containerd's own, with kind's hook and without limits."""
    ctr = store.ensure(["containerd"])["containerd"].directory / "ctr"
    spec: dict[str, dict[str, object]] = json.loads(store.runner.run([ctr, "oci", "spec"]).stdout)
    spec["process"].pop("rlimits", None)
    spec["hooks"] = {"createContainer": [{"path": "/kind/bin/mount-product-files.sh"}]}
    return dict(spec)
