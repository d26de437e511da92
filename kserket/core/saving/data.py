"""Data of observations, as a file tells of them."""

import hashlib

import numpy as np

from kserket import storage
from kserket.core.loaded import NotSaved


def describe_data(data):
    """Shape, dtype and a digest by which data are known again.

    Args:
        data: Array (N, ...) or memory map; read in chunks.
    """
    if isinstance(data, NotSaved):
        return dict(data.description)
    sha = hashlib.sha256()
    for rows in storage.chunks(data):
        sha.update(np.ascontiguousarray(storage.read(data, rows)))
    shape = [int(size) for size in data.shape]
    return {"shape": shape, "dtype": data.dtype.str, "digest": sha.hexdigest()[:16]}


def in_memory(data):
    """Whether data are an array that no file holds."""
    return isinstance(data, np.ndarray) and storage.memory_map(data) is None
