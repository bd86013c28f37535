"""Is this machine fit for a lab? Questions, the machine that is asked, and what follows from each answer."""
