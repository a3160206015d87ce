"""A study file is read whole or refused with the names of its wrong keys."""

import ast
import copy
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, get_args

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from model.data.corpora import CorpusError
from model.data.preflight import CorpusSettings
from model.network.warm_start import WarmStartError
from model.settings import LIMITS, SIZES, Settings
from model.speech.text import FRONT_ENDS
from model.training import learning_rate_at
from objectives.base import Objective, Parameter
from objectives.signals import PARAMETERS
from smart_tuner.store.storage import open_storage
from studies.file import parameters, sections
from studies.file.parameters import value_fault
from studies.file.sections import Espeak, trial_named
from studies.file.spec import FOLDER, Spec, SpecError, derived_name, load, single_training
from studies.run.artifacts import Artifacts
from studies.run.data import corpus_folder
from studies.run.study import StudyError, open_study
from studies.run.tacotron2 import begun_with

ROOT = Path(__file__).parents[3]
SEARCHABLE = {name for name, parameter in PARAMETERS.items() if parameter.searched}
SHIPPED = ["base-en", "base-ru", "ljspeech", "quickstart", "russian"]
# Of every kind of table one, and every key that has no default.
SMALL = {
    "name": "small",
    "question": "Does it read?",
    "seed": 1,
    "corpus": {"source": "espeak", "clips": 40},
    "model": {"size": "small", "prenet_dim": 32},
    "settings": {"n_frames_per_step": 4, "batch_size": 16},
    "space": {
        "guided_attention_weight": {"type": "float", "low": 0.0, "high": 4.0, "step": 0.5},
        "warmup_steps": {"type": "int", "low": 10, "high": 100, "log": True},
        "encoder_kernel_size": {"type": "categorical", "choices": [3, 5, 7]},
        "guided_attention_sigma": {
            "type": "float",
            "low": 0.1,
            "high": 0.4,
            "when": {
                "guided_attention_weight": {"above": 0.0, "below": 3.0},
                "encoder_kernel_size": {"one_of": [3, 5]},
            },
        },
    },
    "sampler": {"name": "tpe", "n_startup_trials": 4},
    "pruner": {"name": "asha", "min_resource": 100, "reduction_factor": 3},
    "budget": {"trials": 8},
    "objective": {"steps": 300, "measure_every": 100, "speak": "Hello there."},
}


def changed(key, value, start=SMALL):
    """The study with one dotted key set, or taken away when the value is None."""
    data = copy.deepcopy(start)
    table = data
    *outer, last = key.split(".")
    for name in outer:
        table = table.setdefault(name, {})
    if value is None:
        del table[last]
    else:
        table[last] = value
    return data


def refusal(data):
    with pytest.raises(SpecError) as caught:
        Spec.parse(data, "here.toml")
    return str(caught.value)


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def written(data, folder):
    path = folder / "study.toml"
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in data.items()), "utf-8")
    return path


# Reading


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_study_loads_under_its_file_name(name):
    assert load(name).name == name
    assert load(str(FOLDER / f"{name}.toml")) == load(name)


def test_the_shipped_studies_are_those_that_are_tested():
    assert sorted(path.stem for path in FOLDER.glob("*.toml")) == SHIPPED


def test_reading_a_study_does_not_wait_for_torch():
    code = (
        "import sys; from studies.file.spec import load; load('quickstart'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_an_unknown_name_is_refused_with_the_known_and_the_nearest_name():
    with pytest.raises(
        SpecError,
        match=r"(?s)quikstart.*nearest: quickstart.*base-en, base-ru, ljspeech, quickstart, russian",
    ):
        load("quikstart")


def test_a_missing_file_is_refused_with_its_path(tmp_path):
    with pytest.raises(SpecError, match=r"none\.toml"):
        load(str(tmp_path / "none.toml"))


def test_a_syntax_error_names_file_and_line(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text('name = "x"\nseed = = 1\n')
    with pytest.raises(SpecError, match=r"(?s)broken\.toml.*line 2"):
        load(str(path))


def test_a_file_may_begin_with_the_mark_of_its_encoding(tmp_path):
    path = tmp_path / "marked.toml"
    path.write_text((FOLDER / "quickstart.toml").read_text("utf-8"), "utf-8-sig")
    assert load(str(path)) == load("quickstart")


RECORDED = changed("model.warm_start", "nvidia.pt", changed("corpus", {"source": "folder", "path": "speech"}))
RECORDED["model"] |= {"mel_mean": 0.0, "mel_scale": 1.0}


def paths_of(spec):
    return spec.corpus.path, spec.model.warm_start


def test_a_relative_path_is_beside_the_file_or_in_the_working_directory_and_kept_whole(tmp_path, monkeypatch):
    beside, here = tmp_path / "beside", tmp_path / "here"
    (beside / "speech").mkdir(parents=True)
    here.mkdir()
    (here / "nvidia.pt").touch()
    written(RECORDED, beside)
    monkeypatch.chdir(here)
    expected = str(beside / "speech"), str(here / "nvidia.pt")
    assert paths_of(load("../beside/study.toml")) == expected
    assert Spec.parse_json(load("../beside/study.toml").model_dump_json()) == load("../beside/study.toml")
    (here / "speech").mkdir()
    assert paths_of(load("../beside/study.toml")) == expected
    (here / "nvidia.pt").unlink()  # one that is nowhere is expected beside the file
    assert paths_of(load("../beside/study.toml"))[1] == str(beside / "nvidia.pt")
    assert load("ljspeech").corpus.path == str(here / "data" / "LJSpeech-1.1")


def test_a_tilde_in_a_study_file_and_an_absolute_path_mean_the_same_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = written(
        changed("corpus.path", "~/speech", changed("model.warm_start", "/x/n.pt", RECORDED)), tmp_path
    )
    assert paths_of(load(str(file))) == (str(tmp_path / "speech"), "/x/n.pt")


def test_a_study_goes_on_with_its_files_in_another_place_but_not_without_them():
    spec = Spec.parse(RECORDED, "here.toml")
    moved = spec.found_in(Path("/elsewhere"))
    assert spec.differences(moved) == moved.differences(spec) == []
    without = Spec.parse(changed("model.warm_start", None, RECORDED), "here.toml")
    assert spec.differences(without) == without.differences(spec) == ["model.warm_start"]
    spoken = Spec.parse(changed("corpus", SMALL["corpus"], RECORDED), "here.toml")
    assert "corpus.source" in spec.differences(spoken)


def test_recordings_that_are_not_there_are_named_with_where_they_were_looked_for(tmp_path):
    spec = Spec.parse(RECORDED, "here.toml").found_in(tmp_path)
    with pytest.raises(CorpusError, match=rf'"small".*\nThere is no folder {tmp_path}/speech\.\n.*path in'):
        corpus_folder(spec, tmp_path, lambda *_: None)


def test_a_study_does_not_go_on_from_another_checkpoint_of_the_same_name(tmp_path):
    file, moved = tmp_path / "nvidia.pt", tmp_path / "moved.pt"
    torch.save({"state_dict": {"embedding.weight": torch.zeros(148, 4)}}, file)
    spec = Spec.parse(RECORDED, "here.toml").found_in(tmp_path)
    with closing(open_storage(f"sqlite:///{tmp_path / 'study.db'}")) as storage:
        study = open_study(spec, storage)
        weights = begun_with(study, spec, tmp_path)
        shutil.copy(file, moved)
        there = Spec.parse(changed("model.warm_start", str(moved), RECORDED), "here.toml")
        assert begun_with(study, there, tmp_path).sha256 == weights.sha256
        torch.save({"state_dict": {"embedding.weight": torch.ones(148, 4)}}, file)
        with pytest.raises(StudyError, match="another voice"):
            begun_with(study, spec, tmp_path)
        normalised = Spec.parse(changed("model.mel_scale", 2.0, RECORDED), "here.toml").found_in(tmp_path)
        with pytest.raises(WarmStartError, match="expect mels as"):
            begun_with(study, normalised, tmp_path)


@pytest.fixture
def begun(tmp_path):
    """A study that began with a file on machine A, and has put it into the store; and how others begin."""
    file, store = tmp_path / "nvidia.pt", Artifacts.at(f"file://{tmp_path / 'store'}")
    torch.save({"state_dict": {"embedding.weight": torch.zeros(148, 4)}}, file)
    spec = Spec.parse(RECORDED, "here.toml").found_in(tmp_path)
    with closing(open_storage(f"sqlite:///{tmp_path / 'study.db'}")) as storage:
        study = open_study(spec, storage)
        begin = partial(begun_with, study, spec)
        yield SimpleNamespace(study=study, file=file, store=store, begin=begin)


def test_a_start_is_fetched_by_workers_that_have_it_not_all_at_once(begun, tmp_path):
    first = begun.begin(tmp_path / "A", begun.store)
    begun.file.unlink()
    with ThreadPoolExecutor(4) as workers:
        found = list(workers.map(lambda _: begun.begin(tmp_path / "B", begun.store), range(4)))
    assert {weights.sha256 for weights in found} == {first.sha256}
    with pytest.raises(WarmStartError, match="no such file"):
        begun.begin(tmp_path / "C")


def test_another_file_in_its_place_here_is_not_begun_with_where_the_store_has_the_right_one(begun, tmp_path):
    first = begun.begin(tmp_path / "A", begun.store)
    torch.save({"state_dict": {"embedding.weight": torch.ones(148, 4)}}, begun.file)
    assert begun.begin(tmp_path / "B", begun.store).sha256 == first.sha256
    with pytest.raises(StudyError, match="another voice"):
        begun.begin(tmp_path / "B")


def test_a_store_that_is_away_ends_no_worker_that_has_the_start(begun, tmp_path):
    told, folder = [], tmp_path / "store"
    folder.rmdir()
    folder.write_text("no folder")
    first = begun.begin(tmp_path / "A", begun.store, told.append)
    assert len(told) == 1 and "only here" in told[0] and "the store failed" in told[0]
    folder.unlink()
    folder.mkdir()
    assert begun.begin(tmp_path / "A", begun.store, told.append).sha256 == first.sha256
    assert len(told) == 1 and len(list(folder.iterdir())) == 1


def test_a_start_that_was_cut_off_in_the_store_is_told_of(begun, tmp_path):
    begun.begin(tmp_path / "A", begun.store)
    [stored] = (tmp_path / "store").iterdir()
    stored.write_bytes(stored.read_bytes()[:300])
    begun.file.unlink()
    with pytest.raises(StudyError, match="cannot be had from the artifact store"):
        begun.begin(tmp_path / "B", begun.store)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "sound.toml"
    path.write_bytes(b"RIFF\xff\xfe")
    with pytest.raises(SpecError, match=r"sound\.toml"):
        load(str(path))


@st.composite
def parameter_tables(draw, name):
    low, high = PARAMETERS[name].low, PARAMETERS[name].high
    high = {"n_frames_per_step": 4, "warmup_steps": SMALL["objective"]["steps"]}.get(name, high)
    if PARAMETERS[name].type is float:
        values = st.floats(low, high).filter(lambda value: value_fault(name, value, PARAMETERS) is None)
    else:
        values = st.integers(int(low), int(min(high, 2000))).filter(
            lambda value: value_fault(name, value, PARAMETERS) is None
        )
    found = sorted(draw(st.lists(values, min_size=2, max_size=5, unique=True)))
    if draw(st.booleans()):
        return {"type": "categorical", "choices": found}
    table = {"type": PARAMETERS[name].type.__name__, "low": found[0], "high": found[-1]}
    if "kernel" in name or name == "encoder_embedding_dim":
        table["step"] = 2
    elif found[0] > 0 and draw(st.booleans()):
        table["log"] = True
    return table


@st.composite
def conditions(draw, parent):
    if parent["type"] == "float":
        middle = (parent["low"] + parent["high"]) / 2
        return draw(
            st.sampled_from([{"above": parent["low"]}, {"below": parent["high"]}, {"below": middle + 1e9}])
        )
    values = parent.get("choices") or [parent["low"], parent["high"]]
    return draw(st.sampled_from([{"one_of": values[:1]}, {"above": values[0]}, {"below": values[-1]}]))


@st.composite
def studies(draw):
    text = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)
    data = copy.deepcopy(SMALL) | {
        "question": draw(text),
        "seed": draw(st.integers(0, 2**63 - 1)),
        "space": {},
    }
    data["corpus"] = draw(
        st.sampled_from([{"source": "espeak"}, {"source": "festvox-ru"}, {"source": "folder", "path": "a/b"}])
    ) | draw(st.sampled_from([{}, {"trim_db": "none"}, {"trim_db": 35}, {"resample_from": 8000}]))
    data["sampler"] = draw(st.sampled_from([{"name": "random"}, SMALL["sampler"]]))
    data["pruner"] = draw(st.sampled_from([{"name": "none"}, SMALL["pruner"]]))
    data["budget"] |= draw(st.sampled_from([{}, {"hours": 0.5}, {"consumed_steps": 5000}]))
    data["objective"]["speak"] = draw(text)
    free = sorted(SEARCHABLE - SMALL["settings"].keys() - {"prenet_dim"})
    for name in draw(st.lists(st.sampled_from(free), unique=True, max_size=4)):
        table = draw(parameter_tables(name))
        if data["space"] and draw(st.booleans()):
            parent = draw(st.sampled_from(list(data["space"])))
            table["when"] = {parent: draw(conditions(data["space"][parent]))}
        data["space"][name] = table
    return data


@given(studies())
def test_a_study_survives_file_and_database(tmp_path_factory, data):
    spec = load(str(written(data, tmp_path_factory.mktemp("study"))))
    stored = Spec.parse_json(spec.model_dump_json())
    assert stored == spec
    assert stored.differences(spec) == []
    assert list(stored.space) == list(data["space"])
    assert spec.question == data["question"]


def keys_of(table, *outer):
    for key, value in table.items():
        yield (*outer, key)
        if isinstance(value, dict):
            yield from keys_of(value, *outer, key)


def misspelt(word, place, how):
    place %= len(word) - 1
    if how == "missing":
        return word[:place] + word[place + 1 :]
    if how == "doubled":
        return word[:place] + word[place] + word[place:]
    return word[:place] + word[place + 1 : place + 2] + word[place] + word[place + 2 :]


@given(
    st.sampled_from(list(keys_of(SMALL))),
    st.integers(0, 40),
    st.sampled_from(["missing", "doubled", "swapped"]),
)
def test_a_misspelt_key_is_named_together_with_the_right_one(key, place, how):
    data = copy.deepcopy(SMALL)
    table = data
    for name in key[:-1]:
        table = table[name]
    wrong = misspelt(key[-1], place, how)
    assume(wrong != key[-1])
    renamed = {wrong if name == key[-1] else name: value for name, value in table.items()}
    table.clear()
    table.update(renamed)
    message = refusal(data)
    assert any({wrong, key[-1]} <= set(re.findall(r"\w+", line)) for line in message.splitlines()), message


# Refusing


@pytest.mark.parametrize(
    ("key", "value", "named", "words"),
    [
        ("seed", -1, "seed", "-1"),
        ("seed", True, "seed", "whole number"),
        ("seed", None, "seed", "missing"),
        ("name", "../x", "name", "folder"),
        ("corpus.source", "espeek", "corpus.source", "'espeak'"),
        ("corpus.language", "de", "corpus.language", "'en' or 'ru'"),
        ("corpus.trim_db", "off", "corpus.trim_db", "'none'"),
        ("corpus.min_seconds", 20.0, "corpus.min_seconds", "max_seconds = 12.0"),
        ("corpus.max_seconds", float("nan"), "corpus.max_seconds", "finite"),
        ("corpus.clips", "many", "corpus.clips", '"many"'),
        ("corpus", 3, "corpus", "3"),
        ("model.size", "smal", "model.size", "small"),
        ("model.n_symbols", 40, "model.n_symbols", "not known"),
        ("model.prenet_dim", 0, "model.prenet_dim", "between 1"),
        ("model.encoder_kernel_size", 4, "model.encoder_kernel_size", "odd"),
        ("model.encoder_embedding_dim", 33, "model.encoder_embedding_dim", "even"),
        ("model.warm_strat", 3, "model.warm_strat", "nearest: model.warm_start"),
        ("model.batch_size", 3, "model.batch_size", "settings.batch_size"),
        ("settings.prenet_dim", 3, "settings.prenet_dim", "model.prenet_dim"),
        ("settings.batch_size", 2.5, "settings.batch_size", "whole number"),
        ("settings.batch_size", True, "settings.batch_size", "true"),
        ("settings.learning_rate", "fast", "settings.learning_rate", '"fast"'),
        ("settings.n_frames_per_step", 5, "settings.n_frames_per_step", "max_frames_per_step is 4"),
        ("settings.warmup_steps", 10, "space.warmup_steps", "[settings]"),
        ("model.encoder_kernel_size", 5, "space.encoder_kernel_size", "[model]"),
        (
            "space.learning_rate",
            {"type": "float", "low": 1e-9, "high": 1e-3},
            "space.learning_rate.low",
            "1e-07",
        ),
        ("space.learning_rate", {"type": "float", "low": 1e-3, "high": 1}, "space.learning_rate.high", "0.1"),
        (
            "space.learning_rate",
            {"type": "float", "low": 2e-3, "high": 1e-3},
            "space.learning_rate.low",
            "0.001",
        ),
        ("space.learning_rate", {"type": "int", "low": 0, "high": 1}, "space.learning_rate.type", '"float"'),
        ("space.learning_rate", {"low": 1e-3, "high": 1e-2}, "space.learning_rate.type", "missing"),
        ("space.learning_rate", {"type": "range"}, "space.learning_rate.type", "'float'"),
        (
            "space.decay_half_life",
            {"type": "float", "low": 1, "high": 9},
            "space.decay_half_life.type",
            '"int"',
        ),
        ("space.decay_half_life", {"type": "int", "low": 1.5, "high": 9}, "space.decay_half_life.low", "1.5"),
        ("space.warmup_steps.low", 0, "space.warmup_steps.low", "log = true"),
        ("space.warmup_steps.step", 2, "space.warmup_steps.step", "log = true"),
        ("space.guided_attention_weight.step", -1, "space.guided_attention_weight.step", "above 0"),
        ("space.guided_attention_weight.step", 0.3, "space.guided_attention_weight.high", "0.3"),
        ("space.encoder_kernel_size.choices", [3, 4, 5], "space.encoder_kernel_size.choices", "odd"),
        ("space.encoder_kernel_size.choices", [3], "space.encoder_kernel_size.choices", "two or more"),
        ("space.encoder_kernel_size.choices", [3, 3], "space.encoder_kernel_size.choices", "different"),
        (
            "space.postnet_kernel_size",
            {"type": "int", "low": 3, "high": 7},
            "space.postnet_kernel_size.step",
            "odd",
        ),
        ("space.n_frames_per_step", {"type": "int", "low": 1, "high": 8}, "space.n_frames_per_step", "is 4"),
        ("space.mel_mean", {"type": "float", "low": -5, "high": 0}, "space.mel_mean", "cannot be searched"),
        ("sampler.name", "tbe", "sampler.name", "'tpe'"),
        ("sampler.n_startup_trials", 0, "sampler.n_startup_trials", "0"),
        (
            "sampler",
            {"name": "random", "n_startup_trials": 4},
            "sampler.n_startup_trials",
            "known here: name",
        ),
        ("pruner.reduction_factor", 1, "pruner.reduction_factor", "2"),
        ("pruner.min_resource", 300, "objective.steps", "pruner.min_resource = 300"),
        ("budget.trials", 0, "budget.trials", "0"),
        ("budget.hours", float("inf"), "budget.hours", "finite"),
        ("objective.sentences", 17, "objective.sentences", "held_out is 16"),
        ("objective.measure_every", 5, "objective.measure_every", "between 6 and 300"),
        ("objective.measure_every", 301, "objective.measure_every", "between 6 and 300"),
        ("objective.speak", "", "objective.speak", "1 character"),
    ],
)
def test_a_wrong_value_is_named_by_its_key_with_what_was_found_or_expected(key, value, named, words):
    lines = refusal(changed(key, value)).splitlines()
    assert "here.toml" in lines[0]
    assert len(lines) == 3, lines
    assert lines[1].startswith(f"  {named}: ")
    assert words in lines[1]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(list(keys_of(SMALL))), anything.filter(lambda value: value is not None))
def test_whatever_stands_at_a_key_is_read_or_refused_in_words(key, value):
    try:
        Spec.parse(changed(".".join(key), value), "here.toml")
    except SpecError as error:
        assert f"{key[0]}" in str(error)


SIGMA = "space.guided_attention_sigma.when"


@pytest.mark.parametrize(
    ("condition", "named", "words"),
    [
        ({"guided_attention_wieght": {"above": 0.0}}, "guided_attention_wieght", "guided_attention_weight"),
        ({"learning_rate": {"above": 0.0}}, "learning_rate", "not a parameter that stands above"),
        (
            {"guided_attention_sigma": {"above": 0.0}},
            "guided_attention_sigma",
            "not a parameter that stands above",
        ),
        ({"guided_attention_weight": {"above": 4.0}}, "guided_attention_weight", "never"),
        ({"guided_attention_weight": {"below": 0.0}}, "guided_attention_weight", "never"),
        ({"guided_attention_weight": {"above": 2.0, "below": 1.0}}, "guided_attention_weight", "never"),
        ({"guided_attention_weight": {"one_of": [0.5]}}, "guided_attention_weight", "above or below"),
        ({"guided_attention_weight": {}}, "guided_attention_weight", "one_of"),
        ({"encoder_kernel_size": {"one_of": [3, 4]}}, "encoder_kernel_size", "never"),
        ({"encoder_kernel_size": {"one_of": [3], "above": 1}}, "encoder_kernel_size", "either"),
        ({"encoder_kernel_size": {"above": 3, "below": 5}}, "encoder_kernel_size", "never"),
        ({"warmup_steps": {"above": 10, "below": 11}}, "warmup_steps", "never"),
        ({"warmup_steps": {"above": 100}}, "warmup_steps", "never"),
        ({"warmup_steps": {"one_of": [9]}}, "warmup_steps", "never"),
    ],
)
def test_an_impossible_condition_is_named(condition, named, words):
    lines = refusal(changed(SIGMA, condition)).splitlines()
    assert len(lines) == 3, lines
    assert lines[1].startswith(f"  {SIGMA}.{named}: ")
    assert words in lines[1]


def test_two_parameters_cannot_wait_for_each_other():
    data = changed("space.guided_attention_weight.when", {"guided_attention_sigma": {"above": 0.1}})
    assert "space.guided_attention_weight.when.guided_attention_sigma" in refusal(data)


def test_all_wrong_keys_are_named_at_once():
    data = changed("seed", "one")
    data["corpus"]["clisp"] = 3
    data["model"]["size"] = "huge"
    data["model"]["prenet_dims"] = 3
    data["settings"]["weight_decay"] = "small"
    data["settings"]["batch_siz"] = 8
    data["space"]["learning_rate"] = {"type": "float", "low": 1e-9, "high": 1e-3}
    data["space"]["warmup_steps"]["low"] = 0.5
    data["space"]["warmup"] = {"type": "int", "low": 1, "high": 2}
    data["space"]["p_prenet_dropout"] = {
        "type": "float",
        "low": 0,
        "high": 0.5,
        "when": {"warmup_steps": {"above": 20}},
    }
    data["pruner"]["nmae"] = data["pruner"].pop("name")
    data["objectives"] = {}
    keys = [line.split(":")[0].strip() for line in refusal(data).splitlines()[1:-1]]
    assert sorted(keys) == [
        "corpus.clisp",
        "model.prenet_dims",
        "model.size",
        "objectives",
        "pruner.name",
        "seed",
        "settings.batch_siz",
        "settings.weight_decay",
        "space.learning_rate.low",
        "space.warmup",
        "space.warmup_steps.low",
    ]


@pytest.mark.parametrize("name", LIMITS)
def test_no_setting_may_be_searched_or_fixed_beyond_its_limits(name):
    low, high = LIMITS[name]
    beyond = [low - 1, high + 1]
    assert all(name in refusal(changed(f"settings.{name}", value)) for value in beyond)
    kind = PARAMETERS[name].type
    wide = {"type": kind.__name__, "low": kind(beyond[0]), "high": kind(beyond[1])}
    data = changed(f"space.{name}", wide)
    data["settings"] = {}
    message = refusal(data)
    assert f"space.{name}.low" in message
    assert f"space.{name}.high" in message


# Using


def test_suggested_values_beat_nothing_fixed_and_the_rest_is_default():
    spec = Spec.parse(SMALL, "here.toml")
    params = {"warmup_steps": 20, "guided_attention_weight": 0, "encoder_kernel_size": 3}
    settings = Settings(n_frames_per_step=4, batch_size=16, warmup_steps=20, guided_attention_weight=0.0)
    shapes = asdict(SIZES["small"]) | {"prenet_dim": 32, "encoder_kernel_size": 3}
    wanted = asdict(settings) | {name: shapes[name] for name in PARAMETERS if name in shapes}
    assert spec.parameters(params, PARAMETERS) == wanted


def test_a_whole_number_becomes_the_type_of_its_setting():
    spec = Spec.parse(changed("settings.weight_decay", 0), "here.toml")
    assert isinstance(spec.parameters({}, PARAMETERS)["weight_decay"], float)


def test_the_corpus_is_checked_for_the_widest_step_of_the_model():
    spec = Spec.parse(changed("model.max_frames_per_step", 6), "here.toml")
    assert spec.voice.corpus_settings() == CorpusSettings(n_frames_per_step=6)


def test_trimming_can_be_turned_off():
    assert Spec.parse(changed("corpus.trim_db", "none"), "here.toml").voice.corpus_settings().trim_db is None


def test_the_russian_corpus_brings_its_language_and_its_sample_rate():
    settings = Spec.parse(changed("corpus", {"source": "festvox-ru"}), "here.toml").voice.corpus_settings()
    assert (settings.language, settings.resample_from) == ("ru", 16_000)


def test_a_study_that_began_without_the_choice_goes_on_to_read_by_version_1():
    data = changed("corpus", {"source": "festvox-ru"})
    new, old = Spec.parse(data, "here.toml"), Spec.parse(data, "stored", stored=True)
    versions = [spec.voice.corpus_settings().front_end(Path()).version for spec in (new, old)]
    assert versions == [2, 1]
    assert old.differences(new) == ["corpus.normalise", "corpus.stress"]
    assert Spec.parse_json(new.model_dump_json()) == new
    assert Spec.parse_json(old.model_dump_json()) == old


def test_a_training_that_reads_as_before_keeps_its_name():
    data = changed("corpus.normalise", False)
    data["corpus"]["stress"] = False
    new, old = (single_training(Spec.parse(d, "here.toml"), [], None) for d in (SMALL, data))
    stored = Spec.parse(SMALL, "stored", stored=True)
    assert single_training(stored, [], None).name == old.name != new.name


def test_marks_of_stress_are_of_russian_alone():
    with pytest.raises(SpecError, match=r"corpus.*stress: is true, but only Russian"):
        Spec.parse(changed("corpus.stress", True), "here.toml")


def test_a_lexicon_is_looked_for_beside_the_file_and_may_move(tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("one.tsv", "mine/two.tsv"):
        (tmp_path / name).write_text("", "utf-8")
    data = changed("corpus", {"source": "folder", "path": "mine", "lexicon": "one.tsv"})
    corpus = Spec.parse(data, "here.toml").found_in(tmp_path).voice.corpus
    assert (corpus.path, corpus.lexicon) == (str(tmp_path / "mine"), str(tmp_path / "one.tsv"))
    data["corpus"]["lexicon"] = "mine/two.tsv"
    assert Spec.parse(data, "here.toml").differences(Spec.parse(data, "here.toml").found_in(tmp_path)) == []


def test_the_languages_are_those_that_have_a_front_end():
    assert set(get_args(sections.Recordings.model_fields["language"].annotation)) == set(FRONT_ENDS)


def test_names_that_are_alike_in_their_first_letters_stay_apart():
    """Also where an ending leaves too little room for the whole name."""
    long = "grandmother_reads_the_newspaper_22_khz_cleaned_v3_rate"
    derived = {derived_name(name, "-no-fixes") for name in (f"{long}_low", f"{long}_high", long[:50], long)}
    assert len(derived) == 4
    assert all(len(name) <= 64 and name.endswith("-no-fixes") for name in derived)
    assert derived_name("quickstart", "-no-fixes") == "quickstart-no-fixes"
    for name in (f"{long}_low", f"{long}_high"):
        spec = load("quickstart").model_copy(update={"name": name})
        assert spec.without_fixes().name in derived
        assert single_training(spec, (), None).name.startswith(long[:30])


@given(st.lists(st.text("ab", min_size=50, max_size=64), min_size=2, max_size=2, unique=True))
def test_no_two_names_become_one(names):
    assert len({derived_name(name, "-train-012345") for name in names}) == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 2),
        ("corpus.clips", 41),
        ("model.prenet_dim", 64),
        ("settings.batch_size", 8),
        ("settings.weight_decay", 0.0),
        ("space.warmup_steps.high", 99),
        ("space.p_prenet_dropout", {"type": "float", "low": 0, "high": 0.5}),
        ("sampler.n_startup_trials", 5),
        ("pruner.reduction_factor", 4),
        ("objective.steps", 301),
        ("training.precision", "fp32"),
    ],
)
def test_a_study_that_goes_on_names_what_changed(key, value):
    before, after = Spec.parse(SMALL, "here.toml"), Spec.parse(changed(key, value), "here.toml")
    assert before.differences(after) == [key]
    assert after.differences(before) == [key]


@pytest.mark.parametrize(
    ("key", "value"), [("budget.trials", 9), ("budget.hours", 1.0), ("question", "Why?")]
)
def test_budget_and_question_may_change_while_a_study_goes_on(key, value):
    assert Spec.parse(SMALL, "here.toml").differences(Spec.parse(changed(key, value), "here.toml")) == []


def test_how_numbers_and_order_are_written_makes_no_difference():
    data = changed("space.weight_decay", {"type": "categorical", "choices": [0.0, 0.01]})
    turned = changed("space.weight_decay", {"choices": [0, 0.01], "type": "categorical"})
    turned["space"] = {"warmup_steps": turned["space"].pop("warmup_steps"), **turned["space"]}
    assert Spec.parse(turned, "").differences(Spec.parse(data, "")) == []


def test_options_change_the_budget_and_the_seed_and_are_checked():
    spec = Spec.parse(SMALL, "here.toml")
    assert spec.with_changes(None, None) == spec
    assert spec.with_changes(20, 5).budget.trials == 20
    assert spec.with_changes(20, 5).seed == 5
    with pytest.raises(SpecError, match=r"budget\.trials"):
        spec.with_changes(0, None)


def test_a_single_training_searches_nothing_and_takes_its_values_from_the_command_line():
    spec = single_training(Spec.parse(SMALL, "here.toml"), ["warmup_steps=7", "encoder_kernel_size=3"], None)
    assert (spec.budget.trials, spec.space, spec.pruner.name) == (1, {}, "none")
    values = spec.parameters({}, PARAMETERS)
    assert (values["warmup_steps"], values["encoder_kernel_size"]) == (7, 3)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("settings.warmup_steps", 20_000, "settings.warmup_steps"),
        ("space.warmup_steps.high", 301, "space.warmup_steps"),
        ("space.warmup_steps", {"type": "categorical", "choices": [10, 9_000]}, "space.warmup_steps"),
        ("objective.steps", 100, "100"),
    ],
)
def test_a_plan_shorter_than_its_warm_up_is_refused(key, value, named):
    start = SMALL if key.startswith("space") else changed("space.warmup_steps", None)
    if key == "objective.steps":
        start = changed("settings.warmup_steps", 101, changed("pruner", {"name": "none"}, start))
    told = refusal(changed(key, value, start))
    assert "objective.steps" in told and named in told and "never ends its warm-up" in told


@given(start=st.integers(0, 2000), half_life=st.integers(1, 500), steps=st.integers(20, 4000))
def test_a_plan_of_which_most_is_trained_at_hardly_any_rate_is_refused(start, half_life, steps):
    plain = changed("pruner", {"name": "none"}, changed("space.warmup_steps", None))
    study = {
        **plain,
        "settings": {"warmup_steps": 1, "decay_start_step": start, "decay_half_life": half_life},
    }
    study["objective"] = {**study["objective"], "steps": steps, "measure_every": steps}
    study["finish"] = {}
    rate = learning_rate_at(steps // 2, Settings(**study["settings"])) / Settings().learning_rate
    try:
        Spec.parse(study, "here.toml")
    except SpecError as error:
        assert "of what it was" in str(error) and rate < 2.0**-6.9
    else:
        assert rate > 2.0**-7.1


def test_a_warm_up_of_the_command_line_is_held_against_the_plan_and_one_that_is_stored_still_read():
    spec = Spec.parse(SMALL, "here.toml")
    assert single_training(spec, ["warmup_steps=300"], None).fixed["warmup_steps"] == 300
    with pytest.raises(SpecError, match="never ends its warm-up"):
        single_training(spec, ["warmup_steps=20000"], None)
    old = {**spec.model_dump(mode="json"), "settings": {"warmup_steps": 20_000}, "space": {}}
    stored = Spec.parse_json(json.dumps(old))
    assert stored.with_changes(20, None).fixed["warmup_steps"] == 20_000


@pytest.mark.parametrize(
    "start", ["study:", "study::3", "study:a:", "study:a:-1", "study:a: 3", "study:a:1:2"]
)
def test_a_start_that_names_neither_study_nor_trial_is_refused(start):
    with pytest.raises(SpecError, match=rf'warm_start: is "{start}", which is neither "study:NAME" nor'):
        Spec.parse(changed("model.warm_start", start, RECORDED), "here.toml")


def test_a_start_is_of_a_study_or_of_one_of_its_trials():
    found = [trial_named(start) for start in ("study:my.voice-1", "study:a:12", "/speech/study:a", "a.pt")]
    assert found == [("my.voice-1", None), ("a", 12), None, None]


def test_a_warm_start_is_part_of_the_study():
    spec = single_training(Spec.parse(SMALL, "here.toml"), [], "nvidia.pt")
    assert spec.model.warm_start == str(Path("nvidia.pt").absolute())
    assert Spec.parse_json(spec.model_dump_json()) == spec
    assert spec.differences(single_training(Spec.parse(SMALL, "here.toml"), [], None)) == ["model.warm_start"]


def test_a_single_training_is_called_as_version_0_1_called_it():
    """Else the same command would begin it anew after the upgrade; one that reads otherwise is another."""
    as_before = Espeak(source="espeak", clips=720, normalise=False, stress=False)
    fixed = {"n_frames_per_step": 4}  # as the quickstart had it
    before = load("quickstart").model_copy(update={"corpus": as_before, "fixed": fixed})
    assert single_training(before, ["learning_rate=0.002"], None).name == "quickstart-train-9e6b16"
    now = before.model_copy(update={"corpus": Espeak(source="espeak", clips=720)})
    assert single_training(now, ["learning_rate=0.002"], None).name != "quickstart-train-9e6b16"


def test_a_study_that_was_stored_before_there_was_a_precision_goes_on():
    spec = Spec.parse(SMALL, "here.toml")
    before = json.loads(spec.model_dump_json())
    assert before.pop("training") == {"precision": "tf32"}
    stored = Spec.parse_json(json.dumps(before))
    assert stored.training.precision == "tf32"
    assert stored.differences(spec) == []


def test_a_single_training_in_another_precision_has_another_name():
    kinds = [Spec.parse(changed("training.precision", kind), "here.toml") for kind in ("tf32", "fp32")]
    names = [single_training(spec, [], None).name for spec in (Spec.parse(SMALL, "here.toml"), *kinds)]
    assert names[0] == names[1] != names[2]


def test_a_single_training_has_no_finish():
    assert load("quickstart").finish.steps == 3600
    assert single_training(load("quickstart"), [], None).finish.steps is None


def test_a_finish_goes_beyond_the_search():
    spec = Spec.parse(SMALL, "here.toml")
    steps = spec.objective.steps
    assert spec.with_changes(None, None, steps + 1).finish.steps == steps + 1
    with pytest.raises(SpecError, match=f"finish.steps: is {steps}: must be more than the {steps}"):
        spec.with_changes(None, None, steps)


def test_a_warm_start_is_refused_where_no_voice_is_trained():
    own = load(str(FOLDER.parent / "examples" / "own_objective" / "study.toml"))
    with pytest.raises(SpecError, match="--warm-start is for Tacotron 2"):
        single_training(own, [], "nvidia.pt")


def test_single_trainings_with_other_values_or_seeds_have_other_names():
    spec = Spec.parse(SMALL, "here.toml")
    variants = [
        single_training(spec, [], None),
        single_training(spec, ["warmup_steps=7"], None),
        single_training(spec, [], "nvidia.pt"),
        single_training(spec.with_changes(None, 2), [], None),
    ]
    assert len({variant.name for variant in variants}) == len(variants)
    assert single_training(spec, [], None).name == variants[0].name
    assert all(variant.name.startswith("small-train-") for variant in variants)


@pytest.mark.parametrize(
    "param", ["warmup_steps", "warmup_steps=soon", "warmup_stepz=3", "warmup_steps=1e99"]
)
def test_a_wrong_parameter_on_the_command_line_is_named(param):
    with pytest.raises(SpecError, match=param.partition("=")[0]):
        single_training(Spec.parse(SMALL, "here.toml"), [param], None)


@pytest.fixture(scope="module")
def own():
    return load(str(FOLDER.parent / "examples" / "own_objective" / "study.toml"))


@pytest.mark.parametrize(
    ("param", "words"),
    [
        ("lerning_rate=3", "settings.lerning_rate: is not known; nearest: settings.learning_rate"),
        ("learning_rate=1e9", "settings.learning_rate: learning_rate must lie between 1e-06 and 1e+06"),
    ],
)
def test_a_parameter_of_an_own_objective_is_held_against_it_as_in_a_file(own, param, words):
    with pytest.raises(SpecError, match=re.escape(words)):
        single_training(own, [param], None)


@given(st.floats(allow_nan=False))
def test_a_parameter_of_the_command_line_lies_within_the_limits_of_an_own_objective(own, value):
    try:
        assert 1e-6 <= single_training(own, [f"learning_rate={value!r}"], None).fixed["learning_rate"] <= 1e6
    except SpecError as error:
        assert not 1e-6 <= value <= 1e6 and "settings.learning_rate" in str(error)


class Sized(Objective):
    """An objective with arguments. They are checked in a file, and may be called as Optuna's seed."""

    parameters: ClassVar = {"rate": Parameter(0.1, low=0.0, high=1.0)}

    def __init__(self, size: int, seed: int = 0, name="x"): ...

    def run(self, parameters, seed, device): ...


class Unnamed(Objective):
    def run(self, parameters, seed, device): ...


class Listing(Unnamed):
    parameters: ClassVar = ["rate"]


class Unfinished(Objective):
    parameters: ClassVar = {}


def of_class(own, **args):
    objective = {"use": f"here:{own.__name__}", "steps": 10, "measure_every": 5, "args": args}
    data = {"name": "own", "question": "?", "seed": 1, "budget": {"trials": 1}, "objective": objective}
    return Spec.parse(data, "here.toml", own=own)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"sise": 3, "size": 3}, "objective.args.sise: is not known; nearest: size; accepted are size, seed"),
        ({"size": 3, "seed": "1"}, "objective.args.seed: found '1', expected int"),
        ({}, "objective.args: lacks size, which Sized needs"),
    ],
)
def test_arguments_of_an_own_objective_are_held_against_its_signature(args, words):
    with pytest.raises(SpecError, match=re.escape(words)):
        of_class(Sized, **args)
    assert of_class(Sized, size=3, seed=4, name=[1]).objective.args["seed"] == 4


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (Unnamed, "Unnamed has no `parameters`"),
        (Listing, "Listing has no `parameters`: a table"),
        (Unfinished, "Unfinished has no run"),
    ],
)
def test_an_objective_that_lacks_a_part_is_refused_with_its_name(own, words):
    with pytest.raises(SpecError, match=words):
        of_class(own)


# Nothing in a study file is for show


def checks_only(function):
    """Whether a function judges a study file; what it reads is not thereby used."""
    decorators = " ".join(ast.unparse(decorator) for decorator in function.decorator_list)
    return "validator" in decorators or function.name.endswith(("fault", "faults", "_possible"))


def reads(path):
    """Every (owner, name) for which the file reads owner.name, seen through `x = y.owner`."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if hasattr(node, "body") and isinstance(node.body, list):
            node.body = [n for n in node.body if not (isinstance(n, ast.FunctionDef) and checks_only(n))]
    alias = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
            for target in node.targets:
                alias.setdefault(getattr(target, "id", ""), set()).add(node.value.attr)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            owner = (
                node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            )
            found |= {(name, node.attr) for name in {owner} | alias.get(owner, set())}
    return found


def is_tag(field):
    return len(get_args(field.annotation)) == 1 and isinstance(get_args(field.annotation)[0], str)


def keys(owner, *tables):
    """Keys of these tables, save those that only choose the table."""
    return {
        (owner, name) for table in tables for name, field in table.model_fields.items() if not is_tag(field)
    }


def folders(*names):
    return [path for name in names for path in sorted((ROOT / name).rglob("*.py"))]


def test_every_key_of_a_study_file_is_read_by_the_code():
    schema = {FOLDER / "file" / f"{n}.py" for n in ("spec", "sections", "parameters", "table", "faults")}
    users = [p for p in folders("studies", "objectives", "smart_tuner", "model") if p not in schema]
    used = set().union(*(reads(path) for path in [*users, ROOT / "run_study.py"]))
    wanted = keys("spec", Spec) | keys("budget", sections.Budget) | keys("objective", sections.Objective)
    by_chosen = {("rules", name) for name in ("mode", "modes", "thresholds", "extra")}
    wanted |= keys("rules", sections.Rules) - by_chosen
    wanted |= keys("corpus", sections.Espeak, sections.FestvoxRu, sections.Folder)
    wanted |= keys("sampler", sections.Tpe, sections.Random) | keys(
        "pruner", sections.Asha, sections.NoPruner
    )
    wanted |= keys("parameter", parameters.FloatRange, parameters.IntRange, parameters.Choice)
    # Handed on as a whole: every field of the dataclass that takes them counts below.
    copied = {("corpus", field.name) for field in fields(CorpusSettings)}
    copied |= {("spec", "corpus"), ("spec", "model"), ("spec", "fixed")}
    assert keys("corpus", sections.Recordings) <= copied
    assert sorted(".".join(key) for key in wanted - copied - used) == []


def test_every_key_of_a_condition_and_of_the_model_is_read_by_the_code():
    assert keys("self", parameters.Condition) <= reads(FOLDER / "file" / "parameters.py")
    assert keys("model", sections.Model) <= reads(FOLDER / "file" / "spec.py") | reads(
        FOLDER / "run" / "tacotron2.py"
    )


def test_every_field_that_takes_a_key_of_a_study_file_is_read_by_the_model():
    files = [path for path in folders("model") if path.name != "settings.py"]
    used = {name for path in files for _, name in reads(path)}
    taken = {*PARAMETERS, *sections.Recordings.model_fields, "n_frames_per_step"}
    assert sorted(taken - used) == []
