"""What the home page shows of studies, as plain records: read from the database and the trials' folders."""

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import func, select

from smart_tuner.notify import outbox
from smart_tuner.repair.rule import Entry
from smart_tuner.repair.words import LANGUAGES, Words
from smart_tuner.store import attributes
from smart_tuner.store.leases import Leases
from smart_tuner.store.optuna_private import CachedStorage, study_id_of
from smart_tuner.store.ratings import ratings_of
from smart_tuner.store.records import repairs_of
from smart_tuner.store.storage import Storage
from smart_tuner.store.tables import RATINGS, REPAIRS
from studies.file.spec import Spec
from studies.report import fixes, history
from studies.report.described import Described, words_of
from studies.report.summary import Record
from studies.run.folders import trial_folder
from studies.run.study import StudyError, desired_state, load_study, stored_spec

LIVE = "progress.json"  # objectives/progress.py writes it
PAUSED = "paused"  # the state of a trial with which a freeze-thaw search may go on
FEWEST = 4  # completed trials before importance says anything


class Records:
    """Everything of one database. Finished trials are read once.

    Args:
        now: the seconds since 1970.
    """

    def __init__(self, storage: Storage, workdir: Path, now: Callable[[], float] = time.time) -> None:
        self._storage, self._workdir, self._now = storage, workdir, now
        self._cached = CachedStorage(storage)
        self._uids: dict[int, str] = {}  # of the studies that are cached
        self._importances: dict[tuple[str, int], Record] = {}

    def load(self, name: str) -> tuple[optuna.Study, Spec]:
        """Raises StudyError for a name that is none of ours."""
        study = load_study(name, self._cached)
        uid = study.user_attrs["uid"]
        study_id = study_id_of(study)
        if self._uids.setdefault(study_id, uid) != uid:  # SQLite gave a deleted study's id away again
            self._cached, self._uids = CachedStorage(self._storage), {study_id: uid}
            study = load_study(name, self._cached)
        return study, stored_spec(study)

    def folder(self, name: str, number: int) -> Path:
        """Where a trial's newest attempt is; `name` is that of a study of ours, and so names a folder."""
        return trial_folder(self._workdir / "studies" / name, number)

    def studies(self) -> list[Record]:
        """One short record a study of ours, the newest first; those that others made are left out."""
        found = list[Record]()
        for study in self._storage.get_all_studies():
            with suppress(StudyError):
                found.append(self._short(study.study_name))
        return found[::-1]

    def _short(self, name: str) -> Record:
        study, spec = self.load(name)
        best = history.best_trial(study)
        return {
            "name": name,
            "question": spec.question,
            "states": history.states(study),
            "budget": spec.budget.trials,
            "best": best and {"number": best.number, "value": _finite(best.value)},
        }

    def study(self, name: str) -> Record:
        """What changes while a study runs."""
        study, spec = self.load(name)
        trials = study.get_trials(deepcopy=False)
        states = history.states(study)
        paused = _paused(study, spec)
        at_work = [t for t in trials if t.state == TrialState.RUNNING and t.number not in paused]
        running = self._running(study, at_work)
        bests = {kind: t and _best(study, t) for kind, t in history.three_bests(study).items()}
        best = (found := history.best_trial(study)) and _best(study, found)
        steps, hours = history.consumed(study)
        uid, better = study.user_attrs["uid"], history.best_from_elsewhere(study)
        queues, described = outbox.counts(self._storage.ours, uid), Described.of(study)
        return {
            "name": name,
            "question": spec.question,
            "sentence": spec.objective.speak,
            "unit": described.unit,
            "curves": described.curves,
            "measures": described.measures,
            "words": described.words,
            "wish": desired_state(study),
            "version": self._version(uid, trials),
            "states": states,
            "started": sum(n for state, n in states.items() if state != "waiting"),
            "paused": len(paused),
            "budget": spec.budget.trials,
            "search_steps": history.consumed_by_search(study)[0],
            "most_steps": _finite(history.most_steps(spec)),
            "steps": steps,
            "hours": hours,
            "repaired": history.repaired(study),
            "yardstick": attributes.yardstick(study) or None,
            "skipped": attributes.skipped(study),
            "queue": {channel: n["waiting"] for channel, n in queues.items() if n.get("waiting")},
            "best": best,
            "bests": bests,
            "from_elsewhere": better and {"number": better.number, "value": _finite(better.value)},
            "running": running,
            "left_seconds": _left(study, trials, spec, running),
        }

    def trials(self, name: str) -> Record:
        """One record a trial, and what listeners think of it."""
        study, spec = self.load(name)
        names = Described.of(study).measures
        ratings = {row["trial"]: row for row in ratings_of(self._storage.ours, study.user_attrs["uid"])}
        trials, words = study.get_trials(deepcopy=False), Words("ru", words_of(study))
        paused = _paused(study, spec)
        return {
            "parameters": list(spec.space),
            "trials": [
                {
                    **_trial(trial, names),
                    **({"state": PAUSED} if trial.number in paused else {}),
                    "reason": _reason(trial, words),
                    "ratings": ratings.get(trial.number),
                    "speaks": _speaks(trial, spec),
                }
                for trial in trials
            ],
        }

    def fixes(self, name: str) -> list[Record]:
        """What rules saw and did, the newest trial first; each repair with its verdict, if that is known."""
        study, _ = self.load(name)
        languages = [Words(language, words_of(study)) for language in LANGUAGES]
        rows = list(fixes.counting(repairs_of(self._storage.ours, study.user_attrs["uid"], None)))
        verdicts = {(number, e.parent): e for number, e in rows if e.kind == "verdict"}
        found = [
            _fix(number, e, verdicts.get((number, e.seq)), self.folder(name, number), languages)
            for number, e in rows
            if e.kind != "verdict"
        ]
        return sorted(found, key=lambda fix: (-fix["trial"], fix["seq"]))

    def importance(self, name: str) -> Record:
        """How much each parameter matters, by PED-ANOVA; only of those that every completed trial has."""
        study, _ = self.load(name)
        complete = history.states(study)["complete"]
        key = (study.user_attrs["uid"], complete)
        if key not in self._importances:
            found: dict[str, float] = {}
            if complete >= FEWEST:
                evaluator = optuna.importance.PedAnovaImportanceEvaluator()
                found = optuna.importance.get_param_importances(study, evaluator=evaluator)
            self._importances = {key: {"complete": complete, "needed": FEWEST, "importance": found}}
        return self._importances[key]

    def trial(self, name: str, number: int) -> Record | None:
        """All of one trial; None where there is no such one."""
        study, spec = self.load(name)
        trials = study.get_trials(deepcopy=False)
        if not 0 <= number < len(trials):
            return None
        trial, folder = trials[number], self.folder(name, number)
        return {
            **_trial(trial, Described.of(study).measures),
            **({"state": PAUSED} if number in _paused(study, spec) else {}),
            "speaks": _speaks(trial, spec),
            "reason": _reason(trial, Words("ru", words_of(study))),
            "settings": attributes.settings(trial),
            "effective": attributes.effective(trial),
            "measures": attributes.measures(trial),
            **{name: found for name, found in _read(folder / LIVE).items() if name in ("curve", "curves")},
            "picture": (folder / "sample.png").is_file(),
            "sound": (folder / "sample.wav").is_file(),
        }

    def _version(self, uid: str, trials: list[FrozenTrial]) -> str:
        """Another one when trials, repairs or ratings have changed."""
        newest = select(
            select(func.max(REPAIRS.c.id)).where(REPAIRS.c.study_uid == uid).scalar_subquery(),
            select(func.count()).select_from(RATINGS).where(RATINGS.c.study_uid == uid).scalar_subquery(),
            select(func.sum(RATINGS.c.score)).where(RATINGS.c.study_uid == uid).scalar_subquery(),
        )
        with self._storage.ours.connect() as connection:
            rows = connection.execute(newest).one()
        ended = sum(t.state.is_finished() for t in trials)
        rungs = sum(len(t.intermediate_values) for t in trials)
        return "-".join(str(part or 0) for part in (len(trials), ended, rungs, *rows))

    def _running(self, study: optuna.Study, trials: list[FrozenTrial]) -> list[Record]:
        if not trials:
            return []
        leases = Leases(self._storage.ours, study.user_attrs["uid"]).holders()
        held = {row["number"]: row for row in leases}
        names = Described.of(study).measures
        return [
            {**_trial(trial, names), **self._live(study.study_name, trial.number, held.get(trial.number))}
            for trial in trials
        ]

    def _live(self, name: str, number: int, lease: Any) -> Record:
        live = _read(self.folder(name, number) / LIVE)
        pace = live.get("step_seconds")
        return {
            "held": lease is not None,
            "host": lease and lease["owner"].get("host"),
            "pid": lease and lease["owner"].get("pid"),
            "attempt": lease and lease["attempt_no"],
            "live": live or None,
            "silent_seconds": max(0.0, self._now() - live["at"]) if "at" in live else None,
            "left_seconds": None if pace is None else max(0, live["target"] - live["step"]) * pace,
        }


def _paused(study: optuna.Study, spec: Spec) -> set[int]:
    """Trials with which the search may go on: to Optuna they run."""
    return {number for number, _ in history.paused(study)} if spec.freezes else set()


def _trial(trial: FrozenTrial, names: Iterable[str]) -> Record:
    """Args: names: of the numbers of its best measure that are shown."""
    measures = attributes.measures(trial)
    best = min(measures, key=lambda m: m["value"]) if measures else {}
    duration = trial.duration
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": _finite(trial.value if trial.state == TrialState.COMPLETE else None),
        "params": trial.params,
        "rungs": [[step, _finite(v)] for step, v in sorted(trial.intermediate_values.items())],
        "steps": measures[-1]["step"] if measures else None,
        "numbers": {name: best[name] for name in names if attributes.is_number(best.get(name))},
        "repairs": attributes.repairs(trial),
        "fresh_of": attributes.fresh_of(trial),
        "began": trial.datetime_start and trial.datetime_start.timestamp(),
        "ended": trial.datetime_complete and trial.datetime_complete.timestamp(),
        "seconds": duration and duration.total_seconds(),
    }


def _speaks(trial: FrozenTrial, spec: Spec) -> bool:
    """Whether there is a checkpoint that can say something."""
    return bool(spec.objective.speak) and bool(attributes.measures(trial))


def _reason(trial: FrozenTrial, russian: Words) -> list[str] | None:
    """In each language."""
    text, ended = attributes.reason(trial), attributes.ended(trial)
    return None if text is None else [text, russian.end(ended) if ended else text]


def _best(study: optuna.Study, trial: FrozenTrial) -> Record:
    return {
        "number": trial.number,
        "value": _finite(trial.value),
        "repairs": attributes.repairs(trial),
        "before": history.before(study, trial),
        "no_speech_yet": history.no_speech_yet(study, trial),
        "heard": _heard(study, trial),
    }


def _heard(study: optuna.Study, trial: FrozenTrial) -> Record | None:
    """Letters of a hundred that were understood, and predicted MOS: of the voice and of the recordings."""
    if (heard := attributes.heard(study, trial)) is None:
        return None
    return {
        "letters": heard.letters,
        "recordings": heard.recordings_letters,
        "intelligible": heard.intelligible,
        "mos": heard.mos,
        "recordings_mos": heard.recordings_mos,
    }


def _fix(
    number: int, entry: Entry, verdict: Entry | None, folder: Path, languages: Sequence[Words]
) -> Record:
    found = {name: getattr(entry, name) for name in ("seq", "step", "kind", "rule", "suppressed", "changes")}
    found["seen"] = [fixes.seen(entry, words) for words in languages]
    found["done"] = [fixes.done(entry, words) for words in languages]
    found |= {"trial": number, "back_to": entry.back_to, "clips": entry.clips, "verify_at": entry.verify_at}
    found["picture"] = _picture(entry, folder)
    if verdict is not None:
        both = [name for name in verdict.before if name in verdict.after]
        found["verdict"] = {
            "step": verdict.step,
            "verdict": verdict.verdict,
            "done": [fixes.done(verdict, words) for words in languages],
            "changes": verdict.changes,
            "numbers": {name: [verdict.before[name], verdict.after[name]] for name in both},
            "picture": _picture(verdict, folder),
        }
    return found


def _picture(entry: Entry, folder: Path) -> str | None:
    return entry.picture if (folder / entry.picture).is_file() else None


def _left(study: optuna.Study, trials: list[FrozenTrial], spec: Spec, running: list[Record]) -> float | None:
    """Seconds until the budget of trials is met, as the finished ones went, or, where trials are paused, that
    of steps; None while none has."""
    workers = sum(row["held"] for row in running)
    if spec.freezes:
        steps, hours = history.consumed_by_search(study)
        left = max(0.0, history.most_steps(spec) - steps)
        return 3600 * hours / steps * left / workers if steps and workers else None
    ended = [t.duration.total_seconds() for t in trials if t.state.is_finished() and t.duration]
    if not ended or not workers:
        return None
    waiting = max(0, spec.budget.trials - sum(t.state.is_finished() for t in trials) - len(running))
    now = sum(row["left_seconds"] or 0.0 for row in running)
    return float((waiting * sum(ended) / len(ended) + now) / workers)


def _read(path: Path) -> Record:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _finite(value: float | None) -> float | None:
    """What JSON can hold."""
    return None if value is None or not math.isfinite(value) else float(value)
