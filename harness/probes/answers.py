"""Between probes and the agent's JSON: what goes in, and what its lines become. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.model.family import endpoint, family_of_dial, transport_of
from harness.model.records import Burst, Churn, Exchange, Lookup, Observation, Query, Rung, Try
from harness.probes.plan import (
    BindProbe,
    BurstProbe,
    ChurnProbe,
    ExchangeProbe,
    LookupProbe,
    Probe,
    Prober,
    RungProbe,
)

Line = Mapping[str, Any]


def request(probe: Probe) -> dict[str, Any]:
    """The probe as the agent reads it; the caller adds the id."""
    match probe:
        case ExchangeProbe():
            return {
                "kind": "exchange",
                "proto": transport_of(probe.proto),
                "dial": _dial(probe),
                "size": probe.size,
                "source_port": probe.source_port,
                "expect": probe.expect,
                "connect": probe.connect,
                **({"extension": probe.extension} if probe.extension else {}),
                **({"one_syn": True} if probe.one_syn else {}),
                **({"tls": True, "ca": probe.tls.ca, "server_name": probe.tls.name} if probe.tls else {}),
            }
        case BindProbe():
            return {
                "kind": "bind",
                "proto": transport_of(probe.proto),
                "dial": endpoint(probe.address, probe.port),
                "expect": probe.expect,
            }
        case RungProbe():
            told = {"dial": probe.target.dial, "size": probe.size, "expect": probe.expect}
            return {"kind": "rung", **told, **({"heed": True} if probe.heed else {})}
        case BurstProbe():
            return {"kind": "burst", "dial": probe.target.dial, "count": probe.count, "size": probe.size}
        case ChurnProbe():
            return {
                "kind": "churn",
                "dial": probe.target.dial,
                "sequential": probe.sequential,
                "parallel": probe.parallel,
            }
        case LookupProbe():
            return {
                "kind": "lookup",
                "name": probe.name,
                "qtype": probe.qtype,
                "transport": probe.transport,
                "server": probe.server,
                "edns": probe.edns,
                "expect": probe.expect,
                **({"times": probe.times, "apart": probe.apart} if probe.times else {}),
            }


def _dial(probe: ExchangeProbe) -> str:
    """What the agent dials, from which it knows the family: echo requests have no port."""
    return probe.target.address if transport_of(probe.proto) == "icmp" else probe.target.dial


def line_of(lines: Mapping[str, Line], index: int) -> Line:
    """The agent's line for a probe; what went wrong instead, when there is none."""
    missing: Line = {"outcome": "error", "detail": "the agent ended without a result for this probe"}
    return lines.get(str(index)) or lines.get("failure") or missing


def burst_counts(lines: Iterable[Line]) -> dict[str, Line]:
    """What receivers counted, by burst."""
    return {line["burst"]: line for line in lines if line.get("kind") == "collect" and line.get("counted")}


def observation(site: Prober, probe: Probe, batch: str, line: Line, counts: Mapping[str, Line]) -> Observation:
    """The record of a probe.

    Args:
        site: Where it ran.
        probe: What was asked.
        batch: B1, B2 …
        line: The agent's answer.
        counts: From `burst_counts`.
    """
    match probe:
        case ExchangeProbe() | BindProbe():
            return _exchange(site, probe, batch, line)
        case RungProbe():
            return _rung(site, probe, batch, line)
        case BurstProbe():
            return _burst(site, probe, batch, line, counts)
        case ChurnProbe():
            return _churn(site, probe, batch, line)
        case LookupProbe():
            return _lookup(site, probe, batch, line)


def _tries(line: Line) -> tuple[Try, ...]:
    tries: Sequence[Line] = line.get("tries", ())
    return tuple(Try.model_validate(attempt) for attempt in tries)


def _exchange(site: Prober, probe: ExchangeProbe | BindProbe, batch: str, line: Line) -> Exchange:
    if isinstance(probe, BindProbe):
        name, node, dial = site.name, site.node, endpoint(probe.address or "*", probe.port)
    else:
        name, node, dial = probe.target.name, probe.target.node, _dial(probe)
    tries = _tries(line)
    return Exchange(
        batch=batch,
        purpose=probe.purpose,
        src=site.name,
        src_node=site.node,
        src_ip=site.address(family_of_dial(dial)),
        dst=name,
        dst_node=node,
        proto=probe.proto,
        dial=dial,
        source=line.get("source", ""),
        outcome=line["outcome"],
        errno=line.get("errno", 0),
        token=line.get("token", ""),
        peer=line.get("peer", ""),
        local=line.get("local", ""),
        ttl=line.get("ttl"),
        rtt_us=line.get("rtt_us"),
        sent=line.get("sent", 0),
        received=line.get("received", 0),
        intact=line.get("intact"),
        attempts=max(1, len(tries)),
        tries=tries,
        nonce=line.get("nonce", ""),
        mss=line.get("mss"),
        reply_ttl=line.get("reply_ttl"),
        stall_ms=line.get("stall_ms"),
        syn_resent=line.get("syn_resent"),
        certificate=line.get("certificate", ""),
        subject=line.get("subject", ""),
        issuer=line.get("issuer", ""),
        trusted=line.get("trusted"),
        detail=line.get("detail", ""),
    )


def _rung(site: Prober, probe: RungProbe, batch: str, line: Line) -> Rung:
    return Rung(
        batch=batch,
        purpose=probe.purpose,
        src=site.name,
        src_node=site.node,
        dst=probe.target.name,
        dst_node=probe.target.node,
        dial=probe.target.dial,
        size=probe.size,
        outcome=line["outcome"],
        errno=line.get("errno", 0),
        reported_mtu=line.get("reported_mtu"),
        received=line.get("received", 0),
        intact=line.get("intact"),
        ms=line.get("ms", 0.0),
        origin=line.get("origin", ""),
        icmp_type=line.get("icmp_type"),
        icmp_code=line.get("icmp_code"),
        reporter=line.get("reporter", ""),
        ttl=line.get("ttl"),
        tries=_tries(line),
        detail=line.get("detail", ""),
    )


def _burst(site: Prober, probe: BurstProbe, batch: str, line: Line, counts: Mapping[str, Line]) -> Burst:
    counted: Line = counts.get(line.get("burst", ""), line if line.get("counted") else {})
    received: int | None = counted.get("received", 0) if counted else None
    sent: int = line.get("sent", 0)
    outcome = line["outcome"]
    if outcome == "ok":
        outcome = "error" if received is None else "ok" if received >= probe.count else "lost"
    return Burst(
        batch=batch,
        purpose=probe.purpose,
        src=site.name,
        src_node=site.node,
        dst=probe.target.name,
        dst_node=probe.target.node,
        dial=probe.target.dial,
        outcome=outcome,
        errno=line.get("errno", 0),
        sent=sent,
        received=received,
        duplicates=counted.get("duplicates", 0),
        ms=line.get("ms", 0.0),
        detail=line.get("detail", "") or ("" if received is not None else "the receiver did not report a count"),
    )


def _churn(site: Prober, probe: ChurnProbe, batch: str, line: Line) -> Churn:
    return Churn(
        batch=batch,
        purpose=probe.purpose,
        src=site.name,
        src_node=site.node,
        dst=probe.target.name,
        dst_node=probe.target.node,
        dial=probe.target.dial,
        outcome=line["outcome"],
        sequential=probe.sequential,
        parallel=probe.parallel,
        connected=line.get("connected", 0),
        untried=line.get("untried", 0),
        errors=line.get("errors", {}),
        p50_us=line.get("p50_us"),
        p99_us=line.get("p99_us"),
        ms=line.get("ms", 0.0),
        detail=line.get("detail", ""),
    )


def _lookup(site: Prober, probe: LookupProbe, batch: str, line: Line) -> Lookup:
    queries: Sequence[Line] = line.get("queries", ())
    return Lookup(
        batch=batch,
        purpose=probe.purpose,
        src=site.name,
        src_node=site.node,
        name=probe.name,
        qtype=probe.qtype,
        transport=probe.transport,
        family=probe.family,
        server=line.get("server", "") or probe.server,
        outcome=line["outcome"],
        errno=line.get("errno", 0),
        rcode=line.get("rcode", ""),
        answers=tuple(line.get("answers", ())),
        truncated=line.get("truncated", False),
        queries=tuple(Query.model_validate(query) for query in queries),
        ms=line.get("ms", 0.0),
        tries=_tries(line),
        detail=line.get("detail", ""),
    )
