"""Lists of sentences that a recording may hold, weighed by scores and by probabilities of words.

A hypothesis is a row of numbers: its score, how many words it has, and their numbers. A length of
-1 marks a place in the table that holds none.
"""

from collections.abc import Sequence

import numpy as np

from kserket import floors
from kserket.typing import Array, Floats

NONE = -1


def table(
    samples: Sequence[Sequence[Sequence[tuple[Sequence[int], float]]]], shape: Sequence[int]
) -> Floats:
    """Hypotheses as one array.

    Args:
        samples: N lists of recordings, each a list of `(numbers of words, score)`, best first.
        shape: Most recordings R of a sample, most hypotheses B of a recording, most words L.
            Further hypotheses, and further words of one, are left out.

    Returns:
        (N, R, B, 2 + L).

    Raises:
        ValueError: If a sample has more recordings.
    """
    num_recordings, num_hypotheses, num_words = shape
    result = np.zeros((len(samples), num_recordings, num_hypotheses, 2 + num_words))
    result[..., 1] = NONE
    for rows, recordings in zip(result, samples, strict=True):
        if len(recordings) > num_recordings:
            raise ValueError(
                f"A sample has {len(recordings)} recordings. Here it may have {num_recordings}, "
                "the most that were learned from."
            )
        for row, proposed in zip(rows, recordings, strict=False):
            for place, (words, score) in zip(row, proposed, strict=False):
                words = words[:num_words]
                place[:2] = score, len(words)
                place[2 : 2 + len(words)] = words
    return result


def check(hypotheses: Array, num_words: int | None = None) -> None:
    """Raises ValueError unless an array is what `table` returns; rows of NaN are missing samples.

    Args:
        hypotheses: (N, R, B, 2 + L).
        num_words: Size V of the vocabulary, or None.
    """
    shape = np.shape(hypotheses)
    seen = np.asarray(hypotheses)[~np.isnan(hypotheses).all(axis=tuple(range(1, len(shape))))]
    fits = len(shape) == 4 and shape[3] > 2 and np.isfinite(seen).all()
    if fits:
        numbers, lengths = seen[..., 2:], seen[..., 1]
        most = np.inf if num_words is None else num_words
        fits = (
            (seen[..., 1:] == np.floor(seen[..., 1:])).all()
            and ((lengths >= NONE) & (lengths <= shape[3] - 2)).all()
            and ((numbers >= 0) & (numbers < most)).all()
        )
    if not fits:
        raise ValueError(
            "Hypotheses must have the shape (N, recordings, hypotheses, 2 + words): a score, a "
            f"number of words, and numbers of words below {num_words}. Received: shape {shape}"
        )


def weights(hypotheses: Floats, log_words: Floats | None, score_weight: float) -> Floats:
    """The probability of each hypothesis among those of its recording.

        p(h) ~ exp(score_weight * score_h + sum_{w in h} log P(w | d))

    A hypothesis without a word counts only where the recording has no other.

    Args:
        hypotheses: (N, R, B, 2 + L), none missing.
        log_words: Logarithms of P(w | d), (N, V); None where nothing is known of the sample.
        score_weight: Power of the recognizer's score.

    Returns:
        (N, R, B); zeros for recordings that are not there.
    """
    lengths = hypotheses[..., 1]
    logs = score_weight * hypotheses[..., 0]
    if log_words is not None:
        logs = logs + (_words(hypotheses, log_words) * _is_word(hypotheses)).sum(axis=-1)
    is_there = np.where((lengths > 0).any(axis=-1, keepdims=True), lengths > 0, lengths == 0)
    logs = np.where(is_there, logs, -np.inf)
    most = logs.max(axis=-1, keepdims=True)
    result = np.exp(logs - np.where(np.isfinite(most), most, 0.0))
    return result / np.maximum(result.sum(axis=-1, keepdims=True), floors.SMALLEST)


def counts(hypotheses: Floats, probabilities: Floats, num_words: int) -> Floats:
    """Expected counts of words.

    Args:
        hypotheses: (N, R, B, 2 + L), none missing.
        probabilities: Of each hypothesis, (N, R, B).
        num_words: V.

    Returns:
        (N, V).
    """
    shares = probabilities[..., None] * _is_word(hypotheses)
    numbers = hypotheses[..., 2:].astype("int64")
    rows = np.broadcast_to(np.arange(len(hypotheses)).reshape(-1, 1, 1, 1), numbers.shape)
    result = np.zeros((len(hypotheses), num_words))
    np.add.at(result, (rows, numbers), shares)
    return result


def drawn(probabilities: Floats, rng: np.random.Generator) -> Floats:
    """One hypothesis of each recording, drawn by its probability.

    Args:
        probabilities: (N, R, B).
        rng: `numpy.random.Generator`.

    Returns:
        (N, R, B) of zeros and ones; zeros where all probabilities are.
    """
    totals = probabilities.cumsum(axis=-1)
    draws = rng.random(probabilities.shape[:2])[..., None] * totals[..., -1:]
    chosen = (totals <= draws).sum(axis=-1)
    one = np.eye(probabilities.shape[-1])[np.minimum(chosen, probabilities.shape[-1] - 1)]
    return one * (totals[..., -1:] > 0)


def _is_word(hypotheses):
    """Which of the numbers stand for a word, booleans (N, R, B, L)."""
    return np.arange(hypotheses.shape[-1] - 2) < hypotheses[..., 1:2]


def _words(hypotheses, log_words):
    """log P of each number, (N, R, B, L)."""
    numbers = hypotheses[..., 2:].astype("int64")
    return np.take_along_axis(log_words[:, None, None], numbers, axis=-1)
