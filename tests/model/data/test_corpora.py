"""A corpus is built whole, once, and never over anything else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from model.data.corpora import CorpusError, build_once
from model.data.staging import PREFIX, being_made

RECIPE = {"corpus": "made up", "clips": 2}


def build(part):
    (part / "metadata.csv").write_text("a|text\n")
    return {"hours": 0.5}


def must_not_build(part):
    raise AssertionError("built again")


def test_the_recipe_is_kept_with_what_came_of_it(tmp_path):
    assert build_once(tmp_path / "new" / "corpus", RECIPE, build) == tmp_path / "new" / "corpus"
    recipe = json.loads((tmp_path / "new" / "corpus" / "recipe.json").read_text())
    assert recipe == {"corpus": "made up", "clips": 2, "hours": 0.5}
    assert (tmp_path / "new" / "corpus" / "metadata.csv").read_text() == "a|text\n"


def test_a_complete_corpus_is_not_built_again(tmp_path):
    build_once(tmp_path / "corpus", RECIPE, build)
    assert build_once(tmp_path / "corpus", RECIPE, must_not_build) == tmp_path / "corpus"


def test_an_empty_folder_is_filled(tmp_path):
    build_once(tmp_path, RECIPE, build)
    assert (tmp_path / "recipe.json").exists()


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def fail(part):
        build(part)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        build_once(tmp_path / "corpus", RECIPE, fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recipe", [None, "not JSON", "[]", '{"corpus": "made up", "clips": 3}'])
def test_a_folder_with_anything_else_is_refused_and_kept(tmp_path, recipe):
    (tmp_path / "precious.wav").write_text("voice")
    if recipe is not None:
        (tmp_path / "recipe.json").write_text(recipe)
    with pytest.raises(CorpusError, match=r"already holds something else.*'clips': 2.*choose another folder"):
        build_once(tmp_path, RECIPE, must_not_build)
    assert (tmp_path / "precious.wav").read_text() == "voice"


def test_a_file_in_the_place_of_the_folder_is_refused_and_kept(tmp_path):
    (tmp_path / "corpus").write_text("precious")
    with pytest.raises(CorpusError, match="already holds something else"):
        build_once(tmp_path / "corpus", RECIPE, must_not_build)
    assert (tmp_path / "corpus").read_text() == "precious"


def test_two_processes_may_build_the_same_corpus(tmp_path):
    def slow(part):
        build_once(tmp_path / "corpus", RECIPE, build)
        return {"hours": 9.9}

    build_once(tmp_path / "corpus", RECIPE, slow)
    assert json.loads((tmp_path / "corpus" / "recipe.json").read_text())["hours"] == 0.5
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


MAKER = """
import sys, time
from pathlib import Path
from model.data.staging import being_made
with being_made(Path(sys.argv[1])) as part:
    (part / "half").touch()
    print("begun", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_maker_left_is_removed_by_the_next_one_and_what_a_live_one_makes_is_not(tmp_path):
    others = [".hidden", ".smart-tuner-archives", ".smart-tuner-makes-", ".smart-tuner-makes-voice-abcdefgh"]
    for name in others:  # a user's own, or of something else
        (tmp_path / name / "runs").mkdir(parents=True)
    call = [sys.executable, "-c", MAKER, str(tmp_path / "corpus")]
    with subprocess.Popen(call, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE) as maker:
        maker.stdout.readline()
        with being_made(tmp_path / "corpus"):
            assert len(list(tmp_path.glob(f"{PREFIX}*/corpus/half"))) == 1
            maker.kill()
            maker.wait()
            build_once(tmp_path / "corpus", RECIPE, build)
            assert len(list(tmp_path.glob(f"{PREFIX}corpus-*"))) == 1  # our own
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "corpus"])
    assert all((tmp_path / name / "runs").is_dir() for name in others)
