"""The arbiter and the choice of checkpoints under any history, held against what they promise."""

import json
import math
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from smart_tuner.repair.autofix import (
    HARD_LEVEL,
    MAX_EXCLUDED,
    MAX_REDONE,
    MAX_REPAIRS,
    SURE_LEVEL,
    AutoFix,
    GivenUp,
)
from smart_tuner.repair.checkpoint_choice import CheckpointChoice
from smart_tuner.repair.health import Health, Pace, Signal
from smart_tuner.repair.rule import UNRESTRAINED, Action, Alarm, Restraint, Rule, settings_at
from smart_tuner.repair.rules.numerics import NonFinite, OutOfMemory

WINDOW = 20
PROOF = 20  # steps, of a plan that is short
SETTINGS = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def as_json(state):
    return json.loads(json.dumps(state))


class Choosing(RuleBasedStateMachine):
    """A run that trains, is calm or not, is saved and validated; which of its checkpoints are sound is told
    from all that happened, at any time."""

    @initialize(milestone=st.sampled_from([None, "aligned"]), warm=st.booleans())
    def begin(self, milestone, warm):
        """A warm start may be at the milestone before its first step."""
        self.health = Health(Pace(500, 25), milestone=milestone)
        self.health.best["loss_spread"] = 0.1
        self.chance = 1.0 if milestone else math.exp(0.1)  # a run without one may scatter
        self.choice = CheckpointChoice(self.health)
        self.losses, self.norms, self.lowest = [], [], {}
        self.calm = {0: False}  # every checkpoint that was ever written
        self.troubles, self.reached, self.disk, self.passed = [], None, {0}, set()
        self.choice.saved(0)
        self.validate(warm)
        self.train(30, 1.0, 1.0, False)

    @rule(
        count=st.sampled_from([1, 7, PROOF - 1, PROOF, PROOF + 1]),
        loss=st.sampled_from([*[1.0] * 5, 1.04, 1.1, 1.2, -1.0]),
        norm=st.sampled_from([*[1.0] * 5, 2.9, 3.2, 3.4]),
        trouble=st.sampled_from([False, False, False, True]),
    )
    def train(self, count, loss, norm, trouble):
        for _ in range(count):
            self.health.note(self.health.step + 1, {"unweighted_loss": loss, "grad_norm": norm})
            self.losses.append(loss)
            self.norms.append(norm)
            for name, values in self.windows():
                now = float(np.median(values))
                self.health.improve(name, now)
                self.lowest[name] = min(self.lowest.get(name, now), now)
        if trouble:
            self.choice.trouble()
            self.troubles.append(self.health.step)

    def windows(self):
        seen = {"unweighted_loss": self.losses[-WINDOW:], "grad_norm": self.norms[-WINDOW:]}
        return [(name, values) for name, values in seen.items() if len(values) == WINDOW]

    def is_calm(self):
        most = {"unweighted_loss": 1.05 * self.chance, "grad_norm": 3.0 * self.chance}
        return len(self.windows()) == 2 and all(
            self.lowest[name] <= 0 or np.median(values) <= most[name] * self.lowest[name]
            for name, values in self.windows()
        )

    @rule(found=st.sampled_from([None, True, True, False]), first=st.booleans())
    def save(self, found, first):
        """A checkpoint, with a validation at the same step, before or after it, or none."""
        if found is not None and first:
            self.validate(found)
        step = self.health.step
        self.calm[step] = self.is_calm()
        self.passed.discard(step)
        if self.reached == step:
            self.passed.add(step)
        self.choice.saved(step)
        self.disk = (self.disk | {step}) & self.expected()
        if found is not None and not first:
            self.validate(found)

    @rule(reached=st.booleans())
    def validate(self, reached):
        step = self.health.step
        self.choice.validated(reached)
        if reached and self.reached is not None:
            self.passed |= {saved for saved in self.disk if self.reached <= saved <= step}
        self.reached = step if reached else None

    @rule()
    def repaired(self):
        self.health.restart(self.health.step)
        self.choice.begin_afresh()
        self.losses, self.norms, self.reached = [], [], None

    @rule()
    def resume(self):
        state = as_json(self.choice.state())
        self.choice = CheckpointChoice(self.health)
        self.choice.take(state)
        assert as_json(self.choice.state()) == state

    def is_good(self, step):
        """Calm when it was saved, and then no trouble as long as it takes to prove itself."""
        proven = step + PROOF <= self.health.step
        return self.calm[step] and proven and not [t for t in self.troubles if step < t <= step + PROOF]

    def expected(self):
        """What may be needed, of all that was ever saved: the newest good ones, the newest at the milestone,
        and those that have not had the time to prove themselves."""
        step = self.health.step
        saved = sorted(self.disk | ({step} & self.calm.keys()))
        good = [s for s in saved if self.is_good(s)][-2:]
        passed = [s for s in saved if s in self.passed][-1:]
        return {0, *good, *passed, *(s for s in saved if s + PROOF > step)}

    @invariant()
    def what_may_be_needed_is_kept_and_nothing_else(self):
        assert self.choice.kept() == self.expected()

    @invariant()
    def the_newest_good_one_is_the_newest_that_ever_was(self):
        good = [step for step in self.calm if step and self.is_good(step)]
        assert self.choice.newest("good") == max(good, default=None)

    @invariant()
    def the_newest_at_the_milestone_is_found(self):
        passed = [step for step in self.disk if step and step in self.passed]
        assert self.choice.newest("milestone") == max(passed, default=None)
        assert self.choice.newest("start") == 0


TestChoosing = Choosing.TestCase
TestChoosing.settings = settings(SETTINGS, max_examples=200)

START = {"learning_rate": 2e-5, "batch_size": 16, "decay": 0.1, "unlimited": 1.0}
LIMITS = {"learning_rate": (1e-6, 1.0), "batch_size": (2, 32), "decay": (0.0, 0.5), "elsewhere": (0.0, 1.0)}
SIGNALS = {
    "aligned": Signal(),
    "score": Signal("larger", of_weights=True, max_worse=0.1, judged=True, at_milestone=True),
    "held_out": Signal(),
    "probed/part": Signal(),
}


@dataclass(frozen=True)
class Faulty(Rule):
    """Sees what the history says; the fault of each is a measure of its own."""

    title: str = ""
    ordinary: tuple = ()
    gain = -0.01
    votes = (1, 2)

    @property
    def name(self):
        return self.title

    def sees(self, health, settings):
        if not health.last(f"fault {self.title}"):
            return None
        return Alarm("ill", {}, (f"clip {health.step}",), ("part",))

    def remedies(self, settings):
        made = {
            "rate": Action("a", {"learning_rate": settings.learning_rate / 3}),
            "batch": Action("b", {"batch_size": settings.batch_size * 1.5}),
            "decay": Action("c", {"decay": settings.decay + 0.3, "batch_size": 4}),
            "back": Action("d", {"learning_rate": settings.learning_rate / 2}, back_to="good"),
            "again": Action("e", back_to="milestone"),
            "anew": Action("f", {"decay": 0.2}, back_to="start"),
            "fresh": Action("g", fresh="part"),
            "renew": Action("h", renew=True),
            "exclude": Action("i", exclude=True),
            "unknown": Action("j", {"unlimited": 2.0}),
        }
        return [made[name] for name in self.ordinary]


def faulty(title, level, tier, *ordinary, gives_up="PRUNED", most=3):
    kind = type("Faulty", (Faulty,), {"level": level, "priority": 5, "tier": tier})
    kind.gives_up, kind.max_remedies = gives_up, most
    return kind(title, ordinary)


RULES = (
    NonFinite(),
    OutOfMemory(),
    faulty("clips", 0, "validation", "exclude", "exclude", "exclude", gives_up="FAIL"),
    faulty("hard", 3, "step", "unknown", "back", "back", "back", "back", most=5),
    faulty("dead", 4, "probe", "anew", "rate", "rate", gives_up=None),
    faulty("lost", 5, "step", "again", "again", "fresh"),
    faulty("weak", 6, "validation", "batch", "decay", "rate", gives_up=None),
    faulty("late", 7, "validation", "decay", "renew", "batch", gives_up="COMPLETE"),
)
BY_NAME = {rule.name: rule for rule in RULES}
SOFT = [rule.name for rule in RULES[2:]]


@dataclass
class Disk:
    """A run whose checkpoints are those that AutoFix wants kept, and no others."""

    ways: frozenset = frozenset({"roll_back", "reinitialise", "exclude"})
    steps: set = field(default_factory=lambda: {0})
    rows: list = field(default_factory=list)
    done: list = field(default_factory=list)

    def roll_back(self, step):
        assert step in self.steps, f"{step} is not among {self.steps}"
        self.done.append(step)

    def reinitialise(self, part):
        self.done.append(part)

    def exclude(self, clips):
        self.done.append(tuple(clips))

    value: float | None = None

    def worth(self):
        return self.value

    def record(self, entry):
        self.rows.append(replace(entry, seq=len(self.rows) + 1))
        return self.rows[-1]


def watched(disk, restraint):
    health = Health(Pace(800, 25), SIGNALS, "aligned")
    return AutoFix(disk, START, RULES, LIMITS, 60, health, disk.record, restraint, worst=2.5)


OTHERS = [None, {}, {"value": {100: (1.2, 0.1)}}, {"score": {50: (0.9, 0.01), 300: (0.7, 0.05)}}]
RESTRAINTS = st.builds(
    Restraint,
    st.frozensets(st.sampled_from(["learning_rate", "batch_size", "decay"])),
    st.frozensets(st.sampled_from([*BY_NAME]), max_size=3),
    st.dictionaries(st.sampled_from([50, 100, 300]), st.sampled_from([1.0, 2.0]), max_size=2),
    st.sampled_from(OTHERS),
    st.booleans(),
)


class Arbitrating(RuleBasedStateMachine):
    """Two runs of one history: the second is stopped and resumed again and again."""

    @initialize(restraint=st.just(UNRESTRAINED) | RESTRAINTS)
    def begin(self, restraint):
        self.step, self.end, self.restraint, self.newest = 0, None, restraint, None
        self.heard_between = False  # whether what the run is worth may be known since its newest measure
        self.disks = Disk(), Disk()
        self.fixes = [watched(disk, restraint) for disk in self.disks]
        for fix in self.fixes:
            fix.saved(0)

    @property
    def fix(self):
        return self.fixes[0]

    @property
    def rows(self):
        return self.disks[0].rows

    def tell(self, name, *told):
        """Both runs hear it, and what came of it is what may come of it."""
        known, pending = len(self.rows), self.fix._pending()
        grace, step = self.fix.in_grace, self.fix.health.step
        ends = [self.heard(fix, name, *told) for fix in self.fixes]
        self.end = ends[0]
        assert repr(ends[0]) == repr(ends[1])
        for row in self.rows[known:]:
            self.check(row, pending, grace, known)
        if self.end is not None:
            self.check_end(*self.end)
        assert self.fix.health.step >= step

    @staticmethod
    def heard(fix, name, *told):
        try:
            getattr(fix, name)(*told)
        except GivenUp as end:
            return end.state, end.entry
        return None

    def check(self, row, pending, grace, known):
        if row.kind == "alarm":
            assert not row.changes
        if row.kind != "repair":
            return
        kind = BY_NAME[row.rule]
        assert row.rule not in self.restraint.advises
        assert not row.changes.keys() & self.restraint.searched
        assert kind.level <= SURE_LEVEL or not self.does_well()
        if grace and kind.level > HARD_LEVEL:  # it was judged just now, or the same fault came back
            judged = [r for r in self.rows[known:] if r.parent == pending.seq and r.step >= pending.verify_at]
            waited = row.step - pending.step >= 2 * WINDOW
            assert judged or (pending.rule == row.rule and pending.back_to and waited)
        assert all(BY_NAME[other].level >= kind.level for other in row.suppressed)
        if row.verify_at is not None:
            assert row.verify_at % 25 == 0
            assert row.verify_at - row.step >= 4 * 25
        made = [r for r in self.fix.repairs() if r.rule == row.rule]
        tried = [r.remedy for r in made if r.remedy is not None]
        assert tried == sorted(set(tried))
        assert max(tried, default=0) < kind.max_remedies
        assert row.changes or row.back_to is not None or row.fresh or row.clips
        if row.back_to is not None:  # what did harm is always taken back, so that a verdict may cost more
            assert self.fix.redone <= -(-MAX_REDONE * 800 // 25) * 25

    def does_well(self):
        """Whether its newest measure is no worse than the median of others, at or below its step."""
        step, value = self.newest or (0, 0.0)
        if self.heard_between:
            return False
        known = [at for at in self.restraint.medians if at <= step]
        return bool(known) and value <= self.restraint.medians[max(known)]

    def check_end(self, state, entry):
        kind = BY_NAME[entry.rule]
        if kind.tier != "event":  # an event is what the run cannot go on with
            assert entry.rule not in self.restraint.advises
            assert kind.level <= SURE_LEVEL or not self.does_well()
            made = {name for action in kind.remedies(self.fix.settings()) for name in action.changes}
            assert entry.action == "many_repairs" or not made & self.restraint.searched
        assert entry is self.rows[-1] or entry.seq == self.rows[-1].seq or self.rows[-1].kind == "alarm"
        assert state == ("FAIL" if entry.action == "many_clips" else kind.gives_up)
        if entry.action == "many_repairs":
            assert len(self.judged()) == MAX_REPAIRS

    def judged(self):
        return [row for row in self.fix.repairs() if row.verify_at is not None]

    def running(self):
        return self.end is None

    @precondition(lambda self: self.end is not None)
    @rule()
    def another(self):
        self.begin(self.restraint)

    @precondition(running)
    @rule(
        count=st.integers(1, 120),
        faults=st.sets(st.sampled_from(SOFT), max_size=2),
        loss=st.sampled_from([1.0, 1.04, 1.3]),
        aligned=st.sampled_from([1.0, 0.0]),
        score=st.sampled_from([0.5, 0.7]),
        held_out=st.sampled_from([1.0, 1.1]),
        value=st.sampled_from([0.9, 1.5, 2.5]),
        between=st.booleans(),
    )
    def train(self, count, faults, loss, aligned, score, held_out, value=2.5, between=False):
        for disk in self.disks:
            disk.value = value if between else None
        self.heard_between |= between
        ill = {f"fault {name}": float(name in faults) for name in SOFT}
        for _ in range(count):
            if self.end is not None:
                return
            self.step += 1
            measures = {"loss": loss, "unweighted_loss": loss, "grad_norm": 1.0, **ill}
            self.tell("stepped", self.step, measures, {"probed/part": 1.0} if self.step % 20 == 0 else None)
            if self.step % 25 == 0 and self.end is None:
                self.tell("validated", self.step, {"aligned": aligned, "score": score, "held_out": held_out})
            if self.step % 50 == 0 and self.end is None:
                self.newest = self.step, value
                self.tell("judged", self.step, value)
            if self.step % 50 == 0 or self.fix.changed:
                self.save()

    @precondition(running)
    @rule(count=st.integers(50, 150))
    def recover(self, count):
        self.train(count, (), 1.0, 1.0, 0.7, 1.0)

    @precondition(running)
    @rule(name=st.sampled_from(SOFT), count=st.integers(25, 100), held_out=st.sampled_from([1.0, 1.1]))
    def relapse(self, name, count, held_out):
        self.train(count, {name}, 1.0, 1.0, 0.7, held_out)

    def save(self):
        for fix, disk in zip(self.fixes, self.disks, strict=True):
            if self.end is None:
                fix.saved(self.step)
                disk.steps = (disk.steps | {self.step}) & (fix.kept() | {self.step})
                assert not fix.changed

    @precondition(running)
    @rule(times=st.integers(1, 5), what=st.sampled_from(["batch", "clip", "memory", "weights"]))
    def mishap(self, times, what):
        """The next step cannot be taken, or spoils the weights."""
        for number in range(times):
            if self.end is not None:
                return
            if what == "memory":
                self.tell("out_of_memory", "too large")
                return
            if what == "weights":
                self.step += 1
                self.tell("stepped", self.step, {"loss": math.nan, "unweighted_loss": 1.0}, None)
                assert self.rows[-1].rule == "non_finite"
                assert self.rows[-1].kind in ("repair", "end")
                self.save()
                return
            clips = [f"{what} {number % 2}"] if what == "clip" else []
            self.tell("not_finite", {"loss": math.nan, "grad_norm": 1.0}, clips)

    @precondition(running)
    @rule()
    def resume(self):
        resumed = watched(self.disks[1], self.restraint)
        resumed.take(as_json(self.fixes[1].state()))
        resumed.changed = self.fixes[1].changed
        self.fixes[1] = resumed

    @precondition(running)
    @rule()
    def conclude(self):
        """At the end of a run; here others follow, for what is judged once is not judged again."""
        self.tell("conclude")

    @invariant()
    def a_resumed_run_is_the_same(self):
        assert json.dumps(self.fixes[0].state()) == json.dumps(self.fixes[1].state())  # also NaN is NaN there
        assert len(self.disks[0].rows) == len(self.disks[1].rows)
        assert self.disks[0].done == self.disks[1].done

    @invariant()
    def budgets_are_kept(self):
        assert len(self.judged()) <= MAX_REPAIRS
        clips = {clip for row in self.fix.repairs() for clip in row.clips}
        assert len(clips) <= MAX_EXCLUDED * 60

    @invariant()
    def settings_follow_from_the_rows_within_their_limits(self):
        now = self.fix.settings()
        assert now == settings_at(self.fix.health.step, START, self.rows, LIMITS["learning_rate"][0])
        assert now.keys() == START.keys()
        assert all(low <= now[name] <= high for name, (low, high) in LIMITS.items() if name in now)
        assert isinstance(now["batch_size"], int)
        assert now["unlimited"] == 1.0

    @invariant()
    def what_is_searched_stays_as_it_was_drawn(self):
        """But for a learning rate that warms up anew."""
        now = settings_at(10**9, START, self.rows)
        assert all(now[name] == START[name] for name in self.restraint.searched)

    @invariant()
    def one_repair_at_a_time_waits_for_its_verdict(self):
        final = [row.parent for row in self.rows if row.kind == "verdict" and row.verdict != "eased"]
        assert len(set(final)) == len(final)
        eased = [row.parent for row in self.rows if row.verdict == "eased"]
        assert len(set(eased)) == len(eased)
        waiting = [row for row in self.judged() if row.seq not in {*final, *eased}]
        assert len(waiting) <= 1
        assert self.fix.in_grace or not waiting
        for row in waiting:
            assert row.step in self.fix.kept()

    @invariant()
    def what_is_judged_without_effect_leaves_nothing_behind(self):
        made = {row.seq: row for row in self.rows if row.kind == "repair"}
        for verdict in (row for row in self.rows if row.kind == "verdict"):
            repair = made[verdict.parent]
            back = {name: (new, old) for name, (old, new) in repair.changes.items()}
            assert verdict.verdict in ("improved", "no effect", "harm", "eased", "unknown")
            assert verdict.changes in ({}, back)
            if verdict.verdict in ("improved", "eased", "unknown"):
                assert not verdict.changes and verdict.back_to is None
            if verdict.back_to is not None:
                assert verdict.verdict == "harm"
                if repair.back_to is None:
                    assert verdict.back_to == repair.step
                else:  # weights from before it, not those that it went back to
                    assert verdict.back_to <= repair.step

    @invariant()
    def weights_go_back_only_as_the_rows_say(self):
        went = [row.back_to for row in self.rows if row.back_to is not None]
        assert went == [done for done in self.disks[0].done if isinstance(done, int)]


TestArbitrating = Arbitrating.TestCase
TestArbitrating.settings = SETTINGS
