"""From one pod network to another on the same nodes, without a trace of the first."""
