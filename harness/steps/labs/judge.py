"""Judging a lab's step: pure functions from what commands printed to records."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.model.expression import ExpressionError, evaluate, explain, pluck, shown
from harness.model.lab import Expect, Plot, Step, Table
from harness.model.records import Evidence, LabStep, Packet
from harness.model.records import Tap as TapRecord
from harness.model.spot import Spot
from harness.runner import Completed

OUTPUT_LIMIT = 4096
"""Bytes of output in a record; the transcript has all of it."""

PACKETS_SHOWN = 12
ROWS_SHOWN = 200
POINTS_KEPT = 500

Status = Literal["pass", "fail", "skip", "error", "record"]


@dataclass(frozen=True)
class Outcome:
    """What one command did in one place.

    Args:
        spot: Where it ran.
        item: Of the step's `for`; None without one.
        argv: As it ran.
        returncode: Exit status.
        stdout: What it printed.
        stderr: What it printed as errors.
        seconds: How long it took.
        result: `stdout`, parsed as the step says; None when it is not what it should be.
        context: Variables of expressions about it.
        problem: Why the steps after this one would mean nothing; empty when they do.
    """

    spot: Spot
    item: Any
    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float
    result: Any
    context: dict[str, Any] = field(repr=False, compare=False)
    problem: str = ""

    @property
    def label(self) -> str:
        """`node n1`, or `node n1, 8.8.8.8` for an item."""
        return self.spot.label if self.item is None else f"{self.spot.label}, {shown(_name(self.item), 60)}"

    def tail(self) -> str:
        """The last lines of what it printed, errors first."""
        text = self.stderr.strip() or self.stdout.strip()
        return "\n".join(text.splitlines()[-5:]) or f"exit status {self.returncode}, nothing printed"

    def transcript(self) -> str:
        """As a terminal would show it."""
        body = self.stdout + (self.stderr and "\n" + self.stderr if self.stdout.strip() else self.stderr)
        return f"# {self.label}\n$ {shlex.join(self.argv)}\n{body.rstrip()}\n[exit {self.returncode}]\n\n"

    def facts(self) -> dict[str, Any]:
        """As an item of `results`."""
        return {
            "place": self.spot.name, "item": self.item, "rc": self.returncode, "stdout": self.stdout,
            "stderr": self.stderr, "result": self.result, "seconds": self.seconds, **self.spot.facts,
        }  # fmt: skip


@dataclass
class Judged:
    """The records of a step in the making, what it saves, and the tables it made."""

    records: list[LabStep]
    value: Any
    evidence: list[Evidence]


def _parsed(step: Step, done: Completed) -> Any:
    if step.parse == "json":
        try:
            return json.loads(done.stdout) if done.stdout.strip() else []
        except ValueError:
            return None
    if step.parse == "lines":
        return [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return done.stdout.strip()


def outcome(
    step: Step, spot: Spot, item: Any, argv: tuple[str, ...], done: Completed, seconds: float, context: dict[str, Any]
) -> Outcome:
    """What a command did, with the variables that its expectations see."""
    result = _parsed(step, done)
    seen = {
        **context, "result": result, "stdout": done.stdout, "stderr": done.stderr, "rc": done.returncode,
        "seconds": seconds,
    }  # fmt: skip
    return Outcome(spot, item, argv, done.returncode, done.stdout, done.stderr, seconds, result, seen)


def action(spot: Spot, done: Completed, argv: tuple[str, ...]) -> Outcome:
    """What a command of a fault did: nothing is parsed or judged."""
    return Outcome(spot, None, argv, done.returncode, done.stdout, done.stderr, 0.0, None, {})


def bare(lab: str, step: Step, status: Status, reason: str = "", seconds: float = 0.0) -> LabStep:
    """The record of a step that has nothing to show."""
    return LabStep(
        lab=lab, step=step.id, title=step.title, place=step.on, command=shlex.join(step.run), status=status,
        reason=reason, seconds=seconds,
    )  # fmt: skip


def broken(lab: str, step: Step, failed: Sequence[Outcome]) -> Judged:
    """The verdict on a step whose command failed: what it said, wherever it failed."""
    said = "\n".join(f"{one.label}: {one.problem}\n{one.tail()}" for one in failed[:4])
    record = bare(lab, step, "fail", failed[0].problem).model_copy(update={"observed": shown(said, 1200)})
    return Judged([record], None, [])


def saved_value(step: Step, ran: Sequence[Outcome], context: Mapping[str, Any]) -> Any:
    """What `saved.<name>` is: the result; by place, by item, or both, where there are several; without run, `let`."""
    if not ran:
        return {name: context[name] for name in step.let}
    several = step.on.startswith("each-")
    if step.for_ and several:
        return [outcome.facts() for outcome in ran]
    if step.for_:
        return {
            outcome.item if isinstance(outcome.item, str) else str(i): outcome.result for i, outcome in enumerate(ran)
        }
    return {outcome.spot.name: outcome.result for outcome in ran} if several else ran[0].result


def judge(lab: str, step: Step, ran: Sequence[Outcome], context: Mapping[str, Any], acted: int) -> Judged:
    """Judge a step.

    Args:
        lab: Id of the lab.
        step: The step.
        ran: What its command did, in each place and for each item.
        context: Variables of the lab, with the packets of the step's taps.
        acted: How many commands of faults ran.

    Returns:
        A record for each expectation, or one for the step when it has none.
    """
    together = {**context, "results": [one.facts() for one in ran]}
    if len(ran) == 1:
        together.update({**ran[0].context, **context})
    scopes = [("", together)] if len(ran) <= 1 else [(one.label, {**together, **one.context}) for one in ran]
    scopes = [(label, _with_let(step, scope)) for label, scope in scopes]
    shared = scopes[0][1] if len(scopes) == 1 else _with_let(step, together, lenient=True)
    records = [_expectation(lab, step, expect, [("", shared)] if expect.once else scopes) for expect in step.expect]
    if not records:
        status: Status = "pass" if ran or acted or not step.run else "record"
        records = [bare(lab, step, status)]
    evidence = [_table(table, shared) for table in step.tables] + [_plot(plot, shared) for plot in step.plots]
    return Judged(records, saved_value(step, ran, shared), evidence)


def _with_let(step: Step, scope: dict[str, Any], *, lenient: bool = False) -> dict[str, Any]:
    scope = dict(scope)
    for name, source in step.let.items():
        try:
            scope[name] = evaluate(source, scope)
        except ExpressionError:
            if not lenient:
                raise
    return scope


def _expectation(lab: str, step: Step, expect: Expect, scopes: Sequence[tuple[str, Mapping[str, Any]]]) -> LabStep:
    """The record of one expectation, judged in every scope and for every item."""
    wrong: list[str] = []
    right: list[str] = []
    reason = ""
    count = 0
    for label, scope in scopes:
        try:
            items = evaluate(expect.for_, scope) if expect.for_ else [None]
        except ExpressionError as error:
            wrong.append(f"{label}: {error}".removeprefix(": "))
            continue
        for item in items:
            count += 1
            here = {**scope, "item": item} if expect.for_ else scope
            name = ", ".join(part for part in (label, shown(_name(item), 60) if expect.for_ else "") if part)
            try:
                value = evaluate(expect.that, here)
                good = bool(value)
                said = ""
                if expect.level == "record":
                    said = shown(value)
                elif not good or not right:  # one explanation of success is enough
                    said = explain(expect.that, here)
            except ExpressionError as error:
                good, said = False, str(error)
            (right if good else wrong).append(f"{name}: {said}" if name else said)
    if count == 0 and not wrong:
        wrong, reason = ["nothing to judge: the list is empty"], "the census is empty"
    status: Status = "record" if expect.level == "record" else "fail" if wrong else "pass"
    if wrong and count > 1:
        reason = reason or f"not true in {len(wrong)} of {count}"
    observed = "\n".join(wrong[:6]) if wrong else (f"{count} of {count}; " if count > 1 else "") + right[0]
    return LabStep(
        lab=lab, step=step.id, title=step.title, place="operator", status=status, expectation=expect.because,
        observed=shown(observed, 1200), reason=reason, claim=expect.claim if status != "fail" else "",
    )  # fmt: skip


def _name(item: Any) -> Any:
    """What an item is called: pods and nodes, objects of the API, links, routes, forwarding entries."""
    if not isinstance(item, Mapping):
        return item
    found = (pluck(item, path) for path in ("name", "metadata.name", "involvedObject.name", "ifname", "dst", "mac"))
    return next((name for name in found if isinstance(name, str)), item)


def _table(table: Table, context: Mapping[str, Any]) -> Evidence:
    """A table as evidence: `{"table": title, "columns": […], "rows": [[…], …]}`."""
    try:
        items = list(evaluate(table.of, context))[:ROWS_SHOWN]
        rows = [
            [shown(evaluate(source, {**context, "item": item}), 120) for source in table.columns.values()]
            for item in items
        ]
    except ExpressionError as error:
        return Evidence(kind="kernel", detail={"table": table.title, "error": str(error)})
    return Evidence(kind="kernel", detail={"table": table.title, "columns": list(table.columns), "rows": rows})


def _plot(plot: Plot, context: Mapping[str, Any]) -> Evidence:
    """A plot as evidence: `{"plot": title, "unit": …, "at": [seconds, …], "series": {name: [number, …]}}`."""
    try:
        scopes = [{**context, "item": item} for item in list(evaluate(plot.of, context))[:POINTS_KEPT]]
        at = [float(evaluate(plot.at, scope)) for scope in scopes]
        series = {name: [float(evaluate(source, scope)) for scope in scopes] for name, source in plot.series.items()}
    except (ExpressionError, TypeError, ValueError) as error:
        return Evidence(kind="kernel", detail={"plot": plot.title, "error": str(error)})
    since = [round(moment - at[0], 3) for moment in at]
    return Evidence(kind="kernel", detail={"plot": plot.title, "unit": plot.unit, "at": since, "series": series})


def finish(verdict: Judged, outcomes: Sequence[Outcome], evidence: Sequence[Evidence], seconds: float) -> list[LabStep]:
    """Add command, output and evidence to a step's first record, place to all of them."""
    places = list(dict.fromkeys(one.spot.label for one in outcomes))
    place = (
        ", ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "") if places else "operator"
    )
    records = [record.model_copy(update={"place": place}) for record in verdict.records]
    first: dict[str, Any] = {"seconds": round(seconds, 3), "evidence": tuple(evidence)}
    if outcomes:
        shown_one = outcomes[-1] if len(outcomes) == 1 else outcomes[0]
        text = shown_one.stdout if len(outcomes) == 1 else "".join(one.transcript() for one in outcomes)
        first |= {
            "command": shlex.join(shown_one.argv),
            "exit_status": shown_one.returncode,
            "output": (text if text.strip() else shown_one.stderr)[:OUTPUT_LIMIT],
        }
    return [records[0].model_copy(update=first), *records[1:]]


def tap_detail(name: str, tap: TapRecord) -> dict[str, Any]:
    """A capture as evidence: file, command, and its first packets, decoded."""
    return {
        "tap": name, "path": tap.pcap, "place": tap.place, "node": tap.node, "interface": tap.interface,
        "command": tap.command, "packets": len(tap.packets),
        "decoded": [packet_line(packet) for packet in tap.packets[:PACKETS_SHOWN]],
    }  # fmt: skip


def packet_line(packet: Packet) -> str:
    """One packet as one line, in the order in which its headers are on the wire."""
    ports = f":{packet.src_port} > {packet.dst}:{packet.dst_port}" if packet.src_port else f" > {packet.dst}"
    line = f"{packet.src}{ports} {packet.proto} ttl {packet.ttl} length {packet.length}{' DF' if packet.df else ''}"
    if packet.icmp_type is not None:
        line += f" type {packet.icmp_type} code {packet.icmp_code}"
    if packet.nd_target:
        line += f" about {packet.nd_target}" + (f" flags {packet.nd_flags}" if packet.nd_flags else "")
    if packet.inner is not None:
        line += f" vni {packet.vni} | {packet_line(packet.inner)}"
    return line
