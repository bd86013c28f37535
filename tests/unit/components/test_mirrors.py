"""Which words name a mirror, and what containerd is told of it."""

from __future__ import annotations

import pytest

from harness.components import mirrors
from harness.errors import UsageError

IMAGE = "quay.io/cilium/cilium:v1.19.4"


@pytest.mark.parametrize(
    ("word", "host", "url"),
    [
        ("quay.io=https://mirror.example.org", "quay.io", "https://mirror.example.org"),
        ("quay.io=http://127.0.0.1:5000/", "quay.io", "http://127.0.0.1:5000"),
        ("ghcr.io=http://localhost:5000", "ghcr.io", "http://localhost:5000"),
        ("docker.io=http://[::1]:5000", "docker.io", "http://[::1]:5000"),
        ("reg.example.org:5000=https://m.example.org/v2/p", "reg.example.org:5000", "https://m.example.org/v2/p"),
    ],
)
def test_a_mirror_is_a_registry_and_a_url(word: str, host: str, url: str) -> None:
    assert mirrors.parse([word]) == {host: url}


@pytest.mark.parametrize(
    "word",
    [
        "quay.io", "quay.io=", "=https://m", "quay.io=m.example.org", "quay.io=ftp://m", "quay.io=https://", "../x=https://m",
        "quay.io=https://m:99999", 'quay.io=https://m/"x', "quay.io=https://u:p@m", "quay.io=https://m?x=1", "Quay=https://m",
    ],
)  # fmt: skip
def test_what_is_no_mirror_is_refused_with_an_example(word: str) -> None:
    with pytest.raises(UsageError, match="the form is HOST=URL") as caught:
        mirrors.parse([word])
    assert "quay.io=https://mirror.example.org" in caught.value.next_step


@pytest.mark.parametrize("url", ["http://10.0.0.5:5000", "http://127.0.0.1.example.org", "http://mirror"])
def test_images_come_in_the_clear_only_when_that_is_said(url: str) -> None:
    with pytest.raises(UsageError, match="without TLS") as caught:
        mirrors.parse([f"quay.io={url}"])
    assert f"{mirrors.CLEAR}=1" in caught.value.next_step
    assert mirrors.source(IMAGE, mirrors.parse([f"quay.io={url}"], clear=True)) == url


def test_another_program_hears_the_same() -> None:
    told = mirrors.parse(["quay.io=https://m/v2/p/", "ghcr.io=http://[::1]:5000"])
    assert mirrors.parse(mirrors.words(told)) == told


def test_without_a_mirror_an_image_comes_from_its_registry() -> None:
    assert mirrors.source(IMAGE, {"ghcr.io": "https://m"}) == "https://quay.io"
    assert mirrors.source("docker.io/flannel/flannel:v1", {}) == "https://registry-1.docker.io"


def test_containerd_asks_the_mirror_alone() -> None:
    assert mirrors.hosts("http://127.0.0.1:5000") == 'server = "http://127.0.0.1:5000"\n'
    assert mirrors.hosts("https://m/v2/p") == 'server = "https://m/v2/p"\noverride_path = true\n'
