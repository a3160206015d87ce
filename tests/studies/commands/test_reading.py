"""`read` shows how a text is read, step by step."""

import json

import pytest

from run_study import main


@pytest.fixture
def read(tmp_path, capsys):
    def run(*arguments, code=0):
        assert main(["--home", str(tmp_path), "read", *arguments]) == code
        return capsys.readouterr()

    return run


def test_each_step_is_shown_with_what_does_it(read):
    shown, told = read(
        "В 1945 году на горе стоит за\u00adмок", "--language", "ru", "--phonemes", "-f", "json"
    )
    written, words, stress, phonemes = json.loads(shown)
    assert [s["step"] for s in (written, words, stress, phonemes)] == [
        "written",
        "in words",
        "with stress",
        "phonemes",
    ]
    assert words["text"] == "в тысяча девятьсот сорок пятом году на горе стоит замок"
    assert stress["text"].endswith("с+орок п+ятом год+у на гор+е сто+ит з+амок")
    assert phonemes["by"].startswith("espeak-ng ") and "ˈ" in phonemes["text"]
    assert "Invisible characters that are dropped: 1" in told


def test_english_and_a_lexicon_of_ones_own(read, tmp_path):
    shown, _ = read("-5 km", "-f", "value")
    assert "in words rules 2 minus five kilometers" in shown
    (tmp_path / "mine.tsv").write_text("творог\tтвор+ог\n", "utf-8")
    shown, _ = read("Творог", "--language", "ru", "--lexicon", str(tmp_path / "mine.tsv"), "-f", "value")
    assert "твор+ог" in shown


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["cтол", "--language", "ru"], "looks like"),
        (["words", "--trial", "1"], "--trial is of a study"),
        (["words", "--study", "mine", "--language", "en"], "leave the others out"),
        (["words", "--study", "mine"], "mine"),
    ],
)
def test_what_cannot_be_read_is_told(read, arguments, why):
    _, told = read(*arguments, code=2)
    assert why in told
