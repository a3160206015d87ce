"""A real, tiny training under watch: what it is left as, what a repair does to it, what is kept of both.

A network's numbers differ from CPU to CPU, and so does what rules make of them. So no rule judges here: those
of `QUIET` look at everything and see nothing; `Due` sees its fault at a step that is known beforehand.
"""

import json
import math
from contextlib import suppress
from dataclasses import asdict, replace

import numpy as np
import optuna
import pytest
import torch
from matplotlib.image import imread

import objectives.trial
from model import training as model_training
from model.network import products
from model.training import Training
from objectives.attempt import Attempt, Callback, Plan, Start
from objectives.base import NonFinite
from objectives.quality import Judge, yardstick
from objectives.signals import MILESTONE, SIGNALS
from objectives.tacotron2 import Tacotron2, Tacotron2Run
from objectives.trial import Unrepairable
from smart_tuner.repair.health import Health, Pace
from smart_tuner.repair.rule import Alarm, settings_at
from smart_tuner.repair.rules import RULES, Integrity, PoorAlignment, TextIgnored
from smart_tuner.store.outage import Outage
from smart_tuner.store.records import TrialRepairs
from smart_tuner.store.storage import open_storage


def quiet(rule):
    """The same rule, with all its looks, but it never sees anything."""
    kind = type(rule)

    def sees(self, health, settings):
        kind.sees(self, health, settings)

    return type(kind.__name__, (kind,), {"sees": sees})(**vars(rule))


QUIET = tuple(quiet(rule) for rule in RULES)


def all_quiet_but(loud):
    return tuple(loud if rule.name == loud.name else rule for rule in QUIET)


@pytest.fixture(scope="module", autouse=True)
def quick(corpus):
    """The yardstick is measured once; products are torch's own, which are quicker where they are so small."""
    found = yardstick(corpus.held_out, corpus.mel_settings)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(globals(), "yardstick", lambda *_: found)
        patched.setattr(products, "ONEDNN", False)
        yield


@pytest.fixture(scope="module")
def settings(settings):
    return replace(settings, batch_size=8)


class Trial:
    """A trial of the real objective in a real database, which can be begun again as after a kill."""

    def __init__(self, folder, corpus, tiny, settings, rules=QUIET, steps=60, searched=()):
        self.folder, self.tiny, self.settings = folder, tiny, settings
        self.storage = open_storage(f"sqlite:///{folder}/study.db")
        self.study = optuna.create_study(storage=self.storage, direction="minimize")
        self.trial = self.study.ask()
        self.ledger = TrialRepairs(self.storage, "uid", self.trial.number, "policy")
        judge = Judge(corpus.held_out, 1, 1, yardstick(corpus.held_out, corpus.mel_settings))
        self.plan = Plan(steps, 40, 5, rules, frozenset(searched), 10)
        used = max((r.min_aligned_text_gain for r in rules if isinstance(r, TextIgnored)), default=0.0)
        self.voices = Tacotron2(corpus, judge, "abc", text_is_used=used)
        self.corpus, self.callback = corpus, Callback()

    def training(self, kind=Training):
        return kind(self.corpus, self.tiny, self.settings, seed=7)

    def run(self, training):
        (self.folder / "trial").mkdir(exist_ok=True)
        attempt = Attempt(self.trial, self.folder / "trial", self.ledger, Outage(print))
        made = Tacotron2Run(training, self.voices.judge, "abc", self.voices.text_is_used)
        start = Start(attempt, self.voices, made, {}, self.plan, 0)
        return objectives.trial.Trial(start, self.callback).value()

    def drawn(self, entry):
        return self.folder / "trial" / entry.picture

    def run_to_the_end(self, training):
        """Also where the rules give the trial up."""
        with suppress(optuna.TrialPruned):
            self.run(training)


@pytest.fixture
def trial(tmp_path, corpus, tiny, settings):
    trials = []

    def make(corpus=corpus, name="one", **more):
        (tmp_path / name).mkdir()
        trials.append(Trial(tmp_path / name, corpus, tiny, more.pop("settings", settings), **more))
        return trials[-1]

    yield make
    for each in trials:
        each.storage.engine.dispose()


def weights(training):
    return {name: value.clone() for name, value in training.model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_quiet_rule_is_asked_all_that_the_rule_is_asked():
    assert [(r.name, r.level, r.tier, r.max_remedies) for r in QUIET] == [
        (r.name, r.level, r.tier, r.max_remedies) for r in RULES
    ]
    assert all(isinstance(q, type(r)) and vars(q) == vars(r) for q, r in zip(QUIET, RULES, strict=True))


def test_with_nothing_to_repair_the_weights_are_bit_identical_to_those_without_rules(trial):
    monitored, plain = trial(steps=60), trial(rules=(), name="plain", steps=60)
    runs = [t.training() for t in (monitored, plain)]
    values = [t.run(run) for t, run in zip((monitored, plain), runs, strict=True)]
    assert monitored.ledger.all() == []
    assert values[0] == values[1]
    assert same(*map(weights, runs))


def with_nan(corpus, clip=3):
    items = list(corpus.training)
    items[clip] = replace(items[clip], mel=items[clip].mel.copy())
    items[clip].mel[0, 0] = np.nan
    return replace(corpus, training=tuple(items))


def test_a_nan_clip_is_left_out_and_training_goes_on(trial, corpus):
    sick = trial(with_nan(corpus))
    training = sick.training()
    assert np.isfinite(sick.run(training))
    [repair] = [entry for entry in sick.ledger.all() if entry.rule == "non_finite"]
    assert (repair.kind, repair.clips) == ("repair", (corpus.training[3].id,))
    assert training.excluded == {corpus.training[3].id}
    assert sick.study.trials[0].user_attrs["repairs"] >= 1


def test_without_rules_a_nan_clip_ends_the_trial(trial, corpus):
    with pytest.raises(NonFinite):
        (sick := trial(with_nan(corpus), rules=())).run(sick.training())


class Slipping(Training):
    """One step fails once, as when the machine slips; again, it is fine."""

    slips = 1

    def advance(self, closely=False):
        if self.step == 7 and self.slips:
            self.slips -= 1
            raise model_training.NonFinite(8, math.nan, 1.0, ("x",))
        return super().advance(closely)


def test_a_slip_of_the_machine_costs_nothing(trial):
    slipping, plain = trial(steps=20), trial(name="plain", steps=20)
    runs = slipping.training(Slipping), plain.training()
    slipping.run(runs[0])
    plain.run(runs[1])
    assert same(*map(weights, runs))
    assert slipping.ledger.all() == []


def test_an_encoder_cut_off_from_the_gradient_fails_at_once_with_the_reason(trial):
    sick = trial(rules=all_quiet_but(Integrity()))
    training = sick.training()
    encode = training.model.encode
    training.model.encode = lambda *a: encode(*a).detach()
    with pytest.raises(
        Unrepairable, match="no gradient reaches embedding, encoder_convolutions, encoder_lstm"
    ):
        sick.run(training)
    assert training.step == 20
    assert sick.study.trials[0].user_attrs["ended_by"]["rule"] == "integrity"


class Cramped(Training):
    """Batches of more than two clips do not fit."""

    def _gradients(self, items):
        if len(items) / self.settings.micro_batches > 2:
            raise MemoryError("too large")
        return super()._gradients(items)


def test_a_batch_that_does_not_fit_is_computed_in_parts(trial):
    cramped = trial(steps=20)
    training = cramped.training(Cramped)
    cramped.run(training)
    assert training.settings.micro_batches == 4
    assert [e.rule for e in cramped.ledger.all()] == ["out_of_memory"] * 2
    assert cramped.study.trials[0].user_attrs["effective"] == {"micro_batches": 4}


class Due(PoorAlignment):
    """Sees poor alignment from its deadline on, and finds that nothing helped."""

    def sees(self, health, settings):
        return Alarm("it is due", {}) if health.age >= self.due(health) else None

    def helped(self, before, after, health):
        return False


Due.__name__ = PoorAlignment.__name__
DUE = all_quiet_but(Due())
UNGUIDED = {"guided_attention_weight": 0.0}
STEPS = 170  # the repair by new weights at step 55 is one of at most a third


class Killed(BaseException):
    pass


class Mortal(Training):
    dies_at = None

    def advance(self, closely=False):
        if self.step == self.dies_at:
            raise Killed
        return super().advance(closely)


@pytest.fixture(scope="module")
def repaired(tmp_path_factory, corpus, tiny, settings):
    """A run with repairs, that nothing disturbs, with the settings of each step and what was told when."""

    class Noting(Training):
        def advance(self, closely=False):
            sick.used[self.step] = self.settings
            return super().advance(closely)

    folder = tmp_path_factory.mktemp("repaired")
    sick = Trial(folder, corpus, tiny, replace(settings, **UNGUIDED), rules=DUE, steps=STEPS)
    sick.used, sick.told, sick.run_of = {}, [], sick.training(Noting)
    sick.callback.repaired = lambda entry: sick.told.append((entry, sick.drawn(entry).is_file()))
    sick.run_to_the_end(sick.run_of)
    yield sick
    sick.storage.engine.dispose()


@pytest.mark.parametrize("dies_at", [24, pytest.param(58, marks=pytest.mark.slow), 96])
def test_a_repaired_trial_that_was_killed_ends_bit_identical_to_one_that_was_not(trial, repaired, dies_at):
    repairs = [e for e in repaired.ledger.all() if e.kind == "repair"]
    assert repairs[0].back_to == 0
    assert len(repairs) > 1

    killed = trial(settings=repaired.settings, steps=STEPS, rules=DUE)
    first = killed.training(Mortal)
    first.dies_at = dies_at
    with pytest.raises(Killed):
        killed.run(first)
    second = killed.training()
    killed.run_to_the_end(second)
    assert same(weights(repaired.run_of), weights(second))
    told = [replace(e, seq=0, parent=None) for e in killed.ledger.all()]
    assert told == [replace(e, seq=0, parent=None) for e in repaired.ledger.all()]


def test_replaying_the_rows_gives_the_settings_of_every_step(repaired):
    rows = repaired.ledger.all()
    assert any(row.changes for row in rows)
    for step, used in repaired.used.items():
        assert settings_at(step, asdict(repaired.settings), rows) == asdict(used)


def test_what_the_attention_was_like_is_drawn_at_a_repair_and_at_its_verdict(repaired):
    entries = repaired.ledger.all()
    assert [entry for entry, _ in repaired.told] == entries
    there = {entry.seq: is_file for entry, is_file in repaired.told}
    [first, *_] = [entry for entry in entries if entry.kind == "repair"]
    [verdict, *_] = [entry for entry in entries if entry.parent == first.seq]
    assert there[first.seq] and there[verdict.seq]
    before, after = (imread(repaired.drawn(entry)) for entry in (first, verdict))
    assert before.shape == after.shape and (before != after).any()
    assert not any(there[entry.seq] for entry in entries if entry.kind == "alarm")


def test_with_pure_credit_a_repair_of_a_searched_value_prunes_with_the_last_clean_value(trial, settings):
    searched = ["guided_attention_weight"]
    sick = trial(settings=replace(settings, **UNGUIDED), steps=120, searched=searched, rules=DUE)
    with pytest.raises(optuna.TrialPruned, match="credit is pure"):
        sick.run(sick.training())
    assert max(sick.study.trials[0].intermediate_values) == 40  # nothing after the repair was reported


def test_a_checkpoint_holds_what_the_rules_know(trial):
    healthy = trial()
    healthy.run(healthy.training())
    progress = json.loads((healthy.folder / "trial" / "ckpt-00000060" / "trial.json").read_text())
    assert progress["watch"]["health"]["step"] == 60
    assert (healthy.folder / "trial" / "ckpt-00000000").exists()  # where a repair may begin anew


@pytest.mark.parametrize(("bound", "asked"), [(0.0, False), (10.0, True)])
def test_what_the_text_is_worth_is_measured_as_long_as_its_rule_asks(trial, bound, asked):
    rules = [replace(r, min_aligned_text_gain=bound) if isinstance(r, TextIgnored) else r for r in RULES]
    healthy = trial(rules=tuple(rules), steps=10)
    healthy.run(healthy.training())
    progress = json.loads((healthy.folder / "trial" / "ckpt-00000010" / "trial.json").read_text())
    assert ("text_gain" in progress["watch"]["health"]["seen"]) == asked


def test_all_that_rules_are_told_is_declared(trial):
    healthy = trial(steps=10)
    healthy.run(healthy.training())
    state = json.loads((healthy.folder / "trial" / "ckpt-00000010" / "trial.json").read_text())["watch"]
    computed = {"loss_spread"}
    told = {f"{name.split('/')[0]}/" if "/" in name else name for name in state["health"]["seen"]}
    seldom = {"held_out_by_batch"}  # only where held-out sentences lose far more than training
    assert told - computed == SIGNALS.keys() - {"clips"} - seldom


def test_what_the_text_was_worth_to_weights_that_are_given_up_says_nothing_of_new_ones():
    health = Health(Pace(60, 5), SIGNALS, MILESTONE)
    health.best["text_gain"] = 0.5
    health.forget_weights()
    assert health.best == {"text_gain": 0.5}
    health.start_over()
    assert health.best == {}
