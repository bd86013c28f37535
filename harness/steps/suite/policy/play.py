"""B6: policies go to the API server round by round, and pods dial each other until what they see holds still."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from conformance.inventory import first_of
from conformance.policy import manifests
from conformance.policy.cases import (
    AFTER,
    BEFORE,
    DNS,
    PREFIX,
    Case,
    Dial,
    catalogue,
    endpoints,
    mesh,
    placed,
    pod_names,
    rounds,
)
from conformance.policy.model import Policy
from conformance.policy.seen import got_through
from conformance.policy.semantics import Endpoint
from conformance.registry import CHECKS
from harness import timeouts
from harness.cluster.kube import ApiError, Object
from harness.cluster.readiness import called, insist_on_pods
from harness.errors import NotYetError
from harness.model.family import Family, over, record_type
from harness.model.outcome import Outcome
from harness.model.records import Exchange, Lookup, Observation
from harness.probes import plan as probes
from harness.probes import sandboxes
from harness.probes.agent import run_plans
from harness.steps.suite.deploy import Suite
from harness.steps.suite.policy import newcomer
from harness.steps.suite.policy.record import BATCH, Arena, Round, record

QUICK: Final = 0.4
"""Seconds for one look, before scaling. A first SYN fits, its retransmission after a second does not."""

SURE: Final = 1.4
"""Seconds for the look that counts, before scaling: room for two tries of whatever is not as it should be."""

ABSENT: Final = "np.absent"
"""The requirement for which policies that nobody enforces are watched."""

WATCHED: Final = 1.5
"""Seconds for which policies that nobody enforces are watched, before scaling."""


def observe_policies(suite: Suite, deadline: float, only: frozenset[str] = frozenset()) -> list[Observation]:
    """Try the cases, or show that nobody enforces them.

    Args:
        suite: The deployed suite.
        deadline: Seconds until a round's policies must be enforced, before scaling.
        only: Requirements whose cases are tried; empty for all.

    Raises:
        BringUpError: The pods of the cases are not ready in time.
    """
    arena = deploy(suite)
    enforcing = "np" in suite.attached.variant.gates
    chosen = [case for case in arena.cases.cases if not enforcing or _wanted(case, only, suite.gates)]
    groups = rounds(chosen, arena.everybody) if enforcing else (tuple(chosen),)
    played = [
        _round(number, group, arena, suite.attached.variant.deviations) for number, group in enumerate(groups, start=1)
    ]
    bracket = tuple(
        dict.fromkeys((*arena.over(mesh(arena.everybody)), *(dial for one in played for dial in sorted(one.denied))))
    )
    seen, green = settle(arena, bracket, BEFORE, deadline)
    if not green:  # then what is seen under policies would prove nothing
        return [record(arena, (), enforcing=enforcing), *seen]
    rejected: dict[str, str] = {}
    try:
        if enforcing:
            newcomer_too = not only or newcomer.CHECK in only
            rejected = apply(suite, [arena.cases.newcomer.policies]) if newcomer_too else {}
            seen += _rounds(suite, arena, played, deadline, newcomer_too=newcomer_too)
        elif not only or ABSENT in only:
            seen += _watch(suite, arena, played[0])
    finally:
        clear(suite)
    seen += settle(arena, bracket, AFTER, deadline)[0]
    return [record(arena, played, enforcing=enforcing, rejected=rejected), *seen]


def _rounds(
    suite: Suite, arena: Arena, played: Sequence[Round], deadline: float, *, newcomer_too: bool
) -> list[Observation]:
    """Round after round. The newcomer runs beside the later ones: none of their policies is about it."""
    seen: list[Observation] = []
    kube, node = suite.attached.kube, suite.attached.spec.node_names[0]
    newcomer_too = newcomer_too and suite.inventory.environment.get("router", False)
    for number, one in enumerate(played):
        seen += _play(suite, arena, one, deadline)
        if number == 0 and newcomer_too:
            newcomer.start(kube, arena.cases, tuple(arena.views), node)
    if newcomer_too:
        seen += newcomer.finish(kube, arena.cases, tuple(arena.views), node, suite.attached.kubectl)
    return seen


def _wanted(case: Case, only: frozenset[str], gates: Mapping[str, bool]) -> bool:
    """Its requirement applies to this lab, and was asked for."""
    return CHECKS[case.check].applies(gates) and (not only or case.check in only)


def _round(number: int, cases: tuple[Case, ...], arena: Arena, deviations: Container[str]) -> Round:
    wanted = dict.fromkeys(dial for case in cases for dial in arena.dials(case))
    policies = [policy for case in cases for policy in case.policies]
    waived = frozenset(dial for case in cases if case.check in deviations for dial in arena.dials(case))
    return Round(number, cases, arena.decided(policies, wanted), waived)


def _play(suite: Suite, arena: Arena, one: Round, deadline: float) -> list[Observation]:
    """Apply a round's policies instead of the last one's, and look until all is as the API says."""
    clear(suite, but=arena.cases.newcomer.policies)
    one.rejected = apply(suite, [case.policies for case in one.cases])
    final = enforced(arena, one, deadline)
    # A leak stays a leak. What is allowed and got no answer may have lost its packets on a busy machine.
    due = [dial for dial in final if one.wanted[dial].allowed and dial not in one.waived]
    silent = [dial for dial in due if not answered(final[dial])]
    return list((final | (look(arena, silent, one.purpose, 2 * SURE, denied=frozenset()) if silent else {})).values())


def enforced(arena: Arena, one: Round, deadline: float) -> dict[Dial, Observation]:
    """Look until a round's policies are enforced; the last look, at all of its dials.

    A quick look takes a slow machine's silence for a policy. So the look that counts has more time. What gets through
    even then is an agent's that is not ready yet, as long as the deadline is not over: everything is looked at again.

    Args:
        arena: The pods.
        one: The round, whose policies are stored; `looks` and `seconds` are noted in it.
        deadline: Seconds until they must be enforced, before scaling.
    """
    start = time.monotonic()
    judged = [dial for dial in one.wanted if dial not in one.waived]
    open_, final = judged, dict[Dial, Observation]()
    for _ in timeouts.ticks(deadline, 0.05):
        one.looks += 1
        seen = look(arena, open_, one.purpose, QUICK)
        open_ = [dial for dial in open_ if answered(seen.get(dial)) is not one.wanted[dial].allowed]
        if open_:
            final = {}
            continue
        settled = round(time.monotonic() - start, 3)
        final = look(arena, one.wanted, one.purpose, SURE, denied=one.denied)
        if not any(dial in one.denied and leaked(final[dial]) for dial in judged):
            one.seconds = settled
            break
        open_ = judged
    return final or look(arena, one.wanted, one.purpose, SURE, denied=one.denied)


def leaked(one: Observation) -> bool:
    """One of the tries got an answer."""
    return isinstance(one, Exchange | Lookup) and got_through(one)


def _watch(suite: Suite, arena: Arena, one: Round) -> list[Observation]:
    """All policies of all cases at once, for a while: every dial goes on to work when nobody enforces them."""
    clear(suite)
    one.rejected = apply(suite, [case.policies for case in one.cases])
    seen: dict[Dial, Observation] = {}
    for _ in timeouts.ticks(WATCHED, 0.5):
        one.looks += 1
        now = look(arena, one.wanted, one.purpose, QUICK)
        if not all(map(answered, now.values())):
            seen = look(arena, one.wanted, one.purpose, SURE, denied=frozenset())
            # As above: a policy that holds goes on holding, a busy machine gets round to it.
            if silent := [dial for dial in seen if not answered(seen[dial])]:
                seen |= look(arena, silent, one.purpose, 2 * SURE, denied=frozenset())
            break
        seen = now
    return list(seen.values())


def settle(arena: Arena, wanted: Sequence[Dial], purpose: str, deadline: float) -> tuple[list[Observation], bool]:
    """Without policies, look until everything answers, or the deadline is over; true when everything did."""
    last: dict[Dial, Observation] = {}
    open_ = list(wanted)
    for _ in timeouts.ticks(deadline, 0.05):
        seen = look(arena, open_, purpose, QUICK)
        last |= seen
        open_ = [dial for dial in open_ if not answered(seen.get(dial))]
        if not open_:
            break
    if open_:  # a quick look is too quick for a machine that is busy enough
        last |= look(arena, open_, purpose, 2 * SURE, denied=frozenset())
        open_ = [dial for dial in open_ if not answered(last.get(dial))]
    return list(last.values()), not open_


def answered(one: Observation | None) -> bool:
    """The dial got an answer, whatever it says."""
    return isinstance(one, Exchange | Lookup) and one.outcome == "ok"


def look(
    arena: Arena, wanted: Iterable[Dial], purpose: str, seconds: float, *, denied: frozenset[Dial] | None = None
) -> dict[Dial, Observation]:
    """Try dials, all at the same time: one program run per source.

    Args:
        arena: The pods.
        wanted: What to dial.
        purpose: As of the observations.
        seconds: For all of them, before scaling.
        denied: Dials that should get no answer; then whatever is not as it should be is tried once more. None: all
            are tried once.
    """
    by_source: dict[str, list[Dial]] = defaultdict(list)
    for dial in wanted:
        by_source[dial.src].append(dial)
    silent = denied or frozenset()
    work = {
        arena.sites[src]: [_probe(arena, dial, purpose, "timeout" if dial in silent else "ok") for dial in asked]
        for src, asked in by_source.items()
    }
    seen = run_plans(work, batch=BATCH, deadline=seconds, retries=0 if denied is None else 1)
    return dict(zip((dial for asked in by_source.values() for dial in asked), seen, strict=True))


def _probe(arena: Arena, dial: Dial, purpose: str, expect: Outcome) -> probes.Probe:
    if dial.dst == DNS:
        kind = record_type(dial.family)
        return probes.LookupProbe(
            arena.name, kind, transport=dial.proto, purpose=purpose, expect=expect, family=dial.family
        )
    one = arena.views[dial.family][dial.dst]
    target = probes.Target(dial.dst, one.node if one.kind == "pod" else "", one.ip, dial.port)
    return probes.ExchangeProbe(target, proto=over(dial.proto, dial.family), purpose=purpose, expect=expect)


def apply(suite: Suite, groups: Iterable[Sequence[Policy]]) -> dict[str, str]:
    """Send policies to the API server; what it did not take, with its reason.

    Args:
        suite: The deployed suite.
        groups: Those of a group go one after the other, groups at the same time.
    """

    def send(policies: Sequence[Policy]) -> dict[str, str]:
        rejected: dict[str, str] = {}
        for policy in policies:
            try:
                suite.attached.kube.apply([manifests.applied(policy, suite.inventory.families)])
            except ApiError as error:
                if not 400 <= error.status < 500:
                    raise
                rejected[f"{policy.namespace}/{policy.name}"] = error.cause or str(error)
        return rejected

    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="policy") as pool:
        return {name: why for part in pool.map(send, groups) for name, why in part.items()}


def clear(suite: Suite, but: Sequence[Policy] = ()) -> None:
    """Remove our policies, also those that a killed run left; nobody else's.

    Args:
        suite: The deployed suite.
        but: These stay.
    """
    kept = {policy.name for policy in but}
    kube = suite.attached.kube
    mark = ",".join(f"{key}={value}" for key, value in manifests.OWNER.items())
    left = kube.list("networking.k8s.io/v1", "NetworkPolicy", labels=mark)
    ours = [
        item
        for item in left
        if item["metadata"]["namespace"].startswith(PREFIX) and item["metadata"]["name"] not in kept
    ]
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="policy") as pool:
        # Nothing depends on a policy, so the garbage collector has no part in it.
        list(pool.map(lambda item: kube.raw("DELETE", kube.path_of(item), {"propagationPolicy": "Background"}), ours))


def deploy(suite: Suite) -> Arena:
    """Make the pods where they are not yet there, and wait until they serve.

    Raises:
        BringUpError: They are not ready in time.
    """
    cases, kube = catalogue(), suite.attached.kube
    spec = suite.attached.spec
    wanted = [f"{PREFIX}{namespace}/{pod}" for namespace, pod in pod_names(cases.world)]

    def serving(items: list[Object]) -> dict[str, tuple[str, ...]]:
        insist_on_pods(items, wanted)
        return {called(item): _addresses(item) for item in items if called(item) in wanted}

    try:
        serving(kube.list("v1", "Pod", labels=suite.labels))
    except NotYetError:
        kube.apply(manifests.objects(cases.world, spec.node_names))
    found = kube.wait(
        f"{len(wanted)} pods in {PREFIX}* to be ready",
        "v1",
        "Pod",
        serving,
        labels=suite.labels,
        deadline=timeouts.POD_RUNNING,
    )
    addresses = {name.removeprefix(PREFIX): found[name] for name in wanted}
    places = placed(cases.world, spec.node_names)
    hosts = {site.node: site for site in suite.inventory.hosts}
    known = f"kubernetes.default.svc.{spec.services.domain}." if "dns" in suite.attached.variant.gates else ""
    router = suite.inventory.environment.get("router")
    views: dict[Family, Mapping[str, Endpoint]] = {}
    for family in suite.inventory.families:
        own = {name: first_of(family, found) for name, found in addresses.items()}
        nodes = {node: site.address(family) for node, site in hosts.items()}
        everybody = endpoints(cases.world, own, places, nodes, family)
        views[family] = {
            name: one
            for name, one in everybody.items()
            if (one.kind != "outside" or router) and (name != DNS or known)
        }  # fmt: skip
    ways = {node: replace(suite.sites[site.name], name=node) for node, site in hosts.items()}
    return Arena(cases, views, ways | _ways(suite, {name: found[0] for name, found in addresses.items()}), known)


def _ways(suite: Suite, addresses: Mapping[str, str]) -> dict[str, probes.Prober]:
    """The ways into the pods, by `namespace/pod` without the prefix."""
    parts = {name: name.split("/") for name in addresses}
    if suite.way is not None:
        found = {name: suite.way(PREFIX + namespace, pod, name) for name, (namespace, pod) in parts.items()}
        return {name: replace(site, ip=addresses[name]) for name, site in found.items()}
    here = sandboxes.take(suite.attached.lab)
    return {name: here.site(here.find(PREFIX + namespace, pod), name=name) for name, (namespace, pod) in parts.items()}


def _addresses(item: Object) -> tuple[str, ...]:
    return tuple(entry["ip"] for entry in item["status"].get("podIPs") or [{"ip": item["status"]["podIP"]}])
