"""`cnilab trace`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.command import command as define
from harness.cli.context import say
from harness.cli.output import Listing, emit, output_option
from harness.cli.progress import progress
from harness.cli.select import attached, cluster_option

if TYPE_CHECKING:
    from harness.model.family import Family
    from harness.steps.suite.trace import Hop, Trace


@define(
    "trace",
    on_lab=True,
    examples="""
    cnilab trace box1 box3
    cnilab trace cnilab-probe/a 8.8.8.8 -o wide
    cnilab trace a n2 --size 1400 -o json
    cnilab trace box1 box3 --ip-family ipv6
    """,
)
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--size", type=click.IntRange(0, 65507), default=72, show_default=True, help="Size of the ping in bytes.")
@click.option("--ip-family", type=click.Choice(["ipv4", "ipv6"]), help="Ping over this IP family.  [default: DST's]")
@cluster_option()
@output_option()
def command(source: str, target: str, *, size: int, ip_family: Family | None, cluster: str | None, output: str) -> int:
    """Follow a ping through the cluster, hop by hop, there and back.

    SRC is a pod (name or namespace/name), a node, or router. DST may also be an address. In a cluster with
    both IP families, a pod or a node is pinged at its address of the first family. Exit code 1 means that the ping was
    not answered.
    """
    there = attached(cluster)
    from harness.cli.runs import require_run  # noqa: PLC0415
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.suite.trace import trace  # noqa: PLC0415

    run = require_run(there)
    with progress() as listener:
        traced = trace(there, source, target, run=run, journal=Journal(run, listener), size=size, family=ip_family)
    emit(_listing(traced), output)
    if output in {"table", "wide"}:
        verdict = "answered" if traced.answered else f"no answer; last seen at {traced.last_seen}"
        say(f"{traced.source} -> {traced.target}: {verdict}")
    return 0 if traced.answered else 1


def _listing(traced: Trace) -> Listing:
    rows, items = [], []
    for number, hop in enumerate(traced.hops, 1):
        rows.append(_row(number, hop))
        items.append(
            {
                "direction": hop.direction,
                "node": hop.tap.node,
                "place": hop.tap.place,
                "interface": hop.tap.interface,
                "seen": hop.packet is not None,
                "packet": hop.packet.model_dump(mode="json") if hop.packet else None,
                "outer": hop.outer.model_dump(mode="json", exclude={"inner"}) if hop.outer else None,
                "changed": list(hop.changed),
                "pcap": hop.tap.pcap,
                "command": hop.tap.command,
            }
        )
    extra = {"source": traced.source, "target": traced.target, "answered": traced.answered, "command": traced.command}
    columns = ("hop", "way", "place", "interface", "packet", "ttl", "bytes", "changed")
    return Listing("Hop", columns, rows, items, wide=("tap",), extra=extra)


def _row(number: int, hop: Hop) -> tuple[str, ...]:
    where = hop.tap.place if hop.tap.place == hop.tap.node else f"{hop.tap.node}/{hop.tap.place}"
    packet = hop.packet
    if packet is None:
        return (str(number), hop.direction, where, hop.tap.interface, "not seen", "-", "-", "-", hop.tap.command)
    size = hop.outer.length if hop.outer else packet.length
    return (
        str(number),
        hop.direction,
        where,
        hop.tap.interface,
        f"{packet.src} > {packet.dst}",
        str(packet.ttl),
        str(size),
        "; ".join(hop.changed) or "-",
        hop.tap.command,
    )
