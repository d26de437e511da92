"""Words that have nothing to do with classes are found, whatever their number, and only they."""

import itertools

import numpy as np
import pytest
from scipy import sparse, stats
from scipy.special import gammaln

import kserket as srk
from kserket import MultimodalLDA
from kserket.inference import document_classes, silent_words

N, K = 150, 3
LABELS = np.arange(N) % K


def words(rng, size, length, tightness=None, bunching=None):
    """Counts (N, size) of documents of one length.

    Args:
        rng: Random numbers.
        size: Number of words there are.
        length: Number of words of a document.
        tightness: How near the topics of classes lie to each other; None is one topic.
        bunching: How near the proportions of documents lie to their topic; None is at it.
    """
    shares = rng.dirichlet(np.full(size, 0.3))
    topics = np.tile(shares, (K, 1))
    if tightness is not None:
        topics = rng.dirichlet(tightness * shares + 1e-9, K)
    if bunching is None:
        return rng.multinomial(length, topics[LABELS]).astype(float)
    rows = [rng.multinomial(length, rng.dirichlet(bunching * topics[k] + 1e-9)) for k in LABELS]
    return np.array(rows, float)


def reported(wrong=0.05):
    """Class probabilities (N, K) that are sure, and wrong for some samples."""
    rng = np.random.default_rng(9)
    labels = np.where(rng.random(N) < wrong, rng.integers(K, size=N), LABELS)
    return 0.94 * np.eye(K)[labels] + 0.02


def silent_beside_a_report(counts, num_topics=K):
    data = [
        document_classes.Modality(reported(), is_report=True),
        document_classes.Modality(counts),
    ]
    prior = document_classes.Prior((0.1, 0.1))
    candidates = np.array([True, True])
    report, found = silent_words.find(data, [counts, counts], prior, num_topics, candidates)
    assert not report
    return bool(found)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("size", "length", "bunching"),
    [
        *itertools.product([20], [10], [None, 30.0, 5.0, 1.0]),
        *itertools.product([100], [30], [None, 30.0, 5.0, 1.0]),
        *itertools.product([1000], [100], [None, 30.0]),
    ],
)
def test_words_by_chance_are_silent(size, length, bunching, seed):
    counts = words(np.random.default_rng(seed), size, length, None, bunching)
    assert silent_beside_a_report(counts)
    assert silent_beside_a_report(sparse.csr_array(counts), None)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("tightness", "bunching"), [(1.0, None), (10.0, 30.0), (100.0, None)])
@pytest.mark.parametrize(("size", "length"), [(20, 10), (100, 30), (1000, 100)])
def test_words_of_classes_are_not(size, length, tightness, bunching, seed):
    counts = words(np.random.default_rng(seed), size, length, tightness, bunching)
    assert not silent_beside_a_report(counts)


def test_words_that_lead_to_classes_themselves_are_not_whatever_the_others_say():
    counts = words(np.random.default_rng(0), 100, 30, 10.0)
    order = np.random.default_rng(1).permutation(N)
    data = [document_classes.Modality(counts), document_classes.Modality(counts[order])]
    said, prior = [counts, counts[order]], document_classes.Prior((0.1, 0.1))
    assert not silent_words.find(data, said, prior, K, np.array([True, True])).any()


def test_where_nothing_is_known_of_classes_none_is_silent():
    rng = np.random.default_rng(0)
    said = [words(rng, 50, 20) for _ in range(2)]
    data, prior = [*map(document_classes.Modality, said)], document_classes.Prior((0.1, 0.1))
    assert not silent_words.find(data, said, prior, K, np.array([True, True])).any()
    both, flat = np.array([True, True]), np.full((N, K), 1 / K)
    for report, number in [(flat, K), (reported(), 1)]:
        data[1], said[1] = document_classes.Modality(report, is_report=True), report
        assert not silent_words.find(data, said, prior, number, both).any()
    prior = document_classes.Prior((0.1,))
    assert not silent_words.find(data[:1], said[:1], prior, K, np.array([True])).any()


def test_documents_are_dirichlet_multinomial_draws_around_the_topics_of_their_classes():
    rng = np.random.default_rng(0)
    counts = words(rng, 6, 8, 1.0, 5.0)
    topics = np.stack([counts[LABELS == k].sum(axis=0) for k in range(K)])
    topics /= topics.sum(axis=1, keepdims=True)

    def log_likelihood(tightness):
        total = 0.0
        for row, label in zip(counts, LABELS, strict=True):
            used = topics[label] > 0
            density = stats.dirichlet_multinomial(tightness * topics[label, used], 8)
            total += density.logpmf(row[used].astype(int))
            total -= gammaln(9.0) - gammaln(row + 1.0).sum()  # orders of the words
        return total

    expected = [log_likelihood(s) for s in silent_words._TIGHTNESS]
    found, worth = silent_words._best_bunching(sparse.csr_array(counts), LABELS)
    assert found == pytest.approx(max(expected), rel=1e-6)
    tightness = silent_words._TIGHTNESS[np.argmax(expected)]
    assert worth == pytest.approx(
        (tightness + 1) / (tightness + 8)
    )  # the variance is 8 + s to 1 + s


@pytest.mark.parametrize("tightness", [None, 3.0, 300.0])
def test_what_is_taken_back_is_what_evidence_leaves_of_the_highest_likelihood(tightness):
    counts = words(np.random.default_rng(0), 12, 20, tightness)
    counts = counts[:, counts.any(axis=0)]
    sums = np.stack([counts[LABELS == k].sum(axis=0) for k in range(K)]).astype(int)
    shares, sizes = sums.sum(axis=0) / sums.sum(), sums.sum(axis=1)
    alone = stats.multinomial.logpmf(sums, sizes, shares).sum()
    most = sum(stats.multinomial.logpmf(row, row.sum(), row / row.sum()) for row in sums)
    drawn = [
        stats.dirichlet_multinomial.logpmf(sums, s * shares, sizes).sum()
        for s in silent_words._TIGHTNESS
    ]
    expected = most - max(alone, *drawn)
    assert silent_words._optimism(sums.astype(float)) == pytest.approx(expected, abs=1e-3)


def test_few_documents_show_nothing():
    counts = words(np.random.default_rng(0), 100, 30)
    for few, num_topics in [(29, K), (39, 4), (29, None)]:
        data = [
            document_classes.Modality(reported()[:few], is_report=True),
            document_classes.Modality(counts[:few]),
        ]
        said, prior = [part.values for part in data], document_classes.Prior((0.1, 0.1))
        assert not silent_words.find(data, said, prior, num_topics, np.array([True, True])).any()


@pytest.mark.parametrize("num_topics", [K, None])
def test_a_class_prior_is_asked_as_other_modalities_are(num_topics):
    rng = np.random.default_rng(0)
    parts = [words(rng, 100, 30, 10.0), words(rng, 100, 30)]
    model = MultimodalLDA(num_topics, seed=0)
    with pytest.warns(UserWarning, match="Words of modality 1"):
        model.fit({"x": parts, "class_prior": reported()}, verbose=0)
    posterior = model.predict({"x": [parts[0], None], "class_prior": reported()})
    assert srk.metrics.clustering_accuracy(LABELS, posterior.argmax(axis=1)) > 0.95


@pytest.mark.parametrize("num_topics", [K, None])
def test_a_model_leaves_them_out_and_asks_again(num_topics):
    rng = np.random.default_rng(0)
    noise, signal = words(rng, 200, 30), words(rng, 200, 30, 10.0)
    report = srk.Categorical(reported())
    model = MultimodalLDA(num_topics, seed=0)
    with pytest.warns(UserWarning, match="Words of modality 1 of .* nothing to do with"):
        model.fit([report, noise], verbose=0)
    model.fit([report, noise], verbose=0)  # says it once
    posterior = model.predict([report, noise])
    assert srk.metrics.clustering_accuracy(LABELS, posterior.argmax(axis=1)) > 0.95
    np.testing.assert_allclose(posterior, model.predict([report, None]), atol=1e-4)
    assert np.ptp(model.predict([None, noise]), axis=0).max() < 1e-4
    model.fit([report, signal], verbose=0)
    posterior = model.predict([None, signal])
    assert srk.metrics.clustering_accuracy(LABELS, posterior.argmax(axis=1)) > 0.95
    for effects in (1, [1, 1e9]):  # what the user says goes, without a word
        MultimodalLDA(K, design_effects=effects, seed=0).fit([report, noise], verbose=0)


def test_a_sense_of_random_words_does_not_take_the_others_along(tmp_path):
    from sklearn.datasets import load_iris

    iris = load_iris()
    rng = np.random.default_rng(3)
    counts = sparse.csr_matrix(words(rng, 200, 30))
    senses = {"flower": iris.data, "words": counts}
    graph = srk.recipes.senses(senses, K=3, seed=0)
    with pytest.warns(UserWarning, match="Words of modality 1 of"):
        graph.fit(verbose=0)
    classes = graph.predict(senses).argmax(axis=1)
    assert srk.metrics.clustering_accuracy(iris.target, classes) > 0.95
    graph.save(tmp_path / "g.kserket")
    loaded = srk.load_graph(tmp_path / "g.kserket")
    np.testing.assert_array_equal(loaded.predict(senses), graph.predict(senses))
