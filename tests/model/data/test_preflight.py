"""What is wrong with a corpus is said row by row, and too much of it refuses the corpus."""

import os
import re
import struct
import subprocess
import sys
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.metadata import BadRow, Layout, Recordings, read_lines
from model.data.preflight import CorpusSettings, DataError, check
from model.speech import russian, stress
from model.speech.text import TextError

RATE = 22050
TEXT = "a sentence of some twenty letters"
SETTINGS = CorpusSettings(held_out=2)


def noise(seconds=2.0, seed=0, loudness=0.1, rate=RATE):
    return faded(np.random.default_rng(seed).uniform(-loudness, loudness, round(seconds * rate)))


def faded(wave, rate=RATE):
    """With soft edges, as nothing has that is cut off within a word."""
    place = np.arange(len(wave))
    return wave * np.minimum(1, np.minimum(place, place[::-1]) / (0.004 * rate))


def sound(wave, rate=RATE, subtype="PCM_16"):
    return lambda path: soundfile.write(path, wave, rate, subtype=subtype)


def cut_off(path, share=0.75):
    sound(noise())(path)
    content = path.read_bytes()
    path.write_bytes(content[: 44 + round(share * (len(content) - 44))])


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
        ("cut off audio", lambda path: cut_off(path), "promises 2.00 s and holds 1.50 s"),
        ("DC offset", sound(noise() + 0.06), "0.06 of full scale, limit 0.05"),
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
        "Write these out in words, or choose the text's language (now en)."
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
        "missing audio: Put these recordings into wavs/, or take their rows out.\n"
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
    assert [line.split(":")[0] for line in lines[:3]] == ["line 21", "line 22", "line 23"]
    assert (
        lines[3].startswith("20 texts are spoken in other words than are written")
        and len(lines) == 3 + 1 + 20 + 1 + 21 + 1 + 10
    )  # and noise, and letters that no text holds
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
    assert {problem.line for problem in report.problems} <= set(
        range(1, len(re.split(b"[\r\n]", content)) + 1)
    )
    assert len({problem.line for problem in report.problems}) == report.total


RUSSIAN = "много разных слов сказано вот так"


def rewritten(change, encoding="utf-8"):
    """Every line of metadata.csv, changed."""

    def make(folder):
        metadata = folder.path / "metadata.csv"
        columns = [line.split("|") for line in metadata.read_text("utf-8").splitlines()]
        lines = [change(number, *row) for number, row in enumerate(columns)]
        metadata.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))

    return make


def renamed(old, new):
    def make(folder):
        for path in (folder.path / "wavs").glob(f"*{old}"):
            path.rename(path.with_name(path.name.removesuffix(old) + new))

    return make


def with_carriage_returns(folder):
    metadata = folder.path / "metadata.csv"
    metadata.write_bytes(metadata.read_bytes().replace(b"\n", b"\r"))


def same(number, name, text):
    return f"{name}|{text}"


LAYOUTS = {
    "a speaker's number": ("speaker column", "'0'", rewritten(lambda n, i, t: f"{i}|{t}|0")),
    "a speaker's name": ("speaker column", "'jo'", rewritten(lambda n, i, t: f"{i}|{t}|jo")),
    "tabs": ("wrong separator", "tabs", rewritten(lambda n, i, t: f"{i}\t{t}")),
    "semicolons": ("wrong separator", "semicolons", rewritten(lambda n, i, t: f"{i};{t}")),
    "commas": ("wrong separator", "commas", rewritten(lambda n, i, t: f"{i},{t}")),
    "an ending": ("file name as id", "wanted 'good00'", rewritten(lambda n, i, t: f"{i}.wav|{t}")),
    "a folder": ("file name as id", "wanted 'good00'", rewritten(lambda n, i, t: f"wavs/{i}.wav|{t}")),
    "quotes": ("quoted id", "wanted 'good00'", rewritten(lambda n, i, t: f'"{i}"|{t}')),
    "a last |": ("empty last column", "ends with |", rewritten(lambda n, i, t: f"{i}|{t}|")),
    "UTF-16": ("bad encoding", "UTF-16", rewritten(same, "utf-16")),
    "UTF-16, unmarked": ("bad encoding", "UTF-16LE", rewritten(same, "utf-16-le")),
    "old Mac": ("bad line ends", "CR alone, wanted LF", with_carriage_returns),
    ".WAV": ("name in other letters", "good00.WAV, wanted good00.wav", renamed(".wav", ".WAV")),
}


@pytest.mark.parametrize(("reason", "detail", "spoil"), LAYOUTS.values(), ids=LAYOUTS)
def test_another_layout_is_named_with_a_command_that_mends_it(folder, reason, detail, spoil):
    spoil(folder)
    report = folder.check()
    assert {(problem.reason, problem.line) for problem in report.problems} == {
        (reason, line) for line in range(1, 21)
    }
    assert detail in report.problems[0].detail
    assert f"{reason}: {report.mends[reason]}" in report.refusal
    mend = re.search(r"(?<=: )(for|[a-z]+ [-<'].*)( .*)?$", report.mends[reason])[0]
    subprocess.run(
        f"{mend}; [ ! -e new.csv ] || mv new.csv metadata.csv", shell=True, cwd=folder.path, check=True
    )
    assert folder.check() == replace(folder.check(), problems=(), refusal=None)


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "cp866", "UTF-16LE", "UTF-16BE"])
def test_a_russian_encoding_is_told_from_the_others_with_its_mend(tmp_path, encoding):
    folder = Folder(tmp_path, clips=0)
    for number in range(20):
        folder.add(f"r{number}", f"{RUSSIAN} {'да' * number}", sound(noise(seed=number)))
    before = folder.check(language="ru")
    rewritten(same, encoding)(folder)
    report = folder.check(language="ru")
    assert {problem.reason for problem in report.problems} == {"bad encoding"}
    assert encoding in report.problems[0].detail
    command = report.mends["bad encoding"].partition(": ")[2]
    subprocess.run(f"{command}; mv new.csv metadata.csv", shell=True, cwd=tmp_path, check=True)
    assert folder.check(language="ru") == before


class Table:
    """A metadata.csv, and the names of its recordings."""

    def __init__(self, path, names):
        self.metadata = path / "metadata.csv"
        (path / "wavs").mkdir(parents=True)
        for name in names:
            (path / "wavs" / f"{name}.wav").touch()

    def refusals(self, lines):
        """What is wrong with each line, once it is written."""
        self.metadata.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        numbered, *written = read_lines(self.metadata.read_bytes())
        recordings = Recordings(self.metadata.parent / "wavs")
        layout, refusals = Layout.of(numbered, *written, recordings), []
        for number, line in numbered:
            try:
                layout.row(line, recordings, first=number == 1)
            except BadRow as refusal:
                refusals.append(refusal)
        return refusals

    def mended(self, refusal):
        """The lines after the command that is printed."""
        command = f"{refusal.mend.rpartition(': ')[2]}; mv new.csv metadata.csv"
        subprocess.run(command, shell=True, cwd=self.metadata.parent, check=True)
        return self.metadata.read_text("utf-8").splitlines()


SPACES = st.sampled_from(["", " ", "\t "])
QUOTES = st.sampled_from([("", ""), ('"', '"'), ("'", "'"), ('"', ""), ("", '"')])
FOLDERS = st.sampled_from(["", "wavs/", "/data/my voice/"])
ENDINGS = st.sampled_from(["", ".wav", ".FLAC"])


@settings(max_examples=60)
@given(SPACES, QUOTES, SPACES, FOLDERS, ENDINGS, SPACES, SPACES)
def test_an_id_that_is_written_otherwise_is_mended_by_the_printed_commands(
    tmp_path_factory, before, quotes, indent, folder, ending, gap, after
):
    good = ["a.b_1|a / b.wav", "clip 2|some words", "запись|слова"]
    table = Table(tmp_path_factory.mktemp("ids"), [line.partition("|")[0] for line in good])
    spelt = f"{before}{quotes[0]}{indent}{folder}clip 2{ending}{gap}{quotes[1]}{after}|some words"
    lines, seen = [good[0], spelt, good[2]], []
    while refusals := table.refusals(lines):
        [refusal] = refusals
        assert refusal.reason not in seen  # its command changed nothing
        seen.append(refusal.reason)
        lines = table.mended(refusal)
    assert lines == good
    assert set(seen) <= {"quoted id", "space around id", "file name as id"}


def test_a_line_in_quotes_and_an_odd_space_are_mended(tmp_path):
    table = Table(tmp_path, ["a", "b"])
    [refusal] = table.refusals(['"a|some words"', "b|some words"])
    assert table.mended(refusal) == ["a|some words", "b|some words"]
    [refusal] = table.refusals(["a\u00a0|some words", "b|some words"])
    assert str(refusal) == "bad id: 'a<U+00A0>' is no plain file name"


THIRD_COLUMNS = {
    "speakers": ("speaker column", lambda n: f"{n % 3}"),
    "whole": ("number column", lambda n: f"{n + 100}"),
    "seconds": ("number column", lambda n: f"{1 + n / 100:.2f}"),
    "seconds with commas": ("number column", lambda n: f"{1 + n / 100:.2f}".replace(".", ",")),
    "seconds with units": ("number column", lambda n: f"{1 + n / 100:.2f} s"),
    "rounded": ("number column", lambda n: f"{n % 3}.5"),
    "scores": ("number column", lambda n: f"{-n / 1e6:.1e}"),
    "all but one": ("number column", lambda n: f"{1 + n / 100:.2f}" if n != 7 else "n/a"),
}


@pytest.mark.parametrize(("reason", "cell"), THIRD_COLUMNS.values(), ids=THIRD_COLUMNS)
@pytest.mark.parametrize("empty", [None, 0, 1])
def test_a_third_column_is_never_spoken_where_it_holds_no_text(tmp_path, reason, cell, empty):
    names = [f"c{number:02d}" for number in range(60)]
    texts = [f"words {'a' * number}" for number in range(60)]
    table = Table(tmp_path, names)
    rows = [[text, cell(number)] for number, text in enumerate(texts)]
    if empty is not None:
        rows[5][empty] = ""
    refusals = table.refusals([f"{name}|{'|'.join(row)}" for name, row in zip(names, rows, strict=True)])
    assert {refusal.reason for refusal in refusals} == {reason} and len(refusals) == 60
    kept = table.mended(refusals[0])
    assert table.refusals(kept) == []
    assert len(kept) in ([60] if reason == "number column" else [19, 20])


def test_a_column_that_is_mostly_empty_names_no_speakers(tmp_path):
    table = Table(tmp_path, names := [f"c{number:02d}" for number in range(20)])
    lines = [f"{name}|words {'a' * n}|{'jo' if n < 10 else ''}" for n, name in enumerate(names)]
    assert [refusal.reason for refusal in table.refusals(lines)] == ["empty last column"] * 10


def test_of_several_speakers_one_can_be_kept(folder):
    rewritten(lambda n, i, t: f"{i}|{t}|{'anna' if n < 15 else 'jo'}")(folder)
    mend = folder.check().mends["speaker column"]
    assert mend.startswith("2 speakers: keep one, without that column; most rows, 15, are of anna: ")
    command = mend.rpartition(": ")[2]
    subprocess.run(f"{command}; mv new.csv metadata.csv", shell=True, cwd=folder.path, check=True)
    report = folder.check()
    assert (len(report.rows), report.problems) == (15, ())
    assert "5 recordings in wavs/ have no line in metadata.csv" in report.notes[-1].told


def test_speakers_before_the_text_are_not_trained_on_as_one(folder):
    rewritten(lambda n, i, t: f"{i}|{'anna' if n < 15 else 'jo'}|{t}")(folder)
    report = folder.check()
    assert {problem.reason for problem in report.problems} == {"speaker column"}
    assert "column 2 is a speaker, 'anna'" in report.problems[0].detail


@pytest.mark.parametrize("header", ["id|text", "ID|Text", '"file"|"text"', "filename|transcription"])
def test_a_header_is_one_bad_line(folder, header):
    metadata = folder.path / "metadata.csv"
    metadata.write_bytes(header.encode() + b"\n" + metadata.read_bytes())
    [problem] = folder.check().problems
    assert (problem.line, problem.reason) == (1, "header row")
    assert folder.check().refusal is None


def test_audio_of_another_format_or_spelling_is_found(folder):
    (folder.path / "wavs" / "good03.wav").rename(folder.path / "wavs" / "good03.flac")
    (folder.path / "wavs" / "good04.wav").rename(folder.path / "wavs" / "Good04.wav")
    folder.add("й" + "x", make=lambda path: None)
    sound(noise(seed=77))(folder.path / "wavs" / (unicodedata.normalize("NFD", "й") + "x.wav"))
    told = [(problem.reason, problem.line) for problem in folder.check().problems]
    assert told == [("audio that is no WAV", 4), ("name in other letters", 5), ("name in other letters", 21)]
    assert 'ffmpeg -i "$f"' in folder.check().mends["audio that is no WAV"]


def test_recordings_without_a_line_are_counted_and_named(folder):
    for name in ("spare1.wav", "spare2.flac", "notes.txt"):
        (folder.path / "wavs" / name).write_bytes(b"")
    [*_, note] = folder.check().notes
    assert note.told.startswith("2 recordings in wavs/ have no line")
    assert note.lines == ("spare1.wav", "spare2.flac")


def test_one_text_for_all_clips_refuses(folder):
    rewritten(lambda n, i, t: f"{i}|hello dear world")(folder)
    assert "20 of 20 clips have one and the same text, 'hello dear world'" in folder.check().refusal


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_recording_that_was_written_into_a_pipe_is_whole(folder, size):
    folder.add("piped", f"{TEXT} number nn")
    path = folder.path / "wavs" / "piped.wav"
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = struct.pack("<I", size)
    path.write_bytes(content)
    assert [problem.reason for problem in folder.check().problems] in ([], ["empty audio"])


def test_one_other_rate_is_declared_and_several_are_converted(folder):
    folder.add("other", f"{TEXT} number 30", sound(noise(rate=16_000, seed=77), 16_000))
    assert "--resample-from 16000" in folder.check().mends["wrong sample rate"]
    folder.add("third", f"{TEXT} number 31", sound(noise(rate=48_000, seed=78), 48_000))
    assert "-ar 22050" in folder.check().mends["wrong sample rate"]


def test_quiet_recordings_are_to_be_amplified_by_what_they_lack(tmp_path):
    folder = Folder(tmp_path, clips=0)
    for number in range(20):
        folder.add(
            f"q{number}", f"{TEXT} number {number}", sound(noise(seed=number, loudness=10 ** (-61 / 20)))
        )
    report = folder.check()
    assert {problem.reason for problem in report.problems} == {"silent audio"}
    assert "volume=58dB" in report.mends["silent audio"]


def test_clips_beyond_limits_that_the_user_set_are_left_out_and_refuse_nothing(folder):
    for number in range(5):
        folder.add(f"long{number}", f"{TEXT} " * 2, sound(noise(4 + number / 9, seed=40 + number)))
        folder.add(f"short{number}", "short", sound(noise(0.4 + number / 99, seed=50 + number)))
    assert folder.check().refusal is None
    report = folder.check(min_seconds=0.9, max_seconds=3.0)
    assert report.refusal is None
    assert {problem.reason for problem in report.problems} == {"too long", "too short"}
    assert (len(report.rows), len(report.problems)) == (20, 10)


def test_clips_beyond_the_usual_limits_are_bad(folder):
    for number in range(5):
        folder.add(f"long{number}", f"{TEXT} " * 6, sound(noise(12.5 + number / 9, seed=40 + number)))
    assert "set max_seconds in [corpus], not to 12, to leave them out" in folder.check().refusal


def test_what_cannot_be_held_out_is_refused_with_the_rest(folder):
    for number in range(20):
        folder.add(f"again{number}", f"{TEXT} number {number}", sound(noise(seed=100 + number)))
    assert "Every text occurs twice" in folder.check().refusal
    assert folder.check(held_out=0).refusal is None


def test_held_out_clips_are_named(folder):
    report = folder.check()
    assert len(report.held_out) == 2
    assert {row.id for row in report.training()} == {row.id for row in report.rows} - report.held_out


def test_characters_are_told_with_what_to_do_about_them(tmp_path):
    folder = Folder(tmp_path, clips=0)
    for number in range(20):
        folder.add(f"r{number}", f"{RUSSIAN} {'да' * number}", sound(noise(seed=number)))
    folder.add("latin", "cто слов сказано вот тaк", sound(noise(seed=90)))
    folder.add("invisible", "мно\u200bго слов ска\u00adзано вот\ufeff так", sound(noise(seed=91)))
    folder.add("foreign", "много windows сказано вот так", sound(noise(seed=92)))
    before = {"language": "ru", "normalise": False, "stress": False}  # version 1 of the front end
    latin, invisible, foreign = folder.check(**before).problems
    assert latin.detail == "'c' (U+0063) 1 x: looks like с, 'a' (U+0061) 1 x: looks like а"
    assert invisible.detail.count(": remove it") == 3
    assert ":" not in foreign.detail.replace("U+", "")
    refusal = folder.check(**before).refusal
    assert (
        "Remove U+200B (ZERO WIDTH SPACE), U+00AD (SOFT HYPHEN), U+FEFF (ZERO WIDTH NO-BREAK SPACE);"
        in refusal
    )
    assert "write the others out in words" in refusal
    [latin] = folder.check(language="ru").problems
    assert latin.detail == "'c' (U+0063) 1 x: looks like с, 'a' (U+0061) 1 x: looks like а"


def test_decomposed_letters_are_good(tmp_path):
    folder = Folder(tmp_path, clips=0)
    for number in range(20):
        text = unicodedata.normalize("NFD", f"мой ёж ещё спит {'й' * number}")
        folder.add(f"r{number}", text, sound(noise(seed=number)))
    assert folder.check(language="ru").problems == ()


def test_texts_with_numbers_are_listed_as_they_are_spoken(folder):
    folder.add("year", f"{TEXT} in 1961", sound(noise(seed=90)))
    told = []
    for normalise in (True, False):
        [note] = [note for note in folder.check(normalise=normalise).notes if "numbers" in note.told]
        assert note.lines[-1].startswith("line 21, year: ")
        told.append((note.told, note.lines[-1]))
    assert told[0][0].startswith("21 texts are spoken in other words than are written: numbers, dates")
    assert told[0][1].endswith("in nineteen sixty-one'")
    assert told[1][0].startswith("21 texts have numbers.")
    assert "one thousand, nine hundred and sixty-one" in told[1][1]


def test_invisible_characters_are_told_and_the_corpus_is_good(folder):
    folder.add("soft", f"{TEXT} be\u00adgins\u200b", sound(noise(seed=90)))
    report = folder.check()
    [note] = [note for note in report.notes if "invisible" in note.told]
    assert note.told.startswith("1 text has invisible characters, which are dropped: ")
    assert "(U+00AD) 1 x" in note.told and note.lines[0].startswith("line 21, soft: ")
    assert report.refusal is None
    assert "unknown characters" in folder.check(normalise=False).refusal


@pytest.mark.parametrize("package", ["ru_normalizr", "silero_stress"])
def test_russian_is_refused_before_anything_is_read_where_the_extra_is_missing(
    tmp_path, monkeypatch, package
):
    russian._normalizer.cache_clear()
    stress._accentor.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    try:
        with pytest.raises(TextError, match="the extra russian is not installed"):
            Folder(tmp_path, clips=1).check(language="ru")
    finally:
        russian._normalizer.cache_clear()
        stress._accentor.cache_clear()


def test_a_lexicon_beside_the_texts_is_read_and_its_faults_are_told(tmp_path):
    folder = Folder(tmp_path, clips=0)
    for number in range(20):
        folder.add(f"r{number}", f"творог и сыр {'й' * number}", sound(noise(seed=number)))
    (folder.path / "lexicon.tsv").write_text("творог\tтвор+ог\n", "utf-8")
    assert CorpusSettings("ru").front_end(folder.path).read("Творог и сыр") == "твор+ог и сыр"
    assert folder.check(language="ru").problems == ()
    (folder.path / "lexicon.tsv").write_text("творог\n", "utf-8")
    with pytest.raises(TextError, match="Line 1: there is no tab"):
        folder.check(language="ru")
    assert folder.check(language="ru", normalise=False, stress=False).problems == ()  # by version 1


@pytest.mark.parametrize(("quieter", "told"), [(18, False), (22, True), (35, True)])
def test_clips_far_quieter_than_the_others_are_told(tmp_path, quieter, told):
    folder = Folder(tmp_path, clips=0)
    for number in range(20):
        tone = np.sin(np.arange(22050 * 2) / (9 + number)) / 3
        folder.add(
            f"s{number}", f"{TEXT} {'a' * number}", sound(tone * 10 ** (-quieter * (number == 3) / 20))
        )
    found = [note for note in folder.check().notes if "quieter than the others" in note.told]
    assert bool(found) == told
    assert not told or f"line 4: s3: {quieter} dB below the median" in found[0].lines


def test_noise_is_told_and_speech_like_sound_is_not(tmp_path):
    folder = Folder(tmp_path, clips=0)
    for number in range(20):
        wave = np.cumsum(noise(seed=number, loudness=0.01)) % 1 - 0.5
        smooth = np.convolve(wave, np.hanning(30) / 15, "same") / 4
        folder.add(f"s{number}", f"{TEXT} {'a' * number}", sound(faded(smooth)))
    report = folder.check()
    assert report.problems == ()
    assert not [note for note in report.notes if "sound" in note.told]
    folder.add("noise", TEXT, sound(noise(seed=99)))
    [note] = [note for note in folder.check().notes if "sound" in note.told]
    assert note.told.startswith("1 of 21 clips sound like noise") and "line 21: noise" in note.lines[0]


ALPHABETS = {"en": "abcdefghijklmnopqrstuvwxyz'", "ru": "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"}
MARKS = ["", "", "", ",", ";", " -", '"', "...", "?", "!", " (", ":"]
NAMES = ["clip{:03d}", "a.b_{}", "spk 1-{:04d}", "{}", "запись_{}", "x.wav.{}"]


def sentence(random, language):
    def word():
        letters = random.choice(list(ALPHABETS[language]), random.integers(5, 9))  # no abbreviation
        return "".join(letters) + random.choice(MARKS)

    first = {"en": "words", "ru": "слова"}[language]
    return " ".join([first, *(word() for _ in range(random.integers(2, 6)))])


@settings(max_examples=20)
@given(
    st.integers(0, 2**32), st.sampled_from(["en", "ru"]), st.sampled_from(NAMES), st.booleans(), st.booleans()
)
def test_good_corpora_pass_whole(tmp_path_factory, seed, language, pattern, has_raw, is_sorted):
    folder, random = Folder(tmp_path_factory.mktemp("corpus"), clips=0), np.random.default_rng(seed)
    texts = [sentence(random, language) for _ in range(40)]
    for number, text in enumerate(sorted(texts, key=len) if is_sorted else texts):
        seconds = sum(map(str.isalpha, text)) / 12 * np.clip(random.normal(1, 0.05), 0.85, 1.15)
        columns = f"{text.upper()}, 10 €|{text}" if has_raw else text
        folder.add(pattern.format(number), columns, sound(noise(seconds, seed + number)))
    report = folder.check(language=language, n_frames_per_step=2)
    assert (report.problems, report.refusal) == ((), None)
    ours = ("noise", "hardly learned")
    assert [note.told for note in report.notes if not any(told in note.told for told in ours)] == []


def test_single_words_in_two_forms_are_no_speakers(folder):
    words = ["Yes.", "yes!", "yes?", "YES"]
    rewritten(lambda n, i, t: f"{i}|{words[n % 4]}|yes" if n % 5 else f"{i}|{t}|{t}")(folder)
    assert "speaker column" not in {problem.reason for problem in folder.check().problems}


def spoken_at(rate, path, words, pairs):
    """A folder of texts of given lengths, and recordings as long as the texts of `pairs`."""
    folder = Folder(path, clips=0)
    for number, length in enumerate(words):
        text = "a" * length
        seconds = words[pairs[number]] / rate * np.random.default_rng(number).uniform(0.9, 1.1)
        folder.add(f"c{number:03d}", text, sound(noise(seconds, seed=number)))
    return folder


def test_a_third_of_the_texts_off_by_one_does_not_pass(tmp_path):
    words = np.random.default_rng(1).integers(8, 40, 90)
    order = np.arange(90)
    assert spoken_at(15, tmp_path / "sound", words, order).check().problems == ()
    off = np.where(order < 60, order, np.minimum(order + 1, 89))
    report = spoken_at(15, tmp_path / "off", words, off).check()
    assert "shifted text" in report.refusal
    shifted = [problem.line for problem in report.problems if problem.reason == "shifted text"]
    assert shifted[0] in range(58, 66) and len(shifted) >= 20
    assert f"fits the text of line {shifted[0] + 1} better" in next(
        problem.detail for problem in report.problems if problem.reason == "shifted text"
    )
