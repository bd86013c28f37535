"""The pod network `cilium`, and its variants."""
