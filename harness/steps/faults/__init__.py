"""Break a lab in known ways, and see which checks notice."""
