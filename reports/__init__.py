"""Reports: drawn from a run directory, and from it alone."""
