"""What a chat may ask of studies, and what it may let them do."""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import soundfile
from optuna.trial import TrialState
from sqlalchemy import select

from objectives.progress import ALIGNMENT, LIVE, SAMPLE
from smart_tuner.notify.telegram.format import bold, escaped, lines
from smart_tuner.notify.telegram.listener import Reply
from smart_tuner.notify.telegram.messages import Words, message, summary
from smart_tuner.notify.telegram.voice_note import as_opus
from smart_tuner.repair.rule import Entry
from smart_tuner.store.leases import Leases
from smart_tuner.store.storage import Storage
from smart_tuner.store.tables import LEASES
from studies.file.spec import Spec, SpecError
from studies.report import facts, history
from studies.report.described import words_of
from studies.run.folders import trial_folder
from studies.run.study import (
    StudyError,
    desired_state,
    load_study,
    name_of,
    rdb,
    set_desired_state,
    under_its_name,
)

NEWEST_TRIALS, NEWEST_FIXES = 10, 5
WISHES = {"pause": "pause", "stop": "stop", "resume": "run"}
# A study's best voice says a text. Answers: those of dashboards/synthesis/worker.py, or error busy or lost.
Speak = Callable[[str, str], Mapping[str, Any]]


class StudyCommands:
    """Answers and obeys what a chat says of the study that worked last.

    Args:
        longest: text to speak, in characters.
    """

    def __init__(self, storage: Storage, workdir: Path, speak: Speak, longest: int) -> None:
        self._storage, self._workdir, self._speak, self._longest = storage, workdir, speak, longest
        self._answers: dict[str, Callable[[Words, optuna.Study, Spec, str], Reply]] = {
            "status": self._status,
            "best": self._best,
            "trials": self._trials,
            "fixes": self._fixes,
            "say": self._say,
        }

    def answer(self, command: str, text: str) -> Reply:
        """Any other command is answered by what there is."""
        found = self._current()
        if found is None:
            return Reply(Words("en")("no_study"))
        study, spec = found
        words = Words(spec.notify.language, words_of(study))
        if command not in self._answers:
            return Reply(words("help"))
        return self._answers[command](words, study, spec, text)

    def study(self) -> str | None:
        found = self._current()
        return None if found is None else str(found[0].user_attrs["uid"])

    def question(self, change: str) -> tuple[str, Mapping[str, str]] | None:
        found = self._current()
        if found is None:
            return None
        study, spec = found
        words = Words(spec.notify.language)
        return words(f"ask_{change}", study=study.study_name), {"yes": words("yes"), "no": words("no")}

    def change(self, change: str, study_uid: str) -> str:
        """The study that was asked about, even if another one has worked since."""
        name = name_of(self._storage, study_uid)
        if name is None:
            return Words("en")("no_study")
        study = load_study(name, self._storage)
        set_desired_state(study, WISHES[change])
        words = Words(under_its_name(study).notify.language)
        return words(f"did_{change}", study=name, command=f"run_study.py resume {name}")

    def left_alone(self) -> str:
        found = self._current()
        return Words(found[1].notify.language if found else "en")("left_alone")

    def _current(self) -> tuple[optuna.Study, Spec] | None:
        newest = select(LEASES.c.study_uid).order_by((LEASES.c.state == "held").desc(), LEASES.c.id.desc())
        with self._storage.ours.connect() as connection:
            uids = list(dict.fromkeys(connection.execute(newest).scalars()))
        for uid in uids:
            if (name := name_of(self._storage, uid)) is None:
                continue
            with suppress(StudyError, SpecError):  # changed from outside: its next worker is told
                study = load_study(name, self._storage)
                return study, under_its_name(study)
        return None

    # Answers

    def _status(self, words: Words, study: optuna.Study, spec: Spec, _: str) -> Reply:
        whole = facts.of_study(study, spec)
        digest = facts.of_digest(study, whole)
        held = {row["number"] for row in Leases(rdb(study).ours, study.user_attrs["uid"]).holders()}
        paused = history.paused(study) if spec.freezes else []
        open_trials = [trial for trial in history.unfinished(study) if trial not in paused]
        running = [self._running(words, study, n, step, n in held) for n, step in open_trials]
        numbers = ", ".join(str(number) for number, _ in paused)
        return Reply(
            lines(
                bold(study.study_name),
                words("digest", **digest["counts"]),
                *running,
                words("paused", numbers=numbers) if paused else None,
                summary(words, whole),
                words(f"wish_{desired_state(study)}"),
            )
        )

    def _running(self, words: Words, study: optuna.Study, number: int, step: int, held: bool) -> str:
        if not held:
            return words("unheld", number=number)
        live: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            live = json.loads((self._folder(study, number) / LIVE).read_text("utf-8"))
        measured = words("step", step=step) if step else words("not_begun")
        where = words("at_step", step=live["step"], target=live["target"]) if live else measured
        return words("running", number=number, where=where)

    def _best(self, words: Words, study: optuna.Study, spec: Spec, _: str) -> Reply:
        best, better = history.best_trial(study), history.best_from_elsewhere(study)
        note = None
        if better is not None:
            note = words("without_voice", number=better.number, value=words.value(better.value or 0.0))
        if best is None:
            return Reply(lines(bold(study.study_name), words("no_best"), note))
        told = facts.of_new_best(study, best.number)
        assert told is not None
        folder, files = self._folder(study, best.number), list[tuple[str, str, bytes]]()
        with suppress(OSError, soundfile.LibsndfileError):  # they are on another machine
            files.append(("voice", "sample.ogg", as_opus(folder / SAMPLE)))
        with suppress(OSError):
            files.append(("photo", ALIGNMENT, (folder / ALIGNMENT).read_bytes()))
        sound = any(kind == "voice" for kind, *_ in files)
        head = {"study": study.study_name, "trial": best.number, "sound": sound}
        text = message("best", spec.notify.language, {**told, **head, "words": words_of(study)})
        return Reply(lines(text, note), tuple(files))

    def _trials(self, words: Words, study: optuna.Study, _: Spec, __: str) -> Reply:
        trials = study.get_trials(deepcopy=False)
        rows = []
        for trial in trials[-NEWEST_TRIALS:][::-1]:
            complete = trial.state == TrialState.COMPLETE and trial.value is not None
            value = words.value(trial.value or 0.0) if complete else ""
            state = words(trial.state.name)
            rows.append(words("trial_row", number=trial.number, state=state, value=value).rstrip())
        left = max(0, len(trials) - NEWEST_TRIALS)
        earlier = words("earlier", count=left) if left else None
        return Reply(lines(bold(study.study_name), *(rows or [words("no_trials")]), earlier))

    def _fixes(self, words: Words, study: optuna.Study, _: Spec, __: str) -> Reply:
        rows = facts.entries(study)
        verdicts = {(number, e.parent): e for number, e in rows if e.kind == "verdict"}
        made = [(number, e) for number, e in rows if e.kind in ("repair", "end")]
        told = [_fix(words, n, e, verdicts.get((n, e.seq))) for n, e in made[-NEWEST_FIXES:][::-1]]
        left = max(0, len(made) - NEWEST_FIXES)
        earlier = words("earlier", count=left) if left else None
        return Reply(lines(bold(study.study_name), *(told or [words("no_fixes")]), earlier))

    def _say(self, words: Words, study: optuna.Study, _: Spec, text: str) -> Reply:
        if not text:
            return Reply(words("say_what"))
        if len(text) > self._longest:
            return Reply(words("say_long", limit=self._longest))
        said = self._speak(study.study_name, text)
        if "error" in said:
            return Reply(self._unsaid(words, said))
        cut = words("say_limit") if said["stop"] == "limit" else None
        told = words("said", number=said["trial"], seconds=f"{said['seconds']:.1f}")
        ruled = words("say_words", words=said["words"]) if said.get("words") else None
        sound = as_opus(io.BytesIO(said["wave"]))
        return Reply(lines(told, *_heard(words, said), ruled, cut), (("voice", "said.ogg", sound),))

    def _unsaid(self, words: Words, said: Mapping[str, Any]) -> str:
        error = said["error"]
        if error in ("busy", "lost"):
            return words(f"say_{error}")
        if error == "unknown_characters":
            return words("say_unknown", characters=" ".join(c for c, *_ in said["characters"]))
        if error in ("too_long_spoken", "unspeakable"):
            return words(f"say_{error}")
        return words("say_no_voice", why=str(said.get("why", error)).splitlines()[0])

    def _folder(self, study: optuna.Study, number: int) -> Path:
        return trial_folder(self._workdir / "studies" / study.study_name, number)


def _heard(words: Words, said: Mapping[str, Any]) -> Iterator[str]:
    """What was understood of a spoken text, where somebody listened."""
    if heard := said.get("heard"):
        yield words("said_heard", letters=heard["letters"])
        for key, name in (("lost", "said_lost"), ("repeated", "said_twice")):
            if heard[key]:
                yield words(name, words=", ".join(heard[key]))


def _fix(words: Words, number: int, entry: Entry, verdict: Entry | None) -> str:
    where = f"{words('trial', number=number)}, {words('step', step=entry.step)}"
    did = words.changes(entry.changes) or words.sentence(entry.rule, entry.action, entry.action_values)
    what = "gave_up" if entry.kind == "end" else "fix"
    came = words(str(verdict.verdict)) if verdict is not None else ""
    return f"{where}. {words(what, what=words.rule(entry.rule))} {escaped(did)}. {came}".strip()
