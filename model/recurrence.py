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


def _activate(gates: Tensor, cell: Tensor, dropout: Tensor | None) -> tuple[Tensor, Tensor]:
    """Turn summed gate inputs (B, 4H) into i, f, n, o in place; returns the cell and the hidden state."""
    i, f, n, o = gates.chunk(4, dim=1)
    torch.sigmoid_(gates[:, : 2 * i.shape[1]])
    n.tanh_()
    o.sigmoid_()
    cell = torch.addcmul(f * cell, i, n)
    hidden = o * torch.tanh(cell)
    return cell, hidden if dropout is None else hidden.mul_(dropout)


def _gate_gradients(
    gates: Tensor, cell: Tensor, before: Tensor, d_hidden: Tensor, d_cell: Tensor, out: Tensor
) -> Tensor:
    """Write the gradient of the summed gate inputs (B, 4H) into `out`; returns that of the cell before."""
    i, f, n, o = gates.chunk(4, dim=1)
    d_i, d_f, d_n, d_o = out.chunk(4, dim=1)
    tau = torch.tanh(cell)
    torch.mul(d_hidden * tau, o * (1.0 - o), out=d_o)
    d_cell = torch.addcmul(d_cell, d_hidden * o, 1.0 - tau * tau)
    torch.mul(d_cell * n, i * (1.0 - i), out=d_i)
    torch.mul(d_cell * before, f * (1.0 - f), out=d_f)
    torch.mul(d_cell * i, 1.0 - n * n, out=d_n)
    return d_cell * f


def _shifted(states: Tensor) -> Tensor:
    """(T, B, H) one step later: zeros first."""
    return torch.cat((torch.zeros_like(states[:1]), states[:-1]))


class RecurrentLSTM(torch.autograd.Function):
    """An LSTM whose dropped hidden state is fed back, as in NVIDIA's decoder: P (T, B, 4H) to h (T, B, H)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, dropout: Tensor | None) -> Tensor:
        steps, batch, width = inputs.shape[0], inputs.shape[1], weight.shape[1]
        gates, cells = torch.empty_like(inputs), inputs.new_empty(steps, batch, width)
        hidden = torch.empty_like(cells)
        h = c = inputs.new_zeros(batch, width)
        for t in range(steps):
            torch.addmm(inputs[t], h, weight.t(), out=gates[t])
            c, h = _activate(gates[t], c, None if dropout is None else dropout[t])
            cells[t], hidden[t] = c, h
        ctx.save_for_backward(weight, dropout, gates, cells, hidden)
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor, None]:
        weight, dropout, gates, cells, hidden = ctx.saved_tensors
        d_gates, d_cell = torch.empty_like(gates), torch.zeros_like(cells[0])
        before, carried = _shifted(cells), torch.zeros_like(cells[0])
        for t in reversed(range(len(gates))):
            d_hidden = d_out[t] + carried
            if dropout is not None:
                d_hidden *= dropout[t]
            d_cell = _gate_gradients(gates[t], cells[t], before[t], d_hidden, d_cell, d_gates[t])
            torch.mm(d_gates[t], weight, out=carried)
        return d_gates, d_gates.flatten(0, 1).t() @ _shifted(hidden).flatten(0, 1), None


class AttentionRecurrence(torch.autograd.Function):
    """Location-sensitive attention over all decoder steps.

    Arguments: P (T, B, 4H), W (4H, H + E), Q (A, H), M (B, L, A), Y (B, L, E), kernel (A, 2, taps),
    v (A), padding (B, L) bool, dropout (T, B, H) or None. Returns h (T, B, H), x (T, B, E), α (T, B, L).
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
    ) -> tuple[Tensor, Tensor, Tensor]:
        (steps, batch, _), (length, width) = inputs.shape, keys.shape[1:]
        hidden_dim = query.shape[1]
        gates = torch.empty_like(inputs)
        cells = inputs.new_empty(steps, batch, hidden_dim)
        states = inputs.new_zeros(steps + 1, batch, weight.shape[1])  # [h, x], zero before the first step
        alphas = inputs.new_empty(steps, batch, length)
        keep = steps * keys.numel() * keys.element_size() <= SAVED_ENERGY_BYTES
        thetas = keys.new_empty(steps, *keys.shape) if keep else None
        taps, flat_kernel = Taps(keys, batch, length, kernel.shape[2]), kernel.flatten(1).t()
        c = inputs.new_zeros(batch, hidden_dim)
        alpha = summed = inputs.new_zeros(batch, length)
        for t in range(steps):
            torch.addmm(inputs[t], states[t], weight.t(), out=gates[t])
            c, h = _activate(gates[t], c, None if dropout is None else dropout[t])
            base = (keys + (h @ query.t()).unsqueeze(1)).view(-1, width)
            theta = torch.addmm(base, taps.see(alpha, summed), flat_kernel).tanh_()
            energies = (theta @ v).view(batch, length).masked_fill_(padding, -torch.inf)
            alpha = torch.softmax(energies, dim=1)
            summed = summed + alpha
            cells[t], alphas[t], states[t + 1, :, :hidden_dim] = c, alpha, h
            states[t + 1, :, hidden_dim:] = torch.bmm(alpha.unsqueeze(1), memory).squeeze(1)
            if thetas is not None:
                thetas[t] = theta.view_as(keys)
        ctx.save_for_backward(
            weight, query, keys, memory, kernel, v, dropout, gates, cells, states, alphas, thetas
        )
        return states[1:, :, :hidden_dim].clone(), states[1:, :, hidden_dim:].clone(), alphas.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_hidden: Tensor, d_context: Tensor, d_alpha: Tensor) -> tuple[Tensor | None, ...]:
        weight, query, keys, memory, kernel, v, dropout, gates, cells, states, alphas, thetas = (
            ctx.saved_tensors
        )
        steps, batch, length = alphas.shape
        (width, hidden_dim), n_taps = query.shape, kernel.shape[2]
        hidden, flat_kernel = states[1:, :, :hidden_dim], kernel.flatten(1).t()
        reversed_kernel = kernel.flip(2).flatten(1)
        taps, diagonals = Taps(keys, batch, length, n_taps), Diagonals(keys, batch, length, n_taps)
        before_c, before_a, summed = _shifted(cells), _shifted(alphas), _shifted(alphas.cumsum(0))
        d_gates, d_queries = torch.empty_like(gates), keys.new_empty(steps, batch, width)
        d_contexts, d_v = torch.empty_like(states[1:, :, hidden_dim:]), torch.zeros_like(v)
        d_kernel = torch.zeros_like(flat_kernel)
        d_keys, d_cell = torch.zeros_like(keys), torch.zeros_like(cells[0])
        carried, carried_a = torch.zeros_like(states[0]), torch.zeros_like(alphas[0])
        carried_s = carried_a
        for t in reversed(range(steps)):
            windows = taps.see(before_a[t], summed[t])
            if thetas is None:
                base = (keys + (hidden[t] @ query.t()).unsqueeze(1)).view(-1, width)
                theta = torch.addmm(base, windows, flat_kernel).tanh_()
            else:
                theta = thetas[t].view(-1, width)
            torch.add(d_context[t], carried[:, hidden_dim:], out=d_contexts[t])
            a = torch.bmm(memory, d_contexts[t].unsqueeze(2)).squeeze(2)
            a += d_alpha[t] + carried_a + carried_s
            d_energy = alphas[t] * (a - (alphas[t] * a).sum(dim=1, keepdim=True))
            d_theta = torch.addcmul(v, v * theta, theta, value=-1.0).mul_(d_energy.view(-1, 1))
            d_v.addmv_(theta.t(), d_energy.view(-1))
            d_kernel.addmm_(windows.t(), d_theta)
            d_keys += d_theta.view_as(keys)
            torch.sum(d_theta.view_as(keys), dim=1, out=d_queries[t])
            carried_a, to_summed = diagonals.sum(d_theta @ reversed_kernel)
            carried_s = carried_s + to_summed
            d_h = torch.addmm(d_hidden[t] + carried[:, :hidden_dim], d_queries[t], query)
            if dropout is not None:
                d_h *= dropout[t]
            d_cell = _gate_gradients(gates[t], cells[t], before_c[t], d_h, d_cell, d_gates[t])
            torch.mm(d_gates[t], weight, out=carried)
        d_weight = d_gates.flatten(0, 1).t() @ states[:-1].flatten(0, 1)
        d_query = d_queries.flatten(0, 1).t() @ hidden.flatten(0, 1)
        d_memory = torch.bmm(alphas.permute(1, 2, 0), d_contexts.transpose(0, 1))
        d_taps = d_kernel.t().reshape(kernel.shape)
        return d_gates, d_weight, d_query, d_keys, d_memory, d_taps, d_v, None, None
