"""Providers make nodes."""
