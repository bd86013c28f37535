"""cnilab: a reproducible lab harness and conformance test suite for Kubernetes networking."""

from __future__ import annotations

__version__ = "0.1.0"
