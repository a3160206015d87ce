"""The convolution layers against torch's own modules under plain autograd, in float64."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.network.layers import ConvNorm, ConvStack, true_positions
from model.network.products import draw_dropout

WIDTHS = [3, 5, 4, 2]
ACTIVATIONS = ["tanh", "relu", "linear"]


def plain(stack, x, mask, p):
    """What ConvStack computes, with torch's modules."""
    for (conv, norm), activation in zip(stack, stack.activations, strict=True):
        y = norm(conv.conv(x.transpose(1, 2)).transpose(1, 2)[mask])
        y = y if activation == "linear" else getattr(torch, activation)(y)
        if stack.training and p > 0.0:
            y = y * draw_dropout(y.shape, p, y.device).mask(y.dtype)
        x = torch.zeros(*mask.shape, y.shape[1], dtype=y.dtype).index_put((mask,), y)
    return x


def stack_and_batch(batch, length, n_taps, seed):
    torch.manual_seed(seed)
    stack = ConvStack(WIDTHS, n_taps, ACTIVATIONS).double()
    for _, norm in stack:  # as after some training
        torch.nn.init.uniform_(norm.weight, -1.0, 1.5)
        torch.nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    mask = true_positions(torch.randint(1, length + 1, (batch,)), length)
    mask[0] = True
    x = torch.randn(batch, length, WIDTHS[0], dtype=torch.double) * mask.unsqueeze(2)
    return stack, x.requires_grad_(), mask


def outputs_gradients_and_statistics(function, stack, x, mask, p):
    torch.manual_seed(1)
    out = function(stack, x, mask, p)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).double()
    # A bias before a normalisation by the batch's own mean has no gradient but rounding.
    leaves = [w for name, w in stack.named_parameters() if not (stack.training and "conv.bias" in name)]
    return [out, *torch.autograd.grad(out, [x, *leaves], upstream), *stack.buffers()]


def assert_equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        # What a few rows leave of a gradient may be small beside what it was summed up from.
        assert (a - b).double().norm() <= 1e-12 * b.double().norm() + 1e-13


@settings(max_examples=80)
@given(
    batch=st.integers(1, 4),
    length=st.integers(6, 12),
    n_taps=st.sampled_from([1, 3, 5]),
    p=st.sampled_from([0.0, 0.1, 0.5]),
    training=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_a_stack_agrees_in_every_output_gradient_and_running_statistic(
    batch, length, n_taps, p, training, seed
):
    stack, x, mask = stack_and_batch(batch, length, n_taps, seed)
    stack.train(training)
    reference = copy.deepcopy(stack)
    found = outputs_gradients_and_statistics(ConvStack.__call__, stack, x, mask, p)
    assert_equal(found, outputs_gradients_and_statistics(plain, reference, x, mask, p))
    assert all(int(norm.num_batches_tracked) == int(training) for _, norm in stack)


def test_two_passes_before_their_backwards_do_not_disturb_each_other():
    stack, x, mask = stack_and_batch(3, 9, 5, 4)
    reference = copy.deepcopy(stack)

    def run(function, stack):
        torch.manual_seed(5)
        total = function(stack, x, mask, 0.5).square().sum() + function(stack, 2.0 * x, mask, 0.5).sum()
        return torch.autograd.grad(total, x)

    assert_equal(run(ConvStack.__call__, stack), run(plain, reference))


def test_padding_changes_neither_a_result_nor_a_gradient_nor_a_statistic():
    stack, x, mask = stack_and_batch(3, 9, 5, 6)
    wider = copy.deepcopy(stack)
    padded = torch.nn.functional.pad(x.detach(), (0, 0, 0, 4)).requires_grad_()
    far = torch.nn.functional.pad(mask, (0, 4))
    outs = stack(x, mask, 0.0), wider(padded, far, 0.0)
    gradients = [
        torch.autograd.grad(out.square().sum(), leaf)[0] for out, leaf in zip(outs, (x, padded), strict=True)
    ]
    assert_equal([outs[1][:, :9], gradients[1][:, :9]], [outs[0], gradients[0]])
    assert outs[1][:, 9:].count_nonzero() == 0
    assert_equal(wider.buffers(), stack.buffers())


def test_one_position_alone_has_no_variance():
    stack, x, mask = stack_and_batch(1, 1, 3, 7)
    with pytest.raises(ValueError, match="no variance"):
        stack(x, mask, 0.0)


def test_a_gradient_is_laid_out_like_its_weight():
    stack, x, mask = stack_and_batch(2, 6, 3, 8)
    stack.float()(x.float(), mask, 0.5).sum().backward()
    assert all(p.grad.stride() == p.stride() for p in stack.parameters())


@given(n_taps=st.sampled_from([1, 3, 5]), bias=st.booleans(), seed=st.integers(0, 2**31))
def test_a_convolution_is_torchs_with_the_channels_last(n_taps, bias, seed):
    torch.manual_seed(seed)
    layer, x = ConvNorm(4, 6, n_taps, bias=bias), torch.randn(2, 7, 4)
    wanted = layer.conv(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-5, atol=1e-5)
