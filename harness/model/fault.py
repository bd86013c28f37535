"""Something broken on purpose, and always taken back: what faults of the suite and faults of labs have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator, model_validator

from harness import timeouts
from harness.model.base import Data
from harness.model.words import Argv, Name, Sentence, Word, constant_script, names, typed

Where = tuple[str | int, ...]
Deadline = Annotated[float, Field(gt=0, le=600)]


class Action(Data):
    """One command of an injection, or of its undoing."""

    at: Word = Field(default="", description="The place where the command runs")
    run: Argv = Field(
        min_length=1,
        description="The command's words; there is no shell. `{{ name }}` stands for a value and never becomes two "
        "words. `{{* name }}`, a word of its own, stands for all words of the value",
    )
    input: Word = Field(default="", description="Text for standard input, in which `{{ name }}` stands for a value")
    keep: Name | None = Field(default=None, description="Name under which later commands find the output of this one")
    may_fail: bool = Field(default=False, alias="mayFail", description="Any exit status is fine")
    deadline: Deadline = Field(
        default=timeouts.COMMAND,
        description=f"Seconds that the command may take, for example for a rollout; {timeouts.COMMAND:.0f} if absent",
    )

    @field_validator("input")
    @classmethod
    def _no_value_in_a_script(cls, text: str, info: ValidationInfo) -> str:
        return constant_script(text, info.data.get("run", ()))

    @property
    def command(self) -> str:
        """The command as a person would type it."""
        return typed(self.run)

    def names(self) -> set[str]:
        """Variables that its texts use."""
        return {name for text in (self.at, *self.run, self.input) for name in names(text)}


class Fault(Data):
    """Something broken on purpose, always taken back."""

    title: Sentence = Field(description="What is wrong, for people")
    stop: tuple[Word, ...] = Field(
        default=(),
        description="Programs that would repair the fault, as `program@node`: stopped before, continued after. "
        "`agent` stands for the network's agents, `*` for every node",
    )
    state: tuple[Word, ...] = Field(
        default=(),
        description="Links, as `place:device`, whose routes, neighbours and IPv6 addresses are saved before and put "
        "back after",
    )
    table: tuple[Word, ...] = Field(
        default=(), description="Nodes that get the nftables table `inet kfault`; it is deleted after the fault"
    )
    inject: tuple[Action, ...] = Field(description="Commands that make the fault, in order")
    undo: tuple[Action, ...] = Field(default=(), description="Commands that take it back, in order; run in any case")

    @model_validator(mode="after")
    def _is_taken_back(self) -> Fault:
        changes = any(not action.keep for action in self.inject)
        if changes and not (self.undo or self.state or self.table):
            msg = "nothing takes back what 'inject' does: 'undo' is missing"
            raise ValueError(msg)
        return self


def texts(fault: Fault) -> Iterator[tuple[Where, str, frozenset[str]]]:
    """Every text of a fault that may have expressions.

    Yields:
        The path in the fault, the text, and the names under which the commands before it keep their output.
    """
    for key in ("stop", "state", "table"):
        yield from (((key, index), word, frozenset()) for index, word in enumerate(getattr(fault, key)))
    kept: set[str] = set()
    for key, actions in (("inject", fault.inject), ("undo", fault.undo)):
        for index, action in enumerate(actions):
            now = frozenset(kept)
            yield (key, index, "at"), action.at, now
            yield from (((key, index, "run", number), word, now) for number, word in enumerate(action.run))
            yield (key, index, "input"), action.input, now
            kept |= {action.keep} if action.keep else set()


def unclear(fault: Fault, known: Collection[str]) -> Iterator[tuple[Where, str]]:
    """Names of a fault that mean nothing, or two things.

    Args:
        fault: The fault.
        known: Names that have a value wherever it is injected.

    Yields:
        The path in the fault, and what is the matter there.
    """
    for path, text, kept in texts(fault):
        unknown = sorted(names(text) - set(known) - kept)
        if unknown:
            yield path, f"uses {', '.join(unknown)}, which is no variable of a fault, and no command before it keeps"
    for key, actions in (("inject", fault.inject), ("undo", fault.undo)):
        for index, action in enumerate(actions):
            if action.keep in known:
                yield (key, index, "keep"), f"'{action.keep}' has another meaning already"
