"""The evaluator of NetworkPolicy: the API's own examples, and laws that hold for any policies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from conformance.policy.cases import Dial, catalogue, dials, endpoints, placed, rounds, subjects
from conformance.policy.model import Policy
from conformance.policy.semantics import Endpoint, Proto, decide
from harness import yamlio

NAMESPACES = {"one": {"team": "red"}, "two": {"team": "blue", "stage": "live"}}
PODS = [
    Endpoint(
        name=f"{namespace}/{name}",
        ip=f"10.244.{number}.{place}",
        namespace=namespace,
        labels=labels,
        namespace_labels=NAMESPACES[namespace],
        ports={("tcp", "web"): 8000 + place},
        node=f"n{place}",
    )
    for number, namespace in enumerate(NAMESPACES)
    for place, (name, labels) in enumerate({"a": {"app": "a"}, "b": {"app": "b", "x": "y"}, "bare": {}}.items())
]
POD = {pod.name: pod for pod in PODS}
NODE = Endpoint(name="n0", kind="node", ip="172.18.0.10", node="n0")
OUTSIDE = Endpoint(name="outside", kind="outside", ip="172.17.1.9")


def policy(text: str, namespace: str = "one", name: str = "p") -> Policy:
    return Policy.model_validate({"name": name, "namespace": namespace, "spec": yamlio.loads(text)})


def allowed(policies: list[Policy], src: Endpoint, dst: Endpoint, proto: Proto = "tcp", port: int = 80) -> bool:
    return decide(policies, src, dst, proto, port).allowed


def sources(*policies: Policy, dst: str = "one/a", proto: Proto = "tcp", port: int = 80) -> set[str]:
    """Who may connect to a pod, of all that are not that pod."""
    others = [*PODS, NODE, OUTSIDE]
    return {one.name for one in others if one.name != dst and allowed(list(policies), one, POD[dst], proto, port)}


def let_in(peers: str) -> str:
    """A policy on all pods of a namespace, with one ingress rule."""
    return f"{{podSelector: {{}}, ingress: [{{from: [{peers}]}}]}}"


def expression(requirements: str) -> str:
    """Pods by expressions."""
    return f"{{podSelector: {{matchExpressions: [{requirements}]}}}}"


EVERYBODY = {one.name for one in (*PODS, NODE, OUTSIDE)}


def test_the_example_of_the_documentation() -> None:
    """ "The NetworkPolicy resource" in the page "Network Policies"."""
    example = policy("""
        podSelector: {matchLabels: {app: a}}
        policyTypes: [Ingress, Egress]
        ingress:
          - from:
              - ipBlock: {cidr: 172.17.0.0/16, except: [172.17.2.0/24]}
              - namespaceSelector: {matchLabels: {team: blue}}
              - podSelector: {matchLabels: {app: b}}
            ports: [{protocol: TCP, port: 6379}]
        egress:
          - to: [{ipBlock: {cidr: 10.0.0.0/24}}]
            ports: [{protocol: TCP, port: 5978}]
        """)
    assert sources(example, port=6379) == {"outside", "two/a", "two/b", "two/bare", "one/b", "n0"}
    assert sources(example, port=6380) == sources(example, proto="udp", port=6379) == {"n0"}
    for address, port, through in (("10.0.0.9", 5978, True), ("10.0.0.9", 5979, False), ("10.0.1.9", 5978, False)):
        assert allowed([example], POD["one/a"], Endpoint(name="db", kind="outside", ip=address), port=port) is through


@pytest.mark.parametrize(
    ("spec", "who"),
    [
        ("{podSelector: {}, policyTypes: [Ingress]}", {"n0"}),
        ("{podSelector: {}, ingress: [{}]}", EVERYBODY - {"one/a"}),
        ("{podSelector: {}, ingress: []}", {"n0"}),
        ("{podSelector: {}, policyTypes: [Egress]}", EVERYBODY - {"one/a", "one/b", "one/bare"}),
        ("{podSelector: {matchLabels: {app: b}}, policyTypes: [Ingress]}", EVERYBODY - {"one/a"}),
        ("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}", {"n0", "one/b", "one/bare"}),
        (
            "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}",
            EVERYBODY - {"one/a", "outside"},
        ),
        (
            "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: b}}}]}]}",
            {"n0", "one/b", "two/b"},
        ),
        (
            let_in("{namespaceSelector: {matchLabels: {team: blue}}}, {podSelector: {matchLabels: {app: b}}}"),
            {"n0", "one/b", "two/a", "two/b", "two/bare"},
        ),
        (let_in(expression("{key: app, operator: NotIn, values: [b]}")), {"n0", "one/bare"}),
        (
            let_in(expression("{key: x, operator: Exists}, {key: app, operator: In, values: [a, b]}")),
            {"n0", "one/b"},
        ),
        ("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 172.17.0.0/16, except: [172.17.1.0/24]}}]}]}", {"n0"}),
    ],
)  # fmt: skip
def test_who_may_connect(spec: str, who: set[str]) -> None:
    assert sources(policy(spec)) == who


@pytest.mark.parametrize(
    ("port", "through"),
    [
        ("{port: 80}", {("tcp", 80)}),
        ("{protocol: UDP, port: 80}", {("udp", 80)}),
        ("{protocol: UDP}", {("udp", 80), ("udp", 81), ("udp", 82), ("udp", 8000)}),
        ("{port: 80, endPort: 81}", {("tcp", 80), ("tcp", 81)}),
        ("{port: web}", {("tcp", 8000)}),
        ("{protocol: UDP, port: web}", set()),
        ("{port: unknown}", set()),
        ("{protocol: SCTP, port: 80}", set()),
    ],
)
def test_which_ports_a_rule_covers(port: str, through: set[tuple[Proto, int]]) -> None:
    made = policy(f"{{podSelector: {{}}, ingress: [{{ports: [{port}]}}]}}")
    protos: tuple[Proto, ...] = ("tcp", "udp")
    tried = {(proto, number) for proto in protos for number in (80, 81, 82, 8000)}
    assert {one for one in tried if allowed([made], POD["two/a"], POD["one/a"], *one)} == through


def test_a_named_port_of_an_egress_rule_is_looked_up_at_each_destination() -> None:
    made = policy("{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: web}]}]}")
    assert allowed([made], POD["one/a"], POD["two/a"], port=8000)
    assert allowed([made], POD["one/a"], POD["two/b"], port=8001)
    assert not allowed([made], POD["one/a"], POD["two/b"], port=8000)


def test_a_node_is_let_in_by_its_own_pods_only() -> None:
    closed = policy("{podSelector: {}, policyTypes: [Ingress]}")
    assert allowed([closed], NODE, POD["one/a"])
    assert not allowed([closed], NODE, POD["one/b"])


def test_directions_default_as_the_api_server_does_it() -> None:
    assert policy("{podSelector: {}}").spec.directions == {"Ingress"}
    assert policy("{podSelector: {}, egress: [{}]}").spec.directions == {"Ingress", "Egress"}
    assert policy("{podSelector: {}, policyTypes: [Egress]}").spec.directions == {"Egress"}


@pytest.mark.parametrize(
    "spec",
    [
        "{podSelector: {}, ingress: [{from: [{}]}]}",
        "{podSelector: {}, ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}",
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/24]}}]}]}",
        "{podSelector: {}, ingress: [{ports: [{port: web, endPort: 90}]}]}",
        "{podSelector: {}, ingress: [{ports: [{port: 90, endPort: 80}]}]}",
        "{podSelector: {matchExpressions: [{key: a, operator: In}]}}",
        "{podSelector: {}, policyTypes: [Ingress, Ingress]}",
        "{podSelector: {}, ingres: []}",
    ],
)
def test_what_the_api_server_would_refuse_is_refused(spec: str) -> None:
    with pytest.raises(ValidationError):
        policy(spec)


# Any policies.

LABELS = st.dictionaries(
    st.sampled_from(["app", "x", "team", "stage"]), st.sampled_from(["a", "b", "y", "red"]), max_size=2
)
SELECTOR: st.SearchStrategy[dict[str, Any]] = st.builds(lambda labels: {"matchLabels": labels}, LABELS) | st.just({})
BLOCK = st.sampled_from(
    [{"cidr": "0.0.0.0/0"}, {"cidr": "10.244.0.0/16", "except": ["10.244.1.0/24"]}, {"cidr": "172.16.0.0/12"}]
)
PEER = st.one_of(
    st.builds(lambda pods: {"podSelector": pods}, SELECTOR),
    st.builds(lambda names: {"namespaceSelector": names}, SELECTOR),
    st.builds(lambda pods, names: {"podSelector": pods, "namespaceSelector": names}, SELECTOR, SELECTOR),
    st.builds(lambda block: {"ipBlock": block}, BLOCK),
)
PORT = st.one_of(
    st.builds(
        lambda proto, port: {"protocol": proto, "port": port}, st.sampled_from(["TCP", "UDP"]), st.integers(79, 82)
    ),
    st.builds(lambda low, more: {"port": low, "endPort": low + more}, st.integers(79, 82), st.integers(0, 3)),
    st.just({"port": "web"}),
    st.just({"protocol": "UDP"}),
)


def _rules(key: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(
        st.fixed_dictionaries({}, optional={key: st.lists(PEER, max_size=2), "ports": st.lists(PORT, max_size=2)}),
        max_size=2,
    )


POLICY = st.builds(
    lambda namespace, spec: Policy.model_validate({"name": "p", "namespace": namespace, "spec": spec}),
    st.sampled_from(sorted(NAMESPACES)),
    st.fixed_dictionaries(
        {"podSelector": SELECTOR},
        optional={
            "ingress": _rules("from"),
            "egress": _rules("to"),
            "policyTypes": st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
        },
    ),
)
POLICIES = st.lists(POLICY, max_size=4)
ANYBODY = st.sampled_from([*PODS, NODE, OUTSIDE])
A_POD = st.sampled_from(PODS)
WHAT = st.tuples(st.sampled_from(["tcp", "udp"]), st.sampled_from([79, 80, 81, 82, 8000, 8001]))


@given(POLICIES, ANYBODY, ANYBODY, WHAT, st.randoms())
def test_the_order_of_policies_means_nothing(
    policies: list[Policy], src: Endpoint, dst: Endpoint, what: tuple[Proto, int], shuffle: Any
) -> None:
    mixed = list(policies)
    shuffle.shuffle(mixed)
    assert allowed(policies, src, dst, *what) is allowed(mixed, src, dst, *what)


@given(POLICIES, POLICY, ANYBODY, A_POD, WHAT)
def test_one_more_policy_never_closes_a_pod_that_is_already_isolated(
    policies: list[Policy], more: Policy, src: Endpoint, dst: Endpoint, what: tuple[Proto, int]
) -> None:
    closing = [policy("{podSelector: {}, policyTypes: [Ingress, Egress]}", namespace) for namespace in NAMESPACES]
    if allowed([*closing, *policies], src, dst, *what):
        assert allowed([*closing, *policies, more], src, dst, *what)


@given(POLICIES, ANYBODY, A_POD, WHAT)
def test_a_deny_is_the_end_of_one_of_both_sides(
    policies: list[Policy], src: Endpoint, dst: Endpoint, what: tuple[Proto, int]
) -> None:
    """A connection is denied exactly when the ingress policies alone deny it, or the egress policies alone do."""
    inwards = [one.model_copy(update={"spec": one.spec.model_copy(update={"types": ("Ingress",)})})
               for one in policies if "Ingress" in one.spec.directions]  # fmt: skip
    outwards = [one.model_copy(update={"spec": one.spec.model_copy(update={"types": ("Egress",)})})
                for one in policies if "Egress" in one.spec.directions]  # fmt: skip
    both = allowed(inwards, src, dst, *what) and allowed(outwards, src, dst, *what)
    assert allowed(policies, src, dst, *what) is both


@given(POLICIES, A_POD, WHAT)
def test_a_pod_always_reaches_itself(policies: list[Policy], pod: Endpoint, what: tuple[Proto, int]) -> None:
    assert allowed(policies, pod, pod, *what)


@given(POLICIES, ANYBODY, ANYBODY, WHAT)
def test_without_a_policy_about_its_ends_everything_is_allowed(
    policies: list[Policy], src: Endpoint, dst: Endpoint, what: tuple[Proto, int]
) -> None:
    others = [one for one in policies if one.namespace not in {src.namespace, dst.namespace}]
    assert allowed(others, src, dst, *what)


@given(POLICIES, ANYBODY, A_POD, WHAT)
def test_a_rule_that_allows_all_opens_a_side(
    policies: list[Policy], src: Endpoint, dst: Endpoint, what: tuple[Proto, int]
) -> None:
    inwards = [one for one in policies if "Egress" not in one.spec.directions]
    assert allowed([*inwards, policy("{podSelector: {}, ingress: [{}]}", dst.namespace)], src, dst, *what)


# The cases of the suite.

NODES = ("n1", "n2", "n3")
WORLD = catalogue().world
KNOWN = endpoints(WORLD, {}, placed(WORLD, NODES), dict.fromkeys(NODES, "172.18.0.1"))


def test_cases_of_a_round_do_not_decide_each_others_dials() -> None:
    for group in rounds(catalogue().cases, KNOWN):
        together = [one for case in group for one in case.policies]
        for case in group:
            for dial in dials(case, KNOWN):
                ends = KNOWN[dial.src], KNOWN[dial.dst], dial.proto, dial.port
                assert decide(together, *ends).allowed is decide(case.policies, *ends).allowed, f"{case.id} {dial}"


def test_every_case_forbids_something_and_allows_something() -> None:
    for case in catalogue().cases:
        found = {decide(case.policies, KNOWN[one.src], KNOWN[one.dst], one.proto, one.port).allowed
                 for one in dials(case, KNOWN)}  # fmt: skip
        assert found == {True, False}, case.id


def test_few_rounds_try_all_cases() -> None:
    groups = rounds(catalogue().cases, KNOWN)
    assert sum(len(group) for group in groups) == len(catalogue().cases)
    assert len(groups) <= 5


def test_pods_of_every_namespace_and_every_role_are_on_all_nodes() -> None:
    for nodes in (NODES[:2], NODES):
        places = placed(WORLD, nodes)
        for name in (*WORLD.namespaces, *WORLD.pods):
            assert {places[pod] for pod in places if name in pod.split("/")} == set(nodes)


def test_a_policy_keeps_its_form_on_the_way_to_the_api_server() -> None:
    block = "{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}"
    text = f"{{podSelector: {{}}, policyTypes: [Egress], egress: [{{to: [{{ipBlock: {block}}}]}}]}}"
    made = policy(text, name="keep").manifest("cnilab-np-one")
    assert made["spec"] == yamlio.loads(text)
    assert made["metadata"] == {"name": "keep", "namespace": "cnilab-np-one"}


def test_dials_are_named_as_legs() -> None:
    assert str(Dial("x/a", "y/b", "udp", 8080)) == "x/a>y/b/udp/8080"
    assert subjects(catalogue().cases[0], KNOWN, "Ingress") == ("x/a", "x/b", "x/c")
