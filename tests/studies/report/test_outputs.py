"""What a command writes lies where it was told, in the format of the ending, or nothing is done at all."""

import json
import os
import re
import shutil
from contextlib import closing
from dataclasses import replace
from io import BytesIO

import pytest
import soundfile
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model import checkpoint
from model.network.tacotron2 import Tacotron2
from model.settings import SIZES, Settings
from model.speech.audio import MelSettings
from model.speech.text import FRONT_ENDS
from model.speech.voice import Voice, load_voice, save_voice
from objectives.base import Measured
from run_study import cli, main
from smart_tuner.notify.telegram.client import account
from smart_tuner.store.storage import open_storage
from studies.file.spec import FOLDER, Spec, load
from studies.report.outputs import SOUNDS
from studies.run.artifacts import Artifacts, ArtifactsError
from studies.run.study import open_study

MEASURED = Measured(7, 9.0, 5.0, {"aligned_share": 1.0, "failure_share": 0.0}).record()

RECORDED = {"source": "folder", "path": "/home/somebody/speech"}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """With a study, whose trial 0 has a voice that was never trained, and trial 1 none."""
    workdir, front_end = tmp_path_factory.mktemp("home"), FRONT_ENDS["en"]
    torch.manual_seed(0)
    model = Tacotron2(replace(SIZES["tiny"], n_symbols=len(front_end.symbols))).eval()
    voice = Voice(model, front_end, MelSettings(), Settings(n_frames_per_step=4))
    with closing(open_storage(f"sqlite:///{workdir / 'study.db'}")) as storage:
        data = load("quickstart").model_dump(mode="json") | {"corpus": RECORDED}
        study = open_study(Spec.parse(data, "here.toml"), storage)
        trial = study.ask()
        trial.set_user_attr("measures", [MEASURED])
        study.set_user_attr("yardstick", {"cap": 15.0, "ceiling": 5.0})
        study.set_user_attr("corpus", "made-up")
        study.tell(trial, 9.0)
        study.ask()
    folder = workdir / "studies" / "quickstart" / "trial-0000"
    folder.mkdir(parents=True)
    checkpoint.write(folder, 7, lambda target: save_voice(voice, target))
    return workdir


@pytest.fixture
def run(workdir, tmp_path, monkeypatch):
    """A command on that study, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(["--home", str(workdir), *arguments])


@pytest.mark.parametrize("ending", SOUNDS)
def test_the_ending_chooses_the_format_and_nothing_else_is_written(run, tmp_path, ending):
    neighbours = ["said.png", "said.tmp.wav", "said.wav.tmp"]
    for name in neighbours:
        (tmp_path / name).write_text("a photograph")
    assert run("speak", "quickstart", "hi", "-o", f"new/../said{ending.upper()}") == 0
    found = soundfile.info(tmp_path / f"said{ending.upper()}")
    assert (found.format, found.subtype) == SOUNDS[ending]
    assert found.frames > 0
    kept = {path.name: path for path in tmp_path.iterdir()}
    assert kept.keys() == {*neighbours, "new", f"said{ending.upper()}"}
    assert all(kept[name].read_text() == "a photograph" for name in neighbours)


def test_a_dash_is_stdout_and_all_else_goes_to_stderr(run, tmp_path, capfdbinary):
    assert run("speak", "quickstart", "hi", "-o", "-", "--picture", "a.png") == 0
    said, aside = capfdbinary.readouterr()
    sound = soundfile.info(BytesIO(said))
    assert (sound.format, sound.samplerate, len(said)) == ("WAV", 22050, 44 + 2 * sound.frames)
    assert aside.startswith(b"a.png\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["speak", "nobody", "hi", "-o", "take1.5"],
            r'"take1\.5" says no format.*\.wav.*\.flac.*\.mp3.*- for',
        ),
        (["speak", "nobody", "hi", "-o", "voice"], "says no format"),
        (["speak", "nobody", "hi", "-o", "voice.png"], "says no format"),
        (["speak", "nobody", "hi", "-o", "a file/voice.wav"], "no folder"),
        (["speak", "nobody", "hi", "-o", "/proc/none/voice.wav"], "no folder"),
        (["speak", "nobody", "hi", "--picture", "-"], r"\.png"),
        (["report", "nobody", "-o", "story.pdf"], r"\.html.*\.md"),
        (["start", "nobody", "--launch", "kubernetes", "--jobs", "1", "-o", "a file/job.yaml"], "no folder"),
        (["start", "nobody", "--launch", "kubernetes", "--jobs", "1", "-o", "job.txt"], r"\.yaml or \.yml"),
        (["export", "quickstart", "-o", "a file"], "exists already"),
        (["export", "quickstart", "-o", "-"], "several files"),
    ],
)
def test_where_nothing_can_be_written_the_call_is_refused_before_any_work(
    run, tmp_path, capsys, arguments, said
):
    (tmp_path / "a file").write_text("mine")
    assert run(*arguments) == 2
    assert re.search(said, capsys.readouterr().err.replace("\n", " "))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_report_goes_to_the_file_or_to_stdout(run, tmp_path, capsys):
    assert run("report", "quickstart", "-o", "new/story.md") == 0
    capsys.readouterr()
    assert run("report", "quickstart", "-o", "-") == 0
    assert capsys.readouterr().out == (tmp_path / "new" / "story.md").read_text("utf-8")


def test_an_exported_voice_is_whole_or_not_there(run, workdir, tmp_path, capsys):
    assert run("export", "quickstart", "--trial", "1", "-o", "voices/b") == 2
    assert "never measured" in capsys.readouterr().err
    assert not (tmp_path / "voices" / "b").exists()
    assert run("export", "quickstart", "-o", "voices/b") == 0
    assert load_voice(tmp_path / "voices" / "b").mel_settings.sample_rate == 22050
    origin = json.loads((tmp_path / "voices" / "b" / "origin.json").read_text("utf-8"))
    assert origin["spec"]["corpus"]["path"] == "speech"  # whose folder it was is nobody's business


# A text that begins with a dash

WITH_DASH = st.one_of(
    st.from_regex(r"-[^\S\n][^\n]*", fullmatch=True),
    st.from_regex(r"-[0-9–—.,а-яё]+( [a-z]+)*", fullmatch=True),
    st.from_regex(r"-[a-np-z]+( -?[a-zа-я]+)+", fullmatch=True),
    st.from_regex(r"-o[a-z]* [a-z ]+", fullmatch=True),
    st.text().filter(lambda text: not text.startswith("-")),
)
GIVEN = [[], ["--trial", "3"], ["--trial=3"], ["-o", "a.wav"], ["-o", "-"], ["-oa.wav"], ["--output=a.wav"]]


@settings(max_examples=50)
@given(WITH_DASH, st.lists(st.sampled_from(GIVEN), max_size=2), st.integers(0, 2))
@example("- да", [["-o", "-"]], 2)
@example("-5 hours", [], 0)
@example("-one two", [["--trial", "3"]], 1)
def test_a_text_may_begin_with_a_dash_wherever_the_options_stand(text, options, place):
    words = ["quickstart", text]
    given = [word for option in options for word in option]
    arguments = words[:place] + given + words[place:]
    found = cli.commands["speak"].make_context("speak", arguments).params
    assert (found["name"], found["text"]) == ("quickstart", text)
    assert found["trial"] == (3 if any("trial" in word for word in given) else None)
    assert cli.commands["speak"].make_context("speak", [*given, "--", *words]).params == found


@pytest.mark.parametrize("arguments", [["--tiral", "3", "hi"], ["-x", "hi"], ["hi", "--trial", "-1"]])
def test_what_has_the_form_of_an_option_is_none_of_the_text(run, capsys, arguments):
    assert run("speak", "quickstart", *arguments) == 2
    assert re.search("No such option|--trial", capsys.readouterr().err)


# ~


def test_a_tilde_is_a_home_where_no_shell_has_made_it_one(workdir, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SMART_TUNER_HOME", "~/runs")
    monkeypatch.setenv("OPTUNA_STORAGE", "sqlite:///~/runs/study.db")
    monkeypatch.chdir(workdir)
    shutil.copytree(workdir, tmp_path / "runs")
    before = sorted(workdir.rglob("*"))
    assert main(["export", "quickstart", "--output=~/voice"]) == 0
    assert (tmp_path / "voice" / "voice.json").is_file()
    for address in ("file://~/a", "file:///~/b", "file:~/c"):
        Artifacts.at(address)
    assert {"a", "b", "c"} <= set(os.listdir(tmp_path))
    with pytest.raises(ArtifactsError):
        Artifacts.at("file://~nobody-of-this-name/a")
    (tmp_path / "mine.toml").write_text((FOLDER / "quickstart.toml").read_text("utf-8"))
    assert load("~/mine.toml").name == "quickstart"
    token = "123456:" + 35 * "a"
    (tmp_path / "token").write_text(token, "utf-8-sig")
    (tmp_path / "token").chmod(0o600)
    assert account({"TELEGRAM_BOT_TOKEN_FILE": "~/token", "TELEGRAM_CHAT_ID": "1"}).token == token
    assert sorted(workdir.rglob("*")) == before


# NO_COLOR


@pytest.mark.parametrize(
    ("value", "plain"), [(None, False), ("", False), ("0", True), ("please", True), ("1", True)]
)
def test_no_color_with_any_value_that_is_not_empty_is_plain_text(tmp_path, monkeypatch, value, plain):
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    with cli.make_context("run_study.py", ["--home", str(tmp_path)]) as context:
        cli.invoke(context)
        assert context.obj.console.no_color is plain
    with cli.make_context("run_study.py", ["--home", str(tmp_path), "--no-color"]) as context:
        cli.invoke(context)
        assert context.obj.console.no_color is True
