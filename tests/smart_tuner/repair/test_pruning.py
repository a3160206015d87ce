import optuna
import pytest

from smart_tuner.repair.pruning import GRACE, VERDICT, GracePruner
from smart_tuner.store.storage import open_storage


class Always(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return True


@pytest.fixture
def trial(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, pruner=GracePruner(Always()))
    yield study.ask()
    storage.engine.dispose()


def test_without_a_repair_the_wrapped_pruner_decides(trial):
    trial.report(1.0, 100)
    assert trial.should_prune()


@pytest.mark.parametrize(("step", "pruned"), [(199, False), (200, True)])
def test_it_waits_until_the_repair_is_judged(trial, step, pruned):
    trial.set_user_attr(GRACE, 200)
    trial.report(1.0, step)
    assert trial.should_prune() == pruned


@pytest.mark.parametrize("written", ["soon", None, [1], {"step": 3}, [1, True], ["a", True, 0], 0.5])
def test_what_somebody_wrote_in_place_of_its_notes_is_no_note(trial, written):
    for key in (GRACE, VERDICT):
        trial.set_user_attr(key, written)
    trial.storage.set_trial_system_attr(trial._trial_id, "completed_rung_x", written)
    trial.report(1.0, 100)
    assert trial.should_prune()


def test_a_rung_passed_in_grace_is_judged_after_it(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    asha = optuna.pruners.SuccessiveHalvingPruner(min_resource=100, reduction_factor=2)
    study = optuna.create_study(storage=storage, direction="minimize", pruner=GracePruner(asha))
    for value in (1.0, 2.0, 3.0):
        good = study.ask()
        good.report(value, 100)
        good.should_prune()
        study.tell(good, value)
    repaired = study.ask()
    repaired.set_user_attr(GRACE, 150)
    repaired.report(9.0, 100)
    assert not repaired.should_prune()
    repaired.report(8.0, 150)
    assert repaired.should_prune()
    storage.engine.dispose()


def test_what_was_left_at_a_rung_stays(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    asha = optuna.pruners.SuccessiveHalvingPruner(min_resource=100, reduction_factor=3)
    study = optuna.create_study(storage=storage, direction="minimize", pruner=GracePruner(asha))
    trial = study.ask()
    for step, value in ((100, 5.0), (200, 4.0), (300, 3.0)):
        trial.report(value, step)
        assert not trial.should_prune()
    found = storage.get_trial(trial._trial_id)
    max_remedies = {key: value for key, value in found.system_attrs.items() if key.startswith("completed")}
    assert max_remedies == {"completed_rung_0": 5.0, "completed_rung_1": 3.0}
    assert found.user_attrs[VERDICT] == [300, False, 2]
    storage.close()


def test_a_verdict_is_written_only_where_a_rung_was_passed(trial, monkeypatch):
    monkeypatch.setattr(Always, "prune", lambda *_: False)
    trial.report(1.0, 100)
    assert not trial.should_prune()
    assert VERDICT not in trial.storage.get_trial(trial._trial_id).user_attrs
