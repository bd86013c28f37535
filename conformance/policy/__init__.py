"""NetworkPolicy: what the API means, computed apart from any network, and the cases on which the suite tries it."""
