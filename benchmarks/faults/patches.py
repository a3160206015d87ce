"""What a case does to a recipe, each by its name and a strength."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from benchmarks.faults.language import Shape
from benchmarks.faults.recordings import OF_RECORDINGS
from benchmarks.faults.setup import Setup, Strike
from benchmarks.faults.stage import TINY, dimensions
from benchmarks.faults.strikes import STRIKES
from model.data.corpus import Utterance, collate
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


# What people report of recipes, beside the above


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


# Of other kinds than those


def large_part(setup: Setup, decoder: float) -> Setup:
    """The first weights of a part are far too large: 0, the embedding's; 1, those of the decoder's LSTM."""

    def install(training: Training) -> None:
        model = training.model
        part: torch.nn.Module = model.decoder.decoder_rnn if decoder else model.embedding
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.mul_(10.0 if decoder else 30.0)

    return setup.with_install(install)


def sharpened_attention(setup: Setup, times: float) -> Setup:
    """Energies become so many times larger: attention jumps to single symbols, and passes no gradient."""

    def hit(training: Training) -> None:
        with torch.no_grad():
            training.model.decoder.attention_layer.v.linear_layer.weight.mul_(times)

    return setup.with_strikes(Strike(hit))


def moved_symbols(setup: Setup, by: float) -> Setup:
    """As a resume with a table of symbols that begins elsewhere: each has the embedding of another."""

    def hit(training: Training) -> None:
        with torch.no_grad():
            weight = training.model.embedding.weight
            weight.copy_(weight.roll(int(by), 0))

    return setup.with_strikes(Strike(hit))


def lost_moments(setup: Setup, times: float) -> Setup:
    """Adam's second moments are lost, and its count of steps is not: all steps are far too large at once."""

    def hit(training: Training) -> None:
        for state in training._optimizer.state.values():
            state["exp_avg_sq"].mul_(times)

    return setup.with_strikes(Strike(hit))


def coarse_weights(setup: Setup, _: float) -> Setup:
    """Weights are kept in bfloat16: small steps are lost in the rounding."""

    def install(training: Training) -> None:
        step = training._step_optimizer

        def rounded(rate: float) -> None:
            step(rate)
            with torch.no_grad():
                for parameter in training.model.parameters():
                    parameter.copy_(parameter.bfloat16())

        training._step_optimizer = rounded  # type: ignore[method-assign]

    return setup.with_install(install)


def rate_range_test(setup: Setup, times: float) -> Setup:
    """A search for the largest rate is left on: for 20 steps the rate rises to so many times its value."""

    def hit(training: Training) -> None:
        step, first = training._step_optimizer, training.step

        def risen(rate: float) -> None:
            done = training.step - first
            step(rate * times ** (done / 20) if 0 <= done < 20 else rate)

        training._step_optimizer = risen  # type: ignore[method-assign]

    return setup.with_strikes(Strike(hit))


# Of yet other kinds, from the start


def frames_a_step(setup: Setup, frames: float) -> Setup:
    """So many frames a step, and a network that is built for them."""
    shapes = setup.dimensions or dimensions(setup.corpus)
    setup = replace(setup, dimensions=replace(shapes, max_frames_per_step=int(frames)))
    return setup.with_settings(n_frames_per_step=int(frames))


def narrow_encoder(setup: Setup, channels: float) -> Setup:
    """The encoder has so many channels."""
    shapes = setup.dimensions or dimensions(setup.corpus)
    return replace(setup, dimensions=replace(shapes, encoder_embedding_dim=int(channels)))


def alike_weights(setup: Setup, value: float) -> Setup:
    """Every weight begins as one number, and every bias as zero: units of a layer are alike."""

    def install(training: Training) -> None:
        with torch.no_grad():
            for name, parameter in training.model.named_parameters():
                if parameter.ndim > 1:
                    parameter.fill_(value)
                elif "bias" in name:
                    parameter.zero_()

    return setup.with_install(install)


def reversed_guide(setup: Setup, _: float) -> Setup:
    """The guided loss has the wrong sign: attention is pushed away from the diagonal."""

    def change(found: Prediction) -> Prediction:
        return replace(found, alignments=2 * found.alignments.detach() - found.alignments)

    return setup.with_install(lambda training: _when_training(training, change))


def short_mask(setup: Setup, frames: float) -> Setup:
    """Mels count in the loss up to this frame, as where the mask's length is that of another axis."""

    def hook(module: torch.nn.Module, given: tuple[Tensor, ...], found: Prediction) -> Prediction:
        true, first = given[2], int(frames)

        def masked(mels: Tensor) -> Tensor:
            mels = mels.clone()
            mels[:, first : true.shape[1]] = true[:, first:]
            return mels

        if not module.training:
            return found
        return replace(found, mels_before=masked(found.mels_before), mels=masked(found.mels))

    def install(training: Training) -> None:
        training.model.register_forward_hook(hook)

    return setup.with_install(install)


PATCHES: dict[str, Patch] = {
    patch.__name__: patch
    for patch in (
        *OF_RECORDINGS,
        *STRIKES,
        rate_times, rate_times_later, loud_batch, detached, small_encoder, unupdated, wrong_betas, unguided,
        stuck_on_last, randomised_attention, recurring_collapse, gate_off, guidance_ends, little_memory,
        warm_start, weights_times, dead_prenet, by_length, forgetting_optimizer, still_statistics, mel_scale,
        spoken_in_training_mode, seen_frames, skipped_steps, unzeroed_gradients, flipped_weights,
        rate_spikes, half_loaded, large_part, sharpened_attention, moved_symbols, lost_moments,
        coarse_weights, rate_range_test, frames_a_step, narrow_encoder, alike_weights, reversed_guide,
        short_mask,
    )
}  # fmt: skip
