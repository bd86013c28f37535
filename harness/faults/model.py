"""A fault of the suite as data: what it does to a lab, who must notice, and who must not."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from harness.model import fault
from harness.model.base import Data
from harness.model.family import Family
from harness.model.variant import Gate
from harness.model.words import Sentence

Situation = Literal["three", "routed", "brnf", "kp-iptables", "portmap-iptables", "open-forward", "netfilter", "legacy"]
"""What a fault may need of a cluster beside its gates; `harness.steps.faults.scene` says when each holds."""


class Also(Data):
    """Checks that fail with those that must, and why."""

    checks: tuple[str, ...] = Field(
        min_length=1, description="Checks, patterns of their ids (`dns.*`), or legs of checks as in `kills`"
    )
    because: Sentence = Field(description="What of the fault reaches them")


class Fault(fault.Fault):
    """A fault that the suite must notice."""

    id: Annotated[str, StringConstraints(pattern=r"^F[12]?\d\d$")] = Field(
        description="Stable, and never reused: `F01`. `F101` is the twin of `F01` in IPv6"
    )
    name: str = Field(description="Short name: `--fault` takes it, too")
    family: Family = Field(
        default="ipv4",
        description="The IP family that it breaks: names in commands stand for this family's addresses, and checks "
        "must notice it in legs of this family. A fault of IPv6 must spare IPv4",
    )
    needs: tuple[Gate | Situation, ...] = Field(
        default=(), description="Gates and situations without which the fault changes nothing"
    )
    kills: tuple[str, ...] = Field(
        min_length=1, description="Checks that must fail. With `id[pattern]` one of the legs that match must fail"
    )
    blames: tuple[str, ...] = Field(
        default=(),
        description="Patterns of keys of causes (`n1/route/{{ C2 }}`, `ipam.lease.match[n1]`): one of them is what is "
        "broken, and is to be named as the cause. If absent, rules in the table `inet kfault` of the nodes in `table`",
    )
    spares: tuple[str, ...] = Field(default=(), description="Checks, or legs of checks, that must not fail")
    also: tuple[Also, ...] = Field(
        default=(),
        description="Groups of `checks` that may fail, too, with the reason (`because`). `cnilab mutate` judges all "
        "checks: one that fails and is neither in `kills` nor here should have been spared",
    )

    held: bool = Field(
        default=False,
        description="Written after the library of causes, which nobody changed for it: it measures how good causes are",
    )

    @field_validator("inject", "undo")
    @classmethod
    def _has_a_place(cls, actions: tuple[fault.Action, ...]) -> tuple[fault.Action, ...]:
        if any(not action.at for action in actions):
            msg = "a command of the suite's faults says where it runs: 'at' is missing"
            raise ValueError(msg)
        return actions

    @property
    def command(self) -> str:
        """The injection as a person would type it."""
        parts = [f"{action.at}: {action.command}" for action in self.inject if not action.keep]
        parts += [f"{where}: kill -STOP {program}" for program, _, where in (word.partition("@") for word in self.stop)]
        return "; ".join(parts)


def split_target(text: str) -> tuple[str, str]:
    """`id[pattern]` to id and pattern; the pattern is `*` when there is none."""
    name, bracket, pattern = text.partition("[")
    return name, pattern.removesuffix("]") if bracket else "*"
