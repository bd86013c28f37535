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
[writing a check](writing-a-check.md#3-a-fault) has an example. `cnilab mutate` does the same with all checks on many
networks, and writes the [mutation table](mutation.md). This page is made from the code
(`python -m harness.steps.faults.page`).

Faults that show only while a cluster is disturbed need `dis`: `cnilab test --faults --disruptive` injects them, too.

The faults of a lab (`faults:` in a `lab.yaml`) have the same form, and the same code injects and undoes them. They have
other places and names, and no check has to notice them: see [writing a lab](writing-a-lab.md#faults).
"""

BY_HAND: Final = """## By hand

`cnilab fault` injects the same faults and leaves them in the cluster, for exercises and experiments:

```sh
cnilab fault list                        # with a cluster: can it show the fault (HERE), and which are injected
cnilab fault inject route-del            # by id or name; several may be given
cnilab fault inject --random --secret    # one that the cluster can show, and nobody is told which
cnilab test                              # who notices?
cnilab fault clear                       # undoes all, and tells what a secret fault was
```

What is injected is recorded in `faults.json` in the cluster's state directory, mode 0600. It is written before the
first command runs, and again before each command that follows. It has the places and all words of the commands that
undo. So `fault clear` needs only this file and the cluster:

- After a kill in the middle of `inject` or `clear`, `clear` undoes what was done. Of a fault that was injected only in
  part, a command that fails may have had nothing to undo: `clear` names it and goes on.
- A command that fails otherwise stays in the record. The exit code is then 12. `clear` tries the command again, and
  with `--forget` removes it from the record.
- A pod that was deleted takes its faults with it. `clear` changes nothing in a new pod of the same name.
- `cnilab down` needs no `clear`: all faults are in nodes, pods and the API of the cluster.

`cnilab test` works on a cluster with injected faults. `cnilab test --faults`, `cnilab apply` and `cnilab switch` refuse
it. While faults are injected, HERE is judged by the cluster as it is: a fault that changes a setting can close other
faults. Two faults of one cluster can affect each other, and rules in the table `kfault` of one node can only be cleared
together. The commands do not work on clusters that cnilab did not make.
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
    "equivalent": "the fault would change nothing on this network, for the reason that is given; it is not injected",
    "not-applicable": "the cluster lacks what the fault breaks (`needs`), or every check that would notice",
    "error": "the cluster was not green before, or not after, or a command failed: nothing can be said",
}
"""How a fault's run can end."""


def page() -> str:
    """The whole page."""
    names = ((name.form, name.meaning) for name in NAMES)
    parts = (
        HEAD,
        BY_HAND,
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
