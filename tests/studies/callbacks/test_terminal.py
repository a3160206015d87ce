"""What a person sees while a study runs, on a terminal of any width."""

import io
import re
import time

import pytest
from rich.console import Console

from model.training import StepMeasures
from objectives.tacotron2 import Measured, Plan
from studies.callbacks.terminal import Terminal
from studies.file.spec import load

PLAN = Plan(40_000, 2000, 500, (), frozenset(), 100, "Hello.", "cpu")
CLOCK = r"(\d+ d )?\d+:\d\d:\d\d"


def step(number, seconds=0.5):
    names = {name: 0.1234 for name in StepMeasures.__dataclass_fields__}
    return StepMeasures(**{**names, "step": number, "seconds": seconds, "clips": {}, "groups": None})


def measured(number):
    names = dict.fromkeys(Measured.__dataclass_fields__, 0.875)
    return Measured(**{**names, "step": number, "value": 5.37, "failures": {}})


class Screen:
    """A terminal, and what it showed last."""

    def __init__(self, width):
        self.file = io.StringIO()
        console = Console(file=self.file, width=width, force_terminal=True, color_system=None)
        self.terminal = Terminal(console)

    def rows(self):
        """The bars, as they stand below the newest line."""
        self.terminal._bars.refresh()  # as its own thread does ten times a second
        self.terminal.warned("here")
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.file.getvalue())
        found = text.rpartition("here")[2].splitlines()
        return {row.split()[0]: row for row in found if row.strip()}


@pytest.mark.parametrize("width", [120, 80, 60, 44])
def test_step_plan_and_time_left_of_the_trial_and_of_the_study_are_there_at_any_width(width):
    screen = Screen(width)
    spec = load("quickstart").model_copy(update={"name": "a-long-name-of-a-study-about-a-voice"})
    with screen.terminal as terminal:
        terminal.study(3, spec, 5.37)
        terminal.trial_started(3, {}, PLAN, 0)
        for number in (12_300, 12_301):
            terminal.stepped(step(number))
        terminal.measured(measured(12_301))
        terminal.stepped(step(12_302))
        rows = screen.rows()
    assert all(len(row) <= width for row in rows.values()) and rows.keys() == {"study", "trial"}
    assert re.search(rf"12302/40000 +{CLOCK} left", rows["trial"])
    assert re.search(rf"3/8 +{CLOCK} left", rows["study"])
    left = (40_000 - 12_302) / 2
    assert f"{left // 3600:.0f}:{left % 3600 // 60:02.0f}:{left % 60:02.0f} left" in rows["trial"]
    if width >= 80:
        assert "5.37 dB" in rows["trial"] and "best 5.37 dB" in rows["study"]


def test_the_study_s_time_left_is_told_by_the_trials_that_went_before():
    screen, spec = Screen(80), load("quickstart")
    with screen.terminal as terminal:
        terminal.study(0, spec, None)
        time.sleep(0.05)
        terminal.study(4, spec, None)  # pruned at once, all of them
        terminal.trial_started(4, {}, PLAN, 0)
        terminal.stepped(step(39_998, seconds=2.0))
        assert "0:00:04 left" in screen.rows()["study"]  # of this one's last steps


def test_the_check_of_clips_says_how_many_of_how_many():
    screen = Screen(60)
    with screen.terminal as terminal:
        terminal.progress("checking clips", 3, 10)
        assert re.search("3/10", screen.rows()["data"])
        terminal.progress("checking clips", 10, 10)
        assert screen.rows() == {}
