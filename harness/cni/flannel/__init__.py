"""The pod network `flannel`, and its variants."""
