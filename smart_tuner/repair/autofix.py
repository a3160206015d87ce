"""AutoFix: the one arbiter, and the only place that changes a running trial.

Rules propose. AutoFix asks them in tiers, lets the lowest level (nearest to the cause) speak first,
changes one thing, waits, and judges what came of it: whether the fault is gone (else the next remedy comes),
and whether the run is worth more since: improved, no effect, or harm, which is undone.
"""

import hashlib
import json
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NoReturn, Protocol

import numpy as np

from smart_tuner.repair.checkpoint_choice import CheckpointChoice
from smart_tuner.repair.health import COMMON, Health, Signal, spread
from smart_tuner.repair.outcome import HELD_OUT, LEAST, VALUE, Outcome, Told, says_nothing
from smart_tuner.repair.rule import (
    UNRESTRAINED,
    Action,
    Alarm,
    Entry,
    Hyperparameters,
    Restraint,
    Rule,
    Value,
    settings_at,
)
from smart_tuner.repair.rules.numerics import NonFinite, OutOfMemory
from smart_tuner.repair.rules.reading import WINDOW, median
from smart_tuner.repair.words import ENGLISH, Reason, Words, of_rules

SURE_LEVEL = 2  # rules up to here (data, code, resources) also repair a trial that does well
HARD_LEVEL = 3  # rules up to here do not wait for another repair's verdict
FREE_LEVEL = 4  # rules up to here act whatever other trials do
OUTSIDE = 3.0  # spreads of the sound trials, or times MIN_SPREAD of their median: what lies beyond is ill
MIN_SPREAD = 0.05
MAX_REPAIRS = 5  # a trial
MAX_REDONE = 0.3  # of the planned steps; what did harm is taken back beyond it, too
MAX_WARMUP = 0.25  # of the planned steps: so long may a warm-up hold rules back, as the alignment's deadline
MAX_EXCLUDED = 0.05  # of the clips: beyond, the data is at fault
NOTHING: Mapping[str, Value] = {}
EVERY_RUN = ("loss", "unweighted_loss", "value")  # what is measured even where nothing is declared
POISONED = ("loss", "unweighted_loss", "grad_norm")  # where these are not finite, the weights are not either
POLICY_VERSION = 9  # of this file and of what the rules' code does with their thresholds
FIRST_VERSION = 4  # that of studies whose rules act on every setting, and judge themselves


def policy_hash(
    rules: Sequence[Rule], signals: Mapping[str, Signal], advises: Collection[str] | None = None
) -> str:
    """SHA-256 of the rules with their thresholds and numbers of remedies, and of the arbiter's limits.

    But for `MAX_WARMUP`, which is younger: studies go on whose warm-ups are within it, as nearly all are.

    Args:
        advises: the rules that only advise, in a study whose searched settings are not repaired. None: in one
            that began when every rule acted on every setting.
    """
    max_worse = {
        name: signal.max_worse if signal.better == "smaller" else -signal.max_worse
        for name, signal in {**signals, **COMMON}.items()
        if signal.max_worse is not None
    }
    of = rules if advises is not None else known_at_first(rules)
    content = {
        "version": FIRST_VERSION,
        "rules": {rule.name: [rule.level, rule.priority, rule.max_remedies, asdict(rule)] for rule in of},
        "limits": [MAX_REPAIRS, MAX_REDONE, MAX_EXCLUDED, max_worse],
    }
    if advises is not None:
        content |= {"version": POLICY_VERSION, "advises": sorted(advises)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def known_at_first(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Those that studies have which began when every rule acted on every setting."""
    return tuple(rule for rule in rules if rule.since <= FIRST_VERSION)


def offered(signals: Iterable[str], settings: Iterable[str], ways: Iterable[str]) -> set[str]:
    """What rules may need of a run: its measures, its settings that may change, and ways to repair it."""
    return {*EVERY_RUN, *signals, *settings, *ways}


class GivenUp(Exception):
    """A rule ended the trial: `state` is PRUNED, FAIL or COMPLETE, `entry` says why."""

    def __init__(self, state: str, entry: Entry, words: Words = ENGLISH) -> None:
        seen = words.sentence(entry.rule, entry.reason, entry.evidence)
        why = words.sentence(entry.rule, entry.action, entry.action_values)
        super().__init__(f"step {entry.step}: {entry.rule}: {seen}; {why}")
        self.state, self.entry = state, entry

    @property
    def reason(self) -> Reason:
        entry = self.entry
        named: dict[str, Value] = {"step": entry.step, "rule": entry.rule, "action": entry.action}
        return Reason(str(self), "given_up", {**entry.action_values, **named})


class Run(Protocol):
    """What AutoFix may do to a training.

    Attributes:
        ways: which of the methods work here, by name.
    """

    ways: frozenset[str]

    def roll_back(self, step: int) -> None: ...
    def reinitialise(self, part: str) -> None: ...
    def exclude(self, clips: Sequence[str]) -> None: ...
    def worth(self) -> float | None: ...


class AutoFix:
    """Watches and repairs one run.

    Args:
        start: the trial's settings; what is in force later is `settings()`, computed from the repairs.
            Integers stay integers.
        limits: how far each setting may ever move; what is not named here is never changed.
        n_clips: of training.
        record: adds a row to the repairs table and returns it with its number.
        restraint: where rules only tell what they see; the same in all attempts at a trial.
        worst: the value of a run that is worth nothing, if there is one.
    """

    def __init__(
        self,
        run: Run,
        start: Mapping[str, float],
        rules: Sequence[Rule],
        limits: Mapping[str, tuple[float, float]],
        n_clips: int,
        health: Health,
        record: Callable[[Entry], Entry],
        restraint: Restraint = UNRESTRAINED,
        worst: float | None = None,
    ) -> None:
        self._run, self._start, self._n_clips = run, dict(start), n_clips
        self._restraint, self._worst = restraint, worst
        self.limits = {name: limits[name] for name in start if name in limits}
        self._record, self.health = record, health
        names = offered(health.declared, self.limits, run.ways)
        self._rules = tuple(rule for rule in rules if not rule.missing(names))
        self._has_probes = any("/" in name for name in health.declared)
        self.probe_every = health.pace(50, 20)  # steps: how often the parts of the network are looked at
        self._words = Words("en", of_rules(rules))
        self.entries: list[Entry] = []  # those in force
        self.changed = False  # since the run last saved: a resume must not lose it
        self._votes = {rule.name: deque[bool](maxlen=rule.votes[1]) for rule in self._rules}
        self._choice = CheckpointChoice(health)
        self._events: list[int] = []  # steps with a non-finite loss of no clip's making
        self._redone = 0
        self._outcome = Outcome()
        self._ages: dict[int, int] = {}  # of the weights in each checkpoint, in steps
        self._begun = 0  # the consumed step at which the present weights were of age 0
        self._worth: tuple[int, float] | None = None  # step and value, when that was last known
        self._asked: dict[str, int] = {}  # the step at which a rule last asked for it, by the rule's name
        self.rest_until = 0

    # What is in force

    def settings(self) -> Hyperparameters:
        """For the next step."""
        least_rate = self.limits.get("learning_rate", (0.0, 0.0))[0]
        return settings_at(self.health.step, self._start, self.entries, least_rate)

    @property
    def _hyperparameters(self) -> Hyperparameters:
        """What rules read: a learning rate that warms up counts with its full value."""
        return settings_at(10**9, self._start, self.entries)

    @property
    def in_grace(self) -> bool:
        """A repair shows its effect."""
        return self.health.step < self.rest_until or self._pending() is not None

    @property
    def redone(self) -> int:
        """Consumed steps whose weights were given up: a run may train so much longer."""
        return self._redone

    def repairs(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind == "repair"]

    def kept(self) -> set[int]:
        """The steps of the checkpoints that a repair, or its undoing, may need."""
        return self._choice.kept() | self._undo_steps()

    def saved(self, step: int) -> None:
        """A checkpoint of `step` is written."""
        self.changed = False
        self._choice.saved(step)
        kept = self.kept()
        self._ages = {s: age for s, age in {**self._ages, step: self._age}.items() if s in kept}

    def _undo_steps(self) -> set[int]:
        pending, undo = self._pending(), self._outcome.undo
        return {step for step in (pending.step if pending else None, undo) if step is not None}

    @property
    def _age(self) -> int:
        """Steps that the present weights were trained for."""
        return self.health.step - self._begun

    # What happens to the run

    def stepped(self, step: int, measures: Mapping[str, float], probe: Mapping[str, float] | None) -> None:
        """After each step; `probe` has the measures of the network's parts, now and then, if there are any.

        A step that was taken with a loss or gradient that is not finite has spoilt the weights.
        """
        if poisoned := [name for name in POISONED if not math.isfinite(measures.get(name, 0.0))]:
            self.health.note(step, {})
            self._choice.trouble()
            self._act(self._rule(NonFinite), Alarm("spoilt", {"names": ", ".join(poisoned)}), ())
            return
        self.health.note(step, measures)
        summed_up = probe is not None or (not self._has_probes and step % self.probe_every == 0)
        if summed_up:
            self.health.note(step, probe or {})
            self._sum_up(step)
        self._ask("step")
        if summed_up:
            self._ask("probe")

    def validated(self, step: int, measures: Mapping[str, float]) -> None:
        health = self.health
        measures = {self._milestone: 0.0 if health.milestone else 1.0, **measures}
        health.note(step, measures)
        reached = bool(measures[self._milestone])
        if reached:
            health.milestone_at = health.milestone_at or step
        else:
            health.clips.clear()  # a clip can only stand out from a run that has learned something
        self._choice.validated(reached)
        for name, signal in health.signals.items():
            if (
                signal.better
                and not signal.each_step
                and name in measures
                and (reached or not signal.at_milestone)
            ):
                health.improve(name, measures[name])
        if HELD_OUT in measures:
            self._outcome.note(HELD_OUT, self._age, measures[HELD_OUT])
        self._judge()
        self._hear()
        self._ask("validation")

    def judged(self, step: int, value: float) -> None:
        """The trial's own measure, which is dear and comes seldom."""
        self.health.note(step, {VALUE: value})
        self.health.improve(VALUE, value)
        self._outcome.note(VALUE, self._age, value)
        self._worth = step, value  # what it says of a repair comes with the next validation

    def not_finite(self, measures: Mapping[str, float], bad_clips: Sequence[str]) -> None:
        """A step had to be skipped.

        Args:
            measures: its loss and grad_norm, of which one at least is not finite.
            bad_clips: those of its clips that are to blame alone.
        """
        rule, step = self._rule(NonFinite), self.health.step
        self._choice.trouble()
        if bad_clips and "exclude" in self._run.ways and rule.name not in self._restraint.advises:
            blamed: dict[str, Value] = {"clips": len(bad_clips), "names": ", ".join(bad_clips[:5])}
            alarm = Alarm("by_clips", {**measures, **blamed}, tuple(bad_clips))
            self._exclude(rule, alarm, "leave_out", None)  # no remedy of its own
            return
        self._events.append(step)
        window = self.health.pace(rule.within_steps, rule.within_steps)
        recent = [s for s in self._events if s > step - window or s == step]
        alarm = Alarm("not_finite", {**measures, "events": len(recent)})
        if len(recent) <= rule.max_events:
            self._note("alarm", rule, alarm, action="skip_batch")
        else:
            self._events = []
            self._act(rule, alarm, ())

    def out_of_memory(self, error: str) -> None:
        self._act(self._rule(OutOfMemory), Alarm("too_large", {"error": error}), ())

    # Asking

    def _ask(self, tier: str) -> None:
        fired, hyperparameters = [], self._hyperparameters
        for rule in self._rules:
            if rule.tier != tier or not self._armed(rule):
                continue
            alarm, votes = rule.sees(self.health, hyperparameters), self._votes[rule.name]
            votes.append(alarm is not None)
            if not any(votes):
                self.health.alarmed.discard(rule.name)
            if alarm is None:
                continue
            if any(action.back_to for action in rule.remedies(hyperparameters)):
                self._choice.trouble()
            if sum(votes) >= rule.votes[0]:
                fired.append((rule, alarm))
        if fired:
            self._decide(sorted(fired, key=lambda pair: (pair[0].level, -pair[0].priority)))

    def _armed(self, rule: Rule) -> bool:
        """A warm-up is no fault; but a rule that waits for most of the plan repairs nothing."""
        pace = self.health.pace
        warm = min(self._start.get("warmup_steps", 0), int(MAX_WARMUP * pace.planned))
        return rule.level <= 1 or self.health.age >= max(pace(200, 50), warm)

    def _decide(self, fired: list[tuple[Rule, Alarm]]) -> None:
        free = [(rule, alarm) for rule, alarm in fired if not self._only_told(rule, alarm)]
        if not free:
            return
        (rule, alarm), others = free[0], free[1:]
        try:
            if (cause := self._cause_of(rule)) is not None:
                self._wait(rule, alarm, "waits_for_cause", {"cause": cause})
            elif self.in_grace and rule.level > HARD_LEVEL and not self._came_again(rule):
                self._wait(rule, alarm, "waits_for_verdict", {"step": self.rest_until})
            else:
                self._act(rule, alarm, tuple(other.name for other, _ in others))
        finally:
            for other, seen in others:
                self._wait(other, seen, "waits_for_cause", {"cause": rule.name})

    def _cause_of(self, rule: Rule) -> str | None:
        """A rule of a lower level that has something left to try, and whose alarm stands, or is on its way:
        when it was last asked, it saw its fault. Before a rule gives up, one of its own level counts, too."""
        least = rule.level + self._spent(rule)
        for other in self._rules:
            votes = self._votes[other.name]
            stands = other.name in self.health.alarmed or (bool(votes) and votes[-1])
            may_be = other is not rule and other.level < least and stands
            if may_be and not self._spent(other) and not self._restrained(other):
                return other.name
        return None

    def _came_again(self, rule: Rule) -> bool:
        """Whether sound weights, to which this very rule went back, are lost as well: no verdict is worth the
        steps that are waited for it. Until a rule nearer to the cause has had two looks, it is waited."""
        last = self._pending()
        if last is None or last.rule != rule.name or not last.back_to:
            return False
        return self.health.step - last.step >= self.health.pace(200, 2 * WINDOW)

    def _wait(self, rule: Rule, alarm: Alarm, why: str, values: Mapping[str, Value]) -> None:
        """Record an alarm that nothing is done about, once until it clears."""
        if rule.name not in self.health.alarmed:
            self._note("alarm", rule, alarm, action=why, action_values=values)
            self.health.alarmed.add(rule.name)

    # Where nothing is done

    def _only_told(self, rule: Rule, alarm: Alarm) -> bool:
        """Record the alarm of a rule that may not act. Where the run cannot go on so, that ends the trial.

        What stays as it is, with nothing left to try, must not keep other rules waiting."""
        if rule.gives_up is None and self._restraint.peers is not None and self._spent(rule):
            self._wait(rule, alarm, "reported_nothing_left", self._tried(rule))
            return True
        if (why := self._restrained(rule)) is None:
            return False
        if rule.tier == "event":
            self._end(rule.gives_up or "FAIL", rule, alarm, *why)
        self._wait(rule, alarm, *why)
        return True

    def _restrained(self, rule: Rule) -> tuple[str, dict[str, Value]] | None:
        """Why it only tells what it sees, as a code with its values. What stops a run is repaired, or ends
        it, however the run stands and whatever is searched."""
        if rule.tier != "event":
            if (names := self._searched_by(rule)) and self._spent(rule):
                return "searched", {"names": ", ".join(names)}
            if (told := self._left_alone(rule)) is not None:
                return told
        if rule.name in self._restraint.advises:
            return "advised", self._would_do(rule)
        return None

    def _would_do(self, rule: Rule) -> dict[str, Value]:
        """Its next remedy, by a code with its values."""
        _, action, _ = self._next_action(rule)
        ends = "end_trial" if rule.gives_up else "do_nothing"
        return {"remedy": ends} if action is None else {**action.values, "remedy": action.code}

    def _left_alone(self, rule: Rule) -> tuple[str, dict[str, Value]] | None:
        """Why a rule that may act does not act on this run."""
        if rule.level <= SURE_LEVEL:
            return None
        if (standing := self._standing(rule)) is not None:
            return "better_half", standing
        if self._restraint.control:
            return "control", self._would_do(rule)
        if self._did_harm(rule):
            return "did_harm", {}
        if self._restraint.peers is None:
            return None
        if rule.only_lost and not self._is_worth_nothing(rule):
            return "advised" if self._worth is None else "worth_something", self._would_do(rule)
        if rule.level > FREE_LEVEL and (beside := self._beside_peers(rule)) is not None:
            is_ill, values = beside
            return None if is_ill else ("like_peers", values)
        alone = not self._restraint.searched
        if alone and (not rule.hesitates or self.repairs()):  # what was ill once is not like sound runs
            return None
        return self._doing_well(rule)

    def _standing(self, rule: Rule) -> dict[str, Value] | None:
        """The newest value beside the median that it is no worse than, and that one's step."""
        medians = self._restraint.medians
        newest = self._value(rule) if medians else None
        if newest is None:
            return None
        at = max((step for step in medians if step <= newest[0]), default=None)
        if at is None or not newest[1] <= medians[at]:
            return None
        return {"value": newest[1], "median": medians[at], "step": at}

    def _value(self, rule: Rule) -> tuple[int, float] | None:
        """What the run is worth, and since when that is known. A rule may ask anew once between two
        validations: what it sees may have come since another one asked."""
        step = self.health.step
        known = self._worth is not None and self._worth[0] == step
        stands = rule.name in self.health.alarmed
        if rule.only_lost and stands:  # perhaps to the end: what is measured anyhow serves
            return self._worth
        every = self.health.pace.validate_every
        if known or step - self._asked.get(rule.name, -every) < every:
            return self._worth
        self._asked[rule.name] = step
        if (value := self._run.worth()) is not None:
            self._worth = step, value
            self._outcome.note(VALUE, self._age, value)
        return self._worth

    def _is_worth_nothing(self, rule: Rule) -> bool:
        """By its value: no better than one that says nothing, or, where none does, than at first."""
        newest = self._value(rule)
        if newest is None:
            return False
        first = self._outcome.first
        worst = first if self._worst is None else self._worst
        return worst is not None and says_nothing(newest[1], worst)

    def _doing_well(self, rule: Rule) -> tuple[str, dict[str, Value]] | None:
        """Why it is no ill run: it is worth something, and that is no less than ever."""
        now, best = self._value(rule), self._outcome.best
        if now is None or best is None or self._is_worth_nothing(rule):
            return None
        if now[1] > best + LEAST[VALUE] * abs(best):
            return None
        return "doing_well", {"value": now[1], **self._would_do(rule)}

    def _did_harm(self, rule: Rule) -> bool:
        """Whether a repair of this rule made this very run worse, or another rule's that changed a setting as
        its next one would."""
        undone = {
            entry.parent
            for entry in self.entries
            if entry.verdict == "harm" and "expected" in entry.action_values
        }
        harmful = [entry for entry in self.repairs() if entry.seq in undone]
        if not harmful or any(entry.rule == rule.name for entry in harmful):
            return bool(harmful)
        _, action, _ = self._next_action(rule)
        would = {} if action is None else self._changes(action)
        return any(
            name in would and (would[name][1] > would[name][0]) == (new > old)
            for entry in harmful
            for name, (old, new) in entry.changes.items()
        )

    def _beside_peers(self, rule: Rule) -> tuple[bool, dict[str, Value]] | None:
        """Whether the run lies outside of where the study's sound trials were at its age, and by which
        measure; None where too few are known."""
        peers = self._restraint.peers or {}
        name = rule.target if rule.target is not None and rule.target in peers else VALUE
        now = self._value(rule) if name == VALUE else self.health.newest(name)
        at = max((step for step in peers.get(name, {}) if step <= self._age), default=None)
        if at is None or now is None:
            return None
        usual, scatter = peers[name][at]
        larger = name in self.health.signals and self.health.signals[name].better == "larger"
        behind = usual - now[1] if larger else now[1] - usual
        is_ill = behind > OUTSIDE * max(scatter, MIN_SPREAD * abs(usual))
        return is_ill, {"measure": name, "found": now[1], "median": usual, "step": at}

    def _searched_by(self, rule: Rule) -> list[str]:
        """The searched settings that its remedies would change."""
        remedies = self._remedies(rule)
        found = {name for remedy in remedies for name in (*remedy.changes, *self._aimed(remedy)[0].changes)}
        return sorted(found & self._restraint.searched)

    # Acting

    def _act(
        self,
        rule: Rule,
        alarm: Alarm,
        suppressed: tuple[str, ...],
        before: Mapping[str, float] | None = None,
    ) -> None:
        """`before`: what was measured, where a verdict has just let the windows begin afresh."""
        before = before or self._snapshot()
        if self._only_told(rule, alarm):
            return
        self._close(rule)
        index, action, target = self._next_action(rule)
        counted = [entry for entry in self.repairs() if entry.verify_at is not None]
        if action is None:
            self._give_up(rule, alarm, "nothing_left", self._tried(rule))
        elif len(counted) >= MAX_REPAIRS:
            self._give_up(rule, alarm, "many_repairs", {"repairs": MAX_REPAIRS})
        elif action.exclude:
            self._exclude(rule, alarm, action.code, index)
        else:
            self._repair(rule, alarm, suppressed, action, index, target, before)

    def _repair(
        self,
        rule: Rule,
        alarm: Alarm,
        suppressed: tuple[str, ...],
        action: Action,
        index: int,
        target: int | None,
        before: Mapping[str, float],
    ) -> None:
        step, health = self.health.step, self.health
        changes = self._changes(action)
        every = health.pace.validate_every
        verify_at = -(-(step + max(health.pace(500, WINDOW), 4 * every)) // every) * every  # at a validation
        safe = rule.tier == "event" and action.back_to is None
        heard = not safe and self._restraint.peers is not None
        if heard:
            self._hear(over=True)  # of a repair before: a run has one at a time to judge
            self._value(rule)
        parts = alarm.parts if action.renew else tuple(filter(None, [action.fresh]))
        self._note(
            "repair",
            rule,
            alarm,
            suppressed=suppressed,
            action=action.code,
            action_values=action.values,
            changes=changes,
            ramp=health.pace(1000, 50) if (changes and not safe) or parts else 0,
            back_to=target,
            fresh=",".join(parts) or None,
            remedy=index,
            verify_at=None if safe else verify_at,
            before=before,
        )
        if heard:
            self._begin_hearing(step, verify_at - step, target)
        if target is not None:
            self._go_back(target)
        for part in parts:
            self._run.reinitialise(part)
        if parts:  # what was lost with the old weights is no collapse
            health.forget_weights()
        if not safe:
            self.rest_until = verify_at
        self._begin_afresh(rule)

    def _begin_hearing(self, step: int, wait: int, target: int | None) -> None:
        """From now on what the run is worth is held against what it was before the newest repair."""
        undo = self._choice.newest_saved() if target is not None else step
        age = None if target is None else self._ages.get(target, target)
        self._outcome.begin(self.entries[-1].seq, self._age, wait, age, undo)

    def _go_back(self, step: int) -> None:
        self._redone += self.health.step - step
        age = self._ages.get(step, step)
        self._begun = self.health.step - age
        self._outcome.go_back(age)
        self._worth, self._asked = None, {}
        self._run.roll_back(step)
        self.health.forget_weights()
        if step == 0:
            self.health.start_over()

    def _exclude(self, rule: Rule, alarm: Alarm, code: str, index: int | None) -> None:
        excluded = self.excluded | set(alarm.clips)
        if len(excluded) > MAX_EXCLUDED * self._n_clips:
            self._end("FAIL", rule, alarm, "many_clips", {"excluded": len(excluded), "clips": self._n_clips})
        self._note("repair", rule, alarm, action=code, clips=alarm.clips, remedy=index)
        self._run.exclude(alarm.clips)
        for clip in alarm.clips:
            self.health.clips.pop(clip, None)

    @property
    def excluded(self) -> set[str]:
        """The clips that repairs left out."""
        return {clip for entry in self.repairs() for clip in entry.clips}

    def _tried(self, rule: Rule) -> dict[str, Value]:
        tried = sum(entry.rule == rule.name for entry in self.repairs())
        return {"tried": tried, "redone": self._redone, "most": self._most_redone}

    def _give_up(self, rule: Rule, alarm: Alarm, why: str, values: Mapping[str, Value]) -> None:
        lives = self._restraint.peers is not None and not self._is_worth_nothing(rule)
        spared = rule.level > SURE_LEVEL and rule.tier != "event" and lives
        if rule.gives_up is None or spared:
            self._wait(rule, alarm, f"reported_{why}", values)
        else:
            self._end(rule.gives_up, rule, alarm, why, values)

    def _end(self, state: str, rule: Rule, alarm: Alarm, why: str, values: Mapping[str, Value]) -> NoReturn:
        entry = self._note("end", rule, alarm, action=why, action_values=values)
        raise GivenUp(state, entry, self._words)

    def _next_action(self, rule: Rule) -> tuple[int, Action | None, int | None]:
        """The first remedy not tried yet that the run offers, would change anything and is not too dear, and
        the step whose weights it takes."""
        tried = [entry.remedy for entry in self.repairs() if entry.rule == rule.name]
        remedies = self._remedies(rule)
        first = max((index for index in tried if index is not None), default=-1) + 1
        for index, remedy in enumerate(remedies[first:], first):
            action, target = self._aimed(remedy)
            if (remedy.changes.keys() | action.changes.keys()) & self._restraint.searched:
                break  # what comes after it is for where it was tried in vain
            if not self._is_offered(action):
                continue
            goes_back = action.back_to in ("good", "milestone")
            does = goes_back or action.fresh or action.exclude or action.renew or self._changes(action)
            if does and self._affordable(target):
                return index, action, target
            if remedy.back_to == "good" and self._changes(remedy):
                return index, replace(remedy, code="from_here", back_to=None), None
        return len(remedies), None, None

    def _remedies(self, rule: Rule) -> list[Action]:
        """What stops a run is gone back from in a search, too, without the change of what is searched."""
        remedies = rule.remedies(self._hyperparameters)[: rule.max_remedies]
        if rule.tier != "event":
            return remedies
        searched = self._restraint.searched
        return [
            replace(r, code="back", changes={k: v for k, v in r.changes.items() if k not in searched})
            if r.back_to is not None and r.changes.keys() & searched
            else r
            for r in remedies
        ]

    def _aimed(self, remedy: Action) -> tuple[Action, int | None]:
        """What it comes to, and the step whose weights it takes: without a sound state to go back to, a run
        begins again, more carefully."""
        if remedy.back_to is None:
            return remedy, None
        target = self._choice.newest(remedy.back_to)
        return (self._from_the_start(), 0) if target is None else (remedy, target)

    def _is_offered(self, action: Action) -> bool:
        may_change = self.limits.keys() - self._restraint.searched
        return action.ways <= self._run.ways and action.changes.keys() <= may_change

    def _affordable(self, target: int | None) -> bool:
        return target is None or self._redone + self.health.step - target <= self._most_redone

    @property
    def _most_redone(self) -> int:
        """Rounded up to a whole validation, at which most alarms come."""
        every = self.health.pace.validate_every
        return math.ceil(MAX_REDONE * self.health.pace.planned / every) * every

    def _spent(self, rule: Rule) -> bool:
        return self._next_action(rule)[1] is None

    def _changes(self, action: Action) -> dict[str, tuple[float, float]]:
        """Old and new values, within the limits."""
        settings, found = self._hyperparameters, {}
        for name, value in action.changes.items():
            low, high = self.limits[name]
            old, new = settings[name], min(max(value, low), high)
            if new != old:
                found[name] = (old, type(old)(new))
        return found

    def _from_the_start(self) -> Action:
        rate = self._hyperparameters.learning_rate * 0.1
        return Action("anew_and_tenth_rate", {"learning_rate": rate}, "start")

    # Judging

    def _pending(self) -> Entry | None:
        judged = {entry.parent for entry in self.entries if entry.kind == "verdict"}
        waiting = [e for e in self.repairs() if e.verify_at is not None and e.seq not in judged]
        return waiting[-1] if waiting else None

    def _judge(self) -> None:
        repair = self._pending()
        if repair is None or repair.verify_at is None or self.health.step < repair.verify_at:
            return
        rule, after = self._named(repair.rule), self._snapshot()
        alarm = rule.sees(self.health, self._hyperparameters) if rule.tier == "validation" else None
        if rule.helped(repair.before, after, self.health):
            if self._restraint.peers is None:  # as studies of before judge
                self._verdict(repair, "improved")
            else:
                self._value(rule)
                self._hear()
                if self._pending() is repair:  # the run cannot tell yet
                    self._verdict(repair, "eased")
            self._votes[rule.name].clear()
            self.health.alarmed.discard(rule.name)
            return
        if repair.back_to is None and repair.fresh is None and self._worse(repair.before, after):
            self._verdict(
                repair, "harm", undo=True, back_to=repair.step if "roll_back" in self._run.ways else None
            )
        else:
            self._verdict(repair, "no effect", undo=repair.back_to is None)
        if alarm is not None:
            self._act(rule, alarm, (), after)

    def _heard(self, repair: Entry, over: bool = False) -> Told | None:
        """What the run says of it, if it can tell yet."""
        return self._outcome.told(self._named(repair.rule).told_by, self._worst, self._median_of_peers, over)

    def _median_of_peers(self, name: str, age: int) -> float | None:
        known = (self._restraint.peers or {}).get(name, {})
        at = max((step for step in known if step <= age), default=None)
        return None if at is None else known[at][0]

    def _hear(self, over: bool = False) -> None:
        """The verdict on the newest repair whose fault is gone, as soon as the run itself can tell."""
        repair = next((e for e in self.entries if e.seq == self._outcome.repair), None)
        if repair is None or (not over and self._pending() is repair and not self._due(repair)):
            return
        if (told := self._heard(repair, over)) is None:
            return
        undo, back_to = self._outcome.undo, None
        harm = told.verdict == "harm" and not over
        if harm and "roll_back" in self._run.ways:
            back_to = undo
        values: dict[str, Value] = {}
        if told.measure:
            values = {"measure": told.measure, "found": told.found, "expected": told.expected}
        self._outcome.end()
        self._verdict(repair, told.verdict, undo=harm, back_to=back_to, heard=values)

    def _due(self, repair: Entry) -> bool:
        return repair.verify_at is not None and self.health.step >= repair.verify_at

    def conclude(self) -> None:
        """The run is over: what is not judged yet is judged by what is known, and nothing is undone."""
        repair, after = self._pending(), self._snapshot()
        self._hear(over=True)
        if repair is None or self._pending() is not repair:
            return
        if self._restraint.peers is not None:
            self._verdict(repair, "unknown")
        elif self.health.last(self._milestone) is not None:  # validated since
            helped = self._named(repair.rule).helped(repair.before, after, self.health)
            self._verdict(repair, "improved" if helped else "no effect")

    def _close(self, rule: Rule) -> None:
        """A hard rule fired before the verdict of an earlier repair: that one did not help."""
        repair = self._pending()
        if repair is None:
            return
        same = repair.rule == rule.name or repair.back_to is not None
        self._verdict(repair, "no effect" if same else "harm", undo=not same)

    def _verdict(
        self,
        repair: Entry,
        verdict: str,
        undo: bool = False,
        back_to: int | None = None,
        heard: Mapping[str, Value] = NOTHING,
    ) -> None:
        """Args: heard: by which measure, what it is, and what was expected without the repair."""
        changes = {name: (new, old) for name, (old, new) in repair.changes.items()} if undo else {}
        rule = self._named(repair.rule)
        if verdict in ("no effect", "harm") and self._outcome.repair == repair.seq:
            self._outcome.end()
        way = 0 if back_to is not None else 1 if changes else 2
        actions = (
            ("heard_undone", "heard_taken_back", "heard_kept") if heard else ("undone", "taken_back", "kept")
        )
        self._note(
            "verdict",
            rule,
            Alarm(repair.reason, repair.evidence),
            action=actions[way],
            action_values=heard,
            changes=changes,
            ramp=repair.ramp if changes else 0,
            back_to=back_to,
            verdict=verdict,
            before=repair.before,
            after=self._snapshot(),
            parent=repair.seq,
        )
        if back_to is not None:
            self._go_back(back_to)
        self.rest_until = self.health.step
        self.health.alarmed.discard(rule.name)  # what is seen from here on is told anew
        if changes or back_to is not None:
            self._begin_afresh(rule)

    def _worse(self, before: Mapping[str, float], after: Mapping[str, float]) -> bool:
        both = before.keys() & after.keys()
        return any(self.health.signals[name].is_harm(before[name], after[name]) for name in both)

    # Bookkeeping

    def _sum_up(self, step: int) -> None:
        """Medians and spreads that need several steps; the best of them are what a calm run looks like."""
        health = self.health
        for name, signal in health.signals.items():
            if signal.better and signal.each_step and (value := median(health, name)) is not None:
                health.improve(name, value)
        losses = health.values("unweighted_loss", 5 * WINDOW)
        if len(losses) and losses.min() > 0:
            scatter = spread(np.diff(np.log(losses))) / np.sqrt(2)  # differences: a trend is no scatter
            health.note(step, {"loss_spread": float(scatter)})
            health.improve("loss_spread", float(scatter))

    def _snapshot(self) -> dict[str, float]:
        health = self.health
        judged = {name: signal.each_step for name, signal in health.signals.items() if signal.judged}
        found = {name: median(health, name) if each else health.last(name) for name, each in judged.items()}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def _milestone(self) -> str:
        """Where a run has none, every validation reaches it."""
        return self.health.milestone or "milestone"

    def _begin_afresh(self, rule: Rule) -> None:
        self.health.restart(self.health.step)
        self.health.clips.clear()
        self.health.alarmed.discard(rule.name)
        self._choice.begin_afresh()
        for votes in self._votes.values():
            votes.clear()

    def _note(self, kind: str, rule: Rule, alarm: Alarm, **more: Any) -> Entry:
        entry = Entry(
            kind, self.health.step, rule.name, rule.level, rule.priority, alarm.code, alarm.evidence, **more
        )
        entry = self._record(entry)
        self.entries.append(entry)
        self.changed |= kind in ("repair", "verdict")
        return entry

    def _named(self, name: str) -> Rule:
        return next(rule for rule in self._rules if rule.name == name)

    def _rule(self, kind: type[Any]) -> Any:
        return next(rule for rule in self._rules if isinstance(rule, kind))

    def state(self) -> dict[str, Any]:
        """All that a bit-identical continuation needs, for JSON."""
        return {
            "health": self.health.state(),
            "entries": [entry.record() for entry in self.entries],
            "votes": {name: list(votes) for name, votes in self._votes.items()},
            "choice": self._choice.state(),
            "events": self._events,
            "redone": self._redone,
            "rest_until": self.rest_until,
            "outcome": self._outcome.state(),
            "ages": list(self._ages.items()),
            "begun": self._begun,
            "worth": self._worth,
            "asked": self._asked,
        }

    def take(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.health.take(state["health"])
        self.entries = [Entry.from_record(row) for row in state["entries"]]
        for name, votes in state["votes"].items():
            self._votes[name].extend(votes)
        self._choice.take(state["ring" if "ring" in state else "choice"])
        self._events, self._redone = list(state["events"]), state["redone"]
        self.rest_until = state["rest_until"]
        if "outcome" in state:  # older checkpoints have none
            self._outcome = Outcome.from_state(state["outcome"])
            self._ages, self._begun = dict(map(tuple, state["ages"])), state["begun"]
            self._worth = None if state["worth"] is None else (state["worth"][0], state["worth"][1])
            self._asked = dict(state["asked"] or {})
