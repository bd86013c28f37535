"""The conformance suite on a cluster: its pods are deployed, batches observed, and observations judged."""
