"""Labs: chosen for the cluster at hand, applied, run step by step, and judged."""
