"""`cnilab why`."""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from harness.cli.command import command as define
from harness.cli.existing import not_with, sent, why_cluster, wish
from harness.cli.output import Listing, emit, output_option
from harness.cli.progress import progress
from harness.cli.select import attached, cluster_option
from harness.cli.verdicts import tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.steps.existing.why import Surveyed
    from harness.steps.lifecycle.attach import Attached
    from harness.steps.why.answer import Answer
    from harness.steps.why.ends import Question
    from harness.steps.why.survey import Survey

Given = dict[str, Any]


def _theirs(given: Given, own: Given) -> int:
    """`cnilab why --kubeconfig`."""
    not_with(own, cluster="--cluster")
    question = _question(own)
    from harness.model.journal import Journal  # noqa: PLC0415 - the help must not wait for these
    from harness.steps.existing.why import examined, survey_existing, why_existing  # noqa: PLC0415

    with progress() as listener:
        journal = Journal(None, listener)
        with journal.step("existing.preflight", "cluster access, permissions and nodes"):
            found = examined(wish(given))
        program = functools.partial(sent, journal)
        if question is not None:
            answer = why_existing(found, question, journal=journal, program=program, trace=own["trace"])
        else:
            seen = survey_existing(found, journal=journal, program=program)
    if question is not None:
        return _told(answer, own["output"])
    return _sampled(seen, found.access.context, own["output"])


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
    cnilab why box1 box3 tcp/8080 --trace
    cnilab why --kubeconfig ~/.kube/config --context staging
    cnilab why --kubeconfig ~/.kube/config shop/web-0 svc/shop/db tcp/5432
    """,
)
@click.argument("source", metavar="[SRC", required=False)
@click.argument("target", metavar="DST", required=False)
@click.argument("what", metavar="[PROTO[/PORT]]]", required=False)
@click.option("--size", type=click.IntRange(60, 65535), help="Size of the IP packet in bytes.  [default: a small one]")
@click.option("--ip-family", type=click.Choice(["ipv4", "ipv6"]), help="Go over this IP family.  [default: DST's]")
@click.option("--trace", is_flag=True, help="Trace the flow's own packets in every kernel on the way.")
@cluster_option()
@output_option()
@why_cluster(_theirs)
def command(*, cluster: str | None, output: str, **own: Any) -> int:
    """Say why packets do not arrive: name the rule, route, entry or setting that is wrong.

    Without SRC and DST: what is wrong in the whole cluster. The command reads the state of all kernels, and follows
    packets of every kind by it: between pods, to and from nodes, out of the cluster, to Services. It sends none.

    SRC is a pod (name or namespace/name), a node, or router. DST may also be a Service (svc/NAME, svc/NAMESPACE/NAME)
    or an address. PROTO is tcp, udp or icmp. Without it, the first port of a Service is meant, and an echo to anything
    else.

    With a flow, the command reads the state of all kernels on the way, follows the packet and its answer by it, and
    sends one packet to see whether that is so. Exit code 1 means that something is wrong.

    With --trace, a table of nftables marks these packets in every network namespace on the way, and the kernels say
    which hooks they pass and which rule drops them. The table goes with the command.

    With --kubeconfig, the ends are pods, nodes and Services of that cluster. Privileged probes read the kernels: on the
    nodes of the flow, or on those of a sample. They are removed at the end.
    """
    question = _question(own)
    there = attached(cluster)
    if question is None:
        return _whole(there, output)
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.why.answer import why  # noqa: PLC0415

    with progress() as listener:
        answer = why(there, question, journal=Journal(None, listener), trace=own["trace"])
    return _told(answer, output)


def _question(own: Given) -> Question | None:
    """The flow that is asked for; None: the whole cluster is."""
    source, target, what, family = (own[name] for name in ("source", "target", "what", "ip_family"))
    if source is None and (own["size"] or family or own["trace"]):
        msg = "--size, --ip-family and --trace are for a flow: give SRC and DST"
        raise click.UsageError(msg)
    if source is not None and target is None:
        msg = f"'{source}' to where? Give DST, too, or nothing for the whole cluster"
        raise click.UsageError(msg)
    if source is None:
        return None
    from harness.steps.why.ends import Question, wire  # noqa: PLC0415

    return Question(source, target, wire(what) if what else None, own["size"] or 0, family)


def _told(answer: Answer, output: str) -> int:
    """What is to be said of a flow, and the exit code."""
    people = output in {"table", "wide"}
    if answer.steps or not people:
        emit(_listing(answer), output)
    if people:
        _traced(answer)
        _conclude(answer)
    return 0 if answer.fine else 1


def _whole(there: Attached, output: str) -> int:
    """What is wrong in the whole cluster."""
    from harness.model.journal import Journal  # noqa: PLC0415
    from harness.steps.why.survey import survey  # noqa: PLC0415

    with progress() as listener:
        found = survey(there, Journal(None, listener))
    if output not in {"table", "wide"}:
        return _causes(found, output, cluster=there.spec.name)
    tell(found.causes)
    between = f"between {_number(found.pods, 'pod')}, the nodes, Services and the outside"
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


def _number(items: Sequence[str], word: str) -> str:
    return f"1 {word}" if len(items) == 1 else f"{len(items)} {word}s"


def _causes(found: Survey, output: str, **extra: object) -> int:
    """What is wrong, for programs."""
    rows = [(one.key, one.confidence, one.sentence) for one in found.causes]
    items = [one.model_dump(mode="json") for one in found.causes]
    extra |= {"pods": list(found.pods), "blind": list(found.blind)}
    emit(Listing("Cause", ("key", "confidence", "sentence"), rows, items, extra=extra), output)
    return 1 if found.causes else 0


def _sampled(seen: Surveyed, context: str, output: str) -> int:
    """What is wrong in an existing cluster, and what is not known of it."""
    found = seen.survey
    if output not in {"table", "wide"}:
        more = {"nodes": list(seen.nodes), "leftOut": dict(seen.left_out), "ways": found.ways, "ended": found.ended}
        return _causes(found, output, cluster=context, **more, unknown=list(found.unknown))
    tell(found.causes)
    if not found.causes:
        what = f"between {_number(found.pods, 'pod')}, {_number(seen.nodes, 'node')} and Services"
        click.echo(f"By what the kernels say, nothing is wrong {what}: {found.ways} ways were followed.")
    if found.ended:
        click.echo(f"{found.ended} of {found.ways} ways could not be followed to their end.")
    for text in found.unknown[:UNKNOWN]:
        click.echo(f"  unknown: {text}")
    for name, why_not in seen.left_out.items():
        click.echo(f"  left out: {name}: {why_not}")
    return 1 if found.causes else 0


UNKNOWN: Final = 5
"""Things that are not known, of which a terminal is told; JSON has all."""


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
        "unknown": list(answer.unknown),
        "tried": answer.tried.model_dump(mode="json") if answer.tried is not None else None,
    }
    if answer.traced is not None:
        extra["traced"] = [asdict(one) for one in answer.traced.seen]
        extra["counted"] = answer.traced.counted
        extra["untraced"] = answer.traced.untraced
    return Listing("Hop", ("hop", "way", "place", "device", "decision", "packet"), rows, items, extra=extra)


def _traced(answer: Answer) -> None:
    """What netfilter saw of the packets: of those that passed a hook in the same way, the first one."""
    if answer.traced is None:
        return
    rows, items = [], []
    for one in answer.traced.seen:
        packet = one.before if one.after == one.before else f"{one.before} becomes {one.after}"
        rule = f" by {' '.join(filter(None, (one.table, one.chain)))}: {one.rule or 'its policy'}"
        end = one.verdict + (rule if one.verdict == "dropped" else "")
        rows.append((one.direction, one.place, one.hook, one.iif or "-", one.oif or "-", packet, end))
        items.append(asdict(one))
    emit(Listing("Passage", ("way", "place", "hook", "from", "to", "packet", "end"), rows, items), "table",
         empty="Netfilter saw no packet of this flow.")  # fmt: skip
    for place, why_not in answer.traced.untraced.items():
        click.echo(f"  not traced: {place}: {why_not}")


def _conclude(answer: Answer) -> None:
    """The sentence, and how sure it is."""
    tell(answer.causes)
    seen = {True: "It was answered.", False: f"It was not: {_outcome(answer)}.", None: _untried(answer)}
    unknown = answer.unknown
    if answer.fine:
        ended = any(way.unknown for way in answer.ways)
        far = f" Its way cannot be followed to the end, as {unknown[0]}." if ended else ""
        far += f" Not everything is known: {unknown[0]}." if unknown and not ended else ""
        click.echo(f"{answer.source} > {answer.target}: nothing is wrong with this flow. {seen[answer.arrives]}{far}")
        return
    if not answer.causes and unknown:
        click.echo(f"{answer.source} > {answer.target}: the way cannot be followed to its end, as {unknown[0]}.")
    elif not answer.causes:
        hint = "look at who should answer" if answer.traced is not None else "see where its packets end: add --trace"
        click.echo(
            f"{answer.source} > {answer.target}: every kernel on the way lets it pass, and it is not answered "
            f"({_outcome(answer)}): {hint}."
        )


def _untried(answer: Answer) -> str:
    """Of a flow of which it is not known whether it is answered."""
    traced = answer.traced is not None
    return "Its datagram arrived, and was not answered." if traced else "No packet was sent to try it."


def _outcome(answer: Answer) -> str:
    return answer.tried.outcome if answer.tried is not None else "not tried"
