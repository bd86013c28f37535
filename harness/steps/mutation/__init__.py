"""The mutation table: all faults on all networks against all checks. Only `gather` reads files."""
