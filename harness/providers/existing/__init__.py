"""A cluster that nobody here built, reached through its kubeconfig: what may be done there, and what is put there.

Everything in this package is a pure function of what the API said. `harness.steps.existing.run` asks and acts.
"""
