"""A Kubernetes control plane and kubelets on nodes: PKI, configuration, start-up, and the way to its API."""
