"""Where a component may come from, one module per source."""
