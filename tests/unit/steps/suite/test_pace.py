"""How long a batch of probes may take."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import timeouts
from harness.probes.plan import LookupProbe, Prober
from harness.runner import HostRunner
from harness.steps.suite.observe import DEADLINES, Pace, probe

AGENT = '#!/bin/sh\nd=${0%/*}\ncat > "$d/plan.json"\n'


@pytest.mark.parametrize("scale", [1, 4])
def test_a_batch_is_stretched_once(scale: int, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    agent.write_text(AGENT)
    agent.chmod(0o755)
    site = Prober("n1", "n1", "10.0.0.1", HostRunner(), str(agent))
    suite: Any = SimpleNamespace(sites={"n1": site})
    with timeouts.paced(scale):
        probe(suite, {"n1": [LookupProbe("a.")]}, "B1", Pace())
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["deadline_ms"] == scale * DEADLINES["B1"] * 1000
