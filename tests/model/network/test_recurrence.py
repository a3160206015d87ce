"""The closed-form backward against the same recurrence under plain autograd, in float64."""

import copy
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.data.corpus import collate
from model.network import products, recurrence, tacotron2
from model.network.attention import (
    AttendedText,
    AttentionLayer,
    GateWeights,
    attend,
    recurrent_lstm,
)
from model.network.losses import losses
from model.network.products import Dropout
from model.network.tacotron2 import Tacotron2


class AttentionState(NamedTuple):
    """What one attention step hands to the next; all zero at the start."""

    hidden: Tensor  # (B, H)
    cell: Tensor  # (B, H)
    context: Tensor  # (B, E)
    weights: Tensor  # (B, L)
    summed: Tensor  # (B, L) of all weights so far


def initial_state(text: AttendedText, hidden_dim: int) -> AttentionState:
    batch, length, width = text.memory.shape
    zeros = text.memory.new_zeros
    return AttentionState(
        zeros(batch, hidden_dim), zeros(batch, hidden_dim), zeros(batch, width), *zeros(2, batch, length)
    )


def lstm_cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden (B, H) and cell (B, H) from the summed gate inputs (B, 4H), in torch's gate order."""
    i, f, g, o = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


def attention_step(
    layer: AttentionLayer,
    gates: Tensor,  # (B, 4H): summed inputs of the LSTM's gates
    dropout: Tensor | None,  # (B, H) scaled mask
    state: AttentionState,
    text: AttendedText,
) -> AttentionState:
    hidden, cell = lstm_cell(gates, state.cell)
    if dropout is not None:
        hidden = hidden * dropout
    location = F.conv1d(
        torch.stack((state.weights, state.summed), dim=1), text.kernel, padding=text.kernel.shape[2] // 2
    )  # (B, A, L)
    query = layer.query_layer(hidden).unsqueeze(1)  # (B, 1, A)
    energies = layer.v(torch.tanh(text.keys + query + location.transpose(1, 2))).squeeze(2)  # (B, L)
    weights = torch.softmax(energies.masked_fill(text.padding, -torch.inf), dim=1)
    context = torch.bmm(weights.unsqueeze(1), text.memory).squeeze(1)  # (B, E)
    return AttentionState(hidden, cell, context, weights, state.summed + weights)


def plain_attend(layer, weights, inputs, dropout, text):
    state, states = initial_state(text, len(weights.bias) // 4), []
    for t in range(len(inputs)):
        mask = None if dropout is None else dropout.mask(torch.double)[t]
        fed_back = torch.cat((state.hidden, state.context), dim=1)
        gates = inputs[t] @ weights.given.t() + weights.bias + fed_back @ weights.recurrent.t()
        state = attention_step(layer, gates, mask, state, text)
        states.append((torch.cat((state.hidden, state.context), dim=1), state.weights))
    return tuple(torch.stack(column) for column in zip(*states, strict=True))


def plain_lstm(weights, inputs, passed, dropout):
    hidden = cell = inputs.new_zeros(inputs.shape[1], len(weights.bias) // 4)
    outputs = []
    for t in range(len(inputs)):
        gates = inputs[t] @ weights.given.t() + weights.bias + hidden @ weights.recurrent.t()
        hidden, cell = lstm_cell(gates, cell)
        hidden = hidden if dropout is None else hidden * dropout.mask(torch.double)[t]
        outputs.append(torch.cat((hidden, inputs[t, :, inputs.shape[2] - passed :]), dim=1))
    return torch.stack(outputs)


def outputs_and_gradients(function, leaves, weights):
    outputs = function()
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    total = sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
    return (*outputs, *torch.autograd.grad(total, leaves))


def assert_equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() <= 1e-12 * b.norm() + 1e-300


def some_dropout(steps, batch, width, p):
    return None if p == 0 else Dropout(torch.rand(steps, batch, width) >= p, 1 / (1 - p))


def gate_weights(given, hidden, fed_back):
    shapes = (4 * hidden, given), (4 * hidden,), (4 * hidden, fed_back)
    return GateWeights(*(torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in shapes))


SHAPES = {
    "steps": st.integers(1, 8),
    "batch": st.integers(1, 4),
    "length": st.integers(1, 9),
    "taps": st.sampled_from([1, 3, 5, 11, 21]),  # wider than the text, too
    "p": st.sampled_from([0.0, 0.4]),
    "saved_bytes": st.sampled_from([0, 1 << 29]),
    "seed": st.integers(0, 2**31),
}


@settings(max_examples=60, deadline=None)
@given(**SHAPES)
def test_attention_agrees_in_every_output_and_gradient(steps, batch, length, taps, p, saved_bytes, seed):
    torch.manual_seed(seed)
    hidden, memory_dim, width = 6, 5, 4
    layer = AttentionLayer(hidden, memory_dim, width, 3, taps).double()
    inputs = torch.randn(steps, batch, 3, dtype=torch.double, requires_grad=True)
    gates = gate_weights(3, hidden, hidden + memory_dim)
    memory = torch.randn(batch, length, memory_dim, dtype=torch.double, requires_grad=True)
    lengths = torch.randint(1, length + 1, (batch, 1))
    padding = torch.arange(length) >= lengths
    dropout = some_dropout(steps, batch, hidden, p)
    leaves = [inputs, *gates, memory, *layer.parameters()]
    weights = [torch.randn(steps, batch, n, dtype=torch.double) for n in (hidden + memory_dim, length)]

    def run(function):
        text = AttendedText(memory, layer.memory_layer(memory), layer.location_layer.kernel(), padding)
        return function(layer, gates, inputs, dropout, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrence, "SAVED_ENERGY_BYTES", saved_bytes)
        found = outputs_and_gradients(lambda: run(attend), leaves, weights)
    assert_equal(found, outputs_and_gradients(lambda: run(plain_attend), leaves, weights))


@settings(max_examples=30, deadline=None)
@given(
    steps=st.integers(1, 9) | st.just(35),  # more than two blocks
    batch=st.integers(1, 4),
    passed=st.integers(0, 4),
    p=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 2**31),
)
def test_the_lstm_agrees_in_every_output_and_gradient(steps, batch, passed, p, seed):
    torch.manual_seed(seed)
    inputs, gates = (
        torch.randn(steps, batch, 4, dtype=torch.double, requires_grad=True),
        gate_weights(4, 5, 5),
    )
    dropout, weights = some_dropout(steps, batch, 5, p), [torch.randn(steps, batch, 5 + passed).double()]
    found, expected = (
        outputs_and_gradients(lambda f=f: f(gates, inputs, passed, dropout), [inputs, *gates], weights)
        for f in (recurrent_lstm, plain_lstm)
    )
    assert_equal(found, expected)


@pytest.mark.parametrize("r", [1, 3])
def test_the_whole_network_agrees_in_every_output_and_gradient(monkeypatch, corpus, tiny, settings, r):
    """With padding, every dropout, and the losses that training takes."""
    torch.manual_seed(5)
    model, batch = Tacotron2(tiny).double().train(), collate(corpus.training[:4])
    s, mels = replace(settings, n_frames_per_step=r), batch.mels.double()

    def run():
        torch.manual_seed(6)
        prediction = model(batch.text, batch.text_lengths, mels, batch.mel_lengths, s)
        terms = losses(prediction, mels, batch.mel_lengths, batch.text_lengths, s, tiny.mel_scale)
        outputs = (prediction.mels_before, prediction.mels, prediction.gates, prediction.alignments)
        # A bias before a batch normalisation has no gradient but rounding.
        leaves = [p for name, p in model.named_parameters() if not name.endswith("conv.bias")]
        return outputs + torch.autograd.grad(terms.total(s), leaves)

    found = run()
    monkeypatch.setattr(tacotron2, "attend", plain_attend)
    monkeypatch.setattr(tacotron2, "recurrent_lstm", plain_lstm)
    assert_equal(found, run())


@pytest.mark.parametrize("saved_bytes", [0, 1 << 29])
@pytest.mark.parametrize("by_onednn", [True, False])
def test_in_float32_either_product_library_serves(monkeypatch, by_onednn, saved_bytes):
    torch.manual_seed(7)
    monkeypatch.setattr(products, "ONEDNN", by_onednn and products.ONEDNN)
    monkeypatch.setattr(recurrence, "SAVED_ENERGY_BYTES", saved_bytes)
    layer = AttentionLayer(48, 40, 32, 16, 15).double()
    memory = torch.randn(3, 20, 40, dtype=torch.double)
    inputs, gates = torch.randn(12, 3, 20).double(), [w / 9 for w in gate_weights(20, 48, 88)]
    padding, weights = torch.arange(20) >= torch.tensor([[20], [15], [4]]), torch.randn(12, 3, 88)
    dropout = some_dropout(12, 3, 48, 0.1)

    def run(function, dtype):
        leaves = [x.detach().to(dtype).requires_grad_() for x in (inputs, memory, *gates)]
        like = copy.deepcopy(layer).to(dtype)
        text = AttendedText(leaves[1], like.memory_layer(leaves[1]), like.location_layer.kernel(), padding)
        features, alphas = function(like, GateWeights(*leaves[2:]), leaves[0], dropout, text)
        leaves += like.parameters()
        return features, alphas, *torch.autograd.grad((features * weights).sum(), leaves)

    for found, expected in zip(run(attend, torch.float), run(plain_attend, torch.double), strict=True):
        assert (found - expected).norm() <= 1e-4 * expected.norm()


def test_a_second_backward_is_refused_and_never_wrong():
    gates, inputs = gate_weights(4, 5, 5), torch.randn(3, 2, 4, dtype=torch.double)
    out = recurrent_lstm(gates, inputs, 0, None).sum()
    out.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()
