"""A run under watch: its signals go to AutoFix, whose repairs go to the run."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from model import checkpoint
from objectives.attempt import Ledger, Step
from objectives.base import NonFinite, Objective, ObjectiveError, OutOfMemory, Run, as_numbers
from smart_tuner.repair.autofix import AutoFix
from smart_tuner.repair.health import Health, Pace
from smart_tuner.repair.rule import UNRESTRAINED, Entry, Restraint, Rule

EARLY_PROBES = (10, 15, 20)  # a cut graph shows at once


class Monitored:
    """One trial's run with its rules; without rules it only trains.

    Args:
        objective: what made the run; it says what the signals mean, and how far settings may move.
        folder: where the trial's checkpoints are.
        repaired: told of each entry, after it and its picture are kept.
        restraint: where the rules only tell what they see.
    """

    def __init__(
        self,
        objective: Objective,
        run: Run,
        pace: Pace,
        rules: Sequence[Rule],
        folder: Path,
        ledger: Ledger,
        repaired: Callable[[Entry], None] = lambda _: None,
        restraint: Restraint = UNRESTRAINED,
    ) -> None:
        self.run, self._pace, self._folder = run, pace, folder
        self.ways = run.ways
        self._ledger, self._repaired = ledger, repaired
        self._validated: Mapping[str, float] = {}
        self._seen = False  # whether a validation since the last repair left something to draw
        self.autofix: AutoFix | None = None
        if rules:
            own = {name: (p.low, p.high) for name, p in objective.parameters.items() if p.setting}
            limits = {**own, **run.limits}
            health = Health(pace, objective.signals, objective.milestone)
            start = dict(run.settings)
            record = self._record
            self.autofix = AutoFix(
                self, start, rules, limits, run.n_clips, health, record, restraint, run.worst
            )

    # What AutoFix may do

    def roll_back(self, step: int) -> None:
        """A trial that goes on from another one's checkpoint has none from before: then to that."""
        path = checkpoint.at(self._folder, step)
        if not path.exists():
            path = next((p for p in checkpoint.all_in(self._folder) if checkpoint.step_of(p) > step), path)
        checkpoint.verify(path)
        self.run.roll_back(path)
        if self.autofix is not None and (excluded := self.autofix.excluded):  # since that was saved, too
            self.run.exclude(excluded)

    def reinitialise(self, part: str) -> None:
        self.run.reinitialise(part)

    def exclude(self, clips: Sequence[str]) -> None:
        self.run.exclude(clips)

    def worth(self) -> float | None:
        return self.run.worth()

    def _record(self, entry: Entry) -> Entry:
        """With what the run looked like, if it was seen: before a repair, and at its verdict."""
        entry = self._ledger.add(entry)
        if entry.kind != "alarm" and self._seen:
            with suppress(OSError):  # no picture is worth a run
                self.run.draw(self._folder / entry.picture)
        if entry.kind == "repair":
            self._seen = False
        self._repaired(entry)
        return entry

    # What a trial does

    def advance(self) -> Step:
        """One consumed step; batches that cannot be taken are passed over, as the rules say.

        Raises:
            GivenUp: a rule ended the trial.
            NonFinite, OutOfMemory: there are no rules.
        """
        run, fix = self.run, self.autofix
        while True:
            step = run.step + 1
            if fix is not None:
                run.settings = fix.settings()
                run.probing = step in EARLY_PROBES or step % fix.probe_every == 0
            started = time.monotonic()
            try:
                signals = self._taken()
            except OutOfMemory as error:
                if fix is None:
                    raise
                fix.out_of_memory(str(error))
                continue
            if signals is None:
                continue
            if run.step != step:
                raise ObjectiveError(f"advance() left `step` at {run.step}: it must add 1, to {step}.")
            whole = {name: value for name, value in signals.items() if "/" not in name}
            done = Step(step, time.monotonic() - started, whole)
            if fix is not None:
                self._watch(fix, done, {k: v for k, v in signals.items() if "/" in k})
            elif not math.isfinite(whole["loss"]):
                raise NonFinite(step, loss=whole["loss"])
            return done

    def _watch(self, fix: AutoFix, done: Step, parts: Mapping[str, float]) -> None:
        """Rules read `unweighted_loss`: where no setting weighs a part of the loss, it is the loss."""
        if self.run.clips:
            fix.health.note_clips(self.run.clips)
        fix.stepped(done.step, {"unweighted_loss": done.signals["loss"], **done.signals}, parts or None)
        if done.step % self._pace.validate_every == 0:
            self._validated = as_numbers(self.run.validate(fix.health), "validate")
            self._seen = bool(self._validated)
            fix.validated(done.step, self._validated)

    def _taken(self) -> Mapping[str, float] | None:
        """What a step measured. A batch that failed is tried again: if it passes, the machine slipped; else
        it is left behind, and there is None."""
        try:
            return self._advanced()
        except NonFinite:
            if self.autofix is None:
                raise
        try:
            return self._advanced()
        except NonFinite as again:
            self.autofix.not_finite(again.measures, tuple(self.run.skip()))
            return None

    def _advanced(self) -> Mapping[str, float]:
        signals = as_numbers(self.run.advance(), "advance")
        if "loss" not in signals:
            raise ObjectiveError(f'advance() returned {signals}: a number called "loss" is expected.')
        return signals

    def judged(self, value: float) -> None:
        """The measure of the trial, which is dear and comes seldom."""
        if self.autofix is not None:
            self.autofix.judged(self.run.step, value)

    def conclude(self) -> None:
        """The run is over."""
        if self.autofix is not None:
            self.autofix.conclude()

    @property
    def redone(self) -> int:
        """Steps that repairs took back: they do not count as trained."""
        return 0 if self.autofix is None else self.autofix.redone

    @property
    def changed(self) -> bool:
        """Whether a repair or verdict came since the last checkpoint."""
        return self.autofix is not None and self.autofix.changed

    def saving(self, step: int) -> set[int]:
        """A checkpoint of `step` is about to be written; the steps of those that repairs need."""
        if self.autofix is None:
            return set()
        self.autofix.saved(step)
        return self.autofix.kept()

    def repairs(self) -> list[Entry]:
        return [] if self.autofix is None else self.autofix.repairs()

    @property
    def grace_until(self) -> int:
        return 0 if self.autofix is None else self.autofix.rest_until

    def effective(self) -> dict[str, float]:
        """The settings that repairs left changed."""
        if self.autofix is None:
            return {}
        return {name: new for entry in self.autofix.entries for name, (_, new) in entry.changes.items()}

    @property
    def validated(self) -> Mapping[str, float]:
        """What the newest validation of this attempt measured."""
        return self._validated

    def state(self) -> dict[str, Any] | None:
        return None if self.autofix is None else self.autofix.state()

    def take(self, state: dict[str, Any] | None) -> None:
        """Go on from a checkpoint's state; repairs that came after it never happened."""
        if self.autofix is not None and state is not None:
            self.autofix.take(state)
            self._ledger.take(self.autofix.entries, self.run.step)
