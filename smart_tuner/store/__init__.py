"""The database: Optuna's tables and ours, and who may run which trial."""
