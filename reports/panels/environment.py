"""What the run was made of: pins, the machine, the spec, and the files beside the report."""

from __future__ import annotations

from harness import yamlio
from harness.model.wellknown import SUPPORT
from reports.model import Environment, Fact, PinRow
from reports.panels.verdict import kubernetes_version
from reports.source import Source
from reports.text import clock, natural, plural

_SINGLE = (
    "run.json",
    "events.jsonl",
    "observations.jsonl",
    "results.jsonl",
    "causes.jsonl",
    "labs.jsonl",
    "faults.jsonl",
    "census.json",
    "topology.json",
)
_FOLDERS = ("captures", "labs", "faults", "logs", "ansible")


def environment(source: Source) -> Environment:
    """The last panel; every run has one."""
    info = source.info
    chosen = info.spec.get("cniVersion", "")
    facts = [
        ("cluster", info.lab),
        ("variant", info.variant),
        ("network", f"{chosen}, not the pinned version, from its project's own images" if chosen else ""),
        ("provider", info.provider),
        ("Kubernetes", kubernetes_version(info)),
        ("support", next((event.title for event in source.events if event.step == SUPPORT), "")),
        ("nodes", str(info.nodes) if info.nodes else ""),
        ("cnilab", info.version),
        ("started", clock(info.started)),
        ("finished", clock(info.finished) or "did not finish"),
    ]
    return Environment(
        facts=tuple(Fact(name, text) for name, text in facts if text),
        host=tuple(Fact(name.replace("_", " "), text) for name, text in info.host.items() if text),
        pins=tuple(
            PinRow(pin.name, pin.version, pin.source, pin.digest.removeprefix("sha256:"), ", ".join(pin.edits))
            for pin in sorted(info.pins, key=lambda pin: natural(pin.name))
        ),
        spec=yamlio.dumps(source.spec).rstrip() if source.spec else "",
        files=tuple(_files(source)),
        problems=tuple(source.problems),
    )


def _files(source: Source) -> list[Fact]:
    found = [Fact(name, name) for name in _SINGLE if (source.path / name).is_file()]
    for folder in _FOLDERS:
        names = source.files(folder)
        if names:
            found.append(Fact(f"{folder}/", f"{folder}/", plural(len(names), "file")))
    return found
