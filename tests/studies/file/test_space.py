"""What a study searches is drawn as its file says, again and again alike, and bad trials are pruned."""

import copy
import math

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial, TrialState

from model.settings import LIMITS
from objectives.signals import PARAMETERS
from smart_tuner.repair.rules.usual import USUAL, unusual
from smart_tuner.store.storage import open_storage
from studies.file.search import pruner, sampler
from studies.file.space import Unrunnable, distributions, suggest
from studies.file.spec import Spec, load
from studies.run.training import _suggested

SHIPPED = ["base-en", "base-ru", "ljspeech", "quickstart", "russian"]
DATA = {
    "name": "small",
    "question": "Is it drawn?",
    "seed": 1,
    "corpus": {"source": "espeak"},
    "model": {"size": "small"},
    "space": {
        "guided_attention_weight": {"type": "float", "low": 0.0, "high": 4.0, "step": 0.5},
        "batch_size": {"type": "categorical", "choices": [8, 16, 32]},
        "guided_attention_sigma": {
            "type": "float",
            "low": 0.1,
            "high": 0.4,
            "when": {
                "guided_attention_weight": {"above": 0.0, "below": 3.5},
                "batch_size": {"one_of": [8, 16]},
            },
        },
        "warmup_steps": {
            "type": "int",
            "low": 10,
            "high": 90,
            "step": 20,
            "when": {"guided_attention_sigma": {"above": 0.2}},
        },
        "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    },
    "sampler": {"name": "tpe", "n_startup_trials": 4},
    "budget": {"trials": 12},
    "objective": {"steps": 900, "measure_every": 100, "speak": "Hello."},
}


def spec(**changes):
    return Spec.parse(copy.deepcopy(DATA) | changes, "here.toml")


def opened(spec, path):
    return optuna.create_study(
        storage=open_storage(f"sqlite:///{path}"),
        study_name=spec.name,
        sampler=sampler(spec),
        pruner=pruner(spec),
        load_if_exists=True,
    )


def value_of(params):
    """A made-up objective, with its best at a learning rate of 0.001."""
    rest = [value for name, value in sorted(params.items()) if name != "learning_rate"]
    return abs(math.log(params.get("learning_rate", 1e-3) / 1e-3)) + 0.001 * sum(rest)


def run(spec, path, trials):
    """`trials` more trials in a process of their own: nothing but the database is left of those before."""
    study = opened(spec, path)
    for _ in range(trials):
        trial = study.ask()
        value = value_of(suggest(trial, spec))
        trial.report(value, 100)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, value)
    return [(trial.params, trial.state) for trial in study.trials]


# Drawing


@pytest.mark.parametrize(
    ("weight", "batch", "sigma", "drawn"),
    [
        (0.0, 8, 0.3, {"guided_attention_weight", "batch_size", "learning_rate"}),
        (3.5, 8, 0.3, {"guided_attention_weight", "batch_size", "learning_rate"}),
        (1.0, 32, 0.3, {"guided_attention_weight", "batch_size", "learning_rate"}),
        (1.0, 16, 0.2, {"guided_attention_weight", "batch_size", "guided_attention_sigma", "learning_rate"}),
        (1.0, 16, 0.3, set(DATA["space"])),
    ],
)
def test_a_parameter_is_drawn_only_when_its_condition_holds(weight, batch, sigma, drawn):
    values = {
        "guided_attention_weight": weight,
        "batch_size": batch,
        "guided_attention_sigma": sigma,
        "warmup_steps": 30,
        "learning_rate": 1e-3,
    }
    found = suggest(FixedTrial(values), spec())
    assert found == {name: value for name, value in values.items() if name in drawn}
    assert list(found) == [name for name in DATA["space"] if name in drawn]


def test_everything_drawn_is_drawn_from_the_distributions_of_the_study(tmp_path):
    study = opened(spec(), tmp_path / "study.db")
    for _ in range(8):
        trial = study.ask()
        suggest(trial, spec())
        assert trial.distributions.items() <= distributions(spec()).items()
    assert list(distributions(spec())) == list(DATA["space"])


def test_ranges_steps_and_logarithms_reach_optuna_as_the_file_says_them():
    assert distributions(spec()) == {
        "guided_attention_weight": FloatDistribution(0.0, 4.0, step=0.5),
        "batch_size": CategoricalDistribution([8, 16, 32]),
        "guided_attention_sigma": FloatDistribution(0.1, 0.4),
        "warmup_steps": IntDistribution(10, 90, step=20),
        "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
    }


def test_the_whole_space_can_be_asked_for_at_once(tmp_path):
    free = {k: v for k, v in distributions(spec()).items() if not spec().space[k].when}
    trial = opened(spec(), tmp_path / "study.db").ask(fixed_distributions=free)
    asked = dict(trial.params)
    assert suggest(trial, spec()).items() >= asked.items()


def test_choices_are_drawn_in_the_type_of_their_setting():
    space = {"weight_decay": {"type": "categorical", "choices": [0, 1e-6]}}
    found = suggest(FixedTrial({"weight_decay": 0.0}), spec(space=space))
    assert [type(choice) for choice in distributions(spec(space=space))["weight_decay"].choices] == [
        float,
        float,
    ]
    assert isinstance(found["weight_decay"], float)


def ends(distribution):
    """Two values that a parameter can take, as different as can be."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0], distribution.choices[-1]
    return distribution.low, distribution.high


@pytest.mark.parametrize("name", SHIPPED)
def test_every_searched_parameter_of_a_shipped_study_changes_what_is_trained(name):
    study = load(name)
    for parameter, distribution in distributions(study).items():
        low, high = ({parameter: value} for value in ends(distribution))
        built = [study.parameters(params, PARAMETERS) for params in (low, high)]
        assert built[0] != built[1], parameter


@pytest.mark.parametrize("name", SHIPPED)
@given(st.data())
def test_whatever_a_shipped_study_draws_can_be_trained(name, data):
    study = load(name)
    values = {}
    for parameter, source in distributions(study).items():
        if isinstance(source, CategoricalDistribution):
            values[parameter] = data.draw(st.sampled_from(source.choices))
        elif isinstance(source, IntDistribution):
            values[parameter] = data.draw(st.sampled_from(range(source.low, source.high + 1, source.step)))
        else:
            values[parameter] = data.draw(st.floats(source.low, source.high))
    trained = study.parameters(values, PARAMETERS)
    assert all(PARAMETERS[name].fault(value) is None for name, value in trained.items())
    assert trained["n_frames_per_step"] <= trained["max_frames_per_step"]
    assert list(unusual(trained)) == []


@given(st.data())
def test_what_no_sound_recipe_has_is_told_with_the_usual_range(data):
    name, (low, high, _) = data.draw(st.sampled_from(list(USUAL.items())))
    assert LIMITS[name][0] <= low <= PARAMETERS[name].default <= high <= LIMITS[name][1]
    value = data.draw(st.floats(*LIMITS[name]))
    told = [line for line in unusual({name: value}) if f"{name} = {value:g} is unusual" in line]
    assert len(told) == (not low <= value <= high)
    assert all(f"{low:g} to {high:g}" in line for line in told)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mel_l1_weight": 0.0, "mel_l2_weight": 0.01}, "mels count next to nothing"),
        ({"batch_size": 16, "micro_batches": 8}, "a part of a batch of 16 has fewer than 3 clips"),
        ({"batch_size": 4, "micro_batches": 64}, "a part of a batch of 4 has fewer than 3 clips"),
        ({"batch_size": 64, "micro_batches": 8}, ""),
        ({"mel_l1_weight": 0.0}, ""),  # NVIDIA's public code
        (
            {"weight_decay": 1e-6, "adam_eps": 1e-6, "grad_clip_thresh": 1.0, "batch_size": 64},
            "",
        ),  # Shen et al.
        ({"guided_attention_sigma": 0.4, "guided_attention_weight": 10.0, "gate_positive_weight": 5.0}, ""),
    ],
)
def test_what_only_together_is_unusual_is_told_and_a_public_recipe_is_not(settings, told):
    lines = list(unusual(settings))
    assert len(lines) == bool(told) and all(told in line for line in lines)


# The sampler


@pytest.mark.parametrize(
    "study",
    [
        spec(),
        spec(space={name: DATA["space"][name] for name in ("learning_rate", "batch_size")}),
        spec(sampler={"name": "random"}),
    ],
    ids=["grouped tpe", "tpe", "random"],
)
def test_a_resumed_study_draws_what_one_straight_run_draws(tmp_path, study):
    straight = run(study, tmp_path / "straight.db", 12)
    run(study, tmp_path / "resumed.db", 5)
    assert run(study, tmp_path / "resumed.db", 7) == straight
    assert len({str(params) for params, _ in straight}) == 12


def test_another_seed_draws_something_else(tmp_path):
    assert run(spec(), tmp_path / "a.db", 2) != run(spec(seed=2), tmp_path / "b.db", 2)


def test_learnt_draws_differ_from_seed_to_seed_and_from_trial_to_trial(tmp_path):
    draws = []
    for seed in (1, 2):
        run(spec(), tmp_path / f"{seed}.db", 8)
        study = opened(spec(seed=seed), tmp_path / f"{seed}.db")
        for _ in range(2):
            trial = study.ask()
            draws.append(str(trial.relative_params))
            study.tell(trial, state=TrialState.FAIL)  # teaches the sampler nothing
    assert len(set(draws)) == 4


@pytest.mark.parametrize("before", [0, 8])
def test_a_trial_killed_between_two_draws_goes_on_with_the_same_second_draw(tmp_path, before):
    for name in ("straight", "killed"):
        run(spec(), tmp_path / f"{name}.db", before)
    whole = suggest(opened(spec(), tmp_path / "straight.db").ask(), spec())
    killed = opened(spec(), tmp_path / "killed.db").ask()
    killed.suggest_float("guided_attention_weight", 0.0, 4.0, step=0.5)
    study = opened(spec(), tmp_path / "killed.db")
    study.get_trials(deepcopy=False)  # as a worker does first: Optuna's cache must know the trial
    assert suggest(optuna.trial.Trial(study, killed._trial_id), spec()) == whole


def test_conditional_parameters_are_searched_jointly_too(tmp_path):
    study = opened(spec(), tmp_path / "study.db")
    run(spec(), tmp_path / "study.db", 12)
    trial = study.ask()
    assert trial.relative_params.keys() == DATA["space"].keys()


# The pruner


def curve(study, values, every=100):
    """A trial that reports these values; how many it came to report."""
    trial = study.ask()
    for number, value in enumerate(values, 1):
        trial.report(value, number * every)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return number
    study.tell(trial, values[-1])
    return len(values)


@pytest.mark.parametrize(
    ("settings", "rung"),
    [
        ({"name": "asha"}, 1),
        ({"name": "asha", "min_resource": 300}, 3),
        ({"name": "asha", "min_resource": 250}, 3),
    ],
)
def test_a_bad_curve_is_pruned_at_the_first_rung(tmp_path, settings, rung):
    study = opened(spec(pruner=settings), tmp_path / "study.db")
    assert [curve(study, [10 - i, 9 - i, 8 - i, 7 - i, 6 - i]) for i in range(3)] == [5, 5, 5]
    assert curve(study, [20, 20, 20, 20, 20]) == rung


def test_the_reduction_factor_says_how_many_go_on(tmp_path):
    gone_on = {}
    for factor in (2, 4):
        study = opened(spec(pruner={"name": "asha", "reduction_factor": factor}), tmp_path / f"{factor}.db")
        order = [5, 1, 7, 3, 8, 2, 6, 4]
        gone_on[factor] = sum(curve(study, [value, value]) == 2 for value in order)
    assert gone_on[2] > gone_on[4]


def test_without_a_pruner_the_worst_curve_goes_on(tmp_path):
    study = opened(spec(pruner={"name": "none"}), tmp_path / "study.db")
    assert [curve(study, [value] * 5) for value in (1, 2, 90)] == [5, 5, 5]


@pytest.mark.filterwarnings("ignore:The value `0.7` is out of range")
def test_what_a_sampler_draws_outside_the_space_fails_its_trial_also_where_it_was_killed(tmp_path):
    outside = optuna.samplers.GridSampler({"learning_rate": [0.7]})
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/study.db"), sampler=outside)
    narrow = spec(space={"learning_rate": DATA["space"]["learning_rate"]})
    trial = study.ask()
    for _ in range(2):  # the second finds what the first drew
        with pytest.raises(Unrunnable, match=r"learning_rate = 0\.7, which must be"):
            _suggested(trial, narrow)
