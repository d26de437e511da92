"""Arrays with one row per sample that may be larger than memory.

What is small is an ordinary NumPy array. What is larger than `MEMORY_LIMIT` is a memory map of a
scratch file without a name, in the folder that `tempfile.gettempdir()` gives (the environment
variable TMPDIR sets it), which goes when the last array that looks at it goes. Both are arrays to
whoever reads them; the functions here go through them some rows at a time, so that no more than a
few chunks are ever in memory. How rows are cut into chunks depends on shapes and types alone: a
file gives the results of an array, to the last bit.
"""

import math
import mmap
import os
import tempfile

import numpy as np

MEMORY_LIMIT = 32 * 2**20  # bytes of an array that is kept in memory
CHUNK_BYTES = 16 * 2**20  # bytes of the widest array that is worked on at a time
_GATHERED_ROWS = 32  # read of a file, each of which may show 2 MiB of it, before they are let go


def empty(shape, dtype="float64"):
    """An array of undefined values, in memory or in a scratch file.

    Args:
        shape: Its shape (N, ...).
        dtype: Its type.

    Raises:
        OSError: If there is no room for the file.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= MEMORY_LIMIT:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="kserket-") as file:
        _reserve(file, size)
        return np.memmap(file, dtype, "r+", shape=tuple(shape))


def collect(batches):
    """Batches of rows, one after the other, as one array.

    Args:
        batches: Iterable of arrays (n, ...) of one type.

    Returns:
        Array (N, ...), in memory or in a scratch file.

    Raises:
        ValueError: If there are none, or their samples differ in shape or type.
    """
    shape = dtype = None
    num_rows = 0
    with tempfile.TemporaryFile(prefix="kserket-") as file:
        for batch in batches:
            batch = np.asarray(batch)
            if shape is None:
                shape, dtype = batch.shape[1:], batch.dtype
            if (batch.shape[1:], batch.dtype) != (shape, dtype):
                raise ValueError(
                    "All batches need samples of one shape and type. Received: shape "
                    f"{shape}, {dtype}, then {batch.shape[1:]}, {batch.dtype}. Pad, crop or cast."
                )
            file.write(np.ascontiguousarray(batch))
            num_rows += len(batch)
        if num_rows == 0:
            raise ValueError("There are no samples.")
        file.flush()
        held = np.memmap(file, dtype, "r+", shape=(num_rows, *shape))
        return np.array(held) if held.nbytes <= MEMORY_LIMIT else held


def sample(array, most):
    """Some rows, in memory and in their order: all, or the same at each call.

    Args:
        array: Array (N, ...).
        most: How many rows at most.
    """
    if len(array) <= most:
        return read(array, slice(None))
    return gather(array, np.sort(np.random.default_rng(0).permutation(len(array))[:most]))


def chunks(*arrays, chunk_rows=None, row_bytes=1):
    """Slices of rows, one after the other, that together are all rows.

    Args:
        *arrays: Arrays of one length, of which some may be None.
        chunk_rows: Rows of a slice; None chooses what keeps a chunk of the widest small.
        row_bytes: Bytes of a row of something else that is as long.
    """
    given = [array for array in arrays if array is not None]
    num_rows = given[0].shape[0]
    if chunk_rows is None:
        widths = (math.prod(array.shape[1:]) * array.dtype.itemsize for array in given)
        chunk_rows = max(1, CHUNK_BYTES // max(row_bytes, *widths))
    for start in range(0, max(1, num_rows), chunk_rows):
        yield slice(start, min(start + chunk_rows, num_rows))


def read(array, rows):
    """Some rows, in memory.

    Args:
        array: Array (N, ...), or None.
        rows: A slice.
    """
    if array is None:
        return None
    held = memory_map(array)
    if held is None:
        return np.asarray(array[rows])
    part = np.array(array[rows])
    _give_back(held)
    return part


def gather(array, index, dtype=None):
    """Rows in any order, in memory.

    Args:
        array: Array (N, ...).
        index: Integers (n,).
        dtype: Type of the result; None keeps it.
    """
    held = memory_map(array)
    if held is None:
        return np.asarray(array[index], dtype)
    result = np.empty((len(index), *array.shape[1:]), dtype or array.dtype)
    for start in range(0, len(index), _GATHERED_ROWS):
        part = slice(start, start + _GATHERED_ROWS)
        result[part] = array[index[part]]
        _give_back(held)
    return result


def take(array, index):
    """Rows in any order, in memory or in a scratch file; None of None.

    Args:
        array: Array (N, ...), or None.
        index: Integers (n,).
    """
    if array is None:
        return None
    row_bytes = math.prod(array.shape[1:]) * array.dtype.itemsize
    return apply(lambda part: gather(array, part), index, row_bytes=row_bytes)


def apply(function, *arrays, **options):
    """A function of each row, of some rows at a time.

    Args:
        function: From chunks of the arrays to an array with as many rows, or a tuple of such.
        *arrays: Arrays of one length; None is handed on as None.
        **options: `chunk_rows` and `row_bytes` of `chunks`; the latter where a row of the result is
            larger than those of the arrays.

    Returns:
        Array, or tuple of arrays, in memory or in scratch files.
    """
    results = None
    parts = list(chunks(*arrays, **options))
    for rows in parts:
        pieces = function(*(read(array, rows) for array in arrays))
        if len(parts) == 1:
            return pieces
        single = not isinstance(pieces, tuple)
        pieces = (pieces,) if single else pieces
        if results is None:
            num_rows = parts[-1].stop
            results = [empty((num_rows, *piece.shape[1:]), piece.dtype) for piece in pieces]
        for result, piece in zip(results, pieces, strict=True):
            result[rows] = piece
            release(result)
    return results[0] if single else tuple(results)


def total(function, *arrays):
    """The sum of what a function gives of each chunk of rows.

    Args:
        function: From chunks of the arrays to something that can be added.
        *arrays: Arrays of one length; None is handed on as None.
    """
    result = 0
    for rows in chunks(*arrays):
        result = result + function(*(read(array, rows) for array in arrays))
    return result


def every(predicate, *arrays):
    """Whether something holds of all values.

    Args:
        predicate: From chunks of the arrays to a boolean array.
        *arrays: Arrays of one length.
    """
    return all(
        bool(np.all(predicate(*(read(array, rows) for array in arrays))))
        for rows in chunks(*arrays)
    )


def extent(array):
    """The smallest and the largest value that is not NaN, NaN if all are.

    Args:
        array: Array (N, ...).
    """
    lows, highs = [], []
    for rows in chunks(array):
        part = read(array, rows)
        lows.append(np.fmin.reduce(part, axis=None))
        highs.append(np.fmax.reduce(part, axis=None))
    return np.fmin.reduce(lows), np.fmax.reduce(highs)


def moments(array, weight=None):
    """Mean and variance of each column, both (D,) in double precision; NaN if no row counts.

    Args:
        array: Array (N, D); cells of NaN are left out.
        weight: How much each row counts, (N,), or None.
    """
    weight = np.ones(len(array)) if weight is None else np.asarray(weight, "float64")
    size = weight.sum() or np.nan
    mean = total(lambda x, w: w @ np.asarray(x, "float64"), array, weight) / size
    if np.isnan(mean).any() and weight.any():
        size = total(lambda x, w: w @ ~np.isnan(x), array, weight)
        size[size == 0] = np.nan
        mean = total(lambda x, w: w @ np.nan_to_num(np.asarray(x, "float64")), array, weight) / size
    variance = total(lambda x, w: w @ np.nan_to_num(np.square(x - mean)), array, weight) / size
    return mean, variance


def memory_map(array):
    """The `np.memmap` that an array is, or is a view of; None if it is in memory."""
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return array if isinstance(array, np.memmap) else None


def release(array):
    """Lets go of the memory in which the operating system shows a mapped file; else nothing.

    What was written stays written. Without this a process seems to hold all that it ever read.
    """
    held = memory_map(array)
    if held is not None:
        _give_back(held)


def _give_back(held):
    """`release` of a map. One of mode "c" is left alone: its changes live in memory only."""
    if held.mode != "c" and hasattr(held._mmap, "madvise"):
        held._mmap.madvise(mmap.MADV_DONTNEED)


def _reserve(file, size):
    """Room for a file: without it, writing to a map on a full disk kills the process."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise OSError(
            error.errno,
            f"There is no room for {size / 2**20:,.0f} MiB of intermediate results in "
            f"{tempfile.gettempdir()}. Set the environment variable TMPDIR to a folder with more.",
        ) from error
