"""Words of commands: values fill them, and never become part of a script."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from harness.model.expression import ExpressionError
from harness.model.fault import Action
from harness.model.words import fill, typed


def test_a_value_never_becomes_two_words() -> None:
    assert fill(["ip", "route", "del", "{{ C2 }}"], {"C2": "10.0.0.0/24; reboot"})[3:] == ("10.0.0.0/24; reboot",)


@pytest.mark.parametrize("value", ["10.0.0.0/24 via '10.0.0.1'", ["10.0.0.0/24", "via", "10.0.0.1"]])
def test_a_spliced_value_becomes_its_words(value: object) -> None:
    assert fill(["ip", "{{* route }}", "onlink"], {"route": value}) == (
        "ip",
        "10.0.0.0/24",
        "via",
        "10.0.0.1",
        "onlink",
    )


def test_a_spliced_value_may_be_no_words() -> None:
    assert fill(["ls", "{{* flags }}"], {"flags": ""}) == ("ls",)


def test_a_value_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ExpressionError, match="route"):
        fill(["ip", "{{* route }}"], {})


def test_single_braces_are_text() -> None:
    assert fill(["type", "{", "echo-request,", "}", "{C2}"], {"C2": "x"}) == ("type", "{", "echo-request,", "}", "{C2}")


def test_only_a_word_of_a_command_can_become_several() -> None:
    for facts in ({"run": ["ip", "x{{* route }}"]}, {"run": ["tee"], "input": "{{* route }}"}, {"at": "{{* x }}"}):
        with pytest.raises(ValidationError, match="only possible as a word of its own"):
            Action.model_validate({"run": ["true"], **facts})


@pytest.mark.parametrize("word", ["{{ C2 }", "{{ x | nosuch }}", "{{* ) }}", "{% if x %}"])
def test_what_is_no_expression_does_not_load(word: str) -> None:
    with pytest.raises(ValidationError, match=r"without \}\}|is not an expression|Jinja statement"):
        Action(run=("echo", word))


SCRIPTS = [
    ["sh", "-c", "rm {{ x }}"],
    ["/bin/bash", "-ec", "rm {{ x }}"],
    ["bash", "-o", "pipefail", "-c", "rm {{ x }}"],
    ["bash", "--rcfile", "/dev/null", "-c", "rm {{ x }}"],
    ["sh", "-c", "{{* x }}"],
    ["sh", "{{* x }}"],
    ["sh", "{{ x }}", "rm"],
    ["timeout", "5", "sh", "-c", "rm {{ x }}"],
    ["kubectl", "exec", "box", "-c", "main", "--", "sh", "-c", "rm {{ x }}"],
]


@pytest.mark.parametrize("words", SCRIPTS, ids=" ".join)
def test_a_script_with_a_value_in_it_does_not_load(words: list[str]) -> None:
    with pytest.raises(ValidationError, match="a script must be constant"):
        Action(run=tuple(words))


@pytest.mark.parametrize("words", [["sh"], ["sh", "-s", "{{ x }}"], ["nsenter", "-n", "bash", "-x"], ["tee", "/bin/x"]])
def test_a_script_in_the_input_is_constant_too(words: list[str]) -> None:
    text = "#!/bin/sh\nexec {{ x }}\n" if words[0] == "tee" else "exec {{ x }}\n"
    with pytest.raises(ValidationError, match="a script must be constant"):
        Action(run=tuple(words), input=text)
    assert Action(run=tuple(words), input=text.replace("{{ x }}", '"$0.away"')).input


def test_values_reach_a_script_as_its_arguments_or_its_input() -> None:
    words = ("sh", "-c", 'rm -- "$1"', "sh", "{{ x }}", "{{* y }}")
    assert Action(run=words, input="{{ z }}").run == words


def test_a_command_is_shown_as_a_person_would_type_it() -> None:
    assert typed(["ip", "route", "replace", "{{* route }}"]) == "ip route replace {*route}"
    assert typed(["echo", "{{ nodes | join(' ') }}"]) == "echo {nodes | join(' ')}"
    assert typed(["tc", "a b", "{{ U }}:{{ V }}", "{ x }", "<"]) == "tc 'a b' {U}:{V} '{ x }' '<'"
