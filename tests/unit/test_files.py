"""Files that others must not see."""

from __future__ import annotations

from pathlib import Path

from harness.files import write_private


def test_a_secret_is_private_also_where_a_file_of_that_name_was_there(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
