from dataclasses import replace

import numpy as np
import pytest

from model.speech.voice import Speech
from model.training import Training
from objectives.quality import Judge, Yardstick, failure, yardstick


def diagonal(steps, symbols):
    alignment = np.zeros((steps, symbols), np.float32)
    alignment[np.arange(steps), np.arange(steps) * symbols // steps] = 1.0
    return alignment


SPOKEN = np.array([True] * 9 + [False])
GOOD = Speech(np.zeros((60, 80), np.float32), diagonal(30, 10), "gate")


def stuck():
    alignment = np.zeros((30, 10), np.float32)
    alignment[:, 9] = 1.0
    return alignment


@pytest.mark.parametrize(
    ("speech", "reason"),
    [
        (GOOD, None),
        (replace(GOOD, stop="attention"), None),
        (replace(GOOD, stop="limit"), "never stopped"),
        (replace(GOOD, mel=np.full((60, 80), np.nan, np.float32)), "not finite"),
        (replace(GOOD, alignment=np.pad(diagonal(30, 6), ((0, 0), (0, 4)))), "stopped early"),
        (replace(GOOD, alignment=stuck()), "alignment broken"),
    ],
)
def test_every_kind_of_failure_has_its_name(speech, reason):
    assert failure(speech, SPOKEN) == reason


@pytest.fixture
def voice(corpus, tiny, settings):
    training = Training(corpus, tiny, settings, seed=7)
    for _ in range(3):
        training.advance()
    return training.voice()


def test_a_failed_sentence_scores_the_cap_and_no_sentence_more(corpus, voice):
    judge = Judge(corpus.held_out[:4], 2, 0, Yardstick(mismatch=5.0, copy_synthesis=1.0))
    judgement = judge(voice)
    assert len(judgement.scores) == 8
    assert all(score.value <= 5.0 for score in judgement.scores)
    assert all(score.value == 5.0 for score in judgement.scores if score.failure)
    assert judgement.failure_share == 1.0  # three steps teach nobody to speak
    assert judgement.value == 5.0


def test_the_same_voice_is_judged_the_same_and_draws_differ(corpus, voice):
    judge = Judge(corpus.held_out[:3], 2, 0, Yardstick(mismatch=50.0, copy_synthesis=1.0))
    assert judge(voice) == judge(voice)
    voice.model.decoder.gate_layer.linear_layer.bias.data.fill_(-50.0)  # speak on
    first, second = voice.read([corpus.held_out[0].symbols.tolist()] * 2, [1, 2])
    assert not np.array_equal(first.mel[:20], second.mel[:20])


def test_loss_weights_do_not_enter_the_measure(corpus, voice):
    judge = Judge(corpus.held_out[:3], 1, 0, Yardstick(mismatch=50.0, copy_synthesis=1.0))
    heavier = replace(voice, settings=replace(voice.settings, gate_weight=50.0, guided_attention_weight=50.0))
    assert judge(heavier) == judge(voice)


def test_the_yardstick_lies_between_copies_and_strangers(corpus):
    stick = yardstick(corpus.held_out[:5], corpus.mel_settings)
    assert 0.0 < stick.copy_synthesis < stick.mismatch
    with pytest.raises(ValueError, match="at least 2"):
        yardstick(corpus.held_out[:1], corpus.mel_settings)
