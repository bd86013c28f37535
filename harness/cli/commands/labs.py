"""`cnilab labs`: the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.command import Command, Group
from harness.cli.output import Listing, emit, output_option
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.model.lab import LabDefinition, Needs


@click.group(
    "labs",
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    examples="""
    cnilab labs list
    cnilab labs list -o wide
    cnilab labs list -o json | jq -r '.items[].id'
    cnilab labs show ns-veth-by-hand
    cnilab labs quiz ns-veth-by-hand
    """,
)
def command() -> None:
    """Show the catalogue of labs."""


@command.command(
    "list",
    cls=Command,
    examples="""
    cnilab labs list
    cnilab labs list -o wide
    cnilab labs list -o name | head -3
""",
)
@output_option()
def list_(output: str) -> None:
    """List all labs and what they need."""
    from harness.steps.labs.choose import list_labs  # noqa: PLC0415

    labs = list_labs()
    rows = [
        (
            lab.id,
            lab.chapter,
            _network(lab.needs),
            str(len(lab.steps)),
            str(sum(len(step.expect) for step in lab.steps)),
            str(len(lab.questions)),
            ",".join(lab.needs.gates),
            str(lab.needs.nodes),
            "yes" if lab.long else "-",
            "-" if lab.bare else "yes",
            lab.title,
        )
        for lab in labs
    ]
    items = [
        {
            "id": lab.id,
            "title": lab.title,
            "chapter": lab.chapter,
            "learn": lab.learn,
            "minutes": lab.minutes,
            "long": lab.long,
            "cluster": not lab.bare,
            "steps": len(lab.steps),
            "questions": len(lab.questions),
            "needs": lab.needs.model_dump(mode="json", by_alias=True),
        }
        for lab in labs
    ]
    columns = ("id", "chapter", "network", "steps", "expectations", "questions", "needs", "nodes", "long", "cluster")
    emit(Listing("LabDefinition", columns, rows, items, [f"lab/{lab.id}" for lab in labs], ("title",)), output)


def _network(needs: Needs) -> str:
    """What a cluster's network must be; `or` between what is as good."""
    words = (needs.driver, needs.wire, needs.proxy, needs.masquerade)
    return ", ".join(" or ".join(one) for one in words if one) or "any"


@command.command(
    "show",
    cls=Command,
    examples="""
    cnilab labs show ns-veth-by-hand
    cnilab labs show flannel-vxlan-decode
    cnilab labs show pod-model | less
""",
)
@click.argument("lab", metavar="LAB-ID")
def show(lab: str) -> None:
    """Show the text of a lab: what it teaches, and the commands to type."""
    from harness import resources  # noqa: PLC0415

    text = resources.root() / "labs" / _named(lab).id / "README.md"
    click.echo_via_pager(text.read_text(encoding="utf-8"))


@command.command(
    "quiz",
    cls=Command,
    examples="""
    cnilab labs quiz ns-veth-by-hand
    cnilab labs quiz ns-nat-egress
    printf 'none\\n2\\nyes\\n' | cnilab labs quiz ns-veth-by-hand
""",
)
@click.argument("lab", metavar="LAB-ID")
def quiz(lab: str) -> int:
    """Ask the questions at the end of a lab's text, and check the answers.

    Exit code 1 means that an answer was not right. An empty answer passes to the next question.
    """
    found = _named(lab)
    if not found.questions:
        msg = f"the lab '{found.id}' has no questions"
        raise UsageError(msg, next_step="'cnilab labs list' shows which labs have some")
    right = 0
    for number, one in enumerate(found.questions, start=1):
        said = click.prompt(f"{number}. {one.ask}\n  ", default="", show_default=False, prompt_suffix="")
        right += one.right(said)
        verdict = "Right." if one.right(said) else f"No, the answer is: {one.answer[0]}."
        click.echo(f"   {verdict} {one.because}")
    click.echo(f"{right} of {len(found.questions)} right")
    return 0 if right == len(found.questions) else 1


def _named(lab: str) -> LabDefinition:
    """One lab.

    Raises:
        UsageError: There is none with this id.
    """
    from harness.model.spec import ALL_LABS  # noqa: PLC0415
    from harness.steps.labs.choose import choose, list_labs  # noqa: PLC0415

    known = list_labs()
    if lab == ALL_LABS:
        msg = "name one lab"
        raise UsageError(msg, next_step="cnilab labs list")
    return choose(known, (lab,))[0]
