"""A matrix of runs: which variants, on which providers, under which kernels, night after night.

    apiVersion: cnilab.dev/v1
    kind: Matrix
    metadata: {name: nightly}
    groups:
      - variants: all
      - {variants: [weave], kernel: debian, minutes: 45}
      - {variants: [flannel], ipFamily: ipv6}

A group says what its cells have in common; every variant of it is a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from harness.model.base import Data
from harness.model.family import IpFamily
from harness.model.spec import CNI_VERSION, MAX_NODES, Kernel, Kubernetes, LabName, Provider

EVERY_VARIANT: Final = "all"

LabId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Labs = Literal["default", "all", "none"] | tuple[LabId, ...]


class Group(Data):
    """Cells that differ in their variant alone."""

    variants: Literal["all"] | tuple[str, ...] = Field(description="Names of CNI variants, or 'all' that there are")
    provider: Provider = "namespaces"
    kernel: Kernel = Field(default="host", description="Kernel that the clusters run under")
    nodes: Annotated[int, Field(ge=1, le=MAX_NODES)] = 2
    kubernetes: str = Field(default=Kubernetes().version, description="Minor or full version")
    cni_version: Annotated[str, StringConstraints(pattern=CNI_VERSION)] = Field(
        default="", alias="cniVersion", description="Full version of the network; empty: the pinned one"
    )
    ip_family: IpFamily | None = Field(
        default=None, alias="ipFamily", description="IP families of the clusters; empty: what they have unasked"
    )
    labs: Labs = Field(default="default", description="default: all that fit, but the long ones; all; none; or ids")
    minutes: Annotated[int, Field(ge=1, le=360)] = Field(default=30, description="A cell that takes longer is stopped")
    name: LabName | None = Field(default=None, description="Put before the variant in a cell's id")


class Metadata(Data):
    """What the matrix is called."""

    name: LabName = "nightly"


class Matrix(Data):
    """A matrix as a file has it."""

    api_version: Literal["cnilab.dev/v1"] = Field(alias="apiVersion")
    kind: Literal["Matrix"]
    metadata: Metadata = Metadata()
    groups: tuple[Group, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Cell:
    """One run of the matrix.

    Args:
        id: Unique in the matrix; also the name of its lab and of its run directory.
        variant: CNI variant.
        provider: What the nodes are.
        kernel: `host`, or the one in a virtual machine.
        nodes: How many.
        kubernetes: Minor or full version.
        labs: `default`, `all`, `none`, or ids.
        minutes: A cell that takes longer is stopped.
        unavailable: Why it cannot run here; empty when it can.
        cni_version: Of the network, in full; empty for the pinned one.
        ip_family: IP families of the cluster.
    """

    id: str
    variant: str
    provider: Provider
    kernel: Kernel
    nodes: int
    kubernetes: str
    labs: Labs
    minutes: int
    unavailable: str = ""
    cni_version: str = ""
    ip_family: IpFamily = "ipv4"


def cells(matrix: Matrix, variants: Collection[str], usual: Callable[[Group, str], IpFamily]) -> Iterator[Cell]:
    """All cells in the order of the groups.

    Args:
        matrix: The matrix.
        variants: Names of all variants, which `all` stands for.
        usual: Says which IP families a cluster has unasked, of its group and its variant.
    """
    for group in matrix.groups:
        names = sorted(variants) if group.variants == EVERY_VARIANT else group.variants
        for variant in names:
            yield Cell(
                id=_id(group, variant),
                variant=variant,
                provider=group.provider,
                kernel=group.kernel,
                nodes=group.nodes,
                kubernetes=group.kubernetes,
                labs=group.labs,
                minutes=group.minutes,
                cni_version=group.cni_version,
                ip_family=group.ip_family or usual(group, variant),
            )


def _id(group: Group, variant: str) -> str:
    """`flannel`, `kind-flannel`, `debian-weave`, `ipv6-flannel`: what is not usual comes first."""
    provider = "" if group.provider == "namespaces" else group.provider
    kernel = "" if group.kernel == "host" else group.kernel
    families = group.ip_family or ""
    parts = (group.name,) if group.name else (provider, kernel, families)
    return "-".join(part for part in (*parts, variant) if part)
