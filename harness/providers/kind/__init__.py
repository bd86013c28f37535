"""Nodes that are containers, made by the real kind on a Docker engine.

kind makes the cluster, with kubeadm, on a Docker network that belongs to the lab. Beside its nodes the network has a
router, a container too, which plays the outside world as in every lab. All that exists is found again by its labels, or
by the network that it is on.
"""
