"""What Linux writes of itself below /proc, read. Pure."""

from __future__ import annotations


def memory_available(meminfo: str) -> int:
    """Bytes that new programs can have without swapping (proc(5), MemAvailable); 0 where it is not said.

    Args:
        meminfo: Text of /proc/meminfo.
    """
    found = (line.split()[1] for line in meminfo.splitlines() if line.startswith("MemAvailable:"))
    return int(next(found, "0")) * 1024
