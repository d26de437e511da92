"""Words and their counts."""

import collections
import re
from collections.abc import Iterable, Sequence

import numpy as np

from kserket.typing import Array

_KANA = re.compile("[\u3041-\u30ff]")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case: letters, digits and apostrophes in one piece.

    Args:
        text: String.
    """
    return re.findall(r"\w+(?:['\u2019]\w+)*", text.lower())


def is_japanese(text: str) -> bool:
    """Whether a text holds kana, and so has no spaces between its words.

    Args:
        text: String.
    """
    return _KANA.search(text) is not None


def extended(words: Sequence[str], texts: Iterable[Sequence[str]], least: int = 1) -> list[str]:
    """A vocabulary, and after it the words that are new, in the order in which they come.

    Args:
        words: The vocabulary so far.
        texts: Lists of words.
        least: In how many of the texts a new word must be found.

    Returns:
        List of strings.
    """
    found: collections.Counter[str] = collections.Counter()
    for text in texts:
        found.update(dict.fromkeys(text, 1))  # in order, each once
    known = set(words)
    return [*words, *(word for word, n in found.items() if n >= least and word not in known)]


def counts(texts: Sequence[Sequence[str]], words: Sequence[str]) -> Array:
    """How often each word of a vocabulary is in each text.

    Args:
        texts: N lists of words; those that are not in the vocabulary are not counted.
        words: The vocabulary, V strings.

    Returns:
        Integers (N, V).
    """
    index = {word: column for column, word in enumerate(words)}
    table = np.zeros((len(texts), len(words)), "int64")
    for row, text in zip(table, texts, strict=True):
        for word in text:
            if word in index:
                row[index[word]] += 1
    return table


def to_array(words: Sequence[str]) -> Array:
    """A vocabulary as integers (V, L): code points, filled up with zeros, as files hold it.

    Args:
        words: V strings.
    """
    array = np.array(words, dtype="U")
    return array.view("uint32").reshape(len(words), -1)


def from_array(array: Array) -> list[str]:
    """What `to_array` was given.

    Args:
        array: Integers (V, L).

    Raises:
        ValueError: If it does not hold different words.
    """
    array = np.ascontiguousarray(array, "uint32")
    if array.ndim != 2 or 0 in array.shape or array.max() > 0x10FFFF:
        raise ValueError("a vocabulary must hold code points (V, L)")
    words = [str(word) for word in array.view(f"U{array.shape[1]}")[:, 0]]
    if len(set(words)) != len(words) or "" in words:
        raise ValueError("words must be different, and none of them empty")
    return words
