"""Is this machine fit for a cluster? Questions, the machine that is asked, and what follows from each answer."""
