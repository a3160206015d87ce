"""What workers keep to be told: once, whatever the database does, and never in a training's way."""

from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from benchmarks.chaos import Quiet
from smart_tuner.repair.rule import Entry
from smart_tuner.store.leases import Leases
from smart_tuner.store.records import TrialRepairs
from smart_tuner.store.storage import open_storage
from smart_tuner.store.tables import OUTBOX
from studies.callbacks.telegram import RUNNING, Alerted, alerting, digest
from studies.file.spec import load
from studies.run.study import StudyGone, open_study, set_desired_state

REPAIR = Entry(
    "repair", 100, "poor_alignment", 5, 8, "seen", {"diagonal_score": 0.02}, action="guide the attention"
)


class Desk:
    def __init__(self, storage, workdir):
        self.storage, self.workdir, self.spec = storage, workdir, load("quickstart")
        self.study = open_study(self.spec, storage)
        self.uid = self.study.user_attrs["uid"]
        self.alerted = self.again()
        self.leases = Leases(storage.ours, self.uid)

    def again(self):
        return Alerted(Quiet(), self.study, self.workdir)

    def started(self, alerted=None):
        (alerted or self.alerted).trial_started(0, {}, None, 0)

    def kinds(self):
        with self.storage.ours.connect() as connection:
            payloads = connection.execute(select(OUTBOX.c.payload).order_by(OUTBOX.c.id)).scalars()
            return [payload["kind"] for payload in payloads]

    def rows(self):
        with self.storage.ours.connect() as connection:
            return list(connection.execute(select(OUTBOX.c.payload).order_by(OUTBOX.c.id)).scalars())


@pytest.fixture
def desk(some_url, tmp_path):
    with closing(open_storage(some_url)) as storage:
        yield Desk(storage, tmp_path)


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (REPAIR, "fix"),
        (replace(REPAIR, rule="divergence", level=3), "critical"),
        (replace(REPAIR, kind="verdict", verdict="improved", parent=1), "verdict"),
        (replace(REPAIR, kind="alarm", action="only reported: nothing is left"), "warning"),
        (replace(REPAIR, kind="alarm", action="waits for collapse, which is nearer to the cause"), None),
        (replace(REPAIR, kind="end", rule="integrity", level=1), "critical"),
        (replace(REPAIR, kind="end"), None),  # the trial's end tells it
    ],
)
def test_each_entry_is_told_as_what_it_is(desk, entry, kind):
    desk.started()
    desk.alerted.repaired(replace(entry, seq=2))
    assert desk.kinds() == ([kind] if kind else [])


def test_a_verdict_names_the_message_that_it_answers(desk):
    desk.started()
    desk.alerted.repaired(replace(REPAIR, seq=1))
    desk.alerted.repaired(replace(REPAIR, kind="verdict", verdict="harm", parent=1, seq=2))
    first, second = desk.rows()
    assert (second["answers"], second["facts"]["repair_step"]) == (first["name"], 100)


def test_what_an_attempt_died_with_is_told_by_the_next_one(desk):
    TrialRepairs(desk.storage, desk.uid, 0, "policy").add(REPAIR)
    desk.started()
    desk.started(desk.again())
    assert desk.kinds() == ["fix"]


def test_numbers_that_json_lacks_are_told_as_text(desk):
    desk.started()
    desk.alerted.repaired(replace(REPAIR, seq=1, evidence={"mel": float("nan")}))
    assert desk.rows()[0]["facts"]["evidence"] == {"mel": "nan"}


def test_while_the_database_is_away_all_waits_and_no_step_does(desk, monkeypatch):
    desk.started()
    monkeypatch.setattr("smart_tuner.notify.telegram.sender.put", away)
    for seq in (1, 2, 3):
        desk.alerted.repaired(replace(REPAIR, seq=seq))
    assert desk.kinds() == []
    monkeypatch.undo()
    desk.alerted._rows._away_until = 0.0
    desk.alerted.saving(100)
    assert desk.kinds() == ["fix"] * 3


def away(*_):
    raise OperationalError("SELECT 1", {}, Exception("gone"))


@pytest.mark.usefixtures("empty_url")  # on each backend
def test_a_start_and_an_end_are_told_once_by_however_many_workers(desk):
    both = [desk.again(), desk.again()]
    for alerted in both:
        alerted.begins()
    lease = desk.leases.bind(desk.leases.reserve(1), 0)
    both[0].ends("", "")
    assert desk.kinds() == ["study_start"]
    desk.leases.release(lease)
    set_desired_state(desk.study, "stop")
    for alerted in both:
        alerted.ends("", "")
    assert desk.kinds() == ["study_start", "study_stop"]
    assert desk.rows()[1]["facts"]["why"] == "stop"


def test_a_worker_that_has_done_its_part_ends_no_study(desk):
    desk.alerted.begins()
    desk.alerted.ends("", "")
    assert desk.kinds() == ["study_start"]


def test_a_resumed_study_goes_on(desk):
    desk.alerted.begins()
    desk.alerted.ends("signal", "")
    desk.again().begins()
    assert desk.kinds() == ["study_start", "study_stop", "study_start"]


def test_a_digest_comes_as_often_as_its_study_says_and_again_after_a_resume(desk, monkeypatch):
    desk.study.set_user_attr("spec", spec_with(desk.spec, digest_minutes=30).model_dump_json())
    lease = desk.leases.bind(desk.leases.reserve(3), 0)
    now, told = [1e9], []
    monkeypatch.setattr("studies.callbacks.telegram.time.time", lambda: now[0])
    for _ in range(2):
        alerted, begun = desk.again(), now[0]
        alerted.begins()
        monkeypatch.setattr(
            "smart_tuner.notify.telegram.state.Memory.age", lambda *_, since=begun: now[0] - since
        )
        for _ in range(7):
            digest(desk.storage, desk.workdir)
            now[0] += 600
        told.append(desk.kinds().count("digest"))
        alerted._memory.take(f"{RUNNING}{desk.uid}")
    assert told == [2, 4]
    desk.leases.release(lease)
    desk.alerted.begins()
    now[0] += 1e5
    digest(desk.storage, desk.workdir)
    assert desk.kinds().count("digest") == told[-1]  # nobody works on it


def test_without_a_wish_for_digests_none_comes(desk, monkeypatch):
    desk.leases.bind(desk.leases.reserve(3), 0)
    desk.alerted.begins()
    monkeypatch.setattr("smart_tuner.notify.telegram.state.Memory.age", lambda self, name: 1e6)
    digest(desk.storage, desk.workdir)
    assert desk.kinds() == ["study_start"]


def test_while_another_worker_begins_the_last_trial_no_end_is_told(desk):
    desk.alerted.begins()
    desk.leases.reserve(1)
    set_desired_state(desk.study, "stop")
    desk.alerted.ends("", "")
    assert desk.kinds() == ["study_start"]


def test_a_study_that_is_gone_is_told_as_gone(desk):
    desk.alerted.begins()
    with pytest.raises(StudyGone), alerting(Quiet(), desk.study, desk.workdir):
        raise StudyGone("deleted")
    assert desk.kinds() == ["study_start", "study_gone"]


def spec_with(spec, **notify):
    return spec.parse({**spec.model_dump(mode="json"), "notify": notify}, "a test")
