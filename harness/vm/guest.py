r"""PID 1 of the machine, and the agent that runs programs there for whoever knows the secret.

Runs under the other kernel with nothing but the standard library. One connection is one program:

    {"token": …, "argv": […], "cwd": …, "env": {…}, "tty": [rows, columns] or null, "slower": FACTOR}\n
    then frames in both directions: kind (1 byte), length (4 bytes, big endian), payload
        in:  0 standard input (empty: its end), s a signal's number
        out: 1 standard output, 2 standard error, x exit status, ends the connection
    {"token": …, "relay": PORT}\n makes connections to the API port reach that port of the guest's loopback
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

STDIN, STDOUT, STDERR, SIGNAL, EXIT = b"0", b"1", b"2", b"s", b"x"
HEADER = struct.Struct(">cI")
DRAIN = 2.0
"""Seconds, before scaling, in which what a program said before its end is passed on."""

LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}

# Limits of a machine that does nothing else: see harness.providers.limits.
SYSCTLS = {
    "fs/inotify/max_user_instances": "8192",
    "fs/inotify/max_user_watches": "524288",
    "net/ipv4/neigh/default/gc_thresh3": "16384",
    # Once a module of tunnels is there, every new namespace would have its device: tunl0 in each pod.
    "net/core/fb_tunnels_only_for_init_net": "1",
    "kernel/panic": "-1",
    "kernel/panic_on_oops": "1",
}


def main() -> None:
    """Become a machine, start the agent, and reap what nobody waits for."""
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    prepare(config)
    if os.fork() == 0:
        os.setsid()
        serve(config)
        os._exit(0)
    while True:
        with contextlib.suppress(ChildProcessError):
            os.wait()


def prepare(config: dict[str, Any]) -> None:
    """Mounts, limits, names and the one link."""
    for name, target in LINKS.items():
        with contextlib.suppress(FileExistsError):
            Path("/dev", name).symlink_to(target)
    for words in (
        ("-t", "devpts", "-o", "mode=620,ptmxmode=666", "devpts", "/dev/pts"),
        ("-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/dev/shm"),  # noqa: S108 - it is that file system
        ("-t", "mqueue", "mqueue", "/dev/mqueue"),
        ("-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"),
        ("-t", "bpf", "bpf", "/sys/fs/bpf"),
        *(("-t", "virtiofs", tag, target) for tag, target in config["shares"].items()),
        *(("--bind", source, target) for source, target in config["binds"].items()),
    ):
        Path(words[-1]).mkdir(parents=True, exist_ok=True)
        _run("mount", *words)
    for key, value in SYSCTLS.items():
        with contextlib.suppress(OSError):
            Path("/proc/sys", key).write_text(value, encoding="ascii")
    socket.sethostname(config["hostname"])
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "addr", "add", f"{config['address']}/24", "dev", "eth0")
    _run("ip", "link", "set", "eth0", "up")


def _run(*words: str) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True)  # noqa: S603, RUF100
    if done.returncode:
        print(f"cnilab-vm: {' '.join(words)}: {done.stderr.strip()}", flush=True)  # noqa: T201 - the console


def serve(config: dict[str, Any]) -> None:
    """Accept connections for ever."""
    relay = Relay()
    api = socket.create_server((config["address"], config["api_port"]))
    threading.Thread(target=_accept, args=(api, relay.carry), daemon=True).start()
    agent = socket.create_server((config["address"], config["agent_port"]))
    print("cnilab-vm: ready", flush=True)  # noqa: T201
    _accept(agent, lambda connection: _session(connection, config["token"], relay))


def _accept(listener: socket.socket, handle: Callable[[socket.socket], None]) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_guarded, args=(handle, connection), daemon=True).start()


def _guarded(handle: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError, ValueError, KeyError):
        handle(connection)


class Relay:
    """Carries connections to a port of the loopback, when it is known."""

    def __init__(self) -> None:
        self.port = 0

    def carry(self, outside: socket.socket) -> None:
        """Both directions, until both ends have said that they are done."""
        with socket.create_connection(("127.0.0.1", self.port)) as inside:
            back = threading.Thread(target=_pump, args=(inside, outside), daemon=True)
            back.start()
            _pump(outside, inside)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _session(connection: socket.socket, token: str, relay: Relay) -> None:
    with connection.makefile("rb") as stream:
        request = json.loads(stream.readline(1 << 20))
        if not hmac.compare_digest(str(request.get("token")), token):
            return
        if "relay" in request:
            relay.port = int(request["relay"])
            _send(connection, threading.Lock(), EXIT, b"\0")
            return
        Program(connection, stream, request).run()


def _send(connection: socket.socket, lock: threading.Lock, kind: bytes, payload: bytes) -> None:
    with lock:
        connection.sendall(HEADER.pack(kind, len(payload)) + payload)


class Program:
    """A program that somebody outside waits for.

    Args:
        connection: To whoever waits.
        stream: What comes from there, after the request.
        request: What shall run.
    """

    def __init__(self, connection: socket.socket, stream: IO[bytes], request: dict[str, Any]) -> None:
        self._connection = connection
        self._stream = stream
        self._request = request
        self._slower = float(request.get("slower", 1.0))
        self._lock = threading.Lock()

    def run(self) -> None:
        """Start it, carry its streams, and say how it ended. It ends when nobody waits any more."""
        try:
            process, outputs, stdin = self._start()
        except OSError as error:
            self._answer(STDERR, f"cannot run {self._request['argv'][0]}: {error.strerror}\n".encode())
            self._answer(EXIT, b"\x7f")
            return
        listener = threading.Thread(target=self._listen, args=(process, stdin), daemon=True)
        pumps = [threading.Thread(target=self._pump, args=pair, daemon=True) for pair in outputs]
        for thread in (listener, *pumps):
            thread.start()
        code = process.wait()
        for pump in pumps:
            pump.join(DRAIN * self._slower)  # what the program left running may keep its output open
        self._answer(EXIT, bytes([code if code >= 0 else 128 - code]))
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RD)
        listener.join()
        for file in (stdin, *(file for _, file in outputs)):
            with contextlib.suppress(OSError):
                file.close()

    def _start(self) -> tuple[subprocess.Popen[bytes], list[tuple[bytes, IO[bytes]]], IO[bytes]]:
        request = self._request
        facts: dict[str, Any] = {"args": request["argv"], "cwd": request["cwd"], "env": request["env"]}
        if request.get("tty"):
            import fcntl  # noqa: PLC0415 - only a terminal needs these
            import termios  # noqa: PLC0415

            ours, theirs = os.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *request["tty"], 0, 0))
            process = subprocess.Popen(**facts, preexec_fn=lambda: os.login_tty(theirs))  # noqa: PLW1509
            os.close(theirs)
            return process, [(STDOUT, open(ours, "rb", 0))], open(os.dup(ours), "wb", 0)  # noqa: PTH123
        pipe = subprocess.PIPE
        process = subprocess.Popen(**facts, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True)
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - all three are pipes
        return process, [(STDOUT, process.stdout), (STDERR, process.stderr)], process.stdin

    def _answer(self, kind: bytes, payload: bytes) -> None:
        with contextlib.suppress(OSError):
            _send(self._connection, self._lock, kind, payload)

    def _pump(self, kind: bytes, file: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):  # a terminal whose program ended says EIO
            while data := file.read(65536):
                self._answer(kind, data)

    def _listen(self, process: subprocess.Popen[bytes], stdin: IO[bytes]) -> None:
        """Frames from outside, until nobody is there; then the program gets a hang-up."""
        with contextlib.suppress(OSError):
            while len(header := self._stream.read(HEADER.size)) == HEADER.size:
                kind, length = HEADER.unpack(header)
                payload = self._stream.read(length)
                if kind == SIGNAL:
                    self._kill(process, payload[0])
                with contextlib.suppress(OSError, ValueError):  # it reads no more
                    if kind == STDIN and payload:
                        stdin.write(payload)
                    elif kind == STDIN:
                        stdin.close()
        self._kill(process, signal.SIGHUP)

    @staticmethod
    def _kill(process: subprocess.Popen[bytes], signum: int) -> None:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signum)


if __name__ == "__main__":
    main()
