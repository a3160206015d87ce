"""An objective of a user's own, as examples/own_objective has it: by the command line and from a notebook."""

import json
import signal
from contextlib import closing
from pathlib import Path

import forked
import optuna
import pytest

from model.failpoint import VARIABLE
from smart_tuner.store.leases import Leases
from smart_tuner.store.records import repairs_of
from smart_tuner.store.storage import open_storage

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "own_objective"
CELL = """
import json, os, pathlib, sys
sys.path.insert(0, os.getcwd())  # as a kernel does
cells = json.loads(pathlib.Path("notebook.ipynb").read_text())["cells"]
[code] = [cell for cell in cells if cell["cell_type"] == "code"]
exec("".join(code["source"]))
"""


class Home:
    """A folder of its own, in which the study is run by processes that may be killed."""

    def __init__(self, folder):
        self.folder = folder

    def call(self, program, *arguments, cwd=ROOT, code=0, **environment):
        done = forked.run(program, arguments, cwd, **{"PYTHONPATH": str(EXAMPLE), **environment})
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def run(self, *arguments, **more):
        return self.call(ROOT / "run_study.py", "--home", str(self.folder), *arguments, **more)

    def start(self, **more):
        return self.run("start", str(EXAMPLE / "study.toml"), "--no-tracking", "--device", "cpu", **more)

    def cell(self, **more):
        """The notebook's cell, in a folder that holds it."""
        for name in ("notebook.ipynb", "blobs.py"):
            (self.folder / name).write_text((EXAMPLE / name).read_text())
        (self.folder / "cell.py").write_text(CELL)
        return self.call(self.folder / "cell.py", cwd=self.folder, **more)

    def found(self, database="study.db"):
        """What came of each trial that ended, and the rows of its repairs."""
        with closing(open_storage(f"sqlite:///{self.folder / database}", looking=True)) as storage:
            study = optuna.load_study(study_name="blobs", storage=storage)
            rows = list(repairs_of(storage.ours, study.user_attrs["uid"], None))
            trials = [trial for trial in study.trials if trial.state.is_finished()]
            return [
                (
                    (trial.state.name, trial.params, trial.value, trial.intermediate_values),
                    [(e.kind, e.step, e.rule, e.changes, e.verdict) for n, e in rows if n == trial.number],
                )
                for trial in trials
            ]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The example, undisturbed."""
    home = Home(tmp_path_factory.mktemp("straight"))
    home.said = home.start()
    return home


def test_the_example_is_searched_pruned_and_repaired(straight):
    found = straight.found()
    states = [state for (state, *_), _ in found]
    assert len(found) == 6 and "PRUNED" in states
    assert json.loads(straight.run("status", "blobs", "-f", "json"))["device"] == "cpu"
    mended = [
        (params["learning_rate"], value)
        for (state, params, value, _), rows in found
        if state == "COMPLETE" and ("repair", "non_finite") in [(k, r) for k, _, r, _, v in rows]
    ]
    assert any(rate < 1.0 and value < 0.4 for rate, value in mended), "a reading that is missing"
    [diverged] = [state for (state, params, *_), _ in found if params["learning_rate"] == 15.0]
    assert diverged == "PRUNED"  # what is searched is not repaired, but judged
    assert "best" in straight.said.lower()


def test_whoever_asks_for_it_is_told_without_the_code(straight):
    said = straight.run("fixes", "blobs", "--explain")
    assert "non_finite" in said and "go back" in said
    assert "dB" not in straight.run("best", "blobs") + straight.run("status", "blobs")
    assert "learning_rate" in straight.run("report", "blobs")
    assert len(json.loads(straight.run("trials", "blobs", "-f", "json"))) >= 6


def test_killed_at_any_moment_it_goes_on_bit_by_bit(straight, tmp_path):
    home = Home(tmp_path)
    # at 25, a repair was just saved at a step that was not measured yet
    for place in ("ckpt-written:kill:25", "reported:kill:4", "ckpt-renamed:kill:9"):
        home.start(code=-signal.SIGKILL, **{VARIABLE: place})
    home.start()
    assert home.found() == straight.found()


def test_what_only_the_database_names_is_not_imported(straight, tmp_path):
    home = Home(tmp_path)
    home.start(code=-signal.SIGKILL, **{VARIABLE: "ckpt-written:kill:30"})
    refused = home.run("resume", "blobs", "--no-tracking", code=2)
    assert "--use blobs:Blobs" in refused and "Traceback" not in refused
    home.run("resume", "blobs", "--use", "blobs:Blobs", "--no-tracking", cwd=EXAMPLE)
    assert home.found() == straight.found()


NARROW = """
name = "blobs"
question = "Which learning rate tells the clouds apart soonest?"
seed = {seed}

[objective]
use = "blobs:Blobs"
steps = 60
measure_every = 20

[space.learning_rate]
type = "float"
low = 0.0003
high = 0.003 # far below the best
log = true
{tables}
[budget]
trials = 8
"""


@pytest.mark.parametrize(("seed", "tables"), [(2, ""), (3, '[search]\nmethod = "freeze-thaw"\n')])
def test_a_range_whose_end_was_best_is_widened_in_the_same_study(tmp_path, seed, tables):
    home = Home(tmp_path)
    (tmp_path / "narrow.toml").write_text(NARROW.format(seed=seed, tables=tables))
    said = home.run("start", str(tmp_path / "narrow.toml"), "--no-tracking")
    assert (
        "resume blobs --use blobs:Blobs --widen searches there, too: [space.learning_rate] high = 0.0095"
        in said
    )
    before = home.found()
    widen = ["resume", "blobs", "--use", "blobs:Blobs", "--no-tracking", "--widen", "--n-trials", "16"]
    assert "Widened: [space.learning_rate] high = 0.0095" in home.run(*widen)
    after = home.found()
    assert after[: len(before)] == before
    drawn = [params["learning_rate"] for (_, params, *_), _ in after]
    assert max(drawn[: len(before)]) <= 0.003 < max(drawn) <= 0.0095
    best = json.loads(home.run("best", "blobs", "-f", "json"))
    assert best["params"]["learning_rate"] > 0.003
    refused = home.run("start", str(tmp_path / "narrow.toml"), "--n-trials", "16", "--no-tracking", code=2)
    assert "space.learning_rate.high" in refused and "run_study.py resume blobs" in refused


def test_a_widening_that_cannot_go_on_changes_nothing_and_can_be_repeated(tmp_path):
    home = Home(tmp_path)
    (tmp_path / "narrow.toml").write_text(NARROW.format(seed=2, tables=""))
    home.run("start", str(tmp_path / "narrow.toml"), "--no-tracking")
    widen = ["resume", "blobs", "--no-tracking", "--widen", "--n-trials", "9"]
    for wrong in ([], ["--use", "blobs:Blobs", "--device", "cuda:77"]):
        assert "Widened" not in home.run(*widen, *wrong, code=2)
    with closing(open_storage(f"sqlite:///{tmp_path / 'study.db'}")) as storage:
        study = optuna.load_study(study_name="blobs", storage=storage)
        leases = Leases(storage.ours, study.user_attrs["uid"])
        held = leases.reserve_alone()
        assert "stop blobs" in home.run(*widen, "--use", "blobs:Blobs", code=2)
        leases.give_up(held)
    assert "Widened" in home.run(*widen, "--use", "blobs:Blobs")


def test_where_no_range_ends_at_the_best_nothing_is_widened(straight):
    said = straight.run("resume", "blobs", "--use", "blobs:Blobs", "--no-tracking", "--widen", code=2)
    assert "No range" in said and "--n-trials 14" in said


def test_two_workers_import_it_as_their_parent_was_allowed_to(tmp_path):
    home = Home(tmp_path)
    said = home.run("start", str(EXAMPLE / "study.toml"), "--workers", "2", "--no-tracking")
    assert len(home.found()) == 6, said


def test_a_notebooks_cell_does_the_same_also_when_its_kernel_is_killed(straight, tmp_path):
    home = Home(tmp_path)
    home.cell(code=-signal.SIGKILL, **{VARIABLE: "ckpt-written:kill:25"})
    home.cell()
    assert home.found("runs/study.db") == straight.found()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (("learning_rate", "learning_rte"), "nearest: space.learning_rate"),
        (("15.0]", "15.0e9]"), "must lie between 1e-06 and 1e+06"),
        (("blobs:Blobs", "blobs:Blob"), "cannot be imported"),
        (("blobs:Blobs", "blobs:Classifier"), "no subclass of smart_tuner.Objective"),
        (("steps = 200", "steps = 200\nspeak = 'Hello.'"), "is of a voice, not of an own objective"),
        (("[objective]", "[training]\nprecision = 'fp32'\n[objective]"), "[training] is of a voice"),
        (("steps = 200", "steps = 200\nargs = {size = 3}"), "takes no arguments"),
        (
            ("seed = 11", 'seed = 11\ncallbacks = ["blobs:Blobs"]'),
            'callbacks.0: "blobs:Blobs" is no subclass of',
        ),
        (
            ("seed = 11", 'seed = 11\ncallbacks = ["smart_tuner:run_study"]'),
            "is no subclass of smart_tuner.Callback",
        ),
    ],
    ids=["name", "limits", "class", "kind", "voice", "training", "arguments", "callback", "function"],
)
def test_a_study_file_is_held_against_the_objective(tmp_path, changed, named):
    text = (EXAMPLE / "study.toml").read_text()
    assert changed[0] in text
    (tmp_path / "study.toml").write_text(text.replace(*changed))
    (tmp_path / "blobs.py").write_text((EXAMPLE / "blobs.py").read_text())
    said = Home(tmp_path / "runs").run("start", str(tmp_path / "study.toml"), code=2, PYTHONPATH="")
    assert named in said and "Traceback" not in said


TOLD = """
from pathlib import Path

from smart_tuner import Callback


class Told(Callback):
    def note(self, text):
        with Path(__file__).with_name("told.txt").open("a") as file:
            file.write(f"{text}\\n")

    def started(self, start):
        self.note(f"started {start.attempt.trial.number}")

    def measured(self, measured):
        self.note(f"measured {measured.step}")

    def ended(self, number, state, value, reason):
        self.note(f"ended {number} {state}")
"""


def test_a_callback_that_a_study_file_names_is_told(tmp_path):
    text = (EXAMPLE / "study.toml").read_text()
    for old, new in (("seed = 11", 'seed = 11\ncallbacks = ["told:Told"]'), ("steps = 200", "steps = 40")):
        text = text.replace(old, new)
    text = text.replace("trials = 6", "trials = 2").replace("min_resource = 100", "min_resource = 30")
    for name, content in (
        ("study.toml", text),
        ("told.py", TOLD),
        ("blobs.py", (EXAMPLE / "blobs.py").read_text()),
    ):
        (tmp_path / name).write_text(content)
    Home(tmp_path / "runs").run("start", str(tmp_path / "study.toml"), "--no-tracking", PYTHONPATH="")
    told = (tmp_path / "told.txt").read_text().split("\n")
    assert told[:3] == ["started 0", "measured 20", "measured 40"]
    assert "ended 0 COMPLETE" in told
