"""Topic models: every formula against one written out cell by cell, or the sum over all topics."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize
from scipy.special import gammaln

from kserket.inference import topic_model, word_counts

K = 3
ALPHA = np.array([0.3, 0.5, 0.2])
BETA = [0.1, np.linspace(0.1, 0.4, 5)]


def make(num_documents=12, seed=0, fractions=True):
    """Two modalities, one sparse and one dense, with documents that lack either or both."""
    rng = np.random.default_rng(seed)
    first = rng.poisson(0.25, (num_documents, 9)).astype(float)
    second = rng.poisson(3.0, (num_documents, 5)).astype(float)
    if fractions:
        first, second = first * rng.uniform(0.3, 2.0, first.shape), second * 0.25
    first[1], second[2], first[3], second[3] = 0.0, 0.0, 0.0, 0.0
    return [word_counts.read(first), word_counts.read(second)]


def dense(counts):
    return [c if isinstance(c, np.ndarray) else c.toarray() for c in counts]


@pytest.fixture
def counts():
    return make()


@pytest.fixture
def topics():
    rng = np.random.default_rng(1)
    return tuple(rng.dirichlet(np.ones(size), K) for size in (9, 5))


@pytest.mark.parametrize("with_prior", [False, True])
def test_a_sweep_is_the_zero_order_update_of_every_cell(counts, with_prior):
    rng = np.random.default_rng(2)
    start = rng.dirichlet(np.ones(K), 12)
    prior = rng.dirichlet(np.ones(K), 12) if with_prior else None
    arrays = dense(counts)
    gammas = [np.repeat((0.9 * start + 0.1 / K)[:, None], a.shape[1], axis=1) for a in arrays]
    for sweep in (1, 2):
        documents = sum(np.einsum("dw,dwk->dk", a, g) for a, g in zip(arrays, gammas, strict=True))
        log_probability = 0.0
        for m, a in enumerate(arrays):
            words = np.einsum("dw,dwk->wk", a, gammas[m])
            beta = np.broadcast_to(BETA[m], a.shape[1])
            new = gammas[m].copy()
            for d, w in np.argwhere(a > 0):
                own = min(a[d, w], 1.0) * gammas[m][d, w]
                left = documents[d] - own + ALPHA
                left = left * prior[d] if with_prior else left
                joint = left * (words[w] - own + beta[w]) / (words.sum(0) - own + beta.sum())
                new[d, w] = joint / joint.sum()
                log_probability += a[d, w] * np.log(joint.sum() / left.sum())
            gammas[m] = new
        fit = topic_model.fit(counts, ALPHA, BETA, start, class_prior=prior, num_sweeps=sweep)
        assert_allclose(fit.objectives[-1], log_probability, rtol=1e-9)
        for m, a in enumerate(arrays):
            assert_allclose(fit.words[m], np.einsum("dw,dwk->kw", a, gammas[m]), atol=1e-10)
        documents = sum(np.einsum("dw,dwk->dk", a, g) for a, g in zip(arrays, gammas, strict=True))
        assert_allclose(fit.documents, documents, atol=1e-10)


@pytest.mark.parametrize("with_prior", [False, True])
def test_sure_of_all_other_words_a_sweep_gives_the_exact_conditional(with_prior):
    """Each word's topics, from the joint probability of all words and topics (Polya urns)."""
    table = np.array([[1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]])
    alpha, beta = ALPHA[:2], 0.3
    prior = np.array([[0.7, 0.3], [0.2, 0.8]])
    word_topic = np.array([0, 1, 0, 1])  # of both documents: what is believed beforehand
    start = (np.stack([word_topic == k for k in range(2)]) + 1e-30,)
    tokens = np.argwhere(table > 0)

    def log_urn(counts, parameters):
        ends = gammaln(counts + parameters) - gammaln(parameters)
        total = gammaln(np.sum(parameters)) - gammaln(np.sum(counts + parameters))
        return total + np.sum(ends)

    def joint(topics):
        result = sum(
            log_urn(np.bincount(topics[tokens[:, 0] == d], minlength=2), alpha) for d in range(2)
        )
        for k in range(2):
            own = tokens[topics == k, 1]
            result += log_urn(np.bincount(own, minlength=4), np.full(4, beta))
        return result + (np.log(prior[tokens[:, 0], topics]).sum() if with_prior else 0.0)

    believed = word_topic[tokens[:, 1]]
    expected = np.zeros((2, 4))
    for n, (_, w) in enumerate(tokens):
        logs = [joint(np.where(np.arange(len(tokens)) == n, k, believed)) for k in range(2)]
        expected[:, w] += np.exp(logs - np.logaddexp.reduce(logs))
    fit = topic_model.fit(
        [word_counts.read(table)],
        alpha,
        [beta],
        start,
        class_prior=prior if with_prior else None,
        num_sweeps=1,
    )
    assert_allclose(fit.words[0], expected, rtol=1e-9)


def test_counts_are_conserved(counts):
    fit = topic_model.fit(counts, ALPHA, BETA, np.full((12, K), 1 / K), num_sweeps=5)
    for words, array in zip(fit.words, dense(counts), strict=True):
        assert_allclose(words.sum(axis=0), array.sum(axis=0))
    assert_allclose(fit.documents.sum(axis=1), sum(a.sum(axis=1) for a in dense(counts)))


def test_permuted_topics_give_permuted_answers(counts, topics):
    order = np.array([2, 0, 1])
    start = np.random.default_rng(3).dirichlet(np.ones(K), 12)
    one = topic_model.fit(counts, ALPHA, BETA, start, num_sweeps=10)
    other = topic_model.fit(counts, ALPHA[order], BETA, start[:, order], num_sweeps=10)
    assert_allclose(other.objectives, one.objectives, rtol=1e-9)
    assert_allclose(other.documents, one.documents[:, order], atol=1e-9)


@pytest.mark.parametrize("with_prior", [False, True])
def test_proportions_are_the_maximum(counts, topics, with_prior):
    prior = np.random.default_rng(4).dirichlet(np.ones(K), 12) if with_prior else np.ones((12, K))
    found = topic_model.proportions(
        counts,
        topics,
        ALPHA,
        class_prior=prior if with_prior else None,
        max_sweeps=5000,
        tolerance=1e-12,
    )
    assert_allclose(found.sum(axis=1), 1.0)
    arrays = dense(counts)
    for d in (0, 1, 2, 5):

        def loss(logits, d=d):
            theta = np.exp(logits - np.logaddexp.reduce(logits))
            weight = theta * prior[d]
            said = sum(a[d] @ np.log(weight @ phi) for a, phi in zip(arrays, topics, strict=True))
            return -(said + ALPHA @ np.log(theta))

        best = optimize.minimize(loss, np.zeros(K), tol=1e-12).x
        assert_allclose(found[d], np.exp(best - np.logaddexp.reduce(best)), atol=2e-4)
    assert_allclose(found[3], ALPHA / ALPHA.sum())


def test_documents_are_folded_in_alike_in_chunks_and_alone(counts, topics):
    whole = topic_model.proportions(counts, topics, ALPHA)
    for rows in (slice(0, 1), slice(4, 9), slice(2, 4)):
        part = topic_model.proportions([c[rows] for c in counts], topics, ALPHA)
        assert_allclose(part, whole[rows], atol=1e-12)


def test_a_missing_modality_is_one_left_out(counts, topics):
    found = topic_model.proportions(counts, topics, ALPHA)
    alone = topic_model.proportions(counts[1:], topics[1:], ALPHA)
    assert_allclose(found[1], alone[1], atol=1e-12)
    alone = topic_model.proportions(counts[:1], topics[:1], ALPHA)
    assert_allclose(found[2], alone[2], atol=1e-12)


def test_expected_words_are_sums_over_documents(counts, topics):
    theta = topic_model.proportions(counts, topics, ALPHA)
    whole = topic_model.expected_words(counts, theta, topics)
    for found, array, phi in zip(whole, dense(counts), topics, strict=True):
        gamma = theta[:, :, None] * phi
        assert_allclose(found, np.sum(array[:, None] * gamma / gamma.sum(1, keepdims=True), 0))
    parts = [
        topic_model.expected_words([c[rows] for c in counts], theta[rows], topics)
        for rows in (slice(0, 7), slice(7, None))
    ]
    for found, *pieces in zip(whole, *parts, strict=True):
        assert_allclose(found, sum(pieces))


def test_log_probability_is_that_of_the_mixture_of_topics(counts, topics):
    theta = np.random.default_rng(5).dirichlet(np.ones(K), 12)
    for c, array, phi in zip(counts, dense(counts), topics, strict=True):
        found = topic_model.log_probabilities(c, theta, phi)
        assert_allclose(found, np.sum(array * np.log(theta @ phi), axis=1))


def test_blocks_change_nothing(counts, topics, monkeypatch):
    start = np.random.default_rng(6).dirichlet(np.ones(K), 12)
    results = []
    for size in (2**15, 4):
        monkeypatch.setattr(topic_model, "BLOCK_CELLS", size)
        fit = topic_model.fit(counts, ALPHA, BETA, start, num_sweeps=4)
        theta = topic_model.proportions(counts, topics, ALPHA)
        logs = topic_model.log_probabilities(counts[0], theta, topics[0])
        results.append((*fit.words, fit.objectives, theta, logs))
    for one, other in zip(*results, strict=True):
        assert_allclose(one, other, rtol=1e-10)


def test_topics_that_mix_are_found():
    rng = np.random.default_rng(7)
    phi = np.zeros((K, 30))
    for k in range(K):
        phi[k, 10 * k : 10 * k + 10] = 0.1
    theta = rng.dirichlet(np.full(K, 0.5), 200)
    counts = [word_counts.read(np.array([rng.multinomial(600, p) for p in theta @ phi]))]
    start = rng.dirichlet(np.ones(K), 200)
    fit = topic_model.fit(counts, np.full(K, 0.1), [0.1], start, num_sweeps=100)
    found = topic_model.topics(fit.words, [0.1])
    order = [int(found[0][k].argmax()) // 10 for k in range(K)]
    assert_array_equal(np.sort(order), np.arange(K))
    assert_allclose(found[0], phi[order], atol=0.02)
    folded = topic_model.proportions(counts, found, np.full(K, 0.1))
    assert np.abs(folded - theta[:, order]).mean() < 0.02


def test_it_goes_on_from_topics_it_has_found_and_can_be_stopped(counts):
    start = np.random.default_rng(8).dirichlet(np.ones(K), 12)
    run = topic_model.fit(counts, ALPHA, BETA, start, num_sweeps=300)
    again = topic_model.fit(
        counts, ALPHA, BETA, topic_model.topics(run.words, BETA), num_sweeps=300
    )
    assert_allclose(again.documents, run.documents, atol=0.1)

    def stop(sweep, num_sweeps, objective, fit):
        assert (sweep, num_sweeps) == (1, 300)
        raise StopIteration

    fit = topic_model.fit(counts, ALPHA, BETA, start, num_sweeps=300, callback=stop)
    assert len(fit.objectives) == 1
