"""What a class prior says of samples."""

import numpy as np
import pytest
from scipy.stats import entropy

from kserket import storage
from kserket.inference.class_prior import information


@pytest.mark.parametrize("row", [[0.25] * 4, [0.7, 0.1, 0.1, 0.1], [0.5, 0.5, 0, 0], [1, 0, 0, 0]])
def test_a_prior_that_is_the_same_for_all_samples_tells_none_apart(row):
    prior = np.tile(row, (9, 1))
    assert not information(prior).any()
    assert not information(prior * (1.0 + 1e-7 * np.eye(9)[:, :4])).any()


def test_information_is_the_divergence_from_the_mean_row(monkeypatch):
    prior = np.random.default_rng(0).dirichlet([0.5, 1, 2], 50)
    expected = entropy(prior, prior.mean(axis=0)[None], axis=1) / np.log(3)
    np.testing.assert_allclose(information(prior), expected, rtol=1e-12)
    np.testing.assert_allclose(information(prior[:, ::-1] * 2.0), expected, rtol=1e-12)
    monkeypatch.setattr(storage, "CHUNK_BYTES", 200)
    np.testing.assert_allclose(information(prior), expected, rtol=1e-12)


def test_sure_rows_of_balanced_classes_say_all_there_is():
    np.testing.assert_allclose(information(np.eye(4)[np.arange(20) % 4]), 1.0)


def test_one_class_says_nothing():
    assert not information(np.ones((5, 1))).any()
