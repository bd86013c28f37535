"""B8 and B9: what a network does while it is disturbed on purpose. After all other batches, and never unasked."""
