"""Playbooks through ansible-runner, and the inventory of a lab."""
