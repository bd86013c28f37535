"""Many cells of a matrix: planned, run one after the other, and one report of all."""
