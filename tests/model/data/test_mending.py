"""What `data fix` does to a metadata.csv: only what it says, and nothing of the old file is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import run_study
from model.data.mending import mended_text
from model.data.preflight import CorpusSettings, check
from model.speech.audio import read_wave, write_wave
from model.speech.text import FRONT_ENDS, WRITE_OUT

TEXTS = {f"c{n:02d}": f"мама мыла раму раз {'да ещё ' * (n % 4)}и все рады" for n in range(24)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine" / "wavs").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for name, text in TEXTS.items():
        wave = noise.normal(0, 0.1, 22050 * len(text) // 14).astype(np.float32)
        write_wave(tmp_path / "mine" / "wavs" / f"{name}.wav", wave, 22050)
    write(tmp_path / "mine", TEXTS)
    return tmp_path / "mine"


def write(folder, texts):
    (folder / "metadata.csv").write_text("".join(f"{n}|{t}\n" for n, t in texts.items()), "utf-8")


def fix(folder, *options, code=0):
    home = str(folder.parent / "runs")
    assert run_study.main(["--home", home, "data", "fix", str(folder), "--language", "ru", *options]) == code


def texts_of(folder):
    lines = (folder / "metadata.csv").read_text("utf-8").splitlines()
    return dict(line.split("|") for line in lines)


def test_look_alikes_and_invisible_characters_are_mended_and_told(folder, capsys):
    wrong = TEXTS | {"c03": "M\u0430м\u200bа мылa раму", "c05": TEXTS["c05"].replace("о", "o")}
    write(folder, wrong)
    before = (folder / "metadata.csv").read_bytes()
    fix(folder)
    found = texts_of(folder)
    assert found["c03"].casefold() in ("мама мыла раму", "мам\u200bа мыла раму")  # dropped when it is read
    assert {name: found[name] for name in TEXTS if name != "c03"} == {
        n: t for n, t in TEXTS.items() if n != "c03"
    }
    assert (folder / "metadata-before-1.csv").read_bytes() == before
    told = capsys.readouterr().out
    assert "line 4: " in told and "'a' (U+0061) to 'а' (U+0430)" in told and "metadata-before-1.csv" in told
    assert not check(folder, CorpusSettings("ru")).unknown_characters


def test_rows_that_training_would_leave_out_are_taken_out_when_that_is_asked_for(folder, capsys):
    (folder / "wavs" / "c07.wav").unlink()
    fix(folder)
    assert "Nothing was to be mended" in capsys.readouterr().out
    fix(folder, "--leave-out")
    assert texts_of(folder) == {n: t for n, t in TEXTS.items() if n != "c07"}
    assert "line 8: c07: missing audio" in capsys.readouterr().out
    assert not check(folder, CorpusSettings("ru")).problems


@pytest.fixture
def listing(folder):
    """The listing of a check that tells of three clips, one of which is no longer there."""
    for name in ("c02", "c05"):
        speech = read_wave(folder / "wavs" / f"{name}.wav", 22050).copy()
        speech[11025:33075] = 0  # a second of silence
        write_wave(folder / "wavs" / f"{name}.wav", speech, 22050)
    (folder / "wavs" / "c07.wav").unlink()
    report = check(folder, CorpusSettings("ru"))
    report.write(folder.parent / "check.txt")
    return folder.parent / "check.txt"


def test_rows_that_a_listing_names_are_taken_out_but_for_those_whose_lines_were_deleted(
    folder, listing, capsys
):
    kept = [line for line in listing.read_text("utf-8").splitlines() if "c05" not in line]
    assert any("line 3: c02: 1.0 s" in line for line in kept)
    chosen = [line for line in kept if "c02" in line or "c07" in line]
    listing.write_text("".join(f"{line}\n" for line in ["2 clips fall silent.", *chosen]), "utf-8")
    fix(folder, "--take-out", str(listing))
    assert texts_of(folder) == {n: t for n, t in TEXTS.items() if n not in ("c02", "c07")}
    told = capsys.readouterr().out
    assert "line 3: c02: listed: " in told and "2 taken out" in told
    fix(folder, "--take-out", str(listing), code=5)  # of the file as it was
    assert "Line 8 of metadata.csv is not as the listing has it: c07: " in capsys.readouterr().err


def test_a_listing_of_most_rows_takes_none_out(folder, tmp_path, capsys):
    lines = [f"line {n}: {name}: sounds like noise" for n, name in enumerate(TEXTS, start=1)]
    (tmp_path / "all.txt").write_text("\n".join(lines), "utf-8")
    fix(folder, "--take-out", str(tmp_path / "all.txt"), code=5)
    assert "names 24 of 24 rows: most of them" in capsys.readouterr().err
    assert texts_of(folder) == TEXTS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(
    "row", ["a: b|да", "c90 Он сказал: да", "|без имени", f"{'x' * 90}|да", "c93 мaма", "../up|да"]
)
def test_every_row_that_a_check_tells_of_can_be_taken_out(folder, row, encoding):
    with (folder / "metadata.csv").open("a", encoding="utf-8") as metadata:
        metadata.write(f"{row}\n")
    listing = folder.parent / "check.txt"
    check(folder, CorpusSettings("ru")).write(listing)
    [line] = [line for line in listing.read_text("utf-8").splitlines() if f"line {len(TEXTS) + 1}: " in line]
    listing.write_text(f"{line}\n", encoding)
    fix(folder, "--take-out", str(listing))
    assert texts_of(folder) == TEXTS


def test_what_is_listed_goes_first_and_takes_no_other_row_along(folder, listing, capsys):
    (folder / "wavs" / "c06.wav").write_bytes((folder / "wavs" / "c02.wav").read_bytes())
    chosen = [line for line in listing.read_text("utf-8").splitlines() if "c02" in line]
    listing.write_text("\n".join(chosen), "utf-8")
    fix(folder, "--take-out", str(listing), "--leave-out")
    assert texts_of(folder) == {n: t for n, t in TEXTS.items() if n not in ("c02", "c07")}


@pytest.mark.parametrize("content", ["", "all is well\n", "line 8, c07: 'a' is spoken 'b'\n"])
def test_a_listing_that_names_no_row_is_refused(folder, tmp_path, content, capsys):
    (tmp_path / "none.txt").write_text(content, "utf-8")
    fix(folder, "--take-out", str(tmp_path / "none.txt"), code=5)
    assert "The listing names no row" in capsys.readouterr().err


def test_where_most_rows_would_go_nothing_is_done(folder, capsys):
    (folder / "metadata.csv").write_bytes((folder / "metadata.csv").read_text("utf-8").encode("cp1251"))
    before = (folder / "metadata.csv").read_bytes()
    fix(folder, "--leave-out", code=5)
    assert "bad encoding" in capsys.readouterr().err
    fix(folder)
    assert (folder / "metadata.csv").read_bytes() == before
    assert not list(folder.glob("metadata-before*"))


@given(st.text("мамараoaxcp Ккy\u200b\u00ad,.!漢Q", max_size=30), st.sampled_from(["ru", "en"]))
def test_a_mended_text_has_no_mend_left_and_no_other_change(text, language):
    front_end = FRONT_ENDS[language]
    mended, mends = mended_text(front_end, text)
    assert set(front_end.mends(mended).values()) <= {WRITE_OUT}
    for wrong, right in mends.items():
        text = text.replace(wrong, right)
    assert mended == text
