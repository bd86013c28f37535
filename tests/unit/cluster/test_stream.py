"""A program in a container ends with the status that the API server reports, and its messages keep their streams."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from websocket import ABNF

from harness.cluster.access import Access
from harness.cluster.execute import PodRunner
from harness.cluster.stream import CLOSE, PROTOCOLS, STATUS, STDERR, STDIN, STDOUT, Place, exit_status
from harness.enter import LEASH
from harness.runner import CommandError, HostRunner
from harness.timeouts import wait_until


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ({"status": "Success"}, 0),
        ({"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}, 3),
        ({"status": "Failure", "message": "executable file not found"}, 127),
    ],
)
def test_the_exit_code_is_that_of_the_program(status: dict[str, object], code: int) -> None:
    assert exit_status(json.dumps(status).encode())[0] == code


def test_a_connection_that_breaks_is_no_success() -> None:
    assert exit_status(b"")[0] == 255


class Server:
    """An API server that knows one subresource: it says what it is told to, and remembers what it is sent."""

    def __init__(self, *answers: bytes, refuse: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.answers = answers
        self.tls = tls
        self.refuse = refuse
        self.request = ""
        self.sent: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    @property
    def access(self) -> Access:
        return Access(Path("config"), "here", f"http://127.0.0.1:{self.listener.getsockname()[1]}", token="secret")

    def serve(self) -> None:
        client, _ = self.listener.accept()
        if self.tls:
            client = self.tls.wrap_socket(client, server_side=True)
        with client:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(4096)
            self.request = head.decode()
            if self.refuse:
                body = json.dumps({"message": self.refuse})
                client.sendall(f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
                return
            key = next(
                line.split(": ")[1] for line in self.request.split("\r\n") if line.startswith("Sec-WebSocket-Key")
            )
            client.sendall(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Protocol: {PROTOCOLS[0]}\r\nSec-WebSocket-Accept: {_accept(key)}\r\n\r\n".encode()
            )
            while "stdin=true" in self.request and (not self.sent or self.sent[-1][0] != CLOSE):
                self.sent.append(_frame(client))
            for answer in self.answers:
                client.sendall(ABNF(fin=1, opcode=ABNF.OPCODE_BINARY, mask_value=0, data=answer).format())
            client.sendall(ABNF(fin=1, opcode=ABNF.OPCODE_CLOSE, mask_value=0, data=b"\x03\xe8").format())

    def close(self) -> None:
        self.thread.join(5)
        self.listener.close()


def _accept(key: str) -> str:
    import base64  # noqa: PLC0415
    import hashlib  # noqa: PLC0415

    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode())  # noqa: S324 - RFC 6455
    return base64.b64encode(digest.digest()).decode()


def _frame(client: socket.socket) -> bytes:
    """One masked frame of a client, unmasked; payloads up to 64 KiB."""
    head = client.recv(2, socket.MSG_WAITALL)
    size = head[1] & 0x7F
    if size == 126:
        size = int.from_bytes(client.recv(2, socket.MSG_WAITALL), "big")
    mask = client.recv(4, socket.MSG_WAITALL)
    data = client.recv(size, socket.MSG_WAITALL)
    return bytes(byte ^ mask[number % 4] for number, byte in enumerate(data))


def message(channel: int, text: str) -> bytes:
    return bytes([channel]) + text.encode()


DONE = message(STATUS, json.dumps({"status": "Success"}))
FAILED = message(
    STATUS, json.dumps({"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "2"}]}})
)


@pytest.fixture
def place() -> Place:
    return Place("team-a", "a", "main")


def test_a_program_gets_its_input_to_the_end_and_says_what_it_has_to(place: Place) -> None:
    server = Server(message(STDOUT, "one "), message(STDERR, "words"), message(STDOUT, "two"), DONE)
    done = PodRunner(server.access, place).run(["cat", "-n"], input="x" * 40000)
    server.close()
    assert (done.stdout, done.stderr, done.returncode) == ("one two", "words", 0)
    assert b"".join(one[1:] for one in server.sent if one[0] == STDIN) == b"x" * 40000
    assert server.sent[-1] == bytes([CLOSE, STDIN])
    assert "/api/v1/namespaces/team-a/pods/a/exec?container=main" in server.request
    assert "command=cat&command=-n" in server.request
    assert "Authorization: Bearer secret" in server.request


def test_a_failed_program_is_an_error_with_its_last_words(place: Place) -> None:
    server = Server(message(STDERR, "no such file\n"), FAILED)
    with pytest.raises(CommandError, match="failed with exit status 2") as caught:
        PodRunner(server.access, place).run(["cat", "x"])
    server.close()
    assert caught.value.cause == "no such file"


def test_words_before_a_command_stay_before_it(place: Place) -> None:
    server = Server(DONE)
    PodRunner(server.access, place).within("nsenter", "-t", "1", "--").run(["ip", "addr"], env={"A": "b"})
    server.close()
    assert "command=nsenter&command=-t&command=1&command=--&command=env&command=A%3Db&command=ip" in server.request


def test_a_tree_of_programs_comes_before_all_other_words_and_before_the_leash(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(HostRunner, "start", lambda _, argv, **__: started.append(tuple(map(str, argv))))
    root = PodRunner(Access(Path("config"), "here", "http://127.0.0.1:9"), place).rooted("/r", "in", "/kit")
    entering = root.within("nsenter", "-n", "--")
    assert " ".join(entering.vector(["ip"], {"A": "b"})) == "/r in /kit nsenter -n -- env A=b ip"
    entering.start(["tcpdump"])
    (words,) = started
    there = words.index("/r")
    assert words[there : there + 3] == ("/r", "in", "/kit")
    assert words[there + 3 :] == (*LEASH, "nsenter", "-n", "--", "tcpdump")


def test_a_refusal_names_the_pod_and_the_servers_reason(place: Place) -> None:
    server = Server(refuse="pods/exec is forbidden")
    with pytest.raises(CommandError) as caught:
        PodRunner(server.access, place).run(["id"])
    server.close()
    assert "pod team-a/a: status 403" in caught.value.what
    assert caught.value.cause == "pods/exec is forbidden"


def test_a_server_that_is_gone_is_an_error_and_no_traceback(place: Place) -> None:
    with pytest.raises(CommandError, match="no connection into pod team-a/a"):
        PodRunner(Access(Path("config"), "here", "http://127.0.0.1:9"), place).run(["id"])


def test_a_program_on_a_leash_ends_with_its_input() -> None:
    leashed = subprocess.Popen([*LEASH, "sleep", "1000"], stdin=subprocess.PIPE)
    assert leashed.stdin is not None
    leashed.stdin.close()
    assert wait_until("the program to end", lambda: leashed.poll() is not None, 10.0)


def test_a_program_on_a_leash_may_end_by_itself_with_its_own_status() -> None:
    leashed = subprocess.Popen([*LEASH, "sh", "-c", "exit 7"], stdin=subprocess.PIPE)
    assert leashed.wait(10) == 7
    assert leashed.stdin is not None
    leashed.stdin.close()


def test_one_tls_context_serves_all_containers_of_a_cluster(place: Place) -> None:
    first = PodRunner(Access(Path("config"), "here", "https://k8s.example"), place)
    assert first.into(Place("x", "y"))._tls is first._tls
    assert isinstance(first._tls, ssl.SSLContext)
