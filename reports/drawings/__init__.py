"""Drawings: parts of the report's model in, inline SVG out. Equal data draws equal pictures."""
