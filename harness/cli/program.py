"""This program as a command, for who starts it once more: in a cluster's virtual machine, or for a cell of a matrix."""

from __future__ import annotations

import sys

ARGV = (sys.executable, "-P", "-m", "harness.cli.main")
"""Words before those of a user. -P: what is in the working directory is not imported."""

MODULES = (
    "harness.cli.commands.up",
    "harness.pytest_plugin.plugin",
    "harness.steps.suite.run",
    "harness.steps.labs.apply",
    "harness.providers.namespaces.bring_up",
)
"""What most of its commands import, and all that these import."""
