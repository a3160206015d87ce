"""The file that tells what a running trial does."""

import json
import math

import pytest

from objectives import progress
from objectives.progress import LIVE, MOST_POINTS, Progress

CURVES = ("loss", "error")


def step(live, number, target=400, **signals):
    live.stepped(number, 0.1, {"loss": 1.0, "error": 0.25, **signals}, target, CURVES)


def told(folder):
    return json.loads((folder / LIVE).read_text())


def test_the_newest_step_is_told_with_what_is_left(tmp_path):
    step(Progress(tmp_path), 7, loss=0.123456, accuracy=0.5, **{"gradient/decoder": 2.0})
    found = told(tmp_path)
    assert (found["step"], found["target"], found["step_seconds"]) == (7, 400, 0.1)
    assert found["signals"] == {"loss": 0.12346, "error": 0.25, "accuracy": 0.5}
    assert found["curve"] == [[7, 0.12346, 0.25]]
    assert found["curves"] == ["loss", "error"]
    assert [file.name for file in tmp_path.iterdir()] == [LIVE]


def test_what_is_not_finite_or_not_there_is_missing(tmp_path):
    Progress(tmp_path).stepped(1, 0.1, {"loss": math.nan}, 400, CURVES)
    assert told(tmp_path)["signals"] == {"loss": None}
    assert told(tmp_path)["curve"] == [[1, None, None]]


@pytest.mark.parametrize("curves", [(), ("loss",), ("loss", "error", "other")])
def test_a_curve_has_as_many_values_as_the_objective_wants_plotted(tmp_path, curves):
    Progress(tmp_path).stepped(1, 0.1, {"loss": 1.0, "error": 2.0, "other": 3.0}, 400, curves)
    assert told(tmp_path)["curve"] == [[1, 1.0, 2.0, 3.0][: 1 + len(curves)]]


def test_a_long_curve_is_thinned_and_one_that_goes_back_begins_there_again(tmp_path, monkeypatch):
    live = Progress(tmp_path)
    for number in range(1, 5000):
        step(live, number, 5000)
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    step(live, 5000, 5000)
    steps = [point[0] for point in told(tmp_path)["curve"]]
    assert MOST_POINTS // 2 <= len(steps) <= MOST_POINTS
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1] > 4900) == (1, True)
    step(Progress(tmp_path), 1000, 5000)
    steps = [point[0] for point in told(tmp_path)["curve"]]
    assert steps[-1] == 1000
    assert steps[0] == 1


SPOILT = ("", "[]", "{}", *(f'{{"curve": {curve}}}' for curve in ("null", "[1]", "[[]]", '[["a", 1]]')))


@pytest.mark.parametrize("text", SPOILT)
def test_a_file_that_others_spoilt_is_written_anew(tmp_path, text):
    (tmp_path / LIVE).write_text(text)
    step(Progress(tmp_path), 3)
    assert told(tmp_path)["curve"] == [[3, 1.0, 0.25]]


def test_a_folder_that_is_gone_is_no_fault_of_the_training(tmp_path):
    step(Progress(tmp_path / "gone"), 1)
