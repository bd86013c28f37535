"""The conformance suite: requirements, judged from observations."""
