from __future__ import annotations

import pytest

from harness import timeouts


@pytest.mark.parametrize(("factor", "wait", "cleaning"), [("0.05", 0.5, 10.0), ("1", 10.0, 10.0), ("4", 40.0, 40.0)])
def test_a_factor_stretches_all_deadlines_and_hurries_waits_alone(
    factor: str, wait: float, cleaning: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNILAB_TIMEOUT_SCALE", factor)
    assert timeouts.scaled(timeouts.PROCESS_EXIT) == pytest.approx(wait)
    assert timeouts.stretched(timeouts.PROCESS_EXIT) == pytest.approx(cleaning)
