"""Speaker similarity tells one person from another, whatever they say."""

import importlib.util
import sys

import numpy as np
import pytest
import torch

from model.speech.espeak import EspeakVoice
from objectives.similarity import (
    BANDS,
    LAYERS,
    PACKAGE,
    WEIGHTS,
    WIDTH,
    SpeakerEncoder,
    similarity,
    speaker_encoder,
)

RATE = 22050
TEXTS = ("The captain opened the heavy door.", "I would like some coffee with milk.")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with the encoder's weights, drawn at random, and nothing that could be imported."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('nothing of it is needed')")
    network = torch.nn.ModuleDict(
        {"lstm": torch.nn.LSTM(BANDS, WIDTH, LAYERS), "linear": torch.nn.Linear(WIDTH, WIDTH)}
    )
    state = {**network.state_dict(), "similarity_weight": torch.ones(1)}
    torch.save({"step": 1, "model_state": state}, folder / WEIGHTS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    importlib.invalidate_caches()


def test_only_the_weights_of_the_package_are_read(package):
    encoder, wave = speaker_encoder(), np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    vector = encoder(wave, RATE)
    assert vector.shape == (WIDTH,) and np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert similarity([vector], [encoder(wave / 200, RATE)]) == pytest.approx(1.0, abs=1e-3)  # if it is quiet
    for silence in (wave[:0], wave * 0):
        assert similarity([vector], [encoder(silence, RATE)]) == 0.0 == similarity([], [vector])


def test_without_the_package_nothing_is_compared(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert speaker_encoder() is None


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="Resemblyzer is not installed")
def test_one_person_saying_two_things_is_nearer_than_two_saying_the_same():
    encoder = speaker_encoder()
    assert isinstance(encoder, SpeakerEncoder)
    one, other = (
        [encoder((EspeakVoice(name).say(text) / 32768).astype(np.float32), RATE) for text in TEXTS]
        for name in ("en-us", "en-us+f3")
    )
    assert similarity(one[:1], one[1:]) > 0.7 > similarity(one[:1], other[:1])
