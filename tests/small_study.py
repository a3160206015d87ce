"""Files of studies: one of the quickstart's kind made small, and others made of it."""

import re
import time
from contextlib import closing

from sqlalchemy import update

from smart_tuner.store.storage import open_storage
from smart_tuner.store.tables import OUTBOX

PATIENCE_SECONDS = 240

STUDY = """
name = "small"
question = "Does the whole chain hold?"
seed = 3
[corpus]
source = "espeak"
language = "en"
clips = 60
held_out = 6
[model]
size = "tiny"
[settings]
n_frames_per_step = 4
batch_size = 12
[space.learning_rate]
type = "float"
low = 1e-3
high = 4e-3
log = true
[space.gate_positive_weight]
type = "float"
low = 1.0
high = 10.0
log = true
[budget]
trials = 2
[objective]
steps = 12
measure_every = 6
validate_every = 6
checkpoint_every = 2
sentences = 3
draws = 1
speak = "the small dog sees a house"
"""


def changed(study, **values):
    """The same study with other values of keys that it has."""
    for key, value in values.items():
        study, found = re.subn(f"^{key} = .*$", f"{key} = {value}", study, flags=re.MULTILINE)
        assert found == 1, key
    return study


QUICK = changed(STUDY, trials=1, steps=2, measure_every=2, validate_every=2)
LONG = changed(STUDY, steps=4000, measure_every=400)
# Its only trial is repaired.
SICK = changed(STUDY, name='"sick"', trials=1, steps=80, measure_every=20, validate_every=5)
SICK = SICK.replace("[settings]", "[settings]\nguided_attention_weight = 0.0\nlearning_rate = 2e-3")
SICK = SICK[: SICK.index("[space.learning_rate]")] + SICK[SICK.index("[space.gate_positive_weight]") :]
SICK += "[rules.thresholds.poor_alignment]\nmax_loss = 2.0\nlate_loss = 2.0\n"  # it is not waited for


def send_all(url, track):
    """What waits for MLflow.

    Args:
        track: runs the command `track`, and returns what it says.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    said = ""
    while said.strip() != "Nothing waits.":
        assert time.monotonic() < deadline, said
        with closing(open_storage(url)) as storage, storage.ours.begin() as connection:
            connection.execute(update(OUTBOX).values(due_at=0.0))  # a row that a sender died with, too
        said = track()
