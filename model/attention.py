"""The decoder's two recurrences: location-sensitive attention, and the LSTM above it.

Under teacher forcing nothing of the decoder LSTM, the projection or the gate feeds the attention,
so whatever does not depend on the previous step (input products, dropout masks, the memory's
projection) is computed once for all steps before the loops.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.layers import ConvNorm, LinearNorm
from model.recurrence import AttentionRecurrence, RecurrentLSTM


class LocationLayer(nn.Module):
    """Features of where the attention was: a convolution over its last and its summed weights."""

    def __init__(self, attention_dim: int, n_filters: int, kernel_size: int) -> None:
        super().__init__()
        self.location_conv = ConvNorm(2, n_filters, kernel_size, bias=False)
        self.location_dense = LinearNorm(n_filters, attention_dim, bias=False, gain="tanh")

    def kernel(self) -> Tensor:
        """Both layers fused into one convolution, (A, 2, taps)."""
        conv, dense = self.location_conv.conv.weight, self.location_dense.linear_layer.weight
        return torch.einsum("af,fck->ack", dense, conv)


class AttentionLayer(nn.Module):
    """Weights of location-sensitive attention (Chorowski et al. 2015, arXiv 1506.07503)."""

    def __init__(
        self, attention_rnn_dim: int, memory_dim: int, attention_dim: int, n_filters: int, kernel_size: int
    ) -> None:
        super().__init__()
        self.query_layer = LinearNorm(attention_rnn_dim, attention_dim, bias=False, gain="tanh")
        self.memory_layer = LinearNorm(memory_dim, attention_dim, bias=False, gain="tanh")
        self.v = LinearNorm(attention_dim, 1, bias=False)
        self.location_layer = LocationLayer(attention_dim, n_filters, kernel_size)


class AttentionState(NamedTuple):
    """What one attention step hands to the next; all zero at the start."""

    hidden: Tensor  # (B, H)
    cell: Tensor  # (B, H)
    context: Tensor  # (B, E)
    weights: Tensor  # (B, L)
    summed: Tensor  # (B, L) of all weights so far


class AttendedText(NamedTuple):
    """What every attention step needs of the text, computed once a batch."""

    memory: Tensor  # (B, L, E)
    keys: Tensor  # (B, L, A): memory through memory_layer
    kernel: Tensor  # (A, 2, taps)
    padding: Tensor  # (B, L) bool: True beyond the text's end


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


class GateWeights(NamedTuple):
    """Of an LSTM's gates, in torch's order: for its given inputs, and for what it feeds back."""

    given: Tensor  # (4H, I)
    bias: Tensor  # (4H)
    recurrent: Tensor  # (4H, ...)


def attend(
    layer: AttentionLayer,
    weights: GateWeights,  # fed back are the hidden state and the context: (4H, H + E)
    inputs: Tensor,  # (T, B, P)
    dropout: Tensor | None,  # (T, B, H)
    text: AttendedText,
) -> tuple[Tensor, Tensor]:
    """All decoder steps at once: hidden states beside contexts (T, B, H + E), weights (T, B, L)."""
    query, v = layer.query_layer.linear_layer.weight, layer.v.linear_layer.weight.squeeze(0)
    found: tuple[Tensor, Tensor] = AttentionRecurrence.apply(  # type: ignore[no-untyped-call]
        inputs, *weights, query, text.keys, text.memory, text.kernel, v, text.padding, dropout
    )
    return found


def recurrent_lstm(weights: GateWeights, inputs: Tensor, dropout: Tensor | None) -> Tensor:
    """An LSTM whose dropped hidden state is fed back, as in NVIDIA's decoder: (T, B, I) -> (T, B, H)."""
    hidden: Tensor = RecurrentLSTM.apply(inputs, *weights, dropout)  # type: ignore[no-untyped-call]
    return hidden
