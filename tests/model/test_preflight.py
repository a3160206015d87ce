"""What is wrong with a corpus is said row by row, and too much of it refuses the corpus."""

import os
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from model.preflight import CorpusSettings, DataError, check

RATE = 22050
TEXT = "a sentence of some twenty letters"
SETTINGS = CorpusSettings(held_out=2)


def noise(seconds=2.0, seed=0, loudness=0.1, rate=RATE):
    return np.random.default_rng(seed).uniform(-loudness, loudness, round(seconds * rate))


def sound(wave, rate=RATE, subtype="PCM_16"):
    return lambda path: soundfile.write(path, wave, rate, subtype=subtype)


class Folder:
    """Twenty good clips and what a test adds."""

    def __init__(self, path, clips=20):
        self.path = path
        (path / "wavs").mkdir(parents=True)
        for number in range(clips):
            self.add(f"good{number:02d}", f"{TEXT} number {number}", sound(noise(seed=number + 1)))

    def line(self, content):
        with open(self.path / "metadata.csv", "ab") as file:
            file.write(content + b"\n")

    def add(self, name, text=TEXT, make=sound(noise())):  # noqa: B008
        self.line(f"{name}|{text}".encode())
        make(self.path / "wavs" / f"{name}.wav")

    def check(self, **changes):
        return check(self.path, replace(SETTINGS, **changes))

    def only_problem(self, **changes):
        report = self.check(**changes)
        assert [row.id for row in report.rows] == [f"good{number:02d}" for number in range(20)]
        assert report.refusal is None
        [problem] = report.problems
        assert problem.line == report.total == 21
        return problem


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "corpus")


def test_a_good_corpus_has_no_problems_and_stays_as_it_is(folder):
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    report = folder.check()
    assert report.problems == ()
    assert report.refusal is None
    assert report.total == len(report.rows) == 20
    assert report.rows[3].text == f"{TEXT} number 3"
    assert report.rows[3].wave == folder.path / "wavs" / "good03.wav"
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before


SPIKES = noise() * (np.arange(2 * RATE) % 500 != 0) + (np.arange(2 * RATE) % 500 == 0)
CLICK = np.where(np.arange(2 * RATE) % RATE < 100, 0.5, 0.0)
NOT_FINITE = np.where(np.arange(2 * RATE) == 7, np.nan, noise())


@pytest.mark.parametrize(
    ("reason", "make", "detail"),
    [
        ("missing audio", lambda path: None, "no file"),
        ("unreadable audio", lambda path: path.write_text("words"), "not a sound file"),
        ("unreadable audio", lambda path: path.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt "), "not a sound"),
        ("empty audio", sound(noise(0)), "no samples"),
        ("not mono", sound(np.stack([noise(), noise()], axis=1)), "2 channels"),
        ("wrong sample rate", sound(noise(rate=16_000), 16_000), "16000 Hz, wanted 22050"),
        ("not finite audio", sound(NOT_FINITE, subtype="FLOAT"), "NaN"),
        ("not finite audio", sound(np.where(NOT_FINITE > 0.09, np.inf, 0), subtype="DOUBLE"), "infinite"),
        ("silent audio", sound(np.zeros(2 * RATE)), "peak 0"),
        ("silent audio", sound(noise(loudness=0.9e-3), subtype="FLOAT"), "-60 dBFS"),
        ("silent audio", sound(CLICK), "99 %"),
        ("clipped audio", sound(SPIKES), "0.20% of samples at full scale, limit 0.1%"),
        ("too short", sound(noise(0.01)), "0.01 s"),
        ("too short", sound(np.append(noise(0.2), np.zeros(RATE))), "limits 0.4 and 12 s"),
        ("too long", sound(noise(12.1)), "12.10 s"),
        ("duplicate recording", sound(noise(seed=5)), "good04"),
        ("odd speaking rate", sound(noise(6)), "6.0 letters a second, usual are 19.5"),
    ],
)
def test_a_bad_recording_is_left_out_with_its_reason(folder, reason, make, detail):
    folder.add("bad", f"{TEXT} number nn", make)
    problem = folder.only_problem()
    assert (problem.id, problem.reason) == ("bad", reason)
    assert detail in problem.detail


@pytest.mark.parametrize(
    ("reason", "line", "name", "detail"),
    [
        ("bad metadata line", b"only words", "only words", "1 columns, wanted id|text"),
        ("bad metadata line", b"x|a|b|c", "x", "4 columns"),
        ("bad encoding", b"x|caf\xe9", "x", "byte 6 (0xE9)"),
        ("bad encoding", b"\xe9|words", "\ufffd", "byte 1 (0xE9)"),
        ("bad id", b"|words", "", "no plain file name"),
        ("bad id", b"..|words", "..", "no plain file name"),
        ("bad id", b"../wavs/good01|words", "../wavs/good01", "no plain file name"),
        ("bad id", b"..\\x|words", "..\\x", "no plain file name"),
        ("bad id", b"x\\y|words", "x\\y", "no plain file name"),
        ("bad id", b"/etc/x|words", "/etc/x", "no plain file name"),
        ("bad id", b"x\x00y|words", "x<U+0000>y", "no plain file name"),
        ("bad id", b"x\x1b[2J|words", "x<U+001B>[2J", "no plain file name"),
        ("bad id", "x\u202ey|words".encode(), "x<U+202E>y", "no plain file name"),
        ("bad id", b" x|words", " x", "no plain file name"),
        ("bad id", b"x |words", "x ", "no plain file name"),
        ("bad id", b"x" * 600 + b"|words", "x" * 80, "no plain file name"),
        ("duplicate id", b"good07|other words", "good07", "also on line 8"),
        ("missing audio", b'"quoted"|words', '"quoted"', "no file"),
    ],
)
def test_a_bad_line_is_left_out_with_its_reason(folder, reason, line, name, detail):
    folder.line(line)
    problem = folder.only_problem()
    assert (problem.id, problem.reason) == (name, reason)
    assert detail in problem.detail


@pytest.mark.parametrize("text", ["", "  ", "...", '"-"'])
def test_a_text_without_letters_is_empty(folder, text):
    folder.add("bad", text)
    assert folder.only_problem().reason == "empty text"


def test_a_stress_mark_before_a_consonant_is_misplaced(tmp_path):
    folder = Folder(tmp_path, clips=0)
    for number in range(20):
        folder.add(f"r{number}", "много слов сказано вот так", sound(noise(seed=number)))
    folder.add("bad", "мног+о +слов сказано вот так", sound(noise(seed=99)))
    [problem] = folder.check(language="ru").problems
    assert (problem.id, problem.reason) == ("bad", "misplaced stress")


def test_a_clip_needs_a_decoder_step_for_each_symbol(folder):
    frames_per_symbol = (1 + 2 * RATE // 256) / (len(f"{TEXT} number 19") + 1)
    assert 3 < frames_per_symbol < 5
    assert folder.check(n_frames_per_step=3).problems == ()
    report = folder.check(n_frames_per_step=5)
    assert {problem.reason for problem in report.problems} == {"too few frames"}
    assert "35 decoder steps (173 frames, 5 a step)" in report.problems[0].detail
    assert "20 too few frames (good00, good01, good02, ...)" in report.refusal


def test_equal_speaking_rates_have_a_margin(tmp_path):
    folder = Folder(tmp_path, clips=0)
    for number in range(20):
        folder.add(f"c{number}", TEXT, sound(noise(seed=number)))
    folder.add("near", TEXT, sound(noise(2.2, seed=98)))
    folder.add("far", TEXT, sound(noise(3.0, seed=99)))
    [problem] = folder.check().problems
    assert (problem.id, problem.reason) == ("far", "odd speaking rate")


def test_declared_resampling_accepts_both_rates(folder):
    folder.add("other", f"{TEXT} number 30", sound(noise(rate=16_000, seed=77), 16_000))
    report = folder.check(resample_from=16_000)
    assert report.problems == ()
    assert len(report.rows) == 21


def test_byte_order_mark_line_ends_blank_lines_and_three_columns_are_accepted(folder):
    content = (folder.path / "metadata.csv").read_bytes().rstrip(b"\n")
    lines = [line.replace(b"|", b"|\xe2\x82\xac 5|") for line in content.split(b"\n")]
    (folder.path / "metadata.csv").write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join(lines))
    report = folder.check()
    assert report.problems == ()
    assert report.rows[0].text == f"{TEXT} number 0"


def test_one_unknown_character_refuses_and_is_named(folder):
    folder.add("bad", f"{TEXT} €€ ж", sound(noise(seed=88)))
    report = folder.check(max_bad_percent=100)
    assert report.unknown_characters == {"€": 2, "ж": 1}
    assert len(report.rows) == 20
    [problem] = report.problems
    assert (problem.reason, problem.detail) == ("unknown characters", "'€' (U+20AC) 2 x, 'ж' (U+0436) 1 x")
    assert report.refusal == (
        f"Cannot train on {folder.path}.\n"
        "1 of 21 rows have unknown characters: '€' (U+20AC) 2 x, 'ж' (U+0436) 1 x.\n"
        "Write these out, or choose the text's language (now en)."
    )


def test_unknown_characters_are_counted_whatever_the_audio_is_like(folder):
    folder.add("bad", "€", lambda path: None)
    report = folder.check()
    assert [problem.reason for problem in report.problems] == ["unknown characters", "missing audio"]
    assert report.unknown_characters == {"€": 1}


def test_very_many_unknown_characters_are_cut_in_the_refusal_only(folder):
    folder.add("bad", "".join(map(chr, range(0x4E00, 0x4E30))))
    report = folder.check()
    assert len(report.unknown_characters) == 48
    assert report.refusal.count("U+") == 20
    assert " and 28 more." in report.refusal


def test_more_bad_rows_than_the_limit_refuse(folder):
    folder.add("gone", make=lambda path: None)
    folder.add("lost", make=lambda path: None)
    folder.line(b"words")
    assert folder.check(max_bad_percent=15).refusal is None
    assert folder.check(max_bad_percent=13).refusal == (
        f"Cannot train on {folder.path}.\n"
        "13.0 % of 23 rows are bad (limit 13 %): 2 missing audio (gone, lost), 1 bad metadata line (words).\n"
        "Correct these rows of metadata.csv and their recordings, or add others."
    )


def test_a_row_that_is_bad_twice_is_listed_twice_and_counted_once(folder):
    folder.add("bad", "...", lambda path: None)
    report = folder.check(max_bad_percent=4.8)
    assert [problem.reason for problem in report.problems] == ["empty text", "missing audio"]
    assert report.refusal is None


def test_a_corpus_needs_a_clip_more_than_are_held_out(folder):
    assert folder.check(held_out=19).refusal is None
    assert "20 good clips are left, and 20 are to be held out" in folder.check(held_out=20).refusal


def test_an_empty_metadata_file_refuses(folder):
    (folder.path / "metadata.csv").write_bytes(b"\n")
    report = folder.check(held_out=0)
    assert (report.total, report.rows) == (0, ())
    assert "0 good clips" in report.refusal


@pytest.mark.parametrize("missing", ["", "metadata.csv", "wavs"])
def test_a_missing_part_of_the_layout_is_an_error_at_once(folder, tmp_path, missing):
    os.rename(folder.path / missing, tmp_path / "elsewhere")
    with pytest.raises(DataError) as refused:
        folder.check()
    what, why, layout = str(refused.value).split("\n")
    assert str(folder.path) in what
    assert why == f"There is no {folder.path / missing}."
    assert "id|text" in layout
    assert "wavs/id.wav" in layout
    assert refused.value.report.refusal == str(refused.value)


def test_progress_counts_every_row(folder):
    folder.line(b"words")
    told = []
    check(folder.path, SETTINGS, lambda done, total: told.append((done, total)))
    assert told == [(done, 21) for done in range(1, 22)]


def test_a_report_is_written_one_line_a_problem(folder, tmp_path):
    folder.line(b"x\x0by|words")
    folder.line(b"a\rb\xe2\x80\xa8c")
    folder.add("empty", "€\u2028")
    folder.check().write(tmp_path / "report.txt")
    lines = (tmp_path / "report.txt").read_text("utf-8").splitlines()
    assert [line.split(":")[0] for line in lines] == ["line 21", "line 22", "line 23"]
    assert lines[1].startswith("line 22: a<U+000D>b<U+2028>c: bad metadata line: 1 columns")


@pytest.mark.parametrize(
    "changes",
    [
        {"language": "xx"},
        {"min_seconds": 0.0},
        {"min_seconds": 13.0},
        {"held_out": -1},
        {"n_frames_per_step": 0},
    ],
)
def test_settings_that_nothing_meets_are_refused(changes):
    with pytest.raises(ValueError, match=r"must|unknown"):
        CorpusSettings(**changes)


@given(content=st.lists(st.binary(max_size=30) | st.text(max_size=30).map(str.encode)).map(b"\n".join))
def test_any_bytes_of_metadata_give_a_report(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("corpus")
    (path / "wavs").mkdir()
    (path / "metadata.csv").write_bytes(content)
    report = check(path, SETTINGS)
    assert report.rows == ()
    assert report.refusal
    assert {problem.line for problem in report.problems} <= set(range(1, content.count(b"\n") + 2))
    assert len({problem.line for problem in report.problems}) == report.total
