from __future__ import annotations

from pathlib import Path

import pytest

from harness.model.run import RunDir
from tests.unit.reports import sample


@pytest.fixture
def full(tmp_path: Path) -> RunDir:
    return sample.write(tmp_path / sample.RUN_ID)


@pytest.fixture
def explained(tmp_path: Path) -> RunDir:
    return sample.write_explained(tmp_path / sample.RUN_ID)


@pytest.fixture
def partial(tmp_path: Path) -> RunDir:
    return sample.write_partial(tmp_path / sample.RUN_ID)
