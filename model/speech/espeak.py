"""espeak-ng speaks texts, and writes them down as phonemes. It comes with the extra "espeak"."""

import ctypes
import re
import shutil
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from model.extras import installing

VOICES = {"en": "en-us", "ru": "ru"}
WORDS_PER_MINUTE = 165
SAMPLE_RATE = 22050

# speak_lib.h of espeak-ng
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_SYNCHRONOUS, _DO_NOT_EXIT, _OK, _BY_CHARACTER, _UTF8, _IPA = 2, 0x8000, 0, 1, 1, 2
_RATE, _PITCH = 1, 3

_LANGUAGE_SWITCH = re.compile(r"\([a-z-]+\)")  # around a word of another language
_UNUSUAL = {'u"': "ʉ", "ɪ^": "ʲ"}  # names of espeak-ng's own that it gives for want of IPA ones, in Russian


class EspeakError(ValueError):
    """Something that espeak-ng cannot do."""


class EspeakVoice:
    """One voice of espeak-ng, spoken by its own copy of the library.

    The library carries state from one text to the next (its pitch flutter never restarts), so the same
    texts sound the same only in the same order from a fresh library.
    """

    def __init__(self, voice: str) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise EspeakError(
                "espeak-ng is needed here, and the extra espeak is not installed.\n"
                f"What to do: {installing('espeak')}"
            ) from error
        with TemporaryDirectory() as temporary:
            self._library = ctypes.CDLL(shutil.copy(espeakng_loader.get_library_path(), temporary))
        self._blocks: list[bytes] = []
        self._callback = _SYNTH_CALLBACK(self._keep)  # the library holds no reference: Python must
        data = str(espeakng_loader.get_data_path()).encode()
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, _DO_NOT_EXIT)
        if rate != SAMPLE_RATE:
            raise EspeakError(f"espeak-ng did not start with its data in {data.decode()}: answer {rate}")
        self._library.espeak_SetSynthCallback(self._callback)
        if self._library.espeak_SetVoiceByName(voice.encode()) != _OK:
            raise EspeakError(f"espeak-ng has no voice {voice!r}; those of the languages here: {VOICES}")
        self._library.espeak_SetParameter(_RATE, WORDS_PER_MINUTE, 0)
        self._library.espeak_Info.restype = ctypes.c_char_p
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self.version: str = self._library.espeak_Info(None).decode()

    def set_prosody(self, words_per_minute: int, pitch: int) -> None:
        """Pace and pitch of all that is said from now on; pitch is 0 to 100, and 50 the voice's own."""
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)

    def say(self, text: str) -> NDArray[np.int16]:
        """Samples (N,) of the text at SAMPLE_RATE."""
        self._blocks.clear()
        encoded = text.encode()
        status = self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded) + 1), 0, _BY_CHARACTER, 0, _UTF8, None, None
        )
        samples = np.frombuffer(b"".join(self._blocks), dtype=np.int16)
        if status != _OK or not samples.any():
            raise EspeakError(f"espeak-ng did not speak {text!r}: status {status}, {len(samples)} samples")
        return samples

    def phonemes(self, text: str) -> str:
        """A text without punctuation, as phonemes of the International Phonetic Alphabet, words parted by
        spaces; stress stands before its vowel."""
        rest, clauses = ctypes.c_char_p(text.encode()), list[str]()
        while rest.value:  # each call takes one clause away
            clause = self._library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA)
            clauses.append((clause or b"").decode())
        found = _LANGUAGE_SWITCH.sub("", " ".join(clauses))
        for name, ipa in _UNUSUAL.items():
            found = found.replace(name, ipa)
        return " ".join(found.split())

    def _keep(self, samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            self._blocks.append(ctypes.string_at(samples, 2 * count))
        return 0  # go on
