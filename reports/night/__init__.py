"""The report of a night: many run directories, their history, and what changed, as one page."""
