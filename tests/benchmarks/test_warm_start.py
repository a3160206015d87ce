"""Cuts of a corpus hold one another, and the table tells what the runs say."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.warm_start import HEARD_AT, NOTHING, cut, table

RATE = 86.0
clips = st.lists(st.integers(20, 600), min_size=1, max_size=80).map(
    lambda lengths: [SimpleNamespace(id=str(i), mel=[0] * n) for i, n in enumerate(lengths)]
)


@given(clips, st.floats(0.1, 10), st.floats(0.1, 10))
def test_a_longer_cut_begins_with_a_shorter_one_and_none_is_too_long(items, one, other):
    short, long = (cut(items, minutes, RATE) for minutes in sorted((one, other)))
    assert long[: len(short)] == short
    assert sum(len(item.mel) for item in long) / RATE <= 60 * max(one, other)
    if sum(len(item.mel) for item in items) / RATE <= 60 * one:
        assert sorted(item.id for item in cut(items, one, RATE)) == sorted(item.id for item in items)


def heard(start, seed, errors):
    """A run whose sentences have so many wrong letters at each step, of ten each."""
    curve = [
        {"step": step, "dB": 5.0, "errors": wrong, "letters": [10] * len(wrong), "mos": 2.0}
        for step, wrong in zip(HEARD_AT, errors, strict=True)
    ]
    kind = {"minutes": 10.0, "input": "phonemes", "mels": 10.0}
    return kind | {"start": start, "seed": seed, "curve": curve}


def test_the_table_has_the_share_of_wrong_letters_and_the_step_that_was_as_good():
    cold = [[9, 9], [8, 8], [7, 7], [6, 6], [5, 5]]
    warm = [[6, 6], [5, 4], [4, 4], [3, 3], [2, 2]]
    shown = table([heard(NOTHING, 1, cold), heard("other", 1, warm), heard("other", 2, warm)])
    [row] = [line for line in shown.splitlines() if "other" in line]
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    assert cells[4:10] == ["2", "60.0", "45.0", "40.0", "30.0", "20.0"]
    assert cells[10].startswith("-30.00") and cells[11] == str(HEARD_AT[1])
