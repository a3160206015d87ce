"""What a worker tells MLflow, TensorBoard and optuna-dashboard of its trials, beside what a person sees."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna_dashboard import save_note

from model.training import StepMeasures
from objectives.progress import ALIGNMENT, MELS, SAMPLE
from objectives.tacotron2 import Attempt, Measured, Plan
from smart_tuner.notify.tensorboard import Curves
from smart_tuner.notify.tracking import Machine, OfStudy, Thinned, TrialRows, files_channel, hyperparameters
from smart_tuner.repair.rule import Entry, in_force
from smart_tuner.repair.words import ENGLISH, Words, of_rules
from smart_tuner.store.attributes import numbers
from smart_tuner.store.leases import Leases
from smart_tuner.store.outage import UNREACHABLE, Fenced
from smart_tuner.store.records import repairs_of
from studies.callbacks.dashboard import attach
from studies.file.spec import Spec
from studies.report import fixes, history
from studies.run.ending import end_by
from studies.run.study import rdb, stored_spec
from studies.run.training import Display, Job

KINDS = {SAMPLE: "audio/wav", ALIGNMENT: "image/png", MELS: "image/png"}
Tracking = tuple[Display, Callable[[Job], Job]]


@contextmanager
def tracking(display: Display, study: optuna.Study, workdir: Path) -> Iterator[Tracking]:
    """A display that tells both, and what a worker's job becomes; at the end, how the study is."""
    engine, uid = rdb(study).ours, study.user_attrs["uid"]
    spec = stored_spec(study)
    whole = OfStudy(engine, study.study_name, uid)
    tracked = Tracked(display, whole, workdir)
    try:
        yield tracked, tracked.job
    finally:
        with suppress(*UNREACHABLE):
            counts = Leases(engine, uid).counts()
            if not counts.get("held"):
                left = spec.budget.trials > sum(counts.values()) and history.training_left(study, spec)
                whole.rests("SCHEDULED" if left or counts.get("released") else "FINISHED")


class Tracked:
    """A display of a worker that runs one trial after the other."""

    def __init__(self, display: Display, study: OfStudy, workdir: Path) -> None:
        self._display, self._study, self._workdir = display, study, workdir
        self._machine = Machine()
        self._attempt: _Attempt | None = None

    def job(self, job: Job) -> Job:
        def run(attempt: Attempt) -> float:
            self._attempt = mine = _Attempt(attempt, self._study, self._workdir, self._now, self.warned)
            try:
                value = job(attempt)
            except Fenced:
                raise
            except Exception as error:
                if (own := end_by(error)) is None:
                    mine.released()
                else:
                    mine.conclude(own[-1].text)
                raise
            else:
                mine.conclude("")
                return value
            finally:
                mine.close()
                self._attempt = None

        return run

    def _now(self) -> dict[str, float]:
        found = self._machine()
        for device in range(torch.cuda.device_count()):
            found[f"system/gpu_{device}_memory_mb"] = torch.cuda.memory_reserved(device) / 1e6
        return found

    # What a display hears

    def study(self, done: int, spec: Spec, best: float | None) -> None:
        self._display.study(done, spec, best)

    def trial_started(self, number: int, params: dict[str, object], plan: Plan, step: int) -> None:
        self._display.trial_started(number, params, plan, step)
        if self._attempt is not None:
            self._attempt.started(params, plan)

    def trial_ended(self, number: int, state: str, value: float | None, reason: str) -> None:
        """Whoever ran it. Raises what the database raises: then it is told again."""
        self._study.ended(number, state, value, reason)
        self._display.trial_ended(number, state, value, reason)

    def stepped(self, measures: StepMeasures) -> None:
        if self._attempt is not None:
            self._attempt.stepped(measures)
        self._display.stepped(measures)

    def repaired(self, entry: Entry) -> None:
        if self._attempt is not None:
            self._attempt.repaired(entry)
        self._display.repaired(entry)

    def measured(self, measured: Measured) -> None:
        if self._attempt is not None:
            self._attempt.measured(measured)
        self._display.measured(measured)

    def saving(self, step: int) -> None:
        if self._attempt is not None:
            self._attempt.saving()
        self._display.saving(step)

    def sampled(self, step: int) -> None:
        if self._attempt is not None:
            self._attempt.sampled(step)
        self._display.sampled(step)

    def warned(self, text: str) -> None:
        self._display.warned(text)


class _Attempt:
    """Where the numbers, pictures and sounds of one attempt go."""

    def __init__(
        self,
        attempt: Attempt,
        study: OfStudy,
        workdir: Path,
        machine: Callable[[], dict[str, float]],
        warned: Callable[[str], None],
    ) -> None:
        self._attempt, self._study, self._workdir = attempt, study, workdir
        self._machine, self._warned = machine, warned
        self._number: int = attempt.trial.number
        self._rows: TrialRows | None = None
        self._thinned, self._words = Thinned(1), ENGLISH
        self._settings: dict[str, float] = {}
        self._drawn: Curves | None = None
        self._story: list[Entry] | None = None

    def started(self, params: dict[str, object], plan: Plan) -> None:
        def begin() -> TrialRows:
            settings = self._attempt.trial.user_attrs["settings"]
            rows = TrialRows(self._study, self._number, self._attempt.folder.name, self._machine)
            rows.started({**settings, **params}, settings)
            rows.flush()
            self._settings = settings
            return rows

        self._thinned, self._words = Thinned(plan.steps), Words("en", of_rules(plan.rules))
        self._rows = self._attempt.outage.wait_for(begin)

    def stepped(self, m: StepMeasures) -> None:
        values = {
            "train/loss": m.loss,
            "train/mel_l1": m.mel_l1,
            "train/gate": m.gate,
            "train/off_diagonal": m.guided,
            "train/gradient_norm": m.grad_norm,
            "train/learning_rate": m.learning_rate,
            "train/step_seconds": m.seconds,
        }
        self._curves(m.step)
        self._tell(self._thinned.add(m.step, values))

    def measured(self, m: Measured) -> None:
        values = {
            "measure/distance_db": m.value,
            "measure/failure_share": m.failure_share,
            "measure/aligned_share": m.aligned_share,
            "measure/diagonal_score": m.diagonal_score,
            "measure/gate_accuracy": m.gate_accuracy,
            "measure/mel_l1": m.mel_l1,
        }
        self._curves(m.step).numbers(m.step, values)
        if self._rows is not None:
            self._rows.measured(m.step, values)

    def repaired(self, entry: Entry) -> None:
        line, story = fixes.told(entry, self._words), self._with(entry)
        new = {name: value for name, (_, value) in entry.changes.items()}
        curves = self._curves(entry.step)
        curves.text(entry.step, "repairs", line)
        curves.numbers(entry.step, hyperparameters(new))
        if self._rows is not None and entry.kind in fixes.DEEDS:
            lines = [fixes.told(e, self._words) for e in story if e.kind in fixes.DEEDS]
            self._rows.repaired(entry.seq, entry.step, line, new, lines)

    def saving(self) -> None:
        """What comes before a checkpoint is never trained again, so it is kept now."""
        self._tell(self._thinned.rest())
        if self._rows is not None:
            self._rows.flush_if_reachable()
        if self._drawn is not None:
            self._drawn.flush()

    def sampled(self, step: int) -> None:
        folder, curves = self._attempt.folder, self._curves(step)
        curves.sound(step, "sample", folder / SAMPLE)
        curves.picture(step, "alignment", folder / ALIGNMENT)
        curves.picture(step, "mels", folder / MELS)

    def released(self) -> None:
        if self._rows is not None:
            self._rows.released()
            self._attempt.outage.attempt(self._rows.flush)

    def conclude(self, reason: str) -> None:
        """What finished trials take no more is given to Optuna before it is told; raises Fenced."""
        if self._rows is None:
            return
        rows, outage = self._rows, self._attempt.outage
        self._tell(self._thinned.rest())
        entries = outage.wait_for(self._entries)
        found = [name for name in KINDS if (self._attempt.folder / name).is_file()]
        files = {self._attempt.folder / name: KINDS[name] for name in found}
        outage.wait_for(lambda: attach(self._attempt.trial, files, self._workdir))
        note = fixes.note(entries, reason, self._words)
        outage.wait_for(lambda: save_note(self._attempt.trial, note))
        attributes = outage.wait_for(lambda: self._attempt.trial.user_attrs)
        effective = {**attributes["settings"], **numbers(attributes.get("effective"))}
        found += [e.picture for e in entries if (self._attempt.folder / e.picture).is_file()]
        rows.keep(
            {name: os.path.relpath(self._attempt.folder / name, self._workdir) for name in found},
            {
                "effective.json": json.dumps(effective, indent=1),
                "interventions.json": _json(
                    [{**entry.record(), "told": fixes.told(entry, self._words)} for entry in entries]
                ),
            },
            files_channel(self._workdir),
        )
        outage.wait_for(rows.flush)

    def close(self) -> None:
        if self._drawn is not None:
            self._drawn.close()

    def _tell(self, point: dict[str, Any] | None) -> None:
        if point is not None:
            self._curves(point["step"]).numbers(point["step"], point["values"])
            if self._rows is not None:
                self._rows.stepped(point)

    def _curves(self, step: int) -> Curves:
        """Opened at the first step, which tells where this attempt goes on."""
        if self._drawn is None:
            folder = self._workdir / "tensorboard" / self._study.name / f"trial-{self._number:04d}"
            self._drawn = Curves(folder, step if step > 1 else 0, self._warned)
            if step == 1:
                self._drawn.numbers(0, hyperparameters(self._settings))
        return self._drawn

    def _with(self, entry: Entry) -> list[Entry]:
        """The repairs that count, up to this one."""
        if self._story is None:
            self._story = []
            with suppress(*UNREACHABLE):
                self._story = [e for e in self._entries() if e.seq < entry.seq]
        self._story.append(entry)
        return self._story

    def _entries(self) -> list[Entry]:
        found = repairs_of(self._study.engine, self._study.uid, self._number)
        return list(in_force(entry for _, entry in found))


def _json(found: Any) -> str:
    """What is no number stands as text: JSON has no infinity."""
    return json.dumps(json.loads(json.dumps(found), parse_constant=str), indent=1, ensure_ascii=False)
