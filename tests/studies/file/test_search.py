"""Samplers and pruners by name: built as the file says, refused by key, and as resumable as the docs say."""

import itertools
import json
import math
import re
import sys
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import Trial, TrialState

from smart_tuner.repair.pruning import should_prune
from smart_tuner.store.storage import open_storage
from studies.file import code
from studies.file.distributions import contains, distribution
from studies.file.search import pruner, sampler
from studies.file.space import suggest
from studies.file.spec import Spec, SpecError, load
from studies.run.study import StudyError, load_study, open_study, stored_spec

DOCS = Path(__file__).parents[3] / "docs" / "search.md"
GRID = {
    "guided_attention_weight": {"type": "float", "low": 0.0, "high": 4.0, "step": 0.8},
    "warmup_steps": {"type": "int", "low": 10, "high": 90, "step": 20},
    "batch_size": {"type": "categorical", "choices": [8, 16, 32]},
}
FREE = GRID | {"learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}}
DATA = {
    "name": "small",
    "question": "Is it drawn?",
    "seed": 1,
    "corpus": {"source": "espeak"},
    "model": {"size": "small"},
    "space": FREE,
    "budget": {"trials": 12},
    "objective": {"steps": 900, "measure_every": 100, "speak": "Hello."},
}
SAMPLERS = {
    "BruteForceSampler": {},
    "CmaEsSampler": {"popsize": 4},
    "GPSampler": {"n_startup_trials": 3},
    "GridSampler": {},
    "NSGAIISampler": {"population_size": 4},
    "NSGAIIISampler": {"population_size": 4},
    "PartialFixedSampler": {
        "fixed_params": {"batch_size": 16},
        "base_sampler": {"use": "optuna.samplers:TPESampler", "args": {"n_startup_trials": 3}},
    },
    "QMCSampler": {"scramble": True},
    "RandomSampler": {},
    "TPESampler": {"n_startup_trials": 4, "multivariate": True},
}
PRUNERS = {
    "HyperbandPruner": {},
    "MedianPruner": {"n_startup_trials": 1},
    "NopPruner": {},
    "PatientPruner": {
        "patience": 1,
        "wrapped_pruner": {"use": "optuna.pruners:MedianPruner", "args": {"n_startup_trials": 1}},
    },
    "PercentilePruner": {"percentile": 25.0, "n_startup_trials": 1},
    "SuccessiveHalvingPruner": {},
    "ThresholdPruner": {"upper": 15.0},
    "WilcoxonPruner": {"p_threshold": 0.2},
}


def spec(**tables):
    return Spec.parse(DATA | tables, "here.toml")


def by_use(kind, name, args=None):
    return {kind: {"use": f"optuna.{kind}s:{name}"} | ({"args": args} if args else {})}


def refused(**tables):
    with pytest.raises(SpecError) as error:
        spec(**tables)
    return str(error.value).splitlines()


# Samplers


@pytest.mark.parametrize("name", ["quickstart", "russian"])  # with conditions, and without
def test_a_range_that_was_widened_is_searched_to_its_new_end(name, tmp_path):
    """Optuna's joint samplers keep to the ranges of the first trials."""
    plain = load(name).model_dump(mode="json") | {"search": {"method": "prune"}}
    narrow = Spec.parse(plain, "narrow", stored=True)
    wide = narrow.with_ends([("learning_rate", "high", 0.1)])
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    for study, trials in ((narrow, 12), (wide, 30)):
        found = optuna.create_study(
            storage=storage, study_name="small", sampler=sampler(study), load_if_exists=True
        )
        for _ in range(trials):
            trial = found.ask()
            drawn = suggest(trial, study)
            found.tell(trial, abs(math.log(drawn["learning_rate"] / 0.08)))
    storage.close()
    drawn = [trial.params["learning_rate"] for trial in found.get_trials()[12:]]
    assert sum(rate > 0.02 for rate in drawn) > 15


def space_of(name):
    return GRID if name in ("BruteForceSampler", "GridSampler") else FREE


def opened(path, study):
    found = optuna.create_study(
        storage=open_storage(f"sqlite:///{path}"),
        study_name="small",
        sampler=sampler(study),
        load_if_exists=True,
    )
    found.get_trials(deepcopy=False)  # as a worker does: Optuna's cache must know its trials
    return found


def value_of(params):
    return sum(abs(float(value) - 1.0) for value in params.values())


def run(path, study, trials, killed=False):
    """`trials` more trials in a new process; a trial may be killed after its first draw, and taken up."""
    found = opened(path, study)
    for _ in range(trials):
        trial = found.ask()
        if killed:
            name, parameter = next(iter(study.space.items()))
            source = distribution(parameter)
            trial.suggest_float(name, source.low, source.high, step=source.step)
            found = opened(path, study)
            trial = Trial(found, trial._trial_id)
        found.tell(trial, value_of(suggest(trial, study)))
    return [trial.params for trial in found.trials]


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_each_sampler_of_optuna_draws_the_same_after_a_kill_anywhere(tmp_path, name):
    study = spec(space=space_of(name), **by_use("sampler", name, SAMPLERS[name]))
    straight = run(tmp_path / "straight.db", study, 9)
    run(tmp_path / "resumed.db", study, 4)
    assert run(tmp_path / "resumed.db", study, 5) == straight
    assert run(tmp_path / "killed.db", study, 9, killed=True) == straight
    assert len({str(params) for params in straight}) > 6


def test_all_that_optuna_offers_is_tried_here_and_told_of_in_the_docs():
    samplers = {n for n in optuna.samplers.__all__ if n.endswith("Sampler") and not n.startswith("Base")}
    assert samplers == SAMPLERS.keys()
    assert set(optuna.pruners.__all__) - {"BasePruner"} == PRUNERS.keys()
    told = re.findall(r"^\| `(\w+(?:Sampler|Pruner))` \|", DOCS.read_text("utf-8"), re.MULTILINE)
    assert sorted(told) == sorted([*SAMPLERS, *PRUNERS])


@pytest.mark.parametrize("name", ["GridSampler", "BruteForceSampler", "QMCSampler"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_what_goes_through_a_sequence_repeats_nothing(tmp_path, name):
    space = {name: GRID[name] for name in ("warmup_steps", "batch_size")}
    study = spec(space=space if name != "QMCSampler" else FREE, **by_use("sampler", name))
    drawn = [str(params) for _ in range(5) for params in run(tmp_path / "study.db", study, 3)[-3:]]
    assert len(set(drawn)) == 15


def test_the_seed_of_the_study_decides(tmp_path):
    table = by_use("sampler", "GPSampler", {"n_startup_trials": 2})
    drawn = [run(tmp_path / f"{seed}.db", spec(seed=seed, **table), 3) for seed in (1, 2)]
    assert drawn[0] != drawn[1]
    assert all(a != b for a, b in zip(*drawn, strict=True))


# Pruners


def curve(study, values):
    trial = study.ask()
    for number, value in enumerate(values, 1):
        trial.report(value, number * 100)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return number
    study.tell(trial, values[-1])
    return len(values)


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.filterwarnings("ignore:.*WilcoxonPruner:UserWarning")
def test_each_pruner_of_optuna_stops_what_is_bad_and_only_that(name):
    study = optuna.create_study(
        study_name="one", pruner=pruner(spec(**by_use("pruner", name, PRUNERS[name])))
    )
    assert curve(study, [9.0, 8, 7, 6, 5, 4, 3, 2, 1]) == 9
    bad = [curve(study, [20.0, 21, 22, 23, 24, 25, 26, 27, 28]) for _ in range(6)]
    assert (max(bad) < 9) == (name not in ("NopPruner", "HyperbandPruner"))  # which lets one bracket go on
    assert (min(bad) < 9) == (name != "NopPruner")


@pytest.mark.parametrize(
    ("args", "first"), [({}, 100), ({"min_resource": 300}, 300), ({"min_resource": 50}, 50)]
)
def test_the_first_step_that_counts_is_the_first_measure_unless_the_file_says_another(args, first):
    made = pruner(spec(**by_use("pruner", "HyperbandPruner", args)))
    assert (made._min_resource, made._max_resource) == (first, 900)


# What is refused


@pytest.mark.parametrize(
    ("table", "key", "words"),
    [
        (
            by_use("sampler", "GPSampler", {"n_startup": 3}),
            "sampler.args.n_startup",
            "is not known; nearest: n_startup_trials; accepted are independent_sampler, n_startup_trials, "
            "deterministic_objective, constraints_func, warn_independent_sampling",
        ),
        (by_use("sampler", "GPSampler", {"n_startup_trials": "3"}), "sampler.args.n_startup_trials", "int"),
        (by_use("sampler", "GPSampler", {"n_startup_trials": 2.5}), "sampler.args.n_startup_trials", "int"),
        (by_use("sampler", "GPSampler", {"n_startup_trials": True}), "sampler.args.n_startup_trials", "int"),
        (by_use("sampler", "GPSampler", {"seed": 3}), "sampler.args.seed", "the study's seed"),
        (by_use("sampler", "GPSampeler"), "sampler.use", "Nearest: GPSampler."),
        (by_use("sampler", "BaseSampler"), "sampler.args", "abstract"),
        ({"sampler": {"use": "optuna.pruners:MedianPruner"}}, "sampler.use", "is no sampler"),
        ({"pruner": {"use": "optuna.samplers:TPESampler"}}, "pruner.use", "optuna.pruners.BasePruner"),
        ({"sampler": {"use": "optuna.samplers"}}, "sampler.use", '"module:Name"'),
        ({"sampler": {"use": "no_such_module:Sampler"}}, "sampler.use", "Install its package"),
        ({"sampler": {"use": "optuna.samplers:TPESampler", "arg": {}}}, "sampler.arg", "sampler.args"),
        ({"sampler": {"use": 3}}, "sampler.use", "string"),
        ({"sampler": {"use": "optuna:samplers"}}, "sampler.use", "is not in optuna.samplers"),
        (
            by_use("sampler", "GPSampler", {"independent_sampler": {"use": "optuna.storages:RDBStorage"}}),
            "sampler.args.independent_sampler.use",
            "is not in optuna.samplers",
        ),
        ({"sampler": {"name": "use"}}, "sampler.name", "'use = \"module:Class\"'"),
        (by_use("pruner", "PercentilePruner"), "pruner.args", "lacks percentile"),
        (by_use("pruner", "MedianPruner", {"n_startup_trials": -1}), "pruner.args", "negative"),
        (by_use("pruner", "ThresholdPruner"), "pruner.args", "lower or upper"),
        (by_use("sampler", "GridSampler"), "sampler.args", "lacks values for learning_rate"),
        (
            by_use(
                "pruner",
                "PatientPruner",
                {"patience": 1, "wrapped_pruner": {"use": "optuna.pruners:Nothing"}},
            ),
            "pruner.args.wrapped_pruner.use",
            "cannot be imported",
        ),
        (
            by_use(
                "sampler",
                "GPSampler",
                {"independent_sampler": {"use": "optuna.samplers:TPESampler", "args": {"x": 1}}},
            ),
            "sampler.args.independent_sampler.args.x",
            "accepted are",
        ),
        ({"sampler": {"use": "optunahub:../elsewhere:Sampler"}}, "sampler.use", '"module:Name"'),
    ],
)
def test_a_wrong_name_or_argument_is_refused_by_file_and_key(table, key, words):
    lines = refused(**table)
    assert "here.toml" in lines[0]
    assert len(lines) == 3, lines
    assert lines[1].startswith(f"  {key}: ")
    assert words in lines[1]


def fixed(**values):
    return {"fixed_params": values, "base_sampler": {"use": "optuna.samplers:RandomSampler"}}


def grid(**values):
    return {"search_space": {**{name: [GRID[name].get("low", 8)] for name in GRID}, **values}}


@pytest.mark.parametrize(
    ("name", "args", "line"),
    [
        (
            "PartialFixedSampler",
            fixed(learning_rate=99.0),
            "sampler.args.fixed_params.learning_rate: has 99.0, which [space] lacks: it must be a number "
            "from 0.0001 to 0.01",
        ),
        (
            "PartialFixedSampler",
            fixed(lerning_rate=1e-3),
            "sampler.args.fixed_params.lerning_rate: is not in [space], which has guided_attention_weight, "
            "warmup_steps, batch_size, learning_rate",
        ),
        ("PartialFixedSampler", fixed(batch_size=12), "sampler.args.fixed_params.batch_size: has 12, which "),
        (
            "PartialFixedSampler",
            {"fixed_params": 3, "base_sampler": {"use": "optuna.samplers:RandomSampler"}},
            "sampler.args.fixed_params: is 3, but must be a table by the names of parameters",
        ),
        (
            "PartialFixedSampler",
            {"fixed_params": {}, "base_sampler": "optuna.samplers:RandomSampler"},
            "sampler.args.base_sampler: found 'optuna.samplers:RandomSampler', expected a table such as",
        ),
        (
            "PartialFixedSampler",
            {
                "fixed_params": {},
                "base_sampler": {
                    "use": "optuna.samplers:CmaEsSampler",
                    "args": {"x0": {"learning_rate": "a"}},
                },
            },
            "sampler.args.base_sampler.args.x0.learning_rate: has 'a', which [space] lacks",
        ),
        (
            "GridSampler",
            grid(learning_rate=[1e-3, 5.0]),
            "sampler.args.search_space.learning_rate: has 5.0, which [space] lacks: it must be a number from "
            "0.0001 to 0.01",
        ),
        (
            "GridSampler",
            grid(learning_rate=[1e-3], warmup_steps=[10, 11]),
            "sampler.args.search_space.warmup_steps: has 11, which [space] lacks: it must be a whole number "
            "from 10 to 90 in steps of 20",
        ),
        (
            "GridSampler",
            grid(learning_rate=1e-3),
            "sampler.args.search_space.learning_rate: is 0.001, but must",
        ),
        ("GridSampler", grid(learning_rate=[1e-3], x=[1]), "sampler.args.search_space.x: is not in [space]"),
        ("CmaEsSampler", {"x0": {"learning_rate": "a"}}, "sampler.args.x0.learning_rate: has 'a', which [sp"),
        ("CmaEsSampler", {"x0": {"learning_rate": 1e-3}}, "sampler.args.x0: lacks guided_attention_weight, "),
        (
            "CmaEsSampler",
            {"sigma0": float("nan")},
            "sampler.args.sigma0: found nan, expected numbers that are",
        ),
        (
            "TPESampler",
            {"gamma": [1, {"a": float("inf")}]},
            "sampler.args.gamma: found [1, {'a': inf}], expect",
        ),
    ],
)
def test_values_that_a_sampler_is_told_to_draw_are_held_against_the_space(name, args, line):
    assert any(found.startswith(f"  {line}") for found in refused(**by_use("sampler", name, args)))


@given(st.floats(allow_nan=False) | st.integers() | st.booleans() | st.text(), st.sampled_from(sorted(FREE)))
def test_a_fixed_value_is_taken_where_optuna_could_draw_it_and_refused_elsewhere(value, name):
    table = by_use("sampler", "PartialFixedSampler", fixed(**{name: value}))
    source = distribution(spec().space[name])
    try:
        study = spec(**table)
    except SpecError as error:
        assert f"sampler.args.fixed_params.{name}: " in str(error) and not contains(source, value)
    else:
        drawn = suggest(optuna.create_study(sampler=sampler(study)).ask(), study)
        assert drawn[name] == value and contains(source, value)


def test_values_of_a_parameter_that_is_itself_wrong_are_not_blamed_for_it():
    space = FREE | {"learning_rate": {"type": "float", "low": 1.0, "high": 0.5}}
    lines = refused(space=space, **by_use("sampler", "PartialFixedSampler", fixed(learning_rate=1e-3, y=1)))
    assert [line.split(":")[0] for line in lines[1:-1]] == [
        "  space.learning_rate.low",
        "  sampler.args.fixed_params.y",
    ]


@pytest.mark.parametrize("table", ["sampler", "pruner"])
def test_a_name_and_a_use_at_once_are_refused_in_words(table):
    lines = refused(
        **{
            table: by_use(table, {"sampler": "GPSampler", "pruner": "NopPruner"}[table])[table]
            | {"name": "tpe"}
        }
    )
    assert lines[1:-1] == [f"  {table}.name: stands beside use; give either name or use"]


LATER = """
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler


class Late(RandomSampler):
    def __init__(self, seed=None, when="never"):
        super().__init__(seed=seed)
        self.when = when

    def before_trial(self, study, trial):
        return 1 / (self.when != "before")

    def sample_independent(self, *given):
        return 1 / (self.when != "draw") and super().sample_independent(*given)

    def after_trial(self, *given):
        return 1 / (self.when != "after")


class Strict(BasePruner):
    def __init__(self, min_resource, max_resource):
        assert max_resource < 900, "is too much"

    def prune(self, study, trial):
        return False
"""


@pytest.fixture
def later(tmp_path, monkeypatch):
    """The name of a module whose classes fail once they are at work."""
    name = f"late_{next(NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(LATER)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def worked_on(study, tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    found = open_study(study, storage, study.code)
    trial = found.ask()
    suggest(trial, study)
    trial.report(1.0, 100)
    should_prune(trial)
    found.tell(trial, 1.0)
    storage.close()


@pytest.mark.parametrize("when", ["before", "draw", "after"])
def test_what_a_sampler_raises_at_work_is_told_with_its_arguments(later, tmp_path, when):
    worked_on(spec(name="sound", sampler={"use": f"{later}:Late"}), tmp_path)
    study = spec(sampler={"use": f"{later}:Late", "args": {"when": when}})
    with pytest.raises(StudyError, match="ZeroDivisionError: division by zero") as error:
        worked_on(study, tmp_path)
    assert f'sampler {later}:Late, made with [sampler.args] {{"when": "{when}"}}' in str(error.value)
    assert re.search(rf"{later}\.py, line \d+", str(error.value))


def test_what_a_pruner_raises_at_work_is_told_with_its_arguments(tmp_path):
    study = spec(**by_use("pruner", "HyperbandPruner", {"reduction_factor": 0}))
    with pytest.raises(StudyError, match="ValueError: ") as error:
        worked_on(study, tmp_path)
    assert 'HyperbandPruner, made with [pruner.args] {"reduction_factor": 0}, failed' in str(error.value)


def test_a_pruner_that_does_not_go_with_the_plan_is_refused_before_anything_runs(later, tmp_path):
    study = spec(pruner={"use": f"{later}:Strict"})
    with pytest.raises(SpecError, match=r"pruner\.args: Strict refuses them .*is too much"):
        worked_on(study, tmp_path)
    assert not optuna.get_all_study_names(open_storage(f"sqlite:///{tmp_path}/study.db"))


def test_whatever_a_constructor_raises_is_said_by_the_key(own, tmp_path):
    (tmp_path / "odd_raisers.py").write_text(
        OWN.replace("super().__init__(seed=seed)", "raise [LookupError, OSError, AssertionError][twice]()")
    )
    for twice, word in enumerate(("LookupError", "OSError", "AssertionError")):
        [_, line, _] = refused(sampler={"use": "odd_raisers:Odd", "args": {"twice": twice}})
        assert line == f"  sampler.args: Odd refuses them: {word}"


def test_all_wrong_arguments_are_named_at_once():
    lines = refused(**by_use("pruner", "MedianPruner", {"a": 1, "b": 2}), name="../x")
    assert [line.split(":")[0] for line in lines[1:-1]] == ["  name", "  pruner.args.a", "  pruner.args.b"]


def test_values_for_the_grid_may_be_given_where_the_space_has_no_steps(tmp_path):
    values = {name: [10] for name in GRID} | {"batch_size": [8, 16], "learning_rate": [1e-3, 2e-3]}
    values["guided_attention_weight"] = [0.8]
    study = spec(**by_use("sampler", "GridSampler", {"search_space": values}))
    drawn = run(tmp_path / "study.db", study, 4)
    assert {(p["batch_size"], p["learning_rate"]) for p in drawn} == {
        (size, rate) for size in (8, 16) for rate in (1e-3, 2e-3)
    }


# Code of one's own


NUMBERS = itertools.count()
PASSED_ON = "optuna.samplers.nsgaii._elite_population_selection_strategy:defaultdict"
OWN = """
from optuna.samplers import RandomSampler


class Odd(RandomSampler):
    def __init__(self, seed=None, twice: int = 1):
        super().__init__(seed=seed)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "odd_samplers.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield spec(sampler={"use": "odd_samplers:Odd", "args": {"twice": 2}})
    sys.modules.pop("odd_samplers", None)


def test_ones_own_sampler_is_used_where_the_user_named_it(own, tmp_path):
    assert set(own.code) == {"odd_samplers:Odd"}
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    study = open_study(own, storage, own.code)
    assert suggest(study.ask(), own).keys() == FREE.keys()
    storage.close()


def test_ones_own_sampler_is_not_imported_because_the_database_names_it(own, tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    open_study(own, storage, own.code)
    del sys.modules["odd_samplers"]
    stored = stored_spec(load_study("small", storage))
    assert stored == own
    with pytest.raises(SpecError, match="--use odd_samplers:Odd"):
        open_study(stored, storage)
    assert "odd_samplers" not in sys.modules
    open_study(stored, storage, ["odd_samplers:Odd"])
    storage.close()


def test_nor_where_the_database_holds_a_study_that_is_refused_for_something_else(own):
    del sys.modules["odd_samplers"]
    broken = json.loads(own.model_dump_json()) | {"settings": {"learning_rate": 7.0}}
    with pytest.raises(SpecError, match=r"settings\.learning_rate"):
        Spec.parse_json(json.dumps(broken))
    assert "odd_samplers" not in sys.modules


@pytest.mark.parametrize("group", ["objective", "rule", "callback"])
def test_what_optuna_has_is_open_for_samplers_and_pruners_alone(group):
    for named in ("optuna.cli:main", "optunahub:samplers/auto_sampler:AutoSampler"):
        with pytest.raises(code.CodeError, match=f"--use {named}"):
            code.load(named, (), group)


def test_a_callback_is_looked_at_where_the_user_named_it_and_not_where_the_database_does(
    tmp_path, monkeypatch
):
    (tmp_path / "odd_callbacks.py").write_text("class Odd: ...")
    monkeypatch.syspath_prepend(tmp_path)
    table = {"callbacks": ["odd_callbacks:Odd"]}
    Spec.parse_json(json.dumps(DATA | table))
    assert "odd_callbacks" not in sys.modules
    line = '  callbacks.0: "odd_callbacks:Odd" is no subclass of smart_tuner.Callback.'
    assert refused(**table)[1:-1] == [line]


def test_no_class_is_had_by_way_of_a_module_of_optuna_that_only_imports_it():
    lines = refused(**by_use("sampler", "GPSampler", {"independent_sampler": {"use": PASSED_ON}}))
    assert lines[1].startswith("  sampler.args.independent_sampler.use: ") and "is not in optuna" in lines[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x = 1\ndef (:\n", r"broken_\d+\.py, line 2: SyntaxError: invalid syntax"),
        ("x = 1\ny = z\n", r"broken_\d+\.py, line 2: NameError: name 'z' is not defined"),
        ("import math\nmath.no\n", r"broken_\d+\.py, line 2: AttributeError: "),
        ("import no_such_package\n", r"broken_\d+\.py, line 1: ModuleNotFoundError: No module named"),
        ("def f():\n  raise SystemExit(3)\nf()\n", r"broken_\d+\.py, line 2: SystemExit: 3"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_the_line_to_blame(
    tmp_path, monkeypatch, content, words
):
    name = f"broken_{next(NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    [_, line, _] = refused(sampler={"use": f"{name}:Sampler"})
    assert line.startswith("  sampler.use: ") and re.search(words, line), line


# OptunaHub


HUB = {"sampler": {"use": "optunahub:samplers/odd:Odd", "args": {"twice": 3}}}


def test_without_optunahub_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optunahub", None)
    assert "-e '.[hub]'" in refused(**HUB)[1]


def test_a_package_of_optunahub_that_was_fetched_is_used(monkeypatch, tmp_path):
    from optunahub import _conf

    monkeypatch.setattr(_conf, "cache_home", lambda: str(tmp_path))
    folder = (
        tmp_path / "github.com" / "optuna" / "optunahub-registry" / "main" / "package" / "samplers" / "odd"
    )
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(OWN)
    study = spec(**HUB)
    drawn = suggest(optuna.create_study(sampler=sampler(study, study.code)).ask(), study)
    assert drawn.keys() == FREE.keys()
    stored = Spec.parse_json(study.model_dump_json())
    with pytest.raises(
        SpecError, match="--use optunahub:samplers/odd:Odd"
    ):  # anybody may add to the registry
        sampler(stored)
    assert sampler(stored, stored.code)
    lines = refused(sampler={"use": "optunahub:samplers/odd:Even"})
    assert "Check both names" in lines[1]


def test_names_are_told_from_paths():
    assert code.HUB.fullmatch("optunahub:samplers/auto_sampler:AutoSampler")
    assert not code.HUB.fullmatch("optunahub:/etc:AutoSampler")


def test_a_study_survives_the_database_with_all_its_arguments():
    study = spec(**by_use("sampler", "PartialFixedSampler", SAMPLERS["PartialFixedSampler"]))
    assert Spec.parse_json(study.model_dump_json()) == study
    other = json.loads(study.model_dump_json())
    other["sampler"]["args"]["fixed_params"]["batch_size"] = 8
    assert study.differences(Spec.parse(other, "here.toml")) == ["sampler.args.fixed_params.batch_size"]
