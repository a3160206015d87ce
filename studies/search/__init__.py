"""Which trial of a search is trained next."""
