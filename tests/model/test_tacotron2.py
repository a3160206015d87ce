from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from model.corpus import collate
from model.layers import true_positions
from model.settings import Dimensions, Settings
from model.stopping import StopWatch
from model.tacotron2 import Tacotron2

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


def test_the_full_network_has_the_public_names_shapes_and_size():
    model = Tacotron2(Dimensions())
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert public_names().items() <= shapes.items()
    assert sum(p.numel() for p in model.parameters()) == 28_193_153


def test_a_public_implementation_computes_the_same_from_the_same_weights(monkeypatch):
    public = pytest.importorskip("tacotron2_model.model")
    # its own helper allocates on CUDA; its prenet draws dropout, which is fixed here on both sides
    monkeypatch.setattr(
        public, "get_mask_from_lengths", lambda lengths: true_positions(lengths, lengths.max())
    )
    monkeypatch.setattr(public.Prenet, "forward", lambda prenet, x: prenet_without_dropout(prenet, x))
    torch.manual_seed(0)
    ours, peer = Tacotron2(Dimensions()).eval(), public.Tacotron2().eval()
    ours.load_state_dict(peer.state_dict())
    text, mels = torch.randint(0, 148, (2, 12)), torch.randn(2, 20, 80) - 5.0
    text_lengths, mel_lengths = torch.tensor([12, 12]), torch.tensor([20, 20])
    with torch.no_grad():
        before, after, gates, alignments = peer((text, text_lengths, mels.transpose(1, 2), 12, mel_lengths))
        result = ours(text, text_lengths, mels, mel_lengths, Settings(), torch.ones(2, 32, 2, 256))
    torch.testing.assert_close(result.mels_before[:, :20], before.transpose(1, 2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(result.mels[:, :20], after.transpose(1, 2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(result.gates[:, :20], gates, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(result.alignments[:, :20], alignments, rtol=1e-4, atol=1e-4)


def prenet_without_dropout(prenet, x):
    for layer in prenet.layers:
        x = torch.relu(layer(x))
    return x


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
    state, frames = model.decoder.start(attended), []
    ones = torch.ones(2, 1, model.dimensions.prenet_dim, dtype=torch.double)
    for _ in range(steps):
        made, _, state = model.decoder.step(state, attended, s.n_frames_per_step, ones)
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


def test_settings_beyond_their_limits_are_refused():
    with pytest.raises(ValueError, match="learning_rate is nan"):
        Settings(learning_rate=float("nan"))
