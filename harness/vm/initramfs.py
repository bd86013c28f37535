"""The initial root file system: modules for the disk and the shared root, and one script. Pure.

The format is cpio's "newc" (Documentation/driver-api/early-userspace/buffer-format.rst of the kernel).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "virtiofs", "overlay")
"""What the script needs before it can reach the modules on the shared root."""

CONFIG = "/run/cnilab-vm.json"
"""Where the guest finds what it is told."""

ROOT_TAG = "root"
RUN_TAG = "run"

# The upper layer is on the disk and not in memory: nodes' images and databases are hundreds of megabytes.
INIT = f"""\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
fail() {{ echo "cnilab-vm: $1"; sync; echo o > /proc/sysrq-trigger; sleep 60; }}
mount -t proc proc /proc && mount -t sysfs sysfs /sys || fail "no /proc or /sys"
mount -t devtmpfs devtmpfs /dev || fail "no /dev"
echo "cnilab-vm: started"
while read -r module; do insmod "$module" || echo "cnilab-vm: cannot load $module"; done < /modules/order
mount -t virtiofs -o ro {ROOT_TAG} /lower || fail "the shared root cannot be mounted"
mount -t ext4 /dev/vda /disk || fail "the disk cannot be mounted"
mount -t overlay -o lowerdir=/lower,upperdir=/disk/upper,workdir=/disk/work overlay /root || fail "no overlay"
mount -t tmpfs -o mode=0755 tmpfs /root/run
mkdir -p /root/run/cnilab-disk && mount --move /disk /root/run/cnilab-disk
cp /config.json /root{CONFIG} && chmod 600 /root{CONFIG}
for place in proc sys dev; do mount --move /$place /root/$place; done
while IFS= read -r word; do set -- "$@" "$word"; done < /start
exec switch_root /root "$@"
"""

_DIRECTORIES = ("bin", "modules", "proc", "sys", "dev", "lower", "disk", "root")


@dataclass(frozen=True)
class Member:
    """A file or a directory of an archive.

    Args:
        name: Path without a leading slash.
        mode: Type and permissions, as of stat(2).
        content: Of a file.
    """

    name: str
    mode: int
    content: bytes = b""


def load_order(dependencies: str, wanted: Iterable[str]) -> list[str]:
    """Paths of modules in the order in which they can be loaded.

    Args:
        dependencies: Content of modules.dep (depmod(8)): a module, and what it needs, the last of these first.
        wanted: Names of modules; those that are built into the kernel are not listed there, and left out.
    """
    needs: dict[str, list[str]] = {}
    paths: dict[str, str] = {}
    for line in dependencies.splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
        paths[path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")] = path
    order: dict[str, None] = {}
    for name in wanted:
        if name in paths:
            order.update(dict.fromkeys((*reversed(needs[paths[name]]), paths[name])))
    return list(order)


def archive(busybox: bytes, modules: Mapping[str, bytes], start: Iterable[str], config: str) -> bytes:
    """The whole archive; the same input gives the same bytes.

    Args:
        busybox: A static one.
        modules: Name of a file to its content, in the order of loading.
        start: Words of the program that becomes PID 1 of the real root.
        config: What the guest is told; holds a secret, and only root can read it inside.
    """
    members = [Member(name, 0o40755) for name in _DIRECTORIES]
    members += [
        Member("init", 0o100755, INIT.encode()),
        Member("bin/busybox", 0o100755, busybox),
        Member("start", 0o100644, "".join(f"{word}\n" for word in start).encode()),
        Member("config.json", 0o100600, config.encode()),
        Member("modules/order", 0o100644, "".join(f"/modules/{name}\n" for name in modules).encode()),
    ]
    members += [Member(f"modules/{name}", 0o100644, content) for name, content in modules.items()]
    return b"".join(_entry(number, member) for number, member in enumerate([*members, Member("TRAILER!!!", 0)], 1))


def _entry(number: int, member: Member) -> bytes:
    name = member.name.encode() + b"\0"
    fields = (number, member.mode, 0, 0, 1, 0, len(member.content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(header) + _padded(member.content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
