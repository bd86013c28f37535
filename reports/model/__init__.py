"""What a report shows, panel by panel: plain frozen data, ready to be laid out, with nothing left to decide.

Builders in `reports.panels` make these from the records of a run; `reports.html`, `junit`, `markdown`, `ctrf` and
`conformance_yaml` write them down. A panel that is `None` had nothing to show.
"""

from __future__ import annotations

from reports.model.causes import Because, CauseCard, Causes, Follower, Order, PathStep
from reports.model.common import EvidenceItem, Fact, Mark, Tone
from reports.model.names import Dns, LookupGroup, LookupRow, QueryStep, ServiceRow, Services, Share
from reports.model.network import (
    Axis,
    Cell,
    Diagram,
    LoadRow,
    Matrix,
    MatrixTab,
    NodeBox,
    OutsideBox,
    PairRow,
    PodBox,
    Station,
)
from reports.model.packets import (
    Decoded,
    FieldCell,
    Hop,
    Ladder,
    LayerRow,
    Mtu,
    MtuRow,
    PacketPath,
    PathSide,
    RungCell,
    Segment,
    TunnelSum,
)
from reports.model.page import Report
from reports.model.policy import Policies, PolicyCase, PolicyProblem, PolicyTable
from reports.model.practice import (
    CheckRow,
    Claim,
    FaultRow,
    Faults,
    LabCard,
    MutationCell,
    Mutations,
    Plot,
    Series,
    StepRow,
)
from reports.model.requirements import Area, LegRow, Requirement, Requirements
from reports.model.run import Bar, Environment, PinRow, Timeline
from reports.model.verdict import Count, Headline, LogTail, Trouble

__all__ = [
    "Area",
    "Axis",
    "Bar",
    "Because",
    "CauseCard",
    "Causes",
    "Cell",
    "CheckRow",
    "Claim",
    "Count",
    "Decoded",
    "Diagram",
    "Dns",
    "Environment",
    "EvidenceItem",
    "Fact",
    "FaultRow",
    "Faults",
    "FieldCell",
    "Follower",
    "Headline",
    "Hop",
    "LabCard",
    "Ladder",
    "LayerRow",
    "LegRow",
    "LoadRow",
    "LogTail",
    "LookupGroup",
    "LookupRow",
    "Mark",
    "Matrix",
    "MatrixTab",
    "Mtu",
    "MtuRow",
    "MutationCell",
    "Mutations",
    "NodeBox",
    "Order",
    "OutsideBox",
    "PacketPath",
    "PairRow",
    "PathSide",
    "PathStep",
    "PinRow",
    "Plot",
    "PodBox",
    "Policies",
    "PolicyCase",
    "PolicyProblem",
    "PolicyTable",
    "QueryStep",
    "Report",
    "Requirement",
    "Requirements",
    "RungCell",
    "Segment",
    "Series",
    "ServiceRow",
    "Services",
    "Share",
    "Station",
    "StepRow",
    "Timeline",
    "Tone",
    "Trouble",
    "TunnelSum",
]
