"""`cnilab why`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.command import command as define
from harness.cli.output import Listing, emit, output_option
from harness.cli.progress import progress
from harness.cli.select import attached, cluster_option
from harness.cli.verdicts import tell

if TYPE_CHECKING:
    from harness.model.family import Family
    from harness.steps.lifecycle.attach import Attached
    from harness.steps.why.answer import Answer


@define(
    "why",
    on_lab=True,
    examples="""
    cnilab why
    cnilab why box1 box3
    cnilab why cnilab-probe/a cnilab-probe/c tcp/8080
    cnilab why box1 svc/kubernetes
    cnilab why n1 8.8.8.8 udp/53 -o json
    cnilab why box1 box3 icmp --size 1450 --ip-family ipv6
    """,
)
@click.argument("source", metavar="[SRC", required=False)
@click.argument("target", metavar="DST", required=False)
@click.argument("what", metavar="[PROTO[/PORT]]]", required=False)
@click.option("--size", type=click.IntRange(60, 65535), help="Size of the IP packet in bytes.  [default: a small one]")
@click.option("--ip-family", type=click.Choice(["ipv4", "ipv6"]), help="Go over this IP family.  [default: DST's]")
@cluster_option()
@output_option()
def command(
    source: str | None,
    target: str | None,
    what: str | None,
    *,
    size: int | None,
    ip_family: Family | None,
    cluster: str | None,
    output: str,
) -> int:
    """Say why packets do not arrive: name the rule, route, entry or setting that is wrong.

    Without SRC and DST: what is wrong in the whole cluster. The command reads the state of all kernels, and follows
    packets of every kind by it: between pods, to and from nodes, out of the cluster, to Services. It sends none.

    SRC is a pod (name or namespace/name), a node, or router. DST may also be a Service (svc/NAME, svc/NAMESPACE/NAME)
    or an address. PROTO is tcp, udp or icmp. Without it, the first port of a Service is meant, and an echo to anything
    else.

    With a flow, the command reads the state of all kernels on the way, follows the packet and its answer by it, and
    sends one packet to see whether that is so. Exit code 1 means that something is wrong.
    """
    if source is None and (size or ip_family):
        msg = "--size and --ip-family are for a flow: give SRC and DST"
        raise click.UsageError(msg)
    if source is not None and target is None:
        msg = f"'{source}' to where? Give DST, too, or nothing for the whole cluster"
        raise click.UsageError(msg)
    there = attached(cluster)
    if source is None or target is None:
        return _whole(there, output)
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.why.answer import why  # noqa: PLC0415
    from harness.steps.why.ends import wire  # noqa: PLC0415

    asked = wire(what) if what else None
    with progress() as listener:
        answer = why(there, source, target, asked, journal=Journal(None, listener), size=size or 0, family=ip_family)
    people = output in {"table", "wide"}
    if answer.steps or not people:
        emit(_listing(answer), output)
    if people:
        _conclude(answer)
    return 0 if answer.fine else 1


def _whole(there: Attached, output: str) -> int:
    """What is wrong in the whole cluster."""
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.why.survey import survey  # noqa: PLC0415

    with progress() as listener:
        found = survey(there, Journal(None, listener))
    if output not in {"table", "wide"}:
        rows = [(one.key, one.confidence, one.sentence) for one in found.causes]
        items = [one.model_dump(mode="json") for one in found.causes]
        extra = {"cluster": there.spec.name, "pods": list(found.pods), "blind": list(found.blind)}
        emit(Listing("Cause", ("key", "confidence", "sentence"), rows, items, extra=extra), output)
        return 1 if found.causes else 0
    tell(found.causes)
    pods = "1 pod" if len(found.pods) == 1 else f"{len(found.pods)} pods"
    between = f"between {pods}, the nodes, Services and the outside"
    blind = ""
    if found.blind:
        blind = (
            f" Programs of eBPF or queues decide on {', '.join(found.blind)}: ways through them are not known whole."
        )
    if not found.causes:
        click.echo(f"By what the kernels say, nothing is wrong {between}.{blind}")
    elif blind:
        click.echo(blind.strip())
    return 1 if found.causes else 0


def _listing(answer: Answer) -> Listing:
    rows, items = [], []
    for number, step in enumerate(answer.steps, 1):
        rows.append((str(number), step.direction, step.place, step.device or "-", step.text, step.packet))
        items.append({"hop": number, "direction": step.direction, "place": step.place, "device": step.device,
                      "decision": step.text, "packet": step.packet})  # fmt: skip
    extra = {
        "source": answer.source,
        "target": answer.target,
        "flow": answer.flow,
        "fine": answer.fine,
        "arrives": answer.arrives,
        "causes": [one.model_dump(mode="json") for one in answer.causes],
        "unknown": sorted({text for way in answer.ways for text in way.unknown}),
        "tried": answer.tried.model_dump(mode="json") if answer.tried is not None else None,
    }
    return Listing("Hop", ("hop", "way", "place", "device", "decision", "packet"), rows, items, extra=extra)


def _conclude(answer: Answer) -> None:
    """The sentence, and how sure it is."""
    tell(answer.causes)
    seen = {True: "It was answered.", False: f"It was not: {_outcome(answer)}.", None: "No packet was sent to try it."}
    unknown = sorted({text for way in answer.ways for text in way.unknown})
    if answer.fine:
        far = f" Its way cannot be followed to the end, as {unknown[0]}." if unknown else ""
        click.echo(f"{answer.source} > {answer.target}: nothing is wrong with this flow. {seen[answer.arrives]}{far}")
        return
    if not answer.causes and unknown:
        click.echo(f"{answer.source} > {answer.target}: the way cannot be followed to its end, as {unknown[0]}.")
    elif not answer.causes:
        click.echo(
            f"{answer.source} > {answer.target}: every kernel on the way lets it pass, and it is not answered "
            f"({_outcome(answer)}): look at who should answer."
        )


def _outcome(answer: Answer) -> str:
    return answer.tried.outcome if answer.tried is not None else "not tried"
