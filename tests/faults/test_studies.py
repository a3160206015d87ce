"""A study that is renamed, deleted, changed or extended, also while it runs; and what it may be called."""

import json

import optuna
import pytest
from faults.toys import wait_for
from hypothesis import given
from hypothesis import strategies as st

import run_study
from studies.commands.place import Place
from studies.file.spec import Spec, SpecError, load
from studies.run.study import StudyError, open_study, under_its_name


def copied_and_deleted(study, name):
    """As the dashboard renames: everything becomes new rows, with other ids."""
    optuna.copy_study(
        from_study_name=study.study_name,
        from_storage=study._storage,
        to_storage=study._storage,
        to_study_name=name,
    )
    optuna.delete_study(study_name=study.study_name, storage=study._storage)


def test_a_study_deleted_while_it_runs_ends_its_workers_and_keeps_its_files(toy):
    begun = toy.begin(seconds=0.02)
    wait_for(lambda: toy.steps(0) > 5, alive=[begun])
    optuna.delete_study(study_name="toy", storage=toy.storage)
    assert toy.end(begun) == 1, toy.said
    assert 'Study "toy" was deleted while it ran' in toy.said
    assert "Traceback" not in toy.said
    assert toy.checkpoints(0)


def test_a_study_renamed_while_it_runs_ends_its_workers_which_say_the_new_name(toy):
    begun = toy.begin(seconds=0.02)
    wait_for(lambda: toy.steps(0) > 5, alive=[begun])
    copied_and_deleted(toy.study, "other")
    assert toy.end(begun) == 1, toy.said
    assert 'Study "toy" was renamed to "other" while it ran' in toy.said
    assert "Traceback" not in toy.said


def test_a_renamed_study_goes_on_under_its_new_name_with_its_files(toy):
    """The toy's worker knows one name only: so it is renamed twice, and looked at in between."""
    begun = toy.begin(seconds=0.02)
    wait_for(lambda: toy.steps(0) > 5, alive=[begun])
    copied_and_deleted(toy.study, "other")
    toy.end(begun)
    place = Place(toy.workdir, toy.url, None, None)
    (toy.workdir / "studies").mkdir()
    (toy.workdir / "toy").rename(place.folder("toy"))
    other = optuna.load_study(study_name="other", storage=toy.storage)
    spec = under_its_name(other)
    assert spec.name == "other"
    called = ["--home", str(toy.workdir), "--storage", toy.url, "trials", "other", "-f", "json"]
    assert run_study.main(called) == 0
    assert list(place.folder("other").glob("trial-0000/ckpt-*"))
    assert open_study(spec, toy.storage).user_attrs["uid"] == other.user_attrs["uid"]
    assert optuna.get_all_study_names(toy.storage) == ["other"]
    copied_and_deleted(other, "toy")
    toy.study = optuna.load_study(study_name="toy", storage=toy.storage)
    place.folder("other").rename(toy.workdir / "toy")
    open_study(toy.spec, toy.storage)
    toy.finish()
    assert toy.faults() == []


def test_a_new_study_does_not_go_on_with_the_files_of_a_deleted_one_of_its_name(begin_study):
    first = begin_study()
    first.finish()
    for log in first.workdir.glob("steps-*.log"):
        log.unlink()
    for _ in range(2):
        optuna.delete_study(study_name="toy", storage=first.storage)
        again = begin_study()
        again.finish()
        assert again.faults() == []
        assert again.steps(0) > 0
        for log in again.workdir.glob("steps-*.log"):
            log.unlink()
    kept = {path.name for path in (first.workdir / "toy").glob("earlier-*")}
    assert kept == {f"earlier-trial-000{n}{more}" for n in (0, 1) for more in ("", "-2")}
    assert "trial 0 begins anew; the files of another study of this name are now in" in again.said


def test_a_copy_of_a_study_is_refused(toy, capsys):
    optuna.copy_study(
        from_study_name="toy", from_storage=toy.storage, to_storage=toy.storage, to_study_name="copy"
    )
    called = ["--home", str(toy.workdir), "--storage", toy.url, "resume"]
    assert run_study.main([*called, "copy"]) == 2
    assert 'It is a copy of "toy"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("space.learning_rate.high", 0.05),
        ("rules.mode", "on"),
        ("sampler.n_startup_trials", 3),
        ("pruner.reduction_factor", 2),
        ("seed", 99),
        ("corpus.clips", 77),
    ],
)
def test_a_resume_of_something_else_is_refused_by_key_and_changes_nothing(toy, path, value):
    data = toy.spec.model_dump(mode="json")
    *tables, key = path.split(".")
    at = data
    for table in tables:
        at = at[table]
    at[key] = value
    before = dict(toy.study.user_attrs)
    with pytest.raises(StudyError, match=path.replace(".", r"\.")):
        open_study(Spec.parse(data, "changed"), toy.storage)
    assert optuna.load_study(study_name="toy", storage=toy.storage).user_attrs == before


def test_more_trials_after_the_end_are_new_points(begin_study):
    toy = begin_study(trials=2)
    toy.finish()
    before = [trial.params for trial in toy.study.get_trials()]
    more = begin_study(trials=4)
    more.finish()
    after = [trial.params for trial in more.study.get_trials()]
    assert after[:2] == before
    assert len({json.dumps(params, sort_keys=True) for params in after}) == 4
    assert more.faults() == []


NASTY = st.sampled_from(
    [
        "x'; DROP TABLE studies; --",
        "x" * 600,
        "a\0b",
        "a\nb",
        "a\n",
        "../..",
        "..",
        ".",
        "/etc",
        "a/b",
        "a\\b",
        "😀",
        "\u202eabc",
        "",
        " ",
        "-rf",
    ]
)


@given(NASTY | st.text())
def test_a_study_has_a_name_that_every_file_system_and_shell_bears_or_none(name):
    data = load("quickstart").model_dump(mode="json") | {"name": name}
    try:
        Spec.parse(data, "here.toml")
    except SpecError as error:
        assert "name" in str(error)
        assert name not in ("toy", "a-b_c.9")
    else:
        assert 0 < len(name) <= 64
        assert all(letter.isalnum() or letter in "_.-" for letter in name)
        assert name[0] not in ".-"


@pytest.mark.parametrize("name", ["toy", "голос", "a-b_c.9", "9" * 64])
def test_plain_names_are_taken(name):
    assert Spec.parse(load("quickstart").model_dump(mode="json") | {"name": name}, "here.toml").name == name
