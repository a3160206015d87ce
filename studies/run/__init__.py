"""Who runs the trials of a study, and what becomes of each."""
