"""The decoder's two recurrences: location-sensitive attention, and the LSTM above it.

Under teacher forcing nothing of the decoder LSTM, the projection or the gate feeds the attention,
so whatever does not depend on the previous step (input products, dropout masks, the memory's
projection) is computed once for all steps before the loops.
"""

import importlib
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from model.network import blocks, recurrence
from model.network.layers import ConvNorm, LinearNorm
from model.network.products import Dropout


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


class AttendedText(NamedTuple):
    """What every attention step needs of the text, computed once a batch."""

    memory: Tensor  # (B, L, E)
    keys: Tensor  # (B, L, A): memory through memory_layer
    kernel: Tensor  # (A, 2, taps)
    padding: Tensor  # (B, L) bool: True beyond the text's end


class GateWeights(NamedTuple):
    """Weights of an LSTM's gates in torch's order (i, f, n, o), for its inputs and for what it feeds back."""

    given: Tensor  # (4H, I)
    bias: Tensor  # (4H)
    recurrent: Tensor  # (4H, ...)


def attend(
    layer: AttentionLayer,
    weights: GateWeights,  # fed back are the hidden state and the context: (4H, H + E)
    inputs: Tensor,  # (T, B, P)
    dropout: Dropout | None,  # (T, B, H)
    text: AttendedText,
) -> tuple[Tensor, Tensor]:
    """All decoder steps at once: hidden states beside contexts (T, B, H + E), weights (T, B, L)."""
    query, v = layer.query_layer.linear_layer.weight, layer.v.linear_layer.weight.squeeze(0)
    _, length, width = text.keys.shape
    computed_by = blocks if blocks.serves(inputs, width, length) else by_step(inputs)
    found: tuple[Tensor, Tensor] = computed_by.AttentionRecurrence.apply(
        inputs, *weights, query, text.keys, text.memory, text.kernel, v, text.padding, dropout
    )
    return found


def recurrent_lstm(weights: GateWeights, inputs: Tensor, passed: int, dropout: Dropout | None) -> Tensor:
    """An LSTM whose dropped hidden state is fed back, as in NVIDIA's decoder.

    Inputs (T, B, I); hidden states beside the last `passed` inputs (T, B, H + passed).
    """
    computed_by = blocks if blocks.serves(inputs) else by_step(inputs)
    states: Tensor = computed_by.RecurrentLSTM.apply(inputs, *weights, passed, dropout)
    return states


def by_step(inputs: Tensor) -> Any:
    """The module that computes such inputs one decoder step after another."""
    if inputs.device.type != "cpu":
        return recurrence
    fused = importlib.import_module("model.network.fused")  # where it is used: Numba takes a while
    return fused if fused.serves(inputs) else recurrence
