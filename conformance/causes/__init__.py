"""Why requirements are not met: the rule, route, entry or file that is wrong, and what follows from it. Pure."""
