"""Choose the clips that are never trained on."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

# name_0001_02 is piece 02 of the recording name_0001; name_02 is a recording.
PIECE = re.compile(r"(.+_\d{3,})_\d{2}")


class Clip(Protocol):
    """Anything that is said once: its id, and the ids of its symbols."""

    @property
    def id(self) -> str: ...
    @property
    def symbols(self) -> Sequence[int] | np.ndarray[tuple[int], np.dtype[np.int64]]: ...


def choose_held_out(items: Sequence[Clip], count: int) -> frozenset[str]:
    """Ids of `count` clips, or of as many below as whole recordings make up; the first by hash of recording.

    A recording with a text that occurs elsewhere stays in training.
    """
    said = [np.asarray(item.symbols, np.int64).tobytes() for item in items]
    texts = Counter(said)
    recordings: dict[str, list[str]] = {}
    shared = set()
    for item, text in zip(items, said, strict=True):
        piece = PIECE.fullmatch(item.id)
        recording = piece[1] if piece else item.id
        recordings.setdefault(recording, []).append(item.id)
        if texts[text] > 1:
            shared.add(recording)
    reachable = 1  # bit n: some recordings have n clips together
    last: dict[int, str] = {}  # by number of clips: the recording that made it reachable
    for recording in sorted(recordings.keys() - shared, key=sha256):
        more = (reachable << len(recordings[recording])) & ~reachable & ((2 << count) - 1)
        reachable |= more
        last.update((number, recording) for number in _bits(more))
    number, chosen = reachable.bit_length() - 1, []
    while number:
        chosen += recordings[last[number]]
        number -= len(recordings[last[number]])
    return frozenset(chosen)


def _bits(number: int) -> Iterator[int]:
    """The places of the bits of `number` that are 1, the highest first."""
    while number:
        place = number.bit_length() - 1
        yield place
        number ^= 1 << place


def sha256(content: object) -> str:
    """A digest of the content as JSON, in hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
