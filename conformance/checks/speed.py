"""How fast pods reach each other: written down with the machine, and held against nothing.

All nodes of a lab share one machine, so its figures compare with those of the same machine alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any, Final

from conformance.context import Context
from conformance.disturbance import measured
from conformance.legs import broken, census, control, recorded
from conformance.model import Check, Verdict
from harness.model.disturbed import Speed
from harness.model.records import Control, Evidence, Leg

SAMPLE: Final = (90.0, 100.0, 110.0)
"""Figures for the control where nothing could be measured: that is for the checks of reach, and written down here."""

Figure = Callable[[Speed], float]

FIGURES: Final[dict[str, tuple[Figure, str]]] = {
    "throughput": (lambda one: one.amount * 8000 / one.ms if one.ms else 0.0, "bit/s"),
    "rounds": (lambda one: float(one.p50_us or 0), "us"),
    "setups": (lambda one: one.amount * 1000 / one.ms if one.ms else 0.0, "1/s"),
}
"""Purpose -> the figure of one measurement, and its unit."""


def throughput(context: Context) -> Verdict:
    """Bits per second of one TCP connection."""
    return _recorded(context, "throughput", lambda value: f"{value / 1e9:.2f} Gbit/s over one TCP connection")


def rounds(context: Context) -> Verdict:
    """Time from request to response."""
    return _recorded(context, "rounds", lambda value: f"{value:.0f} us from request to response (p50)")


def setups(context: Context) -> Verdict:
    """Connections per second, one after the other."""
    return _recorded(context, "setups", lambda value: f"{value:.0f} connections per second, one after the other")


def middle(values: Sequence[float]) -> float:
    """The median of several measurements of the same."""
    return statistics.median(values)


def _recorded(context: Context, purpose: str, words: Callable[[float], str]) -> Verdict:
    figure, unit = FIGURES[purpose]
    seen = [one for one in context.observations if isinstance(one, Speed) and one.purpose == purpose]
    legs: list[Leg] = []
    good: list[float] = []
    for src, target in measured(context.inventory):
        name = f"{src.name}>{target.name}"
        mine = [one for one in seen if (one.src, one.dst) == (src.name, target.name)]
        values = [figure(one) for one in mine if one.outcome == "ok" and one.token in {"", target.name}]
        if not mine:
            legs.append(broken(name, f"nobody reported the {purpose} of {name}", "missing"))
        elif not values:
            text = f"{purpose} of {name} could not be measured: {mine[-1].outcome} {mine[-1].detail}".rstrip()
            legs.append(recorded(name, mine[-1].outcome, text))
        else:
            good += values
            text = f"{name}: {words(middle(values))}, median of {len(values)}"
            legs.append(recorded(name, round(middle(values)), text, unit))
    machine = context.read("api", "cluster", "machine")
    return Verdict(
        tuple(legs),
        (
            census(len(seen), 1, "measurements"),
            control("P4", _known(machine), "the machine is known"),
            _notices(good or SAMPLE),
        ),
        (Evidence(kind="kernel", detail={"machine": machine}),),
        summary="; ".join(leg.statement for leg in legs),
    )


def _known(machine: Any) -> bool:
    return isinstance(machine, dict) and bool(machine.get("kernel")) and bool(machine.get("processors"))


def _notices(values: Sequence[float]) -> Control:
    """A network that is ten times slower has another figure: the rule, on what was measured and then slowed."""
    slow = [value / 10 for value in values]
    return control("inv", middle(slow) < middle(values) / 5, "a tenth of the speed would show in the figure")


CHECKS: tuple[Check, ...] = tuple(
    Check(
        id=f"perf.{name}", title=title, level="R", batch="B8", judge=judge, gates=("dis",),
        inverse="a tenth of the speed shows in the figure",
        causes=("the machine", "the MTU", "offload"),
    )
    for name, title, judge in (
        ("throughput", "throughput between pods is recorded", throughput),
        ("rr", "the time from request to response between pods is recorded", rounds),
        ("setup", "the rate of new connections between pods is recorded", setups),
    )
)  # fmt: skip
"""Figures; they never fail."""
