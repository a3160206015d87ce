"""The objective: train one voice, measure it at rungs, prune it or give it its value."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import optuna

from model import checkpoint
from model.data.corpus import Corpus
from model.failpoint import failpoint
from model.speech.audio import write_wave
from model.speech.voice import Voice
from model.training import StepMeasures, Training, Validation
from objectives.monitored import Ledger, MonitoredTraining
from objectives.pictures import save_alignment, save_mels
from objectives.progress import MELS, SAMPLE, Progress
from objectives.quality import Judge, Judgement
from smart_tuner.repair.autofix import GivenUp
from smart_tuner.repair.health import Pace
from smart_tuner.repair.pruning import GRACE
from smart_tuner.repair.rule import Entry, Rule
from smart_tuner.repair.words import reason
from smart_tuner.store.outage import Outage
from smart_tuner.store.records import Consumed

PROGRESS = "trial.json"
KEPT_CHECKPOINTS = 2


class Interrupted(Exception):
    """The trial was told to stop; its checkpoint is written and it can go on."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


class Unrepairable(Exception):
    """A rule found a fault that no setting of this trial can be blamed for."""


@dataclass(frozen=True)
class Plan:
    """How every trial of a study is trained, watched and measured."""

    steps: int
    measure_every: int
    validate_every: int
    rules: tuple[Rule, ...]  # none: train only
    searched: frozenset[str]  # settings whose repair ends the trial: with credit = "pure", those searched
    checkpoint_every: int
    sample_text: str
    device: str


@dataclass(frozen=True)
class Measured:
    """One measure of a trial, as it is stored and shown."""

    step: int
    value: float  # dB, free-running: objectives/quality.py
    spread: float | None
    failure_share: float
    failures: dict[str, int]
    shortest: float  # of all sentences, spoken length over recorded length
    longest: float
    aligned_share: float  # teacher-forced, held-out
    diagonal_score: float
    gate_accuracy: float
    mel_l1: float
    seconds: float  # of training so far


@dataclass(frozen=True)
class Attempt:
    """A trial's life in one process.

    Args:
        folder: where its checkpoints and samples are; made by whoever holds the trial.
        asked_to_stop: asked after every step; a signal's number, 0 for another reason, or none.
        kept: told of every checkpoint that was written.
        consumed: told of every step.
    """

    trial: optuna.Trial
    folder: Path
    ledger: Ledger
    outage: Outage
    asked_to_stop: Callable[[], int | None] = lambda: None
    kept: Callable[[Path], None] = lambda _: None
    consumed: Consumed = field(default_factory=Consumed)


class Watcher(Protocol):
    """Who is told how a trial goes."""

    def stepped(self, measures: StepMeasures) -> None: ...
    def repaired(self, entry: Entry) -> None: ...
    def measured(self, measured: Measured) -> None: ...
    def saving(self, step: int) -> None: ...
    def sampled(self, step: int) -> None: ...
    def warned(self, text: str) -> None: ...


class Tacotron2Objective:
    """Trains a trial from its newest sound checkpoint, or from the start.

    Its value is the best of its free-running measures; the checkpoint that scored it is kept, and is
    the one that speaks.
    """

    def __init__(self, corpus: Corpus, judge: Judge, plan: Plan, watcher: Watcher) -> None:
        self._corpus, self._judge, self._plan, self._watcher = corpus, judge, plan, watcher

    def __call__(self, attempt: Attempt, training: Training) -> float:
        """Raises TrialPruned, Unrepairable, NonFinite or OutOfMemory (without rules), StorageLost, or
        Interrupted, after a checkpoint, when the attempt was asked to stop."""
        plan, history = self._plan, list[Measured]()
        monitored = MonitoredTraining(
            training,
            Pace(plan.steps, plan.validate_every),
            plan.rules,
            self._judge.items,
            attempt.folder,
            attempt.ledger,
            self._watcher.repaired,
        )
        self._restore(attempt, monitored, history)
        try:
            return self._train(attempt, monitored, history)
        except GivenUp as end:
            attempt.outage.wait_for(lambda: self._report(attempt, monitored, history))
            ended_by = {"rule": end.entry.rule, **dict(end.entry.evidence)}
            attempt.outage.wait_for(lambda: attempt.trial.set_user_attr("ended_by", ended_by))
            if end.state == "COMPLETE" and history:
                return best(history).value
            if end.state == "FAIL":
                raise Unrepairable(end.reason) from end
            raise optuna.TrialPruned(end.reason) from end

    def _train(self, attempt: Attempt, monitored: MonitoredTraining, history: list[Measured]) -> float:
        training, live = monitored.training, Progress(attempt.folder)
        while True:
            if history and history[-1].step == training.step:  # just measured, here or before a kill
                if training.step >= self._plan.steps + monitored.redone:
                    monitored.conclude()
                    attempt.outage.wait_for(lambda: self._report(attempt, monitored, history))
                    return best(history).value
                if self._falls_behind(attempt, monitored, history):
                    raise optuna.TrialPruned(reason("behind", step=training.step))
            self._train_to_next_measure(attempt, monitored, history, live)
            history.append(self._measure(monitored))
            self._show(training, attempt.folder, history)  # before: what is saved is not measured again
            self._save(attempt, monitored, history)

    def _falls_behind(self, attempt: Attempt, monitored: MonitoredTraining, history: list[Measured]) -> bool:
        """While the database is away nothing is told or pruned; the next measure tells all."""
        verdicts: list[bool] = []

        def tell() -> None:
            self._report(attempt, monitored, history)
            failpoint("reported")
            verdicts.append(attempt.trial.should_prune())
            failpoint("verdict")

        return attempt.outage.attempt(tell) and verdicts[-1]

    def _train_to_next_measure(
        self, attempt: Attempt, monitored: MonitoredTraining, history: list[Measured], live: Progress
    ) -> None:
        every, training = self._plan.measure_every, monitored.training
        measure = (training.step // every + 1) * every
        # redone steps are made up for, so that a repaired trial ends later
        while training.step < (target := min(self._plan.steps + monitored.redone, measure)):
            measures = monitored.advance()
            attempt.consumed.add(measures.seconds)
            self._watcher.stepped(measures)
            live.stepped(measures, self._plan.steps + monitored.redone, monitored.diagonal_score)
            if monitored.changed:
                self._check_credit(monitored)
                self._save(attempt, monitored, history)
            if (signal := attempt.asked_to_stop()) is not None:
                self._save(attempt, monitored, history)
                raise Interrupted(signal)
            if training.step % self._plan.checkpoint_every == 0 and training.step < target:
                self._save(attempt, monitored, history)

    def _check_credit(self, monitored: MonitoredTraining) -> None:
        """Where only the suggested values may earn credit, a repair of one of them ends the trial."""
        repaired = {name for entry in monitored.repairs() for name in entry.changes}
        if names := sorted(repaired & self._plan.searched):
            step = monitored.training.step
            raise optuna.TrialPruned(reason("impure", step=step, names=", ".join(names)))

    def _measure(self, monitored: MonitoredTraining) -> Measured:
        training = monitored.training
        validation = training.validate(self._corpus.held_out)
        measured = summary(validation, self._judge(training.voice()), training.seconds)
        self._watcher.measured(measured)
        monitored.judged(measured.value)
        return measured

    def _save(self, attempt: Attempt, monitored: MonitoredTraining, history: list[Measured]) -> None:
        step = monitored.training.step

        def fill(target: Path) -> None:
            monitored.training.save(target)
            progress = {"measures": [asdict(measured) for measured in history], "watch": monitored.state()}
            (target / PROGRESS).write_text(json.dumps(progress))

        self._watcher.saving(step)
        needed = monitored.saving(step) | ({best(history).step} if history else set())
        try:
            path = checkpoint.write(attempt.folder, step, fill)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            checkpoint.keep(attempt.folder, 1, needed)
            path = checkpoint.write(attempt.folder, step, fill)
        checkpoint.keep(attempt.folder, KEPT_CHECKPOINTS, needed)
        attempt.kept(path)

    def _restore(self, attempt: Attempt, monitored: MonitoredTraining, history: list[Measured]) -> None:
        newest = checkpoint.newest(attempt.folder, self._watcher.warned)
        if newest is None and checkpoint.all_in(attempt.folder):
            self._watcher.warned(f"trial {attempt.trial.number}: no checkpoint is sound; it begins anew")
        checkpoint.set_aside(attempt.folder, -1 if newest is None else checkpoint.step_of(newest))
        if newest is not None:
            monitored.training.restore(newest)
            progress = json.loads((newest / PROGRESS).read_text())
            history += [Measured(**row) for row in progress["measures"]]
            monitored.take(progress["watch"])
        elif self._plan.rules:
            self._save(attempt, monitored, history)  # where a repair may begin anew

    def _report(self, attempt: Attempt, monitored: MonitoredTraining, history: list[Measured]) -> None:
        """All that the database does not know yet."""
        trial = attempt.trial
        attempt.ledger.flush()
        reported = trial._cached_frozen_trial.intermediate_values  # read when the attempt began
        for measured in history:
            if measured.step not in reported:
                trial.report(measured.value, measured.step)
        trial.set_user_attr("measures", [asdict(measured) for measured in history])
        if repairs := monitored.repairs():
            trial.set_user_attr("repairs", len(repairs))
            trial.set_user_attr("effective", monitored.effective())
            trial.set_user_attr(GRACE, monitored.grace_until)

    def _show(self, training: Training, folder: Path, history: list[Measured]) -> None:
        """Keep a sample and a picture of the trial's best state beside its checkpoints."""
        if best(history) is history[-1]:
            title, voice = f"step {training.step}, {history[-1].value:.2f} dB", training.voice()
            try:
                save_sample(voice, self._plan.sample_text, folder / SAMPLE, title)
                item = self._judge.items[0]
                spoken = voice.read([item.symbols.tolist()], [0])[0]
                save_mels(folder / MELS, item.mel, spoken.mel, f"{item.text}\n{title}")
            except OSError as error:  # a checkpoint may still find room, by giving an older one up
                self._watcher.warned(f"the sample of step {training.step} is not kept: {error}")
            else:
                self._watcher.sampled(training.step)


def save_sample(voice: Voice, text: str, path: Path, title: str) -> str:
    """Speak `text` into a WAV, with a picture of its alignment beside it; returns why it stopped."""
    speech, symbols = voice.speak(text), voice.front_end.encode(text)
    temporary = path.with_suffix(".tmp.wav")
    write_wave(temporary, voice.sound(speech), voice.mel_settings.sample_rate)
    os.replace(temporary, path)
    save_alignment(path.with_suffix(".png"), speech, symbols, voice.front_end, f"{text}\n{title}")
    return speech.stop


def summary(validation: Validation, judgement: Judgement, seconds: float) -> Measured:
    ratios = [score.length_ratio for score in judgement.scores]
    return Measured(
        validation.step,
        judgement.value,
        judgement.spread,
        judgement.failure_share,
        judgement.failures,
        min(ratios),
        max(ratios),
        validation.aligned_share,
        validation.diagonal_score,
        validation.gate_accuracy,
        validation.mel_l1,
        seconds,
    )


def best(history: list[Measured]) -> Measured:
    return min(history, key=lambda measured: measured.value)
