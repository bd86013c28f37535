"""A lab as data: what it teaches, what it needs, its steps, and what must be seen (`labs/<id>/lab.yaml`).

Reading a lab finds every mistake at once, with file and line: unknown keys, expressions that are not expressions,
variables that no step saves, faults that are not defined. `docs/writing-a-lab.md` is the guide.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator

from harness import timeouts
from harness.model.base import Data
from harness.model.family import Family
from harness.model.fault import Deadline, Fault
from harness.model.spec import ProxyMode
from harness.model.variant import Driver, Masquerader, WireKind
from harness.model.words import Argv, Expression, Name, Sentence, Word, constant_script, one_word

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?$")]

LabGate = Literal[
    "multi", "router", "cap", "ctr", "kubelet", "svc", "kp", "kpf", "dns", "np", "nonp", "ovl", "fdb",
    "agentfile", "br", "ncidr", "lease", "masq", "nfmasq", "hport", "cni4",
]  # fmt: skip
"""Gates that a lab can be asked for: what variants declare, and what the machine has. The suite finds out more."""

Chapter = Literal["containers", "pods", "flannel", "mtu", "services", "inventory", "egress", "cilium", "weave"]
"""Chapters of the workshop; `labs/README.md` has a section for each."""

VARIABLES: Final = frozenset(
    {
        *("lab", "param", "spec", "variant", "world", "pod_mtu", "pod_mtu6", "patience"),
        *("nodes", "node_list", "node", "pods", "pod", "all_pods"),
        *("saved", "captured", "taps", "item"),
        *("result", "results", "stdout", "stderr", "rc", "seconds"),
    }
)
"""What every expression may use; `let`, and the item of `for`, add to it."""


OF_FAULTS: Final = VARIABLES - {"taps", "item", "result", "results", "stdout", "stderr", "rc", "seconds"}
"""What expressions of faults may use: all that is not about a step's own command."""

PLACE: Final = re.compile(r"^(operator|router|far|each-(node|pod|agent)|(node|agent|pod|netns)/.+)$")
ACTION_PLACE: Final = re.compile(r"^(operator|router|far|(node|agent|pod|netns)/.+)$")


def _place(text: str) -> str:
    if not PLACE.match(text):
        places = "operator, each-node, node/<name>, each-agent, agent/<node>, each-pod, pod/<name>, netns/<pod>"
        msg = f"is not a place; expected {places}, router or far"
        raise ValueError(msg)
    return one_word(text)


Place = Annotated[str, AfterValidator(_place)]


class Needs(Data):
    """What a cluster must have for the lab to make sense there. Features, never names of variants."""

    gates: tuple[LabGate, ...] = Field(default=(), description="Gates that must be open: multi, br, masq …")
    families: tuple[Family, ...] = Field(default=("ipv4",), description="IP families that pods must have")
    nodes: Annotated[int, Field(ge=1, le=20)] = Field(default=1, description="Least number of nodes")
    driver: tuple[Driver, ...] = Field(default=(), description="Drivers of the variant; empty: any")
    wire: tuple[WireKind, ...] = Field(
        default=(), description="How packets between nodes may look on the underlay; empty: any"
    )
    proxy: tuple[ProxyMode, ...] = Field(default=(), description="Modes of kube-proxy; empty: any")
    masquerade: tuple[Masquerader, ...] = Field(default=(), description="Who masquerades: bpf, iptables …; empty: any")


class Expect(Data):
    """Something that must be true, and the reason why it is."""

    that: Expression
    because: Sentence
    level: Literal["assert", "record"] = Field(default="assert", description="record: varies, so it is only shown")
    claim: str = Field(default="", description="A common claim that this corrects")
    once: bool = Field(default=False, description="Judge all results of the step together, not one after the other")
    for_: Expression | None = Field(default=None, alias="for", description="A list; judged for each `item` of it")


class Table(Data):
    """A table for the report, one row per item."""

    title: Sentence
    of: Expression = Field(description="A list; each `item` of it makes a row")
    columns: dict[str, Expression] = Field(min_length=1, description="Heading: value")


class Plot(Data):
    """A plot for the report: numbers over time, one line per series."""

    title: Sentence
    of: Expression = Field(description="A list; each `item` of it is a sample")
    at: Expression = Field(description="When the sample was taken, in seconds; the first sample is the plot's zero")
    series: dict[str, Expression] = Field(min_length=1, max_length=6, description="Name of a line: its number")
    unit: str = Field(default="", max_length=40, description="What the numbers count: packets, bytes, flows")


class Tap(Data):
    """A packet capture that starts before the step's command and stops after it."""

    name: Name
    on: Place
    interface: Word = "eth0"
    filter: tuple[Word, ...] = Field(default=(), description="Words of a pcap filter")


class LabFault(Fault):
    """A fault of a lab. It is injected in each of its places, and repaired there: by a step, or at the end."""

    on: Place = Field(description="Where its commands run, unless they say where themselves")


class Step(Data):
    """One thing to do, and what must be seen."""

    id: Slug
    title: Sentence
    prose: str = Field(default="", description="Why the learner does this")
    when: Expression | None = Field(default=None, description="The step is skipped where this is false")
    on: Place = "operator"
    container: str = Field(default="", description="Container of the pod; empty: the first")
    for_: Expression | None = Field(
        default=None, alias="for", description="A list; the command runs for each `item` of it"
    )
    run: Argv = ()
    input: Word = Field(default="", description="Text for the command's standard input")
    parse: Literal["text", "json", "lines"] = "text"
    may_fail: bool = Field(default=False, alias="mayFail", description="Any exit status is fine; expectations judge it")
    save: Name | None = Field(default=None, description="Keeps the result as saved.<name>")
    retry_until: Expression | None = Field(default=None, alias="retryUntil", description="Repeats until true")
    deadline: Deadline = Field(default=timeouts.COMMAND, description="Seconds")
    always: bool = Field(default=False, description="Runs even when a step before it did not succeed")
    refresh: bool = Field(default=False, description="Pods came or went: read them again afterwards")
    inject: str | None = Field(default=None, description="Name of the fault to inject before the command")
    repair: str | None = Field(default=None, description="Name of the fault to repair before the command")
    repair_on: Place | None = Field(default=None, alias="repairOn", description="Repair in this place only")
    capture: tuple[Tap, ...] = ()
    let: dict[Name, Expression] = Field(default_factory=dict, description="Values computed once, after the command")
    expect: tuple[Expect, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()

    @field_validator("input")
    @classmethod
    def _no_value_in_a_script(cls, text: str, info: ValidationInfo) -> str:
        return constant_script(text, info.data.get("run", ()))


class Question(Data):
    """A question at the end of the text, whose answer a learner can have checked: `cnilab labs quiz`."""

    ask: Sentence
    answer: tuple[Word, ...] = Field(min_length=1, description="What is right, in all words that mean the same")
    because: Sentence

    def right(self, said: str) -> bool:
        """Whether an answer is right; capitals, marks, words in parentheses and small words (the, of) do not matter.

        Args:
            said: By the learner.
        """
        return _plain(said) in {_plain(one) for one in self.answer}


def _plain(text: str) -> str:
    """The words of an answer that matter; all of them where no other is left."""
    words = re.sub(r"\([^)]*\)|[.,;:!?`'\"]+(?=\s|$)|(?<!\S)[`'\"]+", " ", text.casefold()).split()
    return " ".join([word for word in words if word not in _SMALL] or words)


_SMALL: Final = frozenset({
    "a", "an", "at", "by", "from", "in", "is", "it", "its", "of", "on", "that", "the", "their", "they", "to", "with",
})  # fmt: skip


PER_NODE: Final[Mapping[str, str]] = {
    "pod-set": "which pods there are",
    "pod-creation": "whether a new pod can start",
}
RESOURCES: Final[Mapping[str, str]] = {
    "dataplane": "how packets of pods travel: links, routes, forwarding",
    **PER_NODE,
    "services": "Services, kube-proxy and the cluster's DNS",
    "rules": "rules that masquerade or filter packets",
    "policies": "NetworkPolicies",
    "network": "the pod network of the whole cluster",
    "api": "the API server, which every lab asks",
}
"""What labs share, by name."""

_PARTS = "|".join(PER_NODE)
_WHOLE = "|".join(name for name in RESOURCES if name not in PER_NODE)
Resource = Annotated[str, StringConstraints(pattern=rf"^(({_PARTS})(@first|@last)?|{_WHOLE})$")]
"""One of `RESOURCES`. `@first` and `@last` mean that of the first or the last node alone."""

ALONE: Final = frozenset({"network", "api"})
"""The pod network of the whole cluster, and its API server, which every lab asks: who disturbs them meets no other."""


def _meet(one: Resource, other: Resource, nodes: int) -> bool:
    (what, _, where), (what_else, _, elsewhere) = one.partition("@"), other.partition("@")
    return what == what_else and (nodes == 1 or not where or not elsewhere or where == elsewhere)


class LabDefinition(Data):
    """Content of a `lab.yaml`."""

    id: Slug
    title: Sentence
    chapter: Chapter
    learn: Sentence
    needs: Needs = Needs()
    minutes: Annotated[int, Field(ge=1, le=120)] = Field(description="Time of a learner, not of the program")
    long: bool = Field(default=False, description="Runs only when named, or when all labs are asked for")
    bare: bool = Field(default=False, description="Needs no cluster: runs on machines without Kubernetes")
    namespace: str = "labs"
    parameters: dict[Name, Any] = Field(default_factory=dict)
    manifests: tuple[str, ...] = Field(default=(), description="Files, relative to the lab's folder")
    playbook: str = Field(default="apply-labs.yaml", description="In `playbooks/`; applies the manifests")
    watches: tuple[Resource, ...] = Field(default=("dataplane",), description="What must hold still while the lab runs")
    disturbs: tuple[Resource, ...] = Field(default=(), description="What the lab changes while it runs")
    faults: dict[Slug, LabFault] = Field(default_factory=dict)
    steps: tuple[Step, ...] = Field(min_length=1)
    questions: tuple[Question, ...] = ()

    @property
    def alone(self) -> bool:
        """No other lab may run at the same time: it has the machines, or the whole network, for itself."""
        return self.bare or not ALONE.isdisjoint(self.disturbs)

    def conflicts(self, other: LabDefinition, nodes: int = 2) -> bool:
        """True when the two must not run at the same time.

        Args:
            other: The other lab.
            nodes: Of the cluster; the first of one node is also the last.
        """
        if self.alone or other.alone:
            return True
        pairs = [*itertools.product(self.disturbs, other.relies_on), *itertools.product(other.disturbs, self.relies_on)]
        return any(_meet(one, another, nodes) for one, another in pairs)

    @property
    def changes_pods(self) -> bool:
        """It makes or removes pods of the cluster."""
        return any(one.startswith(("pod-set", "network")) for one in self.disturbs)

    @property
    def relies_on(self) -> tuple[Resource, ...]:
        """What it watches. Who makes or removes pods relies on pods that can start there, too.

        A pod that is made, or removed, while the node's plugins are others or none is given an address of another
        range, or leaves its own behind.
        """
        return (
            *self.watches,
            *(one.replace("pod-set", "pod-creation") for one in self.disturbs if one.startswith("pod-set")),
        )
