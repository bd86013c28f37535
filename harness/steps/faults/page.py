"""The reference of faults, `python -m harness.steps.faults.page > docs/faults.md`; a test keeps it up to date."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from harness.faults.inject import CHAINS
from harness.faults.model import Fault
from harness.model.base import Data
from harness.model.fault import Action
from harness.model.fault import Fault as AnyFault
from harness.steps.faults.names import NAMES
from harness.steps.faults.scene import PLACES, SITUATIONS

HEAD: Final = """# Faults

`cnilab test --faults` breaks a green cluster in known ways, one at a time. Each time it looks which checks notice. The
faults are data: `harness/faults/catalogue.yaml`. [The catalogue](conformance.md#faults) lists them, and
[writing a check](writing-a-check.md#3-a-fault) has an example. This page is made from the code
(`python -m harness.steps.faults.page`).

The faults of a lab (`faults:` in a `lab.yaml`) have the same form, and the same code injects and undoes them. They have
other places and names, and no check has to notice them: see [writing a lab](writing-a-lab.md#faults).
"""

ABOUT_COMMANDS: Final = """### Of a command

`inject` and `undo` are lists of commands. A script that a shell reads must be constant, also one that a command writes
into a file. Values reach it as arguments.
"""

ABOUT_NAMES: Final = """## Names

A command has a name in braces, such as `{{ C2 }}`. What is in the braces is an
[expression](writing-a-lab.md#expressions) with these names as its variables; their values are texts.

`<node>` is the number of a node, `<pod>` the name of a pod of the suite, `<service>` the name of a Service, and
`<protocol>` is `tcp` or `udp`. Examples are `N1`, `Ha`, `VIPspread` and `NPtcp`. The pods `a` and `b` run on the first
node, `c` and `d` on the second, and so on. Any other name must have been kept (`keep`) by an earlier command. If a name
stands for something that only some networks have, the fault must need it (`needs`).
"""

ABOUT_CHAINS: Final = """## The table kfault

The nodes of `table` get the nftables table `inet kfault`. Its chains are empty, and a fault adds its rules:
`nft add rule inet kfault kfwd …`. The rules need no `undo`.
"""

OUTCOMES: Final[Mapping[str, str]] = {
    "killed": "every check of `kills` failed, and none of `spares`: the suite is right",
    "survived": "a check of `kills` did not fail: it does not see what it is there for",
    "imprecise": "a check of `spares` failed: the fault changes more than it says, or the check blames the wrong thing",
    "equivalent": "the cluster lacks something of `needs`, so the fault would change nothing; it is not injected",
    "error": "the cluster was not green before, or not after, or a command failed: nothing can be said",
}
"""How a fault's run can end."""


def page() -> str:
    """The whole page."""
    names = ((name.form, name.meaning) for name in NAMES)
    parts = (
        HEAD,
        "## Keys\n\n### Of any fault\n",
        *_table("key", _keys(AnyFault)),
        "### Of a fault of the suite\n",
        *_table("key", (row for row in _keys(Fault) if row not in list(_keys(AnyFault)))),
        ABOUT_COMMANDS,
        *_table("key", _keys(Action)),
        "## Places\n\nValues of `at`:\n",
        *_table("place", ((place.form, place.meaning) for place in PLACES)),
        ABOUT_NAMES,
        *_table("name", names, "stands for"),
        "## Situations\n\n`needs` takes the [gates](conformance.md#gates) of checks and these situations:\n",
        *_table("situation", ((name, one.meaning) for name, one in SITUATIONS.items()), "holds when"),
        ABOUT_CHAINS,
        *_table("chain", ((name, f"{what} (`{hook}`)") for name, (hook, what) in CHAINS.items()), "sees"),
        "## Outcomes\n",
        *_table("outcome", OUTCOMES.items()),
    )
    return "\n".join(parts).rstrip() + "\n"


def _keys(model: type[Data]) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        yield field.alias or name, field.description or ""


def _table(what: str, rows: Iterable[tuple[str, str]], meaning: str = "meaning") -> Iterator[str]:
    yield f"| {what} | {meaning} |"
    yield "|---|---|"
    for name, text in rows:
        yield f"| `{name}` | {text.replace('|', chr(92) + '|')} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(page())
