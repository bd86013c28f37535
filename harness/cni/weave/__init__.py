"""The pod network `weave`."""
