"""A device that cannot be used, a reader who goes away, an installation that cannot be written."""

import json
import os
from contextlib import closing
from types import SimpleNamespace

import optuna
import pytest
import torch
from forked import CONTEXT
from rich.console import Console
from sqlalchemy import text

import run_study
from smart_tuner.store import attributes
from smart_tuner.store.storage import open_storage
from studies.callbacks.terminal import Terminal
from studies.file.spec import load
from studies.run import caches
from studies.run.signals import aside, to_nobody
from studies.run.study import open_study
from studies.run.training import device_for, devices_of, usable_device

AUTO_MEANS = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("device", ["cuda:97", "meta", "hpu"])
def test_a_device_that_cannot_be_used_is_refused_before_a_trial_is_taken(tmp_path, capsys, device):
    called = ["--home", str(tmp_path), "train", "quickstart", "--device", device]
    assert run_study.main(called) == 2
    what, why, to_do = capsys.readouterr().err.strip().splitlines()
    assert what == f'Cannot use the device "{device}".'
    assert why
    assert to_do.startswith("Give --device one of those that work here: cpu")
    with closing(open_storage(f"sqlite:///{tmp_path / 'study.db'}")) as storage:
        assert optuna.get_all_study_names(storage) == []  # none that would go on with it


@pytest.fixture
def begun_on(tmp_path):
    """Makes the study "quickstart", begun with a device; of None, as version 0.2 made it."""
    opened = []

    def begin(device):
        opened.append(open_storage(f"sqlite:///{tmp_path / 'study.db'}"))
        study = open_study(load("quickstart"), opened[0], device=device or "auto")
        if device is None:
            with opened[0].engine.begin() as connection:
                connection.execute(text("DELETE FROM study_user_attributes WHERE key = 'device'"))
        return study

    yield begin
    for storage in opened:
        storage.close()


@pytest.mark.parametrize("called", [["resume"], ["worker"], ["start"]])
def test_a_study_goes_on_only_where_the_device_is_that_it_began_with(tmp_path, capsys, begun_on, called):
    study = begun_on("cuda:97")
    assert run_study.main(["--home", str(tmp_path), *called, "quickstart"]) == 2
    what, why, to_do = capsys.readouterr().err.strip().splitlines()
    assert what == 'Cannot use the device "cuda:97" that "quickstart" began with.'
    assert why
    assert to_do.startswith("Give --device one of those that work here: cpu")
    assert study.get_trials() == []
    assert run_study.main(["--home", str(tmp_path), "status", "quickstart", "-f", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["device"] == "cuda:97"


@pytest.mark.parametrize(
    ("began", "given", "meant"),
    [("cpu", None, "cpu"), ("cuda:97", "cpu", "cpu"), (None, None, AUTO_MEANS), ("auto", None, AUTO_MEANS)],
)
def test_a_study_goes_on_with_the_device_it_began_with_unless_another_is_given(begun_on, began, given, meant):
    study = begun_on(began)
    assert device_for(study, given) == meant
    study = begun_on("cpu")  # again: what it began with stays
    assert attributes.device(study) == (began or "auto")


def read_by_nobody(said):
    """The rules, to a reader who has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 1)
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
    raise SystemExit(run_study.main(["rules", "quickstart"]))


def test_a_reader_who_goes_away_is_no_error(tmp_path):
    begun = CONTEXT.Process(target=read_by_nobody, args=(tmp_path / "said",))
    begun.start()
    begun.join()
    assert begun.exitcode == 1
    assert (tmp_path / "said").read_text() == ""
    unheard = CONTEXT.Process(target=fails_unheard, args=(tmp_path,))
    unheard.start()
    unheard.join()
    assert unheard.exitcode == 6


def fails_unheard(said):
    os.dup2(broken_pipe(), 2)
    raise SystemExit(run_study.main(["--home", "/proc/none", "list"]))


def broken_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def closed_terminal():
    terminal, ours = os.openpty()
    os.close(terminal)
    return ours


@pytest.mark.parametrize("lost", [broken_pipe, closed_terminal])
def test_a_display_that_nobody_sees_any_more_disturbs_nothing(lost):
    with os.fdopen(lost(), "w") as stream:
        console = Console(file=aside(stream), force_terminal=True)
        with Terminal(console) as terminal:
            terminal.progress("checking clips", 1, 2)
            for _ in range(3):
                terminal.warned("finishing the step and saving")
        assert os.readlink(f"/proc/self/fd/{stream.fileno()}") == os.devnull


def test_a_display_that_was_closed_from_the_start_is_none():
    with closing(aside(None)) as nobody:
        assert nobody.write("said to nobody") == 14


def test_a_full_disk_under_a_log_is_tried_again():
    with open("/dev/full", "w", buffering=1) as log:
        aside(log).write("no room\n")
        assert os.readlink(f"/proc/self/fd/{log.fileno()}") == "/dev/full"
        to_nobody(log.fileno())  # or closing it would fail


@pytest.fixture
def environment(monkeypatch):
    """Without the variables of the caches."""
    for name in caches.VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return os.environ


def test_where_neither_the_installation_nor_home_can_be_written_caches_are_in_the_workdir(
    tmp_path, environment
):
    caches.keep_in(tmp_path, [caches.Path("/proc"), caches.Path("/proc/none/.cache")])
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path / "cache" / "numba")
    assert environment["MPLCONFIGDIR"] == str(tmp_path / "cache" / "matplotlib")


def test_a_home_that_cannot_even_be_looked_at_is_none(tmp_path, environment):
    caches.keep_in(tmp_path, [caches.Path("/", "too long a name" * 30, ".cache")])
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path / "cache" / "numba")


@pytest.mark.parametrize("good", [0, 1])
def test_where_one_of_them_can_be_written_caches_stay_there(tmp_path, environment, good):
    places = [caches.Path("/proc"), caches.Path("/proc/none/.cache")]
    places[good] = tmp_path / "not yet" / "there"
    caches.keep_in(tmp_path, places)
    assert not set(caches.VARIABLES) & set(environment)


@pytest.mark.parametrize("shut", ["librosa", "model"])
def test_an_installation_of_which_a_part_cannot_be_written_is_none(monkeypatch, tmp_path, environment, shut):
    def found(name):
        folder = caches.Path("/proc") if name == shut else tmp_path
        return SimpleNamespace(origin=str(folder / name / "__init__.py"))

    monkeypatch.setattr(caches, "find_spec", found)
    monkeypatch.setenv("HOME", "/proc/none")
    caches.keep_in(tmp_path)
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path / "cache" / "numba")


def test_a_place_that_the_user_chose_stays(tmp_path, environment):
    environment["NUMBA_CACHE_DIR"] = "/elsewhere"
    caches.keep_in(tmp_path, [caches.Path("/proc")])
    assert environment["NUMBA_CACHE_DIR"] == "/elsewhere"


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [
        ("cpu", 4, ["cpu"] * 3),
        ("cuda", 1, ["cuda"] * 3),
        ("cuda", 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda:1", 2, ["cuda:1"] * 3),
    ],
)
def test_workers_take_one_gpu_after_the_other(monkeypatch, device, gpus, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert devices_of(device, 3) == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_cpu_is_meant():
    assert usable_device("auto") == "cpu"
