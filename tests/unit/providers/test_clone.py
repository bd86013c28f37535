from __future__ import annotations

from pathlib import Path

from harness.providers.namespaces.provider import clone_tree


def test_a_clone_shares_what_never_changes_and_copies_databases(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "blobs").mkdir(parents=True)
    (source / "blobs/layer").write_text("layer")
    (source / "meta.db").write_text("database")
    target.mkdir()
    clone_tree(source, target)
    assert (target / "blobs/layer").stat().st_ino == (source / "blobs/layer").stat().st_ino
    assert (target / "meta.db").stat().st_ino != (source / "meta.db").stat().st_ino
    assert sorted(path.name for path in target.iterdir()) == ["blobs", "meta.db"]
