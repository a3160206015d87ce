"""What ends a trial is the trial's fault, the machine's, or somebody else's doing: one worker, whose job is
made up, and once a real network."""

import errno
import math
import re
from contextlib import closing
from dataclasses import asdict, replace

import optuna
import pytest
import torch
from limits import files_of_at_most
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy import delete, select, update

from model import checkpoint
from objectives.attempt import Callback, Callbacks
from objectives.base import NonFinite
from objectives.quality import Yardstick
from objectives.trial import Interrupted, Unrepairable
from smart_tuner.store.leases import Leases, Renewal
from smart_tuner.store.loading import TRIALS
from smart_tuner.store.outage import DatabaseGone, Fenced, StorageLost
from smart_tuner.store.storage import open_storage
from smart_tuner.store.tables import LEASES, OUTBOX
from studies.callbacks.telegram import Telegram
from studies.callbacks.trackers import Trackers
from studies.file.spec import Spec, load
from studies.report.described import Described
from studies.run import worker
from studies.run.asking import ASKED, ask
from studies.run.ending import MachineFault, end_by
from studies.run.study import StudyError, StudyGone, open_study
from studies.run.tacotron2 import voices_of
from studies.run.training import plan_of, trials


class Heard(Callback):
    def __init__(self):
        self.warnings, self.ends = [], {}

    def warned(self, text):
        self.warnings.append(text)

    def ended(self, number, state, value, reason):
        self.ends[number] = (state, value, reason)


class Desk:
    """A study of three trials, and as many workers as work on it, one after the other."""

    def __init__(self, folder, **changes):
        self.folder, self.url = folder, f"sqlite:///{folder / 'study.db'}"
        data = load("quickstart").model_dump(mode="json") | {"name": "desk", "rules": {"mode": "off"}}
        data["budget"] |= {"trials": 3, "failures": 3}
        self.spec = Spec.parse(data | changes, "here")
        self.storage = open_storage(self.url)
        self.study = open_study(self.spec, self.storage)
        self.heard = Heard()

    def work(self, job, most=None):
        """By a worker that knows nothing of those before it."""
        study = open_study(self.spec, self.storage)
        at = worker.Worker(self.spec, study, job, self.folder / "desk", self.heard)
        at._leases = Leases(self.storage.ours, study.user_attrs["uid"])
        at.work(most)

    def notebook(self):
        """The study as its user opens it."""
        return optuna.load_study(study_name="desk", storage=self.url)

    def states(self):
        return [trial.state.name for trial in self.study.get_trials()]

    def reason(self, number):
        return self.study.get_trials()[number].user_attrs["reason"]

    def leases(self):
        with self.storage.ours.begin() as connection:
            return list(connection.execute(select(LEASES).order_by(LEASES.c.number)).mappings())


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    with closing(desk.storage):
        yield desk


def well(attempt):
    return 5.0 + attempt.trial.number


def broken_reads(count):
    """In place of Described.of: so many reads fail before one works."""
    left = [count]

    def read(study):
        if left[0]:
            left[0] -= 1
            raise StorageInternalError("server closed the connection")
        return Described("dB", (), (), {})

    return read


def test_a_moments_outage_between_two_trials_is_waited_for(desk, monkeypatch):
    def measured(attempt):
        attempt.trial.set_user_attr("measures", [{"step": 1, "value": 5.0}])
        return 5.0

    monkeypatch.setattr(Described, "of", broken_reads(1))
    desk.work(measured)
    assert desk.states() == ["COMPLETE"] * 3


class Lost(Heard):
    """Notes what an attempt was told at its end."""

    def __init__(self):
        super().__init__()
        self.told = []

    def left(self, end):
        self.told.append("left")

    def lost(self):
        self.told.append("lost")


def test_an_attempt_whose_trial_is_anothers_is_told_as_lost(desk):
    desk.heard = Lost()
    with pytest.raises(Interrupted):
        desk.work(raising(Interrupted(15)))

    def fenced_once(attempt):
        if desk.heard.told == ["left"]:
            raise Fenced("another one has it")
        return well(attempt)

    desk.work(fenced_once, 2)
    assert desk.heard.told[:3] == ["left", "lost", "left"]


def test_a_study_that_is_deleted_between_two_trials_is_told_as_gone_by_all_that_listen(desk):
    def last(attempt):
        optuna.delete_study(study_name="desk", storage=desk.url)
        return 1.0

    study = open_study(desk.spec, desk.storage)
    with (
        pytest.raises(StudyGone),
        Callbacks([Telegram(study, desk.folder), Trackers(study, desk.folder, print)]) as each,
    ):
        desk.heard = each
        desk.work(last)
    with desk.storage.ours.connect() as connection:
        rows = connection.execute(select(OUTBOX.c.payload).where(OUTBOX.c.key.startswith("study_"))).scalars()
        assert [row["kind"] for row in rows] == ["study_start", "study_gone"]


def raising(error, number=0):
    def job(attempt):
        if attempt.trial.number == number:
            raise error
        return well(attempt)

    return job


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        AssertionError("a bug"),
        KeyError("another"),
        SystemExit(1),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_fault_of_a_trial_costs_it_no_life_however_often_it_comes(desk, error):
    for _ in range(5):  # more often than a trial may lose its worker
        with pytest.raises(type(error)):
            desk.work(raising(error))
        [lease] = desk.leases()
        assert (lease["state"], lease["deaths"]) == ("released", 0)
    desk.work(well)
    assert desk.states() == ["COMPLETE"] * 3
    assert [lease["deaths"] for lease in desk.leases()] == [0, 0, 0]


def test_a_database_that_cannot_be_told_either_costs_no_life(desk):
    for _ in range(5):
        with pytest.raises(StorageLost):
            desk.work(raising(StorageLost("away for 600 s")))
        [lease] = desk.leases()
        assert (lease["state"], lease["deaths"]) == ("held", 0)
    desk.work(well)
    assert desk.states() == ["COMPLETE"] * 3


def test_a_database_that_is_lost_between_a_claim_and_its_attempt_costs_no_life(desk, monkeypatch):
    with pytest.raises(OSError):
        desk.work(raising(OSError(errno.ENOSPC, "full")))
    with monkeypatch.context() as broken:
        broken.setattr(worker.Worker, "_found", raising_lost)
        for _ in range(5):
            with pytest.raises(StorageLost):
                desk.work(well)
    desk.work(well)
    assert desk.states() == ["COMPLETE"] * 3
    assert [lease["deaths"] for lease in desk.leases()] == [0, 0, 0]


def raising_lost(*_):
    raise StorageLost("away for 600 s")


def test_a_folder_that_cannot_be_made_costs_no_life_either(desk):
    (desk.folder / "desk").write_text("in the way")
    for _ in range(2):
        with pytest.raises(OSError, match="Not a directory"):
            desk.work(well)
    (desk.folder / "desk").unlink()
    desk.work(well)
    assert [lease["deaths"] for lease in desk.leases()] == [0, 0, 0]


def test_a_broken_accelerator_is_told_in_words(desk):
    with pytest.raises(MachineFault, match=r"device-side assert\nIts trial goes on from its checkpoint"):
        desk.work(raising(torch.AcceleratorError("CUDA error: device-side assert\nand much more")))
    assert desk.leases()[0]["state"] == "released"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NonFinite(3, loss=math.nan, grad_norm=1.0), "step 3: loss is nan, gradient norm is 1"),
        (Unrepairable("the clips are silent"), "the clips are silent"),
        (MemoryError(), "it does not fit into memory: MemoryError"),
        (torch.OutOfMemoryError("CUDA out of memory."), "it does not fit into memory: CUDA out of memory."),
        (torch.AcceleratorError("CUDA error: out of memory\nmore"), "memory: CUDA error: out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "can't allocate memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when"), "CUBLAS_STATUS_ALLOC_FAILED"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_trial_that_is_too_large_or_unsound_is_failed_with_its_reason(error, reason):
    found = end_by(error)
    assert found is not None
    assert found[:2] == ("FAIL", None)
    assert reason in str(found[2])


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ValueError("out of memory"),
        RuntimeError("a bug"),
        StorageLost("The database has been away for 601 s.\nFATAL: out of memory"),
        DatabaseGone("FATAL: out of memory"),
    ],
)
def test_what_only_sounds_like_it_is_not_the_trials_fault(error):
    assert end_by(error) is None


def test_a_trials_own_fault_fails_it_and_the_study_goes_on(desk):
    desk.work(raising(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")))
    assert desk.states() == ["FAIL", "COMPLETE", "COMPLETE"]
    assert desk.reason(0) == "it does not fit into memory: cuDNN error: CUDNN_STATUS_ALLOC_FAILED"


def test_a_value_that_is_no_number_is_not_told(desk):
    desk.work(lambda attempt: math.nan if attempt.trial.number == 0 else well(attempt))
    assert desk.states() == ["FAIL", "COMPLETE", "COMPLETE"]
    assert desk.reason(0) == "its value is nan"


# Told from outside


def told(state, value=None):
    return lambda desk, number: desk.notebook().tell(number, value, state)


def deleted(desk, number):
    with desk.storage.engine.begin() as connection:
        table = TRIALS.number.table
        connection.execute(
            delete(table).where(TRIALS.number == number, TRIALS.study_id == desk.study._study_id)
        )


ENDS = {
    "failed": (told(TrialState.FAIL), ("FAIL", None, worker.ELSEWHERE)),
    "completed": (told(TrialState.COMPLETE, 7.5), ("COMPLETE", 7.5, worker.ELSEWHERE)),
}


@pytest.fixture(params=ENDS)
def end(request):
    """How somebody ends a trial, and what is then shown of it."""
    return ENDS[request.param]


def check_the_first_was_left(desk, shown):
    assert desk.heard.ends.get(0) == shown
    assert desk.heard.ends[1] == ("COMPLETE", 6.0, "")
    first = desk.study.get_trials()[0]
    assert (first.state.name, first.value) == shown[:2]
    assert {lease["state"] for lease in desk.leases()} == {"done"}


def test_an_end_that_somebody_tells_while_a_trial_is_trained_is_accepted(desk, end):
    by_somebody, shown = end

    def job(attempt):
        if attempt.trial.number == 0:
            by_somebody(desk, 0)
            attempt.trial.report(1.0, 1)
        return well(attempt)

    desk.work(job, 2)
    check_the_first_was_left(desk, shown)


def test_such_an_end_is_seen_with_the_next_renewal(desk, end, monkeypatch):
    monkeypatch.setattr(worker, "Renewal", lambda *given: Renewal(*given, seconds=0.01))
    by_somebody, shown = end

    def job(attempt):
        if attempt.trial.number == 0:
            by_somebody(desk, 0)
            while attempt.asked_to_stop() is None:
                pass
        return well(attempt)

    desk.work(job, 2)
    check_the_first_was_left(desk, shown)


def test_such_an_end_of_a_trial_that_was_decided_is_not_told_again(desk, end):
    by_somebody, shown = end

    def job(attempt):
        if attempt.trial.number == 0:
            by_somebody(desk, 0)
            return 9.0
        return well(attempt)

    desk.work(job, 2)
    check_the_first_was_left(desk, shown)


def test_such_an_end_of_a_trial_that_waits_for_a_worker_is_accepted(desk, end):
    by_somebody, shown = end
    with pytest.raises(OSError):
        desk.work(raising(OSError(errno.ENOSPC, "full")))
    by_somebody(desk, 0)
    half = desk.folder / "desk" / "trial-0000" / "ckpt-00000003.tmp"
    half.mkdir()
    desk.work(well, 1)
    check_the_first_was_left(desk, shown)
    assert not half.exists()


def test_an_end_that_another_worker_has_accepted_already_is_left_to_it(desk):
    """As when this one was asleep for long."""

    def job(attempt):
        if attempt.trial.number == 0:
            desk.notebook().tell(0, 7.5)
            with desk.storage.ours.begin() as connection:
                connection.execute(update(LEASES).values(attempt_uid="another", state="done"))
            attempt.trial.report(1.0, 1)
        return well(attempt)

    desk.work(job, 2)
    check_the_first_was_left(desk, ("COMPLETE", 7.5, worker.ELSEWHERE))


def test_a_trial_that_somebody_deletes_is_left_and_counts(desk):
    """Optuna gives its number to the next one."""
    gone = []

    def job(attempt):
        if not gone:
            gone.append(attempt.trial._trial_id)
            deleted(desk, attempt.trial.number)
            attempt.trial.report(1.0, 1)
        return well(attempt)

    desk.work(job)
    assert "trial 0 was deleted by somebody else; going on without it" in desk.heard.warnings
    assert desk.states() == ["COMPLETE"] * 2
    assert [lease["state"] for lease in desk.leases()] == ["done"] * 3


def test_a_study_whose_numbers_are_given_twice_after_a_deletion_is_refused(desk):
    desk.work(well, 2)
    deleted(desk, 0)
    with pytest.raises(StudyError, match=r"the number 1, which another one has: trials were deleted"):
        desk.work(well)


def test_a_trial_that_a_notebook_runs_is_the_notebooks(desk):
    notebook = desk.notebook()
    theirs = notebook.ask()
    theirs.suggest_float("learning_rate", 1e-3, 8e-3, log=True)
    desk.work(well, 2)
    assert desk.states() == ["RUNNING", "COMPLETE", "COMPLETE"]
    notebook.tell(theirs, 1.25)
    desk.work(well)
    assert desk.states() == ["COMPLETE"] * 3
    assert desk.study.best_value == 1.25


@pytest.mark.parametrize("queued", [True, False])
def test_a_trial_that_a_worker_asked_for_and_left_is_taken_up(desk, queued):
    if queued:
        desk.study.enqueue_trial({"batch_size": 8})
    Leases(desk.storage.ours, desk.study.user_attrs["uid"]).reserve(3)
    assert ask(desk.study).number == 0  # and dies before it says so
    desk.work(well)
    assert desk.states() == ["COMPLETE"] * 3


def test_a_queued_trial_that_a_notebook_took_first_is_the_notebooks(desk):
    desk.study.enqueue_trial({"batch_size": 8})
    theirs = desk.notebook().ask()
    assert not desk.storage.begin_waiting(theirs._trial_id, ASKED)  # as a worker that saw it waiting
    desk.work(well, 2)
    assert desk.states() == ["RUNNING", "COMPLETE", "COMPLETE"]


def test_a_queued_trial_that_somebody_ended_is_passed_over(desk):
    desk.study.enqueue_trial({"batch_size": 8})
    desk.study.enqueue_trial({"batch_size": 16})
    waiting = desk.study.get_trials()[0]
    desk.storage.set_trial_state_values(waiting._trial_id, TrialState.FAIL)
    asked = ask(desk.study)
    assert (asked.number, asked._cached_frozen_trial.system_attrs["fixed_params"]) == (1, {"batch_size": 16})


# With a real network


GIVEN = {
    "learning_rate": [0.5, "0.002", math.nan, None],
    "batch_size": [9, "8"],
    "guided_attention_weight": [0.3, True],
    "learning_rte": [0.002],
}


@pytest.fixture
def real(tmp_path, corpus):
    """Trials of a tiny network, of a few steps each."""
    objective = load("quickstart").model_dump(mode="json")["objective"]
    objective |= {"steps": 9, "measure_every": 9, "checkpoint_every": 1, "sentences": 2}
    desk = Desk(
        tmp_path,
        model={"size": "tiny"},
        objective=objective | {"draws": 1, "speak": "abc"},
        pruner={"name": "none"},
        training={"precision": "fp32"},
    )
    desk.study.set_user_attr("yardstick", asdict(Yardstick(1.0, 1.0)))  # nothing is measured here
    voices = voices_of(desk.spec, desk.study, (), corpus, desk.heard.warned)
    desk.job = trials(desk.spec, desk.study, voices, plan_of(desk.spec), "cpu", desk.heard)
    with closing(desk.storage):
        yield desk


@pytest.mark.parametrize("given", [{"mel_scale": 100.0}, {"mel_mean": 20.0, "mel_scale": 0.5}])
def test_a_network_that_takes_mels_for_others_is_refused_before_a_trial(tmp_path, corpus, given):
    desk = Desk(tmp_path, model={"size": "tiny"} | given)
    with closing(desk.storage), pytest.raises(StudyError, match="mel_scale") as refused:
        voices_of(desk.spec, desk.study, (), corpus, desk.heard.warned)
    assert "give about these numbers" in str(refused.value)


def stopped(attempt):
    """After one step."""
    return replace(attempt, asked_to_stop=lambda: 0)


def test_a_limit_on_files_ends_the_worker_again_and_again_and_costs_nothing(real):
    """SQLite's own files stay below it; the checkpoint of the network does not."""
    with pytest.raises(Interrupted):
        real.work(lambda attempt: real.job(stopped(attempt)))
    for _ in range(2):
        with files_of_at_most(1_000_000), pytest.raises(OSError) as raised:
            real.work(real.job)
        assert raised.value.errno == errno.EFBIG
        [kept] = real.folder.rglob("ckpt-*")
        assert checkpoint.step_of(kept) == 1
        checkpoint.verify(kept)
    with pytest.raises(Interrupted):
        real.work(lambda attempt: real.job(stopped(attempt)))
    assert [path.name for path in sorted(real.folder.rglob("ckpt-*"))] == ["ckpt-00000001", "ckpt-00000002"]
    assert real.leases()[0]["deaths"] == 0


def test_a_trial_that_goes_on_elsewhere_says_that_its_bits_may_differ(real):
    def said():
        with pytest.raises(Interrupted):
            real.work(lambda attempt: real.job(stopped(attempt)))
        return [text for text in real.heard.warnings if "bit for bit" in text]

    assert said() == said() == []
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)  # sums are divided otherwise
        [told] = said()
    finally:
        torch.set_num_threads(threads)
    there, here = (f"({count} thread{'s' * (count > 1)}) with torch " for count in (threads, threads + 1))
    assert re.match(f"goes on from a checkpoint made on CPU .*{re.escape(there)}.*{re.escape(here)}", told)
    [newest] = [path for path in real.folder.rglob("ckpt-*") if checkpoint.step_of(path) == 3]
    assert torch.load(newest / "training.pt", weights_only=True)["origin"]["precision"] == "fp32"


def test_values_that_no_trial_can_run_fail_their_trial_which_says_them_and_their_limits(real):
    for name, values in GIVEN.items():
        for value in values:
            real.study.enqueue_trial({name: value})
    real.study.enqueue_trial({"learning_rate": 0.002, "batch_size": 8.0})
    count = len(real.study.get_trials())
    real.spec = real.spec.with_changes(count, None)
    with pytest.raises(Interrupted):
        real.work(lambda attempt: real.job(stopped(attempt)))
    assert real.states() == ["FAIL"] * (count - 1) + ["RUNNING"]
    taken = real.study.get_trials()[-1].user_attrs["settings"]["batch_size"]
    assert (taken, type(taken)) == (8, int)
    said = [real.reason(number) for number in range(count - 1)]
    assert said[0] == "it was given learning_rate = 0.5, which must be a number from 0.001 to 0.008"
    assert said[4] == "it was given batch_size = 9, which must be one of 8, 16"
    assert said[6].endswith(
        "guided_attention_weight = 0.3, which must be a number from 0.0 to 4.0 in steps of 0.5"
    )
    assert said[8].startswith(
        "it was given learning_rte; the study's parameters are learning_rate, batch_size,"
    )
