"""Words and numbers as the report writes them; nothing here knows what they are about."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

_NUMBER = re.compile(r"(\d+)")
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_.-]+")

_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL),
    re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    re.compile(r"(?<=client-key-data: )[A-Za-z0-9+/=]{16,}"),
    re.compile(r"(?<=Bearer )[A-Za-z0-9._~+/=-]{16,}"),
    re.compile(r"(?<=token: )[A-Za-z0-9._~+/=-]{16,}"),
    re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
)
"""Private keys, JSON web tokens, keys and tokens of a kubeconfig, bootstrap tokens."""

REDACTED = "[redacted]"


def redact(text: str) -> str:
    """The text without anything that opens a door: private keys, tokens, kubeconfig credentials."""
    for secret in _SECRETS:
        text = secret.sub(REDACTED, text)
    return text


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts n2 before n10."""
    parts = (part for part in _NUMBER.split(text) if part)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


def plural(count: int, one: str, many: str = "") -> str:
    """`1 pod`, `2 pods`, `1,560 probes`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listing(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def duration(seconds: float | None) -> str:
    """`4 ms`, `0.84 s`, `12.3 s`, `2 min 05 s`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms".replace(".0 ms", " ms")
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def clock(moment: str) -> str:
    """`2026-11-21 15:00:00 UTC` of an RFC 3339 moment; empty for an empty one."""
    return f"{moment[:19].replace('T', ' ')} UTC" if moment else ""


def micros(microseconds: int | None) -> str:
    """`+84 µs`-style numbers without the sign: `84 µs`, `1.2 ms`; empty for None."""
    if microseconds is None:
        return ""
    if abs(microseconds) < 1000:
        return f"{microseconds} µs"
    return duration(microseconds / 1_000_000) if abs(microseconds) >= 100_000 else f"{microseconds / 1000:.1f} ms"


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters; says how much was cut."""
    if len(text) <= limit:
        return text
    return f"{text[:limit].rstrip()}\n… {len(text) - limit:,} more characters in the run directory"


def tail(text: str, lines: int, limit: int = 6000) -> str:
    """The last lines of a log, at most `limit` characters."""
    return "\n".join(text.rstrip().splitlines()[-lines:])[-limit:]


def slug(*parts: str) -> str:
    """Something that can stand in an `id` attribute and in a URL fragment."""
    return "-".join(_NOT_IN_AN_ID.sub("-", part).strip("-") or "x" for part in parts)


class Ids:
    """Hands out `id` attributes, each once."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def new(self, *parts: str) -> str:
        """A fresh id made of the parts; a second one of the same parts gets a number."""
        wanted = slug(*parts)
        count = self._used.get(wanted, 0)
        self._used[wanted] = count + 1
        return wanted if count == 0 else self.new(f"{wanted}-{count + 1}")


def value(data: Any) -> str:
    """A value of a record as a person reads it: strings bare, lists joined, the rest as JSON."""
    if data is None:
        return ""
    if isinstance(data, str):
        return data
    if isinstance(data, dict) and "value" in data:
        unit = str(data.get("unit") or "")
        return f"{value(data['value'])} {unit}".strip()
    if isinstance(data, (list, tuple)) and all(isinstance(item, (str, int, float)) for item in data):
        return ", ".join(str(item) for item in data) or "none"
    return json.dumps(data, ensure_ascii=False)


def host_of(endpoint: str) -> str:
    """The address of `10.244.0.2:8080` or `[fd00::2]:8080`; unchanged without a port."""
    if endpoint.startswith("["):
        return endpoint[1:].partition("]")[0]
    host, colon, _ = endpoint.rpartition(":")
    return host if colon and ":" not in host else endpoint


def protocol(proto: str) -> str:
    """`TCP`, and `TCP over IPv6` of `tcp6`."""
    return f"{proto[:-1].upper()} over IPv6" if proto.endswith("6") else proto.upper()


def port_of(endpoint: str) -> str:
    """The port of `10.244.0.2:8080`; empty without one."""
    host = host_of(endpoint)
    return endpoint.rpartition(":")[2] if host != endpoint else ""


def unique(items: Iterable[str]) -> list[str]:
    """The items without repetitions, in the order of first appearance."""
    return list(dict.fromkeys(items))
