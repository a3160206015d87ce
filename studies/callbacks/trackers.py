"""What a worker gives MLflow, TensorBoard and optuna-dashboard of its trials."""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna_dashboard import save_note

from objectives.attempt import Callback, End, Measured, Start, Step
from smart_tuner.notify.tensorboard import Curves
from smart_tuner.notify.tracking import Machine, OfStudy, Thinned, TrialRows, files_channel, hyperparameters
from smart_tuner.repair.rule import Entry, in_force
from smart_tuner.repair.words import Words, of_rules
from smart_tuner.store.attributes import numbers
from smart_tuner.store.leases import Leases
from smart_tuner.store.outage import UNREACHABLE
from smart_tuner.store.records import repairs_of
from studies.callbacks.dashboard import attach
from studies.report import fixes, history
from studies.run.study import rdb, stored_spec


class Trackers(Callback):
    """What a worker tells MLflow, TensorBoard and optuna-dashboard; at its end, how the study is."""

    def __init__(self, study: optuna.Study, workdir: Path, warned: Callable[[str], None]) -> None:
        engine, uid = rdb(study).ours, study.user_attrs["uid"]
        self._whole, self._study = study, OfStudy(engine, study.study_name, uid)
        self._workdir, self._warned = workdir, warned
        self._spec, self._machine = stored_spec(study), Machine()
        self._attempt: _Attempt | None = None

    def __exit__(self, *ended_by: object) -> None:
        self._close()
        with suppress(*UNREACHABLE, KeyError):  # of a study that is gone
            counts = Leases(self._study.engine, self._study.uid).counts()
            if not counts.get("held"):
                left = history.left_to_do(self._whole, self._spec, counts)
                self._study.rests("SCHEDULED" if left else "FINISHED")

    def started(self, start: Start) -> None:
        self._close()
        self._attempt = _Attempt(start, self._study, self._workdir, self._now, self._warned)

    def stepped(self, step: Step) -> None:
        if self._attempt is not None:
            self._attempt.stepped(step)

    def repaired(self, entry: Entry) -> None:
        if self._attempt is not None:
            self._attempt.repaired(entry)

    def measured(self, measured: Measured) -> None:
        if self._attempt is not None:
            self._attempt.measured(measured)

    def added(self, measured: Measured, more: Mapping[str, Any]) -> None:
        if self._attempt is not None:
            self._attempt.measured(Measured(measured.step, measured.value, measured.seconds, more))

    def saving(self, step: int) -> None:
        if self._attempt is not None:
            self._attempt.saving()

    def shown(self, step: int) -> None:
        if self._attempt is not None:
            self._attempt.shown(step)

    def left(self, end: End | None) -> None:
        if self._attempt is None:
            return
        try:
            if end is None:
                self._attempt.released()
            else:
                self._attempt.conclude(end[-1].text)
        finally:
            self._close()

    def lost(self) -> None:
        self._close()

    def ended(self, number: int, state: str, value: float | None, reason: str) -> None:
        self._study.ended(number, state, value, reason)

    def _close(self) -> None:
        if self._attempt is not None:
            self._attempt.close()
            self._attempt = None

    def _now(self) -> dict[str, float]:
        found = self._machine()
        for device in range(torch.cuda.device_count()):
            found[f"system/gpu_{device}_memory_mb"] = torch.cuda.memory_reserved(device) / 1e6
        return found


class _Attempt:
    """Where the numbers, pictures and sounds of one attempt go."""

    def __init__(
        self,
        start: Start,
        study: OfStudy,
        workdir: Path,
        machine: Callable[[], dict[str, float]],
        warned: Callable[[str], None],
    ) -> None:
        self._attempt, self._study, self._workdir = start.attempt, study, workdir
        self._machine, self._warned = machine, warned
        self._number: int = start.attempt.trial.number
        self._shows, self._titles = start.run.shows, start.run.titles
        self._drawn: Curves | None = None
        self._entries_so_far: list[Entry] | None = None
        self._thinned = Thinned(start.plan.steps)
        self._words = Words("en", {**start.objective.words, **of_rules(start.plan.rules)})
        self._settings: dict[str, float] = {}
        self._rows = start.attempt.outage.wait_for(lambda: self._begin(start))

    def _begin(self, start: Start) -> TrialRows:
        self._settings = start.attempt.trial.user_attrs["settings"]
        rows = TrialRows(self._study, self._number, start.attempt.folder.name, self._machine)
        rows.started({**self._settings, **start.parameters}, self._settings)
        rows.flush()
        return rows

    def stepped(self, done: Step) -> None:
        values = {f"train/{name}": value for name, value in done.signals.items()}
        self._curves(done.step)
        self._tell(self._thinned.add(done.step, {**values, "train/step_seconds": done.seconds}))

    def measured(self, m: Measured) -> None:
        numbers = {name: v for name, v in m.more.items() if isinstance(v, int | float)}
        values = {f"measure/{name}": float(v) for name, v in {"value": m.value, **numbers}.items()}
        self._curves(m.step).numbers(m.step, values)
        self._rows.measured(m.step, values)

    def repaired(self, entry: Entry) -> None:
        line, so_far = fixes.told(entry, self._words), self._with(entry)
        new = {name: value for name, (_, value) in entry.changes.items()}
        curves = self._curves(entry.step)
        curves.text(entry.step, "repairs", line)
        curves.numbers(entry.step, hyperparameters(new))
        if entry.kind in fixes.DEEDS:
            lines = [fixes.told(e, self._words) for e in so_far if e.kind in fixes.DEEDS]
            self._rows.repaired(entry.seq, entry.step, line, new, lines)

    def saving(self) -> None:
        """What comes before a checkpoint is never trained again, so it is kept now."""
        self._tell(self._thinned.rest())
        self._rows.flush_if_reachable()
        if self._drawn is not None:
            self._drawn.flush()

    def shown(self, step: int) -> None:
        folder, curves = self._attempt.folder, self._curves(step)
        for name, kind in self._shows.items():
            title = self._titles.get(name, Path(name).stem)
            if kind.startswith("audio/"):
                curves.sound(step, title, folder / name)
            elif kind == "image/png":
                curves.picture(step, title, folder / name)

    def released(self) -> None:
        self._rows.released()
        self._attempt.outage.attempt(self._rows.flush)

    def conclude(self, reason: str) -> None:
        """What finished trials take no more is given to Optuna before it is told; raises Fenced."""
        rows, outage, trial = self._rows, self._attempt.outage, self._attempt.trial
        self._tell(self._thinned.rest())
        entries = outage.wait_for(self._entries)
        found = [name for name in self._shows if (self._attempt.folder / name).is_file()]
        files = {self._attempt.folder / name: self._shows[name] for name in found}
        outage.wait_for(lambda: attach(trial, files, self._workdir))
        note = fixes.note(entries, reason, self._words)
        outage.wait_for(lambda: save_note(trial, note))
        attributes = outage.wait_for(lambda: trial.user_attrs)
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
        if self._entries_so_far is None:
            self._entries_so_far = []
            with suppress(*UNREACHABLE):
                self._entries_so_far = [e for e in self._entries() if e.seq < entry.seq]
        self._entries_so_far.append(entry)
        return self._entries_so_far

    def _entries(self) -> list[Entry]:
        found = repairs_of(self._study.engine, self._study.uid, self._number)
        return list(in_force(entry for _, entry in found))


def _json(found: Any) -> str:
    """What is no number stands as text: JSON has no infinity."""
    return json.dumps(json.loads(json.dumps(found), parse_constant=str), indent=1, ensure_ascii=False)
