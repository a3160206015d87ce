"""The Russian corpus: recordings are cut only where it is certain which words are on which side."""

import json
import os
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from model.data.corpora import CorpusError
from model.data.corpora.festvox_ru import (
    SHORTEST_PIECE,
    VOWEL_LETTERS,
    VOWEL_PHONES,
    Conversion,
    Phone,
    convert,
    pieces,
    prepare,
    read_labels,
    read_prompts,
)
from model.speech.text import FRONT_ENDS

RATE = 16000


def spoken(*parts):
    """Phones of words of one-second vowels, given as letters; a number is a pause in seconds."""
    phones, now = [], 0.0
    for part in parts:
        names = ["pau"] if isinstance(part, float) else ["aa" if c in VOWEL_LETTERS else "t" for c in part]
        for name in names:
            length = part if name == "pau" else 1.0 if name == "aa" else 0.05
            phones.append(Phone(name, now, now + length))
            now += length
    return phones, now


def texts(text, *parts):
    phones, seconds = spoken(*parts)
    return [piece.text for piece in pieces(text, phones, seconds)]


@pytest.mark.parametrize(
    ("text", "parts", "expected"),
    [
        ("мама, папа", ["мама", 0.4, "папа"], ["мама,", "папа"]),
        ("мама папа", ["мама", 0.4, "папа"], ["мама", "папа"]),
        ("мама, - пап+а (да).", ["мама", 0.4, "папа", 0.4, "да"], ["мама, -", "пап+а", "(да)."]),
        ("да, мама, да", ["да", 0.2, "мама", 0.2, "да"], ["да, мама, да"]),  # a piece of 1.15 s is too short
        ("мама, - +Анна", ["мама", 0.4, "анна"], ["мама, -", "+Анна"]),
        ("мама, в саду", ["мама", 0.4, "всаду"], ["мама,", "в саду"]),
        ("мама в саду", ["мама", 0.4, "всаду"], ["мама в саду"]),
        ("мама, в, саду", ["мама", 0.4, "всаду"], ["мама, в, саду"]),
        ("мама, в саду", ["мама", 0.4, "в", 0.4, "саду"], ["мама, в саду"]),
        ("мама, папа", ["ма", 0.4, "мапапа"], ["мама, папа"]),
        ("мама-папа", ["мама", 0.4, "папа"], ["мама-папа"]),
        ("мама, папа", ["мама", 0.06, "папа"], ["мама, папа"]),
        ("мама, папа", ["мама", 0.4, "папаа"], ["мама, папа"]),
        ("мама, папа", [0.4, "мамапапа", 0.4], ["мама, папа"]),
    ],
)
def test_only_certain_pauses_are_cut(text, parts, expected):
    assert texts(text, *parts) == expected


def test_a_cut_is_in_the_middle_of_its_pause():
    phones, seconds = spoken("мама", 0.5, "папа")
    first, second = pieces("мама, папа", phones, seconds)
    assert (first.start, first.end, second.start, second.end) == pytest.approx((0.0, 2.35, 2.35, 4.7))


@st.composite
def recordings(draw):
    """A text, its phones with pauses wherever, and its length in seconds; most pauses are between words."""
    words = draw(st.lists(st.text("тнвбаоуеёя", min_size=1, max_size=6), min_size=1, max_size=12))
    gaps = [draw(st.sampled_from([" ", ", ", " - ", "; ", ", - ", " ("])) for _ in words]
    phones, now = [], 0.0
    for word in words:
        pause = draw(st.sampled_from([0.0, 0.03, 0.2, 0.5]))
        names = ["aa" if letter in VOWEL_LETTERS else "t" for letter in word]
        if draw(st.integers(0, 9)) == 0:
            names.insert(len(names) // 2, "pau")
        for name, length in [("pau", pause), *((name, draw(st.floats(0.03, 0.9))) for name in names)]:
            phones.append(Phone(name, now, now + length))
            now += length
    text = "".join(gap + word for gap, word in zip(gaps, words, strict=True)).lstrip(" ,-;")
    return text + draw(st.sampled_from(["", ".", ")!"])), phones, now + 0.1


@given(recordings())
def test_pieces_hold_the_whole_text_and_the_whole_recording(recording):
    text, phones, seconds = recording
    found = pieces(text, phones, seconds)
    assert " ".join(piece.text for piece in found) == " ".join(text.split())
    assert (found[0].start, found[-1].end) == (0.0, seconds)
    assert all(one.end == other.start for one, other in pairwise(found))
    assert len(found) == 1 or all(piece.end - piece.start >= SHORTEST_PIECE - 1e-9 for piece in found)


@given(recordings())
def test_a_piece_has_the_vowels_that_are_spoken_in_it(recording):
    for piece in pieces(*recording):
        inside = [phone for phone in recording[1] if piece.start <= phone.start and phone.end <= piece.end]
        assert sum(phone.name in VOWEL_PHONES for phone in inside) == sum(
            c in VOWEL_LETTERS for c in piece.text
        )


@pytest.fixture
def source(tmp_path):
    """Two recordings as the package has them; the samples count up, so that a cut shows."""
    voice = tmp_path / "voice"
    prompts = {"ru_0001": "М+ама, папа.", "ru_0002": "И\u0306од."}
    labels = {"ru_0001": spoken("мама", 0.4, "папа"), "ru_0002": spoken("йод")}
    for folder in ("etc", "lab", "wav"):
        (voice / folder).mkdir(parents=True)
    lines = [f'( {name} "{text}" )\n' for name, text in prompts.items()]
    (voice / "etc" / "txt.done.data").write_text("".join(lines), "utf-8")
    for name, (phones, seconds) in labels.items():
        label = "".join(f"{phone.end:.5f} 125 {phone.name}\n" for phone in phones)
        (voice / "lab" / f"{name}.lab").write_text("#\n" + label)
        samples = np.arange(round(seconds * RATE)).astype(np.int16)
        soundfile.write(voice / "wav" / f"{name}.wav", samples, RATE, subtype="PCM_16")
    return voice


def test_the_conversion_has_ljspeech_layout(source, tmp_path):
    made = convert(source, tmp_path / "corpus")
    rows = (tmp_path / "corpus" / "metadata.csv").read_text("utf-8").splitlines()
    assert rows == ["ru_0001_01|М+ама,", "ru_0001_02|папа.", "ru_0002_01|Йод."]
    assert made == Conversion(recordings=2, cut=1, pieces=3, hours=pytest.approx(5.7 / 3600))


def test_no_sample_is_lost_or_changed(source, tmp_path):
    convert(source, tmp_path / "corpus")
    clips = [tmp_path / "corpus" / "wavs" / f"ru_0001_0{number}.wav" for number in (1, 2)]
    samples = np.concatenate([soundfile.read(clip, dtype="int16")[0] for clip in clips])
    assert samples.tolist() == soundfile.read(source / "wav" / "ru_0001.wav", dtype="int16")[0].tolist()
    assert soundfile.info(clips[0]).samplerate == RATE
    assert soundfile.info(clips[0]).frames == round(2.3 * RATE)


def test_progress_counts_recordings(source, tmp_path):
    told = []
    convert(source, tmp_path / "corpus", lambda *done: told.append(done))
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize("line", ["ru_0001 text", '( ru_0001 "a" )\n( ru_0001 "b" )', '( ru_0001 "a|b" )'])
def test_a_prompt_of_another_form_is_refused(tmp_path, line):
    (tmp_path / "prompts").write_text(line)
    with pytest.raises(CorpusError, match=r"prompts line [12]: wanted is \( id"):
        read_prompts(tmp_path / "prompts")


def test_a_label_of_another_form_is_refused(tmp_path):
    (tmp_path / "a.lab").write_text("#\n0.5 125 a\nnoise\n")
    with pytest.raises(CorpusError, match=r"a\.lab: wanted is .* got 'noise'"):
        read_labels(tmp_path / "a.lab")


@pytest.fixture
def debian(source, tmp_path, monkeypatch):
    """Commands of Debian's names that deliver the made-up source, and say so in `calls`."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "COPYING").write_text("free")
    voice, notice = "usr/share/festival/voices/russian/msu_ru_nsh_clunits", "usr/share/doc/festvox-ru"
    commands = {
        "apt-get": f'echo "$@" >> {tmp_path}/calls; touch festvox-ru_1_all.deb',
        "dpkg": f"mkdir -p $3/{voice} $3/{notice}; cp -r {source}/* $3/{voice}; "
        f"cp {tmp_path}/COPYING $3/{notice}/copyright",
    }
    for name, script in commands.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def test_the_corpus_is_fetched_once_with_its_licence(debian):
    for _ in range(2):
        assert prepare(debian / "new" / "corpus") == debian / "new" / "corpus"
    assert (debian / "calls").read_text() == "download festvox-ru\n"
    assert sorted(path.name for path in (debian / "new" / "corpus").iterdir()) == [
        "COPYING",
        "metadata.csv",
        "recipe.json",
        "wavs",
    ]
    recipe = json.loads((debian / "new" / "corpus" / "recipe.json").read_text())
    assert (recipe["recordings"], recipe["recordings_cut"], recipe["clips"]) == (2, 1, 3)
    assert recipe["hours"] == pytest.approx(5.7 / 3600, abs=1e-4)
    assert [path.name for path in (debian / "new").iterdir()] == ["corpus"]


def test_a_failed_download_says_what_to_do(debian):
    (debian / "bin" / "apt-get").write_text("#!/bin/sh\necho E: Unable to locate package >&2; exit 100\n")
    with pytest.raises(CorpusError, match="Unable to locate package; run `sudo apt-get update`"):
        prepare(debian / "new" / "corpus")
    assert list((debian / "new").iterdir()) == []


def test_without_apt_the_error_names_debian(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CorpusError, match="apt-get is not here: festvox-ru is a package of Debian"):
        prepare(tmp_path / "corpus")


def test_the_real_voice_is_certain_nearly_everywhere(tmp_path):
    """Needs the unpacked package: FESTVOX_RU=.../voices/russian/msu_ru_nsh_clunits."""
    if "FESTVOX_RU" not in os.environ:
        pytest.skip("FESTVOX_RU names no unpacked voice")
    made = convert(Path(os.environ["FESTVOX_RU"]), tmp_path / "corpus")
    assert asdict(made) == {
        "recordings": 620,
        "cut": 608,
        "pieces": 2307,
        "hours": pytest.approx(1.6586, abs=1e-3),
    }
    for row in (tmp_path / "corpus" / "metadata.csv").read_text("utf-8").splitlines():
        assert FRONT_ENDS["ru"].encode(row.partition("|")[2])
