"""Pause, stop and resume, said from anywhere while a worker trains, waits between trials or lingers."""

import time
from contextlib import closing
from functools import partial
from itertools import count

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

import run_study
from benchmarks.chaos import Warnings, toy_spec
from objectives.trial import Interrupted
from smart_tuner.store import leases
from smart_tuner.store.storage import open_storage
from smart_tuner.store.tables import LEASES
from studies.commands.chat import StudyCommands
from studies.run import worker
from studies.run.study import open_study, set_desired_state

TRIALS, STEPS = 2, 2
NAMES = count()
WORD = st.tuples(st.sampled_from(["terminal", "chat"]), st.sampled_from(["pause", "stop", "resume"]))
WORDS = st.lists(WORD, max_size=2)  # said between two renewals
SCRIPT = st.lists(WORDS, min_size=1 + TRIALS * STEPS, max_size=1 + TRIALS * STEPS)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("words")


@pytest.fixture(scope="module")
def storage(workdir):
    with closing(open_storage(f"sqlite:///{workdir / 'study.db'}")) as storage:
        yield storage


@pytest.fixture(autouse=True, scope="module")
def soon():
    """Renewals, and looks of a worker that lingers, come at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "Renewal", partial(leases.Renewal, seconds=0.005))
        patch.setattr(worker, "LINGER_SECONDS", 0.05)
        yield


class Study:
    """A study whose trials take so many steps, before each of which something is said and heard."""

    def __init__(self, storage, workdir, script, linger=False):
        self.storage, self.workdir, self.script = storage, workdir, iter(script)
        self.spec = toy_spec(TRIALS, f"words-{next(NAMES)}")
        self.study = open_study(self.spec, storage)
        self.uid = self.study.user_attrs["uid"]
        self.chat = StudyCommands(storage, workdir, lambda *_: {}, 100)
        self.steps = 0
        self.worker = worker.Worker(
            self.spec, self.study, self.job, workdir / self.spec.name, Warnings(), linger
        )

    def say(self, words):
        for place, word in words:
            if place == "chat":
                self.chat.change(word, self.uid)
            elif word == "resume":  # the command would go on to work itself
                set_desired_state(self.study, "run")
            else:
                place = ["--storage", f"sqlite:///{self.workdir / 'study.db'}", "--home", str(self.workdir)]
                assert run_study.main([*place, word, self.spec.name]) == 0

    def beat(self, number):
        with self.storage.ours.begin() as connection:
            mine = LEASES.c.study_uid == self.uid, LEASES.c.number == number
            return connection.execute(select(LEASES.c.beat).where(*mine)).scalar()

    def job(self, attempt):
        for _ in range(STEPS):
            self.say(next(self.script))
            before = self.beat(attempt.trial.number)
            while self.beat(attempt.trial.number) < before + 2:  # a renewal that began after it was said
                time.sleep(0.002)
            self.steps += 1
            if attempt.asked_to_stop() is not None:
                raise Interrupted(0)
        return 1.0

    def work(self):
        """How it ended: with a trial that was saved, or not."""
        self.say(next(self.script))
        try:
            self.worker.work()
        except Interrupted:
            return "saved"
        return "ended"


def expected(script):
    """How a worker ends, after how many steps: the last word counts, and only `stop` ends a trial."""
    script, steps, desired_state = iter(script), 0, "resume"
    desired_state = ([desired_state] + [word for _, word in next(script)])[-1]
    for _ in range(TRIALS):
        if desired_state != "resume":
            return "ended", steps
        for _ in range(STEPS):
            desired_state = ([desired_state] + [word for _, word in next(script)])[-1]
            steps += 1
            if desired_state == "stop":
                return "saved", steps
    return "ended", steps


@settings(max_examples=8)
@given(SCRIPT)
@example([[], [], [("terminal", "stop")], [], []])
@example([[], [("terminal", "pause")], [("chat", "resume")], [("chat", "pause")], [("terminal", "stop")]])
@example([[], [("terminal", "stop"), ("chat", "resume")], [], [], []])
def test_the_last_word_counts_and_is_heard_within_a_renewal(storage, workdir, script):
    study = Study(storage, workdir, script)
    assert (study.work(), study.steps) == expected(script)
    states = leases.Leases(storage.ours, study.uid).counts()
    assert states.get("released", 0) == (expected(script)[0] == "saved")
    assert "held" not in states


@pytest.mark.parametrize("word", ["pause", "stop"])
def test_a_worker_that_waits_for_others_hears_it(storage, workdir, word):
    study = Study(storage, workdir, [[]], linger=True)
    for number in range(TRIALS):  # that another worker runs
        other = leases.Leases(storage.ours, study.uid, {**leases.this_process(), "boot": "another machine"})
        other.bind(other.reserve(TRIALS), number)
    counts, looks = study.worker._leases.counts, count()

    def counted():
        if next(looks) == 4:
            study.say([("chat", word)])
        return counts()

    study.worker._leases.counts = counted
    assert study.work() == "ended"
    assert next(looks) < 9
