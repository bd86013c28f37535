"""The tests of the lab's own Go programs, by the go command."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from harness import resources

GO = shutil.which("go")
MODULES = ("nodeinit", "responder")


@pytest.mark.skipif(GO is None, reason="go is not on PATH")
@pytest.mark.parametrize("module", MODULES)
def test_its_own_tests_pass(module: str) -> None:
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    # `go test` vets what it compiles.
    done = subprocess.run(
        (str(GO), "test", "./..."),
        cwd=resources.root() / "components" / module,
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_program_that_has_tests_is_among_them() -> None:
    components = resources.root() / "components"
    assert {path.relative_to(components).parts[0] for path in components.rglob("*_test.go")} == set(MODULES)
