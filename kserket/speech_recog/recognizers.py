"""A recognizer of speech that carries its own model."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kserket.core import sound
from kserket.typing import PathLike

SAMPLE_RATE = 16000
_BEAM = 1e-48  # wide enough that words of a list are compared, narrow enough that one wins
_MOST_PATHS = 300  # looked at for a recording: the same words come by several
_NOISE = 3e-3  # of the loudest sample: the noise of a quiet room
_SHIFT = 1024  # scores of PocketSphinx are log likelihoods divided by this (SENSCR_SHIFT = 10)


class PocketSphinx:
    """CMU's PocketSphinx, which carries a model of English: a recording -> sentences with scores.

    Args:
        nbest: Most sentences for a recording.
        words: The words that may be said, a list of strings, of which a recording holds one. None
            allows all of English, by a language model.
        language_weight: Power of the language model.
        insertion: Logarithm of the probability that one more word follows.
        acoustic_scale: Scores are divided by this: frames of sound are not independent, and their
            likelihoods overrate differences.

    Raises:
        ImportError: If `pocketsphinx` is not installed: `pip install "kserket[speech]"`.
        ValueError: If it has no pronunciation of one of the `words`.

    Reference:
        Huggins-Daines et al., "PocketSphinx: a free, real-time continuous speech recognition system
        for hand-held devices", ICASSP 2006.
    """

    def __init__(
        self,
        nbest: int = 10,
        words: Sequence[str] | None = None,
        language_weight: float = 8.0,
        insertion: float = -2.0,
        acoustic_scale: float = 20.0,
    ) -> None:
        try:
            import pocketsphinx
        except ImportError as error:
            raise ImportError(
                'Recognizing speech needs pocketsphinx: pip install "kserket[speech]". Or give a '
                "recognizer= of your own, a function from a recording to [(words, score), ...]."
            ) from error
        options = {"lw": language_weight, "wip": math.exp(insertion), "loglevel": "FATAL"}
        if words is not None:
            options |= {"lm": None, "beam": _BEAM, "pbeam": _BEAM, "wbeam": _BEAM}
        self.nbest, self.acoustic_scale = nbest, acoustic_scale
        self._decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE, **options)
        if words is not None:
            unknown = [word for word in words if not self._decoder.lookup_word(word)]
            if unknown:
                raise ValueError(f"PocketSphinx has no pronunciation of {unknown}.")
            grammar = f"#JSGF V1.0; grammar words; public <word> = {' | '.join(words)};"
            self._decoder.add_jsgf_string("words", grammar)
            self._decoder.activate_search("words")

    def __call__(self, recording: PathLike) -> list[tuple[list[str], float]]:
        """Sentences that a recording may hold, with log likelihoods, best first.

        Args:
            recording: Path of a WAV file.
        """
        samples, _ = sound.read(recording, SAMPLE_RATE)
        samples = _in_a_room(samples)
        decoder = self._decoder
        decoder.reinit_feat()  # a recording must not depend on those before it
        decoder.start_utt()
        decoder.process_raw(np.int16(32767 * np.clip(samples, -1, 1)).tobytes(), full_utt=True)
        decoder.end_utt()
        best = decoder.hyp()
        if best is None:
            return []
        proposed: dict[tuple[str, ...], float] = {}
        for one in itertools.islice(decoder.nbest() or (), _MOST_PATHS):
            if one is not None and one.hypstr:
                words, score = _words(one.hypstr), self._log_likelihood(one)
                proposed[words] = max(score, proposed.get(words, -math.inf))
        if not proposed and best.hypstr:
            proposed = {_words(best.hypstr): self._log_likelihood(best)}
        ranked = sorted(proposed.items(), key=lambda pair: -pair[1])
        return [(list(words), score) for words, score in ranked[: self.nbest]]

    def _log_likelihood(self, hypothesis: Any) -> float:
        return math.log(max(hypothesis.score, 1e-300)) * _SHIFT / self.acoustic_scale


def _in_a_room(samples):
    """A recording as a microphone takes it: words between short silences, which are not zero.

    The model was learned from such recordings. The logarithms of exact zeros, as synthesizers and
    editors write them, would rule the mean that is taken off its features.
    """
    least = _NOISE * np.abs(samples).max()
    loud = np.flatnonzero(np.abs(samples) > least)
    samples = np.pad(samples[loud[0] : loud[-1] + 1] if len(loud) else loud, SAMPLE_RATE // 5)
    return samples + least * np.random.default_rng(0).standard_normal(len(samples))


def _words(sentence):
    """Its words, without the numbers of pronunciations, as in "the(2)"."""
    return tuple(word.partition("(")[0] for word in sentence.split())
