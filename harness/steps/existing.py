"""`cnilab test --kubeconfig`: the suite on a cluster that nobody here built, which is afterwards as before."""

from __future__ import annotations

from harness.cni import recognise
from harness.model.journal import Journal
from harness.model.records import Result
from harness.model.run import RunDir
from harness.providers.existing.probe import ExistingLab
from harness.steps import existing_stay
from harness.steps.attach import Attached
from harness.steps.conformance import run_conformance
from harness.steps.existing_preflight import Survey
from harness.steps.existing_suite import deployer, described_before, kubectl


def clear_leftovers(found: Survey, journal: Journal) -> None:
    """Remove what runs that were killed left in the cluster.

    Raises:
        TearDownError: Something could not be removed.
    """
    namespace = found.wish.namespace
    if not namespace and not found.rights.has("namespaces"):
        return
    runs = existing_stay.leftovers(found.kube, namespace)
    if not runs:
        return
    with journal.step("existing.leftovers", f"what {len(runs)} killed runs left"):
        left = existing_stay.sweep(found.kube, namespace, runs)
    if left:
        raise existing_stay.left_behind(found, left)


def run_existing(
    found: Survey, run: RunDir, journal: Journal, *, select: str = "", strict: bool = False
) -> list[Result]:
    """Run the suite, and remove everything whatever happens.

    Args:
        found: What the preflight found.
        run: Gets observations, captures, topology and results.
        journal: Gets steps.
        select: Ids, areas or patterns, separated by commas; empty for all.
        strict: A failed SHOULD counts as failed.

    Returns:
        Results in the order of the catalogue.

    Raises:
        PreflightError: Nothing can be measured.
        CnilabError: The pods do not become ready, or something could not be removed.
    """
    if found.blocked is not None:
        raise found.blocked
    clear_leftovers(found, journal)
    with existing_stay.stay(found, journal) as here:
        attached = Attached(
            spec=described_before(found),
            variant=recognise.generic(dns=False),
            lab=ExistingLab(described_before(found).name, (), found.wish.kubeconfig),
            kube=found.kube,
            kubectl=kubectl(found),
            state=run.path,
            run=run,
        )
        return run_conformance(attached, run, journal, select=select, strict=strict, deploy=deployer(here))
