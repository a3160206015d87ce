"""AutoFix: the one arbiter, and the only place that changes a running trial.

Rules propose. AutoFix asks them in tiers, lets the lowest level (nearest to the cause) speak first,
changes one thing, waits, and judges what came of it: improved, no effect (taken back) or harm (undone).
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
MAX_REPAIRS = 5  # a trial
MAX_REDONE = 0.3  # of the planned steps; what did harm is taken back beyond it, too
MAX_WARMUP = 0.25  # of the planned steps: so long may a warm-up hold rules back, as the alignment's deadline
MAX_EXCLUDED = 0.05  # of the clips: beyond, the data is at fault
EVERY_RUN = ("loss", "unweighted_loss", "value")  # what is measured even where nothing is declared
POISONED = ("loss", "unweighted_loss", "grad_norm")  # where these are not finite, the weights are not either
POLICY_VERSION = 4  # of this file and of what the rules' code does with their thresholds


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
    content = {
        "version": POLICY_VERSION,
        "rules": {rule.name: [rule.level, rule.priority, rule.max_remedies, asdict(rule)] for rule in rules},
        "limits": [MAX_REPAIRS, MAX_REDONE, MAX_EXCLUDED, max_worse],
    }
    if advises is not None:
        content |= {"advises": sorted(advises)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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


class AutoFix:
    """Watches and repairs one run.

    Args:
        start: the trial's settings; what is in force later is `settings()`, computed from the repairs.
            Integers stay integers.
        limits: how far each setting may ever move; what is not named here is never changed.
        n_clips: of training.
        record: adds a row to the repairs table and returns it with its number.
        restraint: where rules only tell what they see; the same in all attempts at a trial.
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
    ) -> None:
        self._run, self._start, self._n_clips = run, dict(start), n_clips
        self._restraint = restraint
        self._limits = {name: limits[name] for name in start if name in limits}
        self._record, self.health = record, health
        names = offered(health.declared, self._limits, run.ways)
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
        self.rest_until = 0

    # What is in force

    def settings(self) -> Hyperparameters:
        """For the next step."""
        least_rate = self._limits.get("learning_rate", (0.0, 0.0))[0]
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

    def _undo_steps(self) -> set[int]:
        pending = self._pending()
        return {pending.step} if pending else set()

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
        self._judge()
        self._ask("validation")

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
        when it was last asked, it saw its fault."""
        for other in self._rules:
            votes = self._votes[other.name]
            stands = other.name in self.health.alarmed or (bool(votes) and votes[-1])
            if other.level < rule.level and stands and not self._spent(other) and not self._restrained(other):
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
        """Record the alarm of a rule that may not act. Where the run cannot go on so, that ends the trial."""
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
            if rule.level > SURE_LEVEL and (standing := self._standing()):
                return "better_half", standing
            if (names := self._searched_by(rule)) and self._spent(rule):
                return "searched", {"names": ", ".join(names)}
        if rule.name in self._restraint.advises:
            _, action, _ = self._next_action(rule)
            ends = "end_trial" if rule.gives_up else "do_nothing"
            return "advised", {"remedy": ends} if action is None else {**action.values, "remedy": action.code}
        return None

    def _standing(self) -> dict[str, Value] | None:
        """The newest measure beside the median that it is no worse than, and that one's step."""
        medians, newest = self._restraint.medians, self.health.newest("value")
        if newest is None:
            return None
        at = max((step for step in medians if step <= newest[0]), default=None)
        if at is None or not newest[1] <= medians[at]:
            return None
        return {"value": newest[1], "median": medians[at], "step": at}

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
            tried = sum(entry.rule == rule.name for entry in self.repairs())
            values = {"tried": tried, "redone": self._redone, "most": self._most_redone}
            self._give_up(rule, alarm, "nothing_left", values)
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
        if target is not None:
            self._go_back(target)
        for part in parts:
            self._run.reinitialise(part)
        if parts:  # what was lost with the old weights is no collapse
            health.forget_weights()
        if not safe:
            self.rest_until = verify_at
        self._begin_afresh(rule)

    def _go_back(self, step: int) -> None:
        self._redone += self.health.step - step
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

    def _give_up(self, rule: Rule, alarm: Alarm, why: str, values: Mapping[str, Value]) -> None:
        if rule.gives_up is None:
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
            if not self._is_offered(action) or remedy.changes.keys() & self._restraint.searched:
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
        may_change = self._limits.keys() - self._restraint.searched
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
            low, high = self._limits[name]
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
            self._verdict(repair, "improved")
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

    def conclude(self) -> None:
        """The run is over: a repair that still waits is judged by what is known, and nothing is undone."""
        repair, after = self._pending(), self._snapshot()
        if repair is not None and self.health.last(self._milestone) is not None:  # validated since
            helped = self._named(repair.rule).helped(repair.before, after, self.health)
            self._verdict(repair, "improved" if helped else "no effect")

    def _close(self, rule: Rule) -> None:
        """A hard rule fired before the verdict of an earlier repair: that one did not help."""
        repair = self._pending()
        if repair is None:
            return
        same = repair.rule == rule.name or repair.back_to is not None
        self._verdict(repair, "no effect" if same else "harm", undo=not same)

    def _verdict(self, repair: Entry, verdict: str, undo: bool = False, back_to: int | None = None) -> None:
        changes = {name: (new, old) for name, (old, new) in repair.changes.items()} if undo else {}
        rule = self._named(repair.rule)
        action = "taken_back" if changes else "kept"
        self._note(
            "verdict",
            rule,
            Alarm(repair.reason, repair.evidence),
            action=action if back_to is None else "undone",
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
