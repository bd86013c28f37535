"""The programs of a lab: pinned, found, fetched or built, and packed into images."""
