"""What a person sees while a study runs, on a terminal of any width."""

import io
import re
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from objectives.attempt import Measured, Plan, Step
from objectives.tacotron2 import Tacotron2
from studies.callbacks.terminal import Terminal

PLAN = Plan(40_000, 2000, 500, (), frozenset(), 100)
CLOCK = r"(\d+ d )?\d+:\d\d:\d\d"


def step(number, seconds=0.5):
    return Step(number, seconds, {"loss": 0.1234, "unweighted_loss": 0.1234, "guided": 0.1234})


def measured(number):
    more = {"spread": 0.875, "aligned_share": 0.875, "diagonal_score": 0.875, "failures": {}}
    return Measured(number, 5.37, 0.875, more)


def begun(number):
    return SimpleNamespace(
        attempt=SimpleNamespace(trial=SimpleNamespace(number=number)),
        objective=Tacotron2(None, None, ""),
        parameters={},
        plan=PLAN,
        step=0,
    )


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


def test_a_value_has_its_unit_also_before_a_trial_begins_here():
    file = io.StringIO()
    terminal = Terminal(Console(file=file), "dB")
    terminal.ended(3, "COMPLETE", 4.2, "")
    terminal.ended(4, "COMPLETE", 0.00042, "")
    assert file.getvalue().splitlines() == ["trial 3 COMPLETE 4.20 dB", "trial 4 COMPLETE 0.00042 dB"]


@pytest.mark.parametrize("width", [120, 80, 60, 44])
def test_step_plan_and_time_left_of_the_trial_and_of_the_study_are_there_at_any_width(width):
    screen = Screen(width)
    with screen.terminal as terminal:
        terminal.progressed("a-long-name-of-a-study-about-a-voice", 3, 8, "5.37 dB")
        terminal.started(begun(3))
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
    screen = Screen(80)
    with screen.terminal as terminal:
        terminal.progressed("quickstart", 0, 8, "")
        time.sleep(0.05)
        terminal.progressed("quickstart", 4, 8, "")  # pruned at once, all of them
        terminal.started(begun(4))
        terminal.stepped(step(39_998, seconds=2.0))
        assert "0:00:04 left" in screen.rows()["study"]  # of this one's last steps


def test_the_check_of_clips_says_how_many_of_how_many():
    screen = Screen(60)
    with screen.terminal as terminal:
        terminal.progress("checking clips", 3, 10)
        assert re.search("3/10", screen.rows()["data"])
        terminal.progress("checking clips", 10, 10)
        assert screen.rows() == {}
