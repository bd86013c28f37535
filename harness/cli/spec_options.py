"""The argument and the options that make a cluster's spec: the same for every command that has them.

A command gets one `Asked`, whose spec is read once. Whoever runs such a command as a part of its own, or in a cluster's
virtual machine, hands its `Asked` over: words are not read a second time, where files and variables may say otherwise.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.context import say, shown
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.model.references import Known
    from harness.model.spec import LabSpec

KERNELS = ("host", "debian")
"""Those that a cluster can run under; see harness.model.spec."""

FAMILIES = ("ipv4", "ipv6", "dual")
"""What a cluster can have; see harness.model.family."""

_FIELDS = {
    "name": "metadata.name",
    "nodes": "spec.nodes",
    "cni": "spec.cni",
    "mtu": "spec.underlay.mtu",
    "kernel": "spec.kernel",
    "kernel_arguments": "spec.kernelArguments",
    "provider": "spec.provider",
    "cni_version": "spec.cniVersion",
    "ip_family": "spec.ipFamily",
    "primary_family": "spec.primaryFamily",
}
"""Parameter of an option to the field of a spec file that it sets."""


def _providers() -> str:
    """Names of providers, for the help, which must not wait for pydantic: the folders that have a driver."""
    folder = Path(__file__).parents[1] / "providers"
    *names, last = sorted(path.parent.name for path in folder.glob("*/driver.py"))
    return f"{', '.join(names)} or {last}"


_HANDED_OVER = "cnilab.asked"
"""Where a command's context keeps what the command that runs it hands over."""


@dataclass(frozen=True)
class Asked:
    """The cluster that a user asks for.

    Args:
        target: A spec file, or a CNI variant's name.
        given: Values of options by field of a spec file; only of those that were given.
        decided: The spec, where somebody has read it already.
    """

    target: str
    given: Mapping[str, Any] = field(default_factory=dict)
    decided: LabSpec | None = None

    @cached_property
    def spec(self) -> LabSpec:
        """What the cluster shall be.

        Raises:
            UsageError: The target is neither a file nor a variant, or something in it is wrong.
        """
        from harness.providers.registry import driver  # noqa: PLC0415 - the help must not wait for it

        found = self.decided or _read(self.target, self.given)
        # A spec may name providers that this version lacks, so that its schema need not change with them.
        driver(found.provider)
        _possible(found)
        return found

    @property
    def words(self) -> list[str]:
        """What asks for the same cluster again."""
        from harness.model.load import option_of  # noqa: PLC0415 - the help must not wait for pydantic

        options = [
            (option_of(path), " ".join(value) if isinstance(value, list) else str(value))
            for path, value in self.given.items()
        ]
        return [self.target, *(word for option in options for word in option)]

    def hand_over(self, ctx: click.Context) -> None:
        """To the next command with these options that runs below a context."""
        ctx.meta[_HANDED_OVER] = Asked(self.target, self.given, self.spec)

    def write(self, path: Path) -> None:
        """Into a file, for `--handed-over` of another process."""
        known = {"target": self.target, "given": dict(self.given), "spec": self.spec.model_dump(mode="json")}
        path.write_text(json.dumps(known), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Asked:
        """What `write` wrote."""
        from harness.model.spec import LabSpec  # noqa: PLC0415 - the help must not wait for pydantic

        known = json.loads(path.read_text(encoding="utf-8"))
        return cls(known["target"], known["given"], LabSpec.model_validate(known["spec"]))


_FAMILIES_HELP = "IP families of the cluster.  [default: the variant's; see docs/ip-families.md]"


def spec_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a command called with `asked`, made of the argument and the options of a spec."""

    @functools.wraps(function)
    def command(*args: Any, target: str, handed_over: Path | None, **parameters: Any) -> Any:
        given = {path: parameters.pop(name) for name, path in _FIELDS.items()}
        asked = taken_over(click.get_current_context())
        if asked is None and handed_over is not None:
            asked = Asked.read(handed_over)
        if asked is None:
            asked = Asked(target, {path: value for path, value in given.items() if value is not None})
        return function(*args, asked=asked, **parameters)

    made: Callable[..., Any] = command
    for decorator in (
        click.option("--handed-over", type=click.Path(path_type=Path), hidden=True),
        click.option("--mtu", type=int, help="MTU of the network between the nodes, in bytes."),
        version_option,
        click.option("--cni", metavar="VARIANT", help="CNI variant. Replaces the one in the spec."),
        click.option("--kernel", type=click.Choice(KERNELS), help="Run the cluster under this kernel, in a VM."),
        click.option(
            "--kernel-arguments",
            metavar="WORDS",
            callback=lambda _ctx, _param, words: None if words is None else words.split(),
            help="Words for the command line of that kernel.",
        ),
        click.option("--provider", metavar="NAME", help=f"Provider of the nodes: {_providers()}."),
        click.option(
            "--primary-family", type=click.Choice(FAMILIES[:2]), help="With both families: the one that comes first."
        ),
        click.option("--ip-family", type=click.Choice(FAMILIES), help=_FAMILIES_HELP),
        click.option("--nodes", type=int, help="Number of nodes, 1 to 20."),
        click.option("--name", help="Name of the cluster.  [default: the spec's, or the variant]"),
        click.argument("target", metavar="[SPEC|VARIANT]", default="flannel"),
    ):
        made = decorator(made)
    return made


def taken_over(ctx: click.Context) -> Asked | None:
    """What the command that runs this one handed over; None where a user runs it. Only one command gets it."""
    found: Asked | None = ctx.meta.pop(_HANDED_OVER, None)
    return found


def version_option(function: Any) -> Any:
    """`--cni-version`, of a spec and of a network that comes later."""
    words = "Full version of the network, from its project's own images.  [default: the pinned one]"
    return click.option("--cni-version", metavar="VERSION", help=words)(function)


def _read(target: str, given: Mapping[str, Any]) -> LabSpec:
    from harness.cni import catalogue  # noqa: PLC0415 - the help must not wait for pydantic
    from harness.model.load import load_spec, make_spec  # noqa: PLC0415

    variants = catalogue.targets()
    if target in variants:
        defaults = {"spec.cni": target, "metadata.name": target, **catalogue.variant(target).defaults}
        return make_spec(known(), {**defaults, **given})
    path = Path(target)
    if path.suffix in {".yaml", ".yml"} or path.exists():
        return load_spec(path, replace(known(), labs=_lab_ids(), pinned=_pinned_kubernetes()), given)
    import difflib  # noqa: PLC0415

    near = difflib.get_close_matches(target, variants, n=1)
    msg = f"'{shown(target)}' is neither a CNI variant nor a spec file"
    raise UsageError(
        msg,
        cause=f"variants: {', '.join(variants)}",
        next_step=f"did you mean '{near[0]}'?" if near else "name a variant, or a file that ends in .yaml",
    )


def _possible(spec: LabSpec) -> None:
    """Refuse machines without Kubernetes of a provider that only has machines with it."""
    from harness.model.spec import BARE  # noqa: PLC0415

    if spec.cni == BARE and spec.provider != "namespaces":
        msg = f"the provider {spec.provider} has no machines without Kubernetes"
        raise UsageError(msg, next_step=f"'cnilab up {BARE}' makes them of Linux namespaces")


def known() -> Known:
    """What a spec may refer to, but for labs and versions of Kubernetes: those only a file names."""
    from harness.cni import catalogue  # noqa: PLC0415
    from harness.model.references import Known  # noqa: PLC0415
    from harness.providers.registry import families, usual_families  # noqa: PLC0415
    from harness.steps.doctor.ipv6 import lacking  # noqa: PLC0415

    return Known(
        catalogue.targets(),
        network=pinned_network,
        families=lambda name: catalogue.variant(name).families,
        provided=families,
        pod_mtu=_pod_mtu,
        usual=usual_families,
        machine=lacking,
        note=say,
    )


def _pod_mtu(variant: str, version: str, mtu: int) -> int:
    """The largest IPv6 packet of a pod, in bytes."""
    from harness.cni import catalogue  # noqa: PLC0415
    from harness.model.spec import LabSpec  # noqa: PLC0415

    expect = catalogue.of(LabSpec(cni=variant, cni_version=version)).expect
    return expect.of("ipv6").pod_mtu(mtu)


def _lab_ids() -> list[str]:
    from harness import resources  # noqa: PLC0415

    return sorted(path.parent.name for path in (resources.root() / "labs").glob("*/lab.yaml"))


def _pinned_kubernetes() -> list[str]:
    from harness.components.kubernetes import versions  # noqa: PLC0415
    from harness.components.lock import load  # noqa: PLC0415

    return list(versions(load()))


def pinned_network(variant: str) -> str:
    """The version of its network that a variant has unasked; empty for one that has none."""
    from harness.cni import catalogue  # noqa: PLC0415
    from harness.components.lock import load  # noqa: PLC0415
    from harness.components.network import pinned  # noqa: PLC0415

    return pinned(load(), catalogue.variant(variant).driver)


def checked_version(variant: str, version: str | None) -> str:
    """A version of a variant's network as specs have it: empty for the pinned one.

    Raises:
        SpecError: It is none.
    """
    from harness.model.load import make_spec  # noqa: PLC0415

    wanted = {"spec.cni": variant, **({"spec.cniVersion": version} if version else {})}
    # No cluster is decided on here: neither is the machine asked for IPv6, nor the user told of it.
    return make_spec(replace(known(), usual=None), wanted).cni_version


def under_another_kernel(spec: LabSpec) -> bool:
    """Whether the cluster is to be in a virtual machine, and this is not it."""
    if spec.kernel == "host":
        return False
    from harness.steps.kernel.inside import wanted  # noqa: PLC0415

    return wanted(spec)
