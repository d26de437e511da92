"""Data of observations, as a file tells of them."""

import hashlib

import numpy as np

from kserket import hosts, storage
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


def describe_all_rows(data):
    """As `describe_data`, of the rows of all hosts, whichever of them has which.

    Args:
        data: Array (n, ...) or memory map of the rows of this host; read in chunks.
    """
    if isinstance(data, NotSaved):
        return dict(data.description)
    first, num_rows = hosts.place_of_rows(len(data))
    digest = 0
    for rows in storage.chunks(data):
        part = np.ascontiguousarray(storage.read(data, rows))
        part = part.reshape(len(part), -1).view("uint8")
        words = np.zeros((len(part), -(-part.shape[1] // 8)), "uint64")
        words.view("uint8")[:, : part.shape[1]] = part
        places = first + np.arange(rows.start, rows.stop)
        digest += int(_odd(places) @ (words @ _odd(np.arange(words.shape[1]))))
    shares = hosts.sum_over_hosts([digest >> shift & 0xFFFF for shift in range(0, 64, 16)])
    digest = sum(share << 16 * index for index, share in enumerate(shares))
    shape = [num_rows, *(int(size) for size in data.shape[1:])]
    return {"shape": shape, "dtype": data.dtype.str, "digest": f"{digest % 2**64:016x}"}


def _odd(numbers):
    """Odd numbers below 2**64 that look random, one for each whole number (SplitMix64)."""
    mixed = (numbers.astype("uint64") + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return mixed ^ mixed >> np.uint64(31) | np.uint64(1)


def in_memory(data):
    """Whether data are an array that no file holds."""
    return isinstance(data, np.ndarray) and storage.memory_map(data) is None
