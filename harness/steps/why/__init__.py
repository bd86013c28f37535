"""Why packets do not arrive, or arrive otherwise than they should: one flow of a running cluster."""
