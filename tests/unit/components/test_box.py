from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.components import box
from harness.components.store import Store
from harness.errors import PreflightError, UsageError


@pytest.fixture
def store(make_store: Callable[..., Any]) -> Store:
    made: Store = make_store("cache")
    return made


def test_the_settings_of_the_box_are_as_recorded(golden: Callable[[str, str], None]) -> None:
    text = "".join(f"--- {name}\n{text}" for name, text in sorted(box.SETTINGS.items()))
    golden("components/box.txt", text)


@pytest.mark.parametrize("key", ["", "-----BEGIN OPENSSH PRIVATE KEY-----", "ssh-rsa", "ssh-rsa AAAA\nssh-rsa BBBB"])
def test_what_is_no_public_key_is_refused(key: str, store: Store) -> None:
    with pytest.raises(UsageError, match="not an SSH public key"):
        box.deliver(store, key)


def test_a_private_key_is_not_repeated_in_the_error(store: Store) -> None:
    with pytest.raises(UsageError) as caught:
        box.deliver(store, "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA")
    assert "b3Blb" not in str(caught.value)


def test_vagrants_own_key_is_one() -> None:
    assert box.is_public_key(box.INSECURE_KEY)
    assert box.is_public_key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@here")


def test_a_machine_that_is_no_pc_makes_none(
    store: Store, monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]
) -> None:
    monkeypatch.setattr(box, "architecture", lambda: "arm64")
    with pytest.raises(PreflightError) as caught:
        box.deliver(store)
    golden("components/box-not-a-pc.txt", f"{caught.value}\n")


def test_a_user_who_is_not_root_makes_none(
    store: Store, monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(box, "architecture", lambda: "amd64")
    with pytest.raises(PreflightError) as caught:
        box.deliver(store)
    golden("components/box-not-root.txt", f"{caught.value}\n")


def test_the_archive_is_what_vagrant_takes(tmp_path: Path) -> None:
    image = tmp_path / "box.img"
    image.write_bytes(b"QFI\xfb")
    box.pack(image, tmp_path / "node.box")
    with tarfile.open(tmp_path / "node.box", "r:gz") as tar:
        assert tar.getnames() == ["metadata.json", "Vagrantfile", "box.img"]
        metadata = tar.extractfile("metadata.json")
        assert metadata is not None
        assert json.load(metadata) == {"provider": "libvirt", "format": "qcow2", "virtual_size": box.GIBIBYTES}
