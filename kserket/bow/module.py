"""Serket's `bow.BoW`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kserket.core.features import Features
from kserket.core.registry import register_module
from kserket.inference import vocabulary
from kserket.typing import Array, Mode, PathLike


@register_module("kserket")
class BoW(Features):
    """Serket's `bow.BoW`: sentences as counts of words.

    While it learns the vocabulary grows: `set_data` adds the words that are new, in columns at the
    end, which a `utils.Buffer` and an MLDA above take in. In recognition, and in `Graph.predict`,
    words that it has never read are not counted.

    Args:
        sentences: List of strings, one a sample; None stands for a sample without a sentence. Or
            counts (N, V), made before.
        name: Module name.
        mode: "learn" lets the vocabulary grow; "recog" reads the one that an earlier run learned.
        tokenizer: Function from a string to a list of words. By default words are what stands
            between spaces and punctuation, in lower case; sentences with Japanese kana are split by
            `janome` (`pip install "kserket[japanese]"`). A saved graph does not hold it: set
            `module.tokenizer` after loading.
        save_dir: The folder in which `module000_Bow/` is made. None writes nothing.
        load_dir: A module's own folder, written by an earlier run. Recognition reads its vocabulary
            from there, learning starts from it.

    Messages:
        Reads: nothing. Forward: counts (N, V). Backward: kept, and ignored.

    Files:
        `parameters.h5`, `histograms.txt` (counts, one row a sentence), `dict.txt` (one word a
        line).

    Raises:
        ImportError: If sentences are Japanese and `janome` is not installed.
        TypeError: If sentences or words are no strings.
        ValueError: If there is no word in any sentence.

    Reference:
        Salton et al., "A vector space model for automatic indexing", Communications of the ACM
        18(11), 1975.

    Example:

    ```python
    from kserket import bow, mlda

    bow1 = bow.BoW(["a red ball", "a red cup", "the green ball"])
    mlda1 = mlda.MLDA(2, itr=20, seed=0)
    mlda1.connect(bow1)
    mlda1.update()
    print(bow1.words, bow1.data)
    ```
    """

    def __init__(
        self,
        sentences: Any = None,
        name: str = "Bow",
        *,
        mode: Mode = "learn",
        tokenizer: Callable[[str], Sequence[str]] | None = None,
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
    ) -> None:
        if tokenizer is not None and not callable(tokenizer):
            raise TypeError(
                "`tokenizer` must be a function from a string to a list of words. "
                f"Received: {tokenizer!r}"
            )
        self.tokenizer = tokenizer
        super().__init__(sentences, name, mode, save_dir=save_dir, load_dir=load_dir)

    @property
    def words(self) -> list[str]:
        """The vocabulary, V strings in the order of the columns."""
        return [] if self.parameters is None else vocabulary.from_array(self.parameters["words"])

    @property
    def feature_names(self) -> list[str] | None:
        return self.words or None

    def learn_features(self, samples: Sequence[str]) -> dict[str, Array]:
        words = vocabulary.extended(self.words, self._tokens(samples))
        if not words:
            raise ValueError(f"There is no word in any sentence. Received: {samples[:3]}")
        return {"words": vocabulary.to_array(words)}

    def extract(self, samples: Sequence[str], parameters: dict[str, Array]) -> Array:
        words = vocabulary.from_array(parameters["words"])
        return vocabulary.counts(self._tokens(samples), words)

    def check_parameters(self, parameters: dict[str, Array]) -> None:
        vocabulary.from_array(parameters["words"])

    def text_files(self, features: Array) -> dict[str, Array | str]:
        counted = np.nan_to_num(features).astype("int64")
        return {"histograms.txt": counted, "dict.txt": "".join(f"{w}\n" for w in self.words)}

    def _tokens(self, sentences):
        """The words of each sentence, lists of strings."""
        if any(not isinstance(sentence, str) for sentence in sentences):
            odd = next(one for one in sentences if not isinstance(one, str))
            raise TypeError(f"Sentences must be strings or None. Received: {odd!r}")
        tokenize = self.tokenizer
        if tokenize is None:
            japanese = any(vocabulary.is_japanese(sentence) for sentence in sentences)
            tokenize = _japanese_tokenizer() if japanese else vocabulary.words_of
        texts = [list(tokenize(sentence)) for sentence in sentences]
        odd = [word for text in texts for word in text if not isinstance(word, str) or not word]
        if odd:
            raise TypeError(
                f"`tokenizer` must return a list of words, strings. Received: {odd[0]!r}"
            )
        return texts


def _japanese_tokenizer():
    """A function from a Japanese sentence to its words."""
    try:
        from janome.tokenizer import Tokenizer
    except ImportError as error:
        raise ImportError(
            'Japanese sentences are split into words by janome: pip install "kserket[japanese]". '
            "Or give a tokenizer= of your own."
        ) from error
    tokenizer = Tokenizer(wakati=True)
    return lambda sentence: [word for word in tokenizer.tokenize(sentence) if word.strip()]
