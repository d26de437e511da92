"""Counts: exact totals, whole numbers, and how many words count as one."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from kserket import storage
from kserket.inference import word_counts


@pytest.fixture
def counts():
    counts = np.random.default_rng(0).poisson(0.7, (40, 30)) * np.array([[1.0], [0.3]] * 20)
    counts[3] = 0.0
    return counts


def dense(counts):
    return counts.toarray() if sparse.issparse(counts) else counts


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_sparse_and_dense_counts_are_read_alike(share):
    rng = np.random.default_rng(1)
    counts = rng.poisson(2.0, (20, 15)) * (rng.random((20, 15)) < share)
    for given in (counts, counts.tolist(), sparse.coo_array(counts), sparse.csc_matrix(counts)):
        assert_array_equal(dense(word_counts.read(given)), counts)


@pytest.mark.parametrize("columns", [[4, 0, 2, 3, 1], [0, 0, 2, 1, 3]])
@pytest.mark.parametrize("dtype", ["int64", "float32", "float64"])
def test_sparse_counts_in_any_order_stay_as_they_are(columns, dtype):
    values = np.array([1, 2, 3, 4, 1], dtype)
    given = sparse.csr_array((values, np.array(columns), np.array([0, 3, 5])), shape=(2, 6))
    arrays = [given.data.copy(), given.indices.copy(), given.indptr.copy()]
    counts = given.toarray()
    assert_array_equal(dense(word_counts.read(given)), counts)
    assert_array_equal(given.toarray(), counts)
    for now, before in zip([given.data, given.indices, given.indptr], arrays, strict=True):
        assert_array_equal(now, before)


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_what_is_read_some_rows_at_a_time_is_the_same(share, monkeypatch, tmp_path):
    rng = np.random.default_rng(1)
    counts = rng.poisson(2.0, (50, 15)) * (rng.random((50, 15)) < share).astype(float)
    counts[17] = np.nan
    np.save(tmp_path / "counts.npy", counts)
    whole = word_counts.read(counts)
    monkeypatch.setattr(storage, "CHUNK_BYTES", 15 * 8 * 7)
    for given in (counts, np.load(tmp_path / "counts.npy", mmap_mode="r")):
        found = word_counts.read(given)
        assert type(found) is type(whole)
        assert_array_equal(dense(found), dense(whole))
    counts[[3, 40], 2] = -1.0, np.inf
    with pytest.raises(ValueError, match="2 values that are not, the first of them -1"):
        word_counts.read(counts)


def test_rows_of_nan_say_nothing(counts):
    missing = counts.copy()
    missing[5] = np.nan
    assert_array_equal(dense(word_counts.read(missing))[5], 0.0)


@pytest.mark.parametrize("value", [-1.0, np.inf, np.nan, 1e200])
def test_other_values_are_refused(counts, value):
    counts[2, 1] = value
    with pytest.raises(ValueError, match="finite and not negative"):
        word_counts.read(counts)
    with pytest.raises(ValueError, match="finite and not negative"):
        word_counts.read(sparse.csr_array(counts))


def test_every_document_gets_the_total_that_was_asked_for(counts):
    scaled = word_counts.scale(word_counts.read(counts), 200)
    totals = word_counts.totals(scaled)
    assert_allclose(np.delete(totals, 3), 200.0, rtol=1e-14)
    assert totals[3] == 0.0
    used = np.delete(counts, 3, axis=0)
    expected = used / used.sum(axis=1, keepdims=True) * 200
    assert_allclose(np.delete(dense(scaled), 3, axis=0), expected)


def test_lengths_come_from_proportions_that_hardly_exist(counts):
    tiny = word_counts.scale(word_counts.read(counts * 1e-320), 200)
    assert np.isfinite(dense(tiny)).all()


def test_whole_numbers_keep_totals_and_stay_within_one(counts):
    scaled = word_counts.scale(word_counts.read(counts), 200)
    whole = word_counts.rounded(scaled)
    assert whole.dtype.kind == "i"
    assert_array_equal(np.delete(word_counts.totals(whole), 3), 200)
    assert np.abs(whole.toarray() - dense(scaled)).max() < 1.0
    integers = np.random.default_rng(2).poisson(1.0, (9, 7)).astype(float)
    assert_array_equal(word_counts.rounded(integers).toarray(), integers)


@pytest.mark.parametrize("members", [30, 1000])
@pytest.mark.parametrize("repeats", [1, 8, 60])
def test_design_effect_is_how_often_a_word_is_repeated(members, repeats):
    rng = np.random.default_rng(3)
    topics = rng.dirichlet(np.full(20, 0.5), 4)
    classes = np.repeat(np.arange(4), members)
    words = repeats * np.array([rng.multinomial(60 // repeats, topics[k]) for k in classes], float)
    effect = word_counts.design_effect(word_counts.read(words), np.eye(4)[classes], 0.1)
    assert effect == pytest.approx(repeats, rel=0.5 if members == 30 else 0.15)


def test_design_effect_of_nothing_is_one():
    counts = word_counts.read(np.zeros((4, 3)))
    assert word_counts.design_effect(counts, np.full((4, 2), 0.5), 0.1) == 1.0
