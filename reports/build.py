"""From a run directory to everything the page shows. Reads files; changes nothing; knows no clock."""

from __future__ import annotations

from harness.model.run import RunDir
from reports.addresses import Owners
from reports.model import Report
from reports.panels.causes import because, causes
from reports.panels.datapath import datapath
from reports.panels.diagram import diagram
from reports.panels.dns import dns
from reports.panels.environment import environment
from reports.panels.faults import faults
from reports.panels.labs import labs
from reports.panels.load import load
from reports.panels.matrix import matrix
from reports.panels.mtu import mtu
from reports.panels.mutations import mutations
from reports.panels.path import paths
from reports.panels.policy import policies
from reports.panels.requirements import last_test, requirements
from reports.panels.services import services
from reports.panels.timeline import timeline
from reports.panels.verdict import subject, trouble, verdict
from reports.source import Source
from reports.text import Ids


def build(run: RunDir) -> Report:
    """Make the report of a run, whole or partial.

    Args:
        run: The run directory.

    Returns:
        Every panel for which the run has records. The same directory always gives an equal report.

    Raises:
        ReportError: When there is no such directory.
    """
    source = Source(run)
    ids = Ids()
    owners = Owners(source.topology)
    verdicts = requirements(source.results, ids, because(source.causes), last_test(source.events))
    lab_cards = labs(source.lab_steps, source.events, ids)
    problem = trouble(source)
    traced = paths(source.taps, owners, ids)
    route = next((pair for path in traced if (pair := _pods_of(path.ends, owners))), ())
    return Report(
        title=f"{subject(source.info)}: run {source.info.id}",
        verdict=verdict(source, verdicts, lab_cards, problem),
        trouble=problem,
        causes=causes(source.causes, verdicts),
        requirements=verdicts,
        diagram=diagram(source.topology, route),
        matrix=matrix(source.exchanges, owners, ids),
        load=load(source.observations),
        paths=traced,
        mtu=mtu(source.topology, source.rungs, source.results),
        dns=dns([one for one in source.lookups if one.batch == "B4"]),
        services=services(source.exchanges, owners),
        datapath=datapath(source.observations),
        policies=policies(source.observations, source.results, ids),
        labs=lab_cards,
        faults=faults(source.faults, ids),
        mutations=mutations(source.faults, source.census),
        timeline=timeline(source.events),
        environment=environment(source),
    )


def _pods_of(pair: tuple[str, ...], owners: Owners) -> tuple[str, ...]:
    """The two ends, when both are pods and on different nodes; else empty."""
    nodes = [owners.node_of_pod.get(name, "") for name in pair]
    return pair if len(pair) == 2 and all(nodes) and nodes[0] != nodes[1] else ()
