"""`cnilab test --kubeconfig`: the suite on a cluster that nobody here built, which is afterwards as before."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from conformance.registry import batches
from conformance.registry import select as choose
from harness.model.journal import Journal
from harness.model.records import Dump, Result
from harness.model.run import RunDir
from harness.steps.existing import stay
from harness.steps.existing.deploy import deploy
from harness.steps.existing.pods import left_out
from harness.steps.existing.preflight import Survey, rows
from harness.steps.existing.send import Program
from harness.steps.existing.stay import Stay
from harness.steps.suite.deploy import Suite
from harness.steps.suite.explain import explain_run
from harness.steps.suite.run import counts, look, verdicts


def clear_leftovers(found: Survey, journal: Journal, *, everybody: bool = False) -> list[str]:
    """Remove what runs that were killed left in the cluster.

    Args:
        found: What the preflight found.
        journal: Gets a step, when there is anything.
        everybody: What runs that may still be alive made, too.

    Returns:
        Ids of the runs.

    Raises:
        TearDownError: Something could not be removed.
    """
    namespace = found.wish.namespace
    if not namespace and not found.rights.has("namespaces"):
        return []
    runs = stay.leftovers(found.kube, namespace, everybody=everybody)
    if not runs:
        return []
    with journal.step("existing.leftovers", f"remove leftovers of {len(runs)} killed runs"):
        left = stay.sweep(found.kube, namespace, runs)
    if left:
        raise stay.left_behind(found, left)
    return runs


def run_existing(
    found: Survey, run: RunDir, journal: Journal, program: Program, *, select: str = "", strict: bool = False
) -> list[Result]:
    """Run the suite, and remove everything whatever happens.

    Args:
        found: What the preflight found.
        run: Gets observations, captures, topology and results.
        journal: Gets steps.
        program: What is sent, for images that do not have it.
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
    checks = choose(select)
    clear_leftovers(found, journal)
    with journal.step("test", "conformance", checks=len(checks)) as detail, ThreadPoolExecutor(1) as pool:
        with stay.stay(found, journal) as here:
            suite = deploy(here, run, journal, program, policies="B6" in batches(checks))
            _describe(here, suite, run)
            look(suite, run, journal, checks)
            # Verdicts need no cluster: it is cleared while they are made.
            judged = pool.submit(verdicts, run, journal, checks, select=select, strict=strict)
        results = judged.result()
        explain_run(run, results, journal)
        detail.update(counts(results))
    return results


def _describe(here: Stay, suite: Suite, run: RunDir) -> None:
    """Write down what the cluster turned out to be, and what cannot be measured there: judges and reports read it."""
    found, spec, info = here.found, suite.attached.spec, run.info()
    closed = suite.inventory.reasons
    open_ = [
        name for gate, name in (("hosts", "host network"), ("node", "nodes"), ("cap", "wire")) if gate not in closed
    ]
    facts = {
        "cluster": found.access.server,
        "sample": f"{len(spec.node_names)} of {len(found.nodes) if found.nodes else 'an unknown number of'} nodes, "
        f"seed {found.wish.seed}",
        "vantage": ", ".join(["pods", *open_]),
        "nodes": _kinds(found),
        "left out": left_out(here.left_out),
        "image": f"{here.image}, with the responder sent into it" if here.streams else here.image,
        "probes": f"{here.image}, with programs sent into it" if here.kit and "node" not in closed else "",
    }
    run.write_info(
        info.model_copy(
            update={
                "variant": suite.attached.variant.name,
                "nodes": len(spec.node_names),
                "spec": json.loads(spec.model_dump_json(by_alias=True)),
                "host": {**info.host, **{key: value for key, value in facts.items() if value}},
            }
        )
    )
    table = [asdict(row) for row in rows(found)]
    run.add_observations(
        [Dump(batch="B0", vantage="api", place="cluster", what="preflight", data={"rows": table, "closed": closed})]
    )


def _kinds(found: Survey) -> str:
    """Kernels and runtimes of the sample."""
    kinds = sorted({f"kernel {one.kernel}, {one.runtime}" for one in found.chosen if one.kernel})
    return "; ".join(kinds)
