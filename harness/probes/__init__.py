"""Probes observe: pods, nodes, the router, the wire and the kernel."""
