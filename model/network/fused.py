"""The decoder's recurrences on a CPU: all that lies between a step's products is a few compiled loops.

A small network's step is bound by the number of its operations, each of which takes microseconds before it
computes anything. So Numba, which librosa brings, compiles all of a decoder step but its matrix products
(loops.py). What is computed, and what each tensor means, is told in recurrence.py, which is also the
reference and serves other types and devices.
"""

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.network import loops, recurrence
from model.network.products import Dropout, Packed, linear, linear_gradients, weight_gradient

BLOCK = 16  # steps whose part of the location kernel's gradient is one product


def serves(inputs: Tensor) -> bool:
    """Whether such inputs can be computed here."""
    jit: bool = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
    return jit and inputs.device.type == "cpu" and inputs.dtype == torch.float32


def _zeros(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


class Energy:
    """As recurrence.Energy, in an array."""

    def __init__(self, query: Tensor, keys: Tensor, kernel: Tensor, lengths: Tensor) -> None:
        batch, length, _ = keys.shape
        self._keys, self._lengths = (2.0 * keys).numpy(), lengths.numpy()
        self._query = Packed(2.0 * query, batch)
        self._location = Packed(2.0 * kernel.flatten(1), batch * length)

    def sigmoid(self, windows: Tensor, hidden: Tensor, out: NDArray[np.float32]) -> None:
        located, asked = self._location(windows).numpy(), self._query(hidden).numpy()
        loops.energies(located, self._keys, asked, self._lengths, out)


class Cell:
    """As recurrence.Cell."""

    def __init__(self, like: Tensor, batch: int, width: int) -> None:
        self._cells, self._states = _zeros(2, batch, width), _zeros(2, batch, width)
        self._kept, self._nothing = np.ones((1, batch, width), np.bool_), _zeros(batch, 4 * width)
        self._hidden = _zeros(batch, width)

    def __call__(self, gates: Tensor) -> Tensor:
        dropout = self._kept, loops.ONE
        arrays = self._nothing, *dropout, self._cells, self._states, self._hidden
        loops.lstm_cell(0, gates.unsqueeze(0).numpy(), *arrays)
        self._cells[0] = self._cells[1]
        return torch.from_numpy(self._hidden)


class Attention:
    """As recurrence.Attention."""

    def __init__(
        self, query: Tensor, keys: Tensor, memory: Tensor, kernel: Tensor, v: Tensor, padding: Tensor
    ) -> None:
        (batch, length, width), taps = keys.shape, kernel.shape[2]
        lengths = (~padding).sum(dim=1)
        self._energy, self._s = Energy(query, keys, kernel, lengths), _zeros(batch, length, width)
        self._windows = keys.new_zeros(batch * length, 2 * taps)
        text = (2.0 * v).numpy(), lengths.numpy(), memory.contiguous().numpy()
        self._alphas, self._states = _zeros(1, batch, length), _zeros(2, batch, memory.shape[2])
        made = self._alphas, self._states, self._windows.numpy(), taps
        self._arrays = self._s, *text, _zeros(batch, length), *made

    def __call__(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        self._energy.sigmoid(self._windows, hidden, self._s)
        loops.attend(0, *self._arrays)
        return torch.from_numpy(self._alphas[0].copy()), torch.from_numpy(self._states[1])


def _kept(dropout: Dropout | None, like: Tensor) -> tuple[Tensor, np.float32]:
    """Which elements of the states like (T, B, H) are kept, and by what these are multiplied."""
    kept, scale = dropout or (like.new_ones(like.shape, dtype=torch.bool), 1.0)
    return kept, np.float32(scale)


class RecurrentLSTM(torch.autograd.Function):
    """As recurrence.RecurrentLSTM."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        given: Tensor,
        bias: Tensor,
        weight: Tensor,
        passed: int,
        dropout: Dropout | None,
    ) -> Tensor:
        gates, (n, batch, _), width = linear(inputs, given, bias), inputs.shape, weight.shape[1]
        cells = inputs.new_zeros(n + 1, batch, width)  # zero before the first step
        states = inputs.new_zeros(n + 1, batch, width + passed)  # likewise
        states[1:, :, width:] = inputs[:, :, inputs.shape[2] - passed :]
        kept, ctx.scale = _kept(dropout, cells[1:])
        packed, hidden, g = Packed(weight, batch), inputs.new_zeros(batch, width), gates.numpy()
        arrays = kept.numpy(), ctx.scale, cells.numpy(), states.numpy(), hidden.numpy()
        for t in range(n):
            loops.lstm_cell(t, g, packed(hidden).numpy(), *arrays)
        ctx.save_for_backward(inputs, given, weight, kept, gates, cells, states)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        inputs, given, weight, kept, gates, cells, states = ctx.saved_tensors
        (n, batch, width), d_out = kept.shape, d_out.contiguous()
        packed, carried = Packed(weight.t(), batch), cells.new_zeros(batch, width)
        outer, dropout = d_out.numpy(), (kept.numpy(), ctx.scale)
        arrays = gates.numpy(), *dropout, cells.numpy(), _zeros(batch, width), _zeros(batch, width)
        for t in reversed(range(n)):
            loops.lstm_gradient(t, outer, carried.numpy(), *arrays)
            carried = packed(gates[t])
        d_weight = weight_gradient(gates.flatten(0, 1), states[:-1, :, :width].flatten(0, 1))
        d_inputs, *d_given = linear_gradients(gates, inputs, given)
        d_passed = d_out[:, :, width:]
        d_inputs[:, :, inputs.shape[2] - d_passed.shape[2] :] += d_passed
        return d_inputs, *d_given, d_weight, None, None


class AttentionRecurrence(torch.autograd.Function):
    """As recurrence.AttentionRecurrence."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        given: Tensor,
        bias: Tensor,
        weight: Tensor,
        query: Tensor,
        keys: Tensor,
        memory: Tensor,
        kernel: Tensor,
        v: Tensor,
        padding: Tensor,
        dropout: Dropout | None,
    ) -> tuple[Tensor, Tensor]:
        (n, batch, _), length, hidden_dim = inputs.shape, keys.shape[1], query.shape[1]
        gates = linear(inputs, given, bias)
        cells = inputs.new_zeros(n + 1, batch, hidden_dim)  # zero before the first step
        states = inputs.new_zeros(n + 1, batch, weight.shape[1])  # [h, x], likewise
        alphas = inputs.new_empty(n, batch, length)
        keep = n * keys.numel() * keys.element_size() <= recurrence.SAVED_ENERGY_BYTES
        energies = keys.new_zeros(n if keep else 1, *keys.shape)
        lengths, taps = (~padding).sum(dim=1), kernel.shape[2]
        energy, to_gates = Energy(query, keys, kernel, lengths), Packed(weight, batch)
        hidden, windows = inputs.new_zeros(batch, hidden_dim), keys.new_zeros(batch * length, 2 * taps)
        kept, ctx.scale = _kept(dropout, cells[1:])
        g, s, all_states = gates.numpy(), energies.numpy(), states.numpy()
        of_cell = kept.numpy(), ctx.scale, cells.numpy(), all_states, hidden.numpy()
        of_text = (2.0 * v).numpy(), lengths.numpy(), memory.contiguous().numpy(), _zeros(batch, length)
        made = alphas.numpy(), all_states, windows.numpy(), taps
        for t, before in enumerate(states[:-1].unbind()):
            loops.lstm_cell(t, g, to_gates(before).numpy(), *of_cell)
            now = s[t if keep else 0]
            energy.sigmoid(windows, hidden, now)
            loops.attend(t, now, *of_text, *made)
        parameters = (inputs, given, weight, query, keys, memory, kernel, v, kept, lengths)
        ctx.save_for_backward(*parameters, gates, cells, states, alphas, energies if keep else None)
        return states[1:], alphas

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_features: Tensor, d_alpha: Tensor) -> tuple[Tensor | None, ...]:
        inputs, given, weight, query, keys, memory, kernel, v, kept, lengths = ctx.saved_tensors[:10]
        gates, cells, states, alphas, energies = ctx.saved_tensors[10:]
        (n, batch, length), (width, hidden_dim), taps = alphas.shape, query.shape, kernel.shape[2]
        from_gates, from_query = Packed(weight.t(), batch), Packed(query.t(), batch)
        from_location = Packed(kernel.flatten(1).t(), batch * length)
        energy = Energy(query, keys, kernel, lengths) if energies is None else None
        d_queries, d_contexts = keys.new_empty(n, batch, width), memory.new_empty(n, batch, memory.shape[2])
        d_keys, d_v, d_kernel = torch.zeros_like(keys), torch.zeros_like(v), keys.new_zeros(2 * taps, width)
        # Zero, and so it stays beyond a text's end.
        d_z = keys.new_zeros(BLOCK, batch * length, width)
        windows = keys.new_zeros(BLOCK, batch * length, 2 * taps)
        s = _zeros(1, *keys.shape) if energies is None else energies.numpy()
        a, sums, zeros = alphas.numpy(), alphas.cumsum(0).numpy(), _zeros(batch, length)
        carried, of_weights = torch.zeros_like(states[0]), (_zeros(batch, length), _zeros(batch, length))
        outer, of_alphas = d_features.contiguous().numpy(), d_alpha.contiguous().numpy()
        of_text = v.numpy(), lengths.numpy(), memory.contiguous().numpy(), a
        made, summed_up = (d_contexts.numpy(), d_queries.numpy()), (d_keys.numpy(), d_v.numpy())
        w, z, of_cell = windows.numpy(), d_z.numpy(), (gates.numpy(), kept.numpy(), ctx.scale, cells.numpy())
        d_hidden, d_cell = _zeros(batch, hidden_dim), _zeros(batch, hidden_dim)
        for t in reversed(range(n)):
            place, now, inner = t % BLOCK, s[0 if energies is None else t], carried.numpy()
            loops.see(a[t - 1] if t else zeros, sums[t - 1] if t else zeros, w[place], taps)
            if energy is not None:
                energy.sigmoid(windows[place], states[t + 1, :, :hidden_dim].contiguous(), now)
            from_after = outer, of_alphas, inner, of_weights[0]
            loops.attend_gradient(t, *from_after, now, *of_text, *made, z[place], *summed_up)
            to_windows, to_hidden = from_location(d_z[place]).numpy(), from_query(d_queries[t]).numpy()
            from_step = to_windows, taps, to_hidden, outer, inner, *of_weights
            loops.attention_gradient(t, *from_step, *of_cell, d_hidden, d_cell)
            carried = from_gates(gates[t])
            if place == 0:
                used = min(BLOCK, n - t)
                d_kernel.addmm_(windows[:used].flatten(0, 1).t(), d_z[:used].flatten(0, 1))
        d_weight = weight_gradient(gates.flatten(0, 1), states[:-1].flatten(0, 1))
        d_query = weight_gradient(d_queries.flatten(0, 1), states[1:, :, :hidden_dim].flatten(0, 1))
        d_memory = torch.bmm(alphas.permute(1, 2, 0), d_contexts.transpose(0, 1))
        return (
            *linear_gradients(gates, inputs, given),
            d_weight,
            d_query,
            d_keys,
            d_memory,
            d_kernel.t().reshape(kernel.shape),
            d_v,
            None,
            None,
        )
