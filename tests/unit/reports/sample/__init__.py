"""A made-up but realistic run: flannel on two nodes, with a failure, a skip, something flaky, labs, taps and faults."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from harness.model.records import Event
from harness.model.run import RunDir, RunInfo
from tests.unit.reports.sample.base import HOSTILE, RUN_ID, Pod, Sample, events, info, moment, topology
from tests.unit.reports.sample.observations import observations, taps
from tests.unit.reports.sample.verdicts import causes, faults, lab_steps, results

__all__ = [
    "HOSTILE", "RUN_ID", "Pod", "Sample", "causes", "events", "faults", "info", "lab_steps", "observations", "results",
    "taps", "topology", "write", "write_explained", "write_partial",
]  # fmt: skip


def write(path: Path, sample: Sample | None = None) -> RunDir:
    """Write the whole run directory."""
    sample = sample or Sample()
    run = RunDir(path)
    run.write_info(info(sample))
    for event in events():
        run.add_event(event)
    run.write_topology(topology(sample))
    run.add_observations(observations(sample))
    run.add_results(results(sample))
    run.add_lab_steps(lab_steps())
    run.add_faults(faults())
    (run.directory("captures") / "a-c-icmp-1.pcap").write_bytes(b"")
    return run


def write_explained(path: Path) -> RunDir:
    """Write the whole run directory, with the causes of what failed."""
    run = write(path)
    run.write_causes(causes())
    return run


def write_partial(path: Path) -> RunDir:
    """Write what a failed bring-up leaves."""
    run = RunDir(path)
    failure = {
        "what": "waited 60 s for the API server to answer",
        "cause": "etcdserver: no leader\nlisten tcp 127.0.0.1:2379: bind: address already in use",
        "where": "n1: kube-apiserver --etcd-servers=http://127.0.0.1:2379",
        "next_step": "look at the log of etcd; extend all deadlines with CNILAB_TIMEOUT_SCALE=4",
        "log": "logs/n1/etcd.log",
    }
    whole = info(Sample()).model_dump(by_alias=True)
    run.write_info(RunInfo.model_validate({**whole, "finished": "", "failure": failure}))
    steps: tuple[tuple[float, str, Literal["started", "ok", "failed"], str, float | None], ...] = (
        (0.0, "up", "started", "Bring up the cluster", None),
        (0.1, "up.nodes", "started", "Two nodes in namespaces", None),
        (0.72, "up.nodes", "ok", "Two nodes in namespaces", 0.62),
        (0.8, "up.cluster.api", "started", "API server answers", None),
        (55.8, "up.cluster.api", "failed", "API server answers", 55.0),
        (55.9, "up", "failed", "Bring up the cluster", 55.9),
    )
    for at, step, state, title, seconds in steps:
        detail = {"error": "waited 60 s for the API server to answer"} if state == "failed" else {}
        run.add_event(Event(at=moment(at), step=step, state=state, title=title, seconds=seconds, detail=detail))
    logs = run.directory("logs/n1")
    (logs / "etcd.log").write_text("starting etcd\nlisten tcp 127.0.0.1:2379: bind: address already in use\n")
    (logs / "kubelet.log").write_text("Bearer abcdefghijklmnopqrstuvwxyz0123456789\nnode not found\n")
    return run
