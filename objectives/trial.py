"""A trial: train a run under watch, measure it at rungs, prune it or give it its value."""

import errno
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna

from model import checkpoint
from model.failpoint import failpoint
from objectives.attempt import Callback, Measured, Start, Step
from objectives.base import ObjectiveError
from objectives.monitored import Monitored
from objectives.progress import Progress
from smart_tuner.repair.autofix import GivenUp
from smart_tuner.repair.health import Pace
from smart_tuner.repair.pruning import GRACE, should_prune
from smart_tuner.repair.words import reason
from smart_tuner.store.optuna_private import latest

STATE = "trial.json"  # in each checkpoint: what was measured, and what the rules know
KEPT_CHECKPOINTS = 2
WATCHED_STEPS, MOST_WAITING = 50, 0.5  # of how many steps the waiting is summed up, and how much is usual
LATER_SECONDS = 120.0  # for which a trial that has trained waits for numbers of its measures


class Interrupted(Exception):
    """The trial was told to stop; its checkpoint is written and it can go on."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


class Paused(Exception):
    """The search goes on with another trial; this one's checkpoint is written, and it may go on later."""


class Unrepairable(Exception):
    """A rule found a fault that no setting of this trial can be blamed for."""


class Trial:
    """One attempt at a trial: goes on from its newest sound checkpoint, or begins.

    Its value is the best of its measures; the checkpoint that scored it is kept.
    """

    def __init__(self, start: Start, callback: Callback) -> None:
        attempt, plan, objective, run = start.attempt, start.plan, start.objective, start.run
        self._attempt, self._objective, self._run = attempt, objective, run
        self._plan, self._callback = plan, callback
        self._history: list[Measured] = []
        self._seconds = 0.0  # of training, over all attempts
        self._waits: list[tuple[float, float]] = []  # seconds of the newest steps, waiting and in all
        self._told_of_waits = False
        self._watch = Monitored(
            objective,
            run,
            Pace(plan.steps, plan.validate_every),
            plan.rules,
            attempt.folder,
            attempt.ledger,
            callback.repaired,
            plan.restraint,
        )

    def value(self) -> float:
        """Train to the end.

        Raises:
            TrialPruned, Unrepairable, NonFinite or OutOfMemory (without rules), StorageLost, or, after a
            checkpoint, Interrupted, when the attempt was asked to stop, or Paused.
        """
        wait_for = self._attempt.outage.wait_for
        self._restore()
        try:
            return self._train()
        except GivenUp as end:
            self._report_last()
            ended_by = {"rule": end.entry.rule, **dict(end.entry.evidence)}
            wait_for(lambda: self._attempt.trial.set_user_attr("ended_by", ended_by))
            if end.state == "COMPLETE" and self._history:
                return best(self._history).value
            if end.state == "FAIL":
                raise Unrepairable(end.reason) from end
            raise optuna.TrialPruned(end.reason) from end

    def _train(self) -> float:
        run, history, live = self._run, self._history, Progress(self._attempt.folder)
        chosen_at = run.step if self._attempt.was_paused else None
        while True:
            if history and history[-1].step == run.step:  # just measured, here or before a kill
                if self._is_over():
                    self._watch.conclude()
                    self._report_last()
                    return best(history).value
                self._take_later(0.0)
                if self._falls_behind():
                    self._report_last()
                    if math.isnan(value := history[-1].value):
                        raise optuna.TrialPruned(reason("no_value", value=value))
                    raise optuna.TrialPruned(reason("behind", step=run.step))
                if run.step != chosen_at and not self._attempt.goes_on():
                    raise Paused(f"paused at step {run.step}")
            if not self._measure_is_due():
                self._train_to_next_measure(live)
            history.append(self._measure())
            run.leave(self._attempt.folder)
            self._show()  # before: what is saved is not measured again
            self._save()

    def _is_over(self) -> bool:
        """Asked at a measure. What was heard is waited for only where it decides."""
        plan, history = self._plan, self._history
        if self._run.step >= self._last_step or self._attempt.consumed.seconds >= plan.seconds:
            return True
        if plan.patience is None or not no_better([m.value for m in history], plan.patience):
            return False
        self._take_later(LATER_SECONDS)
        return no_better([m.more.get("cer", math.inf) for m in history], plan.patience)

    @property
    def _last_step(self) -> int:
        """Redone steps are made up for, so that a repaired trial ends later."""
        return self._plan.steps + self._watch.redone

    def _measure_is_due(self) -> bool:
        """Whether the attempt before this one saved and ended between a step and its measure."""
        step, every = self._run.step, self._plan.measure_every
        measured = bool(self._history) and self._history[-1].step == step
        return step > 0 and not measured and (step % every == 0 or step >= self._last_step)

    def _falls_behind(self) -> bool:
        """While the database is away nothing is told or pruned; the next measure tells all."""
        verdicts: list[bool] = []

        def tell() -> None:
            self._report()
            failpoint("reported")
            verdicts.append(should_prune(self._attempt.trial))
            failpoint("verdict")

        return self._attempt.outage.attempt(tell) and verdicts[-1]

    def _train_to_next_measure(self, live: Progress) -> None:
        every, run = self._plan.measure_every, self._run
        measure = (run.step // every + 1) * every
        while run.step < (target := min(self._last_step, measure)):
            done = self._watch.advance()
            self._count(done, live)
            if self._watch.changed:
                self._check_credit()
                self._save()
            if (signal := self._attempt.asked_to_stop()) is not None:
                self._save()
                raise Interrupted(signal)
            if run.step % self._plan.checkpoint_every == 0 and run.step < target:
                self._save()

    def _count(self, done: Step, live: Progress) -> None:
        self._seconds += done.seconds
        self._attempt.consumed.add(done.seconds)
        self._waits.append((self._run.waited, done.seconds))
        if len(self._waits) == WATCHED_STEPS:
            self._check_waits()
        self._callback.stepped(done)
        signals = {**self._watch.validated, **done.signals}
        live.stepped(done.step, done.seconds, signals, self._last_step, self._objective.curves)

    def _check_waits(self) -> None:
        """An input that starves the training is told once an attempt; no rule can mend it."""
        waited, seconds = (sum(column) for column in zip(*self._waits, strict=True))
        self._waits.clear()
        if waited > MOST_WAITING * seconds and not self._told_of_waits:
            self._told_of_waits = True
            self._callback.warned(
                f"trial {self._attempt.trial.number} spends {waited / seconds:.0%} of its time waiting for "
                "its data: put the workdir on a faster disk, or start fewer workers on this machine"
            )

    def _check_credit(self) -> None:
        """Where only the suggested values may earn credit, a repair of one of them ends the trial."""
        repaired = {name for entry in self._watch.repairs() for name in entry.changes}
        if names := sorted(repaired & self._plan.searched):
            raise optuna.TrialPruned(reason("impure", step=self._run.step, names=", ".join(names)))

    def _measure(self) -> Measured:
        found = _plain(self._run.measure())
        measured = Measured(self._run.step, found.pop("value"), self._seconds, found)
        self._callback.measured(measured)
        self._watch.judged(measured.value)
        return measured

    def _save(self) -> None:
        step, folder = self._run.step, self._attempt.folder

        def fill(target: Path) -> None:
            self._run.save(target)
            measures = [measured.record() for measured in self._history]
            state = {"measures": measures, "seconds": self._seconds, "watch": self._watch.state()}
            (target / STATE).write_text(json.dumps(state))

        self._callback.saving(step)
        needed = self._watch.saving(step) | ({best(self._history).step} if self._history else set())
        try:
            path = checkpoint.write(folder, step, fill)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            checkpoint.keep(folder, 1, needed)
            path = checkpoint.write(folder, step, fill)
        checkpoint.keep(folder, KEPT_CHECKPOINTS, needed)
        self._attempt.kept(path)
        self._callback.saved(step, path)

    def _restore(self) -> None:
        folder, warned = self._attempt.folder, self._callback.warned
        newest = checkpoint.newest(folder, warned)
        if newest is None and checkpoint.all_in(folder):
            warned(f"trial {self._attempt.trial.number}: no checkpoint is sound; it begins anew")
        checkpoint.set_aside(folder, -1 if newest is None else checkpoint.step_of(newest))
        if newest is not None:
            self._run.restore(newest)
            if self._run.step != (saved := checkpoint.step_of(newest)):
                raise ObjectiveError(
                    f"restore() left `step` at {self._run.step}: it must be {saved}, as `save` had it."
                )
            if self._plan.settings:
                self._run.settings = {**self._run.settings, **self._plan.settings}
            state = json.loads((newest / STATE).read_text())
            self._history += [Measured.from_record(row) for row in state["measures"]]
            before = self._history[-1].seconds if self._history else 0.0  # as version 0.1 kept it
            self._seconds = state.get("seconds", before)
            self._watch.take(state["watch"])
        elif self._plan.rules:
            self._save()  # where a repair may begin anew

    def _take_later(self, seconds: float) -> None:
        """Numbers of measures that became known since."""
        found = self._run.later(self._attempt.folder, seconds)
        for at, measured in enumerate(self._history):
            more = {k: v for k, v in found.get(measured.step, {}).items() if k not in measured.more}
            if more:
                self._history[at] = replace(measured, more={**measured.more, **more})
                self._callback.added(self._history[at], more)

    def _report_last(self) -> None:
        """The same as `_report`, with what is still being found out."""
        self._take_later(LATER_SECONDS)
        self._attempt.outage.wait_for(self._report)

    def _report(self) -> None:
        """All that the database does not know yet."""
        trial = self._attempt.trial
        self._attempt.ledger.flush()
        reported = latest(trial).intermediate_values  # read when the attempt began
        for measured in self._history:
            if measured.step not in reported:
                trial.report(measured.value, measured.step)
        trial.set_user_attr("measures", [measured.record() for measured in self._history])
        if repairs := self._watch.repairs():
            trial.set_user_attr("repairs", len(repairs))
            trial.set_user_attr("effective", self._watch.effective())
            trial.set_user_attr(GRACE, self._watch.grace_until)

    def _show(self) -> None:
        """Keep what shows the trial's best state beside its checkpoints."""
        measured = self._history[-1]
        if best(self._history) is not measured:
            return
        title = f"step {measured.step}, {self._objective.shown(measured.value)}"
        try:
            self._run.show(self._attempt.folder, title)
        except OSError as error:  # a checkpoint may still find room, by giving an older one up
            self._callback.warned(f"the sample of step {measured.step} is not kept: {error}")
        else:
            self._callback.shown(measured.step)


def no_better(values: Sequence[float], last: int) -> bool:
    """Whether none of the last ones is smaller than all before; NaN is as large as can be."""
    known = [math.inf if math.isnan(value) else value for value in values]
    return len(known) > last and min(known[-last:]) >= min(known[:-last])


def _plain(told: object) -> dict[str, Any]:
    """A measure as JSON keeps it, so that a trial that was killed has the same. Raises ObjectiveError."""
    try:
        found: dict[str, Any] = json.loads(json.dumps(dict(told), default=float))  # type: ignore[call-overload]
        found["value"] = float(found["value"])
    except (KeyError, TypeError, ValueError) as error:
        raise ObjectiveError(
            f'measure() returned {told!r}: a number called "value" is expected, and beside it only what JSON '
            f"knows ({error})."
        ) from error
    if taken := sorted({"step", "seconds"} & found.keys()):
        raise ObjectiveError(f"measure() returned {', '.join(taken)}, which is kept anyway: rename it.")
    return found


def best(history: list[Measured]) -> Measured:
    """The one of the smallest value; NaN is worse than all."""
    return min(history, key=lambda measured: (math.isnan(measured.value), measured.value))
