"""What a chat is answered."""

import io
from contextlib import closing

import numpy as np
import pytest
import soundfile

from smart_tuner.store.leases import Leases
from smart_tuner.store.storage import open_storage
from studies.commands.chat import StudyCommands
from studies.file.spec import load
from studies.run.study import open_study


def spoken(words, heard=None):
    """What the process that speaks would answer."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(22050, np.float32), 22050, format="WAV", subtype="PCM_16")
    return {
        "trial": 0,
        "stop": "gate",
        "seconds": 1.0,
        "wave": file.getvalue(),
        "words": words,
        "heard": heard,
    }


@pytest.mark.parametrize(("words", "told"), [("two dogs", True), (None, False)])
def test_numbers_are_answered_as_they_were_spoken(tmp_path, words, told):
    with closing(open_storage(f"sqlite:///{tmp_path / 'study.db'}")) as storage:
        study = open_study(load("quickstart"), storage)
        Leases(storage.ours, study.user_attrs["uid"]).reserve(1)
        commands = StudyCommands(storage, tmp_path, lambda study, text: spoken(words), 500)
        reply = commands.answer("say", "2 dogs")
    assert ("Spoken by rule: two dogs" in reply.markup) == told
    assert "Trial 0, 1.0 s." in reply.markup


@pytest.mark.parametrize(
    ("heard", "told"),
    [
        (None, []),
        ({"letters": 97, "lost": (), "repeated": ()}, ["Understood: 97 of 100 letters."]),
        (
            {"letters": 40, "lost": ("a", "dog"), "repeated": ("<b>",)},
            ["Words that were lost: a, dog.", "Words that were said twice: &lt;b&gt;."],
        ),
    ],
)
def test_what_was_understood_of_a_spoken_text_is_answered(tmp_path, heard, told):
    with closing(open_storage(f"sqlite:///{tmp_path / 'study.db'}")) as storage:
        study = open_study(load("quickstart"), storage)
        Leases(storage.ours, study.user_attrs["uid"]).reserve(1)
        commands = StudyCommands(storage, tmp_path, lambda study, text: spoken(None, heard), 500)
        reply = commands.answer("say", "a dog")
    assert all(text in reply.markup for text in told)
    assert ("Understood" in reply.markup) == bool(heard)
