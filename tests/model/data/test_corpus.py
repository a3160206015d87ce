"""From files to batches: mels measured once, one fixed split, every clip in each epoch."""

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.data.corpus import LENGTH_JITTER, Utterance, batches, collate, load_corpus
from model.data.preflight import CorpusSettings, DataError
from model.data.split import choose_held_out
from model.speech.audio import SILENCE, MelSettings, mel_spectrogram, read_wave, trimmed

RATE = 22050
SETTINGS = CorpusSettings(held_out=3)


def write(path, texts, seconds=lambda number: 1.0 + number / 50):
    (path / "wavs").mkdir(parents=True)
    lines = [f"{name}|{text}\n" for name, text in texts.items()]
    (path / "metadata.csv").write_text("".join(lines), "utf-8")
    for number, name in enumerate(texts):
        noise = np.random.default_rng(number).uniform(-0.3, 0.3, round(seconds(number) * RATE))
        wave = np.concatenate([np.zeros(RATE // 4), noise, np.zeros(RATE // 4)])
        soundfile.write(path / "wavs" / f"{name}.wav", wave, RATE)


TEXTS = {f"clip{number:02d}": f"these words are {word}" for number, word in enumerate("abcdefghijklmnop")}


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "corpus", TEXTS)
    return tmp_path / "corpus"


@pytest.fixture
def load(folder, tmp_path):
    def loaded(settings=SETTINGS, **arguments):
        return load_corpus(folder, settings, tmp_path / "cache", **arguments)

    return loaded


def everything(corpus):
    return {item.id: item for item in corpus.training + corpus.held_out}


def test_clips_carry_their_symbols_and_the_mel_of_the_trimmed_recording(folder, load):
    corpus = load()
    assert [len(corpus.training), len(corpus.held_out)] == [13, 3]
    item = everything(corpus)["clip04"]
    assert item.text == "these words are e"
    assert item.symbols.dtype == np.int64
    assert item.symbols.tolist() == corpus.front_end.encode(item.text)
    wave = trimmed(read_wave(folder / "wavs" / "clip04.wav", RATE), RATE, 40.0)
    np.testing.assert_array_equal(item.mel, mel_spectrogram(wave, MelSettings()))
    assert (item.mel == np.float32(SILENCE)).all(axis=1).sum() < 10  # of 44 frames of written silence


def test_mels_are_mapped_and_cannot_be_written(load):
    mel = load().training[0].mel
    assert type(mel) is np.ndarray
    base = mel
    while not isinstance(base, np.memmap):
        base = base.base
    with pytest.raises(ValueError, match="read-only"):
        mel[0] = 0


def test_mels_are_measured_once(load, tmp_path):
    told = []
    first = load(progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 16) for done in range(1, 17)] * 2
    [folder] = (tmp_path / "cache").iterdir()
    written = (folder / "mels.npy").stat()
    told.clear()
    again = load(progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 16) for done in range(1, 17)]
    assert (folder / "mels.npy").stat() == written
    assert again.fingerprint == first.fingerprint
    for name, item in everything(first).items():
        np.testing.assert_array_equal(item.mel, everything(again)[name].mel)


def test_a_changed_recording_is_measured_again(folder, load):
    before = load()
    noise = np.random.default_rng(99).uniform(-0.3, 0.3, 2 * RATE)
    soundfile.write(folder / "wavs" / "clip07.wav", noise[: round(1.3 * RATE)], RATE)
    after = load()
    assert after.fingerprint != before.fingerprint
    assert len(everything(after)["clip07"].mel) == 1 + round(1.3 * RATE) // 256
    np.testing.assert_array_equal(everything(after)["clip06"].mel, everything(before)["clip06"].mel)


def test_other_mel_settings_give_other_mels(load):
    mels = load(mel_settings=MelSettings(hop_length=512, n_mel_channels=40))
    assert mels.training[0].mel.shape[1] == 40
    assert len(mels.training[0].mel) == pytest.approx(len(load().training[0].mel) / 2, abs=1)


def test_another_text_needs_no_new_mels_but_changes_the_fingerprint(folder, load, tmp_path):
    before = load()
    metadata = folder / "metadata.csv"
    metadata.write_text(metadata.read_text().replace("words are e", "words were e"))
    assert load().fingerprint != before.fingerprint
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("settings", [replace(SETTINGS, held_out=4), replace(SETTINGS, max_seconds=9.0)])
def test_settings_are_part_of_the_fingerprint(load, settings):
    assert load(settings).fingerprint != load().fingerprint


@pytest.mark.parametrize("name", ["mels.npy", "index.json"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.9])
def test_damaged_mels_are_measured_again(load, tmp_path, name, kept):
    whole = {name: np.array(item.mel) for name, item in everything(load()).items()}
    [folder] = (tmp_path / "cache").iterdir()
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    (folder / name).write_bytes(content[: int(kept * len(content))])
    for name, item in everything(load()).items():
        np.testing.assert_array_equal(item.mel, whole[name])


def test_only_whole_mels_are_left_in_the_cache(load, tmp_path):
    def interrupted(done, total):
        if (tmp_path / "cache").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(progress=interrupted)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    load()
    [folder] = (tmp_path / "cache").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["index.json", "mels.npy"]
    index = json.loads((folder / "index.json").read_text())
    assert len(np.load(folder / "mels.npy")) == sum(index["frames"])


def test_refused_data_is_an_error_with_its_report(folder, load):
    metadata = folder / "metadata.csv"
    metadata.write_text(metadata.read_text("utf-8").replace("words are e", "words are €"), "utf-8")
    with pytest.raises(DataError, match=r"U\+20AC") as refused:
        load()
    assert refused.value.report.unknown_characters == {"€": 1}


def test_mels_of_another_rate_than_the_corpus_are_refused(load):
    with pytest.raises(ValueError, match="16000 Hz, the corpus of 22050 Hz"):
        load(mel_settings=MelSettings(sample_rate=16_000))


def test_a_corpus_that_says_all_things_twice_cannot_be_split(tmp_path):
    write(tmp_path / "twice", {f"clip{number}": f"words number {number // 2}" for number in range(8)})
    with pytest.raises(DataError, match="Every text occurs twice"):
        load_corpus(tmp_path / "twice", SETTINGS, tmp_path / "cache")


def clip(name, text):
    return Utterance(name, text, np.array([ord(letter) for letter in text]), np.zeros((5, 80), np.float32))


def recording(name):
    return name[:8] if len(name) == 11 else name


names = st.integers(0, 30).map("rec_{:04d}".format)
ids = st.one_of(names, st.builds("{}_{:02d}".format, names, st.integers(0, 4)))
clips = st.lists(st.builds(clip, ids, st.integers(0, 60).map(str)), unique_by=lambda item: item.id)


@given(clips, st.integers(0, 10))
def test_neither_recordings_nor_texts_are_on_both_sides(items, count):
    held_out = choose_held_out(items, count)
    assert len(held_out) <= count
    sides = {item.id: item.id in held_out for item in items}
    for facts in (lambda item: recording(item.id), lambda item: item.text):
        inside = {facts(item) for item in items if sides[item.id]}
        outside = {facts(item) for item in items if not sides[item.id]}
        assert not inside & outside
    assert choose_held_out(items[::-1], count) == held_out


@given(st.sets(ids, max_size=40), st.integers(0, 20))
def test_as_many_clips_as_wished_are_held_out_when_recordings_are_single(names, count):
    singles = {recording(name) for name in names}
    items = [clip(name, name) for name in singles]
    assert len(choose_held_out(items, count)) == min(count, len(items))


def test_pieces_of_recordings_make_up_the_exact_number():
    pieces = [clip(f"rec_{r:04d}_{p:02d}", f"{r} {p}") for r, n in enumerate([3, 2, 2]) for p in range(n)]
    assert choose_held_out(pieces, 4) == {item.id for item in pieces[3:]}
    assert choose_held_out(pieces, 3) == {item.id for item in pieces[:3]}
    assert len(choose_held_out(pieces, 6)) == 5


def test_the_split_is_the_same_on_every_machine():
    items = [clip(f"clip{number}", str(number)) for number in range(100)]
    assert choose_held_out(items, 4) == {"clip40", "clip42", "clip82", "clip9"}
    pieces = [clip(f"rec_{r:04d}_{p:02d}", f"{r} {p}") for r in range(30) for p in range(1 + r % 5)]
    assert {name[:8] for name in choose_held_out(pieces, 14)} == {
        "rec_0008",
        "rec_0009",
        "rec_0018",
        "rec_0020",
    }


def test_thousands_of_clips_can_be_held_out():
    items = [clip(f"clip{number}", str(number)) for number in range(20_000)]
    assert len(choose_held_out(items, 5_000)) == 5_000


def test_the_split_stays_when_clips_are_added():
    items = [clip(f"clip{number}", str(number)) for number in range(200)]
    small, large = choose_held_out(items[:190], 16), choose_held_out(items, 16)
    assert len(small & large) >= 12


def test_numbered_clips_are_recordings_of_their_own():
    items = [clip(f"clip_{number:02d}", str(number)) for number in range(20)]
    assert len(choose_held_out(items, 5)) == 5


def test_a_batch_is_padded_with_the_padding_symbol_and_silence():
    short = Utterance("a", "", np.array([3, 1]), np.full((2, 80), -1.0, np.float32))
    long = Utterance("b", "", np.array([4, 5, 1]), np.full((4, 80), -2.0, np.float32))
    batch = collate([short, long]).to(torch.device("cpu"))
    assert batch.text.tolist() == [[3, 1, 0], [4, 5, 1]]
    assert batch.text.dtype == batch.text_lengths.dtype == batch.mel_lengths.dtype == torch.int64
    assert batch.text_lengths.tolist() == [2, 3]
    assert batch.mel_lengths.tolist() == [2, 4]
    assert batch.mels.shape == (2, 4, 80)
    assert batch.mels.dtype == torch.float32
    assert batch.mels[0, :, 7].tolist() == [-1.0, -1.0, np.float32(SILENCE), np.float32(SILENCE)]


def test_mapped_mels_collate_without_a_warning(load):
    corpus = load()
    batch = collate(corpus.training)
    for mel, length, item in zip(batch.mels, batch.mel_lengths, corpus.training, strict=True):
        np.testing.assert_array_equal(mel[:length].numpy(), item.mel)


lengths = st.lists(st.integers(1, 1000), min_size=1, max_size=200)


@given(lengths, st.integers(1, 40), st.integers(0, 2**40), st.integers(0, 1000))
def test_an_epoch_holds_every_clip_once_in_full_batches(lengths, batch_size, seed, epoch):
    drawn = batches(lengths, batch_size, seed, epoch)
    assert sorted(index for batch in drawn for index in batch) == list(range(len(lengths)))
    sizes = {len(batch) for batch in drawn}
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(drawn) == -(-len(lengths) // batch_size)
    assert batches(lengths, batch_size, seed, epoch) == drawn


@given(lengths, st.integers(1, 40), st.integers(0, 2**40))
def test_lengths_within_a_batch_are_close(lengths, batch_size, seed):
    drawn = batches(lengths, batch_size, seed, 0)
    widest = (1 + LENGTH_JITTER) / (1 - LENGTH_JITTER)
    ranges = [(min(lengths[i] for i in batch), max(lengths[i] for i in batch)) for batch in drawn]
    for (least, most), (other_least, other_most) in combinations(ranges, 2):
        assert most <= other_least * widest or other_most <= least * widest


def test_padding_wastes_little():
    lengths = np.random.default_rng(0).lognormal(6.2, 0.4, 700).astype(int).tolist()
    drawn = batches(lengths, 16, seed=0, epoch=0)
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in drawn)
    assert sum(lengths) / padded > 0.92  # unsorted: 0.55


def test_epochs_and_seeds_differ_in_batches_and_order():
    lengths = np.random.default_rng(0).integers(100, 200, 64).tolist()
    one, next_epoch, other_seed = (batches(lengths, 8, *key) for key in [(0, 0), (0, 1), (1, 0)])
    for other in (next_epoch, other_seed):
        assert {frozenset(batch) for batch in one} != {frozenset(batch) for batch in other}
    means = [np.mean([lengths[i] for i in batch]) for batch in one]
    assert means != sorted(means)


@given(st.integers(2, 400), st.integers(3, 40))
def test_no_clip_is_alone_in_its_batch(clips, batch_size):
    assert min(len(batch) for batch in batches([100] * clips, batch_size, 0, 0)) > 1


def test_nothing_makes_no_batches():
    assert batches([], 16, 0, 0) == []
