"""What workers keep to be told: once, whatever the database does, and never in a training's way."""

import uuid
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from smart_tuner.notify.telegram import messages
from smart_tuner.notify.telegram.messages import message
from smart_tuner.repair import words
from smart_tuner.repair.autofix import GivenUp
from smart_tuner.repair.rule import Entry
from smart_tuner.repair.words import REPORTED
from smart_tuner.store.leases import Leases
from smart_tuner.store.records import TrialRepairs
from smart_tuner.store.storage import open_storage
from smart_tuner.store.tables import OUTBOX
from studies.callbacks.telegram import RUNNING, Telegram, digest
from studies.file.spec import load
from studies.run.study import StudyGone, open_study, set_desired_state

REPAIR = Entry(
    "repair", 100, "stuck_attention", 5, 7, "rests", {"dwell": 0.8, "focus": 0.9}, action="guide_harder"
)


class Desk:
    def __init__(self, storage, workdir):
        self.storage, self.workdir, self.spec = storage, workdir, load("quickstart")
        self.study = open_study(self.spec, storage)
        self.uid = self.study.user_attrs["uid"]
        self.alerted = self.again()
        self.leases = Leases(storage.ours, self.uid)

    def again(self):
        return Telegram(self.study, self.workdir)

    def started(self, alerted=None):
        begun = SimpleNamespace(attempt=SimpleNamespace(trial=SimpleNamespace(number=0)))
        (alerted or self.alerted).started(begun)

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
        (replace(REPAIR, kind="alarm", action="reported_nothing_left"), "warning"),
        (replace(REPAIR, kind="alarm", action="waits_for_cause"), None),
        (replace(REPAIR, kind="end", rule="integrity", level=1), "critical"),
        (replace(REPAIR, kind="end"), None),  # the trial's end tells it
    ],
)
def test_each_entry_is_told_as_what_it_is(desk, entry, kind):
    desk.started()
    desk.alerted.repaired(replace(entry, seq=2))
    assert desk.kinds() == ([kind] if kind else [])


def test_a_row_carries_the_words_that_it_uses_and_no_others(desk):
    """Also those of a study's own rules, which its first worker notes when it already listens."""
    own = {"rule.rushing": ["rushed", "спешка"], "rushing.fast": ["too fast", "слишком быстро"]}
    desk.started()
    desk.study.set_user_attr("words", {**own, "rule.other": ["x", "y"], "measure.dwell": ["time", "время"]})
    seen = replace(
        REPAIR, rule="rushing", reason="fast", evidence={}, before={"dwell/a": 1.0}, after={"dwell/a": 2.0}
    )
    desk.alerted.repaired(replace(seen, seq=1))
    [row] = desk.rows()
    assert row["facts"]["words"] == own | {"measure.dwell": ["time", "время"]}
    assert "Почему: слишком быстро" in message("fix", "ru", row["facts"])


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


def test_a_worker_that_finds_nothing_to_do_tells_nothing(desk):
    for number in range(desk.spec.budget.trials):
        desk.leases.close(desk.leases.bind(desk.leases.reserve(100), number))
    with desk.again():
        pass
    assert desk.kinds() == []


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
            "smart_tuner.notify.telegram.state.ChatState.age", lambda *_, since=begun: now[0] - since
        )
        for _ in range(7):
            digest(desk.storage, desk.workdir)
            now[0] += 600
        told.append(desk.kinds().count("digest"))
        alerted._chat_state.take(f"{RUNNING}{desk.uid}")
    assert told == [2, 4]
    desk.leases.release(lease)
    desk.alerted.begins()
    now[0] += 1e5
    digest(desk.storage, desk.workdir)
    assert desk.kinds().count("digest") == told[-1]  # nobody works on it


def test_without_a_wish_for_digests_none_comes(desk, monkeypatch):
    desk.leases.bind(desk.leases.reserve(3), 0)
    desk.alerted.begins()
    monkeypatch.setattr("smart_tuner.notify.telegram.state.ChatState.age", lambda self, name: 1e6)
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
    with pytest.raises(StudyGone), desk.again():
        raise StudyGone("deleted")
    assert desk.kinds() == ["study_start", "study_gone"]


def spec_with(spec, **notify):
    return spec.parse({**spec.model_dump(mode="json"), "notify": notify}, "a test")


NASTY = [
    "waits for ",
    "behind the other trials",
    "only reported: {x}",
    "{",
    "",
    "NaN",
    "kept",
    "trouble {step}",
]
ENTRIES = [
    REPAIR,
    replace(REPAIR, rule="divergence", level=3, reason="leapt", evidence={"usual": 1.0, "steps": 5}),
    replace(REPAIR, kind="verdict", verdict="harm", action="undone", parent=1),
    *(replace(REPAIR, kind="alarm", action=code) for code in [*sorted(REPORTED), "waits_for_cause"]),
    replace(REPAIR, kind="end", action="nothing_left", action_values={"tried": 4, "redone": 9, "most": 12}),
]


def decided(workdir):
    """All that is decided of a made-up study, and the Russian of all that is told of it."""
    with closing(open_storage(f"sqlite:///{workdir / uuid.uuid4().hex}.db")) as storage:
        desk = Desk(storage, workdir)
        alerted, trial = desk.again(), desk.study.ask()
        desk.started(alerted)
        repairs = TrialRepairs(storage, desk.uid, 0, "policy")
        for entry in ENTRIES:
            alerted.repaired(repairs.add(entry))
        why = GivenUp("PRUNED", ENTRIES[-1]).reason
        for name, value in (("reason", why.text), ("ended", why.record()), ("ended_by", {"rule": why.rule})):
            trial.set_user_attr(name, value)
        desk.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        alerted.ended(0, "PRUNED", None, why.text)
        rows = desk.rows()
        told = [message(row["kind"], "ru", row["facts"]) for row in rows]
        decisions = [
            {name: row[name] for name in ("kind", "group", "name", "answers", "trial")} for row in rows
        ]
        return decisions, told, [row["facts"] for row in rows if row["kind"] == "advice"]


@given(st.randoms(use_true_random=False))
@settings(max_examples=5)
def test_whatever_the_english_sentences_are_the_same_is_decided_and_told_in_russian(tmp_path_factory, chance):
    def other(catalogue):
        return {key: (chance.choice(NASTY), said[1]) for key, said in catalogue.items()}

    plain = decided(tmp_path_factory.mktemp("plain"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "BUILT_IN", other(words.BUILT_IN))
        patch.setattr(words.ENGLISH, "_known", words.BUILT_IN)
        patch.setattr(messages, "PHRASES", other(messages.PHRASES))
        assert decided(tmp_path_factory.mktemp("other")) == plain
    kinds = [row["kind"] for row in plain[0]]
    assert kinds == ["fix", "critical", "verdict", *["warning"] * len(REPORTED), "trial_bad", "advice"]
