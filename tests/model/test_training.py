import errno
import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from limits import files_of_at_most
from safetensors.torch import load_file

import model.training
from model import checkpoint
from model.device import Origin
from model.network.fused import AttentionRecurrence
from model.network.products import multiplies_bfloat16
from model.network.tacotron2 import Postnet
from model.speech.voice import load_voice
from model.training import NonFinite, OutOfMemory, Training, learning_rate_at


@pytest.fixture
def training(corpus, tiny, settings):
    return Training(corpus, tiny, settings, seed=7)


def weights(training):
    return {name: tensor.clone() for name, tensor in training.model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_losses_fall(training):
    measures = [training.advance() for _ in range(40)]
    assert np.mean([m.mel_l1 for m in measures[-5:]]) < 0.7 * np.mean([m.mel_l1 for m in measures[:5]])
    assert measures[-1].step == training.step == 40


def test_the_same_seed_trains_the_same_weights_and_another_does_not(corpus, tiny, settings):
    runs = [Training(corpus, tiny, settings, seed) for seed in (7, 7, 8)]
    for run in runs:
        for _ in range(3):
            run.advance()
            torch.rand(5)  # others may draw from torch's generator
    first, again, other = (weights(run) for run in runs)
    assert same(first, again)
    assert not same(first, other)


def test_what_another_kind_of_device_saved_goes_on_here(tmp_path, corpus, tiny, settings):
    first = Training(corpus, tiny, settings, seed=7)
    first.advance()
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    here = checkpoint.write(tmp_path / "here", first.step, first.save)
    first._random = {**first._random, "cuda": torch.zeros(16, dtype=torch.uint8)}  # as a GPU has it
    there = checkpoint.write(tmp_path / "there", first.step, first.save)
    runs = []
    for path in (here, there):
        runs.append(Training(corpus, tiny, settings, seed=7))
        runs[-1].restore(path)
        runs[-1].advance()
    assert same(*map(weights, runs))


def test_a_checkpoint_says_where_it_was_made_and_one_of_before_does_not(tmp_path, training):
    training.advance()
    path = checkpoint.write(tmp_path, training.step, training.save)
    assert training.restore(path) == training.origin
    assert "torch 2." in str(training.origin) and "CPU" in str(training.origin)
    state = torch.load(path / "training.pt", weights_only=True)
    assert state.pop("origin")["precision"] == "tf32"
    (tmp_path / "before").mkdir()
    before = checkpoint.write(tmp_path / "before", 1, lambda folder: resaved(path, folder, state))
    assert training.restore(before) is None
    assert training.step == 1


def resaved(path, folder, state):
    """A checkpoint with another state of its training."""
    for file in path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    torch.save(state, folder / "training.pt")


def test_sums_are_divided_among_threads_which_the_origin_counts(training):
    told = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            told.append(Origin.here(torch.device("cpu"), "fp32"))
    finally:
        torch.set_num_threads(threads)
    assert "(1 thread)" in str(told[0]) and "(2 threads)" in str(told[1])
    assert told[0] != told[1]


def test_stop_and_go_on_is_bit_identical_to_never_stopping(tmp_path, corpus, tiny, settings):
    straight = Training(corpus, tiny, settings, seed=7)
    for _ in range(12):
        straight.advance()
    first = Training(corpus, tiny, settings, seed=7)
    for _ in range(5):
        first.advance()
    path = checkpoint.write(tmp_path, first.step, first.save)
    second = Training(corpus, tiny, settings, seed=7)
    second.restore(path)
    for _ in range(7):
        second.advance()
    assert second.step == 12
    assert same(weights(straight), weights(second))


@pytest.fixture
def switches():
    """What torch's GPUs compute in, as it was."""
    modules = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [module.allow_tf32 for module in modules]
    yield lambda: [module.allow_tf32 for module in modules]
    for module, allowed in zip(modules, before, strict=True):
        module.allow_tf32 = allowed


def test_a_training_sets_what_gpus_compute_in_and_on_a_cpu_it_is_the_same(corpus, tiny, settings, switches):
    runs = []
    for precision, rounded in (("fp32", False), ("tf32", True), ("fp32", False)):
        runs.append(Training(corpus, tiny, settings, seed=7, precision=precision))
        assert switches() == [rounded, rounded]
        runs[-1].advance()
    assert same(*map(weights, runs[:2]))
    Training(corpus, tiny, settings, seed=7)
    assert switches() == [True, True]


@pytest.mark.skipif(not multiplies_bfloat16(torch.device("cpu")), reason="this CPU has no bfloat16")
def test_bfloat16_steps_are_nearly_those_of_float32_and_what_is_measured_stays_float32(
    tmp_path, corpus, tiny, settings
):
    plain, coarse, again = (
        Training(corpus, tiny, settings, seed=7, precision=precision)
        for precision in ("fp32", "bf16", "bf16")
    )
    a, b = plain.advance(), coarse.advance()
    assert a.loss != b.loss == pytest.approx(a.loss, rel=1e-2)
    assert b.grad_norm == pytest.approx(a.grad_norm, rel=5e-2)
    assert all(p.dtype == torch.float32 for p in coarse.model.parameters())
    coarse.save(tmp_path)
    again.restore(tmp_path)
    assert coarse.advance().loss == again.advance().loss  # it goes on bit for bit
    assert same(weights(coarse), weights(again))
    plain.model.load_state_dict(coarse.model.state_dict())
    assert coarse.validate(corpus.held_out).mel_l2 == plain.validate(corpus.held_out).mel_l2


def test_validating_and_speaking_disturb_nothing(corpus, tiny, settings):
    plain, watched = (Training(corpus, tiny, settings, seed=7) for _ in range(2))
    for _ in range(3):
        plain.advance()
        watched.advance()
        watched.validate(corpus.held_out)
        watched.voice().speak("abc")
    assert same(weights(plain), weights(watched))
    assert watched.validate(corpus.held_out) == watched.validate(corpus.held_out)


def spoilt(corpus, *clips):
    """The corpus with a NaN in these training clips."""
    items = list(corpus.training)
    for clip in clips:
        items[clip] = replace(items[clip], mel=items[clip].mel.copy())
        items[clip].mel[0, 0] = np.nan
    return replace(corpus, training=tuple(items))


def all_state(training):
    return {name: value.clone() for name, value in training.model.state_dict().items()}


def test_a_non_finite_loss_leaves_everything_as_it_was(corpus, tiny, settings):
    training = Training(spoilt(corpus, *range(64)), tiny, settings, seed=7)
    before = all_state(training)
    for _ in range(2):  # the same batch again, with the same masks
        with pytest.raises(NonFinite, match="step 1: loss is nan") as raised:
            training.advance()
        assert same(all_state(training), before)
    assert set(raised.value.clips) <= {item.id for item in corpus.training}
    assert training.step == 0


def test_a_bad_clip_is_skipped_and_left_out(corpus, tiny, settings):
    training, faults = Training(spoilt(corpus, 3), tiny, settings, seed=7), []
    for _ in range(12):
        try:
            training.advance()
        except NonFinite as fault:
            faults.append(fault.clips)
            training.skip()
    assert len(faults) >= 2  # once an epoch of four batches
    assert all(corpus.training[3].id in clips for clips in faults)
    training.exclude({corpus.training[3].id})
    for _ in range(12):
        training.advance()


def test_what_is_left_out_must_exist_and_leave_something(training):
    with pytest.raises(ValueError, match="no training clips: nobody"):
        training.exclude({"nobody"})
    with pytest.raises(ValueError, match="every training clip"):
        training.exclude({item.id for item in training.corpus.training})


def test_rolled_back_training_takes_old_weights_and_other_batches_and_counts_on(
    tmp_path, corpus, tiny, settings
):
    training = Training(corpus, tiny, settings, seed=7)
    training.advance()
    training.save(tmp_path)
    then = all_state(training)
    orders = [training._order()]
    for _ in range(2):
        training.advance()
        assert not same(all_state(training), then)
        training.roll_back(tmp_path)
        assert same(all_state(training), then)
        orders.append(training._order())
    assert training.step == 3
    assert orders[0] != orders[1] != orders[2]
    for order in orders:
        assert sorted(i for batch in order for i in batch) == list(range(len(corpus.training)))


def test_what_was_left_out_and_reordered_is_taken_up_again(tmp_path, corpus, tiny, settings):
    one, other = (Training(corpus, tiny, settings, seed=7) for _ in range(2))
    one.exclude({corpus.training[0].id})
    one.advance()
    one.save(tmp_path)
    one.roll_back(tmp_path)
    one.save(tmp_path)
    other.restore(tmp_path)
    assert other.excluded == {corpus.training[0].id}
    for training in (one, other):
        for _ in range(6):
            training.advance()
    assert same(weights(one), weights(other))


def test_looking_closely_changes_nothing_and_sees_every_part(corpus, tiny, settings):
    one, other = (Training(corpus, tiny, settings, seed=7) for _ in range(2))
    for _ in range(3):
        one.advance()
        seen = other.advance(closely=True)
    assert same(weights(one), weights(other))
    assert list(seen.groups) == list(one.model.groups())
    for name, group in seen.groups.items():
        assert group.gradient_rms > 0, name
        assert -6 < group.update < 0, name
        assert (group.silent, group.unchanged) == (0, 0), name


def test_a_part_without_gradient_or_change_shows(corpus, tiny, settings):
    training = Training(corpus, tiny, replace(settings, gate_weight=0.0, weight_decay=0.0), seed=7)
    gate = training.advance(closely=True).groups["gate"]
    assert (gate.gradient_rms, gate.update, gate.silent, gate.unchanged) == (0, -30, 2, 0)


def test_weights_that_nothing_updates_show(corpus, tiny, settings):
    training = Training(corpus, tiny, replace(settings, weight_decay=0.0), seed=7)
    parameters = training._optimizer.param_groups[0]["params"]
    parameters[:] = [p for p in parameters if p is not training.model.embedding.weight]
    embedding = training.advance(closely=True).groups["embedding"]
    assert embedding.gradient_rms > 0
    assert (embedding.update, embedding.silent, embedding.unchanged) == (-30, 0, 1)


def test_other_texts_cost_a_network_that_listens_and_nothing_to_one_that_does_not(corpus, tiny, settings):
    training = Training(corpus, tiny, settings, seed=7)
    for _ in range(60):
        training.advance()
    assert training.text_gain(corpus.held_out) > 0.01
    encode = training.model.encode
    training.model.encode = lambda *a: torch.zeros_like(encode(*a))
    assert abs(training.text_gain(corpus.held_out)) < 0.01


def test_hidden_frames_change_training_and_never_speaking(corpus, tiny, settings):
    plain, hiding = (Training(corpus, tiny, replace(settings, p_frame_dropout=p), seed=7) for p in (0.0, 0.5))
    assert plain.advance().loss != hiding.advance().loss
    hiding.model.load_state_dict(plain.model.state_dict())
    assert plain.validate(corpus.held_out) == hiding.validate(corpus.held_out)


def test_micro_batches_take_the_same_step_but_for_the_normalisation(corpus, tiny, settings):
    """In eval mode, where running statistics normalise, the gradients are those of the whole batch."""
    still = replace(
        settings,
        p_encoder_dropout=0.0,
        p_prenet_dropout=0.0,
        p_attention_dropout=0.0,
        p_decoder_dropout=0.0,
        p_postnet_dropout=0.0,
    )
    found = []
    for count in (1, 3):
        training = Training(corpus, tiny, replace(still, micro_batches=count), seed=7)
        training.model.eval()
        training.model.train = lambda mode=True, model=training.model: model
        terms, norm = training._gradients(corpus.training[:10])
        found.append(torch.stack([terms.total(still), norm, *terms.clips.flatten()]))
    torch.testing.assert_close(*found, rtol=1e-4, atol=0)


def test_a_step_that_does_not_fit_leaves_everything_as_it_was(training):
    before, encode = all_state(training), training.model.encode

    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    training.model.encode = full
    with pytest.raises(OutOfMemory, match="step 1 does not fit"):
        training.advance()
    assert same(all_state(training), before)
    training.model.encode = encode
    assert training.advance().step == 1


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(
    "place",
    [(Postnet, "forward"), (model.training, "losses"), (AttentionRecurrence, "backward")],
    ids=["forward", "losses", "backward"],
)
def test_a_step_that_does_not_fit_leaves_no_memory_taken(monkeypatch, corpus, tiny, settings, place, parts):
    """Whoever handles the error keeps it and tries with less: what the step had made must be gone."""
    training, made, calls = Training(corpus, tiny, replace(settings, micro_batches=parts), seed=7), [], []
    real, encode, decode = getattr(*place), training.model.encode, training.model.decoder.forward

    def full(*args):
        calls.append(1)
        if len(calls) == parts:
            raise RuntimeError("CUDA error: out of memory")
        return real(*args)

    def encoded(*args):
        memory = encode(*args)
        made.append(weakref.ref(memory))
        return memory

    def decoded(*args):
        found = decode(*args)
        made.extend(map(weakref.ref, found))
        return found

    monkeypatch.setattr(*place, staticmethod(full) if place[1] == "backward" else full)
    training.model.encode, training.model.decoder.forward = encoded, decoded
    gc.disable()
    try:
        with pytest.raises(OutOfMemory) as raised:
            training.advance()
    finally:
        gc.enable()
    assert len(made) == 4 * parts
    assert raised.value.__cause__ is not None
    assert [ref() for ref in made if ref() is not None] == []
    assert all(p.grad is None for p in training.model.parameters())


def test_an_optimizer_that_finds_no_memory_for_its_state_is_as_if_the_step_had_not_begun(
    corpus, tiny, settings, training
):
    """It makes its state at the first step, one weight after the other."""

    def full(optimizer, *_):
        first = optimizer.param_groups[0]["params"][0]
        optimizer.state[first]["step"] = torch.zeros(())
        raise RuntimeError("CUDA error: out of memory")

    before = all_state(training)
    hook = training._optimizer.register_step_pre_hook(full)
    with pytest.raises(OutOfMemory, match="step 1 does not fit"):
        training.advance()
    hook.remove()
    assert same(all_state(training), before)
    other = Training(corpus, tiny, settings, seed=7)
    for each in (training, other):
        each.advance()
    assert same(weights(training), weights(other))


@pytest.mark.parametrize("name", ["model.safetensors", "training.pt"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_wherever_the_disk_has_no_more_room_the_error_says_so(training, tmp_path, name, share):
    training.advance()
    whole = checkpoint.write(tmp_path, 1, training.save)
    limit = int(share * (whole / name).stat().st_size)
    with files_of_at_most(limit), pytest.raises(OSError) as raised:
        checkpoint.write(tmp_path, 2, training.save)
    assert raised.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == [whole]
    checkpoint.verify(whole)


@pytest.mark.parametrize("name", ["model.safetensors", "training.pt", "voice.json"])
def test_a_device_without_room_is_told_as_a_full_disk(training, tmp_path, name):
    training.advance()
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OSError) as raised:
        training.save(tmp_path)
    assert raised.value.errno == errno.ENOSPC


def test_clips_whose_own_loss_is_not_finite_are_found(corpus, tiny, settings):
    training = Training(spoilt(corpus, 3, 5), tiny, settings, seed=7)
    ids = [item.id for item in corpus.training]
    assert training.unsound(ids[:5]) == (ids[3],)


def test_a_reinitialised_part_is_new_and_the_rest_is_not(training):
    for _ in range(2):
        training.advance()
    before = weights(training)
    training.reinitialise("attention")
    after, part = weights(training), ("decoder.attention_rnn", "decoder.attention_layer")
    for name in before:
        assert torch.equal(before[name], after[name]) != name.startswith(part), name
    training.advance()


def test_the_norm_is_that_before_clipping_and_clipping_bounds_the_step(corpus, tiny, settings):
    norms = {}
    for clip in (0.01, 1e4):
        training = Training(corpus, tiny, replace(settings, grad_clip_thresh=clip), seed=7)
        norms[clip] = training.advance().grad_norm
        clipped = torch.nn.utils.get_total_norm([p.grad for p in training.model.parameters()])
        assert float(clipped) == pytest.approx(min(clip, norms[clip]), rel=1e-3)
    assert norms[0.01] == norms[1e4]


@pytest.mark.parametrize(
    "changed",
    [
        {"learning_rate": 1e-4},
        {"warmup_steps": 50},
        {"decay_start_step": 0, "decay_half_life": 1},
        {"adam_beta2": 0.9},
        {"adam_eps": 1e-3},
        {"weight_decay": 0.1},
        {"grad_clip_thresh": 0.01},
        {"batch_size": 8},
        {"n_frames_per_step": 4},
        {"mel_l1_weight": 3.0},
        {"mel_l2_weight": 3.0},
        {"gate_weight": 3.0},
        {"gate_positive_weight": 20.0},
        {"guided_attention_weight": 5.0},
        {"guided_attention_sigma": 0.5},
        {"p_encoder_dropout": 0.1},
        {"p_prenet_dropout": 0.1},
        {"p_attention_dropout": 0.5},
        {"p_decoder_dropout": 0.5},
        {"p_postnet_dropout": 0.1},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_setting_changes_what_is_trained(corpus, tiny, settings, changed):
    trainings = [Training(corpus, tiny, s, seed=7) for s in (settings, replace(settings, **changed))]
    for training in trainings:
        training.advance()
        training.advance()
    assert not same(weights(trainings[0]), weights(trainings[1]))


def test_the_learning_rate_warms_up_holds_and_halves(settings):
    s = replace(settings, learning_rate=1.0e-2, warmup_steps=10, decay_start_step=100, decay_half_life=50)
    rates = [learning_rate_at(step, s) for step in (0, 4, 9, 100, 150, 200)]
    assert rates == pytest.approx([1e-3, 5e-3, 1e-2, 1e-2, 5e-3, 2.5e-3])


def test_a_restored_learning_rate_is_that_of_the_settings(tmp_path, corpus, tiny, settings):
    training = Training(corpus, tiny, settings, seed=7)
    training.advance()
    path = checkpoint.write(tmp_path, 1, training.save)
    training.restore(path)
    training.settings = replace(training.settings, learning_rate=1e-5, warmup_steps=1)
    assert training.advance().learning_rate == 1e-5


def test_a_checkpoint_of_another_network_is_refused(tmp_path, corpus, tiny, settings):
    training = Training(corpus, tiny, settings, seed=7)
    path = checkpoint.write(tmp_path, 0, training.save)
    other = Training(corpus, replace(tiny, prenet_dim=16), settings, seed=7)
    with pytest.raises(ValueError, match="another network"):
        other.restore(path)


def test_a_saved_voice_speaks_as_before(tmp_path, training):
    training.advance()
    path = checkpoint.write(tmp_path, 1, training.save)
    loaded = load_voice(path)
    before, after = training.voice().speak("abcd", seed=3), loaded.speak("abcd", seed=3)
    np.testing.assert_array_equal(before.mel, after.mel)
    assert loaded.front_end == training.corpus.front_end
    assert load_file(path / "model.safetensors").keys() == training.model.state_dict().keys()


def test_what_a_voice_says_does_not_depend_on_what_else_is_asked(training):
    for _ in range(3):
        training.advance()
    voice = training.voice()
    texts = [voice.front_end.encode(text) for text in ("abc", "hgfedcba", "ad")]
    together = voice.read(texts, seeds=[1, 2, 3])
    for text, seed, spoken in zip(texts, [1, 2, 3], together, strict=True):
        alone = voice.read([text], [seed])[0]
        np.testing.assert_allclose(alone.mel, spoken.mel, rtol=1e-3, atol=1e-3)
        assert alone.stop == spoken.stop


@pytest.mark.slow
def test_the_made_up_language_is_learned(corpus, tiny, settings):
    training = Training(corpus, tiny, settings, seed=7)
    for _ in range(600):
        training.advance()
    validation = training.validate(corpus.held_out)
    assert validation.aligned
    assert validation.gate_accuracy >= 0.75
