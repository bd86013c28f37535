"""Nodes made of Linux namespaces on this machine: no Docker, no VM, no internet.

Each machine of a lab (nodes, router, the far host, the fabric) is one process tree below a `nodeinit` that is PID 1 of
its own namespaces. Nothing has a name on the host: when that process dies, the kernel takes everything back but the
cgroup directories and the state directory, and those are known before anything is started.
"""
