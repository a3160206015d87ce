"""Where a long recording of a known script is cut: at pauses that stand where the script has punctuation.

What a recognizer heard is aligned with the script letter by letter (longest common subsequence), so that
words it misspells count for what is right in them. Its word times are off by a quarter of a second and more;
a cut therefore takes the pause nearest to them, and keeps to where speech begins and ends there.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHORTEST, LONGEST = 1.0, 10.0  # seconds of a clip
# Letters in a hundred that may be heard otherwise than written: short phrases of names came to 42 at most,
# other texts to 71 at least (recorded Russian, Festvox).
MOST_ERRORS = 55.0
LEAST_HEARD = 0.65  # of a phrase's letters; with fewer, nobody said it
LEAST_UNWRITTEN = 8  # letters heard in a row that the script lacks: more than a recognizer makes up
SOLID = 3  # letters heard in a row as they are written: fewer may match by chance, and tell no time
SLACK = 1.0  # seconds: a recognizer's times are off by so much at most
MOST_TIME = 1.6  # of what an unheard phrase would usually take: where more is said, it is something else
MOST_AWAY = 1.5  # seconds between where a phrase ends by the recognizer and the pause after it
WORTH = 0.5  # seconds that a pause may be away at a comma; twice as much at a sentence's end
LONG_PAUSE = 0.4  # seconds that a pause may be farther away for each second that it is longer
BEFORE, AFTER = 0.05, 0.1  # seconds of the pauses that a clip keeps
_PHRASE = re.compile(r".*?(?:[.!?…,;:—–][\"'»”)\]]*(?=\s|$)|\s-(?=\s)|$)", re.DOTALL)
_SENTENCE_END = re.compile(r"[.!?…][\"'»”)\]]*$")


@dataclass(frozen=True)
class Piece:
    """A part of a recording, in seconds, and what is said in it: a word, or a whole clip."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Phrase:
    """A piece of the script up to a punctuation mark, with it."""

    text: str
    ends_sentence: bool


@dataclass(frozen=True)
class Cuts:
    """What became of a recording and its script.

    Args:
        clips: in their order.
        unheard: text of the script that nobody said, or that no pauses part from what was said otherwise.
        unwritten: what was heard and does not stand in the script.
    """

    clips: tuple[Piece, ...]
    unheard: tuple[str, ...]
    unwritten: tuple[Piece, ...]


Letters = Callable[[str], str]  # what of a text is compared: of words, their letters as they sound
Span = tuple[float, float]  # in seconds


def phrases(script: str) -> list[Phrase]:
    """A script in pieces that end at punctuation; a new line ends a sentence."""
    found = []
    for line in script.splitlines():
        pieces = [piece for match in _PHRASE.finditer(line) if (piece := match.group().strip())]
        for number, piece in enumerate(pieces, start=1):
            found.append(Phrase(piece, number == len(pieces) or bool(_SENTENCE_END.search(piece))))
    return found


def cut(
    script: str,
    heard: Sequence[Piece],
    speech: Sequence[Span],
    letters: Letters,
    shortest: float = SHORTEST,
    longest: float = LONGEST,
) -> Cuts:
    """Clips of a recording whose script is known.

    Args:
        heard: the words that a recognizer wrote down, in their order.
        speech: where anything is said at all, in order; between them are pauses.
        letters: what of a text is compared with what was heard.
        shortest: seconds that a clip is to have; shorter phrases are joined with their neighbours.
        longest: seconds that no clip exceeds; what has no pause before is left out.
    """
    said = [_Said(phrase) for phrase in phrases(script) if letters(phrase.text)]
    unwritten = _align(said, heard, speech, letters)
    _find_pauses(said, speech)
    clips: list[Piece] = []
    unheard: list[str] = []
    for run in _runs(said):
        if run[0].start is None:
            unheard += [one.phrase.text for one in run]
            continue
        for group in _joined(run, shortest, longest):
            text = " ".join(one.phrase.text for one in group)
            start, end = group[0].opens, group[-1].closes
            if start is None or end is None or not 0 < end - start <= longest:
                unheard.append(text)
            else:
                clips.append(Piece(text, start, end))
    return Cuts(tuple(clips), tuple(unheard), tuple(unwritten))


class _Said:
    """A phrase, when it was said by the recognizer, and the edges of speech that it has by its pauses."""

    def __init__(self, phrase: Phrase) -> None:
        self.phrase = phrase
        self.start: float | None = None  # None: unheard
        self.end: float | None = None
        self.opens: float | None = None  # with the edges kept; None: there is no pause
        self.closes: float | None = None
        self.goes_on = False  # what is heard after it does not stand in the script


def _align(
    said: Sequence[_Said], heard: Sequence[Piece], speech: Sequence[Span], letters: Letters
) -> list[Piece]:
    """Give every phrase that was heard the times of its first and its last letter. Returns what was heard
    besides."""
    from rapidfuzz.distance import LCSseq

    texts = [letters(one.phrase.text) for one in said]
    owner = np.repeat(np.arange(len(said)), [len(text) for text in texts])
    spoken = [letters(word.text) for word in heard]
    times = [
        (word.start + (word.end - word.start) * k / n, word.start + (word.end - word.start) * (k + 1) / n)
        for word, n in zip(heard, map(len, spoken), strict=True)
        for k in range(n)
    ]
    first = np.cumsum([0, *map(len, texts)])  # letter of each phrase
    matched, found = [0] * len(said), [list[tuple[int, Span]]() for _ in said]
    for block in LCSseq.opcodes("".join(texts), "".join(spoken)):
        for k in range(block.src_end - block.src_start if block.tag == "equal" else 0):
            number = owner[block.src_start + k]
            matched[number] += 1
            if block.src_end - block.src_start >= SOLID:
                letter = int(block.src_start + k - first[number])
                found[number].append((letter, times[block.dest_start + k]))
    usual = float(np.median([end - start for start, end in times])) if times else 0.0
    for one, text, letters_of_it, solid in zip(said, texts, matched, found, strict=True):
        if solid and letters_of_it >= LEAST_HEARD * len(text):
            (before, (start, _)), (last, (_, end)) = solid[0], solid[-1]
            one.start, one.end = start - usual * before, end + usual * (len(text) - 1 - last)
    _bridge(said, [len(text) for text in texts], speech)
    return list(_unwritten([one for one in said if one.start is not None], heard, spoken))


def _unwritten(said: Sequence[_Said], heard: Sequence[Piece], spoken: Sequence[str]) -> Iterator[Piece]:
    """Words in a row that no phrase is said in; the phrase before them knows of them then."""
    edges = [0.0, *(edge or 0.0 for one in said for edge in (one.start, one.end)), math.inf]
    for number, (start, end) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
        middles = ((word.start + word.end) / 2 for word in heard)
        inside = [k for k, middle in enumerate(middles) if start + SLACK / 2 <= middle < end - SLACK / 2]
        if sum(len(spoken[k]) for k in inside) >= LEAST_UNWRITTEN:
            words = [heard[k] for k in inside]
            yield Piece(" ".join(word.text for word in words), words[0].start, words[-1].end)
            if number:
                said[number - 1].goes_on = True


def _bridge(said: Sequence[_Said], lengths: Sequence[int], speech: Sequence[Span]) -> None:
    """What the recognizer misspelt altogether was said if there is speech enough between its neighbours."""
    known = [k for k, one in enumerate(said) if one.start is not None]
    rates = [(said[k].end - said[k].start) / lengths[k] for k in known]  # type: ignore[operator]
    usual = float(np.median(rates)) if rates else 0.0

    def spoken(start: float, end: float) -> float:
        return sum(max(0.0, min(b, end) - max(a, start)) for a, b in speech)

    for before, after in pairwise(known):
        between, (one, other) = range(before + 1, after), (said[before], said[after])
        if not between or one.start is None or other.end is None:
            continue
        start, end = float(one.end or 0.0), float(other.start or 0.0)
        needed = usual * sum(lengths[k] for k in between)
        least = usual * (lengths[before] + lengths[after]) + needed / 2
        if spoken(one.start, other.end) >= least and spoken(start, end) <= MOST_TIME * needed + SLACK:
            for k in between:
                share = [sum(lengths[before + 1 : n]) / sum(lengths[before + 1 : after]) for n in (k, k + 1)]
                said[k].start, said[k].end = (start + (end - start) * part for part in share)


@dataclass(frozen=True)
class _Gap:
    """Where a pause is looked for, by the recognizer's times: between two phrases, or beside one."""

    before: _Said | None
    after: _Said | None

    def worth(self, starts: NDArray[Any], ends: NDArray[Any]) -> NDArray[Any]:
        """What each pause from start to end would be worth here, in seconds that it might be farther away."""
        edges = [one.end for one in [self.before] if one] + [one.start for one in [self.after] if one]
        first, last = min(e for e in edges if e is not None), max(e for e in edges if e is not None)
        away = np.maximum(0.0, np.maximum(starts - last, first - ends))
        ends_sentence = self.before is None or self.before.phrase.ends_sentence
        worth = (2 if ends_sentence else 1) * WORTH + LONG_PAUSE * np.minimum(ends - starts, 1.0) - away
        return np.where(away <= MOST_AWAY, worth, -np.inf)


def _find_pauses(said: Sequence[_Said], speech: Sequence[Span]) -> None:
    """Give phrases the pauses before and after them: at most one a gap, in their order, so that all together
    are the nearest and the longest (by dynamic programming)."""
    if not speech:
        return
    last = speech[-1][1]
    pauses = [(0.0, speech[0][0]), *((a[1], b[0]) for a, b in pairwise(speech)), (last, last + 1.0)]
    starts, ends = (np.array(column) for column in zip(*pauses, strict=True))
    middle = (starts + ends) / 2
    gaps = list(_gaps([one for one in said if one.start is not None]))
    worth = [gap.worth(starts, ends) for gap in gaps]
    best = [np.zeros(len(pauses) + 1)]  # of the gaps so far, with the pauses before each one
    for gained in worth:
        with_it = np.maximum.accumulate(best[-1][:-1] + gained)
        best.append(np.maximum(best[-1], np.concatenate([[-np.inf], with_it])))
    until = len(pauses)
    for gap, gained, known, total in reversed(list(zip(gaps, worth, best[:-1], best[1:], strict=True))):
        if total[until] == known[until]:
            continue
        until = int(np.argmax((known[:-1] + gained)[:until]))
        if gap.before:
            gap.before.closes = float(min(middle[until], starts[until] + AFTER))
        if gap.after:
            gap.after.opens = float(max(middle[until], ends[until] - BEFORE))


def _gaps(said: Sequence[_Said]) -> Iterator[_Gap]:
    """Two where something is heard between two phrases that does not stand in the script."""
    if not said:
        return
    yield _Gap(None, said[0])
    for one, after in pairwise(said):
        if one.goes_on:
            yield _Gap(one, None)
            yield _Gap(None, after)
        else:
            yield _Gap(one, after)
    yield _Gap(said[-1], None)


def _runs(said: Sequence[_Said]) -> Iterator[list[_Said]]:
    """Neighbours that all were heard, or all were not."""
    run: list[_Said] = []
    for one in said:
        if run and (run[-1].start is None) != (one.start is None):
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def _joined(run: Sequence[_Said], shortest: float, longest: float) -> Iterator[list[_Said]]:
    """Phrases joined to clips: whole sentences where those are not too long, and no clip too short."""
    group: list[_Said] = []
    for sentence in _sentences(run):
        all_of_it = list(chain(*sentence))
        whole, together = _seconds(all_of_it), _seconds([*group, *all_of_it])
        if group and (group[-1].goes_on or _seconds(group) >= shortest or together > longest):
            yield group
            group = []
        share = whole / math.ceil(whole / longest) if whole > longest else longest
        for piece in sentence:
            is_full = _seconds(group) >= share or _seconds([*group, *piece]) > longest
            if group and whole > longest and is_full:
                yield group
                group = []
            group = [*group, *piece]
    if group:
        yield group


def _sentences(run: Sequence[_Said]) -> Iterator[list[list[_Said]]]:
    """Sentences, in the pieces between which pauses lie."""
    pieces: list[list[_Said]] = [[]]
    for one, after in zip(run, [*run[1:], None], strict=True):
        pieces[-1].append(one)
        if after is None:
            yield pieces
        elif _parts(one, after):
            if one.phrase.ends_sentence or one.goes_on:
                yield pieces
                pieces = [[]]
            else:
                pieces.append([])


def _seconds(group: Sequence[_Said]) -> float:
    """How long a clip of these phrases is, or would be, by what is known of its edges."""
    if not group:
        return 0.0
    start = group[0].start if group[0].opens is None else group[0].opens
    end = group[-1].end if group[-1].closes is None else group[-1].closes
    return 0.0 if start is None or end is None else end - start


def _parts(one: _Said, after: _Said) -> bool:
    """Whether a pause lies between two phrases."""
    return one.closes is not None and after.opens is not None and one.closes <= after.opens
