"""Compiled loops of one decoder step on a CPU, forward and backward; equations and names as in recurrence.py.

A loop is short and writes few arrays, since LLVM makes vectors only of those whose arrays it can tell apart.
Arrays are float32; those of all steps come with the number t of the step. One whose name begins with d_ is
a gradient.
"""

# mypy: ignore-errors

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

ZERO, ONE, TWO, FOUR = (np.float32(n) for n in (0.0, 1.0, 2.0, 4.0))
# exp x = 2ⁿ exp r with r = x - n ln 2, ln 2 in two parts (Cody and Waite 1980), exp r by its Taylor series.
LOG2_E, LN2, LN2_REST = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
SMALLEST, LARGEST = np.float32(-87.0), np.float32(88.0)  # of x, so that 2ⁿ is a float32
C2, C3, C4, C5, C6 = (np.float32(1.0 / n) for n in (2, 6, 24, 120, 720))
MINUS_INFINITY = np.float32(-np.inf)

# What LLVM may do to numbers; NaN and infinity stay what they are.
EXACT = {"contract", "nsz"}
REORDERED = EXACT | {"reassoc"}  # a sum is made in vectors only in another order


def compiled(fastmath=EXACT):
    return numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath)


@intrinsic
def _nearest(typing, x):
    """The nearest whole number, as float32."""

    def code(context, builder, signature, arguments):
        return builder.call(builder.module.declare_intrinsic("llvm.rint", [ir.FloatType()]), arguments)

    return numba.float32(numba.float32), code


@intrinsic
def _power_of_two(typing, n):
    """2ⁿ of a whole float32 from -126 to 127: its exponent's bits."""

    def code(context, builder, signature, arguments):
        bits = ir.IntType(32)
        exponent = builder.add(builder.fptosi(arguments[0], bits), bits(127))
        return builder.bitcast(builder.shl(exponent, bits(23)), ir.FloatType())

    return numba.float32(numba.float32), code


@compiled()
def exp(x):
    x = LARGEST if x > LARGEST else x  # NaN stays
    x = SMALLEST if x < SMALLEST else x
    n = _nearest(x * LOG2_E)
    r = (x - n * LN2) - n * LN2_REST
    series = ONE + r * (ONE + r * (C2 + r * (C3 + r * (C4 + r * (C5 + r * C6)))))
    return series * _power_of_two(n)


@compiled()
def sigmoid(x):
    return ONE / (ONE + exp(-x))


@compiled()
def tanh(x):
    return TWO / (ONE + exp(-(x + x))) - ONE


@compiled(REORDERED)
def dot(x, y):
    total = ZERO
    for j in range(len(x)):
        total += x[j] * y[j]
    return total


@compiled()
def _add_sigmoid(x, y):
    for j in range(len(x)):
        x[j] = sigmoid(x[j] + y[j])


@compiled()
def _add_tanh(x, y):
    for j in range(len(x)):
        x[j] = tanh(x[j] + y[j])


@compiled()
def lstm_cell(
    t,
    gates,  # (T, B, 4H): what the inputs give; becomes i, f, n, o
    product,  # (B, 4H): what is fed back gives
    kept,  # (T, B, H) bool: dropout
    scale,  # of what is kept
    cells,  # (T + 1, B, H): that of t before the step, the next one after it
    states,  # (T + 1, B, H + ...): the hidden state after the step
    hidden,  # (B, H): the same
):
    batch, width = hidden.shape
    for b in range(batch):
        g, p, before, after = gates[t, b], product[b], cells[t, b], cells[t + 1, b]
        i, f, n, o = g[:width], g[width : 2 * width], g[2 * width : 3 * width], g[3 * width :]
        state, h, keep = states[t + 1, b], hidden[b], kept[t, b]
        _add_sigmoid(g[: 2 * width], p[: 2 * width])
        _add_tanh(n, p[2 * width : 3 * width])
        _add_sigmoid(o, p[3 * width :])
        for j in range(width):
            after[j] = f[j] * before[j] + i[j] * n[j]
        for j in range(width):
            h[j] = o[j] * tanh(after[j]) * (scale * np.float32(keep[j]))
        for j in range(width):
            state[j] = h[j]


@compiled()
def _lstm_cell_gradient(
    t,
    gates,  # (T, B, 4H): i, f, n, o; becomes the gradient of their inputs
    kept,  # (T, B, H) bool
    scale,
    cells,  # (T + 1, B, H)
    d_hidden,  # (B, H): is lost
    d_cell,  # (B, H): from the step after; becomes that for the step before
):
    batch, width = d_hidden.shape
    tau, to_before = np.empty((2, width), np.float32)
    for b in range(batch):
        g, before, after, keep = gates[t, b], cells[t, b], cells[t + 1, b], kept[t, b]
        i, f, n, o = g[:width], g[width : 2 * width], g[2 * width : 3 * width], g[3 * width :]
        d_h, d_c = d_hidden[b], d_cell[b]
        for j in range(width):
            tau[j] = tanh(after[j])
        for j in range(width):
            d_h[j] = d_h[j] * (scale * np.float32(keep[j])) * o[j]
        for j in range(width):
            d_c[j] += d_h[j] * (ONE - tau[j] * tau[j])
        for j in range(width):
            o[j] = d_h[j] * tau[j] * (ONE - o[j])
        for j in range(width):
            to_before[j] = d_c[j] * f[j]
        for j in range(width):
            f[j] = to_before[j] * before[j] * (ONE - f[j])
        for j in range(width):
            i_j = i[j]
            i[j] = d_c[j] * n[j] * i_j * (ONE - i_j)
            n[j] = d_c[j] * i_j * (ONE - n[j] * n[j])
        for j in range(width):
            d_c[j] = to_before[j]


@compiled()
def lstm_gradient(
    t,
    d_out,  # (T, B, H + ...): of the hidden state, from outside
    carried,  # (B, H): of the hidden state, from the step after
    gates,  # from here on as above
    kept,
    scale,
    cells,
    d_hidden,
    d_cell,
):
    batch, width = d_hidden.shape
    for b in range(batch):
        d_h, outer, inner = d_hidden[b], d_out[t, b], carried[b]
        for j in range(width):
            d_h[j] = outer[j] + inner[j]
    _lstm_cell_gradient(t, gates, kept, scale, cells, d_hidden, d_cell)


@compiled()
def see(
    last,  # (B, L): weights of the step before
    summed,  # (B, L): of all before
    windows,  # (B·L, 2·taps), out: what is around each position of both
    taps,
):
    batch, length = last.shape
    edge = taps // 2
    padded = np.zeros((2, length + taps - 1), np.float32)
    for b in range(batch):
        padded[0, edge : edge + length] = last[b]
        padded[1, edge : edge + length] = summed[b]
        for position in range(length):
            window = windows[b * length + position]
            for c in range(2):
                seen = padded[c]
                for j in range(taps):
                    window[c * taps + j] = seen[position + j]


@compiled()
def energies(
    located,  # (B·L, A): what the windows give
    keys,  # (B, L, A)
    asked,  # (B, A): what the hidden state gives; the sum of all three is 2z
    lengths,  # (B): of the texts
    s,  # (B, L, A), out: σ(2z), unchanged beyond a text's end
):
    batch, length, width = keys.shape
    for b in range(batch):
        ask = asked[b]
        for position in range(lengths[b]):
            x, key, out = located[b * length + position], keys[b, position], s[b, position]
            for a in range(width):
                out[a] = sigmoid(x[a] + key[a] + ask[a])


@compiled()
def attend(
    t,
    s,  # (B, L, A)
    doubled_v,  # (A)
    lengths,  # (B)
    memory,  # (B, L, E)
    summed,  # (B, L): gets this step's weights, too
    alphas,  # (T, B, L), out: these
    states,  # (T + 1, B, ... + E), out: the context after the step
    windows,  # (B·L, 2·taps), out: for the next step
    taps,
):
    batch, length, width = memory.shape
    hidden = states.shape[2] - width
    for b in range(batch):
        alpha, total, n = alphas[t, b], summed[b], lengths[b]
        highest = MINUS_INFINITY
        for position in range(n):
            energy = dot(s[b, position], doubled_v)
            alpha[position] = energy
            highest = max(highest, energy)
        whole = ZERO
        for position in range(n):
            alpha[position] = exp(alpha[position] - highest)
        for position in range(n):
            whole += alpha[position]
        for position in range(n):
            alpha[position] /= whole
        for position in range(n, length):
            alpha[position] = ZERO
        for position in range(n):
            total[position] += alpha[position]
        context = states[t + 1, b, hidden:]
        context[:] = ZERO
        for position in range(n):
            weight, row = alpha[position], memory[b, position]
            for e in range(width):
                context[e] += weight * row[e]
    see(alphas[t], summed, windows, taps)


@compiled()
def attend_gradient(
    t,
    d_features,  # (T, B, H + E): of hidden state and context, from outside
    d_alphas,  # (T, B, L): of the weights, from outside
    carried,  # (B, H + E): of hidden state and context, from the step after
    carried_alpha,  # (B, L): of the weights, from the steps after
    s,  # (B, L, A)
    v,  # (A)
    lengths,  # (B)
    memory,  # (B, L, E)
    alphas,  # (T, B, L)
    d_contexts,  # (T, B, E), out
    d_queries,  # (T, B, A), out
    d_z,  # (B·L, A), out: unchanged beyond a text's end
    d_keys,  # (B, L, A): is added to
    d_v,  # (A): is added to
):
    batch, length, width = memory.shape
    hidden = carried.shape[1] - width
    d_weights = np.empty(length, np.float32)
    for b in range(batch):
        alpha, n, d_alpha, given = alphas[t, b], lengths[b], d_alphas[t, b], carried_alpha[b]
        d_context, outer, inner = d_contexts[t, b], d_features[t, b, hidden:], carried[b, hidden:]
        d_query = d_queries[t, b]
        for e in range(width):
            d_context[e] = outer[e] + inner[e]
        mean = ZERO
        for position in range(n):
            d_weights[position] = dot(d_context, memory[b, position]) + d_alpha[position] + given[position]
            mean += alpha[position] * d_weights[position]
        d_query[:] = ZERO
        for position in range(n):
            d_energy = alpha[position] * (d_weights[position] - mean)
            rows, out, d_key = s[b, position], d_z[b * length + position], d_keys[b, position]
            # (1 - tanh² z) v = 4 s (1 - s) v
            for a in range(len(v)):
                out[a] = FOUR * d_energy * v[a] * rows[a] * (ONE - rows[a])
            for a in range(len(v)):
                d_key[a] += out[a]
            for a in range(len(v)):
                d_query[a] += out[a]
            for a in range(len(v)):
                d_v[a] += TWO * d_energy * rows[a]


@compiled()
def attention_gradient(
    t,
    to_windows,  # (B·L, 2·taps): of the windows
    taps,
    to_hidden,  # (B, H): of the hidden state, from the query
    d_features,  # (T, B, H + E): as above
    carried,  # (B, H + E)
    carried_alpha,  # (B, L), out: of the weights of the step before
    carried_sum,  # (B, L): of the summed weights before this step; is added to
    gates,  # from here on as in _lstm_cell_gradient
    kept,
    scale,
    cells,
    d_hidden,
    d_cell,
):
    batch, length = carried_sum.shape
    width, edge = d_hidden.shape[1], taps // 2
    given = np.empty((2, length + taps - 1), np.float32)
    for b in range(batch):
        given[:] = ZERO
        for position in range(length):
            window = to_windows[b * length + position]
            for c in range(2):
                row = given[c]
                for j in range(taps):
                    row[position + j] += window[c * taps + j]
        for position in range(length):
            carried_sum[b, position] += given[1, edge + position]
            carried_alpha[b, position] = given[0, edge + position] + carried_sum[b, position]
        d_h, asked, inner, outer = d_hidden[b], to_hidden[b], carried[b], d_features[t, b]
        for j in range(width):
            d_h[j] = asked[j] + inner[j] + outer[j]
    _lstm_cell_gradient(t, gates, kept, scale, cells, d_hidden, d_cell)
