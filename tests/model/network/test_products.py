import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from model.network import products
from model.network.products import Packed, draw_dropout, dropped_relu, input_gradient, linear, weight_gradient

sizes = st.integers(1, 40) | st.sampled_from([256, 511])
seeds = st.integers(0, 2**32 - 1)


def far(got, a, b):
    """How far from a @ b, as a share of what was summed up: sums near zero have lost their digits."""
    a, b = a.double(), b.double()
    return float(((got.double() - a @ b).abs() / (a.abs() @ b.abs()).clamp(min=1e-12)).max())


def laid_out(a, b):
    """A matrix in one piece, transposed, with gaps, and one row for all."""
    return (
        torch.randn(a, b),
        torch.randn(b, a).t(),
        torch.randn(a, 2 * b)[:, ::2],
        torch.randn(1, b).expand(a, b),
    )


@given(m=sizes, k=sizes, n=sizes, seed=seeds)
def test_gradients_take_operands_laid_out_in_any_way(m, k, n, seed):
    torch.manual_seed(seed)
    for d_out in laid_out(m, n):
        for x, weight in zip(laid_out(m, k), laid_out(n, k), strict=True):
            assert far(weight_gradient(d_out, x), d_out.t(), x) < 1e-5
            assert far(input_gradient(d_out, weight), d_out, weight) < 1e-5


@given(m=sizes, k=sizes, n=sizes, with_bias=st.booleans(), seed=seeds)
def test_a_linear_layer_and_its_gradients_are_torchs(m, k, n, with_bias, seed):
    torch.manual_seed(seed)
    x, weight, bias, upstream = torch.randn(2, m, k), torch.randn(n, k), torch.randn(n), torch.randn(2, m, n)

    def run(function, dtype):
        leaves = [leaf.to(dtype).requires_grad_() for leaf in (x, weight, bias)][: 3 if with_bias else 2]
        out = function(*leaves)
        return [out.detach(), *torch.autograd.grad(out, leaves, upstream.to(dtype))]

    for got, wanted in zip(run(linear, torch.float), run(F.linear, torch.double), strict=True):
        assert got.shape == wanted.shape
        torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("by_onednn", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float, 1e-5), (torch.bfloat16, 1e-2)])
def test_a_packed_weight_gives_the_same_product_with_either_library(monkeypatch, by_onednn, dtype, tolerance):
    monkeypatch.setattr(products, "ONEDNN", by_onednn and products.ONEDNN)
    torch.manual_seed(1)
    x, weight, bias = torch.randn(3, 70), torch.randn(50, 70), torch.randn(50)
    got = Packed(weight.to(dtype), 3, bias)(x)
    assert got.dtype == torch.float
    wanted = F.linear(x, weight, bias)
    torch.testing.assert_close(got, wanted, rtol=0, atol=tolerance * float(wanted.abs().max()))


def test_a_packed_weight_serves_another_number_of_rows():
    x, weight = torch.randn(5, 70), torch.randn(50, 70)
    assert far(Packed(weight, 16)(x), x, weight.t()) < 1e-5


@given(n=st.integers(1, 9), p=st.sampled_from([0.0, 0.1, 0.5, 0.9]))
def test_a_dropout_mask_has_the_shape_asked_for(n, p):
    mask = draw_dropout((n, 3), p, torch.device("cpu")).mask(torch.double)
    assert mask.shape == (n, 3)
    assert mask.dtype == torch.double
    kept = mask[mask > 0]
    assert torch.allclose(kept, torch.full_like(kept, 1 / (1 - p)), rtol=2e-4)
    assert p > 0 or len(kept) == 3 * n


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_dropout_mask_drops_its_share_everywhere_and_keeps_the_mean(p):
    torch.manual_seed(3)
    mask = draw_dropout((4000, 64), p, torch.device("cpu")).mask(torch.float)
    assert abs(float((mask == 0).double().mean()) - p) < 0.005
    assert abs(float(mask.double().mean()) - 1) < 0.02
    by_place = (mask == 0).double().mean(dim=0)  # four neighbours come from one random number
    assert (by_place - p).abs().max() < 0.04
    neighbours = torch.corrcoef((mask == 0).double().view(-1, 4).t()) - torch.eye(4)
    assert neighbours.abs().max() < 0.02


def test_dropout_masks_follow_the_seed():
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(draw_dropout((7, 5), 0.5, torch.device("cpu")).kept)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@given(n=sizes, p=st.sampled_from([0.0, 0.1, 0.5]), seed=seeds)
def test_a_dropped_relu_and_its_gradient_are_those_of_its_two_parts(n, p, seed):
    torch.manual_seed(seed)
    x, upstream = torch.randn(3, n, dtype=torch.double, requires_grad=True), torch.randn(3, n).double()
    state = torch.get_rng_state()
    found = dropped_relu(x, p)
    torch.set_rng_state(state)
    wanted = torch.relu(x) * (draw_dropout(x.shape, p, x.device).mask(x.dtype) if p > 0.0 else 1.0)
    assert torch.equal(found, wanted)
    gradients = [torch.autograd.grad(out, x, upstream)[0] for out in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("by_onednn", [True, False])
@given(m=sizes, k=sizes, n=sizes, seed=seeds)
def test_rounded_operands_give_what_rounded_numbers_give(by_onednn, m, k, n, seed):
    torch.manual_seed(seed)
    x, weight, d_out = torch.randn(m, k), torch.randn(n, k), torch.randn(m, n)

    def coarse(number):
        return number.bfloat16().float()

    with pytest.MonkeyPatch.context() as patch, products.rounding(torch.bfloat16):
        patch.setattr(products, "ONEDNN", by_onednn and products.ONEDNN)
        patch.setattr(products, "SMALL", m * k * n)
        small = Packed(weight, m)(x)
        patch.setattr(products, "SMALL", 0)
        leaf = x.clone().requires_grad_()
        out = linear(leaf, weight)
        out.backward(d_out)
        found = (
            (out.detach(), coarse(x), coarse(weight).t()),
            (leaf.grad, coarse(d_out), coarse(weight)),
            (weight_gradient(d_out, x), coarse(d_out).t(), coarse(x)),
            (Packed(weight, m)(x), coarse(x), coarse(weight).t()),
        )
    assert all(got.dtype == torch.float for got, _, _ in found)
    assert max(far(*each) for each in found) < 2**-8  # the result is rounded, too
    assert far(linear(x, weight), x, weight.t()) < 1e-5
    assert far(small, x, weight.t()) < 1e-5
