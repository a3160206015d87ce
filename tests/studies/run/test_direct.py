"""A study run by a Python call: what it takes, what it keeps, and where it may be called."""

import threading
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution

from smart_tuner import Callback, Objective, Parameter, Run, run_study
from smart_tuner.store.storage import open_storage
from studies.file.spec import Spec, SpecError
from studies.run.direct import _arguments
from studies.run.study import StudyError, load_study, stored_spec
from studies.run.training import objective_of

SPACE = {"rate": FloatDistribution(0.01, 0.4)}


class Descent(Run):
    def __init__(self, settings):
        self.settings, self.place = settings, 4.0

    def advance(self):
        self.place -= self.settings["rate"] * 2 * self.place
        self.step += 1
        return {"loss": self.place**2}

    def measure(self):
        return {"value": self.place**2}

    def save(self, folder):
        (folder / "place").write_text(f"{self.step} {self.place!r}")

    def restore(self, folder):
        step, place = (folder / "place").read_text().split()
        self.step, self.place = int(step), float(place)


class Plain(Objective):
    parameters: ClassVar = {
        "rate": Parameter(0.1, low=1e-6, high=1.0),
        "rest": Parameter(0.1, low=0.0, high=1.0),
    }

    def run(self, parameters, seed, device):
        return Descent(parameters)


@dataclass
class Kept(Plain):
    width: int = 3
    more: Any = None
    seen: list = field(default_factory=list, init=False)


class Unkept(Plain):
    def __init__(self, width=3):
        self.width = width


@dataclass
class Derived(Unkept):
    """Its constructor is not the dataclass's."""

    def __init__(self, depth):
        self.depth = depth


class Picky(Unkept):
    def __init__(self, width):
        if width < 0:
            raise ValueError("width is below 0")


def spec_of(made_by, **more):
    objective = {"use": f"{__name__}:{made_by.__name__}", "steps": 4, "measure_every": 2, **more}
    data = {"name": "own", "question": "?", "seed": 1, "budget": {"trials": 1}, "objective": objective}
    return Spec.parse(data, "", stored=True)


class Listening(Callback):
    def __init__(self):
        self.said = []

    def warned(self, text):
        self.said.append(text)


def run(folder, objective, space=SPACE, /, **more):
    return run_study(
        objective, space, **{"steps": 4, "measure_every": 2, "n_trials": 1, "workdir": folder, **more}
    )


def stored(folder, name):
    storage = open_storage(f"sqlite:///{folder}/study.db", looking=True)
    study = load_study(name, storage)
    return study, stored_spec(study)


def test_the_table_of_the_objective_is_taken_like_the_others(tmp_path):
    run(tmp_path, Plain(), objective={"checkpoint_every": 3, "validate_every": 1})
    _, spec = stored(tmp_path, "plain")
    assert (spec.objective.checkpoint_every, spec.objective.validate_every) == (3, 1)


def test_a_parameter_may_be_a_table_as_a_file_has_it(tmp_path):
    rest = {"type": "float", "low": 0.0, "high": 1.0, "when": {"rate": {"above": 0.399}}}
    found = run(tmp_path, Plain(), SPACE | {"rest": rest})
    assert found.best_params.keys() == {"rate"}
    with pytest.raises(SpecError, match=r"space\.rest\.hihg: is not known; nearest: space\.rest\.high"):
        run(tmp_path, Plain(), SPACE | {"rest": {**rest, "hihg": 1.0}})


def test_it_may_be_called_in_any_thread(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(run(tmp_path, Plain())))
    thread.start()
    thread.join()
    assert len(found) == 1 and len(found[0].trials) == 1


def test_a_dataclass_is_kept_with_its_values_and_made_again_with_them(tmp_path):
    said = Listening()
    run(tmp_path, Kept(5, {"a": [1]}), callbacks=[said])
    study, spec = stored(tmp_path, "kept")
    assert spec.objective.args == {"width": 5, "more": {"a": [1]}}
    again = objective_of(spec, study, tmp_path, print, print, spec.code)
    assert again == Kept(5, {"a": [1]})
    assert not [text for text in said.said if "resume" in text]
    with pytest.raises(StudyError, match=r"the study differ: objective\.args\.width"):
        run(tmp_path, Kept(6, {"a": [1]}), n_trials=2)
    assert len(run(tmp_path, Kept(5, {"a": [1]}), n_trials=2).trials) == 2


@pytest.mark.parametrize("objective", [Unkept(5), Kept(5, print), Kept(5, float("nan")), Derived(3)])
def test_of_one_whose_arguments_cannot_be_kept_it_is_said_once(tmp_path, objective):
    said = Listening()
    run(tmp_path, objective, callbacks=[said])
    [text] = [text for text in said.said if "arguments" in text]
    assert "not kept" in text and "resume would make it with its defaults" in text
    assert stored(tmp_path, type(objective).__name__.lower())[1].objective.args == {}


def test_a_value_that_its_constructor_refuses_is_told_with_the_table():
    said = spec_of(Plain, args={"width": 3}), spec_of(Picky, args={"width": -1})
    for spec, words in zip(said, ("takes no arguments", "is below 0"), strict=True):
        with pytest.raises(StudyError, match=rf"{words}[^.]*\.?\nGive what it takes in \[objective.args\]"):
            objective_of(spec, None, None, print, print, spec.code)


def test_arguments_that_are_given_in_words_are_kept_for_any_objective(tmp_path):
    said = Listening()
    run(tmp_path, Unkept(5), callbacks=[said], objective={"args": {"width": 5}})
    assert not [text for text in said.said if "arguments" in text]
    study, spec = stored(tmp_path, "unkept")
    assert objective_of(spec, study, tmp_path, print, print, spec.code).width == 5


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=2),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner)
            | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_what_is_kept_makes_the_same_objective(value):
    found = _arguments(Kept(5, value))
    assert found is None or Kept(**found) == Kept(5, value)
