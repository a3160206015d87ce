from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from benchmarks import peer
from model.data.corpus import collate
from model.network.tacotron2 import FreeRunning, Prenet, Tacotron2
from model.settings import Dimensions, Settings
from model.speech.stopping import StopWatch

NO_DROPOUT = {f"p_{part}_dropout": 0.0 for part in ("encoder", "prenet", "attention", "decoder", "postnet")}


def public_names():
    """Shapes of NVIDIA's public state dict, from the published full-size hyperparameters."""
    return {
        "embedding.weight": (148, 512),
        "encoder.convolutions.2.0.conv.weight": (512, 512, 5),
        "encoder.convolutions.2.1.running_var": (512,),
        "encoder.lstm.weight_hh_l0_reverse": (1024, 256),
        "decoder.prenet.layers.0.linear_layer.weight": (256, 80),
        "decoder.attention_rnn.weight_ih": (4096, 768),
        "decoder.attention_layer.query_layer.linear_layer.weight": (128, 1024),
        "decoder.attention_layer.location_layer.location_conv.conv.weight": (32, 2, 31),
        "decoder.decoder_rnn.weight_ih": (4096, 1536),
        "decoder.linear_projection.linear_layer.weight": (80, 1536),
        "decoder.gate_layer.linear_layer.bias": (1,),
        "postnet.convolutions.4.1.weight": (80,),
    }


@pytest.mark.parametrize("layer", [0, 1])
def test_a_prenet_is_as_dead_as_its_worse_layer(layer):
    prenet = Prenet(80, 40)
    frames = torch.rand(3, 7, 80)
    for each in prenet.layers:
        torch.nn.init.constant_(each.linear_layer.weight, 0.1)
    prenet.layers[layer].linear_layer.weight.data[:36] = -0.1
    assert prenet.dead(frames).item() == pytest.approx(0.9)


def test_the_full_network_has_the_public_names_shapes_and_size():
    model = Tacotron2(Dimensions())
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert public_names().items() <= shapes.items()
    assert sum(p.numel() for p in model.parameters()) == 28_193_153


@pytest.fixture(scope="module")
def pair():
    """This network and the peer's with the same weights."""
    torch.manual_seed(0)
    ours, theirs = Tacotron2(Dimensions()).eval(), peer.build(Dimensions(), max_decoder_steps=40).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def random_masks(*shape):
    return (torch.rand(*shape) < 0.5).float() * 2.0


def test_a_public_implementation_computes_the_same_from_the_same_weights(pair):
    ours, theirs = pair
    text, mels = torch.randint(0, 148, (2, 12)), torch.randn(2, 20, 80) - 5.0
    text_lengths, mel_lengths = torch.tensor([12, 12]), torch.tensor([20, 20])
    masks = random_masks(2, 32, 2, 256)
    with torch.no_grad(), peer.prenet_masks([masks[:, :21]]):  # its go frame comes on top
        expected = theirs((text, text_lengths, mels.transpose(1, 2), 12, mel_lengths))
        result = ours(text, text_lengths, mels, mel_lengths, Settings(), masks)
    before, after, gates, alignments = expected
    torch.testing.assert_close(result.mels_before[:, :20], before.transpose(1, 2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(result.mels[:, :20], after.transpose(1, 2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(result.gates[:, :20], gates, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(result.alignments[:, :20], alignments, rtol=1e-4, atol=1e-4)


def test_rounded_weights_say_nearly_the_same(pair):
    ours, _ = pair
    text, masks, limits = torch.randint(0, 148, (1, 12)), random_masks(30, 2, 1, 256), torch.tensor([30])
    exact, rounded = (
        ours.synthesise(text, torch.tensor([12]), Settings(), masks, limits, weights=weights).mels[0]
        for weights in (torch.float32, torch.bfloat16)
    )
    assert 0 < (exact - rounded).abs().max() < 0.02


def test_a_public_implementation_says_the_same_from_the_same_weights(pair, capsys):
    ours, theirs = pair
    text, masks = torch.randint(0, 148, (1, 12)), random_masks(40, 2, 1, 256)
    with torch.no_grad():
        theirs.decoder.gate_layer.linear_layer.bias.fill_(-9.0)  # both speak up to the limit
        ours.load_state_dict(theirs.state_dict())
        with peer.prenet_masks(masks):
            _, after, _, alignments = theirs.inference(text)
        said = ours.synthesise(text, torch.tensor([12]), Settings(), masks, torch.tensor([40]))
    assert said.mels[0].shape == (40, 80)
    torch.testing.assert_close(said.mels[0], after[0].t(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(said.alignments[0], alignments[0], rtol=1e-4, atol=1e-4)
    assert "max decoder steps" in capsys.readouterr().out


@pytest.fixture
def model(tiny):
    torch.manual_seed(1)
    return Tacotron2(tiny).double().eval()


def passed(model, items, settings, masks):
    batch = collate(items)
    return model(batch.text, batch.text_lengths, batch.mels.double(), batch.mel_lengths, settings, masks)


def prenet_masks(model, steps, batch):
    return torch.ones(2, steps, batch, model.dimensions.prenet_dim, dtype=torch.double)


def test_padding_changes_nothing_of_an_item(model, corpus, settings):
    items = sorted(corpus.training[:5], key=lambda item: len(item.mel))
    together = passed(model, items, settings, prenet_masks(model, steps_of(items, 2), 5))
    for i, item in enumerate(items):
        alone = passed(model, [item], settings, prenet_masks(model, steps_of([item], 2), 1))
        frames, length = len(item.mel), len(item.symbols)
        torch.testing.assert_close(together.mels[i, :frames], alone.mels[0, :frames])
        steps = alone.gates.shape[1]
        torch.testing.assert_close(together.gates[i, :steps], alone.gates[0])
        torch.testing.assert_close(together.alignments[i, :steps, :length], alone.alignments[0])
        assert together.alignments[i, :, length:].eq(0).all()


def steps_of(items, r):
    return -(-max(len(item.mel) for item in items) // r) + -(-12 // r)


@pytest.mark.parametrize("r", [1, 2, 3, 4])
def test_every_r_up_to_the_built_one_makes_r_frames_a_step(model, corpus, settings, r):
    items = corpus.training[:3]
    result = passed(
        model, items, replace(settings, n_frames_per_step=r), prenet_masks(model, steps_of(items, r), 3)
    )
    assert result.mels.shape[1] == r * result.gates.shape[1]
    torch.testing.assert_close(result.alignments.sum(dim=2), torch.ones_like(result.gates))


def test_a_step_sees_only_frames_before_it(model, corpus, settings):
    item = corpus.training[0]
    changed = replace(item, mel=item.mel.copy())
    changed.mel[10:] += 1.0
    masks = prenet_masks(model, steps_of([item], 2), 1)
    before, after = (passed(model, [i], settings, masks) for i in (item, changed))
    # frames 10 and 11 are step 5; step 6 is the first that may see them
    torch.testing.assert_close(before.mels_before[0, :12], after.mels_before[0, :12])
    assert not torch.allclose(before.mels_before[0, 12:14], after.mels_before[0, 12:14])


def test_speaking_feeds_back_what_teacher_forcing_would(model, corpus, settings):
    item, s = corpus.training[0], replace(settings, **NO_DROPOUT)
    text, lengths = torch.tensor(item.symbols)[None], torch.tensor([len(item.symbols)])
    masks = torch.ones(20, 2, 1, model.dimensions.prenet_dim, dtype=torch.double)
    # an untrained gate may open anywhere: keep it shut
    model.decoder.gate_layer.linear_layer.bias.data.fill_(-50.0)
    spoken = model.synthesise(text, lengths, s, masks, torch.tensor([20]))
    steps = len(spoken.alignments[0])
    said = said_before_postnet(model, text, lengths, s, steps)
    forced = model(text, lengths, said, torch.tensor([steps * 2]), s, prenet_masks(model, steps + 6, 1))
    torch.testing.assert_close(forced.mels[0, : steps * 2], spoken.mels[0])
    torch.testing.assert_close(forced.alignments[0, :steps], spoken.alignments[0])


def said_before_postnet(model, text, lengths, s, steps):
    """What the free-running decoder said, frame by frame, in log-mel units."""
    attended = model.decoder.attended(model.encode(text, lengths, s), lengths)
    decoder, frames = FreeRunning(model.decoder, attended, s.n_frames_per_step, torch.double), []
    ones = torch.ones(2, 1, model.dimensions.prenet_dim, dtype=torch.double)
    for _ in range(steps):
        made, _, _ = decoder.step(ones)
        frames.append(made)
    return torch.cat(frames, dim=1).detach() * model.dimensions.mel_scale + model.dimensions.mel_mean


def test_a_stop_watch_tells_gate_attention_and_limit_apart():
    watch = StopWatch(torch.tensor([3, 3, 3]), torch.tensor([20, 20, 4]), r=5, gate_threshold=0.5)
    end, middle = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 0.0])
    for step in range(10):
        if watch.all_stopped:
            break
        gate = torch.tensor([9.0 if step == 6 else -9.0, -9.0, -9.0])
        watch.see(gate, torch.stack([middle, end if step >= 3 else middle, middle]))
    assert watch.reasons == ["gate", "attention", "limit"]
    assert watch.steps.tolist() == [6, 5, 4]


@profile(max_examples=30)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_a_stop_watch_never_passes_a_limit(limits):
    watch = StopWatch(torch.full((len(limits),), 9), torch.tensor(limits), r=2, gate_threshold=0.5)
    steps = 0
    while not watch.all_stopped:
        watch.see(torch.full((len(limits),), -9.0), torch.eye(9)[[0] * len(limits)])
        steps += 1
    assert steps == max(limits)
    assert watch.steps.tolist() == limits
    assert set(watch.reasons) == {"limit"}


@profile(max_examples=50)
@given(
    limits=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    every=st.integers(2, 20),
    seed=st.integers(0, 2**31),
)
def test_a_stop_watch_that_looks_seldom_sees_the_same(limits, every, seed):
    random = torch.Generator().manual_seed(seed)
    gates = torch.randn(50, len(limits), generator=random) - 2.0
    weights = torch.rand(50, len(limits), 2, generator=random) + torch.tensor([0.0, 0.6])  # often on the end
    found = []
    for often in (1, every):
        watch = StopWatch(torch.full((len(limits),), 2), torch.tensor(limits), 5, 0.5, often)
        while not watch.all_stopped:
            watch.see(gates[watch.step], weights[watch.step])
        found.append((watch.reasons, watch.steps.tolist(), watch.needed))
        assert watch.needed <= watch.step < watch.needed + often
    assert found[0] == found[1]


def test_settings_beyond_their_limits_are_refused():
    with pytest.raises(ValueError, match="learning_rate is nan"):
        Settings(learning_rate=float("nan"))
