from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Labs of this user, one of them in a virtual machine, in a directory whose name a shell would split."""
    place = tmp_path / "the state"
    monkeypatch.setenv("CNILAB_STATE", str(place))
    (place / "labs/far/vm").mkdir(parents=True)
    (place / "labs/near").mkdir()
    return place
