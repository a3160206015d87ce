"""No text breaks a message: it is escaped, and cut within Telegram's limits."""

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from smart_tuner.notify.telegram.format import bold, escaped, plain, split, units

TEXT = st.text(st.characters(codec=None), max_size=120)
PIECES = st.lists(st.one_of(TEXT.map(escaped), TEXT.map(bold), st.just("\n")), max_size=12).map("".join)


def utf16(text):
    return len(text.encode("utf-16-le")) // 2


def balanced(markup):
    opened = []
    for closing, tag in re.findall(r"<(/?)(\w+)>", markup):
        if not closing:
            opened.append(tag)
        elif not opened or opened.pop() != tag:
            return False
    return not opened


@given(TEXT)
def test_foreign_text_is_shown_as_it_is(text):
    shown = escaped(text)
    assert "<" not in shown and ">" not in shown
    sendable = re.sub(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", "\ufffd", text)
    assert html.unescape(shown) == plain(shown) == sendable
    sendable.encode("utf-8")


@given(PIECES, st.integers(2, 90))
def test_parts_fit_and_are_whole_markup(markup, most):
    for part in split(markup, most):
        assert 0 < utf16(plain(part)) <= most
        assert balanced(part)


@given(PIECES, st.integers(2, 90))
def test_nothing_but_white_space_is_lost(markup, most):
    told = "".join(plain(part) for part in split(markup, most))
    assert "".join(told.split()) == "".join(plain(markup).split())


@given(TEXT.map(escaped))
def test_units_are_those_of_utf_16(text):
    assert units(text) == utf16(text)


def test_a_cut_comes_at_the_last_line_end_that_fits():
    assert split("one\ntwo\nthree", 8) == ["one\ntwo", "three"]


def test_a_line_without_an_end_is_cut_where_it_must_be():
    assert split("abcdef", 4) == ["abcd", "ef"]
    assert split("a&amp;b", 2) == ["a&amp;", "b"]
    assert split("\U0001f41f\U0001f41f", 3) == ["\U0001f41f", "\U0001f41f"]


def test_tags_are_closed_and_opened_again():
    assert split("<b>abcd</b>", 2) == ["<b>ab</b>", "<b>cd</b>"]


def test_a_text_that_fits_stays_one():
    assert split("a" * 4096) == ["a" * 4096]
