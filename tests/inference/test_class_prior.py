"""What a class prior says of samples."""

import numpy as np
import pytest

from kserket import storage
from kserket.inference.class_prior import decides, information, match


@pytest.mark.parametrize("row", [[0.25] * 4, [0.7, 0.1, 0.1, 0.1], [0.5, 0.5, 0, 0], [1, 0, 0, 0]])
def test_a_prior_that_is_the_same_for_all_samples_tells_none_apart(row):
    prior = np.tile(row, (9, 1))
    assert not information(prior).any()
    assert not information(prior * (1.0 + 1e-7 * np.eye(9)[:, :4])).any()
    assert not decides(prior)


def test_rows_far_from_the_mean_count_by_how_sure_they_are(monkeypatch):
    prior = np.full((30, 3), 0.1) + 0.7 * np.eye(3)[np.arange(30) % 3]
    expected = 1.0 + (prior[0] * np.log(prior[0])).sum() / np.log(3)
    np.testing.assert_allclose(information(prior), expected, rtol=1e-12)
    monkeypatch.setattr(storage, "CHUNK_BYTES", 200)
    np.testing.assert_allclose(information(2.0 * prior), expected, rtol=1e-12)


def test_sure_rows_say_all_there_is_and_uniform_ones_nothing():
    for counts in ([20, 20, 20], [58, 1, 1]):
        prior = np.repeat(np.eye(3), counts, axis=0)
        np.testing.assert_allclose(information(prior), 1.0)
        told = information(np.r_[prior, np.full((30, 3), 1 / 3)])
        np.testing.assert_allclose(told[:60], 1.0)
        assert not told[60:].any()


def test_of_a_few_labels_among_constant_rows_the_labels_count():
    prior = np.tile([0.5, 0.3, 0.2], (90, 1))
    prior[:3] = np.eye(3)
    told = information(prior)
    np.testing.assert_allclose(told[:3], 1.0)
    assert told[3:].sum() < 0.1
    assert decides(prior)
    assert not decides(prior[3:])


def test_one_class_says_nothing():
    assert not information(np.ones((5, 1))).any()


def test_components_take_the_numbers_that_agree_best():
    classes = np.repeat([0, 1, 2], [10, 30, 20])
    for prior in (np.tile([0.2, 0.3, 0.5], (60, 1)), 0.2 + 0.4 * np.eye(3)[[0, 2, 1]][classes]):
        np.testing.assert_array_equal(
            match(np.eye(3)[classes], prior), np.eye(3)[[0, 2, 1]][classes]
        )
