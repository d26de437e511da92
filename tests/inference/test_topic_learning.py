"""Learning of topics: pure, the same from parts, in the same order of randomness."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kserket.inference import topic_learning, word_counts
from kserket.inference.topic_learning import Documents, Options
from kserket.inference.topic_weighing import Weighing

K = 3
KINDS = {
    "classes": {},
    "proportions": {"alphas": np.full(K, 0.3)},
    "sampler": {"alphas": np.full(K, 0.3), "samples": True},
}


def make(weights=None, **options):
    """Documents with two modalities, the second one a report, and how to learn from them."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % K
    words = word_counts.read(rng.multinomial(12, 0.1 / 3 + 0.6 * np.eye(12)[labels]))
    values = [words, 0.05 + 0.8 * np.eye(4)[labels]]
    is_mixed = "alphas" in options
    weighing = Weighing([False, True], weights, is_mixed)
    options = {"alphas": np.zeros(K), "n_init": 3, **options}
    learning = Options(K, betas=[0.1, 0.1], weighing=weighing, **options)
    return Documents(values, weighing.scale(values), weighing.reports), learning


@pytest.mark.parametrize("kind", KINDS)
def test_learning_changes_nothing_that_it_is_given_and_goes_on(kind):
    data, options = make(**KINDS[kind])
    first = topic_learning.learn(data, options, rng=0, num_sweeps=4)
    before = [part.copy() for part in (*first.state.words, first.state.documents)]
    seen = []
    rng = np.random.default_rng(1)
    second = topic_learning.learn(
        data, options, first, rng, num_sweeps=3, callback=lambda *args: seen.append(args)
    )
    for old, part in zip(before, (*first.state.words, first.state.documents), strict=True):
        assert_array_equal(old, part)
    assert [(sweep, total) for sweep, total, *_ in seen][0] == (1, 3)
    assert_array_equal(seen[-1][3].state.documents, second.state.documents)
    again = topic_learning.learn(data, options, first, np.random.default_rng(1), num_sweeps=3)
    for one, other in zip(second.state.words, again.state.words, strict=True):
        assert_array_equal(one, other)


def test_a_modality_without_words_is_weighed_when_it_first_has_some():
    data, options = make()
    words = np.asarray(data.values[0].todense() if hasattr(data.values[0], "todense") else 0)
    words = 7.0 * (words if np.ndim(words) else data.values[0])  # each word seven times
    silent = [np.zeros_like(words), data.values[1]]
    first = topic_learning.learn(Documents(silent, silent, data.reports), options, rng=0)
    assert_array_equal(first.lengths, [0.0, 1.0])
    values = [word_counts.read(words), data.values[1]]
    assert_array_equal(topic_learning.is_new(values, first), [True, False])
    second = topic_learning.learn(Documents(values, values, data.reports), options, first, rng=0)
    assert_allclose(second.lengths, [84.0, 1.0])
    assert second.effects[0] > 4.0 and second.effects[1] == 1.0
    assert topic_learning.learn(data, options, second, rng=0).effects is second.effects


def test_missing_documents_are_left_out_of_every_part():
    data, _ = make(weights=[30, 1])
    missing = np.arange(60) % 4 == 0
    log_prior = np.log(np.random.default_rng(0).dirichlet(np.ones(K), 60))
    seen = data._replace(log_prior=log_prior, missing=missing).seen()
    assert [part.shape[0] for part in (*seen.values, *seen.scaled)] == [45] * 4
    assert seen.missing is None and seen.reports == data.reports
    assert_array_equal(seen.log_prior, log_prior[~missing])
    assert_allclose(word_counts.totals(seen.scaled[0]), 30.0)
    assert data.seen() is data
