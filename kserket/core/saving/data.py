"""Data of observations, as a file tells of them."""

import hashlib

import numpy as np

from kserket import storage
from kserket.core.loaded import check_whole


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


class NotSaved:
    """Stands for data that a file tells of but does not hold.

    Args:
        name: Name of the observation.
        description: What `describe_data` said of them.
    """

    def __init__(self, name, description):
        self.name, self.description = name, description
        self.shape = tuple(description["shape"])
        self.dtype = np.dtype(description["dtype"])
        sizes = [check_whole(size, "a size of data", least=1) for size in self.shape]
        if not sizes or self.dtype.kind not in "fiub":
            raise ValueError(f"the data of {name!r} are no numbers with one row per sample.")

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        return np.asarray(self)[index]

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError(
            f"The data of {self.name!r} were not saved with the graph. To learn from them, load "
            f"it with load_graph(path, data={{{self.name!r}: x}})."
        )
