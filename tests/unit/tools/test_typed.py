"""Workshop texts are compared with what their commands print by shape: words count, numbers do not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.typed import commands, same_shape, type_all

TEXT = """# A text

```sh
not typed
```

```console
$ ip netns add red
$ ip -n red \\
    link
1: lo: <LOOPBACK> mtu 65536
…
```

Then:

```console
$ true
```
"""


def test_commands_are_those_of_consoles_with_what_they_print() -> None:
    found = list(commands(TEXT))
    assert [one.command for one in found] == ["ip netns add red", "ip -n red \\\n    link", "true"]
    assert [one.shown for one in found] == ["", "1: lo: <LOOPBACK> mtu 65536\n…", ""]
    assert [TEXT.splitlines()[one.line - 1] for one in found] == ["$ ip netns add red", "$ ip -n red \\", "$ true"]


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("", ""),
        ("", "\n"),
        ("64 bytes from 10.0.0.2: ttl=64 time=0.031 ms", "64 bytes from 10.0.0.2: ttl=64 time=0.1 ms\n"),
        ("64 bytes from 10.0.0.2: ttl=64 time=0.031 ms", "64 bytes from 10.0.0.2: ttl=64 time=105 ms\n"),
        ("link/ether 0a:1b:2c:3d:4e:5f brd ff:ff:ff:ff:ff:ff", "link/ether 9a:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff"),
        ("one\n…\nfour", "one\ntwo\nthree\nfour\n"),
        ("one\n…", "one\n"),
        ("PING … bytes of data", "PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data"),
        ("  1: lo   up", "1: lo up"),
        ("inet6 fe80::1/64 scope link", "inet6 fe80::a:b:c:d/64 scope link"),
        ("veth1a2b3c4d up", "veth0011aabb up"),
    ],
)
def test_what_may_differ(shown: str, printed: str) -> None:
    assert same_shape(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("", "RTNETLINK answers: File exists"),
        ("2 packets transmitted, 2 received", "2 packets transmitted, 2 received\nand more"),
        ("state UP", "state DOWN"),
        ("one\n…\nfour", "one\ntwo\n"),
        ("one", ""),
        ("rtt min/avg", "rtt min/max"),
    ],
)
def test_what_must_be_the_same(shown: str, printed: str) -> None:
    assert not same_shape(shown, printed)


def test_a_text_that_lies_is_told_with_its_line(tmp_path: Path) -> None:
    page = tmp_path / "a-lab" / "README.md"
    page.parent.mkdir()
    page.write_text("# T\n\n```console\n$ echo 1 two\n1 two\n$ echo three\nfour\n```\n", encoding="utf-8")
    wrong = type_all(page, os.environ, tmp_path, seconds=30)
    assert [line.splitlines()[0] for line in wrong] == ["a-lab:6: $ echo three"]
    assert "- four" in wrong[0]
    assert "+ three" in wrong[0]
