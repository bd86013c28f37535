"""A containerd of this program's own, that nobody else sees: it fetches images, and unpacks them into a directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import apart, timeouts
from harness.components.resolver import Resolver
from harness.errors import NotYetError, PreflightError
from harness.runner import WITH_US, stop

NAMESPACE = "k8s.io"
"""containerd's namespace for everything that belongs to Kubernetes."""

_PLACES = ("/run", "/mnt")
"""Where containerd may have all that is its own: a file system that only it sees. The cache is not below both.

The cache may have any name. Here it has a short one, without the commas and colons that mean something in the options
of a mount, and the socket's path fits (unix(7): 107 bytes).
"""

_APART = """\
set -e
mount -t tmpfs -o mode=0755 tmpfs "$1"
mkdir "$1/root" "$1/scratch"
mount --bind "$2" "$1/root"
exec "$3" --config "$4"
"""

_DISABLED = (
    # No pods here, and these reach for directories and devices of the machine when they start.
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.nri.v1.nri",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.native",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
)


@contextmanager
def private(store: Resolver, programs: Path, root: Path, log: Path) -> Iterator[tuple[str, ...]]:
    """Run a containerd that nobody else sees, in a mount namespace of its own.

    Yields:
        The start of a ctr command line that reaches it.
    """
    config = log.with_name("config.toml")
    place = next(one for one in _PLACES if not root.resolve().is_relative_to(one))
    config.write_text(_config(place), encoding="utf-8")
    with log.open("wb") as out:
        # Mounts made while unpacking never show on the machine, and containerd does not outlive this process.
        isolation = (*WITH_US, *apart.words())
        argv: list[str | Path] = [
            *isolation,
            "/bin/sh",
            "-c",
            _APART,
            "sh",
            place,
            root,
            programs / "containerd",
            config,
        ]
        process = store.runner.start(argv, stdout=out, stderr=out, env={"TMPDIR": f"{place}/scratch"})
        # Every word of the vector becomes the next one, so that the process is containerd in the end.
        socket = Path(f"/proc/{process.pid}/root{place}/s")
        ctr = (str(programs / "ctr"), "--address", str(socket), "--namespace", NAMESPACE)

        def answers() -> bool:
            if process.poll() is not None:
                msg = "containerd exited immediately"
                cause = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
                raise PreflightError(msg, cause=cause)
            if not socket.exists():
                msg = "containerd has not created its socket"
                raise NotYetError(msg, where=str(socket), log=str(log))
            done = store.runner.run((*ctr, "version"), check=False)
            if not done.ok:
                msg = "ctr version failed"
                raise NotYetError(msg, cause=done.tail(), where=done.command, log=str(log))
            return True

        try:
            timeouts.wait_until("containerd to answer", answers, timeouts.COMMAND)
            yield ctr
        finally:
            stop(process)


def _config(place: str) -> str:
    return (
        "version = 2\n"
        f'root = "{place}/root"\n'
        f'state = "{place}/state"\n'
        f"disabled_plugins = {json.dumps(list(_DISABLED))}\n"
        f'[grpc]\n  address = "{place}/s"\n'
    )
