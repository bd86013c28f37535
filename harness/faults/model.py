"""A fault as data: what it does to a lab, who must notice, and who must not."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from harness.model.base import Data
from harness.model.variant import Gate

Situation = Literal["three", "routed", "brnf", "kp-iptables", "portmap-iptables", "open-forward"]
"""What a fault may need of a cluster beside its gates; `harness.steps.faults.scene` says when each holds."""

_SPLICE = re.compile(r"^\{\*(\w+)\}$")
_NAME = re.compile(r"\{(\w+)\}")


class Action(Data):
    """One command of an injection, or of its undoing.

    Words are split before names are filled in, so that no value can become two words, except as `{*name}`.
    """

    at: str = Field(description="The place where the command runs")
    run: str = Field(
        description="The command's words, quoted as in a shell, but there is no shell. `{name}` stands for a value and "
        "never becomes two words; `{*name}` stands for all words of the value"
    )
    input: str = Field(default="", description="Text for standard input, with names filled in")
    keep: str = Field(default="", description="Name under which later commands find the output of this one")
    may_fail: bool = Field(default=False, description="Any exit status is fine")

    def argv(self, values: dict[str, str]) -> list[str]:
        """The vector with names filled in.

        Raises:
            KeyError: A name has no value in this lab.
        """
        words: list[str] = []
        for word in shlex.split(self.run):
            if splice := _SPLICE.match(word):
                words += shlex.split(values[splice[1]])
            else:
                words.append(fill(word, values))
        return words

    def names(self) -> set[str]:
        """Names that the words and the input refer to."""
        return names(f"{self.run} {self.input}")


def names(text: str) -> set[str]:
    """Names that a text refers to."""
    return set(re.findall(r"\{\*?(\w+)\}", text))


def fill(text: str, values: dict[str, str]) -> str:
    """Fill in names; braces around anything else stay, as in `{ echo-request, echo-reply }`."""
    return _NAME.sub(lambda found: values[found[1]], text)


class Fault(Data):
    """A fault that the suite must notice."""

    id: Annotated[str, StringConstraints(pattern=r"^F\d\d$")] = Field(description="Stable, and never reused: `F01`")
    name: str = Field(description="Short name: `--fault` takes it, too")
    title: str = Field(description="What is wrong, for people")
    needs: tuple[Gate | Situation, ...] = Field(
        default=(), description="Gates and situations without which the fault changes nothing"
    )
    stop: tuple[str, ...] = Field(
        default=(),
        description="Programs that would repair the fault, as `program@node`: stopped before, continued after. "
        "`agent` stands for the network's agents, `*` for every node",
    )
    state: tuple[str, ...] = Field(
        default=(),
        description="Links, as `place:device`, whose routes and neighbours are saved before and put back after",
    )
    table: tuple[str, ...] = Field(
        default=(), description="Nodes that get the nftables table `inet kfault`; it is deleted after the fault"
    )
    kills: tuple[str, ...] = Field(
        min_length=1, description="Checks that must fail. With `id[pattern]` one of the legs that match must fail"
    )
    spares: tuple[str, ...] = Field(default=(), description="Checks, or legs of checks, that must not fail")
    inject: tuple[Action, ...] = Field(description="Commands that make the fault, in order")
    undo: tuple[Action, ...] = Field(default=(), description="Commands that take it back, in order; run in any case")

    @property
    def command(self) -> str:
        """The injection as a person would type it."""
        parts = [f"{action.at}: {action.run}" for action in self.inject if not action.keep]
        parts += [f"{where}: kill -STOP {program}" for program, _, where in (word.partition("@") for word in self.stop)]
        return "; ".join(parts)


def split_target(text: str) -> tuple[str, str]:
    """`id[pattern]` to id and pattern; the pattern is `*` when there is none."""
    name, bracket, pattern = text.partition("[")
    return name, pattern.removesuffix("]") if bracket else "*"
