"""The database is not ours alone: whatever others write into it, what is ours is told, and theirs is left."""

import json
import math
import uuid
from contextlib import closing, suppress
from dataclasses import fields
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

import run_study
from dashboards.pages.records import Records
from smart_tuner.notify.telegram.messages import Words
from smart_tuner.repair.rule import Entry
from smart_tuner.store import attributes
from smart_tuner.store.attributes import Heard
from smart_tuner.store.leases import Leases
from smart_tuner.store.storage import open_storage
from studies.callbacks import dashboard
from studies.callbacks.telegram import digest
from studies.commands.chat import StudyCommands
from studies.file.spec import load
from studies.report import facts, history, single_page, voices
from studies.report import summary as report
from studies.report.advice import advice
from studies.run import tacotron2
from studies.run.study import StudyError, desired_state, load_study, name_of, open_study, stored_spec

MEASURED = {
    "step": 400,
    "value": 6.5,
    "seconds": 40.0,
    "failure_share": 0.0,
    "aligned_share": 1.0,
    "shortest": 0.9,
    "longest": 1.1,
    "mel_l1": math.nan,
}
OF_TRIALS = [
    "measures",
    "repairs",
    "fresh_of",
    "reason",
    "settings",
    "effective",
    "ended_by",
    "ended",
    "grace_until",
]
OF_STUDIES = ["yardstick", "skipped", "device", "wish", "corpus", "policy", "objective", "words", "heard"]
KEYS = st.text(max_size=9) | st.sampled_from(["[/b]", "[red]", "a\x1b[31mb", "a|b\nc", "<script>", "{0}", ""])
TEXTS = KEYS | st.just("\ud800")  # half a character, which a database takes within JSON alone
OBJECTIVE = ["unit", "curves", "measures", "measure.value", "measure.aligned_share"]
OBJECTIVE += [field.name for field in fields(Heard)]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.sampled_from(OBJECTIVE), inner, max_size=3)
    ),
    max_leaves=5,
)
CODES = st.sampled_from(["given_up", "behind", "no_value", "x"])
ENDED = st.fixed_dictionaries(
    {"code": CODES | VALUES, "values": st.dictionaries(KEYS, VALUES, max_size=2) | VALUES}
)
SAID = st.dictionaries(
    KEYS | st.sampled_from(["rule.poor_alignment", "poor_alignment.seen", "setting.width", "measure.value"]),
    st.lists(TEXTS, max_size=3),
)
ROWS = st.fixed_dictionaries({}, optional={name: VALUES for name in MEASURED})
CHANGED = st.builds(lambda row: {**MEASURED, **row}, ROWS)
ATTRIBUTES = st.dictionaries(KEYS | st.sampled_from(OF_TRIALS), VALUES, max_size=4)
SPACE = {
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "width": IntDistribution(1, 99),
    "[/x]|\x1b": CategoricalDistribution([None, True, 3, math.nan, math.inf, "[/b]\n\x1b\ud800"]),
}
DRAWN = {
    "learning_rate": st.floats(1e-4, 1e-1),
    "width": st.integers(1, 99),
    "[/x]|\x1b": st.sampled_from(SPACE["[/x]|\x1b"].choices),
}
SYSTEM = st.dictionaries(st.sampled_from(["artifacts:x", "completed_rung_x", "fixed_params"]), VALUES)


@st.composite
def foreign_trials(draw):
    state = draw(st.sampled_from([*TrialState, TrialState.COMPLETE, TrialState.COMPLETE]))
    params = draw(st.fixed_dictionaries({}, optional=DRAWN))
    attributes = draw(ATTRIBUTES)
    if draw(st.booleans()):
        attributes["measures"] = draw(st.lists(CHANGED | VALUES, max_size=3))
    if draw(st.booleans()):
        attributes |= {"reason": draw(TEXTS), "ended": draw(ENDED)}
    return create_trial(
        state=state,
        value=draw(st.floats(allow_nan=False)) if state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        params=params,
        distributions={name: SPACE[name] for name in params},
        user_attrs=attributes,
        system_attrs=draw(SYSTEM),
        intermediate_values=draw(st.dictionaries(st.integers(-3, 2**31), st.floats(), max_size=3)),
    )


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("foreign")


@pytest.fixture(scope="module")
def storage(workdir):
    with closing(open_storage(f"sqlite:///{workdir / 'study.db'}")) as storage:
        yield storage


def ours(storage, name="ours"):
    """A study with one trial that was trained here."""
    spec = load("quickstart").model_copy(update={"name": name})
    study = open_study(spec, storage)
    own = {"learning_rate": 1e-3}
    study.add_trial(
        create_trial(
            value=6.5,
            params=own,
            distributions={key: SPACE[key] for key in own},
            user_attrs={"measures": [MEASURED], "settings": own},
        )
    )
    return study, spec


def readings(storage, workdir, study, spec):
    """Whatever a person, a page or a chat can ask of a study, as text."""
    repair = Entry("repair", 100, "poor_alignment", 5, 8, "seen", action="guide it", seq=1)
    found = [report.study_records(storage), report.status_record(study, spec), report.trial_records(study)]
    for form in ("table", "json", "value"):
        yield from (report.formatted(one, form) for one in found)
    yield report.summary(study, spec, None)
    yield report.markdown(study, spec, None, [(0, repair)], [])
    yield single_page.page(study, spec, None, [(0, repair)], [], workdir)
    records, name = Records(storage, workdir), study.study_name
    asked = [records.studies(), records.study(name), records.trials(name), records.fixes(name)]
    asked += [records.importance(name), *(records.trial(name, n) for n in range(len(study.trials)))]
    yield from (report.as_json(one) for one in asked)
    commands = StudyCommands(storage, workdir, lambda *_: {"error": "lost"}, 500)
    for command in (commands._status, commands._best, commands._trials, commands._fixes):
        for language in ("en", "ru"):
            yield command(Words(language), study, spec, "").markup
    for number in range(len(study.trials)):
        yield report.as_json([facts.of_bad_end(study, number, "FAIL", "x"), facts.of_new_best(study, number)])
    yield report.as_json([facts.of_study(study, spec), advice(study, "out_of_memory"), desired_state(study)])
    yield str(dashboard.unmatched(storage, workdir))


@pytest.mark.filterwarnings("ignore:Some regimes", "ignore:Target and region")  # few trials, says Optuna
@settings(max_examples=6)
@given(
    st.lists(foreign_trials(), max_size=5),
    st.dictionaries(KEYS | st.sampled_from(OF_STUDIES), VALUES | SAID, max_size=4),
)
def test_whatever_others_write_into_a_study_everything_is_still_told(storage, workdir, found, written):
    study, spec = ours(storage, uuid.uuid4().hex)
    for key, value in written.items():
        with suppress(ValueError):  # numbers that JSON in Python writes, and cannot read again
            study.set_user_attr(key, value)
    study.add_trials(found)
    study = load_study(study.study_name, storage)
    for text in readings(storage, workdir, study, spec):
        assert "\x1b" not in text
        text.encode()
        if text[:1] in "[{":
            json.loads(text, parse_constant=pytest.fail)
    best = history.best_trial(study)
    assert best is not None and best.user_attrs["measures"]
    assert best.value <= 6.5
    optuna.delete_study(study_name=study.study_name, storage=storage)


def marks(storage, name):
    study = optuna.load_study(study_name=name, storage=storage)
    system = storage.get_study_system_attrs(study._study_id)
    return study.user_attrs, system, len(study.trials)


def foreign_study(storage, name, how):
    study = optuna.create_study(study_name=name, storage=storage, **how)
    if "directions" not in how:
        study.optimize(lambda trial: trial.suggest_float("depth", 0, 1), n_trials=2)
    return study


FOREIGN = {
    "of one's own": ({}, r"holds no study file(.|\n)*searches depth, and not"),
    "that maximizes": ({"direction": "maximize"}, "has the goals maximize"),
    "of two goals": ({"directions": ["minimize", "maximize"]}, "has the goals minimize, maximize"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_study_of_our_name_that_others_made_is_refused_and_left_as_it_was(storage, kind):
    how, told = FOREIGN[kind]
    spec = load("quickstart").model_copy(update={"name": kind.replace(" ", "-").replace("'", "")})
    foreign_study(storage, spec.name, how)
    before = marks(storage, spec.name)
    with pytest.raises(StudyError, match=told) as refused:
        open_study(spec, storage)
    assert "Nothing of it was changed" in str(refused.value)
    with pytest.raises(StudyError, match="this program did not make it"):
        load_study(spec.name, storage)
    assert marks(storage, spec.name) == before
    with storage.ours.connect():
        assert Leases(storage.ours, "").counts() == {}


def test_no_command_does_anything_to_a_study_that_others_made(tmp_path, capsys):
    url, file = f"sqlite:///{tmp_path / 'study.db'}", tmp_path / "theirs.toml"
    source = (Path(run_study.__file__).parent / "studies" / "quickstart.toml").read_text("utf-8")
    file.write_text(source.replace('name = "quickstart"', 'name = "theirs"'), "utf-8")
    with closing(open_storage(url)) as storage:
        foreign_study(storage, "theirs", {})
        before = marks(storage, "theirs")
    ask = ["status", "trials", "best", "fixes", "report", "pause", "stop", "resume", "worker"]
    calls = [["start", str(file)], *([word, "theirs"] for word in ask)]
    calls += [["speak", "theirs", "hello"], ["export", "theirs", "-o", str(tmp_path / "voice")]]
    for call in calls:
        assert run_study.main(["--home", str(tmp_path), "--storage", url, *call]) == 2, call
        assert "this program did not make it" in capsys.readouterr().err, call
    assert run_study.main(["--home", str(tmp_path), "--storage", url, "list"]) == 0
    assert "theirs" in capsys.readouterr().out
    with closing(open_storage(url)) as storage:
        assert marks(storage, "theirs") == before
    assert not (tmp_path / "studies").exists()


def test_a_study_is_never_seen_without_its_file_so_that_two_first_starts_agree(storage):
    study, spec = ours(storage, "at-once")
    assert open_study(spec, storage).user_attrs == study.user_attrs
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        storage.create_study("at-once", {})
    assert stored_spec(study) == spec


@settings(max_examples=6)
@given(st.sampled_from(["spec", "uid"]), VALUES | st.just("{}"))
def test_a_study_whose_file_or_name_was_overwritten_is_refused_and_hides_no_other(
    storage, workdir, key, value
):
    study, _ = ours(storage, "spoilt")
    good, _ = ours(storage, "good")
    with suppress(ValueError):
        study.set_user_attr(key, value)
        with pytest.raises(StudyError, match="spoilt"):
            load_study("spoilt", storage)
    assert "good" in {row["name"] for row in Records(storage, workdir).studies()}
    assert name_of(storage, good.user_attrs["uid"]) == "good"
    digest(storage, workdir)
    for name in ("spoilt", "good"):
        optuna.delete_study(study_name=name, storage=storage)


def test_a_known_result_that_is_better_has_no_voice_and_the_best_that_has_one_is_used(
    storage, workdir, capsys
):
    study, spec = ours(storage, "better")
    study.add_trial(create_trial(value=4.25))
    study.add_trial(create_trial(value=-math.inf))
    said = "Trial 1 (4.25) was not trained here; the best that was is trial 0."
    assert report.untrained(study) == said
    assert report.status_record(study, spec)["best_trial"] == 0
    for text in (
        report.summary(study, spec, None),
        report.markdown(study, spec, None, [], []),
        single_page.page(study, spec, None, [], [], workdir),
    ):
        assert said in text
    called = ["--home", str(workdir), "--storage", f"sqlite:///{workdir / 'study.db'}"]
    assert run_study.main([*called, "best", "better", "-f", "json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["number"] == 0
    assert said in told.err
    with pytest.raises(StudyError, match="checkpoint of trial 0 is not here"):
        voices.best_checkpoint(study, None, workdir)
    with pytest.raises(StudyError, match=r"The best that has one is trial 0\."):
        voices.best_checkpoint(study, 1, workdir)
    found = Records(storage, workdir).study("better")
    assert found["from_elsewhere"] == {"number": 1, "value": 4.25}
    assert found["best"]["number"] == 0
    best = StudyCommands(storage, workdir, lambda *_: {}, 500)._best
    assert "has no voice" in best(Words("en"), study, spec, "").markup
    assert facts.of_new_best(study, 0)["was"] is None


def test_a_study_of_results_from_outside_alone_says_that_none_has_a_voice(storage, workdir):
    spec = load("quickstart").model_copy(update={"name": "outside"})
    study = open_study(spec, storage)
    study.add_trial(create_trial(value=4.25))
    said = "Trial 0 (4.25) was not trained here; none that was has completed yet."
    assert said in report.summary(study, spec, None)
    with pytest.raises(StudyError) as refused:
        voices.best_checkpoint(study, None, workdir)
    assert said in str(refused.value)


@pytest.mark.parametrize("written", [None, "x", {"cap": 1.0}, {"cap": "a", "ceiling": 2.0}])
def test_a_yardstick_that_was_overwritten_is_none(storage, written):
    study, _ = ours(storage, f"stick-{len(str(written))}")
    for value, found in ((written, None), ({"cap": 9.0, "ceiling": 1.5}, tacotron2.Yardstick(9.0, 1.5))):
        study.set_user_attr("yardstick", value)
        assert tacotron2._known_yardstick(study) == found


def test_a_trial_from_outside_that_no_trial_of_ours_could_follow_is_named(storage):
    spec = load("quickstart").model_copy(update={"name": "clashing"})
    study = open_study(spec, storage)
    other = {"learning_rate": CategoricalDistribution([1e-3, 1e-2])}
    study.add_trial(create_trial(value=1.0, params={"learning_rate": 1e-3}, distributions=other))
    with pytest.raises(StudyError, match=r"Its trial 0 drew learning_rate from Categorical"):
        open_study(spec, storage)


def test_words_are_taken_only_as_this_program_writes_them(storage):
    study, _ = ours(storage, "words")
    good = {"measure.pace": ["pace", "темп"]}
    study.set_user_attr("words", {**good, "rule.x": ["\x1b[31m", "x"], "x": "yz", "setting.a": ["one"]})
    assert attributes.words(study) == good
    study.set_user_attr("words", "x")
    assert attributes.words(study) == {}
