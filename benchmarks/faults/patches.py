"""What a case does to a recipe, each by its name and a strength."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from benchmarks.faults.language import Shape
from benchmarks.faults.setup import Setup, Strike
from benchmarks.faults.stage import TINY, dimensions
from model.data.corpus import Corpus, Utterance, collate
from model.network.tacotron2 import Prediction
from model.settings import LIMITS
from model.speech.audio import SILENCE
from model.training import Training

Patch = Callable[[Setup, float], Setup]
COLLAPSES = 3


def rate_times(setup: Setup, times: float) -> Setup:
    rate = min(setup.settings.learning_rate * times, LIMITS["learning_rate"][1])
    return setup.with_settings(learning_rate=rate)


def rate_times_later(setup: Setup, times: float) -> Setup:
    """The optimizer's rate is multiplied behind the settings' back."""

    def hit(training: Training) -> None:
        step = training._step_optimizer
        training._step_optimizer = lambda rate: step(rate * times)  # type: ignore[method-assign]

    return setup.with_strikes(Strike(hit, lasting=True))


def loud_batch(setup: Setup, times: float) -> Setup:
    """One batch whose mels are so many times too large, and gradients that nothing clips."""

    def hit(training: Training) -> None:
        items, step = training._items, training.step

        def loud() -> list[Utterance]:
            batch = items()
            if training.step != step:
                return batch
            return [replace(item, mel=(item.mel * np.float32(times))) for item in batch]

        training._items = loud  # type: ignore[method-assign]

    return setup.with_settings(grad_clip_thresh=1e4).with_strikes(Strike(hit))


def infinite_clips(setup: Setup, count: float) -> Setup:
    return _with_mels(setup, int(count), np.inf)


def log_of_zero_clips(setup: Setup, count: float) -> Setup:
    return _with_mels(setup, int(count), -np.inf)


def _with_mels(setup: Setup, count: int, value: float) -> Setup:
    """A cell of each of the first clips holds `value`."""
    items = list(setup.corpus.training)
    for i in range(count):
        mel = items[i].mel.copy()
        mel[len(mel) // 2, 3] = value
        items[i] = replace(items[i], mel=mel)
    return _trained_on(setup, items)


def _trained_on(setup: Setup, items: Sequence[Utterance]) -> Setup:
    corpus: Corpus = replace(setup.corpus, training=tuple(items))
    return replace(setup, corpus=corpus)


def shuffled_texts(setup: Setup, share: float) -> Setup:
    """So large a share of the clips get one another's texts."""
    items = list(setup.corpus.training)
    count = max(2, round(share * len(items)))
    for i, item in enumerate(items[:count]):
        items[i] = replace(item, symbols=setup.corpus.training[(i + 1) % count].symbols)
    return _trained_on(setup, items)


def clips(setup: Setup, count: float) -> Setup:
    return _trained_on(setup, setup.corpus.training[: int(count)])


def detached(setup: Setup, of_embedding: float) -> Setup:
    """0: no gradient reaches the encoder; 1: none reaches the embedding."""

    def install(training: Training) -> None:
        part = training.model.embedding if of_embedding else training.model.encoder
        part.register_forward_hook(lambda *found: found[-1].detach())

    return setup.with_install(install)


def small_encoder(setup: Setup, times: float) -> Setup:
    def install(training: Training) -> None:
        with torch.no_grad():
            for parameter in training.model.encoder.parameters():
                parameter.mul_(times)

    return setup.with_install(install)


def unupdated(setup: Setup, only_decoder: float) -> Setup:
    """0: no weight is ever updated; 1: none of the decoder's LSTM."""

    def install(training: Training) -> None:
        groups, step = training.model.groups(), training._step_optimizer

        def hold(rate: float) -> None:
            kept = groups["decoder"] if only_decoder else [p for group in groups.values() for p in group]
            before = [p.detach().clone() for p in kept]
            step(rate)
            torch._foreach_copy_([p.data for p in kept], before)

        training._step_optimizer = hold  # type: ignore[method-assign]

    return setup.with_install(install)


def wrong_betas(setup: Setup, beta: float) -> Setup:
    """As a resume that takes the optimizer's own settings from a file would leave them."""

    def hit(training: Training) -> None:
        for group in training._optimizer.param_groups:
            group.update(betas=(beta, beta), lr=100 * group["lr"])

    return setup.with_strikes(Strike(hit))


def unguided(setup: Setup, p_prenet_dropout: float) -> Setup:
    return setup.with_settings(
        guided_attention_weight=0.0, n_frames_per_step=1, p_prenet_dropout=p_prenet_dropout
    )


def stuck_on_last(setup: Setup, steps: float) -> Setup:
    """So many steps that only taught the attention to rest on the last symbol."""

    def install(training: Training) -> None:
        model, s = training.model, training.settings
        optimizer = torch.optim.Adam(model.groups()["attention"], lr=1e-2)
        batch = collate(training.corpus.training[:12])
        random = torch.random.get_rng_state()
        for _ in range(int(steps)):
            torch.random.manual_seed(0)
            found = model(batch.text, batch.text_lengths, batch.mels, batch.mel_lengths, s).alignments
            last = found[torch.arange(len(found)), :, batch.text_lengths - 1]
            optimizer.zero_grad()
            (-last.clamp(min=1e-6).log().mean()).backward()
            optimizer.step()
        model.zero_grad(set_to_none=True)
        torch.random.set_rng_state(random)

    return setup.with_install(install)


def randomised_attention(setup: Setup, share: float) -> Setup:
    return setup.with_strikes(Strike(_randomise(share)))


def recurring_collapse(setup: Setup, every: float) -> Setup:
    strikes = [Strike(_randomise(1.0), after=i * int(every)) for i in range(COLLAPSES)]
    return setup.with_strikes(*strikes)


def _randomise(share: float) -> Callable[[Training], None]:
    """Such a part of the attention's weights is replaced by new ones."""

    def hit(training: Training) -> None:
        before = [p.detach().clone() for p in training.model.groups()["attention"]]
        training.reinitialise("attention")
        with torch.no_grad():
            for p, old in zip(training.model.groups()["attention"], before, strict=True):
                p.mul_(share).add_(old, alpha=1.0 - share)

    return hit


def gate_off(setup: Setup, steps: float) -> Setup:
    """The gate learns another end: so many decoder steps early, or late where negative."""

    def change(found: Prediction) -> Prediction:
        return replace(found, gates=torch.roll(found.gates, int(steps), dims=1))

    return setup.with_install(lambda training: _when_training(training, change))


def guidance_ends(setup: Setup, _: float) -> Setup:
    """The guided loss no longer pulls: alignments serve nothing else."""

    def change(found: Prediction) -> Prediction:
        alignments: Tensor = found.alignments.detach()
        return replace(found, alignments=alignments)

    return setup.with_strikes(Strike(lambda training: _when_training(training, change), lasting=True))


def _when_training(training: Training, change: Callable[[Prediction], Prediction]) -> None:
    def hook(module: torch.nn.Module, _: object, found: Prediction) -> Prediction:
        return change(found) if module.training else found

    training.model.register_forward_hook(hook)


def little_memory(setup: Setup, most_clips: float) -> Setup:
    """A part of a batch with more clips does not fit."""

    def install(training: Training) -> None:
        gradients = training._gradients

        def limited(items: Sequence[Utterance]) -> object:
            if len(items) / training.settings.micro_batches > most_clips:
                raise MemoryError(f"{len(items)} clips in {training.settings.micro_batches} parts")
            return gradients(items)

        training._gradients = limited  # type: ignore[method-assign, assignment]

    return setup.with_install(install)


@cache
def _trained(steps: int) -> dict[str, Tensor]:
    training = Setup.of(TINY, Shape()).training(10_000)
    for _ in range(steps):
        training.advance()
    return {name: value.clone() for name, value in training.model.state_dict().items()}


def warm_start(setup: Setup, steps: float) -> Setup:
    """Begins with the weights of a sound run of the base recipe."""
    return setup.with_install(lambda t: t.model.load_state_dict(_trained(int(steps))) and None)


# What people report of recordings and recipes, beside the above


def _with_items(setup: Setup, share: float, change: Callable[[Utterance], Utterance]) -> Setup:
    """So large a share of the clips is changed, spread over all."""
    items, every = list(setup.corpus.training), max(1, round(1 / share))
    return _trained_on(setup, [change(item) if i % every == 0 else item for i, item in enumerate(items)])


def edge_silence(setup: Setup, frames: float) -> Setup:
    """Every clip begins and ends with so many frames of silence."""
    edge = np.full((int(frames), setup.corpus.training[0].mel.shape[1]), SILENCE, np.float32)
    return _with_items(setup, 1.0, lambda i: replace(i, mel=np.concatenate((edge, i.mel, edge))))


def texts_off_by_one(setup: Setup, share: float) -> Setup:
    """In the last part of the list every clip has the text of the one before."""
    items = list(setup.corpus.training)
    first = round((1 - share) * len(items))
    moved = [replace(items[i], symbols=items[i - 1].symbols) for i in range(max(1, first), len(items))]
    return _trained_on(setup, [*items[: len(items) - len(moved)], *moved])


def quiet_clips(setup: Setup, share: float) -> Setup:
    """In so many clips the sound is 35 dB (4 in the natural logarithm) weaker."""
    return _with_items(setup, share, lambda i: replace(i, mel=np.maximum(i.mel - np.float32(4), SILENCE)))


def hum(setup: Setup, level: float) -> Setup:
    """Every other clip has a steady hum of this log-magnitude in the lowest eighth of the bands."""

    def add(item: Utterance) -> Utterance:
        mel = item.mel.copy()
        low = mel[:, : mel.shape[1] // 8]
        np.maximum(low, np.float32(level), out=low)
        return replace(item, mel=mel)

    return _with_items(setup, 0.5, add)


def cut_clips(setup: Setup, share: float) -> Setup:
    """So many clips end after half of their text is said."""
    return _with_items(setup, share, lambda item: replace(item, mel=item.mel[: len(item.mel) // 2]))


def two_voices(setup: Setup, bands: float) -> Setup:
    """Every other clip is of a speaker whose spectrum lies so many bands higher."""
    return _with_items(setup, 0.5, lambda i: replace(i, mel=np.roll(i.mel, int(bands), axis=1)))


def weights_times(setup: Setup, times: float) -> Setup:
    """As a warm start whose weights are of another scale."""

    def install(training: Training) -> None:
        with torch.no_grad():
            for parameter in training.model.parameters():
                parameter.mul_(times)

    return setup.with_install(install)


def dead_prenet(setup: Setup, share: float) -> Setup:
    """So many units of the prenet's second layer see all that comes with a minus sign."""

    def install(training: Training) -> None:
        weight = training.model.get_parameter("decoder.prenet.layers.1.linear_layer.weight")
        count = round(share * len(weight))
        with torch.no_grad():
            weight[:count] = -weight[:count].abs()

    return setup.with_install(install)


def by_length(setup: Setup, part: float) -> Setup:
    """Batches always come from the shortest clips to the longest, the same in every pass over a part of
    them."""

    def install(training: Training) -> None:
        items, size = setup.corpus.training, training.settings.batch_size
        order = sorted(range(len(items)), key=lambda i: len(items[i].mel))[: int(part * len(items))]
        found = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
        training._order = lambda: found  # type: ignore[method-assign]

    return setup.with_install(install)


def forgetting_optimizer(setup: Setup, every: float) -> Setup:
    """Adam loses what it knows again and again, as where its state is not restored."""

    def install(training: Training) -> None:
        step = training._step_optimizer

        def forget(rate: float) -> None:
            if training.step % int(every) == 0:
                training._optimizer.state.clear()
            step(rate)

        training._step_optimizer = forget  # type: ignore[method-assign]

    return setup.with_install(install)


def still_statistics(setup: Setup, momentum: float) -> Setup:
    """Batch normalisation's running statistics hardly follow: what is spoken is normalised by others."""

    def install(training: Training) -> None:
        for module in training.model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.momentum = momentum

    return setup.with_install(install)


def mel_scale(setup: Setup, scale: float) -> Setup:
    """The network sees mels divided by this, instead of by their spread."""
    shapes = setup.dimensions or dimensions(setup.corpus)
    return replace(setup, dimensions=replace(shapes, mel_scale=scale))


def spoken_in_training_mode(setup: Setup, _: float) -> Setup:
    """Whoever speaks or validates leaves the network in training's mode, with its dropout."""

    def install(training: Training) -> None:
        training.model.eval = lambda: training.model.train(True)  # type: ignore[method-assign]

    return setup.with_install(install)


# Of other kinds than the rules were made and mended on


def sped_up_clips(setup: Setup, times: float) -> Setup:
    """Every third clip plays so many times too fast, its spectrum twelve bands higher."""

    def change(item: Utterance) -> Utterance:
        mel = item.mel[(np.arange(int(len(item.mel) / times)) * times).astype(int)]
        low = np.full((len(mel), 12), SILENCE, np.float32)
        return replace(item, mel=np.concatenate((low, mel[:, :-12]), axis=1))

    return _with_items(setup, 0.34, change)


def noisy_clips(setup: Setup, level: float) -> Setup:
    """Every third clip has white noise of this log-magnitude in every band."""
    random = np.random.default_rng(0)

    def add(item: Utterance) -> Utterance:
        noise = random.normal(level, 0.3, item.mel.shape).astype(np.float32)
        return replace(item, mel=np.maximum(item.mel, noise))

    return _with_items(setup, 0.34, add)


def half_texts(setup: Setup, share: float) -> Setup:
    """So many texts lack their second half."""
    return _with_items(setup, share, lambda i: replace(i, symbols=i.symbols[: len(i.symbols) // 2]))


def dropped_letters(setup: Setup, every: float) -> Setup:
    """As a cleaner of another language leaves texts: of the symbols, every so many-th is in none."""

    return _with_items(setup, 1.0, lambda i: replace(i, symbols=i.symbols[i.symbols % int(every) != 0]))


def repeated_clip(setup: Setup, share: float) -> Setup:
    """So many rows are one and the same clip."""
    first = setup.corpus.training[0]
    return _with_items(setup, share, lambda item: replace(first, id=item.id))


def long_pauses(setup: Setup, frames: float) -> Setup:
    """In the middle of every other clip nothing is said for so many frames."""

    def change(item: Utterance) -> Utterance:
        middle, pause = len(item.mel) // 2, np.full((int(frames), item.mel.shape[1]), SILENCE, np.float32)
        return replace(item, mel=np.concatenate((item.mel[:middle], pause, item.mel[middle:])))

    return _with_items(setup, 0.5, change)


def seen_frames(setup: Setup, steps: float) -> Setup:
    """Teacher forcing is off by so many steps: the decoder is shown the frames that it must say."""

    def early(_: torch.nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return torch.roll(given[0], -int(steps), dims=0), *given[1:]

    def install(training: Training) -> None:
        training.model.decoder.register_forward_pre_hook(early)

    return setup.with_install(install)


def skipped_steps(setup: Setup, every: float) -> Setup:
    """Only every so many-th step is taken, as where a gradient scaler stays too large."""

    def install(training: Training) -> None:
        step = training._step_optimizer
        training._step_optimizer = lambda rate: (  # type: ignore[method-assign]
            step(rate) if training.step % int(every) == 0 else None
        )

    return setup.with_install(install)


def unzeroed_gradients(setup: Setup, _: float) -> Setup:
    """Gradients add up from step to step."""

    def install(training: Training) -> None:
        training._optimizer.zero_grad = lambda set_to_none=True: None  # type: ignore[method-assign]

    return setup.with_install(install)


def flipped_weights(setup: Setup, value: float) -> Setup:
    """Again and again a weight of the decoder becomes this large, as by a bit of memory that fails."""

    def hit(training: Training) -> None:
        weight = training.model.decoder.decoder_rnn.weight_hh
        with torch.no_grad():
            weight.view(-1)[training.step * 7919 % weight.numel()] = value

    return setup.with_strikes(*(Strike(hit, after=60 * i) for i in range(COLLAPSES)))


def rate_spikes(setup: Setup, times: float) -> Setup:
    """A schedule that starts over: for six of every sixty steps the rate is so many times larger."""

    def install(training: Training) -> None:
        step = training._step_optimizer
        training._step_optimizer = lambda rate: step(  # type: ignore[method-assign]
            rate * times if training.step % 60 >= 54 else rate
        )

    return setup.with_install(install)


def half_loaded(setup: Setup, _: float) -> Setup:
    """A resume that loads all weights but the decoder's."""
    return setup.with_strikes(Strike(lambda training: training.reinitialise("decoder")))


PATCHES: dict[str, Patch] = {
    patch.__name__: patch
    for patch in (
        rate_times, rate_times_later, loud_batch, infinite_clips, log_of_zero_clips, shuffled_texts, clips,
        detached, small_encoder, unupdated, wrong_betas, unguided, stuck_on_last, randomised_attention,
        recurring_collapse, gate_off, guidance_ends, little_memory, warm_start, edge_silence,
        texts_off_by_one, quiet_clips, hum, cut_clips, two_voices, weights_times, dead_prenet, by_length,
        forgetting_optimizer, still_statistics, mel_scale, spoken_in_training_mode, sped_up_clips,
        noisy_clips, half_texts, dropped_letters, repeated_clip, long_pauses, seen_frames, skipped_steps,
        unzeroed_gradients, flipped_weights, rate_spikes, half_loaded,
    )
}  # fmt: skip
