"""The sampler of topics: against enumeration of all topics of all words."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import gammaln

from kserket.inference import topic_gibbs

K = 2
ALPHA, BETA = np.array([0.4, 0.9]), [0.3, np.array([0.2, 0.5])]
COUNTS = [np.array([[1, 2, 0], [0, 0, 1]]), np.array([[1, 0], [0, 1]])]
PRIOR = np.array([[0.7, 0.3], [0.2, 0.8]])


def log_polya(counts, parameters):
    """log of the Dirichlet-multinomial probability of a sequence with these counts."""
    total = np.sum(parameters)
    result = gammaln(total) - gammaln(total + np.sum(counts))
    return result + np.sum(gammaln(counts + parameters) - gammaln(parameters))


def joint(chain, topic, class_prior=None):
    """log p(words, topics) from its definition."""
    result = 0.0
    for d in range(2):
        counts = np.bincount(topic[chain.document == d], minlength=K)
        result += log_polya(counts, ALPHA)
        if class_prior is not None:
            result += counts @ np.log(class_prior[d])
    for m, size in enumerate((3, 2)):
        beta = np.broadcast_to(BETA[m], size)
        for k in range(K):
            members = (chain.modality == m) & (topic == k)
            columns = chain.column[members] - 3 * m
            result += log_polya(np.bincount(columns, minlength=size), beta)
    return result


def sample(num_sweeps, class_prior=None, rng=0, **kwargs):
    return topic_gibbs.sample(
        COUNTS,
        ALPHA,
        BETA,
        np.full((2, K), 0.5),
        class_prior=class_prior,
        num_sweeps=num_sweeps,
        rng=rng,
        **kwargs,
    )


@pytest.mark.parametrize("class_prior", [None, PRIOR])
def test_the_joint_probability_is_that_of_polya_urns(class_prior):
    chain, log_joints = sample(3, class_prior)
    assert_allclose(log_joints[-1], joint(chain, chain.topic, class_prior))


@pytest.mark.parametrize("class_prior", [None, PRIOR])
def test_chains_visit_topics_as_often_as_enumeration_has_them(class_prior):
    chain, _ = sample(1)
    num_words = len(chain.topic)
    every = np.array(list(itertools.product(range(K), repeat=num_words)))
    exact = np.exp([joint(chain, topic, class_prior) for topic in every])
    exact /= exact.sum()
    visits, total = np.zeros(len(every)), 20_000
    place = K ** np.arange(num_words)[::-1]

    class Visits:
        def __call__(self, sweep, num_sweeps, log_joint):
            visits[int(self.chain.topic @ place)] += 1

    visit = Visits()
    visit.chain = topic_gibbs.start(
        COUNTS, ALPHA, BETA, np.full((2, K), 0.5), None, class_prior, np.random.default_rng(1)
    )
    run, rng = topic_gibbs.scanner(), np.random.default_rng(2)
    for sweep in range(total):
        run(*visit.chain[:-1], rng.random(num_words))
        visit(sweep, total, None)
    assert 0.5 * np.abs(visits / total - exact).sum() < 0.03


@pytest.mark.parametrize("class_prior", [None, PRIOR])
def test_a_word_gets_each_topic_as_often_as_its_conditional_says(class_prior):
    """The first word drawn anew, all others held: against the joint with either topic."""
    begin = topic_gibbs.start(
        COUNTS, ALPHA, BETA, np.full((2, K), 0.5), None, class_prior, np.random.default_rng(1)
    )
    every = [np.r_[k, begin.topic[1:]] for k in range(K)]
    exact = np.exp([joint(begin, topic, class_prior) for topic in every])
    exact /= exact.sum()
    grid, run = (np.arange(2000) + 0.5) / 2000, topic_gibbs._scan
    drawn = []
    for uniform in grid:
        chain = begin._replace(
            **{name: getattr(begin, name).copy() for name in ("documents", "words", "totals")},
            **{
                name: getattr(begin, name)[:1].copy() for name in ("document", "column", "modality")
            },
            topic=begin.topic[:1].copy(),
        )
        run(*chain[:-1], np.array([uniform]))
        drawn.append(chain.topic[0])
    assert_allclose(np.bincount(drawn, minlength=K) / len(grid), exact, atol=1 / len(grid))


def test_compiled_and_plain_scans_walk_the_same_chain(monkeypatch):
    rng = np.random.default_rng(3)
    counts = [rng.poisson(1.0, (15, 8)), rng.poisson(2.0, (15, 3))]
    arguments = counts, np.full(4, 0.5), [0.1, 0.2], rng.dirichlet(np.ones(4), 15)
    compiled, figures = topic_gibbs.sample(*arguments, num_sweeps=5, rng=4)
    monkeypatch.setattr(topic_gibbs, "scanner", lambda: topic_gibbs._scan)
    plain, same = topic_gibbs.sample(*arguments, num_sweeps=5, rng=4)
    assert_array_equal(compiled.topic, plain.topic)
    assert_array_equal(figures, same)


def test_counts_are_conserved():
    rng = np.random.default_rng(5)
    counts = [rng.poisson(1.0, (15, 8)), rng.poisson(2.0, (15, 3))]
    counts[0][4] = counts[1][4] = 0
    chain, _ = topic_gibbs.sample(counts, np.ones(4), [1.0, 1.0], np.full((15, 4), 0.25), rng=0)
    for words, c in zip(topic_gibbs.words(chain), counts, strict=True):
        assert_array_equal(words.sum(axis=0), c.sum(axis=0))
    assert_array_equal(chain.documents.sum(axis=1), counts[0].sum(axis=1) + counts[1].sum(axis=1))
    assert_array_equal(chain.totals.sum(axis=1), [c.sum() for c in counts])


def test_a_sure_class_prior_decides():
    prior = np.array([[1.0, 0.0], [0.0, 1.0]])
    chain, _ = sample(5, prior)
    assert_array_equal(chain.topic, chain.document)


def test_any_number_of_topics():
    rng = np.random.default_rng(6)
    counts = [rng.poisson(0.5, (10, 6))]
    chain, log_joints = topic_gibbs.sample(
        counts, np.full(300, 0.1), [0.1], np.full((10, 300), 1 / 300), num_sweeps=3, rng=0
    )
    assert np.isfinite(log_joints).all() and chain.topic.max() < 300


def test_it_can_be_stopped():
    def stop(sweep, num_sweeps, log_joint, chain):
        raise StopIteration

    assert len(sample(50, callback=stop)[1]) == 1
