"""What a case does to a recipe, each by its name and a strength."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from benchmarks.faults.language import Shape
from benchmarks.faults.setup import Setup, Strike
from benchmarks.faults.stage import TINY
from model.data.corpus import Corpus, Utterance, collate
from model.network.tacotron2 import Prediction
from model.settings import LIMITS
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


PATCHES: dict[str, Patch] = {
    patch.__name__: patch
    for patch in (
        rate_times, rate_times_later, loud_batch, infinite_clips, log_of_zero_clips, shuffled_texts, clips,
        detached, small_encoder, unupdated, wrong_betas, unguided, stuck_on_last, randomised_attention,
        recurring_collapse, gate_off, guidance_ends, little_memory, warm_start,
    )
}  # fmt: skip
