"""What a worker has sent to a chat: rows in the outbox, so that no step waits."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import optuna

from objectives.attempt import Callback, Start
from objectives.progress import ALIGNMENT, SAMPLE
from objectives.trial import Interrupted
from smart_tuner.notify.outbox import Payload
from smart_tuner.notify.telegram import sender
from smart_tuner.notify.telegram.state import ChatState
from smart_tuner.notify.tracking import milliseconds
from smart_tuner.repair.rule import Entry, in_force
from smart_tuner.repair.words import REPORTED, Catalogue
from smart_tuner.store.leases import Leases
from smart_tuner.store.outage import UNREACHABLE, Patient, StorageLost
from smart_tuner.store.records import repairs_of, storable
from smart_tuner.store.storage import Storage
from studies.file.spec import Spec, SpecError
from studies.report import advice, facts, history
from studies.report.described import words_of
from studies.report.facts import Facts
from studies.run.folders import trial_folder
from studies.run.study import (
    StudyError,
    StudyGone,
    TooManyFailures,
    desired_state,
    load_study,
    name_of,
    rdb,
    stored_spec,
    under_its_name,
)

HARD_LEVELS = range(1, 5)  # of rules: what they see ends a run unless it is mended
RUNNING = "running:"  # of a study by its uid: its start was told, and its end was not


class Telegram(Callback):
    """What a worker has told to a chat; at its start and end the chat is told of the study."""

    def __init__(self, study: optuna.Study, workdir: Path) -> None:
        self._study, self._workdir = study, workdir
        self._engine, self._uid = rdb(study).ours, study.user_attrs["uid"]
        self._spec, self._leases = stored_spec(study), Leases(self._engine, self._uid)
        self._rows, self._chat_state = Rows(study, self._spec, workdir), ChatState(self._engine)
        self._trial: int | None = None
        self._steps: dict[int, int] = {}  # of the trial's repairs, by their numbers

    def __enter__(self) -> Self:
        with suppress(*UNREACHABLE):
            self.begins()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(*UNREACHABLE, KeyError):
            if isinstance(error, StudyGone):
                self.gone()
            self.ends(*_why(error))

    # The study

    def begins(self) -> None:
        """Where there is something to do. Raises what the database raises."""
        if not self._left(self._leases.counts()):
            return
        if self._chat_state.once(f"{RUNNING}{self._uid}", self._spec.notify.digest_minutes):
            done, budget = history.started(self._study), self._spec.budget.trials
            told = {"done": done, "budget": budget, "searched": list(self._spec.space)}
            self._rows.tell("study_start", None, _now(), told)

    def ends(self, why: str, detail: str) -> None:
        """Where no other worker goes on. Raises what the database raises."""
        self._rows.flush()
        leases = self._leases.counts()
        wanted, left = desired_state(self._study), self._left(leases)
        stopped = why or (wanted if wanted != "run" else "")
        if history.is_worked_on(leases) or (left and not stopped):
            return  # others work on it, or this worker has only done its part
        if self._chat_state.take(f"{RUNNING}{self._uid}") is None:
            return
        told = facts.of_study(self._study, self._spec)
        if left or why == "failures":
            resume = f"run_study.py resume {self._study.study_name}"
            told |= {"why": stopped, "detail": detail, "command": resume}
            self._rows.tell("study_stop", None, _now(), told)
        else:
            self._rows.tell("study_end", None, _now(), told)
        sender.due_now(self._engine, sender.channel(self._workdir), "held")

    def _left(self, leases: Mapping[str, int]) -> bool:
        return history.left_to_do(self._study, self._spec, leases)

    def gone(self) -> None:
        """Deleted or renamed. Raises what the database raises."""
        if self._chat_state.take(f"{RUNNING}{self._uid}") is not None:
            self._rows.tell("study_gone", None, _now(), {})

    # The trials

    def started(self, start: Start) -> None:
        self._trial, self._steps = start.attempt.trial.number, {}
        with suppress(*UNREACHABLE):  # of an attempt before, which may have died before it was told
            for entry in in_force(e for _, e in repairs_of(self._engine, self._uid, self._trial)):
                self._keep(entry)
        self._rows.flush_if_reachable()

    def ended(self, number: int, state: str, value: float | None, reason: str) -> None:
        self._rows.flush()
        if state == "COMPLETE":
            if (best := facts.of_new_best(self._study, number)) is not None:
                self._tell_best(number, best)
            return
        bad = facts.of_bad_end(self._study, number, state, reason)
        self._rows.tell("trial_bad", number, f"{number}", bad, group="all")
        if (rule := bad["rule"]) and (told := advice.advice(self._study, rule)) is not None:
            self._rows.tell("advice", None, f"{number}", told, group=rule)

    def repaired(self, entry: Entry) -> None:
        self._keep(entry)
        self._rows.flush_if_reachable()

    def saving(self, step: int) -> None:
        self._rows.flush_if_reachable()

    # What becomes a row

    def _keep(self, entry: Entry) -> None:
        """What a repair, a verdict, an alarm or an end becomes, if anything."""
        number, name = self._trial, f"{self._trial}-{entry.seq}"
        assert number is not None
        self._steps[entry.seq] = entry.step
        told = facts.of_entry(entry)
        hard = entry.level in HARD_LEVELS
        picture = [("photo", self._folder(number) / entry.picture)]
        if entry.kind == "repair" or (entry.kind == "end" and hard):
            kind, group = ("critical", entry.rule) if hard else ("fix", f"{number}-{entry.rule}")
            self._rows.add(kind, number, name, told, group, picture)
        elif entry.kind == "verdict" and entry.verdict != "eased":  # another one comes
            repair = f"{number}-{entry.parent}"
            told["repair_step"] = self._steps.get(entry.parent or 0)
            self._rows.add("verdict", number, name, told, "", picture, answers=repair)
        elif entry.kind == "alarm" and entry.action in REPORTED:
            self._rows.add("warning", number, name, told, f"{number}-{entry.rule}", picture)

    def _tell_best(self, number: int, best: Facts) -> None:
        sound, picture = self._folder(number) / SAMPLE, self._folder(number) / ALIGNMENT
        best["sound"] = sound.is_file()
        self._rows.tell(
            "best", number, f"{number}", best, "all", files=[("voice", sound), ("photo", picture)]
        )

    def _folder(self, number: int) -> Path:
        return trial_folder(self._workdir / "studies" / self._study.study_name, number)


def _why(error: BaseException | None) -> tuple[str, str]:
    """Why a worker stops, as the catalogue names it, and a detail; empty where it came to its end."""
    if isinstance(error, Interrupted):
        return ("signal" if error.signal else ""), ""  # else somebody asked for it
    if isinstance(error, TooManyFailures):
        return "failures", ""
    if isinstance(error, StorageLost):
        return "lost", ""
    if isinstance(error, Exception) and not isinstance(error, StudyGone):
        return "fault", type(error).__name__
    return "", ""


class Rows(Patient):
    """What is to be told of a study; while the database is away all waits here."""

    def __init__(self, study: optuna.Study, spec: Spec, workdir: Path) -> None:
        self._study, self._notify, self._workdir = study, spec.notify, workdir
        self._engine, self._uid = rdb(study).ours, study.user_attrs["uid"]
        self._channel = sender.channel(workdir)
        self._waiting: list[Payload] = []

    def tell(
        self, kind: str, trial: int | None, name: str, told: Facts, group: str = "", **more: Any
    ) -> None:
        """Raises what the database raises."""
        self.add(kind, trial, name, told, group, **more)
        self.flush()

    def add(
        self,
        kind: str,
        trial: int | None,
        name: str,
        told: Facts,
        group: str = "",
        files: Sequence[tuple[str, Path]] = (),
        answers: str | None = None,
    ) -> None:
        """Args:
        name: the event's, within its kind and group: it is kept once.
        files: kind and place of each; those that are not there are left out.
        answers: the name of the event that it is a reply to.
        """
        quiet = self._notify.quiet
        self._waiting.append(
            {
                "kind": kind,
                "group": group,
                "name": name,
                "study_uid": self._uid,
                "trial": trial,
                "language": self._notify.language,
                "quiet": None if quiet == "none" else quiet,
                "facts": storable({"study": self._study.study_name, "trial": trial, **told}),
                "files": [
                    (kind, os.path.relpath(file, self._workdir)) for kind, file in files if file.is_file()
                ],
                "answers": answers,
            }
        )

    def flush(self) -> None:
        """Raises what the database raises; then all waits."""
        if self._waiting:
            words: Catalogue = {}
            with suppress(KeyError):  # of a study that is gone
                words = words_of(self._study)
            with self._engine.begin() as connection:
                for row in self._waiting:
                    told = {**row["facts"], "words": facts.used(words, row["facts"])}
                    sender.tell(connection, self._channel, {**row, "facts": told})
            self._waiting = []


def _now() -> str:
    """The name of an event that may come again."""
    return str(milliseconds())


def digest(storage: Storage, workdir: Path) -> None:
    """Tell how running studies go, as often as each one's file says. Raises what the database raises."""
    memory = ChatState(storage.ours)
    for uid, minutes in memory.all(RUNNING).items():
        begun = memory.age(f"{RUNNING}{uid}")
        if not minutes or begun is None or begun < 60.0 * minutes:
            continue
        slot = int(time.time() / (60.0 * minutes))
        worked_on = Leases(storage.ours, uid).counts().get("held")
        if not worked_on or not memory.once(f"digest:{uid}:{slot}"):
            continue
        if (name := name_of(storage, uid)) is None:
            continue
        with suppress(StudyError, SpecError):  # which its next worker is told
            study = load_study(name, storage)
            spec = under_its_name(study)
            whole = facts.of_study(study, spec)
            Rows(study, spec, workdir).tell("digest", None, str(slot), facts.of_digest(study, whole))
