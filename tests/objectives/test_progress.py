"""The file that tells what a running trial does."""

import json
import math

from model.training import StepMeasures
from objectives import progress
from objectives.progress import LIVE, MOST_POINTS, Progress


def step(number, mel=1.0):
    return StepMeasures(number, 2.0, mel, 1.0, 0.5, 0.25, 1.0, 1e-3, 0.1, {})


def told(folder):
    return json.loads((folder / LIVE).read_text())


def test_the_newest_step_is_told_with_what_is_left(tmp_path):
    Progress(tmp_path).stepped(step(7, mel=0.123456), 400, 0.5)
    found = told(tmp_path)
    assert (found["step"], found["target"], found["mel_l1"]) == (7, 400, 0.12346)
    assert (found["off_diagonal"], found["diagonal_score"], found["step_seconds"]) == (0.25, 0.5, 0.1)
    assert found["curve"] == [[7, 0.12346, 0.25]]
    assert [file.name for file in tmp_path.iterdir()] == [LIVE]


def test_what_is_not_finite_is_missing(tmp_path):
    Progress(tmp_path).stepped(step(1, mel=math.nan), 400, None)
    assert told(tmp_path)["mel_l1"] is None
    assert told(tmp_path)["diagonal_score"] is None


def test_a_long_curve_is_thinned_and_one_that_goes_back_begins_there_again(tmp_path, monkeypatch):
    live = Progress(tmp_path)
    for number in range(1, 5000):
        live.stepped(step(number), 5000, None)
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    live.stepped(step(5000), 5000, None)
    steps = [point[0] for point in told(tmp_path)["curve"]]
    assert MOST_POINTS // 2 <= len(steps) <= MOST_POINTS
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1] > 4900) == (1, True)
    again = Progress(tmp_path)
    again.stepped(step(1000), 5000, None)
    steps = [point[0] for point in told(tmp_path)["curve"]]
    assert steps[-1] == 1000
    assert steps[0] == 1


def test_a_folder_that_is_gone_is_no_fault_of_the_training(tmp_path):
    Progress(tmp_path / "gone").stepped(step(1), 400, None)
