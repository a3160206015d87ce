"""What a case does to the recordings and texts that are trained on."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.faults.setup import Setup
from model.data.corpus import Corpus, Utterance
from model.speech.audio import SILENCE


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


def reversed_texts(setup: Setup, share: float) -> Setup:
    """So many texts are read from their end."""
    return _with_items(setup, share, lambda item: replace(item, symbols=item.symbols[::-1].copy()))


def clipped_lengths(setup: Setup, frames: float) -> Setup:
    """Clips end after so many frames; their texts are whole."""
    return _with_items(setup, 1.0, lambda item: replace(item, mel=item.mel[: int(frames)]))


def muffled_clips(setup: Setup, share: float) -> Setup:
    """So many clips lack the upper half of their bands, as recordings of a telephone do."""

    def change(item: Utterance) -> Utterance:
        mel = item.mel.copy()
        mel[:, mel.shape[1] // 2 :] = SILENCE
        return replace(item, mel=mel)

    return _with_items(setup, share, change)


def other_logarithm(setup: Setup, base: float) -> Setup:
    """The mels of training are logarithms to another base than those of validation."""
    factor = np.float32(1 / np.log(base))
    return _with_items(setup, 1.0, lambda item: replace(item, mel=item.mel * factor))


def empty_texts(setup: Setup, share: float) -> Setup:
    """So many texts are a single symbol."""
    return _with_items(setup, share, lambda item: replace(item, symbols=item.symbols[:1]))


def reverberant_clips(setup: Setup, fall: float) -> Setup:
    """Every other clip echoes: a sound falls by this much in the natural logarithm a frame."""

    def change(item: Utterance) -> Utterance:
        mel = item.mel.copy()
        for i in range(1, len(mel)):
            np.maximum(mel[i], mel[i - 1] - np.float32(fall), out=mel[i])
        return replace(item, mel=mel)

    return _with_items(setup, 0.5, change)


def late_cuts(setup: Setup, frames: float) -> Setup:
    """Every clip is cut so many frames late: it lacks its beginning, and has that of the next."""
    items, late = setup.corpus.training, int(frames)
    following = zip(items, (*items[1:], items[0]), strict=True)
    return _trained_on(
        setup, [replace(a, mel=np.concatenate((a.mel[late:], b.mel[:late]))) for a, b in following]
    )


def other_code_page(setup: Setup, share: float) -> Setup:
    """So many texts were read by another code page of the same alphabet: each letter is another one."""
    used = {symbol for item in setup.corpus.training for symbol in item.symbols.tolist()}
    letters = sorted(used & setup.corpus.front_end.spoken())
    table = np.arange(len(setup.corpus.front_end.symbols))
    table[letters] = np.roll(letters, len(letters) // 2)
    return _with_items(setup, share, lambda item: replace(item, symbols=table[item.symbols]))


def unsaid_title(setup: Setup, symbols: float) -> Setup:
    """Every text begins with the same so many symbols, which nobody says."""
    title = setup.corpus.training[0].symbols[: int(symbols)]
    return _with_items(setup, 1.0, lambda i: replace(i, symbols=np.concatenate((title, i.symbols))))


OF_RECORDINGS = (
        infinite_clips, log_of_zero_clips, shuffled_texts, clips, edge_silence, texts_off_by_one,
        quiet_clips, hum, cut_clips, two_voices, sped_up_clips, noisy_clips, half_texts, dropped_letters,
        repeated_clip, long_pauses, reversed_texts, clipped_lengths, muffled_clips, other_logarithm,
        empty_texts, reverberant_clips, late_cuts, other_code_page, unsaid_title,
)  # fmt: skip
