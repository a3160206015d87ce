"""The compiled recurrences in float32 against those of recurrence.py in float64."""

from dataclasses import replace

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.network import attention, fused, loops, recurrence
from model.network.products import draw_dropout
from model.network.tacotron2 import Tacotron2
from model.settings import SIZES, Settings


@numba.njit
def each(function, xs, out):
    for i in range(len(xs)):
        out[i] = function(xs[i])


@pytest.mark.parametrize(
    ("compiled", "exact"),
    [
        (loops.exp, np.exp),
        (loops.sigmoid, lambda x: 1.0 / (1.0 + np.exp(-x))),
        (loops.tanh, np.tanh),
    ],
)
def test_functions_are_those_of_numpy(compiled, exact):
    xs = np.linspace(-80.0, 80.0, 100_001).astype(np.float32)
    found = np.empty_like(xs)
    each(compiled, xs, found)
    expected = exact(xs.astype(np.float64))
    scale = expected if compiled is loops.exp else 1.0
    assert np.abs((found - expected) / scale).max() < 5e-7
    ends = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30], np.float32)
    found = np.empty_like(ends)
    each(compiled, ends, found)
    assert np.isnan(found[0]) and np.isfinite(found[1:]).all()
    assert compiled is loops.exp or np.allclose(found[1:], exact(np.clip(ends[1:], -80, 80)), atol=1e-6)


class Case:
    """Arguments of both recurrences, drawn at random; the first text is the longest."""

    def __init__(self, n, batch, length, hidden, context, width, taps, seed):
        generator = torch.Generator().manual_seed(seed)

        def drawn(*shape):
            return 0.3 * torch.randn(*shape, generator=generator)

        lengths = torch.randint(1, length + 1, (batch,), generator=generator)
        lengths[0] = length
        self.padding = torch.arange(length) >= lengths.unsqueeze(1)
        self.attention = [
            *(
                drawn(n, batch, 3),
                drawn(4 * hidden, 3),
                drawn(4 * hidden),
                drawn(4 * hidden, hidden + context),
            ),
            *(drawn(width, hidden), drawn(batch, length, width), drawn(batch, length, context)),
            *(drawn(width, 2, taps), drawn(width)),
        ]
        self.lstm = [
            drawn(n, batch, hidden + context),
            drawn(4 * hidden, hidden + context),
            drawn(4 * hidden),
        ]
        self.lstm.append(drawn(4 * hidden, hidden))
        self.outer = drawn(n, batch, hidden + context), drawn(n, batch, length)
        self.context = context

    def attended(self, module, dtype, dropout):
        """Results and gradients by the module's attention."""
        arguments = [x.to(dtype, copy=True).requires_grad_() for x in self.attention]
        made = module.AttentionRecurrence.apply(*arguments, self.padding, dropout)
        torch.autograd.backward(made, [x.to(dtype) for x in self.outer])
        return [*(x.detach() for x in made), *(x.grad for x in arguments)]

    def fed_back(self, module, dtype, dropout):
        """Results and gradients by the module's LSTM."""
        arguments = [x.to(dtype, copy=True).requires_grad_() for x in self.lstm]
        made = module.RecurrentLSTM.apply(*arguments, self.context, dropout)
        made.backward(self.outer[0].to(dtype))
        return [made.detach(), *(x.grad for x in arguments)]


def far(found, expected):
    """The largest difference, as a share of the largest number, or of 1: small sums are of large numbers."""
    return max(
        float((a - b).abs().max() / b.abs().max().clamp(min=1.0))
        for a, b in zip(found, expected, strict=True)
    )


cases = st.builds(
    Case,
    n=st.integers(1, 35),  # of blocks of 16 steps, and parts of one
    batch=st.integers(1, 4),
    length=st.integers(1, 12),
    hidden=st.integers(1, 20),
    context=st.integers(1, 20),
    width=st.integers(1, 20),
    taps=st.sampled_from([1, 5, 31]),
    seed=st.integers(0, 2**32),
)


@given(case=cases, p=st.sampled_from([0.0, 0.3]), saved=st.sampled_from([0, 40 << 20]))
@settings(max_examples=60)
def test_recurrences_are_those_of_the_reference(case, p, saved):
    n, batch, _ = case.outer[0].shape
    shape = n, batch, case.attention[4].shape[1]
    dropout = draw_dropout(shape, p, torch.device("cpu")) if p else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrence, "SAVED_ENERGY_BYTES", saved)
        found = case.attended(fused, torch.float32, dropout)
    assert far(found, case.attended(recurrence, torch.float64, dropout)) < 2e-5
    found = case.fed_back(fused, torch.float32, dropout)
    assert far(found, case.fed_back(recurrence, torch.float64, dropout)) < 2e-5


def test_nothing_is_read_beyond_a_texts_end():
    case = Case(n=20, batch=3, length=9, hidden=8, context=6, width=10, taps=5, seed=0)
    assert case.padding.any()
    expected = case.attended(fused, torch.float32, None)
    for number in (5, 6):  # keys and memory
        case.attention[number][case.padding] = 1e3
    found = case.attended(fused, torch.float32, None)
    for number in (0, 1, *range(2, 7), 9, 10):
        assert torch.equal(found[number], expected[number])
    for number in (7, 8):
        assert not found[number][case.padding].any()


@pytest.mark.parametrize("number", range(9))
def test_what_is_no_number_is_not_hidden(number):
    """A training sees by it that a step must not be taken."""
    case = Case(n=5, batch=2, length=4, hidden=8, context=6, width=10, taps=5, seed=0)
    case.attention[number].view(-1)[0] = torch.nan
    found = case.attended(fused, torch.float32, None)
    assert found[0].isnan().any() and found[1].isnan().any()
    assert any(gradient.isnan().any() for gradient in found[2:])


def test_speech_is_that_of_the_reference(monkeypatch):
    torch.manual_seed(0)
    dimensions = replace(SIZES["tiny"], n_symbols=20)
    model, lengths = Tacotron2(dimensions), torch.tensor([12, 9, 3])
    text = torch.randint(1, 20, (3, 12))
    masks = (torch.rand(30, 2, 3, dimensions.prenet_dim) > 0.5).float() * 2.0

    def spoken():
        made = model.synthesise(text, lengths, Settings(), masks, torch.full((3,), 30))
        return [*made.mels, *made.alignments]

    assert attention.by_step(torch.zeros(1)) is fused
    found = spoken()
    monkeypatch.setattr(fused, "serves", lambda inputs: False)
    assert far(found, spoken()) < 1e-5


def test_other_types_and_no_compiler_go_by_the_reference(monkeypatch):
    assert attention.by_step(torch.zeros(1, dtype=torch.float64)) is recurrence
    assert attention.by_step(torch.zeros(1, device="meta")) is recurrence
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    assert attention.by_step(torch.zeros(1)) is recurrence


def test_a_step_at_a_time_is_all_at_once():
    case = Case(n=6, batch=2, length=7, hidden=8, context=6, width=10, taps=5, seed=1)
    inputs, given_weight, bias, weight, *text = case.attention
    states, alphas = fused.AttentionRecurrence.apply(*case.attention, case.padding, None)
    cell, attend = fused.Cell(inputs, 2, 8), fused.Attention(*text, case.padding)
    fed_back = torch.zeros(2, 14)
    for t, x in enumerate(inputs):
        hidden = cell(x @ given_weight.t() + bias + fed_back @ weight.t())
        found, context = attend(hidden)
        fed_back = torch.cat((hidden, context), dim=1)
        assert torch.allclose(fed_back, states[t], atol=1e-5) and torch.allclose(found, alphas[t], atol=1e-5)
