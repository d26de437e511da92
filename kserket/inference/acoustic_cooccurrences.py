"""Codebooks of sounds, and how often one code follows another.

Reference: Van hamme, "HAC-models: a novel approach to continuous speech recognition", Interspeech
2008.
"""

from collections.abc import Sequence

import numpy as np
from scipy.cluster.vq import vq
from sklearn.cluster import KMeans

from kserket.typing import Array, Floats


def make_codebook(frames: Floats, size: int, seed: int) -> Floats:
    """The centers that k-means finds.

    Args:
        frames: (T, D), of all recordings.
        size: K.
        seed: Integer that decides the starts.

    Returns:
        (K, D).

    Raises:
        ValueError: If there are fewer different frames than centers.
    """
    different = len(np.unique(frames, axis=0))
    if different < size:
        raise ValueError(
            f"A codebook of {size} needs as many different frames. The recordings hold "
            f"{different}. Give longer recordings, or smaller `ks`."
        )
    return KMeans(size, n_init=4, random_state=seed).fit(frames).cluster_centers_


def encode(frames: Floats, codebook: Floats) -> Array:
    """The nearest center of each frame.

    Args:
        frames: (T, D).
        codebook: (K, D).

    Returns:
        Integers (T,).
    """
    return vq(np.ascontiguousarray(frames, "float64"), np.asarray(codebook, "float64"))[0]


def histogram(codes: Array, size: int, lags: Sequence[int]) -> Array:
    """How often code i comes `lag` frames after code j, for every pair of codes and every lag.

    Args:
        codes: Integers (T,) below K.
        size: K.
        lags: Numbers of frames, L of them. A recording that is no longer counts nothing.

    Returns:
        Integers (L * K * K,); entry `(lag, i, j)` in this order.
    """
    tables = np.zeros((len(lags), size, size), "int64")
    for table, lag in zip(tables, lags, strict=True):
        np.add.at(table, (codes[lag:], codes[: max(0, len(codes) - lag)]), 1)
    return tables.ravel()
