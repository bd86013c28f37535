"""Steps of a run: each takes a lab and a run directory, and leaves records."""
