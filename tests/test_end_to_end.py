"""What a user does, by the command line, on a study of the quickstart's kind made small."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import closing
from pathlib import Path

import forked
import numpy as np
import optuna
import pytest
import soundfile
from small_study import QUICK, STUDY, changed
from small_vocoder import small_vocoder

from dashboards.synthesis.client import SynthesisClient, in_child
from model.settings import VOCODER
from objectives.ear import VARIABLE as EAR
from smart_tuner.store.storage import open_storage
from studies.file.sections import NoPruner
from studies.file.spec import Spec
from studies.report.voices import READINGS
from studies.run.study import open_study

PROGRAM = str(Path(__file__).parent.parent / "run_study.py")


class Home:
    """A user's folder with the study file in it, and the program to run there."""

    def __init__(self, folder, cache):
        self.folder = folder
        (folder / "small.toml").write_text(STUDY)
        # the corpus is spoken once for all tests
        if cache is not None:
            (folder / "runs").mkdir()
            (folder / "runs" / "corpora").symlink_to(cache)

    def run(self, *arguments, code=0):
        done = forked.run(PROGRAM, arguments, self.folder)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def begin(self, *arguments):
        return forked.Begun(PROGRAM, arguments, self.folder, {**os.environ})

    def begin_anew(self, *arguments):
        """A process of its own, which imports everything."""
        return subprocess.Popen(
            [sys.executable, PROGRAM, *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def values(self):
        return [row["value"] for row in json.loads(self.run("trials", "small", "-f", "json").stdout)]


def finish(folder):
    """Run the small study to its end, with what it says in two files beside it."""
    begun = Home(folder, None).begin_anew("start", "small.toml")
    for name, said in zip(("out", "err"), begun.communicate(), strict=True):
        (folder / name).write_text(said)
    assert begun.returncode == 0, said


@pytest.fixture(scope="session")
def finished(once):
    workdir = Home(once("finished", finish), None)
    workdir.stdout, workdir.stderr = ((workdir.folder / name).read_text() for name in ("out", "err"))
    return workdir


@pytest.fixture
def workdir(tmp_path, finished):
    return Home(tmp_path, finished.folder / "runs" / "corpora")


def copied(home, finished):
    for name in ("studies", "study.db"):
        subprocess.run(["cp", "-r", finished.folder / "runs" / name, home.folder / "runs"], check=True)
    return home


@pytest.fixture
def again(workdir, finished):
    """A copy of the finished study, to go on with."""
    return copied(workdir, finished)


def test_a_study_ends_with_its_trials_a_voice_a_picture_and_what_to_do_next(finished):
    shown = finished.stdout
    assert "Best: trial" in shown
    assert "run_study.py speak small" in shown
    assert "run_study.py start small.toml --n-trials 10    search on" in shown
    assert "no speech yet" in shown  # after 12 steps
    assert "was chosen as the best of 2, and not repeated" in shown
    assert "copy-synthesis" in shown
    sample = finished.folder / shown.split("sound:")[1].split()[0]
    sound, rate = soundfile.read(sample)
    assert rate == 22050
    assert np.abs(sound).max() > 0.01
    assert sample.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "speaking the corpus" in finished.stderr
    assert "step 12" in finished.stderr


def test_results_come_as_json_in_optunas_names(finished):
    best = json.loads(finished.run("best", "small", "-f", "json").stdout)
    assert best.keys() >= {"number", "value", "datetime_start", "duration", "params", "state"}
    assert np.isfinite(best["value"])
    assert best["value"] == min(finished.values())
    measures = best["user_attrs"]["measures"]
    assert [m["step"] for m in measures] == [6, 12]
    assert best["value"] == min(m["value"] for m in measures)
    assert best["remarks"] and all(f"- {remark}\n" in finished.stdout for remark in best["remarks"])
    [study] = json.loads(finished.run("list", "-f", "json").stdout)
    assert (study["name"], study["n_trials"]) == ("small", 2)
    status = json.loads(finished.run("status", "small", "-f", "json").stdout)
    assert (status["trials"], status["consumed_steps"]) == ("2/2", 24)
    table = finished.run("trials", "small").stdout
    assert "params_learning_rate" in table


def test_a_met_budget_starts_nothing_and_a_raised_one_goes_on(again, finished):
    again.run("start", "small.toml")
    assert again.values() == finished.values()
    shown = again.run("resume", "small", "--n-trials", "3").stdout
    assert "run_study.py resume small --n-trials 11    search on" in shown
    assert again.values()[:2] == finished.values()
    assert len(again.values()) == 3


def test_the_same_seeds_give_the_same_values(workdir, finished):
    workdir.run("start", "small.toml")
    assert workdir.values() == finished.values()


def test_the_best_voice_speaks_a_new_text(finished, tmp_path):
    out = tmp_path / "said.wav"
    spoken = finished.run("speak", "small", "a new sentence of 2021", "-o", str(out))
    assert soundfile.info(out).frames > 0  # how long is for a trained voice to know
    assert "Spoken by rule: a new sentence of twenty twenty-one" in spoken.stderr
    refused = finished.run("speak", "small", "привет", "-o", str(out), code=2)
    assert "U+043F" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_voice_sounds_by_the_vocoder_that_is_named_and_says_which(again, tmp_path):
    generator = small_vocoder(tmp_path / "public")
    for named, vocoder in (("griffin-lim", "Griffin-Lim"), (str(generator), "HiFi-GAN (generator)")):
        said = again.run(
            "--vocoder", named, "speak", "small", "a dog", "-o", str(tmp_path / f"{vocoder}.wav")
        )
        assert f"Sound: {vocoder}." in said.stderr
    one, other = (soundfile.read(tmp_path / f"{n}.wav")[0] for n in ("Griffin-Lim", "HiFi-GAN (generator)"))
    assert len(one) == len(other) and not np.allclose(one, other)
    (generator.parent / "config.json").unlink()
    refused = again.run("--vocoder", str(generator), "speak", "small", "a dog", code=2)
    assert "config.json" in refused.stderr and "Traceback" not in refused.stderr


def test_a_study_names_its_vocoder_and_a_wrong_one_is_refused_before_a_trial(workdir, monkeypatch):
    monkeypatch.delenv(VOCODER)
    generator = small_vocoder(workdir.folder / "public")
    file = workdir.folder / "small.toml"
    file.write_text(f'{QUICK}\n[speech]\nvocoder = "public/generator"\n')
    (generator.parent / "config.json").rename(generator.parent / "other.json")
    refused = workdir.run("start", "small.toml", code=2)
    assert f"Cannot use the vocoder {generator}." in refused.stderr and "Traceback" not in refused.stderr
    assert json.loads(workdir.run("trials", "small", "-f", "json").stdout) == []
    (generator.parent / "other.json").rename(generator.parent / "config.json")
    begun = workdir.run("start", "small.toml")
    assert "samples get their sound by HiFi-GAN (generator)" in begun.stderr
    assert "Sound: HiFi-GAN (generator)." in workdir.run("speak", "small", "a dog").stderr
    file.write_text(QUICK)  # it may change
    workdir.run("start", "small.toml")


def test_the_best_voice_is_listened_to_at_the_end_and_whenever_asked(workdir, whisper, monkeypatch):
    """It was hardly trained, so nobody understands it, and that is said."""
    monkeypatch.setenv(EAR, "/no/recognizer")
    (workdir.folder / "small.toml").write_text(QUICK)
    unheard = workdir.run("start", "small.toml")
    assert "Nothing can be heard" in unheard.stderr and "Understood" not in unheard.stdout
    monkeypatch.setenv(EAR, str(whisper))
    heard = workdir.run("start", "small.toml").stdout
    understood = r"Understood: \d+ of 100 letters \(recordings: \d+\)"
    assert re.search(rf"{understood}, predicted MOS \d.\d \(recordings: \d.\d\); not intelligible yet", heard)
    best = json.loads(workdir.run("best", "small", "-f", "json").stdout)
    assert best["intelligible"] is False and best["cer"] > best["recordings_cer"] + 0.15
    assert 0.0 <= best["recordings_cer"] < 0.5
    assert 1.0 <= best["mos"] < best["recordings_mos"] <= 5.0
    monkeypatch.setenv(EAR, "/no/recognizer")  # what is known is not listened to again
    assert "Nothing can be heard" not in workdir.run("start", "small.toml").stderr
    assert workdir.run("speak", "small", "a dog", "--check", code=2).stderr.startswith("Nothing can be heard")
    monkeypatch.setenv(EAR, str(whisper))
    said = workdir.run("speak", "small", "a dog sees a house", "--check", "-o", "a.wav").stderr
    assert "of 100 letters" in said and "Words that were lost: " in said and "the best of 4 readings" in said
    assert (workdir.folder / "a.wav").is_file()
    runs = workdir.folder / "runs"
    arguments = (f"sqlite:///{runs / 'study.db'}", runs)
    with closing(SynthesisClient(in_child, arguments)) as pages:
        heard = pages.speak("small", None, "a dog sees a house")["heard"]
        assert heard["lost"] and heard["readings"] == READINGS
    monkeypatch.setenv(EAR, "no-such-name")  # which is not fetched while somebody waits for a sentence
    with closing(SynthesisClient(in_child, arguments)) as pages:
        assert pages.speak("small", None, "a dog")["heard"] is None


def test_an_exported_voice_speaks_without_its_study(finished, tmp_path):
    from model.speech.voice import load_voice

    finished.run("export", "small", "--trial", "0", "-o", str(tmp_path / "voice"))
    assert len(load_voice(tmp_path / "voice").speak("the dog").mel) > 0
    origin = json.loads((tmp_path / "voice" / "origin.json").read_text("utf-8"))
    assert (origin["study"], origin["trial"]) == ("small", 0)
    finished.run("export", "small", "--trial", "0", "-o", str(tmp_path / "voice"), code=2)


def test_a_report_tells_the_story(finished):
    text = finished.run("report", "small").stdout
    for part in ("Does the whole chain hold?", "## Best: trial", "| number |", "12: "):
        assert part in text


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_trial_and_resume_ends_as_if_it_never_came(workdir, finished, number, code):
    running = workdir.begin("start", "small.toml")
    wait_for(workdir, running, lambda: list(workdir.folder.glob("runs/studies/small/trial-*/ckpt-*[0-9]")))
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert running.returncode == code, said
    assert "run_study.py resume small" in said
    (workdir.folder / "small.toml").unlink()
    assert "goes on from step" in workdir.run("resume", "small").stderr or len(workdir.values()) == 2
    assert workdir.values() == finished.values()


def test_a_killed_trial_goes_on_as_the_same_trial_with_the_same_value(workdir, finished):
    running = workdir.begin_anew("start", "small.toml")
    wait_for(workdir, running, lambda: list(workdir.folder.glob("runs/studies/small/trial-*/ckpt-*[0-9]")))
    running.kill()
    running.communicate()
    workdir.run("resume", "small")
    assert workdir.values() == finished.values()


def test_voices_that_were_paused_are_those_of_straight_trainings(workdir):
    """Their weights, in which every dropout mask, batch and moment of the optimizer is."""
    frozen = changed(STUDY, measure_every=4, trials=3, name='"frozen"') + '[search]\nmethod = "freeze-thaw"\n'
    (workdir.folder / "frozen.toml").write_text(frozen)
    said = workdir.run("start", "frozen.toml")
    assert "is paused at step 4, and may go on later" in said.stderr
    trials = json.loads(workdir.run("trials", "frozen", "-f", "json").stdout)
    status = json.loads(workdir.run("status", "frozen", "-f", "json").stdout)
    assert status["consumed_steps"] == status["most_steps"] == 36 and status["paused"] is None
    assert len(trials) > 3 and {trial["state"] for trial in trials} == {"COMPLETE", "PRUNED"}
    assert "Best: trial" in said.stdout

    spec = Spec.parse(tomllib.loads(changed(STUDY, measure_every=4, trials=len(trials))), "straight")
    with closing(open_storage(f"sqlite:///{workdir.folder / 'runs' / 'study.db'}")) as storage:
        study = open_study(spec.model_copy(update={"pruner": NoPruner()}), storage)
        for trial in trials:
            params = {k.removeprefix("params_"): v for k, v in trial.items() if k.startswith("params_")}
            study.enqueue_trial(params or trial["params"])
    workdir.run("resume", "small")
    paused = [n for n, trial in enumerate(trials) if len(trial["user_attrs"]["measures"]) > 1]
    assert paused
    for number in paused:
        one, other = (weights(workdir.folder, name, number) for name in ("frozen", "small"))
        assert one.keys() & other.keys()
        assert all(one[step] == other[step] for step in one.keys() & other.keys())


def weights(folder, study, number):
    """Those of each checkpoint that a trial kept, by its step."""
    [place] = (folder / "runs" / "studies" / study).glob(f"trial-{number:04d}*")
    return {path.name: (path / "model.safetensors").read_bytes() for path in place.glob("ckpt-*[0-9]")}


def test_a_study_is_paused_and_stopped_through_the_database(workdir, finished):
    (workdir.folder / "small.toml").write_text(changed(STUDY, trials=3))
    running = workdir.begin("start", "small.toml")
    wait_for(workdir, running, lambda: list(workdir.folder.glob("runs/studies/small/trial-*/ckpt-*[0-9]")))
    assert "resume small" in workdir.run("pause", "small").stdout
    _, heard = running.communicate(timeout=240)
    assert running.returncode in (0, 1), heard  # 1: nothing was complete yet
    assert "the study was asked to pause" in heard
    before = workdir.values()
    assert None not in before
    assert len(before) < 3
    assert "asked its workers to pause" in workdir.run("start", "small.toml", code=2).stderr
    workdir.run("worker", "small")
    assert workdir.values() == before
    workdir.run("resume", "small")
    assert len(workdir.values()) == 3
    assert workdir.values()[:2] == finished.values()
    workdir.run("stop", "small")
    assert "asked its workers to stop" in workdir.run("start", "small.toml", code=2).stderr


def wait_for(workdir, running, found):
    deadline = time.monotonic() + 120
    while not found():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_healthy_study_has_no_repairs_and_says_so(finished):
    assert finished.run("fixes", "small", "--explain").stdout.strip() == "Nothing was repaired."
    assert json.loads(finished.run("fixes", "small", "-f", "json").stdout) == []
    best = json.loads(finished.run("best", "small", "-f", "json").stdout)
    assert best["best_unassisted"] == best["number"]
    assert best["best_assisted"] is None


def test_a_study_without_fixes_is_another_study(workdir):
    (workdir.folder / "small.toml").write_text(QUICK)
    workdir.run("start", "small.toml", "--no-fixes")
    [study] = json.loads(workdir.run("list", "-f", "json").stdout)
    assert study["name"] == "small-no-fixes"
    assert workdir.run("fixes", "small-no-fixes", "--explain").stdout.strip() == "Nothing was repaired."


def test_the_rules_of_a_study_are_shown_with_its_thresholds(workdir):
    (workdir.folder / "small.toml").write_text(
        STUDY + "[rules.thresholds.poor_alignment]\nmin_diagonal_score = 0.45\n"
    )
    assert "`min_diagonal_score` 0.45" in workdir.run("rules", "small.toml").stdout
    (workdir.folder / "small.toml").write_text(STUDY + "[rules.thresholds.poor_alinment]\nx = 1\n")
    refused = workdir.run("rules", "small.toml", code=2)
    assert "rules.thresholds.poor_alinment" in refused.stderr
    assert "poor_alignment" in refused.stderr


FINISH = 36  # steps


@pytest.fixture(scope="session")
def trained_on(once, finished):
    """The finished study, whose best trial is then trained on."""

    def finish_it(folder):
        home = copied(Home(folder, finished.folder / "runs" / "corpora"), finished)
        (folder / "out").write_text(home.run("resume", "small", "--finish", str(FINISH)).stdout)

    home = Home(once("trained-on", finish_it), None)
    home.stdout = (home.folder / "out").read_text()
    return home


def test_the_best_trial_is_trained_on_at_the_end(trained_on, finished):
    assert "run_study.py start small.toml --finish 72    train the best trial on" in finished.stdout
    assert "--finish" not in trained_on.stdout
    before = json.loads(finished.run("best", "small", "-f", "json").stdout)
    trial = json.loads(trained_on.run("trials", "small", "-f", "json").stdout)[2]
    begun = min(before["user_attrs"]["measures"], key=lambda row: row["value"])
    measures, settings = trial["user_attrs"]["measures"], trial["user_attrs"]["settings"]
    assert (trial["params"], measures[0]) == (before["params"], before["user_attrs"]["measures"][0])
    assert begun in measures and measures[-1]["step"] == FINISH
    assert settings["decay_start_step"] >= begun["step"]
    assert {**settings, **before["params"]} == settings
    status = json.loads(trained_on.run("status", "small", "-f", "json").stdout)
    assert (status["trials"], status["complete"], status["running"]) == ("2/2", 2, 0)
    assert status["consumed_steps"] == 24 + FINISH - begun["step"]
    assert status["finish"] == f"trial 2 from trial {before['number']} to step {FINISH}: complete"


def test_the_best_trial_is_repeated_with_another_seed(again, finished):
    (again.folder / "small.toml").write_text(f"{STUDY}[search]\nrepeats = 1\n")
    shown = again.run("start", "small.toml").stdout
    best = json.loads(again.run("best", "small", "-f", "json").stdout)
    repeat = json.loads(again.run("trials", "small", "-f", "json").stdout)[2]
    assert best["value"] == min(finished.values())
    assert (repeat["params"], repeat["user_attrs"]["repeats"]) == (best["params"], best["number"])
    assert repeat["value"] == best["repeated_mean"]
    rows = [{**trial["user_attrs"]["measures"][-1], "seconds": 0} for trial in (best, repeat)]
    assert rows[0] != rows[1]
    assert f"- Repeated once with another seed, the settings of trial {best['number']} came out at" in shown
    status = json.loads(again.run("status", "small", "-f", "json").stdout)
    assert (status["trials"], status["repeats"]) == ("2/2", f"1 of trial {best['number']}")


def test_a_voice_that_is_trained_on_survives_a_kill(again, trained_on):
    running = again.begin("resume", "small", "--finish", str(FINISH))
    wait_for(again, running, lambda: list(again.folder.glob("runs/studies/small/trial-0002/ckpt-*20")))
    running.kill()
    running.communicate()
    again.run("resume", "small")
    assert again.values() == trained_on.values()


def test_one_training_takes_its_parameters_from_the_command_line(workdir):
    (workdir.folder / "small.toml").write_text(QUICK)
    shown = workdir.run(
        "train", "small.toml", "--param", "learning_rate=0.002", "--param", "batch_size=8"
    ).stdout
    assert "run_study.py start small.toml    search for better values" in shown
    assert "search on" not in shown
    [study] = json.loads(workdir.run("list", "-f", "json").stdout)
    [trial] = json.loads(workdir.run("trials", study["name"], "-f", "json").stdout)
    assert trial["user_attrs"]["settings"]["learning_rate"] == 0.002
    assert trial["user_attrs"]["settings"]["batch_size"] == 8
    wrong = workdir.run("train", "small.toml", "--param", "learning_rat=0.002", code=2)
    assert "learning_rate" in wrong.stderr


def test_a_study_begins_with_the_best_voice_of_another_and_keeps_it(again):
    begun = changed(QUICK, name='"begun"').replace(
        'size = "tiny"', 'size = "tiny"\nwarm_start = "study:small"'
    )
    (again.folder / "begun.toml").write_text(begun)
    said = again.run("start", "begun.toml").stderr
    assert "warm start: " in said and "0 skipped" in said
    cold = changed(QUICK, name='"cold"')
    (again.folder / "cold.toml").write_text(cold)
    again.run("start", "cold.toml")
    first, other = (json.loads(again.run("best", name, "-f", "json").stdout) for name in ("begun", "cold"))
    losses = [best["user_attrs"]["measures"][-1]["mel_l1"] for best in (first, other)]
    assert first["params"] == other["params"] and losses[0] != losses[1]
    optuna.delete_study(study_name="small", storage=f"sqlite:///{again.folder}/runs/study.db")
    assert "COMPLETE" in again.run("resume", "begun", "--n-trials", "2").stderr
    (again.folder / "lost.toml").write_text(changed(begun, name='"lost"'))
    lost = again.run("start", "lost.toml", code=2).stderr
    assert 'the best voice of study "small"' in lost and "Run first: run_study.py start small" in lost


def test_a_new_study_begins_with_the_best_start_that_is_there(again):
    corpus = next((again.folder / "runs" / "corpora").iterdir())
    command = ["--from", str(corpus), "--hours", "0.1", "--device", "cpu"]
    unlike = again.run("new", "unlike", *command, "--begin-with", "nobody", code=2).stderr
    assert 'no study "nobody"' in unlike and not (again.folder / "unlike.toml").exists()
    alone = again.run("new", "alone", *command).stdout
    assert "run_study.py start base-en" in alone and 'warm_start = "study:base-en"' in alone
    assert "warm_start" not in (again.folder / "alone.toml").read_text()
    again.run("new", "wanted", *command, "--begin-with", "small")
    [wanted] = [tomllib.loads((again.folder / "wanted.toml").read_text())]
    assert wanted["model"] == {"size": "small", "warm_start": "study:small"}
    with (
        closing(open_storage(f"sqlite:///{again.folder}/runs/study.db")) as storage,
        storage.ours.begin() as rows,
    ):
        rows.exec_driver_sql("UPDATE studies SET study_name = 'base-en' WHERE study_name = 'small'")
    assert 'the voice of study "base-en"' in again.run("new", "found", *command).stdout
    assert 'warm_start = "study:base-en"' in (again.folder / "found.toml").read_text()


def test_a_study_goes_on_where_the_voice_it_begins_with_is_only_in_the_store(again, tmp_path, finished):
    begun = changed(QUICK, name='"begun"').replace(
        'size = "tiny"', 'size = "tiny"\nwarm_start = "study:small:1"'
    )
    (again.folder / "begun.toml").write_text(begun)
    again.run("start", "begun.toml")
    whole = json.loads(again.run("trials", "begun", "-f", "json").stdout)

    (tmp_path / "killed").mkdir()
    killed = copied(Home(tmp_path / "killed", finished.folder / "runs" / "corpora"), finished)
    (killed.folder / "begun.toml").write_text(begun)
    store = tmp_path / "store"
    running = killed.begin("--artifacts", f"file://{store}", "start", "begun.toml")
    wait_for(killed, running, lambda: list(store.glob("*-0-*.tar")))
    running.kill()
    running.communicate()

    (tmp_path / "other").mkdir()
    other = Home(tmp_path / "other", finished.folder / "runs" / "corpora")
    for part in (killed.folder / "runs").glob("study.db*"):
        part.rename(other.folder / "runs" / part.name)
    lost = other.run("resume", "begun", code=2).stderr
    assert 'the voice of trial 1 of study "small"' in lost and "--artifacts" in lost
    other_store = other.run("--artifacts", f"file://{tmp_path}/empty", "resume", "begun", code=2).stderr
    assert "is not in the store any more" in other_store and "Give another --artifacts" in other_store
    [start] = store.glob("*-start-*.tar")
    kept = start.read_bytes()
    start.write_bytes(kept[:2000])
    damaged = other.run("--artifacts", f"file://{store}", "resume", "begun", code=2).stderr
    assert "is no whole archive" in damaged and "start from a machine that has it" in damaged
    start.write_bytes(kept)
    other.run("--artifacts", f"file://{store}", "resume", "begun")
    resumed = json.loads(other.run("trials", "begun", "-f", "json").stdout)
    assert [trial["value"] for trial in resumed] == [trial["value"] for trial in whole]
    assert (
        resumed[0]["user_attrs"]["measures"][-1]["mel_l1"] == whole[0]["user_attrs"]["measures"][-1]["mel_l1"]
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["best", "nothing"], 2, "There is no study"),
        (["start", "quickstar"], 2, "quickstart"),
        (["speak", "nothing", "hello"], 2, "There is no study"),
        (["data", "check", "nowhere"], 5, "metadata.csv"),
        (["--storage", "nonsense", "list"], 4, "storage URL"),
        (["--storage", "sqlite:////proc/none/x.db", "list"], 4, "Cannot open"),
        (["--home", "/proc/none", "list"], 6, "/proc/none"),
        (["nonsense"], 2, "No such command"),
        ([], 0, ""),
    ],
)
def test_errors_say_what_why_and_what_to_do(workdir, arguments, code, said):
    done = workdir.run(*arguments, code=code)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_study_whose_file_changed_is_refused_by_key(again):
    file = again.folder / "small.toml"
    file.write_text(file.read_text().replace("high = 4e-3", "high = 5e-3"))
    assert "space.learning_rate" in again.run("start", "small.toml", code=2).stderr


def test_a_damaged_checkpoint_is_told_and_never_speaks(finished, tmp_path):
    best = json.loads(finished.run("best", "small", "-f", "json").stdout)
    folder = finished.folder / "runs" / "studies" / "small" / f"trial-{best['number']:04d}"
    for weights in folder.glob("ckpt-*/model.safetensors"):
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    try:
        assert (
            "sha256" in finished.run("speak", "small", "hello", "-o", str(tmp_path / "x.wav"), code=1).stderr
        )
    finally:
        for weights in folder.glob("ckpt-*/model.safetensors"):
            content = bytearray(weights.read_bytes())
            content[-1] ^= 1
            weights.write_bytes(content)


def test_doctor_finds_this_installation_sound(workdir):
    if os.environ.get("VIRTUAL_ENV") is None and sys.prefix == sys.base_prefix:
        pytest.skip("not an installation by install.sh")
    done = workdir.run("doctor", "-f", "json")
    assert {row["state"] for row in json.loads(done.stdout)} == {"ok"}


def tone(seconds=1.0, rate=22050, channels=1, level=0.3):
    wave = level * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)
    return np.tile(wave[:, None], (1, channels))


def test_data_check_lists_every_kind_of_bad_row_with_its_reason(workdir):
    folder = workdir.folder / "mine"
    (folder / "wavs").mkdir(parents=True)
    good = [f"good_{i}" for i in range(30)]
    lines = [f"{name}|this is sentence {i}" for i, name in enumerate(good)]
    for i, name in enumerate(good):
        soundfile.write(folder / "wavs" / f"{name}.wav", tone(1.4 + i / 100), 22050)
    nan = tone()
    nan[100] = np.nan
    clips = {
        "too short": (tone(0.1), 22050),
        "too long": (tone(20.0), 22050),
        "silent audio": (tone(level=1e-5), 22050),
        "clipped audio": (np.clip(tone(level=3.0), -1, 1), 22050),
        "wrong sample rate": (tone(rate=8000), 8000),
        "not mono": (tone(channels=2), 22050),
        "not finite audio": (nan, 22050),
        "empty audio": (np.zeros((0, 1)), 22050),
        "odd speaking rate": (tone(9.0), 22050),
    }
    for i, (wave, rate) in enumerate(clips.values()):
        soundfile.write(folder / "wavs" / f"bad_{i}.wav", wave, rate, subtype="FLOAT")
        lines.append(f"bad_{i}|one more sentence {i}")
    (folder / "wavs" / "text.wav").write_text("this is no sound")
    soundfile.write(folder / "wavs" / "russian.wav", tone(), 22050)
    soundfile.write(folder / "wavs" / "nothing.wav", tone(1.2), 22050)
    lines += [
        "text|unreadable sound",
        "gone|no such file",
        "good_1|said twice",
        "../outside|a path",
        "nothing|",
        "just one column",
        "russian|Съешь же ещё",
    ]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", "utf-8")
    before = {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
    done = workdir.run("data", "check", str(folder), code=5)
    reasons = [*clips, "unreadable audio", "missing audio", "duplicate id", "bad id", "empty text"]
    for reason in (*reasons, "bad metadata line", "unknown characters"):
        assert f": {reason}: " in done.stdout, reason
    assert "U+0449" in done.stderr  # щ: no Cyrillic letter is dropped silently
    listing = workdir.folder / "runs" / "mine-check.txt"
    assert str(listing.relative_to(workdir.folder)) in done.stderr
    told = listing.read_text("utf-8").splitlines()
    assert sum(line.startswith("line ") for line in told) == len(clips) + 7
    assert {file: file.read_bytes() for file in before} == before


def test_a_few_bad_rows_are_skipped_counted_and_listed_and_training_goes_on(workdir, finished):
    folder = workdir.folder / "mine"
    corpus = next((finished.folder / "runs" / "corpora").iterdir())
    subprocess.run(["cp", "-r", str(corpus), str(folder)], check=True)
    with (folder / "metadata.csv").open("a") as metadata:
        metadata.write("gone|the cat has no sound.\n")
    study = QUICK.replace('source = "espeak"', 'source = "folder"\npath = "mine"').replace("clips = 60", "")
    study = study.replace("[settings]\n", "[settings]\nadam_beta2 = 0.5\n")
    (workdir.folder / "mine.toml").write_text(study.replace('"small"', '"mine"', 1))
    done = workdir.run("start", "mine.toml")
    assert "adam_beta2 = 0.5 is unusual: recipes that train well have 0.9 to 0.9999." in done.stderr
    assert "skipped, of 61 clips: 1 missing audio (gone)" in done.stderr
    assert "gone" in (workdir.folder / "runs" / "mine-problems.txt").read_text()
    status = json.loads(workdir.run("status", "mine", "-f", "json").stdout)
    assert status["skipped"] == "1 missing audio (gone), of 61 clips"


def test_cyrillic_text_is_never_dropped_silently(workdir, finished):
    folder = workdir.folder / "mine"
    corpus = next((finished.folder / "runs" / "corpora").iterdir())
    subprocess.run(["cp", "-r", str(corpus), str(folder)], check=True)
    lines = (folder / "metadata.csv").read_text("utf-8").splitlines()
    cyrillic = [f"{line.split('|')[0]}|Абракадабра номер {i}" for i, line in enumerate(lines)]
    (folder / "metadata.csv").write_text("\n".join(cyrillic), "utf-8")
    study = STUDY.replace('source = "espeak"', 'source = "folder"\npath = "mine"').replace("clips = 60", "")
    (workdir.folder / "small.toml").write_text(study)
    refused = workdir.run("start", "small.toml", code=5)
    assert "60 of 60 rows have unknown characters" in refused.stderr
    assert "U+0430" in refused.stderr
