"""The conformance suite's side of pytest."""
