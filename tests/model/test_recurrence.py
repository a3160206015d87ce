"""The closed-form backward against the same recurrence under plain autograd, in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import recurrence
from model.attention import (
    AttendedText,
    AttentionLayer,
    attend,
    attention_step,
    initial_state,
    lstm_cell,
    recurrent_lstm,
)


def plain_attend(layer, recurrent, inputs, dropout, text):
    state, states = initial_state(text, recurrent.shape[0] // 4), []
    for t in range(len(inputs)):
        mask = None if dropout is None else dropout[t]
        state = attention_step(layer, recurrent, inputs[t], mask, state, text)
        states.append((state.hidden, state.context, state.weights))
    return tuple(torch.stack(column) for column in zip(*states, strict=True))


def plain_lstm(inputs, weight, dropout):
    hidden = cell = inputs.new_zeros(inputs.shape[1], weight.shape[1])
    outputs = []
    for t in range(len(inputs)):
        hidden, cell = lstm_cell(inputs[t] + hidden @ weight.t(), cell)
        hidden = hidden if dropout is None else hidden * dropout[t]
        outputs.append(hidden)
    return torch.stack(outputs)


def outputs_and_gradients(function, leaves, weights):
    outputs = function()
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    total = sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
    return (*outputs, *torch.autograd.grad(total, leaves))


def assert_equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() <= 1e-12 * b.norm() + 1e-300


def dropout_mask(steps, batch, width, p):
    return None if p == 0 else (torch.rand(steps, batch, width) >= p).double() / (1 - p)


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
    inputs = torch.randn(steps, batch, 4 * hidden, dtype=torch.double, requires_grad=True)
    recurrent = torch.randn(4 * hidden, hidden + memory_dim, dtype=torch.double, requires_grad=True)
    memory = torch.randn(batch, length, memory_dim, dtype=torch.double, requires_grad=True)
    lengths = torch.randint(1, length + 1, (batch, 1))
    padding = torch.arange(length) >= lengths
    dropout = dropout_mask(steps, batch, hidden, p)
    leaves = [inputs, recurrent, memory, *layer.parameters()]
    weights = [torch.randn(steps, batch, n, dtype=torch.double) for n in (hidden, memory_dim, length)]

    def run(function):
        text = AttendedText(memory, layer.memory_layer(memory), layer.location_layer.kernel(), padding)
        return function(layer, recurrent, inputs, dropout, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrence, "SAVED_ENERGY_BYTES", saved_bytes)
        found = outputs_and_gradients(lambda: run(attend), leaves, weights)
    assert_equal(found, outputs_and_gradients(lambda: run(plain_attend), leaves, weights))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.sampled_from([0.0, 0.4]), st.integers(0, 2**31))
def test_the_lstm_agrees_in_every_output_and_gradient(steps, batch, p, seed):
    torch.manual_seed(seed)
    inputs = torch.randn(steps, batch, 20, dtype=torch.double, requires_grad=True)
    weight = torch.randn(20, 5, dtype=torch.double, requires_grad=True)
    dropout, weights = dropout_mask(steps, batch, 5, p), [torch.randn(steps, batch, 5, dtype=torch.double)]
    found, expected = (
        outputs_and_gradients(lambda f=f: f(inputs, weight, dropout), [inputs, weight], weights)
        for f in (recurrent_lstm, plain_lstm)
    )
    assert_equal(found, expected)
