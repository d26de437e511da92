"""Recordings as lists of sentences that a recognizer proposes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kserket.core.features import Features
from kserket.core.registry import register_module
from kserket.inference import hypotheses, vocabulary
from kserket.typing import Array

_LEAST_WORDS = 10  # of a hypothesis that there is room for


@register_module("kserket")
class Recordings(Features):
    """What a recognizer proposes for recordings; the observation below a `SpeechRecog`.

    The vocabulary is that of all proposals for the recordings that it was made of. Of later ones,
    sentences with other words count only where there is no other sentence.

    Args:
        wave_files: List of samples: each a recording, or a list of recordings. None stands for a
            sample that was not heard. Or hypotheses (N, R, B, 2 + L), proposed before.
        name: Module name.
        mode: "learn" makes the vocabulary; "recog" reads the one in `load_dir`.
        recognizer: Function from a recording to a list of `(words, log score)`, best first. A saved
            graph does not hold it.
        nbest: Most proposals for a recording.
        threshold: In how many recordings a word must be proposed.
        load_dir: Folder of a `SpeechRecog`.
    """

    def __init__(
        self,
        wave_files: Any,
        name: str = "recordings",
        mode: Any = "learn",
        *,
        recognizer: Callable[[Any], Sequence[tuple[Sequence[str], float]]] | None = None,
        nbest: int = 10,
        threshold: int = 1,
        save_dir: Any = None,
        load_dir: Any = None,
    ) -> None:
        self.recognizer, self.nbest, self.threshold = recognizer, nbest, threshold
        self._heard: dict[str, Any] = {}
        super().__init__(wave_files, name, mode, save_dir=save_dir, load_dir=load_dir)
        self._heard.clear()

    @property
    def words(self) -> list[str]:
        """The vocabulary, V strings."""
        return [] if self.parameters is None else vocabulary.from_array(self.parameters["words"])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "nbest": self.nbest, "threshold": self.threshold}

    @property
    def feature_names(self) -> list[str] | None:
        return self.words or None

    def learn_features(self, samples: Sequence[Any]) -> dict[str, Array]:
        if self.parameters is not None:
            return self.parameters
        proposed = [[self._propose(one) for one in _recordings(sample)] for sample in samples]
        lists = [part for recordings in proposed for part in recordings]
        heard = [[word for words, _ in part for word in words] for part in lists]
        words = vocabulary.extended([], heard, self.threshold)
        if not words:
            raise ValueError(
                "The recognizer proposes no word that is in enough recordings. "
                f"threshold={self.threshold}; recordings: {len(lists)}"
            )
        longest = max(len(words) for part in lists for words, _ in part)
        shape = max(map(len, proposed)), self.nbest, max(_LEAST_WORDS, longest)
        return {"words": vocabulary.to_array(words), "shape": np.array(shape)}

    def extract(self, samples: Sequence[Any], parameters: dict[str, Array]) -> Array:
        index = {word: n for n, word in enumerate(vocabulary.from_array(parameters["words"]))}
        rows = [
            [_numbered(self._propose(one), index) for one in _recordings(sample)]
            for sample in samples
        ]
        return hypotheses.table(rows, parameters["shape"].tolist())

    def check_parameters(self, parameters: dict[str, Array]) -> None:
        vocabulary.from_array(parameters["words"])
        if parameters["shape"].shape != (3,) or (parameters["shape"] < 1).any():
            raise ValueError("`shape` must hold three positive integers")

    def _propose(self, recording):
        """What the recognizer proposes, checked; asked once for each file while learning."""
        if self.recognizer is None:
            raise RuntimeError(
                f"{self.name} has no recognizer, which a saved graph does not hold. Set "
                "module.recognizer first."
            )
        key = str(recording)
        if key not in self._heard:
            proposed = _checked(self.recognizer(recording), recording)[: self.nbest]
            if self.parameters is not None:
                return proposed
            self._heard[key] = proposed
        return self._heard[key]


def _recordings(sample):
    """The recordings of a sample, a list."""
    return list(sample) if isinstance(sample, (list, tuple)) else [sample]


def _checked(proposed, recording):
    """Proposals as a list of `(list of words, score)`."""
    try:
        result = [(list(words), float(score)) for words, score in proposed]
        fits = all(
            math.isfinite(score) and all(isinstance(word, str) and word for word in words)
            for words, score in result
        )
    except (TypeError, ValueError):
        fits = False
    if not fits or any(isinstance(words, str) for words, _ in proposed):
        raise ValueError(
            "`recognizer` must return a list of (list of words, finite log score) for each "
            f"recording. For {recording!r} it returned: {proposed!r}"
        )
    return result


def _numbered(proposed, index):
    """Proposals in numbers of words; sentences with unknown words only if there are no others."""
    known = [part for part in proposed if all(word in index for word in part[0])]
    return [
        ([index[word] for word in words if word in index], score)
        for words, score in known or proposed
    ]
