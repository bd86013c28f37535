"""One module per panel: records in, what the page shows out. Pure functions, no files, no clock."""
