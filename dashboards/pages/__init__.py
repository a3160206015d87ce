"""The home page: studies as they run, and their voices."""
