"""Arrays that may be larger than memory: the same values, wherever they are kept."""

import gc
import os
import resource

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kserket import storage


@pytest.fixture
def small_limits(monkeypatch):
    """Everything but the smallest arrays goes to files, a few rows at a time."""
    monkeypatch.setattr(storage, "MEMORY_LIMIT", 100)
    monkeypatch.setattr(storage, "CHUNK_BYTES", 200)
    monkeypatch.setattr(storage, "_GATHERED_ROWS", 3)


@pytest.fixture
def x(small_limits):
    return storage.collect(np.random.default_rng(0).normal(size=(25, 4)) for _ in range(2))


def test_small_arrays_are_in_memory_and_large_ones_in_files():
    assert storage.memory_map(storage.empty((3, 2))) is None
    large = storage.empty((storage.MEMORY_LIMIT // 4 + 1,), "float32")
    assert storage.memory_map(large) is not None
    large[:] = 1.0
    storage.release(large)
    assert large.sum() == len(large)  # what was written is still there


def test_a_scratch_file_has_no_name_and_goes_with_its_array(small_limits, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    array = storage.empty((100, 10))
    view = array[3:7].view()
    assert list(tmp_path.iterdir()) == []
    open_files = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
    held = [path for path in open_files if str(tmp_path) in path]
    assert len(held) == 1
    del array
    view[0, 0] = 5.0
    assert view[0, 0] == 5.0
    del view
    gc.collect()
    open_files = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
    assert not [path for path in open_files if str(tmp_path) in path]


def test_no_room_is_an_error_that_says_where(small_limits, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="no room for 1 MiB .* TMPDIR"):
        storage.empty((2**17,))


def test_batches_are_collected_in_their_order(small_limits):
    batches = [np.arange(6).reshape(3, 2), np.arange(100).reshape(50, 2)]
    array = storage.collect(batches)
    assert storage.memory_map(array) is not None
    assert_array_equal(array, np.concatenate(batches))
    with pytest.raises(ValueError, match="no samples"):
        storage.collect([])
    with pytest.raises(ValueError, match=r"shape \(2,\), float64, then \(3,\)"):
        storage.collect([np.ones((1, 2)), np.ones((1, 3))])
    with pytest.raises(ValueError, match="int64, then .* float64"):  # else .5 would become 0
        storage.collect([np.ones((1, 2), "int64"), np.full((1, 2), 0.5)])


def test_functions_of_rows_equal_those_of_the_whole(x):
    held = np.array(x)
    weight = np.random.default_rng(1).random(len(x))
    assert len(list(storage.chunks(x))) > 5
    doubled, sums = storage.apply(lambda part: (2 * part, part.sum(axis=1)), x)
    assert storage.memory_map(doubled) is not None
    assert_array_equal(doubled, 2 * held)
    assert_array_equal(sums, held.sum(axis=1))
    assert_array_equal(storage.apply(lambda part, none: part, x, None), held)
    assert_allclose(storage.total(lambda part: part.sum(axis=0), x), held.sum(axis=0))
    assert storage.every(np.isfinite, x) and not storage.every(lambda part: part > 0, x)
    assert storage.extent(x) == (held.min(), held.max())
    mean, variance = storage.moments(x, weight)
    assert_allclose(mean, np.average(held, axis=0, weights=weight))
    assert_allclose(variance, np.average((held - mean) ** 2, axis=0, weights=weight))


def test_rows_in_any_order(x):
    index = np.random.default_rng(0).permutation(len(x))[:23]
    assert_array_equal(storage.gather(x, index), np.array(x)[index])
    assert storage.gather(x, index, "float32").dtype == np.float32
    assert_array_equal(storage.take(x, index), np.array(x)[index])
    assert storage.memory_map(storage.take(x, index)) is not None
    assert storage.take(None, index) is None


def test_no_rows_at_all(small_limits):
    assert storage.apply(lambda part: part + 1, np.empty((0, 3))).shape == (0, 3)


def test_extent_passes_over_nan():
    assert storage.extent(np.array([[np.nan, 2.0], [1.0, np.nan]])) == (1.0, 2.0)


def test_changes_of_a_private_map_are_not_lost(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((10, 2)))
    private = np.load(tmp_path / "x.npy", mmap_mode="c")
    private[:] = 1.0
    storage.read(private, slice(0, 5))
    storage.release(private)
    assert private.sum() == 20


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
def test_what_was_read_of_a_file_is_let_go(tmp_path):
    path = tmp_path / "large.npy"
    size = 64 * 2**20
    array = np.lib.format.open_memmap(path, "w+", "float32", (size // 4 // 64, 64))
    array[:] = 1.0
    storage.release(array)

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    before = resident()
    assert storage.total(lambda part: float(part.sum(dtype="float64")), array) == size // 4
    assert resident() - before < size / 2
