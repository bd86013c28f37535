"""What was asked for, held against what was reported: a probe without a record is an error, and never one leg less.

The plans are made again from what the run keeps of its cluster, by the functions that made them for the probes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from conformance import outward, plan, questions
from conformance.context import Context
from conformance.legs import undialled
from conformance.maths import split_endpoint
from conformance.pairs import node_pairs
from harness.model.family import transport_of
from harness.model.records import Burst, Churn, Exchange, Leg, Lookup, Observation, Rung
from harness.probes.plan import BurstProbe, ChurnProbe, ExchangeProbe, LookupProbe, Probe, RungProbe

Asked = tuple[str, Probe]
"""Who was to ask, and what."""


def wire(context: Context) -> plan.Plan:
    """The packets that taps follow: of the first pair of nodes."""
    pairs = node_pairs(context.inventory)
    if not pairs or not context.gates.get("cap"):
        return {}
    src, dst = pairs[0]
    return plan.wire(src, dst, plan.path_mtu(context.inventory, context.variant.expect, src, dst))


_PLANS: Final[tuple[Callable[[Context], plan.Plan], ...]] = (
    lambda context: plan.mesh(context.inventory),
    lambda context: plan.setups(context.inventory),
    lambda context: plan.connections(context.inventory),
    wire,
    lambda context: plan.packets(context.inventory, context.variant.expect),
    lambda context: plan.services(context.inventory, context.gates),
    lambda context: questions.lookups(
        context.inventory,
        context.spec,
        context.gates,
        questions.fresh_of(one.name for one in context.lookups.get("forward", ())),
    ),
    lambda context: outward.egress(context.inventory, context.variant.expect, context.gates),
    lambda context: outward.inbound(context.inventory, routed=False),
    lambda context: outward.inbound(context.inventory, routed=True),
)
"""All that do not depend on what was seen meanwhile: B0 asks at the MTU of the moment, B6 has a record of its own."""


def asked(context: Context, purpose: str) -> list[Asked]:
    """Who was to ask what, in the order of the plans."""
    known: dict[str, list[Asked]] | None = context.memo.get("asked")
    if known is None:
        known = context.memo["asked"] = defaultdict(list)
        for make in _PLANS:
            for src, probes in make(context).items():
                for probe in probes:
                    known[probe.purpose].append((src, probe))
    return known.get(purpose, [])


def name_of(src: str, probe: Probe) -> str:
    """What the leg of a probe is called: `a>c/tcp`, `a>c/1450`, `a?spread.cnilab-probe.svc.cluster.local./A/udp`."""
    match probe:
        case LookupProbe():
            return f"{src}?{probe.name}/{probe.qtype}/{probe.transport}"
        case RungProbe():
            return f"{src}>{probe.target.name}/{probe.size}"
        case ExchangeProbe():
            return f"{src}>{probe.target.name}/{transport_of(probe.proto)}"
        case BurstProbe():
            return f"{src}>{probe.target.name}/udp"
        case ChurnProbe():
            return f"{src}>{probe.target.name}/tcp"
    return src


def unreported(context: Context, purpose: str, name: Callable[[str, Probe], str] = name_of) -> list[Leg]:
    """One leg for every probe of a purpose that nobody reported.

    Args:
        context: The run.
        purpose: Of the probes.
        name: What their legs are called.
    """
    probes: dict[tuple[object, ...], list[Asked]] = defaultdict(list)
    for src, probe in asked(context, purpose):
        probes[_key(src, probe)].append((src, probe))
    seen: dict[tuple[object, ...], list[Observation]] = defaultdict(list)
    for one in _seen(context, purpose):
        seen[_key_of(one)].append(one)
    return [
        undialled(context, name(src, probe)) for key, group in probes.items() for src, probe in _left(group, seen[key])
    ]


def _left(group: Sequence[Asked], seen: Sequence[Observation]) -> Sequence[Asked]:
    """The probes of one key that have no record; where sizes differ, rather those whose size was not seen."""
    sizes = [one.sent for one in seen if isinstance(one, Exchange)]
    ordered = sorted(group, key=lambda one: isinstance(one[1], ExchangeProbe) and one[1].size in sizes)
    return ordered[: max(0, len(group) - len(seen))]


def _seen(context: Context, purpose: str) -> Iterator[Observation]:
    """What was reported of a purpose."""
    sources: tuple[Mapping[str, Sequence[Observation]], ...] = (context.exchanges, context.lookups, context.bursts)
    for source in sources:
        yield from source.get(purpose, ())
    yield from (one for one in context.rungs if one.purpose == purpose)
    yield from (one for one in context.churns if one.purpose == purpose)


def _key(src: str, probe: Probe) -> tuple[object, ...]:
    match probe:
        case LookupProbe():
            return (src, probe.name, probe.qtype, probe.transport)
        case RungProbe():
            return (src, probe.target.name, probe.size)
        case ExchangeProbe():
            proto = transport_of(probe.proto)
            return (src, probe.target.name, proto, 0 if proto == "icmp" else probe.target.port)
        case BurstProbe() | ChurnProbe():
            return (src, probe.target.name)
    return (src, probe.port)


def _key_of(one: Observation) -> tuple[object, ...]:
    match one:
        case Lookup():
            return (one.src, one.name, one.qtype, one.transport)
        case Rung():
            return (one.src, one.dst, one.size)
        case Exchange():
            return (one.src, one.dst, transport_of(one.proto), split_endpoint(one.dial)[1])
        case Burst() | Churn():
            return (one.src, one.dst)
    return ()
