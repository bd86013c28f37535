"""A lab that is up, found again from its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.cluster.kube import Kube
from harness.cni import catalogue
from harness.model.labstate import LabDir
from harness.model.node import Lab
from harness.model.run import RunDir
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.providers import registry
from harness.providers.protocol import Found
from harness.runner import HostRunner, Runner


@dataclass(frozen=True)
class Attached:
    """Everything that steps need of a lab.

    Args:
        spec: What the lab is.
        variant: Its CNI variant.
        lab: Its nodes, router and far host.
        kube: Its API.
        kubectl: Runs kubectl on the host, with the lab's kubeconfig.
        state: The state directory of all labs.
        run: The run directory of its bring-up, if it has one.
    """

    spec: LabSpec
    variant: Variant
    lab: Lab
    kube: Kube
    kubectl: Runner
    state: Path
    run: RunDir | None


def attach(name: str, state: Path) -> Attached:
    """Find a lab that is up.

    Args:
        name: The lab's name.
        state: The state directory of all labs.

    Raises:
        UsageError: There is no such lab, or it is broken.
    """
    return attached(registry.find(name, state), LabDir(state, name))


def attached(found: Found, place: LabDir) -> Attached:
    """The handles of a lab that is known to be there."""
    # Its discovery cache is the lab's own too: by default it would stay in the user's home.
    cache = place.path / "kubectl-cache"
    program = Path(found.state.programs) / "kubectl"
    kubectl = HostRunner((str(program), "--kubeconfig", str(found.lab.kubeconfig), "--cache-dir", str(cache)))
    return Attached(
        spec=found.state.spec,
        variant=catalogue.of(found.state.spec),
        lab=found.lab,
        kube=Kube(place.client_kubeconfig),
        kubectl=kubectl,
        state=place.state,
        run=RunDir(Path(found.state.run)) if found.state.run else None,
    )
