"""Pruning of a trial that rules watch."""

from optuna import Study
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

GRACE = "grace_until"  # user attribute of a trial: the step at which its newest repair is judged


class GracePruner(BasePruner):
    """Lets another pruner wait while a repair shows its effect; then that one judges the newest value."""

    def __init__(self, wrapped_pruner: BasePruner) -> None:
        self._wrapped_pruner = wrapped_pruner

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        if (trial.last_step or 0) < trial.user_attrs.get(GRACE, 0):
            return False
        return self._wrapped_pruner.prune(study, trial)
