from dataclasses import replace

import pytest
import torch

from model.network.losses import gate_loss, losses, off_diagonal
from model.network.tacotron2 import Prediction
from model.settings import Settings


def uniform(steps, symbols):
    return torch.full((1, steps, symbols), 1.0 / symbols)


@pytest.mark.parametrize("symbols", [20, 50, 200])
def test_uniform_attention_is_guided_alike_whatever_the_text_length(symbols):
    steps = torch.tensor([400])
    value = off_diagonal(uniform(400, symbols), steps, torch.tensor([symbols]), sigma=0.2)
    assert float(value) == pytest.approx(0.58, abs=0.01)


def test_diagonal_attention_is_hardly_guided():
    value = off_diagonal(torch.eye(40)[None], torch.tensor([40]), torch.tensor([40]), sigma=0.2)
    assert float(value) == pytest.approx(0.0, abs=1e-6)


def test_guidance_uses_each_items_own_lengths():
    alone = off_diagonal(uniform(30, 10), torch.tensor([30]), torch.tensor([10]), 0.2)
    padded = torch.rand(1, 50, 25)
    padded[0, :30, :10], padded[0, :30, 10:] = 0.1, 0.0
    assert off_diagonal(padded, torch.tensor([30]), torch.tensor([10]), 0.2) == pytest.approx(alone)


def test_the_gate_is_asked_to_open_at_the_first_step_beyond_the_end_and_to_stay_open():
    good = torch.tensor([[-9.0, -9.0, -9.0, 9.0, 9.0, 9.0]])
    early = torch.tensor([[-9.0, -9.0, 9.0, 9.0, 9.0, 9.0]])
    closed_again = torch.tensor([[-9.0, -9.0, -9.0, 9.0, -9.0, -9.0]])
    for gates, small in ((good, True), (early, False), (closed_again, False)):
        assert (float(gate_loss(gates, torch.tensor([3]), r=4, positive_weight=5.0)) < 0.01) == small


def test_gate_steps_beyond_the_tail_do_not_count():
    gates = torch.full((1, 40), -9.0)
    gates[0, 3:6] = 9.0  # r = 4: the tail is 3 steps
    assert float(gate_loss(gates, torch.tensor([3]), r=4, positive_weight=5.0)) < 0.01


def test_the_positive_weight_weighs_missed_ends():
    gates, steps = torch.full((1, 10), -3.0), torch.tensor([4])
    one, five = (float(gate_loss(gates, steps, 4, weight)) for weight in (1.0, 5.0))
    assert five > 4 * one


def prediction(mels):
    steps = mels.shape[1]
    return Prediction(mels, mels, torch.zeros(2, steps), torch.full((2, steps, 5), 0.2))


def test_padding_never_counts_in_the_mel_loss():
    mels, lengths = torch.randn(2, 30, 80), torch.tensor([30, 17])
    guess = mels + 0.5
    guess[1, 17:] = 1e6
    found = losses(prediction(guess), mels, lengths, torch.tensor([5, 5]), Settings(), mel_scale=1.0)
    # before and after the postnet: twice 0.5 and twice 0.25
    assert float(found.mel_l1) == pytest.approx(1.0, rel=1e-4)
    assert float(found.mel_l2) == pytest.approx(0.5, rel=1e-4)


def test_the_total_weighs_each_term():
    mels = torch.randn(2, 20, 80)
    found = losses(prediction(mels + 1), mels, torch.tensor([20, 20]), torch.tensor([5, 5]), Settings(), 1.0)
    base = Settings()
    for name, term in (
        ("mel_l1_weight", found.mel_l1),
        ("mel_l2_weight", found.mel_l2),
        ("gate_weight", found.gate),
        ("guided_attention_weight", found.guided),
    ):
        more = replace(base, **{name: getattr(base, name) + 1.0})
        assert float(found.total(more) - found.total(base)) == pytest.approx(float(term), rel=1e-3)
