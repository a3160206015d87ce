"""What is said of a study's winner: only what is true, with lines and commands that can be used."""

import json
import math
import re
import tomllib
from contextlib import closing

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markupsafe import escape
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from own_objective import own_study
from scipy.stats import chi2, rankdata, spearmanr
from scipy.stats import kruskal as scipys

import run_study
from objectives.signals import PARAMETERS
from smart_tuner.store.storage import open_storage
from studies.file.distributions import contains, distribution
from studies.file.parameters import Choice, FloatRange, IntRange
from studies.file.spec import Spec, load
from studies.report import facts, history, single_page, winner
from studies.report import summary as report
from studies.run.study import load_study, open_study


@pytest.fixture
def storage(tmp_path):
    with closing(open_storage(f"sqlite:///{tmp_path / 'study.db'}")) as storage:
        yield storage


# Edges

NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
SEARCHED = [name for name, parameter in PARAMETERS.items() if parameter.searched]


@st.composite
def ranges(draw):
    kind = draw(st.sampled_from([FloatRange, IntRange]))
    log = draw(st.booleans())
    if kind is IntRange:
        low, high = sorted(
            (draw(st.integers(1 if log else -50, 60)), draw(st.integers(1 if log else -50, 60)))
        )
        step = None if log else draw(st.sampled_from([None, 1, 2, 3]))
        high = low + (high - low) // (step or 1) * (step or 1)
        return IntRange(type="int", low=low, high=high, log=log, step=step)
    low, high = sorted((draw(NUMBERS), draw(NUMBERS)))
    if log:
        low, high = sorted((abs(low) + 1e-3, abs(high) + 1e-3))
    count = None if log else draw(st.sampled_from([None, 1, 3, 8]))
    if count is None:
        return FloatRange(type="float", low=low, high=high, log=log)
    step = draw(st.sampled_from([0.1, 0.25, 3.0]))
    high = float(f"{low + count * step:.3f}")
    return FloatRange(type="float", low=low, high=high, step=step)


def part(source, value):
    scale = math.log if source.log else float
    low, high, at = map(scale, (source.low, source.high, value))
    return (at - low) / (high - low)


@given(ranges(), st.floats(0, 1))
def test_an_edge_is_a_tenth_of_the_range_on_the_scale_on_which_it_is_searched(source, at):
    scale, back = (math.log, math.exp) if source.log else (float, float)
    value = back(scale(source.low) + at * (scale(source.high) - scale(source.low)))
    value = min(max(round(value) if isinstance(source, IntRange) else value, source.low), source.high)
    found = winner.edge(source, value)
    if source.low == source.high or 0 < len(source.values()) < 4:
        assert found is None
        return
    assume(abs(abs(part(source, value) - 0.5) - 0.4) > 1e-9)
    expected = {True: "low", False: "high"}[part(source, value) < 0.5]
    assert found == (expected if abs(part(source, value) - 0.5) > 0.4 else None)


@given(st.lists(st.integers(), min_size=2, unique=True), st.data())
def test_choices_have_no_edge(choices, data):
    source = Choice(type="categorical", choices=tuple(choices))
    assert winner.edge(source, data.draw(st.sampled_from(choices))) is None


@given(ranges(), st.sampled_from(["low", "high"]), st.data())
def test_a_wider_range_holds_all_of_the_old_one_and_is_possible(source, side, data):
    assume(source.low < source.high)
    spare = data.draw(st.floats(0, 1e3) | st.just(math.inf))
    least, most = source.low - spare, source.high + spare
    if source.log and isinstance(source, IntRange):
        least = max(least, 1)
    found = winner.wider(source, side, least, most)
    if found is None:
        grid = 2 * (source.step or 1) if isinstance(source, IntRange) else source.step or 0
        assert (most - source.high if side == "high" else source.low - least) <= grid
        return
    wide = type(source).model_validate({**source.model_dump(), side: found})  # what the file would refuse
    assert least <= wide.low <= source.low < source.high <= wide.high <= most
    assert wide != source
    assert type(found) is type(source.low)
    for value in source.values():
        assert contains(distribution(wide), value)
    if isinstance(source, IntRange):
        assert (found - getattr(source, side)) % 2 == 0
    elif source.step is None:
        enough = spare == math.inf and source.high - source.low > 0.1 * max(abs(source.low), abs(source.high))
        assert not enough or winner.edge(wide, getattr(source, side)) is None


@settings(max_examples=60)
@given(st.sampled_from(SEARCHED), st.sampled_from(["low", "high"]), st.data())
def test_a_line_is_only_told_if_the_study_file_would_be_taken_with_it(name, side, data):
    """Limits, odd and even numbers, and what one key says of another are the file's own affair."""
    known, spec = PARAMETERS[name], load("quickstart")
    if known.type is int:
        low, high = sorted(data.draw(st.lists(st.integers(1, 200), min_size=2, max_size=2, unique=True)))
        high = low + max(3, high - low) * 2
        table = {"type": "int", "low": low, "high": high, "step": 2}
    else:
        low, high = sorted(data.draw(st.lists(st.floats(0.001, 1), min_size=2, max_size=2, unique=True)))
        table = {"type": "float", "low": low, "high": high}
    plain = spec.model_dump(mode="json")
    plain["settings"].pop(name, None)
    try:
        spec = Spec.parse(plain | {"space": {name: table}}, "drawn")
    except ValueError:
        assume(False)
    trial = create_trial(
        value=1.0,
        params={name: table[side]},
        distributions={name: distribution(spec.space[name])},
    )
    for line in winner._at_edges(None, spec, trial):
        header, key = re.search(r"(\[space\.\w+\]) (\w+ = \S+)$", line).groups()
        changed = tomllib.loads(f"{header}\n{key}")["space"][name]
        assert abs(changed[side]) != abs(table[side])
        Spec.parse(plain | {"space": {name: table | changed}}, "changed")


# Effects

VALUES = st.lists(st.integers(0, 9) | st.floats(0, 9), min_size=2, max_size=12)


@given(st.lists(VALUES, min_size=2, max_size=7))
def test_the_p_value_is_that_of_scipy(groups):
    groups = [np.array(group, float) for group in groups]
    assume(len(np.unique(np.concatenate(groups))) > 1)
    assert winner.kruskal(groups) == pytest.approx(scipys(*groups).pvalue, rel=1e-6, abs=1e-12)
    together = np.concatenate(groups)
    assert winner.ranks(together).tolist() == rankdata(together).tolist()


@given(st.floats(0, 300), st.integers(1, 30))
def test_the_chi_squared_tail_is_that_of_scipy(x, freedom):
    assert winner._chi_squared_tail(x, freedom) == pytest.approx(chi2.sf(x, freedom), rel=1e-9, abs=1e-300)


def test_the_correlation_is_that_of_scipy():
    random = np.random.default_rng(2)
    for n in (20, 50, 200):
        x, y = random.normal(size=(2, n))
        found = spearmanr(x, y)
        z = abs(found.statistic) * math.sqrt(n - 1)
        assert winner.spearman(x, y) == pytest.approx(math.erfc(z / math.sqrt(2)))
        assert winner.spearman(x, y) == pytest.approx(found.pvalue, abs=0.03)


RATE = {"learning_rate": FloatDistribution(1e-3, 8e-3, log=True)}
GATE = {"gate_positive_weight": FloatDistribution(1.0, 20.0, log=True)}
BATCH = {"batch_size": CategoricalDistribution([8, 16])}


def searched(count, value_of, steps=(100, 200), state=TrialState.COMPLETE, seed=0):
    """Trials whose values follow from a random rate, weight and batch."""
    random = np.random.default_rng(seed)
    sources = {**RATE, **GATE, **BATCH}
    found = []
    for _ in range(count):
        rate, gate, batch = random.uniform(), random.uniform(), int(random.integers(2))
        params = {
            "learning_rate": 8e-3 * 0.125**rate,
            "gate_positive_weight": 20.0**gate,
            "batch_size": [8, 16][batch],
        }
        value = value_of(rate, gate, batch) + 0.3 * random.normal()
        rows = [{"step": step, "value": value + 100 / step, "seconds": 1.0} for step in steps]
        found.append(
            create_trial(
                state=state,
                value=rows[-1]["value"] if state == TrialState.COMPLETE else None,
                params=params,
                distributions=sources,
                user_attrs={"measures": rows},
                intermediate_values={row["step"]: row["value"] for row in rows},
            )
        )
    return found


def told(study, spec):
    study = load_study(study.study_name, study._storage)
    return winner.remarks(study, spec, history.best_trial(study))


def without_effect(trials):
    for number, trial in enumerate(trials):
        trial.number = number
    lines = winner._without_effect(load("quickstart"), trials)
    return {line.split()[3] for line in lines}


@pytest.mark.parametrize(
    "value_of",
    [
        lambda rate, gate, batch: 6 + 4 * rate,
        lambda rate, gate, batch: 6 + 16 * (rate - 0.5) ** 2,  # best in the middle: no correlation
    ],
)
def test_a_parameter_without_effect_is_told_from_one_with_it(value_of):
    names = []
    for seed in range(20):
        pruned = searched(20, value_of, (100,), TrialState.PRUNED, seed + 100)
        names.append(without_effect(searched(40, value_of, seed=seed) + pruned))
    assert not any("learning_rate" in some for some in names)
    assert sum("gate_positive_weight" in some for some in names) >= 10
    assert sum("batch_size" in some for some in names) >= 10


def test_a_category_with_an_effect_is_seen():
    trials = searched(40, lambda rate, gate, batch: 6 + batch)
    assert "batch_size" not in without_effect(trials)


def test_of_few_trials_nothing_is_said():
    assert without_effect(searched(winner.FEWEST - 1, lambda *_: 6.0)) == set()


def test_it_is_said_of_the_trials_of_a_search(storage):
    spec = load("quickstart")
    study = open_study(spec, storage)
    study.add_trials(searched(40, lambda rate, gate, batch: 6 + 4 * rate, seed=1))
    study.add_trials(searched(20, lambda rate, gate, batch: 6 + 4 * rate, (100,), TrialState.PRUNED, 101))
    line = (
        "No effect of gate_positive_weight on the value was seen in 60 trials, compared at steps 100 to 200."
    )
    assert line in told(study, spec)


# Verdicts


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((11.9, 8.0), "After 200 steps one does: [pruner] min_resource = 200."),
        ((11.9, 11.8), "They need longer trials."),
        ((9.9, 8.0), None),  # they speak where they were judged
    ],
)
def test_verdicts_on_voices_that_say_nothing_are_told(storage, values, said):
    spec = load("quickstart")
    study = open_study(spec, storage)
    study.set_user_attr("yardstick", {"mismatch": 12.5, "copy_synthesis": 2.0})
    add(study, values=values)
    rows = [{"step": 100, "value": values[0] + 0.1, "seconds": 1.0}]
    pruned = {
        "state": TrialState.PRUNED,
        "user_attrs": {"measures": rows},
        "intermediate_values": {100: 12.0},
    }
    for _ in range(3):
        study.add_trial(create_trial(params=PARAMS, distributions={**RATE, **GATE, **BATCH}, **pruned))
    lines = [line for line in told(study, spec) if "say anything yet" in line]
    assert len(lines) == (said is not None)
    start = "At step 100, where trials were pruned (3), not even the best voices say anything yet"
    assert said is None or (lines[0].startswith(start) and lines[0].endswith(said))
    freezing = spec.model_copy(update={"search": spec.search.model_copy(update={"method": "freeze-thaw"})})
    assert not [line for line in told(study, freezing) if "say anything yet" in line]


# The curve's end, and chance


@given(st.lists(st.floats(0, 10), min_size=1, max_size=40))
def test_a_curve_that_never_fell_at_its_end_does_not_fall(values):
    curve = [(10 * n, value) for n, value in enumerate(sorted(values), 1)]
    assert not winner.falls(curve)


@given(st.integers(4, 50), st.floats(0.01, 5))
def test_a_straight_fall_is_one(count, slope):
    assert winner.falls([(10 * n, 100 - slope * n) for n in range(count)])


def test_noise_is_seldom_taken_for_a_fall():
    random = np.random.default_rng(4)
    for count in (4, 8, 16, 50):
        found = [winner.falls(list(enumerate(random.normal(size=count)))) for _ in range(400)]
        assert np.mean(found) < 0.07, count


PARAMS = {"learning_rate": 2e-3, "gate_positive_weight": 5.0, "batch_size": 16}


def add(study, params=PARAMS, values=(9.0, 8.0, 7.0, 6.0), **attributes):
    rows = [{"step": 100 * n, "value": v, "seconds": 1.0} for n, v in enumerate(values, 1)]
    study.add_trial(
        create_trial(
            value=min(values),
            params=params,
            distributions={**RATE, **GATE, **BATCH},
            user_attrs={"measures": rows, **attributes},
            intermediate_values={row["step"]: row["value"] for row in rows},
        )
    )


def unfinished():
    """The quickstart without its finish."""
    spec = load("quickstart")
    return spec.model_copy(update={"finish": spec.finish.model_copy(update={"steps": None})})


FALLS = (
    "The curve of trial 0 still fell when it ended, from 9.00 dB at step 100 to 6.00 dB at step 400. "
    "run_study.py resume quickstart --finish 2400 trains it on."
)
CHOSEN = (
    "Trial 0 was chosen as the best of 2, and not repeated: trained again with another seed, its settings "
    "would rather come out worse than 6.00 dB."
)
HIGH = (
    "learning_rate = 0.0079 lies within a tenth of the upper end of its range, 0.001 to 0.008: better values "
    "may lie beyond. run_study.py resume quickstart --widen searches there, too: "
    "[space.learning_rate] high = 0.023"
)


def test_all_is_said_wherever_a_study_is_told(storage, tmp_path, capsys):
    spec = unfinished()
    study = open_study(spec, storage)
    add(study, {**PARAMS, "learning_rate": 7.9e-3})
    add(study, values=(9.0, 7.0))
    study = load_study("quickstart", storage)
    expected = [HIGH, FALLS, CHOSEN]
    assert told(study, spec) == expected
    summary, markdown = report.summary(study, spec, None), report.markdown(study, spec, None, [], [])
    page = single_page.page(study, spec, None, [], [], tmp_path)
    for line in expected:
        assert f"- {line}\n" in summary
        assert f"- {line}\n" in markdown
        assert f"<li>{escape(line)}</li>" in page
    called = ["--home", str(tmp_path), "--storage", f"sqlite:///{tmp_path / 'study.db'}"]
    assert run_study.main([*called, "best", "quickstart", "-f", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["remarks"] == expected
    assert run_study.main([*called, "best", "quickstart"]) == 0
    assert "remarks" not in capsys.readouterr().out


def test_nothing_is_said_of_what_is_not_so(storage, tmp_path):
    spec = unfinished()
    study = open_study(spec, storage)
    add(study, values=(6.0, 7.0, 8.0, 9.0))
    assert told(study, spec) == []
    assert "What to know of it" not in report.summary(load_study("quickstart", storage), spec, None)
    page = single_page.page(load_study("quickstart", storage), spec, None, [], [], tmp_path)
    assert "What to know of it" not in page


def test_a_curve_that_will_be_trained_on_or_was_in_vain_is_not_said_to_fall(storage):
    spec = load("quickstart")
    study = open_study(spec, storage)
    add(study)
    assert [line for line in told(study, spec) if "still fell" in line] == []
    assert FALLS in told(study, unfinished())
    on = {"trial": 0, "step": 400, "steps": 600}
    add(study, values=(9.0, 8.0, 7.0, 6.0, 6.5, 6.6), goes_on_from=on)
    assert [line for line in told(study, unfinished()) if "still fell" in line] == []


def test_a_trial_that_went_on_can_go_on_still_further(storage):
    study, on = open_study(unfinished(), storage), {"trial": 0, "step": 400, "steps": 1600}
    add(study)
    add(study, values=np.linspace(9.0, 2.0, 16).tolist(), goes_on_from=on)
    [line] = [line for line in told(study, unfinished()) if "still fell" in line]
    assert line.startswith("The curve of trial 1 still fell")
    assert "--finish 3200 " in line


def test_a_best_that_was_repeated_is_not_said_to_be_alone(storage):
    study, spec = open_study(unfinished(), storage), unfinished()
    add(study)
    add(study, {**PARAMS, "gate_positive_weight": 7.0}, values=(9.0, 8.0))
    assert CHOSEN in told(study, spec)
    add(study, values=(9.0, 8.5))  # the same settings
    assert [line for line in told(study, spec) if "not repeated" in line] == []


def test_repeats_tell_what_the_settings_are_worth_and_are_no_better_trials(storage):
    study, spec = open_study(unfinished(), storage), unfinished()
    add(study)
    add(study, {**PARAMS, "gate_positive_weight": 7.0}, values=(9.0, 8.0))
    add(study, values=(9.0, 7.5), repeats=0)
    [once] = [line for line in told(study, spec) if "epeated" in line]
    assert once.startswith("Repeated once with another seed, the settings of trial 0 came out at 7.50 dB, b")
    add(study, values=(9.0, 5.0), repeats=0)  # better than the best
    add(study, values=(9.0, 1.0), repeats=1)  # of another trial
    study = load_study("quickstart", storage)
    best = history.best_trial(study)
    assert best.number == history.three_bests(study)["unassisted"].number == 0
    assert (history.started(study), history.states(study)["complete"]) == (2, 2)
    assert [line for line in told(study, spec) if "epeated" in line] == [
        "Repeated 2 times with other seeds, the settings of trial 0 came out at 6.25 dB on average "
        "(5.00 dB to 7.50 dB), beside its own 6.00 dB."
    ]
    record = report.best_record(study, spec, best)
    assert {name: record[name] for name in record if name.startswith("repeat")} == {
        "repeats": 2,
        "repeated_low": 5.0,
        "repeated_mean": 6.25,
        "repeated_high": 7.5,
    }
    assert report.status_record(study, spec)["repeats"] == "2 of trial 0, 1 of trial 1"
    assert facts.of_new_best(study, 0)["was"] == 8.0


def test_of_a_best_that_was_trained_on_the_one_before_is_repeated(storage):
    study = open_study(unfinished(), storage)
    add(study)
    add(study, values=(9.0, 8.5), repeats=0)
    on = {"trial": 0, "step": 400, "steps": 600}
    add(study, values=(9.0, 8.0, 7.0, 6.0, 5.0, 4.0), goes_on_from=on)
    [line] = [line for line in told(study, unfinished()) if "epeated" in line]
    assert line.endswith("the settings of trial 0 came out at 8.50 dB, beside its own 6.00 dB.")


def test_repeats_that_came_to_nothing_are_told(storage):
    study = open_study(unfinished(), storage)
    add(study)
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"repeats": 0}))
    [line] = [line for line in told(study, unfinished()) if "epeated" in line]
    assert "the settings of trial 0 did not come to a value, beside" in line
    add(study, values=(9.0, 8.5), repeats=0)
    [line] = [line for line in told(study, unfinished()) if "epeated" in line]
    assert "came out at 8.50 dB, 1 of them without a value, beside" in line


def test_what_a_repair_changed_was_not_drawn(storage):
    study, spec = open_study(unfinished(), storage), unfinished()
    add(study, {**PARAMS, "learning_rate": 7.9e-3}, effective={"learning_rate": 4e-3})
    assert [line for line in told(study, spec) if "tenth" in line] == []


def test_an_own_objective_has_its_own_limits_and_commands(storage):
    study, _ = own_study(storage)
    spec = Spec.parse(
        {
            "name": "quickstart",
            "question": "Which width?",
            "seed": 1,
            "space": {"width": {"type": "int", "low": 1, "high": 64}},
            "budget": {"trials": 9},
            "objective": {"use": "mine:Net", "steps": 4, "measure_every": 1},
        },
        "own",
    )
    source = spec.space["width"]
    stored = study.user_attrs["objective"]

    def at(width, limits):
        study.set_user_attr("objective", {**stored, "limits": limits})
        trial = create_trial(
            value=0.001,
            params={"width": width},
            distributions={"width": distribution(source)},
            user_attrs={"measures": [{"step": n, "value": 1 / n} for n in range(1, 5)]},
        )
        study.add_trial(trial)
        remarks = told(study, spec)
        assert any("resume quickstart --use mine:Net --finish" in line for line in remarks)
        return [line.partition("[space.width] ")[2] for line in remarks if "tenth" in line]

    assert at(63, {"width": [1, 128]}) == ["high = 96"]
    assert at(63, {"width": [1, 70]}) == ["high = 70"]
    assert at(63, {"width": [1, 64]}) == []
    assert at(63, {"width": "wide"}) == []
