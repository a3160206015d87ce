"""Studies: what to search, and who runs which trial."""
