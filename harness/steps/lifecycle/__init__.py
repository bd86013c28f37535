"""A lab's life: bring it up, watch it, find it again, collect its evidence, report, take it down."""
