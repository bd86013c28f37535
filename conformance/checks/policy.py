"""NetworkPolicy: is what the API forbids kept out, and what it allows let in? And if nobody enforces it, is that so?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from conformance.context import Context
from conformance.legs import WORDS, broken, census, control, failed, passed
from conformance.model import Check, Judge, Verdict
from conformance.policy.cases import AFTER, BEFORE, DNS, NEW, PREFIX, Case, Dial, catalogue
from conformance.policy.seen import Record, Seen, got_through, record, stopped
from conformance.policy.semantics import Decision, Endpoint
from harness.model.records import Control, Leg

NP = 'Kubernetes documentation, "Network Policies"; API reference, networking.k8s.io/v1'
KEP_2079 = f"{NP}; KEP-2079"
LEAK: Final = "unexpected"


def leg_of(found: Record, name: str, dial: Dial, expected: Decision, one: Seen | None) -> Leg:
    """One dial under policies.

    Args:
        found: For addresses and places.
        name: Of the leg.
        dial: What was tried.
        expected: What the API says.
        one: What was seen; None: nothing.
    """
    if one is None:
        return broken(name, f"the probe did not report {dial}", "missing")
    if one.outcome != "ok" and not stopped(one):
        return broken(name, f"the probe itself failed on {dial}: {one.outcome} {one.detail}".rstrip())
    should = "allowed" if expected.allowed else "denied"
    if got_through(one) and not expected.allowed:
        text = f"leak: {said(found, dial, 'reached')}, but {expected.why}"
        return failed(name, LEAK, text, should, "answered")
    if one.outcome != "ok" and expected.allowed:
        return failed(name, one.outcome, f"{_silence(found, dial, one)}, but {expected.why}", should, one.outcome)
    return passed(name, should, one.outcome)


def said(found: Record, dial: Dial, verb: str) -> str:
    """`10.244.0.5 (x/a, n1) reached 10.244.1.5 (y/a, n2) on TCP port 8080`."""
    return f"{_where(found, dial.src)} {verb} {_where(found, dial.dst)} on {dial.proto.upper()} port {dial.port}"


def _silence(found: Record, dial: Dial, one: Seen) -> str:
    code = f" (errno {one.errno})" if one.errno else ""
    return said(found, dial, WORDS.get(one.outcome, f"ended with {one.outcome} at")) + code


def _where(found: Record, name: str) -> str:
    one = found.everybody.get(name) or Endpoint(name)
    inside = ", ".join(filter(None, (name, one.node if one.kind == "pod" else "")))
    return f"{one.ip} ({inside})" if one.ip else f"the cluster's DNS ({name})" if name == DNS else name


def leaks_first(legs: Iterable[Leg]) -> tuple[Leg, ...]:
    """What got through although it is forbidden, then what did not although it is allowed, then the rest."""
    return tuple(sorted(legs, key=lambda leg: (leg.status != "fail" or leg.reason != LEAK, leg.status != "fail")))


def _enforced(check: str, *, only_allowed: bool = False) -> Judge:
    """A judge for the cases of a requirement: observed = what the API says, dial by dial."""

    def judge(context: Context) -> Verdict:
        found = record(context)
        if found is None:
            return Verdict(())
        legs: list[Leg] = []
        before, allowed, denied, forbidden, times = 0, 0, 0, 0, []
        for one, case in found.of(check):
            legs += _rejections(one, case)
            expected = found.expected(one)
            for dial in found.dials(case):
                seen = found.seen.get((one["purpose"], dial))
                decision = expected[dial]
                forbidden += not decision.allowed
                denied += seen is not None and not decision.allowed and not got_through(seen)
                allowed += seen is not None and decision.allowed and seen.outcome == "ok"
                baseline = found.seen.get((BEFORE, dial))
                before += not decision.allowed and baseline is not None and baseline.outcome == "ok"
                if decision.allowed or not only_allowed:
                    legs.append(leg_of(found, f"{case.id}:{dial}", dial, decision, seen))
            times.append(one["seconds"])
        return Verdict(
            leaks_first(legs),
            tuple(_controls(forbidden, before, allowed, denied, only_allowed=only_allowed)) if legs else (),
            summary=_summary(len(legs), allowed, denied, times),
        )

    return judge


def _controls(forbidden: int, before: int, allowed: int, denied: int, *, only_allowed: bool) -> Iterable[Control]:
    yield control("P6", before == forbidden, f"{before} of {forbidden} forbidden dials worked before the policies")
    yield control("P2", allowed, f"{allowed} dials that the policies allow were answered")
    if only_allowed:
        yield control("P1", denied, f"{denied} of {forbidden} forbidden dials were stopped: the pods are isolated")


def _summary(total: int, allowed: int, denied: int, times: list[float | None]) -> str:
    known = [one for one in times if one is not None]
    slow = f", enforced within {max(known) * 1000:.0f} ms" if known else ""
    return f"{total} dials as the API says: {allowed} answered, {denied} stopped{slow}"


def _rejections(one: Mapping[str, Any], case: Case) -> list[Leg]:
    own = {f"{policy.namespace}/{policy.name}" for policy in case.policies}
    return [_rejected(name, why, f"{case.id}:") for name, why in one["rejected"].items() if name in own]


def _rejected(name: str, why: str, prefix: str = "") -> Leg:
    text = f"the API server did not accept policy {name}: {why}"
    return failed(prefix + name, "missing", text, "stored", "rejected")


def open_without(context: Context) -> Verdict:
    """Before the first policy and after the last one, everything answers."""
    found = record(context)
    if found is None:
        return Verdict(())
    legs = []
    for purpose in (BEFORE, AFTER):
        when = purpose.rpartition("-")[2]
        there = {dial: one for (other, dial), one in found.seen.items() if other == purpose}
        # Where pods are apart without policies, none is tried, and nothing is asked afterwards.
        wanted = found.bracket() if purpose == BEFORE or found.rounds else []
        for dial in dict.fromkeys((*wanted, *there)):
            decision = Decision(allowed=True, why=f"there is no policy ({when} the cases)")
            legs.append(leg_of(found, f"{when}:{dial}", dial, decision, there.get(dial)))
    pods = [name for name, one in found.everybody.items() if one.kind == "pod" and name != DNS]
    pairs = {(dial.src, dial.dst) for purpose, dial in found.seen if purpose == BEFORE}
    meshed = sum((src, dst) in pairs for src in pods for dst in pods)
    own = [leg for leg in legs if leg.leg.split(":")[1].split("/tcp")[0] in {f"{pod}>{pod}" for pod in pods}]
    return Verdict(
        tuple(sorted(legs, key=lambda leg: leg.status != "fail")),
        (
            census(meshed, len(pods) ** 2, "pairs of pods"),
            control("P1", any(leg.status == "pass" for leg in own), "pods answer themselves, so responders serve"),
        ),
        summary=f"{len(pods)} pods in {len(catalogue().world.namespaces)} namespaces reach each other without policies",
    )


def new_pod(context: Context) -> Verdict:
    """A pod that came after its policy never got anything through that the policy forbids."""
    found = record(context)
    case, world = catalogue().newcomer, catalogue().world
    if found is None or not any(purpose == NEW for purpose, _ in found.seen):
        return Verdict(())
    legs = [_rejected(name, why) for name, why in found.newcomer["rejected"].items()]
    tries, answers = 0, []
    for dial, decision in case.expected(world, context.family).items():
        seen = found.seen.get((NEW, dial))
        if not decision.allowed:
            legs.append(leg_of(found, str(dial), dial, decision, seen))
            tries += len(seen.tries) if seen is not None else 0
        elif seen is not None and seen.outcome == "ok":
            answers.append(seen.tries[-1].t_ms if seen.tries else 0.0)
    first = f"{min(answers):.0f} ms after its start" if answers else "never"
    return Verdict(
        leaks_first(legs),
        (control("P2", answers, f"traffic that its policy allows was answered: {first}"),),
        summary=f"none of {tries} forbidden dials from its first instant on got through; an allowed one did {first}",
    )


def absent(context: Context) -> Verdict:
    """Policies are stored, and change nothing: recorded, because a reader of the manifests would think otherwise."""
    found = record(context)
    if found is None:
        return Verdict(())
    legs: list[Leg] = []
    forbidden = before = policies = 0
    for one in found.rounds:
        cases = [case for case in catalogue().cases if case.id in {kept["id"] for kept in one["cases"]}]
        policies += sum(len(case.policies) for case in cases)
        for name, why in one["rejected"].items():
            legs.append(broken(name, f"the API server did not accept policy {name}: {why}", "missing"))
        for dial, decision in found.expected(one).items():
            if decision.allowed:
                continue
            forbidden += 1
            baseline = found.seen.get((BEFORE, dial))
            before += baseline is not None and baseline.outcome == "ok"
            legs.append(_unenforced(context, found, dial, decision, found.seen.get((one["purpose"], dial))))
    return Verdict(
        tuple(sorted(legs, key=lambda leg: leg.status == "pass")),
        (
            control("P6", before == forbidden, f"{before} of {forbidden} forbidden dials worked before the policies"),
            control(
                "inv",
                _says_enforced(context, found),
                "if the forbidden dials time out, the same comparison reports enforcement",
            ),
        ),
        summary=f"{policies} policies were stored and none is enforced: all {forbidden} forbidden dials got through",
    )


def _unenforced(context: Context, found: Record, dial: Dial, decision: Decision, seen: Seen | None) -> Leg:
    """Passed when a forbidden dial got through: where policies are not enforced, none may be stopped by one."""
    if seen is None:
        return broken(str(dial), f"the probe did not report {dial}", "missing")
    if got_through(seen):
        text = f"{said(found, dial, 'reached')}, although {decision.why}"
        return passed(str(dial), "not enforced", "answered", statement=text)
    text = f"{_silence(found, dial, seen)}, as {decision.why}; but variant {context.variant.name} does not declare"
    return broken(str(dial), f"{text} that policies are enforced (gate np)", "gate")


def _says_enforced(context: Context, found: Record) -> bool:
    """The inverted probe: had the forbidden dials timed out, none of them would count as not enforced."""
    silent = [
        _unenforced(context, found, dial, decision, seen.model_copy(update={"outcome": "timeout", "tries": ()}))
        for one in found.rounds
        for dial, decision in found.expected(one).items()
        if not decision.allowed and (seen := found.seen.get((one["purpose"], dial))) is not None
    ]
    return bool(silent) and all(leg.reason == "gate" for leg in silent)


NEXT = (
    "kubectl get networkpolicy -A -o yaml",
    f"kubectl get pods -A --show-labels | grep {PREFIX}",
    f"kubectl get namespaces --show-labels | grep {PREFIX}",
)


def _case(
    id_: str,
    title: str,
    *,
    source: str = NP,
    gates: tuple[Any, ...] = (),
    causes: tuple[str, ...],
    judge: Judge | None = None,
    once: bool = False,
) -> Check:
    return Check(
        id_, title, "M", "B6", judge or _enforced(id_), source=source, gates=("np", "policies", *gates),
        causes=causes, next=NEXT, after=("np.default",), once=once,
    )  # fmt: skip


CHECKS: Final[tuple[Check, ...]] = (
    Check(
        "np.default", "without a policy every pod reaches every other pod, across namespaces", "M", "B6", open_without,
        source=NP, gates=("policies",), causes=("a leftover policy", "a default that denies"), next=NEXT,
        after=("node.underlay",),
    ),
    _case("np.deny-ingress", "a policy without rules denies all ingress", causes=("agent down", "labels not followed")),
    _case(
        "np.deny-egress", "a policy without rules denies all egress", causes=("agent down", "only ingress enforced"),
    ),
    _case(
        "np.select", "pod and namespace selectors choose the peers, alone, together and as expressions",
        causes=("stale labels", "AND taken for OR"),
    ),
    _case(
        "np.ports", "rules apply to their protocol and ports only, also to named ports",
        causes=("TCP and UDP mixed up", "a named port resolved once for all pods"),
    ),
    _case(
        "np.end-port", "a port range includes both ends and nothing beyond", source=KEP_2079,
        causes=("endPort not implemented: only the first port counts",),
    ),
    _case(
        "np.named-egress", "a named port of an egress rule is resolved for each destination",
        causes=("one number for all destinations",),
    ),
    _case(
        "np.ipblock", "address blocks are allowed, and their exceptions are not", gates=("router",),
        causes=("source address translated before policy", "except ignored"),
    ),
    _case("np.additive", "policies add up, in any order", causes=("the last policy wins",)),
    _case(
        "np.implicit", "an isolated pod reaches itself, its node reaches it, and replies always pass",
        causes=("no exemption for the node", "replies not tracked"), judge=_enforced("np.implicit", only_allowed=True),
    ),
    _case("np.dns", "DNS can be allowed alone, and is denied without a rule for it", gates=("dns",), once=True,
        causes=("policy applied to the Service's address", "TCP or UDP forgotten")),
    _case(
        "np.new-pod", "a pod created after its policy is isolated from its first instant", gates=("router",),
        causes=("policies are programmed after the pod has started",), judge=new_pod,
    ),
    Check(
        "np.absent", "policies are stored but not enforced", "R", "B6", absent, source=NP,
        gates=("nonp", "policies"),
        causes=("the variant should declare np",), after=("np.default",),
        inverse="if the forbidden dials time out, the same comparison must report enforcement",
    ),
)  # fmt: skip
