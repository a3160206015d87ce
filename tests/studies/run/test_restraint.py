"""When rules only tell: of what a search draws, of a trial that does well, and where they only advise."""

import json
import math
from dataclasses import dataclass
from typing import ClassVar

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_tuner import Callback, Objective, Parameter, Run, run_study
from smart_tuner.repair.autofix import policy_hash
from smart_tuner.repair.rule import Action, Alarm, Rule
from smart_tuner.repair.rules import RULES
from smart_tuner.store import attributes
from smart_tuner.store.records import repairs_of
from smart_tuner.store.storage import open_storage
from studies.run.study import StudyError, load_study, rdb, stored_spec

KNOWN = {rule.name for rule in RULES}
SPACE = {"rate": optuna.distributions.CategoricalDistribution((0.1, 0.2, 0.3, 0.4))}
STEPS, DUE = 120, 60  # of a trial; when the rules below see something


class Descent(Run):
    def __init__(self, parameters):
        self.settings, self.place = dict(parameters), 1.0

    def advance(self):
        self.place *= 1 - 0.1 * self.settings["rate"] * (1 - self.settings["drag"])
        self.step += 1
        return {"loss": self.place}

    def measure(self):
        return {"value": self.place}

    def save(self, folder):
        (folder / "place.json").write_text(json.dumps([self.place, self.step, dict(self.settings)]))

    def restore(self, folder):
        self.place, self.step, self.settings = json.loads((folder / "place.json").read_text())


class Known(Descent):
    def worth(self):
        return self.place


class Worthless(Descent):
    worst = 0.0  # so that it is never thought to do well


class Descents(Objective):
    parameters = {"rate": Parameter(0.1, 0.0, 1.0), "drag": Parameter(0.5, 0.0, 2.0)}  # noqa: RUF012

    def run(self, parameters, seed, device):
        return Descent(parameters)


class KnownDescents(Descents):
    def run(self, parameters, seed, device):
        return Known(parameters)


class Hopeless(Descents):
    def run(self, parameters, seed, device):
        return Worthless(parameters)


@dataclass(frozen=True)
class Impatient(Rule):
    """Would have every trial go faster, by what the search draws."""

    level, priority, votes, gives_up = 4, 1, (1, 1), "PRUNED"
    words: ClassVar = {"late": "it is late", "faster": "go faster"}

    def sees(self, health, settings):
        return Alarm("late", {}) if health.step >= DUE else None

    def remedies(self, settings):
        return [Action("faster", {"rate": 0.9})]

    def helped(self, before, after, health):
        return True


@dataclass(frozen=True)
class Oiling(Impatient):
    """The same, by what is fixed."""

    gives_up = None

    def remedies(self, settings):
        return [Action("faster", {"drag": 0.0})]


@dataclass(frozen=True)
class Braking(Oiling):
    """What harms: its trial slowly loses what it had."""

    def remedies(self, settings):
        return [Action("faster", {"drag": 1.05})]


class Late:
    """When it is known how the run goes."""

    def sees(self, health, settings):
        return Alarm("late", {}) if health.step == 100 else None


@dataclass(frozen=True)
class LateBraking(Late, Braking):
    level = 2  # however well the run does


@dataclass(frozen=True)
class LateOiling(Late, Oiling):
    level = 2


def studied(
    folder,
    rule,
    n_trials=1,
    space=SPACE,
    callbacks=(),
    mode="on",
    modes=None,
    steps=STEPS,
    of=Descents,
    **tables,
):
    plan = {"steps": steps, "measure_every": 40, "n_trials": n_trials, "workdir": folder, "name": "descents"}
    rules = {"mode": mode, "modes": modes or {}, "extra": [f"{__name__}:{rule.__name__}"]}
    chosen = {"sampler": {"name": "random"}, "pruner": {"name": "none"}, "rules": rules} | tables
    return run_study(of(), space, **plan, callbacks=callbacks, objective={"validate_every": 10}, **chosen)


def rows(study):
    found = repairs_of(rdb(study).ours, study.user_attrs["uid"], None)
    return [(number, e.kind, e.step, e.action) for number, e in found if e.rule not in KNOWN]


def values(study):
    return [list(trial.intermediate_values.values()) for trial in study.trials]


def drawn(study):
    return [trial.params["rate"] for trial in study.trials]


def pure(rate, drag=0.5):
    return (1 - 0.1 * rate * (1 - drag)) ** STEPS


def test_what_a_search_draws_is_left_to_it_and_no_trial_is_ended_for_that(tmp_path):
    study = studied(tmp_path, Impatient, 3)
    assert rows(study) == [(number, "alarm", DUE, "searched") for number in range(3)]
    assert [trial.value for trial in study.trials] == pytest.approx([pure(rate) for rate in drawn(study)])
    off = studied(tmp_path / "off", Impatient, 3, mode="off")
    assert values(off) == values(study)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3


def test_what_is_fixed_is_repaired_until_a_trial_does_well_among_enough_others(tmp_path):
    study = studied(tmp_path, Braking, 9, of=Hopeless)
    at_first = {number: (kind, action) for number, kind, step, action in rows(study) if step == DUE}
    for trial in study.trials:
        others = sorted(t.intermediate_values[40] for t in study.trials[: trial.number])
        median = trial.user_attrs["medians"].get("40")
        assert (median is not None) == (len(others) >= 4)  # before, there is nothing to be compared with
        does_well = median is not None and trial.intermediate_values[40] <= median
        assert at_first[trial.number] == (("alarm", "better_half") if does_well else ("repair", "faster"))
        assert median is None or others[0] <= median <= others[-1]
    assert {at_first[number][0] for number in range(4, 9)} == {"alarm", "repair"}


def test_what_helped_one_trial_is_what_the_next_ones_begin_with(tmp_path):
    told = Warned()
    study = studied(tmp_path, LateOiling, 4, callbacks=[told], steps=200, of=KnownDescents)
    made = [row for row in rows(study) if row[1] == "repair"]
    assert made == [(0, "repair", 100, "faster")]
    verdicts = [e for n, e in told.rows if e.kind == "verdict"]
    assert [(v.verdict, v.action, v.action_values["measure"]) for v in verdicts][-1] == (
        "improved",
        "heard_kept",
        "value",
    )
    first, *others = study.trials
    assert "begins_with" in first.user_attrs
    assert first.user_attrs["begins_with"] == {}
    for trial in others:
        assert trial.user_attrs["begins_with"] == {"drag": 0.0}
        assert trial.user_attrs["settings"]["drag"] == 0.0
        assert trial.value == pytest.approx((1 - 0.1 * trial.params["rate"]) ** 200)
        assert f"trial {trial.number} begins with drag = 0: that helped trial 0" in told.texts


def test_what_harmed_a_trial_is_undone_and_not_tried_again_there_nor_elsewhere_begun_with(tmp_path):
    fast = {"rate": optuna.distributions.CategoricalDistribution((0.4, 0.41))}
    study = studied(tmp_path, LateBraking, 2, space=fast, steps=200, of=KnownDescents)
    harmed = [e for _, e in repairs_of(rdb(study).ours, study.user_attrs["uid"], 0) if e.kind == "verdict"]
    assert [(e.verdict, e.action) for e in harmed] == [("eased", "kept"), ("harm", "heard_undone")]
    assert harmed[1].action_values["found"] > harmed[1].action_values["expected"]
    assert study.trials[1].user_attrs["begins_with"] == {}
    undisturbed = (1 - 0.1 * drawn(study)[0] * 0.5) ** 200
    assert study.trials[0].value == pytest.approx(undisturbed)  # and what was lost is made up for


def test_one_trial_in_so_many_is_a_control(tmp_path):
    rules = {"mode": "on", "extra": [f"{__name__}:Oiling"], "controls": 1}
    study = studied(tmp_path, Oiling, 1, rules=rules)
    assert rows(study) == [(0, "alarm", DUE, "control")]


def test_nothing_is_searched_where_one_voice_is_trained_or_the_best_one_trained_on(tmp_path):
    one = studied(tmp_path / "one", Impatient, space={}, settings={"rate": 0.1}, of=Hopeless)
    assert [row[1] for row in rows(one)][:1] == ["repair"]
    assert "medians" not in one.trials[0].user_attrs
    on = studied(tmp_path / "on", Impatient, 5, finish={"steps": 2 * STEPS}, of=Hopeless)
    assert {kind for number, kind, *_ in rows(on) if number < 5} == {"alarm"}
    assert "repair" in [row[1] for row in rows(on) if row[0] == 5]


def test_a_mode_of_a_study_may_be_another_ones_of_a_rule(tmp_path):
    advised = studied(tmp_path / "advised", Oiling, mode="advise")
    assert rows(advised) == [(0, "alarm", DUE, "advised")]
    assert advised.trials[0].value == pytest.approx(pure(*drawn(advised)))
    acting = studied(tmp_path / "acting", Oiling, mode="advise", modes={"oiling": "on"})
    assert rows(acting)[0] == (0, "repair", DUE, "faster")


class Warned(Callback):
    def __init__(self):
        self.rows, self.texts = [], []

    def repaired(self, entry):
        self.rows.append((0, entry))

    def warned(self, text):
        self.texts.append(text)


class Dying(Callback):
    """A worker that dies after so many steps."""

    def __init__(self, at):
        self.steps_left = at

    def stepped(self, step):
        self.steps_left -= 1
        if self.steps_left == 0:
            raise OSError("killed")


@pytest.mark.parametrize("at", [1, 59, 61, 99])
def test_a_trial_that_died_goes_on_with_what_it_knew_of_others_when_it_began(tmp_path, at):
    """Meanwhile others have come to their end, and by them it would do well, or badly."""
    straight = studied(tmp_path / "straight", Oiling, 5)
    studied(tmp_path, Oiling, 4)
    with pytest.raises(Exception, match="killed"):
        studied(tmp_path, Oiling, 5, callbacks=[Dying(at)])
    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.load_study(study_name="descents", storage=open_storage(url))
    worst, bests = {40: 9.0, 80: 9.0}, {40: 0.0, 80: 0.0}
    does_well = straight.trials[4].intermediate_values[40] <= straight.trials[4].user_attrs["medians"]["40"]
    for _ in range(9):
        study.add_trial(
            optuna.trial.create_trial(
                value=1.0,
                params={"rate": 0.1},
                distributions=SPACE,
                intermediate_values=bests if does_well else worst,
            )
        )
    resumed = studied(tmp_path, Oiling, 14)
    assert values(resumed)[4] == values(straight)[4]
    mine = [row[1:] for row in rows(resumed) if row[0] == 4 and row[1] != "void"]
    assert dict.fromkeys(mine) == dict.fromkeys(row[1:] for row in rows(straight) if row[0] == 4)


def test_a_study_that_began_when_rules_acted_on_everything_goes_on_so(tmp_path):
    studied(tmp_path, Impatient, 1)
    url = f"sqlite:///{tmp_path}/study.db"
    study = load_study("descents", open_storage(url))
    rules = stored_spec(study).rules.chosen([f"{__name__}:Impatient"])
    now, before = study.user_attrs["policy"], policy_hash(rules, Descents.signals)
    assert now != before
    study.set_user_attr("policy", before)
    resumed = studied(tmp_path, Impatient, 2)
    assert [row[1] for row in rows(resumed) if row[0] == 1][:1] == ["repair"]
    assert resumed.trials[1].user_attrs["effective"] == {"rate": 0.9}
    assert resumed.user_attrs["policy"] == resumed.trials[1].user_attrs["policy"] == before
    study.set_user_attr("policy", "neither of both")
    with pytest.raises(StudyError, match="are others than when it began"):
        studied(tmp_path, Impatient, 3)


@given(st.none() | st.text() | st.lists(st.integers()) | st.dictionaries(st.text(), st.none() | st.floats()))
def test_medians_that_somebody_else_wrote_are_numbers_by_step_or_none(written):
    trial = optuna.trial.create_trial(value=1.0, user_attrs={"medians": written})
    found = attributes.medians(trial)
    assert all(type(step) is int and math.isfinite(value) for step, value in found.items())


def test_medians_are_read_as_they_were_written():
    trial = optuna.trial.create_trial(value=1.0, user_attrs=json.loads('{"medians": {"40": 0.5, "x": 1.0}}'))
    assert attributes.medians(trial) == {40: 0.5}
    assert attributes.medians(optuna.trial.create_trial(value=1.0)) is None
