from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import PreflightError
from harness.model.wellknown import API_PORT
from harness.vm import initramfs, machine, qemu

BUSYBOX = "/bin/busybox"

DEPENDENCIES = """\
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/fs/fuse/fuse.ko:
kernel/fs/fuse/virtiofs.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko kernel/fs/fuse/fuse.ko
"""


def test_modules_come_after_what_they_need_and_each_once() -> None:
    order = initramfs.load_order(DEPENDENCIES, ["virtiofs", "virtio", "built_in"])
    names = [Path(path).stem for path in order]
    assert names.index("virtio_ring") < names.index("virtio") < names.index("virtiofs")
    assert names.index("fuse") < names.index("virtiofs")
    assert len(names) == len(set(names)) == 4


@pytest.mark.skipif(not Path(BUSYBOX).exists(), reason="busybox is not installed")
def test_the_archive_is_one_that_cpio_reads(tmp_path: Path) -> None:
    made = initramfs.archive(b"busybox", {"overlay.ko": b"module"}, ("python", "two words"), "{}")
    listed = subprocess.run([BUSYBOX, "cpio", "-t"], input=made, capture_output=True, check=False)
    names = listed.stdout.decode().split()
    assert {"init", "bin/busybox", "modules/overlay.ko", "config.json"} <= set(names)
    subprocess.run([BUSYBOX, "cpio", "-id"], input=made, cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "start").read_text() == "python\ntwo words\n"
    assert (tmp_path / "modules/order").read_text() == "/modules/overlay.ko\n"
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o600


def test_the_script_is_one_that_a_shell_accepts() -> None:
    assert subprocess.run(["/bin/sh", "-n"], input=initramfs.INIT, text=True, check=False).returncode == 0


@pytest.mark.parametrize("accelerator", ["kvm", "tcg"])
def test_qemus_words_are_as_recorded(accelerator: qemu.Accelerator, golden: Callable[[str, str], None]) -> None:
    words = qemu.command(
        "qemu-system-x86_64",
        qemu.Files(Path("/state/labs/one, two/vm")),
        qemu.Hardware(accelerator=accelerator),
        qemu.Boot(Path("/cache/vmlinuz")),
        ("root", "run"),
        {40001: qemu.AGENT_PORT, 40002: API_PORT},
    )
    golden(f"vm/{accelerator}.txt", "".join(f"{shlex.quote(word)}\n" for word in words))


def test_a_users_words_for_the_kernel_come_after_our_own() -> None:
    boot = qemu.Boot(Path("/k"), ("ipv6.disable=1", "mitigations=auto"))
    words = qemu.command("qemu", qemu.Files(Path("/v")), qemu.Hardware(), boot, (), {})
    line = words[words.index("-append") + 1]
    assert line.startswith(qemu.COMMAND_LINE)
    assert line.endswith(" ipv6.disable=1 mitigations=auto")


def test_nothing_gets_out_and_only_the_loopback_gets_in() -> None:
    words = qemu.command("qemu", qemu.Files(Path("/v")), qemu.Hardware(), qemu.Boot(Path("/k")), (), {1: 2})
    network = next(word for word in words if word.startswith("user,"))
    assert "restrict=on" in network
    assert network.count("hostfwd=tcp:127.0.0.1:") == network.count("hostfwd=") == 1


def test_what_the_guest_may_not_write_is_cached_for_good() -> None:
    for words in (qemu.shared, qemu.shared_rust):
        assert "cache=always" in " ".join(words("virtiofsd", Path("/s"), Path("/"), writable=False))
        assert "cache=always" not in " ".join(words("virtiofsd", Path("/s"), Path("/run"), writable=True))


def test_the_root_is_always_seen_and_comes_first() -> None:
    assert machine.mount_points([Path("/usr/bin"), Path("/proc/self")])[0] == "/"
    assert "/proc" in machine.mount_points([Path("/proc/sys")])


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(machine, "VIRTIOFSD", ())
    with pytest.raises(PreflightError) as caught:
        machine.require_programs()
    assert "missing: qemu-system-" in caught.value.cause
    assert "virtiofsd" in caught.value.cause
    assert "apt-get install" in caught.value.next_step


def test_a_machine_that_says_nothing_is_told_from_one_that_ended(tmp_path: Path) -> None:
    files = qemu.Files(tmp_path)
    files.console.write_text("\x1b[2JBooting from ROM\nKernel panic - not syncing\n\n")
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
        assert not machine._says(files, process, machine.STARTED, 5.0)
    assert machine._last_words(files).splitlines()[-1] == "Kernel panic - not syncing"
    assert "\x1b" not in machine._last_words(files)


def test_an_emulated_clock_waits_for_its_one_core() -> None:
    words = qemu.command("qemu", qemu.Files(Path("/v")), qemu.Hardware(1, steady=True), qemu.Boot(Path("/k")), (), {})
    assert words[words.index("-icount") + 1] == "shift=0,sleep=on"
    assert words[words.index("-accel") + 1] == "tcg,thread=single"


def test_a_path_that_no_socket_can_have_is_refused_with_its_figure() -> None:
    machine.require_short(Path("/s/labs/one/vm"))
    name = "x" * (machine.LONGEST_SOCKET - len("//root.sock"))
    machine.require_short(Path("/") / name)
    with pytest.raises(PreflightError) as caught:
        machine.require_short(Path("/") / f"{name}ää")
    assert "111 bytes" in caught.value.cause
    assert "at most 107" in caught.value.cause
    assert "4 bytes shorter" in caught.value.next_step


def test_what_a_shared_directory_is_called_does_not_end_an_option() -> None:
    words = qemu.shared("virtiofsd", Path("/s/run.sock"), Path("/a,b\\c"), writable=True)
    assert "source=/a\\,b\\\\c" in words
