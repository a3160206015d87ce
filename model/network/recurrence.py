"""The decoder's recurrences with their backward in closed form.

Autograd would run some 90 small operations backward for each decoder step and add a whole weight
gradient each time. Here the loop only carries what must be carried; every weight gradient is one
product over all steps after it. Names follow the equations; rows are samples, t runs over steps:

    g_t = P_t + [h_{t-1}, x_{t-1}] Wᵀ             split i, f, n, o (n the cell's candidate)
    c_t = f∘c_{t-1} + i∘n;  h_t = m_t∘o∘tanh c_t  m_t the scaled dropout mask
    θ_t = tanh(M + h_t Qᵀ + unfold(α_{t-1}, S_{t-1}) K),  S_t the sum of α up to t
    α_t = softmax(θ_t v), x_t = α_t Y

unfold gives each position of a text the taps around it, so a convolution is a product with K.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.network.products import Dropout, Packed, linear, linear_gradients, weight_gradient

# θ of all steps is kept for the backward up to this size, and computed again beyond it: a small
# network's step is bound by the number of its operations, a large one's peak by what is kept.
SAVED_ENERGY_BYTES = 40 << 20
BLOCK = 16  # steps whose dropout masks and gate factors are computed together


class Taps:
    """The last and the summed attention weights of a batch, seen through a convolution's window."""

    def __init__(self, like: Tensor, batch: int, length: int, taps: int) -> None:
        self._edge = taps // 2
        self._padded = like.new_zeros(batch, 2, length + taps - 1)
        b, c, n = self._padded.stride()
        self._view = self._padded.as_strided((batch, length, 2, taps), (b, n, c, n))
        self._inner = self._padded[:, :, self._edge : self._edge + length]

    def see(self, weights: Tensor, summed: Tensor) -> Tensor:
        """The windows (B·L, 2·taps) around each position of the last and the summed weights (B, L)."""
        self._inner[:, 0], self._inner[:, 1] = weights, summed
        return self._view.flatten(2).flatten(0, 1)


class Diagonals:
    """The adjoint of Taps: what every window gives back to a position, as one sum over a view."""

    def __init__(self, like: Tensor, batch: int, length: int, taps: int) -> None:
        # Taps are kept in reverse, so that walking one row on and one tap on is a positive stride.
        self._padded = like.new_zeros(batch, length + taps - 1, 2, taps)
        edge = taps // 2
        self._rows = self._padded[:, edge : edge + length]
        b, n, c, j = self._padded.stride()
        self._view = self._padded.as_strided((batch, 2, length, taps), (b, c, n, n + j))

    def sum(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients (B, L) of the last and the summed weights, from windows (B·L, 2·taps), taps reversed."""
        self._rows.copy_(windows.view(self._rows.shape))
        last, summed = self._view.sum(dim=3).unbind(dim=1)
        return last, summed


class Energy:
    """s = σ(2z), z = M + h Qᵀ + unfold(α, S) K: what the energies are made of."""

    def __init__(self, query: Tensor, keys: Tensor, kernel: Tensor) -> None:
        batch, length, _ = keys.shape
        self.taps = Taps(keys, batch, length, kernel.shape[2])
        self._keys, self._query = 2.0 * keys, Packed(2.0 * query, batch)
        self._location = Packed(2.0 * kernel.flatten(1), batch * length)

    def sigmoid(self, windows: Tensor, hidden: Tensor, out: Tensor | None = None) -> Tensor:
        """s (B, L, A), from windows (B·L, 2·taps) and the hidden state (B, H)."""
        z: Tensor = torch.add(self._location(windows).view_as(self._keys), self._keys, out=out)
        return z.add_(self._query(hidden).unsqueeze(1)).sigmoid_()


class EnergyGradients:
    """The gradients of M, K and v, summed up from the last step to the first."""

    def __init__(self, keys: Tensor, kernel: Tensor, v: Tensor) -> None:
        (batch, length, _), (_, _, taps) = keys.shape, kernel.shape
        self.keys, self.v = torch.zeros_like(keys), torch.zeros_like(v)
        self._v, self._like, self._kernel = 4.0 * v, kernel, keys.new_zeros(2 * taps, v.shape[0])
        self._diagonals = Diagonals(keys, batch, length, taps)
        self._from_location = Packed(kernel.flip(2).flatten(1).t(), batch * length)

    def step(self, windows: Tensor, s: Tensor, d_energies: Tensor, d_query: Tensor) -> tuple[Tensor, Tensor]:
        """Writes d_query (B, A); returns the gradients (B, L) of the last and the summed weights."""
        rows, d_rows = s.view(-1, s.shape[2]), d_energies.reshape(-1)
        # (1 - tanh² z) v = 4 s (1 - s) v
        d_z = torch.ops.aten.sigmoid_backward(torch.outer(d_rows, self._v), rows)
        self.v.addmv_(rows.t(), d_rows, alpha=2.0)
        self._kernel.addmm_(windows.t(), d_z)
        self.keys += d_z.view_as(s)
        torch.sum(d_z.view_as(s), dim=1, out=d_query)
        return self._diagonals.sum(self._from_location(d_z))

    def kernel(self) -> Tensor:
        return self._kernel.t().reshape(self._like.shape)


def activate(gates: Tensor, before: Tensor, cell: Tensor) -> Tensor:
    """Turn summed gate inputs (B, 4H) into i, f, n, o in place, write the cell; returns the hidden state."""
    i, f, n, o = gates.chunk(4, dim=1)
    torch.sigmoid_(gates[:, : 2 * i.shape[1]])
    n.tanh_()
    o.sigmoid_()
    torch.addcmul(f * before, i, n, out=cell)
    return torch.tanh(cell).mul_(o)


class Cell:
    """An LSTM's cell, one step after another, without gradients."""

    def __init__(self, like: Tensor, batch: int, width: int) -> None:
        self._cell = like.new_zeros(batch, width)

    def __call__(self, gates: Tensor) -> Tensor:
        """The hidden state (B, H), valid until the next call; summed gate inputs (B, 4H) are lost."""
        return activate(gates, self._cell, self._cell)


class Attention:
    """Location-sensitive attention, one step after another, without gradients.

    Arguments are those of AttentionRecurrence.
    """

    def __init__(
        self, query: Tensor, keys: Tensor, memory: Tensor, kernel: Tensor, v: Tensor, padding: Tensor
    ) -> None:
        self._energy, self._v = Energy(query, keys, kernel), 2.0 * v
        self._memory, self._padding = memory, padding
        self._weights = self._summed = memory.new_zeros(padding.shape)

    def __call__(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (B, L) and context (B, E), which is valid until the next call, of a hidden state (B, H)."""
        windows = self._energy.taps.see(self._weights, self._summed)
        energies = self._energy.sigmoid(windows, hidden) @ self._v
        self._weights = torch.softmax(energies.masked_fill_(self._padding, -torch.inf), dim=1)
        self._summed = self._summed + self._weights
        return self._weights, torch.bmm(self._weights.unsqueeze(1), self._memory).squeeze(1)


class GateGradients:
    """The gradients of the summed gate inputs, from the last step to the first, in the gates' place.

    All that steps know without the steps after them is computed for a block of them at once: a step
    then only multiplies by what it is given, and a block stays in the cache.
    """

    def __init__(self, gates: Tensor, cells: Tensor, dropout: Dropout | None) -> None:
        """gates (T, B, 4H), cells (T + 1, B, H), dropout (T, B, H) or None."""
        known = (torch.split(x, BLOCK) for x in (gates, cells[1:], cells[:-1]))
        self._blocks = list(_together(*known, dropout and dropout.split(BLOCK)))
        self._steps: list[tuple[Any, ...]] = []
        self._d_cell = torch.zeros_like(cells[0])

    def step(self, d_hidden: Tensor) -> Tensor:
        """Gradients (B, 4H) of a step's gate inputs; d_hidden (B, H) is that of the state after dropout."""
        if not self._steps:
            self._steps = self._factors(*self._blocks.pop())
        d_gates: Tensor
        d_gates, to_ifn, to_o, to_cell, forget = self._steps.pop()
        d_cell = torch.addcmul(self._d_cell, d_hidden, to_cell)
        to_ifn *= d_cell.unsqueeze(1)
        to_o *= d_hidden
        self._d_cell = d_cell.mul_(forget)
        return d_gates

    @staticmethod
    def _factors(
        gates: Tensor, cells: Tensor, before: Tensor, dropout: Dropout | None
    ) -> list[tuple[Any, ...]]:
        i, f, n, o = gates.chunk(4, dim=2)
        forget, emitted = f.clone(), o * (1.0 if dropout is None else dropout.mask(o.dtype))
        tau = torch.tanh(cells)
        to_i = (i * n).mul_(1.0 - i)
        torch.mul(i, 1.0 - n * n, out=n)
        torch.mul(forget * before, 1.0 - forget, out=f)
        torch.mul(emitted * tau, 1.0 - o, out=o)
        i.copy_(to_i)
        to_cell = tau.square_().neg_().add_(1.0).mul_(emitted)
        by_gate = gates.view(*cells.shape[:2], 4, -1)
        return list(steps(gates, by_gate[:, :, :3], by_gate[:, :, 3], to_cell, forget))


def _shifted(states: Tensor) -> Tensor:
    """The states (T, B, H), each one step later: zeros come first."""
    return torch.cat((torch.zeros_like(states[:1]), states[:-1]))


def _masks(dropout: Dropout | None, dtype: torch.dtype) -> Iterator[Tensor | None]:
    """The scaled dropout mask (B, H) of each step, or None for each where nothing is dropped."""
    if dropout is None:
        yield from repeat(None)
    else:
        for block in dropout.split(BLOCK):
            yield from block.mask(dtype).unbind()


def _together(*columns: Sequence[Any] | None) -> Iterator[tuple[Any, ...]]:
    """The columns row by row; one that is None gives None in every row."""
    return zip(*(repeat(None) if column is None else column for column in columns), strict=False)


def steps(*states: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """The states (T, ...) of one step after another. Views made one by one would cost more each."""
    return _together(*(x if x is None else x.unbind() for x in states))


def back(*states: Tensor | None) -> list[tuple[Any, ...]]:
    """The states (T, ...) from the last step to the first."""
    return list(steps(*states))[::-1]


class RecurrentLSTM(torch.autograd.Function):
    """An LSTM whose dropped hidden state is fed back, as in NVIDIA's decoder.

    Arguments: inputs (T, B, I), their weight (4H, I) and bias (4H), W (4H, H), how many of the inputs
    (their last) to hand on, dropout (T, B, H) or None. Returns h beside these inputs (T, B, H + ...): one
    tensor for what is fed back and for the layer behind, and for their gradients.
    """

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
        h, packed = cells[0], Packed(weight, batch)
        each = steps(gates, cells[:-1], cells[1:], states[1:, :, :width])
        for (g, c, cell, after), mask in zip(each, _masks(dropout, gates.dtype), strict=False):
            g += packed(h)
            h = activate(g, c, cell)
            if mask is not None:
                h *= mask
            after.copy_(h)
        kept, ctx.scale = dropout or (None, 1.0)
        ctx.save_for_backward(inputs, given, weight, kept, gates, cells, states)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        inputs, given, weight, kept, gates, cells, states = ctx.saved_tensors
        d_hidden, d_passed = d_out.tensor_split([weight.shape[1]], dim=2)
        dropout = None if kept is None else Dropout(kept, ctx.scale)
        d_gates, packed = GateGradients(gates, cells, dropout), Packed(weight.t(), gates.shape[1])
        carried = torch.zeros_like(cells[0])
        for (d_h,) in back(d_hidden):
            carried = packed(d_gates.step(d_h + carried))
        del packed, d_gates  # large, and of no more use
        d_weight = weight_gradient(gates.flatten(0, 1), states[:-1, :, : weight.shape[1]].flatten(0, 1))
        d_inputs, *d_given = linear_gradients(gates, inputs, given)
        d_inputs[:, :, inputs.shape[2] - d_passed.shape[2] :] += d_passed
        return d_inputs, *d_given, d_weight, None, None


class AttentionRecurrence(torch.autograd.Function):
    """Location-sensitive attention over all decoder steps.

    Arguments: inputs (T, B, I), their weight (4H, I) and bias (4H), W (4H, H + E), Q (A, H),
    M (B, L, A), Y (B, L, E), kernel (A, 2, taps), v (A), padding (B, L) bool, dropout (T, B, H) or
    None. Returns [h, x] (T, B, H + E), α (T, B, L).

    The energies are computed as tanh z = 2s - 1, s = σ(2z): several times cheaper, and the softmax
    does not see the -1, which moves all energies of a text alike.
    """

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
        (n, batch, _), (length, width) = inputs.shape, keys.shape[1:]
        hidden_dim = query.shape[1]
        gates = linear(inputs, given, bias)
        cells = inputs.new_zeros(n + 1, batch, hidden_dim)  # zero before the first step
        states = inputs.new_zeros(n + 1, batch, weight.shape[1])  # [h, x], likewise
        alphas = inputs.new_empty(n, batch, length)
        keep = n * keys.numel() * keys.element_size() <= SAVED_ENERGY_BYTES
        kept = keys.new_empty(n if keep else 1, *keys.shape)
        energy = Energy(query, keys, kernel)
        to_gates, doubled_v = Packed(weight, batch), 2.0 * v
        alpha = summed = inputs.new_zeros(batch, length)
        each = steps(gates, cells[:-1], cells[1:], states[:-1], states[1:], alphas)
        masks = _masks(dropout, gates.dtype)
        for t, ((g, c, cell, before, after, alpha_out), mask) in enumerate(zip(each, masks, strict=False)):
            g += to_gates(before)
            h = activate(g, c, cell)
            if mask is not None:
                h *= mask
            s = energy.sigmoid(energy.taps.see(alpha, summed), h, out=kept[t if keep else 0])
            energies = (s.view(-1, width) @ doubled_v).view(batch, length).masked_fill_(padding, -torch.inf)
            alpha = torch.softmax(energies, dim=1, out=alpha_out)
            summed = summed + alpha
            torch.cat((h, torch.bmm(alpha.unsqueeze(1), memory).squeeze(1)), dim=1, out=after)
        masked, ctx.scale = dropout or (None, 1.0)
        parameters = (inputs, given, weight, query, keys, memory, kernel, v, masked)
        ctx.save_for_backward(*parameters, gates, cells, states, alphas, kept if keep else None)
        return states[1:], alphas

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_features: Tensor, d_alpha: Tensor) -> tuple[Tensor | None, ...]:
        inputs, given, weight, query, keys, memory, kernel, v, masked = ctx.saved_tensors[:9]
        gates, cells, states, alphas, kept = ctx.saved_tensors[9:]
        (n, batch, _), (width, hidden_dim) = alphas.shape, query.shape
        sizes = [hidden_dim, memory.shape[2]]
        energy, d_energy = Energy(query, keys, kernel), EnergyGradients(keys, kernel, v)
        dropout = None if masked is None else Dropout(masked, ctx.scale)
        d_gates, d_queries = GateGradients(gates, cells, dropout), keys.new_empty(n, batch, width)
        d_contexts, transposed = memory.new_empty(n, batch, sizes[1]), memory.transpose(1, 2).contiguous()
        from_gates, from_query = Packed(weight.t(), batch), Packed(query.t(), batch)
        carried = torch.zeros_like(states[0])
        carried_a = carried_s = torch.zeros_like(alphas[0])
        hidden = states[1:, :, :hidden_dim]
        outer = (*torch.split(d_features, sizes, dim=2), d_alpha)
        before = _shifted(alphas), _shifted(alphas.cumsum(0))
        each = back(*outer, alphas, *before, hidden, kept, d_contexts, d_queries)
        for d_h, d_x, d_a, alpha, last, summed, h, s, d_context, d_query in each:
            windows = energy.taps.see(last, summed)
            torch.add(d_x, carried[:, hidden_dim:], out=d_context)
            d_weights = torch.bmm(d_context.unsqueeze(1), transposed).squeeze(1)
            d_weights += d_a + carried_a + carried_s
            d_e = torch._softmax_backward_data(d_weights, alpha, 1, alpha.dtype)
            s = energy.sigmoid(windows, h) if s is None else s
            carried_a, to_summed = d_energy.step(windows, s, d_e, d_query)
            carried_s = carried_s + to_summed
            d_hidden = from_query(d_query).add_(carried[:, :hidden_dim]).add_(d_h)
            carried = from_gates(d_gates.step(d_hidden))
        del from_gates, d_gates  # large, and of no more use
        d_weight = weight_gradient(gates.flatten(0, 1), states[:-1].flatten(0, 1))
        d_query = weight_gradient(d_queries.flatten(0, 1), hidden.flatten(0, 1))
        d_memory = torch.bmm(alphas.permute(1, 2, 0), d_contexts.transpose(0, 1))
        d_inputs = linear_gradients(gates, inputs, given)
        return (
            *d_inputs,
            d_weight,
            d_query,
            d_energy.keys,
            d_memory,
            d_energy.kernel(),
            d_energy.v,
            None,
            None,
        )
