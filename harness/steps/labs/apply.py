"""Labs: chosen for the cluster at hand, applied with one playbook, run side by side where they do not disturb.

labs/<id>/lab.yaml ─► needs met? ─► manifests ─► playbooks/labs.yaml ─► steps ─► labs.jsonl, labs/<id>/*.txt
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from harness import resources, yamlio
from harness.ansible import inventory
from harness.ansible.play import Play, play
from harness.cluster.kube import Kube
from harness.cluster.readiness import WORKLOADS
from harness.errors import CnilabError, UsageError
from harness.model.injection import require_none
from harness.model.journal import Journal
from harness.model.lab import LabDefinition
from harness.model.labstate import LabDir
from harness.model.node import Node
from harness.model.records import LabStep
from harness.model.run import RunDir
from harness.steps.labs import residue
from harness.steps.labs.choose import ability, choose, lacking, list_labs, put_off, unlike
from harness.steps.labs.cluster import Cluster
from harness.steps.labs.machines import Machines
from harness.steps.labs.objects import bring_back, manifests, settle
from harness.steps.labs.place import Surroundings
from harness.steps.labs.run import LabRun
from harness.steps.lifecycle.attach import Attached

AT_ONCE = 5
"""Labs that run at the same time; most of their time they wait for programs."""

PLAYBOOK = "labs.yaml"


def run_labs(attached: Attached, run: RunDir, journal: Journal, *, only: Collection[str] = ()) -> list[LabStep]:
    """Apply and run labs.

    Args:
        attached: The cluster.
        run: Records go to its `labs.jsonl`, transcripts to `labs/`, captures to `captures/`.
        journal: Gets a step for each lab.
        only: Ids, or `all`; empty: all that the cluster can do and that are not long.

    Returns:
        A record for every expectation; labs that do not fit have one that says why.

    Raises:
        UsageError: An id is unknown, or faults are injected in the cluster.
        PlaybookError: Manifests could not be applied, or did not come up.
    """
    require_none(LabDir(attached.state, attached.spec.name), "'cnilab apply'")
    asked = only or attached.spec.labs
    has = ability(attached)
    # Nobody who asks for the labs of a cluster wants to hear of those that are for none, and the other way round.
    wanted = [lab for lab in choose(list_labs(), asked) if lab.id in asked or not unlike(lab, has)]
    reasons = {lab.id: unlike(lab, has) or lacking(lab.needs, has) or put_off(lab, asked) for lab in wanted}
    fitting = [lab for lab in wanted if not reasons[lab.id]]
    records = [_unfit(lab, reasons[lab.id]) for lab in wanted if reasons[lab.id]]
    run.add_lab_steps(records)
    if not fitting:
        return records
    stop = threading.Event()
    one = _on_cluster(attached, fitting, run, journal, stop) if has.kubernetes else _bare(attached, run, journal, stop)
    for made in schedule(fitting, one, stop, nodes=has.nodes).values():
        records += made
    return records


def _on_cluster(
    attached: Attached, labs: Sequence[LabDefinition], run: RunDir, journal: Journal, stop: threading.Event
) -> Callable[[LabDefinition], list[LabStep]]:
    """What runs a lab of a cluster; its manifests, and those of the others, are applied."""
    cluster = Cluster(attached, run.path)
    facts = cluster.facts("labs")
    apply_labs(attached, labs, run, journal, facts)
    cluster.refresh()

    def one(lab: LabDefinition) -> list[LabStep]:
        with journal.step(f"labs.{lab.id}", lab.title) as closing:
            again = bring_back(attached.kube, manifests([lab], resources.root(), facts))
            if again:
                closing["created"] = again
                cluster.refresh()
            made = _run(lab, cluster, run, stop)
            if lab.changes_pods and (left := _still_there(attached.kube)):
                made.append(_left(lab, [left], "cluster"))
                run.add_lab_steps(made[-1:])
            closing.update(_summary(made))
        return made

    return one


def _bare(
    attached: Attached, run: RunDir, journal: Journal, stop: threading.Event
) -> Callable[[LabDefinition], list[LabStep]]:
    """What runs a lab on machines without Kubernetes, and sees to it that they are as before."""
    machines = Machines(attached, run.path)

    def one(lab: LabDefinition) -> list[LabStep]:
        with journal.step(f"labs.{lab.id}", lab.title) as closing:
            before = residue.take(attached.lab)
            made = _run(lab, machines, run, stop)
            if left := residue.left(before, residue.take(attached.lab)):
                made.append(_left(lab, left, "machines"))
                run.add_lab_steps(made[-1:])
            closing.update(_summary(made))
        return made

    return one


def _run(lab: LabDefinition, around: Surroundings, run: RunDir, stop: threading.Event) -> list[LabStep]:
    def keep(record: LabStep) -> None:
        run.add_lab_steps([record])

    return LabRun(lab, around, run.path / "labs" / lab.id, run.path, keep, stop).run()


def _summary(made: Sequence[LabStep]) -> dict[str, Any]:
    """What the journal says of a lab."""
    failed = [record for record in made if record.status in {"fail", "error"}]
    missed = {"missed": f"{failed[0].title}: {failed[0].reason or failed[0].observed}"} if failed else {}
    return {"expectations": len(made), "failed": len(failed), **missed}


def _still_there(api: Kube) -> str:
    """Why pods that were removed are not gone; empty when all are."""
    try:
        settle(api)
    except CnilabError as error:
        return str(error)
    return ""


def _left(lab: LabDefinition, left: Sequence[str], place: str) -> LabStep:
    """A lab that does not take away what it made."""
    reason = f"the lab left something behind: {'; '.join(left[:6])}"
    return LabStep(lab=lab.id, step="clean", title="As before", place=place, status="error", reason=reason)


def _unfit(lab: LabDefinition, reason: str) -> LabStep:
    return LabStep(lab=lab.id, step="needs", title=lab.title, place="operator", status="skip", reason=reason)


# -- applying ----------------------------------------------------------------------------------------------------------


def hosts(attached: Attached) -> str:
    """The inventory of an attached cluster, as YAML."""

    def host(node: Node) -> inventory.Host:
        variables = getattr(node, "playbook_variables", None)
        if variables:
            return inventory.Host(node.name, str(variables["ansible_host"]), variables)
        pid = getattr(node, "pid", None)
        if not isinstance(pid, int) or not pid:
            msg = f"playbooks cannot reach {node.name}"
            raise UsageError(msg, cause="its processes are on another machine, or access to them is denied")
        return inventory.namespace_host(node.name, str(node.address), pid)

    router = attached.lab.router
    return inventory.render(
        [host(node) for node in attached.lab.nodes],
        host(router) if router is not None else None,
        {
            "kubeconfig": str(attached.lab.kubeconfig),
            "kubectl": getattr(attached.kubectl, "prefix", ("kubectl",))[0],
        },
        inventory.python(),
    )


def apply_labs(
    attached: Attached, labs: Sequence[LabDefinition], run: RunDir, journal: Journal, facts: Mapping[str, Any]
) -> Play:
    """Prepare the nodes and apply the manifests of all labs, in one run of Ansible.

    Args:
        attached: The cluster.
        labs: Whose manifests.
        run: Keeps what is applied.
        journal: Gets Ansible's tasks.
        facts: Variables of expressions in manifests.

    Raises:
        PlaybookError: As of `play`.
    """
    objects = manifests(labs, resources.root(), facts)
    folder = run.directory("ansible/manifests")
    (folder / "labs.yaml").write_text(yamlio.dumps_all(objects), encoding="utf-8")
    ready = [
        {"kind": made["kind"].lower(), "name": made["metadata"]["name"], "namespace": made["metadata"]["namespace"]}
        for made in objects
        if made["kind"] in WORKLOADS
    ]
    variables = {"manifests_dir": str(folder), "rollout_ready": ready}
    return play(PLAYBOOK, hosts(attached), run.path, journal, variables=variables)


# -- scheduling --------------------------------------------------------------------------------------------------------


def schedule(
    labs: Sequence[LabDefinition],
    one: Callable[[LabDefinition], list[LabStep]],
    stop: threading.Event,
    at_once: int = AT_ONCE,
    nodes: int = 2,
) -> dict[str, list[LabStep]]:
    """Run labs at the same time, but never two of which one disturbs what the other watches.

    Labs that disturb start first, and among them those that exclude most others: the longest chain begins at once, and
    what only watches fills the gaps. Those that meet no other come last, one by one.

    Args:
        labs: What to run.
        one: Runs one lab.
        stop: Set when this is interrupted, so that labs that run end soon, and repair what they broke.
        at_once: Most at the same time.
        nodes: Of the cluster.

    Returns:
        Records by lab, in the order of `labs`.
    """
    crowd = {lab.id: sum(lab.conflicts(other, nodes) for other in labs if other is not lab) for lab in labs}
    waiting = sorted(labs, key=lambda lab: (lab.alone, not lab.disturbs, -crowd[lab.id], lab.id))
    running: dict[Future[list[LabStep]], LabDefinition] = {}
    done: dict[str, list[LabStep]] = {}
    with ThreadPoolExecutor(at_once) as pool:
        try:
            while waiting or running:
                for lab in list(waiting):
                    if len(running) < at_once and not any(lab.conflicts(other, nodes) for other in running.values()):
                        waiting.remove(lab)
                        running[pool.submit(one, lab)] = lab
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    lab = running.pop(future)
                    done[lab.id] = _outcome(lab, future)
        except BaseException:
            stop.set()
            raise
    return {lab.id: done[lab.id] for lab in labs}


def _outcome(lab: LabDefinition, future: Future[list[LabStep]]) -> list[LabStep]:
    """A lab's records; one that says why, when the lab itself broke."""
    try:
        return future.result()
    except CnilabError as error:
        return [LabStep(lab=lab.id, step="lab", title=lab.title, place="operator", status="error", reason=str(error))]
