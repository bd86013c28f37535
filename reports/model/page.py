"""The whole page."""

from __future__ import annotations

from dataclasses import dataclass

from reports.model.causes import Causes
from reports.model.datapath import DatapathNode
from reports.model.names import Dns, Services
from reports.model.network import Diagram, LoadRow, Matrix
from reports.model.packets import Mtu, PacketPath
from reports.model.policy import Policies
from reports.model.practice import Faults, LabCard, Mutations
from reports.model.requirements import Requirements
from reports.model.run import Environment, Timeline
from reports.model.verdict import Headline, Trouble


@dataclass(frozen=True)
class Report:
    """The whole page."""

    title: str
    verdict: Headline
    trouble: Trouble | None
    causes: Causes | None
    requirements: Requirements | None
    diagram: Diagram | None
    matrix: Matrix | None
    load: tuple[LoadRow, ...]
    paths: tuple[PacketPath, ...]
    mtu: Mtu | None
    dns: Dns | None
    services: Services | None
    datapath: tuple[DatapathNode, ...]
    policies: Policies | None
    labs: tuple[LabCard, ...]
    faults: Faults | None
    mutations: Mutations | None
    timeline: Timeline | None
    environment: Environment
