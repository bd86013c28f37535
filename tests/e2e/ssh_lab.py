"""A lab of namespaces that is reached by ssh alone, as one of virtual machines is; it is up in seconds.

Beside the lab's own state stands one of the vagrant provider, for the same machines. Each of them runs an ssh server at
its own loopback, and the ssh configuration leads there by a ProxyCommand; no port of this machine's is listened at.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.enter import into_machine
from harness.model.labstate import LabDir
from harness.model.spec import LabSpec
from harness.providers.vagrant import render, state
from harness.runner import HostRunner

SERVER = Path(__file__).with_name("ssh_server.py")
"""Takes one key alone. (dropbear 2022.83 loses about one session of a hundred where several share a connection.)"""

CONNECT = """\
import os, shutil, socket, threading
there = socket.create_connection(("127.0.0.1", 22))
def copy(source, sink):
    while data := os.read(source, 65536):
        view = memoryview(data)
        while view:
            view = view[os.write(sink, view):]
threading.Thread(target=lambda: (copy(there.fileno(), 1), os._exit(0)), daemon=True).start()
copy(0, there.fileno())
"""
"""What nc(1) does, which not every machine has."""

PACKAGES = {"sudo": ("sudo",), "ssh": ("openssh-client",)}
"""None of them starts anything by itself."""

_OPEN_TREE, _MOVE_MOUNT, _AT_FDCWD = 428, 429, -100
_OPEN_TREE_CLONE, _EMPTY_PATH_OF_SOURCE = 1, 4
_MOUNT_NAMESPACE = 0x00020000


@contextmanager
def stand_in(native: LabDir, place: LabDir, name: str) -> Iterator[None]:
    """The state of a vagrant lab for the machines of a lab of namespaces, whose ssh servers run until the block ends.

    Args:
        native: The lab of namespaces, which is up.
        place: The state to be made.
        name: Of a CNI variant.
    """
    known: dict[str, Any] = json.loads(native.state_file.read_text())
    pids = {machine["name"]: machine["pid"] for machine in known["machines"]}
    spec = {**known["spec"], "provider": "vagrant", "name": place.name, "cni": name}
    spec["underlay"] = {**spec["underlay"], "nic": "eth0"}
    folder = state.folder(place)
    folder.mkdir(parents=True)
    key = folder / "key"
    HostRunner().run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    hosts = [machine for machine in pids if machine not in {"far", "fabric"}]
    servers = [_serve(pids[machine], key) for machine in hosts]
    _far_in_the_router(pids["far"], pids["router"])
    state.ssh_config(place).write_text("".join(_host(machine, pids[machine], key) for machine in hosts))
    shutil.copy(native.kubeconfig, place.kubeconfig)
    shutil.copytree(native.client_kubeconfig.parent, place.client_kubeconfig.parent)
    common = {key: known[key] for key in ("created", "run", "programs", "api_port")}
    state.write(
        place,
        state.VagrantState.model_validate(
            {**common, "name": place.name, "spec": LabSpec.model_validate(spec), "ready": True, "started": True}
        ),
    )
    try:
        yield
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.communicate()


def _inside(pid: int, *words: str, text: str = "") -> None:
    into_machine(pid).run(words, input=text)


def _serve(pid: int, key: Path) -> subprocess.Popen[bytes]:
    """Let the owner of a key in, as root. The server's own key is the same: nobody else is asked for it."""
    inside = into_machine(pid).vector(("/bin/sh", "-c"))
    outside = ("nsenter", "-t", str(pid), "-n", "--", sys.executable)
    words = map(str, (*outside, SERVER, key, key.with_suffix(".pub"), *inside))
    server = HostRunner().start(tuple(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert server.stdout is not None
    first = server.stdout.readline()
    assert first == b"listening\n", first + server.stdout.read()
    return server


def _host(name: str, pid: int, key: Path) -> str:
    # A line of ssh_config(5) has no line feeds.
    program = f"exec({CONNECT!r})"
    server = shlex.join(("nsenter", "-t", str(pid), "-n", "--", sys.executable, "-S", "-c", program))
    lines = {
        "HostName": name,
        "User": "root",
        "IdentityFile": f'"{key}"',
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "no",
        "ProxyCommand": server.replace("%", "%%"),
        "LogLevel": "FATAL",
    }
    return f"Host {name}\n" + "".join(f"  {word} {value}\n" for word, value in lines.items()) + "\n"


def _far_in_the_router(far: int, router: int) -> None:
    """Give the far host's network namespace a name in the router's file system, where the router VM has it.

    The router's /proc does not have the far host, so the mount is made here, and moved there (move_mount(2)).
    """
    _inside(router, "mkdir", "-p", "/run/netns")
    _inside(router, "touch", render.FAR_NETNS)
    child = os.fork()
    if child == 0:
        os._exit(_move(f"/proc/{far}/ns/net", router))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _move(source: str, router: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    tree = libc.syscall(_OPEN_TREE, _AT_FDCWD, source.encode(), _OPEN_TREE_CLONE)
    namespace = os.open(f"/proc/{router}/ns/mnt", os.O_RDONLY)
    if tree < 0 or libc.setns(namespace, _MOUNT_NAMESPACE):
        return 1
    target = render.FAR_NETNS.encode()
    moved = libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, target, _EMPTY_PATH_OF_SOURCE)
    return 0 if moved == 0 else 2
