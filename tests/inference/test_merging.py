"""Numbers of classes found by merging groups, from sums alone."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import gammaln

from kserket import datasets
from kserket.inference import document_classes, topic_merging
from kserket.inference import normal_wishart as nw
from kserket.inference.agglomeration import agglomerate
from kserket.inference.gaussian_mixture import merging
from kserket.inference.gaussian_mixture.parameters import Prior
from kserket.metrics import adjusted_rand_index

PRIOR = Prior(0.3, np.array([0.5, -1.0]), 0.2, 4.5, np.array([[2.0, 0.3], [0.3, 1.0]]))


def gaussian_sums(groups):
    """Counts, sums and scatters about the prior's mean."""
    parts = [group - PRIOR.mean for group in groups]
    counts = np.array([len(part) for part in parts], float)
    return counts, np.array([p.sum(axis=0) for p in parts]), np.array([p.T @ p for p in parts])


def one_by_one(x):
    """log p(X) as the product of what each row is given those before it."""
    total, before = 0.0, PRIOR.normal_wishart
    for row in x:
        total += nw.log_predictive(before, row[None])[0, 0]
        counts, sums, scatters = (part[:1] for part in gaussian_sums([x[:0]]))
        shift = (row - before.mean[0])[None]
        before = nw.update(before, counts + 1, sums + shift, scatters + shift[:, :, None] * shift)
    return total


def restaurant(sizes, concentration):
    """log p of a partition by the Chinese restaurant process, customer by customer."""
    total, seated = 0.0, 0
    for size in sizes:
        for number in range(size):
            total += np.log(concentration if number == 0 else number)
            total -= np.log(concentration + seated)
            seated += 1
    return total


def test_evidence_of_a_merge_is_that_of_the_data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 2)) * [1.0, 3.0] + [2.0, 0.0]
    apart, together = [x[:5], x[5:]], [x]
    gain = merging.log_evidence(PRIOR, gaussian_sums(together)).sum()
    gain -= merging.log_evidence(PRIOR, gaussian_sums(apart)).sum()
    expected = one_by_one(x) + restaurant([9], 0.3)
    expected -= sum(map(one_by_one, apart)) + restaurant([5, 4], 0.3)
    assert_allclose(gain, expected, rtol=1e-10)


def test_evidence_of_words_is_that_of_each_after_the_others():
    counts, beta = np.array([[3.0, 0, 2], [1, 1, 0]]), np.array([0.5, 0.1, 0.2])
    data = [document_classes.Modality(counts)]
    prior = document_classes.Prior((beta,))
    found = topic_merging.log_evidence(data, prior, (np.array([4.0, 2.0]), counts))
    for k, row in enumerate(counts):
        expected, seen = np.log(topic_merging.CONCENTRATION) + gammaln([4.0, 2.0][k]), beta.copy()
        for word, times in enumerate(row.astype(int)):
            for _ in range(times):
                expected += np.log(seen[word] / seen.sum())
                seen[word] += 1
        assert_allclose(found[k], expected)
    halved = [document_classes.Modality(counts, weight=0.5)]
    tempered = topic_merging.log_evidence(
        halved, document_classes.Prior((beta / 2,)), (np.array([4.0, 2.0]), counts / 2)
    )
    constant = np.log(topic_merging.CONCENTRATION) + gammaln([4.0, 2.0])
    assert_allclose(tempered - constant, 0.5 * (found - constant))


def test_merging_is_greedy_and_ends_where_nothing_gains():
    places = np.array([0.0, 1.0, 10.0, 10.5, 40.0])
    sums = np.ones(5), places, places**2

    def log_evidence(sums):
        counts, firsts, squares = sums
        return -(squares - firsts**2 / counts) - 2.0

    assert_array_equal(agglomerate(sums, log_evidence), [0, 0, 1, 1, 2])
    assert_array_equal(agglomerate(sums, lambda sums: -np.ones(len(sums[0]))), np.zeros(5))
    assert_array_equal(agglomerate(sums, lambda sums: sums[0] * 0.0), np.arange(5))
    assert_array_equal(sums[1], places)


def number_found(x, **options):
    return len(merging.search(x, n_init=3, rng=0, **options).sums.counts)


@pytest.mark.parametrize("sizes", [(400, 3, 2), (600, 5, 4), (300, 1, 3), (1500, 10, 8)])
def test_number_and_classes_are_found(sizes):
    x, labels, *_ = datasets.make_mixture(*sizes, seed=5)
    partition = merging.search(x, n_init=3, rng=0)
    assert len(partition.sums.counts) == sizes[1]
    assert adjusted_rand_index(labels, partition.classes) > 0.95


@pytest.fixture(scope="module")
def four():
    return datasets.make_mixture(300, 4, 3, seed=1)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x * [1.0, 1e6, 1e-6] + [0.0, 1e7, 1.0],
        lambda x: np.c_[x, np.full(len(x), 7.0)],
        lambda x: np.c_[x, x[:, :1]],
        lambda x: np.r_[x, x],
        lambda x: x @ np.array([[2.0, 0.3, 0.1], [0.0, 1.0, -0.4], [0.5, 0.0, 1.0]]),
    ],
    ids=["units", "constant column", "column twice", "rows twice", "axes"],
)
def test_number_does_not_depend_on_how_data_are_written(four, change):
    assert number_found(change(four.x)) == 4


def test_weights_and_variances_count(four):
    x, labels, *_ = four
    assert number_found(x, sample_weight=(labels != 2).astype(float)) == 3
    blurred = x + np.random.default_rng(0).normal(scale=0.3, size=x.shape)
    assert number_found(blurred, variance=np.full(x.shape, 0.09)) == 4
    assert number_found(x, variance=np.full(x.shape, 400.0)) == 1  # nothing can be told apart
    assert number_found(x, max_components=2) == 2


@pytest.mark.parametrize("x", [np.ones((9, 2)), np.zeros((1, 3)), np.arange(6.0).reshape(3, 2)])
def test_what_tells_nothing_apart_is_one_class(x):
    assert number_found(x) == 1


def test_topics_are_found():
    rng = np.random.default_rng(2)
    labels, topics = np.arange(240) % 4, rng.dirichlet(np.full(30, 0.1), 4)
    counts = np.array([rng.multinomial(25, topics[label]) for label in labels], float)
    data, prior = [document_classes.Modality(counts)], document_classes.Prior((0.1,))
    state = topic_merging.search(data, prior, rng=0)
    assert len(state.documents) == 4
    classes = document_classes.responsibilities(data, state, prior)[0].argmax(axis=1)
    assert adjusted_rand_index(labels, classes) == 1
    silent = [document_classes.Modality(np.zeros((5, 3)))]
    assert len(topic_merging.search(silent, prior, rng=0).documents) == 1
