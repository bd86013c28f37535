"""Words of commands as data: expressions in `{{ }}` fill them, and no shell reads a value as part of a script.

`{{ expression }}` fills its own word and never adds one. `{{* expression }}`, which is a word of its own, stands for as
many words as the value has: the items of a list, or those into which a shell would split a text.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import AfterValidator, StringConstraints

from harness.model import expression

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
Sentence = Annotated[str, StringConstraints(min_length=3, max_length=400, strip_whitespace=True)]

SHELLS: Final = frozenset({"sh", "bash", "ash", "dash"})

_SPLICE: Final = re.compile(r"\{\{\*(.*?)\}\}", re.DOTALL)
_SCRIPT_FLAG: Final = re.compile(r"-[a-zA-Z]*c[a-zA-Z]*")
_WITH_ARGUMENT: Final = frozenset({"-o", "+o", "-O", "+O", "--rcfile", "--init-file"})
_CONSTANT: Final = 'a script must be constant: pass values as its arguments ("$1"), after the word that becomes $0'


def _expression(source: str) -> str:
    try:
        expression.names(source)
    except expression.ExpressionError as error:
        msg = f"is not an expression: {error}"
        raise ValueError(msg) from error
    return source


def _checked(word: str) -> str:
    if "{%" in word or "{#" in word:
        msg = "contains a Jinja statement; only {{ expressions }} are allowed in a word"
        raise ValueError(msg)
    if "{{" in expression.PLACEHOLDER.sub("", word):
        msg = "has {{ without }}"
        raise ValueError(msg)
    for source in expressions(word):
        _expression(source)
    return word


def one_word(word: str) -> str:
    """A word, or a text, with expressions of which none becomes several words.

    Raises:
        ValueError: It has something else in braces.
    """
    if _SPLICE.search(word):
        msg = "has {{* }}, which stands for several words; that is only possible as a word of its own in a command"
        raise ValueError(msg)
    return _checked(word)


def _of_command(word: str) -> str:
    return _checked(word) if _SPLICE.fullmatch(word) else one_word(word)


def _constant(words: Sequence[str]) -> bool:
    return not any(expression.placeholders(word) for word in words)


def _script(words: Sequence[str]) -> tuple[Sequence[str], bool]:
    """What a shell among the words runs: the words that say it, and whether its standard input says the rest."""
    at = next((index for index, word in enumerate(words, 1) if word.rsplit("/", 1)[-1] in SHELLS), None)
    if at is None:
        return (), False
    index = at
    while index < len(words) and words[index].startswith(("-", "+")):
        if _SCRIPT_FLAG.fullmatch(words[index]):
            return words[at : index + 2], False
        if words[index] in {"-", "-s"}:
            return words[at:index], True
        index += 2 if words[index] in _WITH_ARGUMENT else 1
    return words[at : index + 1], index >= len(words)


def _argv(words: tuple[str, ...]) -> tuple[str, ...]:
    """A shell may run a constant script; values reach it as its arguments, never as part of its text."""
    if not _constant(_script(words)[0]):
        raise ValueError(_CONSTANT)
    return words


def constant_script(text: str, argv: Sequence[str]) -> str:
    """A command's standard input, which must be constant where it is a script.

    Args:
        text: With expressions.
        argv: Words of the command.

    Raises:
        ValueError: It is a script with a value in it: one that a shell reads, or a file that begins with `#!`.
    """
    if (_script(argv)[1] or text.startswith("#!")) and not _constant([text]):
        raise ValueError(_CONSTANT)
    return text


Expression = Annotated[str, AfterValidator(_expression)]
Word = Annotated[str, AfterValidator(one_word)]
Argv = Annotated[tuple[Annotated[str, AfterValidator(_of_command)], ...], AfterValidator(_argv)]


def expressions(word: str) -> list[str]:
    """The expressions in a word, or in a text."""
    return [source.removeprefix("*").strip() for source in expression.placeholders(word)]


def names(word: str) -> set[str]:
    """Variables that the expressions in a word, or in a text, use."""
    return {name for source in expressions(word) for name in expression.names(source)}


def fill(words: Sequence[str], values: Mapping[str, Any]) -> tuple[str, ...]:
    """The words of a command with expressions replaced by their values.

    Raises:
        ExpressionError: As of `expression.evaluate`.
    """
    filled: list[str] = []
    for word in words:
        if splice := _SPLICE.fullmatch(word):
            value = expression.evaluate(splice[1].strip(), values)
            filled += map(expression.as_text, value) if isinstance(value, list | tuple) else shlex.split(str(value))
        else:
            filled.append(expression.render(word, values))
    return tuple(filled)


def typed(words: Sequence[str]) -> str:
    """A command as a person would type it, with names in single braces where values will be: `ip route del {C2}`."""
    return " ".join(map(_typed, words))


def _typed(word: str) -> str:
    text = expression.PLACEHOLDER.sub(lambda found: f"{{{re.sub(r'^[*] +', '*', found[1].strip())}}}", word)
    bare = expression.PLACEHOLDER.sub("x", word)
    return text if shlex.quote(bare) == bare else shlex.quote(text)
