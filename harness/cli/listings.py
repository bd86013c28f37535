"""Tables about components, and the same as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.cli.output import Listing

if TYPE_CHECKING:
    from harness.components.carry import ComponentStatus
    from harness.components.installed import Removal
    from harness.components.outdated import Age
    from harness.components.pin import Outcome
    from harness.components.store import Resolved


def of_components(found: Sequence[ComponentStatus]) -> Listing:
    """What the cache has of each."""
    rows = [
        (
            one.name,
            one.version or one.pinned,
            one.state,
            one.source or "-",
            f"{one.size / 2**20:.1f}M" if one.size else "-",
            one.digest[:12] or "-",
            ",".join(one.sources),
            "; ".join(one.problems) or one.summary,
        )
        for one in found
    ]
    items = [one.model_dump(mode="json") for one in found]
    columns = ("name", "version", "state", "source", "size", "digest")
    return Listing("Component", columns, rows, items, wide=("possible sources", "about"))


def of_delivered(found: Sequence[Resolved]) -> Listing:
    """What was made available, and where it is."""
    rows = [(one.name, one.version, one.source, one.digest[:12], str(one.path)) for one in found]
    items = [
        {"name": o.name, "version": o.version, "source": o.source, "digest": o.digest, "path": str(o.path)}
        for o in found
    ]
    return Listing("Component", ("name", "version", "source", "digest"), rows, items, wide=("path",))


def of_ages(found: Sequence[Age]) -> Listing:
    """Pinned versions beside the newest."""
    rows = [
        (f"{one.name} {one.minor}".strip(), one.pinned, one.newest or "-", one.state, one.module, one.reason)
        for one in found
    ]
    items = [one.model_dump(mode="json") for one in found]
    names = [f"component/{one.name}" for one in found]
    columns = ("name", "pinned", "newest", "state")
    return Listing("ComponentAge", columns, rows, items, names, wide=("module", "reason"))


def of_packages(found: Removal) -> Listing:
    """Packages that go, and those that stay."""
    rows = [(name, "remove", "installed by this program, and not needed by others") for name in found.removed]
    rows += [(name, "keep", "installed by this program, but other packages need it too") for name in found.kept]
    columns = ("name", "action", "reason")
    return Listing("Package", columns, rows, [dict(zip(columns, row, strict=True)) for row in rows])


def of_digests(outcomes: Sequence[Outcome]) -> Listing:
    """Checksums that were fetched for the lock."""
    rows = [(one.component, one.action, one.url, one.digest or one.problem) for one in outcomes]
    columns = ("component", "action", "url", "digest")
    items = [
        dict(zip((*columns, "before"), (*row, one.before), strict=True))
        for row, one in zip(rows, outcomes, strict=True)
    ]
    return Listing("Digest", columns, rows, items)
