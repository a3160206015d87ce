"""A study file: read, checked, and turned into what Optuna draws from."""
