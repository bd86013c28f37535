"""Expressions of lab files: what they can do, and what they cannot reach."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model.expression import ExpressionError, evaluate, explain, names, render

ROUTES = [
    {"dst": "default", "gateway": "172.18.0.1", "dev": "eth0"},
    {"dst": "10.244.1.0/24", "gateway": "10.244.1.0", "dev": "flannel.1"},
]
CONTEXT: dict[str, Any] = {"routes": ROUTES, "pod": {"ip": "10.244.0.5", "items": [1], "labels": {"app": "web"}}}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("routes | where(dev='eth0') | pluck('gateway')", ["172.18.0.1"]),
        ("routes | except(dev='eth0') | length", 1),
        ("[pod] | where('labels.app', 'web') | length", 1),
        ("(routes | keyed('dst')).default.dev", "eth0"),
        ("pod.items", [1]),
        ("pod.ip | in_network('10.244.0.0/24')", True),
        ("'nonsense' | in_network('10.244.0.0/24')", False),
        ("['10.0.0.0/24', '10.0.1.0/24'] | disjoint", True),
        ("['10.0.0.0/8', '10.0.1.0/24'] | disjoint", False),
        ("'10.244.0.0/24' | subnet_of('10.244.0.0/16')", True),
        ("'fd00:10:244:1::/64' | subnet_of('fd00:10:244::/56')", True),
        ("'fd00:10:245::/64' | subnet_of('fd00:10:244::/56')", False),
        ("'10.244.0.0/24' | subnet_of('::/0')", False),
        ("'fd00:10:244::a1b2:c3d4' | solicited_node", "ff02::1:ffb2:c3d4"),
        ("'ff02::1:ffb2:c3d4' | multicast_mac", "33:33:ff:b2:c3:d4"),
        ("'10.244.0.0/24' | address(1)", "10.244.0.1"),
        ("'10.244.0.7/24' | network_of", "10.244.0.0/24"),
        ("'a=1 b=2' | capture('b=(.)')", ["2"]),
        ("['one', 'two', 'three'] | in_order(['one', 'three'])", True),
        ("['one', 'two', 'three'] | in_order(['three', 'one'])", False),
        ("'x\n\n y ' | lines", ["x", "y"]),
        ("['a', 'b', 'a'] | tally", {"a": 2, "b": 1}),
    ],
)
def test_filters_work_on_plain_values(source: str, value: object) -> None:
    assert evaluate(source, CONTEXT) == value


@pytest.mark.parametrize(
    "source",
    [
        "''.__class__",
        "pod.__class__.__mro__",
        "pod['__class__']",
        "pod.keys.__self__",
        "routes.append",
        "routes.append(1)",
        "pod.pop('ip')",
        "range.__globals__",
        "'{0.__class__}'.format(1)",
        "'%s' | format(pod)",
        "pod | attr('__class__')",
        "cycler",
        "lipsum()",
        "self",
    ],
)
def test_expressions_reach_no_attributes_of_python(source: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(source, CONTEXT)


@settings(deadline=None)
@given(st.from_regex(r"[a-z_]{1,12}", fullmatch=True))
def test_no_attribute_of_a_string_that_is_not_a_harmless_method_can_be_read(name: str) -> None:
    harmless = {"count", "endswith", "lower", "replace", "split", "splitlines", "startswith", "strip", "upper"}
    if name not in harmless:
        with pytest.raises(ExpressionError):
            evaluate(f"'text'.{name} ~ ''", {})


def test_something_missing_is_an_error_and_not_false() -> None:
    with pytest.raises(ExpressionError, match="no attribute 'mac'"):
        evaluate("pod.mac == ''", CONTEXT)


def test_a_false_comparison_is_explained_by_its_sides() -> None:
    assert explain("pod.ip == '10.244.0.6'", CONTEXT) == "10.244.0.5 == 10.244.0.6"


def test_of_a_conjunction_only_the_false_part_is_explained() -> None:
    assert explain("pod.ip == '10.244.0.5' and routes | length == 3", CONTEXT) == "2 == 3"


def test_of_a_conjunction_that_holds_both_parts_are_explained() -> None:
    assert explain("pod.ip == '10.244.0.5' and routes | length == 2", CONTEXT) == "10.244.0.5 == 10.244.0.5; 2 == 2"


def test_a_method_is_explained_by_what_it_was_called_on() -> None:
    assert explain("pod.ip.startswith('10.')", CONTEXT) == "startswith(10.) of 10.244.0.5"


def test_an_explanation_survives_what_cannot_be_computed() -> None:
    assert "no attribute" in explain("pod.mac == '1'", CONTEXT)


@settings(deadline=None)
@given(st.text())
def test_a_rendered_word_stays_one_word_whatever_the_value_holds(value: str) -> None:
    assert render("http://{{ value }}/", {"value": value}) == f"http://{value}/"


def test_a_value_is_not_rendered_again() -> None:
    assert render("{{ value }}", {"value": "{{ pod }}"}) == "{{ pod }}"


def test_names_are_the_variables_and_not_the_filters() -> None:
    assert names("routes | where(dev=nic) | length == n") == {"routes", "nic", "n"}


@pytest.mark.parametrize("source", ["a |", "a b", "{% if a %}", "a | nosuch", "}} {{"])
def test_what_is_not_one_expression_is_refused(source: str) -> None:
    with pytest.raises(ExpressionError):
        names(source)
