"""The made-up language: its true alignment is known, and always the same."""

import numpy as np

from benchmarks.faults.language import HELD_OUT, Shape, near_truth, speak, true_symbols
from model.network.alignment import measure


def test_a_corpus_is_always_the_same_and_another_seed_is_another_language():
    a, b, other = (speak(Shape(seed=seed)) for seed in (0, 0, 1))
    assert all((x.mel == y.mel).all() for x, y in zip(a.corpus.training, b.corpus.training, strict=True))
    assert a.corpus.training[0].text != other.corpus.training[0].text


def test_every_frame_of_a_clip_belongs_to_a_letter():
    spoken = speak(Shape())
    for item in (*spoken.corpus.training, *spoken.corpus.held_out):
        durations = spoken.durations[item.id]
        assert len(durations) == len(item.text) == len(item.symbols) - 1
        assert sum(durations) == len(item.mel)
    assert len(spoken.corpus.held_out) == HELD_OUT


def test_silence_is_behind_the_last_letter():
    spoken = speak(Shape(silence=3))
    item = spoken.corpus.training[0]
    assert len(item.mel) == sum(spoken.durations[item.id]) + 3
    assert np.ptp(item.mel[-3:]) == 0.0


def truth(item, durations, r):
    steps = -(-len(item.mel) // r)
    return np.eye(len(item.symbols))[true_symbols(durations, r, steps)]


def test_the_true_alignment_counts_as_aligned():
    spoken = speak(Shape())
    for item in spoken.corpus.held_out:
        alignment = truth(item, spoken.durations[item.id], 3)
        assert measure(alignment, np.arange(len(item.symbols)) < len(item.text)).corr > 0.9
        assert near_truth(alignment.astype(np.float32), spoken.durations[item.id], 3) == 1.0


def test_attention_that_rests_or_runs_backwards_is_far_from_the_truth():
    spoken = speak(Shape())
    item = spoken.corpus.held_out[0]
    alignment = truth(item, spoken.durations[item.id], 3)
    stuck = np.zeros_like(alignment)
    stuck[:, 0] = 1.0
    for wrong in (stuck, alignment[::-1]):
        assert near_truth(wrong.astype(np.float32), spoken.durations[item.id], 3) < 0.7
