"""Russian stress and ё: marked by hand, by a lexicon of the user's, or by silero-stress, in this order.

silero-stress comes with the extra "russian": a dictionary of word forms, and a small network that tells
homographs apart by their sentence.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from threading import Lock

from model.extras import NotInstalled

STRESS = "+"  # before its vowel
ACUTE = "\u0301"  # after it
RUSSIAN_LETTERS = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
RUSSIAN_VOWELS = "аеёиоуыэюя"
PACKAGE = "silero-stress"

_WORD = re.compile(rf"[{RUSSIAN_LETTERS}{STRESS}]+(?:-[{RUSSIAN_LETTERS}{STRESS}]+)*")
_ONE_AT_A_TIME = Lock()


def installed() -> str:
    """The package with its version, as a front end keeps it. Raises NotInstalled."""
    _accentor()
    return f"{PACKAGE} {version(PACKAGE)}"


def marked(text: str, lexicon: Mapping[str, str], by_model: bool) -> str:
    """A text in small letters with a mark before each stressed vowel; words marked by hand stay as they are.

    Words of one syllable get none from the model: whether they are stressed hangs on the sentence.

    Args:
        lexicon: marked words, by words.
        by_model: whether silero-stress marks what neither hand nor lexicon does. Raises NotInstalled then.
    """
    text = _WORD.sub(lambda word: _looked_up(word.group(), lexicon), text)
    found = _by_model(text) if by_model and _WORD.search(text) else text
    marks = iter(_WORD.findall(found))
    return _WORD.sub(lambda word: _kept(word.group(), next(marks, "")), text)


def _looked_up(word: str, lexicon: Mapping[str, str]) -> str:
    if STRESS in word:
        return word
    if word in lexicon:
        return lexicon[word]
    return "-".join(lexicon.get(part, part) for part in word.split("-"))


def _kept(written: str, found: str) -> str:
    """What the model makes of a word, unless the word had a mark, or became another word."""
    same = _bare(written) == _bare(found)
    return found if STRESS not in written and same else written


def _bare(word: str) -> str:
    return word.replace(STRESS, "").replace("ё", "е")


@lru_cache(1 << 16)
def _by_model(text: str) -> str:
    accentor = _accentor()
    with _ONE_AT_A_TIME:
        return accentor(text)


@lru_cache(1)
def _accentor() -> Callable[[str], str]:
    import torch  # late: commands that speak nothing need not wait for it

    @contextmanager
    def unchanged() -> Iterator[None]:
        """The package sets torch to one thread and turns gradients off, for whatever comes after it."""
        threads, has_gradients = torch.get_num_threads(), torch.is_grad_enabled()
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_grad_enabled(has_gradients)

    try:
        with unchanged():
            from silero_stress import load_accentor

            found = load_accentor()
    except ImportError as error:
        raise NotInstalled(PACKAGE, "russian") from error

    def accented(text: str) -> str:
        with unchanged(), torch.inference_mode():
            return str(found(text, stress_single_vowel=False))

    return accented
