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

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.products import Packed, product

# θ of all steps is kept for the backward up to this size, and computed again beyond it.
SAVED_ENERGY_BYTES = 1 << 29


class Taps:
    """The last and the summed attention weights of a batch, seen through a convolution's window."""

    def __init__(self, like: Tensor, batch: int, length: int, taps: int) -> None:
        self._edge = taps // 2
        self._padded = like.new_zeros(batch, 2, length + taps - 1)
        b, c, n = self._padded.stride()
        self._view = self._padded.as_strided((batch, length, 2, taps), (b, n, c, n))
        self._inner = self._padded[:, :, self._edge : self._edge + length]

    def see(self, weights: Tensor, summed: Tensor) -> Tensor:
        """(B, L) twice to (B·L, 2·taps)."""
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
        """(B·L, 2·taps), taps reversed, to the gradients (B, L) of the last and the summed weights."""
        self._rows.copy_(windows.view(self._rows.shape))
        last, summed = self._view.sum(dim=3).unbind(dim=1)
        return last, summed


def _activate(gates: Tensor, before: Tensor, cell: Tensor) -> Tensor:
    """Turn summed gate inputs (B, 4H) into i, f, n, o in place, write the cell; returns the hidden state."""
    i, f, n, o = gates.chunk(4, dim=1)
    torch.sigmoid_(gates[:, : 2 * i.shape[1]])
    n.tanh_()
    o.sigmoid_()
    torch.addcmul(f * before, i, n, out=cell)
    return torch.tanh(cell).mul_(o)


class GateGradients:
    """The gradients of the summed gate inputs, from the last step to the first.

    All that a step knows without the steps after it is one product here for all steps, so that a
    step only multiplies by what it is given.
    """

    def __init__(self, gates: Tensor, cells: Tensor, dropout: Tensor | None) -> None:
        i, f, n, o = gates.chunk(4, dim=2)
        self.all = torch.empty_like(gates)  # (T, B, 4H), filled with factors first
        to_i, to_f, to_n, to_o = self.all.chunk(4, dim=2)
        torch.mul(i * n, 1.0 - i, out=to_i)
        torch.mul(f * _shifted(cells), 1.0 - f, out=to_f)
        torch.mul(i, 1.0 - n * n, out=to_n)
        tau, emitted = torch.tanh(cells), o if dropout is None else o * dropout
        torch.mul(emitted * tau, 1.0 - o, out=to_o)
        self._to_cell = tau.square_().neg_().add_(1.0).mul_(emitted)
        self._forget, self._d_cell = f, torch.zeros_like(cells[0])

    def step(self, t: int, d_hidden: Tensor) -> Tensor:
        """d_hidden (B, H), before the dropout's mask; returns (B, 4H)."""
        d_cell = torch.addcmul(self._d_cell, d_hidden, self._to_cell[t])
        by_gate = self.all[t].view(d_hidden.shape[0], 4, -1)
        by_gate[:, :3] *= d_cell.unsqueeze(1)
        by_gate[:, 3] *= d_hidden
        self._d_cell = d_cell.mul_(self._forget[t])
        return self.all[t]


def _shifted(states: Tensor) -> Tensor:
    """(T, B, H) one step later: zeros first."""
    return torch.cat((torch.zeros_like(states[:1]), states[:-1]))


class RecurrentLSTM(torch.autograd.Function):
    """An LSTM whose dropped hidden state is fed back, as in NVIDIA's decoder: P (T, B, 4H) to h (T, B, H)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, dropout: Tensor | None) -> Tensor:
        steps, batch, width = inputs.shape[0], inputs.shape[1], weight.shape[1]
        gates, cells = torch.empty_like(inputs), inputs.new_empty(steps, batch, width)
        hidden, packed = torch.empty_like(cells), Packed(weight, batch)
        h = c = inputs.new_zeros(batch, width)
        for t in range(steps):
            torch.add(inputs[t], packed(h), out=gates[t])
            h = _activate(gates[t], c, cells[t])
            if dropout is not None:
                h *= dropout[t]
            c, hidden[t] = cells[t], h
        ctx.save_for_backward(weight, dropout, gates, cells, hidden)
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor, None]:
        weight, dropout, gates, cells, hidden = ctx.saved_tensors
        d_gates, packed = GateGradients(gates, cells, dropout), Packed(weight.t(), gates.shape[1])
        carried = torch.zeros_like(cells[0])
        for t in reversed(range(len(gates))):
            carried = packed(d_gates.step(t, d_out[t] + carried))
        d_weight = product(d_gates.all.flatten(0, 1).t(), _shifted(hidden).flatten(0, 1))
        return d_gates.all, d_weight, None


class AttentionRecurrence(torch.autograd.Function):
    """Location-sensitive attention over all decoder steps.

    Arguments: P (T, B, 4H), W (4H, H + E), Q (A, H), M (B, L, A), Y (B, L, E), kernel (A, 2, taps),
    v (A), padding (B, L) bool, dropout (T, B, H) or None. Returns [h, x] (T, B, H + E), α (T, B, L).
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        query: Tensor,
        keys: Tensor,
        memory: Tensor,
        kernel: Tensor,
        v: Tensor,
        padding: Tensor,
        dropout: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        (steps, batch, _), (length, width) = inputs.shape, keys.shape[1:]
        hidden_dim = query.shape[1]
        gates = torch.empty_like(inputs)
        cells = inputs.new_empty(steps, batch, hidden_dim)
        states = inputs.new_zeros(steps + 1, batch, weight.shape[1])  # [h, x], zero before the first step
        alphas = inputs.new_empty(steps, batch, length)
        keep = steps * keys.numel() * keys.element_size() <= SAVED_ENERGY_BYTES
        thetas = keys.new_empty(steps if keep else 1, *keys.shape)
        taps = Taps(keys, batch, length, kernel.shape[2])
        to_gates, to_query = Packed(weight, batch), Packed(query, batch)
        to_location = Packed(kernel.flatten(1), batch * length)
        c = inputs.new_zeros(batch, hidden_dim)
        alpha = summed = inputs.new_zeros(batch, length)
        for t in range(steps):
            torch.add(inputs[t], to_gates(states[t]), out=gates[t])
            h = _activate(gates[t], c, cells[t])
            if dropout is not None:
                h *= dropout[t]
            theta = thetas[t if keep else 0]
            torch.add(to_location(taps.see(alpha, summed)).view_as(keys), keys, out=theta)
            theta.add_(to_query(h).unsqueeze(1)).tanh_()
            energies = (theta.view(-1, width) @ v).view(batch, length).masked_fill_(padding, -torch.inf)
            alpha = torch.softmax(energies, dim=1, out=alphas[t])
            summed = summed + alpha
            c, states[t + 1, :, :hidden_dim] = cells[t], h
            torch.bmm(alpha.unsqueeze(1), memory, out=states[t + 1, :, hidden_dim:].unsqueeze(1))
        saved = thetas if keep else None
        ctx.save_for_backward(
            weight, query, keys, memory, kernel, v, dropout, gates, cells, states, alphas, saved
        )
        return states[1:], alphas

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_features: Tensor, d_alpha: Tensor) -> tuple[Tensor | None, ...]:
        weight, query, keys, memory, kernel, v, dropout, gates, cells, states, alphas, thetas = (
            ctx.saved_tensors
        )
        steps, batch, length = alphas.shape
        (width, hidden_dim), n_taps = query.shape, kernel.shape[2]
        hidden = states[1:, :, :hidden_dim]
        taps, diagonals = Taps(keys, batch, length, n_taps), Diagonals(keys, batch, length, n_taps)
        before_a, summed = _shifted(alphas), _shifted(alphas.cumsum(0))
        d_gates, d_queries = GateGradients(gates, cells, dropout), keys.new_empty(steps, batch, width)
        d_contexts, d_v = torch.empty_like(states[1:, :, hidden_dim:]), torch.zeros_like(v)
        d_kernel, d_keys = torch.zeros_like(kernel.flatten(1)), torch.zeros_like(keys)
        from_gates, from_query = Packed(weight.t(), batch), Packed(query.t(), batch)
        to_query, to_location = Packed(query, batch), Packed(kernel.flatten(1), batch * length)
        from_location = Packed(kernel.flip(2).flatten(1).t(), batch * length)
        carried, carried_a = torch.zeros_like(states[0]), torch.zeros_like(alphas[0])
        carried_s = carried_a
        for t in reversed(range(steps)):
            windows = taps.see(before_a[t], summed[t])
            if thetas is None:
                theta = to_location(windows).view_as(keys).add_(keys)
                theta = theta.add_(to_query(hidden[t]).unsqueeze(1)).tanh_().view(-1, width)
            else:
                theta = thetas[t].view(-1, width)
            torch.add(d_features[t, :, hidden_dim:], carried[:, hidden_dim:], out=d_contexts[t])
            a = torch.bmm(memory, d_contexts[t].unsqueeze(2)).squeeze(2)
            a += d_alpha[t] + carried_a + carried_s
            d_energy = alphas[t] * (a - (alphas[t] * a).sum(dim=1, keepdim=True))
            d_theta = torch.addcmul(v, v * theta, theta, value=-1.0).mul_(d_energy.view(-1, 1))
            d_v.addmv_(theta.t(), d_energy.view(-1))
            d_kernel.addmm_(d_theta.t(), windows)
            d_keys += d_theta.view_as(keys)
            torch.sum(d_theta.view_as(keys), dim=1, out=d_queries[t])
            carried_a, to_summed = diagonals.sum(from_location(d_theta))
            carried_s = carried_s + to_summed
            d_hidden = from_query(d_queries[t]).add_(carried[:, :hidden_dim])
            carried = from_gates(d_gates.step(t, d_hidden.add_(d_features[t, :, :hidden_dim])))
        d_weight = product(d_gates.all.flatten(0, 1).t(), states[:-1].flatten(0, 1))
        d_query = product(d_queries.flatten(0, 1).t(), hidden.flatten(0, 1))
        d_memory = torch.bmm(alphas.permute(1, 2, 0), d_contexts.transpose(0, 1))
        d_taps = d_kernel.view(kernel.shape)
        return d_gates.all, d_weight, d_query, d_keys, d_memory, d_taps, d_v, None, None
