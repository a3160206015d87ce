import multiprocessing
import pickle

import optuna
import pytest
from optuna.testing.pytest_storages import StorageTestCase

from smart_tuner.store import StoreError, open_storage

QUEUED = 40


class TestOptunasOwnContract(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path):
        return open_storage(f"sqlite:///{tmp_path / 'study.db'}")


def take_all(url, taken):
    study = optuna.load_study(study_name="queue", storage=open_storage(url))
    while True:
        trial = study.ask()
        if "fixed_params" not in study.trials[trial.number].system_attrs:  # the queue is empty
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        taken.put(trial.suggest_int("number", 0, QUEUED))
        study.tell(trial, 0.0)


def test_no_queued_trial_is_run_twice(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(study_name="queue", storage=open_storage(url))
    for number in range(QUEUED):
        study.enqueue_trial({"number": number})
    context = multiprocessing.get_context("spawn")
    taken = context.Queue()
    workers = [context.Process(target=take_all, args=(url, taken)) for _ in range(3)]
    for worker in workers:
        worker.start()
    numbers = sorted(taken.get(timeout=120) for _ in range(QUEUED))
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0
    assert numbers == list(range(QUEUED))


def test_a_copied_storage_still_serialises(tmp_path):
    copy = pickle.loads(pickle.dumps(open_storage(f"sqlite:///{tmp_path / 'study.db'}")))
    with copy.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////proc/none/study.db", "strange://host/db"])
def test_what_cannot_be_opened_is_said_in_three_lines(url):
    with pytest.raises(StoreError) as error:
        open_storage(url)
    assert len(str(error.value).splitlines()) >= 3


def test_no_password_is_shown():
    with pytest.raises(StoreError) as error:
        open_storage("sqlite://user:secret{}word@/proc/none/study.db")
    assert "secret" not in str(error.value)
