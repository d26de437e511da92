"""Documents of one topic each: equal to sums over all assignments, whatever is missing."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kserket import metrics
from kserket.inference import document_classes as classes
from kserket.inference import word_counts

K = 3


def make(num_documents=40, seed=0):
    """Documents of `K` classes: words, and reports of a module below on another 4 classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(K, size=num_documents)
    topics = rng.dirichlet(np.full(12, 0.3), K)
    words = np.array([rng.multinomial(15, topics[k]) for k in truth], float)
    reported = np.where(rng.random(num_documents) < 0.1, rng.integers(4, size=num_documents), truth)
    reports = np.array([rng.dirichlet(0.3 + 3.0 * np.eye(4)[k]) for k in reported])
    return truth, words, reports


def modalities(words, reports):
    return [
        classes.Modality(word_counts.read(words)),
        classes.Modality(reports, is_report=True),
    ]


@pytest.fixture
def data():
    _, words, reports = make()
    return modalities(words, reports)


PRIOR = classes.Prior((0.1, 0.1), 1.0)


@pytest.fixture
def state(data):
    return classes.fit(data, PRIOR, K, num_sweeps=3, rng=0).state


def test_responsibilities_and_likelihood_equal_enumeration(state):
    _, words, reports = make(3, seed=4)
    topics, weights = classes.topics(state, PRIOR), classes.class_weights(state, PRIOR)
    found, log_likelihood = classes.responsibilities(modalities(words, reports), state, PRIOR)
    total, marginals = 0.0, np.zeros((3, K))
    for assignment in itertools.product(range(K), repeat=3):
        joint = 1.0
        for d, k in enumerate(assignment):
            below = sum(topics[1][k, j] * reports[d, j] for j in range(4))
            joint *= weights[k] * np.prod(topics[0][k] ** words[d]) * below
        total += joint
        marginals[np.arange(3), assignment] += joint
    assert_allclose(found, marginals / total, rtol=1e-10)
    assert_allclose(log_likelihood, np.log(total), rtol=1e-12)


def test_the_posterior_density_never_falls(data):
    for weight in (1.0, 0.25):
        weighted = [modality._replace(weight=weight) for modality in data]
        run = classes.fit(weighted, PRIOR, K, rng=1, n_init=1, num_sweeps=50, tolerance=None)
        assert len(run.objectives) == 50
        assert (np.diff(run.objectives) >= -1e-9 * np.abs(run.objectives[0])).all()


def test_classes_are_found(data):
    from kserket.metrics import clustering_accuracy

    truth = make()[0]
    run = classes.fit(data, PRIOR, K, rng=0)
    assert clustering_accuracy(truth, run.responsibilities.argmax(axis=1)) > 0.9


def test_statistics_of_parts_add_up(data, state):
    whole, _ = classes.expect(data, state, PRIOR)
    parts = [
        classes.expect([m._replace(values=m.values[rows]) for m in data], state, PRIOR)[0]
        for rows in (slice(0, 11), slice(11, 12), slice(12, None))
    ]
    merged = classes.merge(*parts)
    for a, b in zip(whole.state.words, merged.state.words, strict=True):
        assert_allclose(a, b, rtol=1e-10)
    assert_allclose(whole.state.documents, merged.state.documents)
    assert_allclose(whole.log_likelihood, merged.log_likelihood)


def test_counts_are_conserved(data, state):
    statistics, _ = classes.expect(data, state, PRIOR)
    assert_allclose(statistics.state.words[0].sum(axis=0), make()[1].sum(axis=0))
    assert_allclose(statistics.state.words[1].sum(), 40.0)
    assert_allclose(statistics.state.documents.sum(), 40.0)


def test_permuted_topics_give_permuted_answers(data, state):
    order = np.array([2, 0, 1])
    permuted = classes.State(tuple(w[order] for w in state.words), state.documents[order])
    found, log_likelihood = classes.responsibilities(data, permuted, PRIOR)
    expected, same = classes.responsibilities(data, state, PRIOR)
    assert_allclose(found, expected[:, order], rtol=1e-10)
    assert_allclose(log_likelihood, same)


@pytest.mark.parametrize("m", [0, 1])
def test_a_missing_modality_says_nothing(data, state, m):
    silent = [modality for modality in data]
    values = data[m].values.copy()
    values[5:9] = 0.0
    silent[m] = data[m]._replace(values=values)
    logs = classes.log_likelihoods(silent, state, PRIOR)
    assert_allclose(np.ptp(logs[m][5:9], axis=1), 0.0, atol=1e-12)
    found, _ = classes.responsibilities(silent, state, PRIOR)
    alone = classes.log_likelihoods(data, state, PRIOR)[1 - m][5:9]
    alone = alone + np.log(classes.class_weights(state, PRIOR))
    assert_allclose(found[5:9], np.exp(alone - np.logaddexp.reduce(alone, axis=1)[:, None]))
    statistics, _ = classes.expect(silent, state, PRIOR)
    assert_allclose(statistics.state.words[m].sum(), np.sum(values))


def test_a_class_prior_stands_in_the_place_of_weights_and_gives_classes_their_numbers(data):
    truth = make()[0]
    prior = np.full((40, K), 0.1) + 0.7 * np.eye(K)[truth]
    run = classes.fit(data, PRIOR, K, log_prior=np.log(prior), rng=3)
    assert np.mean(run.responsibilities.argmax(axis=1) == truth) > 0.9
    logs = sum(classes.log_likelihoods(data, run.state, PRIOR))
    found, _ = classes.responsibilities(data, run.state, PRIOR, np.log(prior))
    expected = np.exp(logs - logs.max(axis=1, keepdims=True)) * prior
    assert_allclose(found, expected / expected.sum(axis=1, keepdims=True))
    for row in ([1 / 3] * 3, [0.34, 0.33, 0.33], [0.6, 0.25, 0.15]):
        same = np.log(np.tile(row, (40, 1)))
        for log_prior in (same, same + 1e-4 * np.log(prior)):
            cold = classes.fit(data, PRIOR, K, log_prior=log_prior, rng=3)
            found = cold.responsibilities.argmax(axis=1)
            assert metrics.clustering_accuracy(truth, found) > 0.9


def test_classes_are_numbered_as_a_prior_of_frequencies_has_them():
    truth = np.repeat(np.arange(3), (60, 30, 10))
    words = np.random.default_rng(0).multinomial(20, 0.6 * np.eye(3)[truth] + 0.4 / 3)
    for order in itertools.permutations(range(3)):
        row = np.array([0.6, 0.3, 0.1])[list(order)]
        run = classes.fit(
            [classes.Modality(word_counts.read(words))],
            classes.Prior((0.1,)),
            3,
            log_prior=np.log(np.tile(row, (100, 1))),
            rng=0,
        )
        assert np.mean(run.responsibilities.argmax(axis=1) == np.argsort(order)[truth]) > 0.95


def test_a_prior_that_says_little_competes_with_the_data():
    rng = np.random.default_rng(1)
    truth = np.arange(300) % 10
    words = np.array([rng.multinomial(15, p) for p in (np.eye(10) * 0.6 + 0.04)[truth]])
    prior = rng.dirichlet(np.full(10, 3.0)) + 0.03 * rng.random((300, 10))  # frequencies and noise
    log_prior = np.log(prior / prior.sum(axis=1, keepdims=True))
    data = [classes.Modality(word_counts.read(words))]
    run = classes.fit(data, classes.Prior((0.1,)), 10, log_prior=log_prior, rng=1)
    assert metrics.clustering_accuracy(truth, run.responsibilities.argmax(axis=1)) > 0.97


def test_priors_act_in_logarithms():
    data = [classes.Modality(np.array([[400.0, 0.0], [0.0, 400.0]]))]
    state = classes.State((np.array([[99.0, 0.0], [0.0, 99.0], [0.0, 99.0]]),), np.full(3, 33.0))
    log_prior = np.array([[0.0, -800.0, -900.0]] * 2)
    found, _ = classes.responsibilities(data, state, PRIOR._replace(words=(0.1,)), log_prior)
    assert_array_equal(found.argmax(axis=1), [0, 1])
    assert found[1, 1] == 1.0


def shared_word(seed, num_documents=50, words=1):
    """Ten classes, counts in which 2 and 8 share a word, and a report that knows every class."""
    labels = np.random.default_rng(seed).permutation(np.arange(num_documents) % 10)
    counts = words * np.eye(10)[np.where(labels == 8, 2, labels)]
    return labels, counts, np.eye(10)[labels]


@pytest.mark.parametrize("certainty", [1.0, 0.95])
@pytest.mark.parametrize("words", [1, 4])
def test_a_sure_report_keeps_apart_what_looks_alike(words, certainty):
    for seed in range(5):
        labels, counts, report = shared_word(seed, words=words)
        report = certainty * report + (1.0 - certainty) / 10
        data = [classes.Modality(counts), classes.Modality(report, True)]
        run = classes.fit(data, classes.Prior((0.1, 0.1)), 10, rng=seed)
        assert metrics.clustering_accuracy(labels, run.responsibilities.argmax(axis=1)) == 1.0


def test_a_sure_report_that_is_wrong_gives_way():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    words = np.array([rng.multinomial(30, p) for p in (np.eye(3) * 0.7 + 0.1)[labels]], float)
    wrong = np.where(labels == 2, 1, labels)
    wrong[labels == 0] = np.where(rng.random(30) < 0.5, 0, 2)  # splits one class, merges two
    data = [classes.Modality(words), classes.Modality(np.eye(3)[wrong], True)]
    run = classes.fit(data, classes.Prior((0.1, 0.1)), 3, rng=0)
    assert metrics.clustering_accuracy(labels, run.responsibilities.argmax(axis=1)) > 0.95


def test_starts_are_reproducible_and_more_of_them_are_not_worse(data):
    runs = [classes.fit(data, PRIOR, K, rng=5, n_init=n) for n in (1, 12, 12)]
    assert_array_equal(runs[1].responsibilities, runs[2].responsibilities)
    assert runs[1].objectives[-1] >= runs[0].objectives[-1] - 1e-6


def test_sweeps_go_on_from_a_state_and_report(data):
    seen = []
    run = classes.fit(data, PRIOR, K, rng=0, n_init=1, num_sweeps=4, tolerance=None)
    again = classes.fit(
        data,
        PRIOR,
        K,
        state=run.state,
        num_sweeps=3,
        tolerance=None,
        callback=lambda *args: seen.append(args),
    )
    whole = classes.fit(data, PRIOR, K, rng=0, n_init=1, num_sweeps=7, tolerance=None)
    assert_allclose(again.objectives, whole.objectives[4:])
    assert [(sweep, total) for sweep, total, _, _ in seen] == [(1, 3), (2, 3), (3, 3)]

    assert seen[-1][3] is again.state

    def stop(sweep, num_sweeps, objective, state):
        raise StopIteration

    assert len(classes.fit(data, PRIOR, K, rng=0, callback=stop).objectives) == 1


def test_design_effects_are_found_from_words_alone():
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.full(30, 0.2), K)
    labels = np.arange(600) % K
    for repeats in (1, 20):
        words = repeats * np.array([rng.multinomial(12, topics[k]) for k in labels], float)
        found = classes.design_effect(word_counts.read(words), 0.1, K, np.random.default_rng(1))
        assert found == pytest.approx(repeats, rel=0.4)
    assert classes.design_effect(word_counts.read(words), 0.1, 1, np.random.default_rng(1)) == 1.0


def test_nothing_underflows():
    rng = np.random.default_rng(0)
    words = rng.poisson(300.0, (30, 500)).astype(float)
    words[4] = 0.0
    data = [classes.Modality(word_counts.read(words))]
    run = classes.fit(data, classes.Prior((0.1,)), 40, rng=0)
    assert np.isfinite(run.responsibilities).all()
    assert np.isfinite(run.objectives).all()
    assert_allclose(run.responsibilities.sum(axis=1), 1.0)
