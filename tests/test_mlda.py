"""`MultimodalLDA` and `mlda.MLDA`: messages against enumeration, and their lives."""

import contextlib
import itertools
import subprocess
import sys
import textwrap
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

import kserket as srk
from kserket import floors, gmm, metrics, mlda, mm, storage
from kserket.core import tensors as core_tensors
from kserket.inference import document_classes, topic_learning, word_counts
from kserket.mlda import rule

K = 3


def documents(num_documents=90, seed=0):
    """Labels, words (N, 12), sounds (N, 5), and reports on 4 classes below."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_documents) % K
    words = rng.multinomial(12, 0.1 / 3 + 0.6 * np.repeat(np.eye(K)[labels], 4, axis=1) / 4)
    sounds = rng.multinomial(6, np.eye(5)[labels] * 0.5 + 0.1)
    reported = np.where(rng.random(num_documents) < 0.2, 3, labels)
    reports = 0.05 + 0.8 * np.eye(4)[reported]
    return labels, words, sounds, srk.Categorical(reports)


def fitted(alpha=0, **options):
    _, words, _, reports = documents()
    model = srk.MultimodalLDA(K, alpha=alpha, seed=0, n_init=2, **options)
    model.fit([words, reports], epochs=20, verbose=0)
    return model


class Teller(srk.Module):
    """Sends a given message; hears what comes back."""

    def __init__(self, message, name="teller"):
        super().__init__(name, learnable=False)
        self.set_forward_msg(message)


def connected(inputs, **options):
    """A module above tellers, after one update."""
    module = mlda.MLDA(K, save_dir=None, seed=0, n_init=2, **options)
    tellers = [Teller(message) for message in inputs]
    module.connect(*tellers)
    module.update()
    return module, tellers


# Messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_prior", [False, True])
def test_messages_and_posterior_equal_enumeration(with_prior):
    """Exact in a tree of classes: over the topic, and the class below each report."""
    _, words, _, reports = documents()
    other = srk.Categorical(np.random.default_rng(3).dirichlet(np.ones(2), len(words)))
    module, tellers = connected([words, reports, other], design_effects=1)
    module.trainable = False
    prior = np.random.default_rng(4).dirichlet(np.ones(K), len(words))
    if with_prior:
        module.set_backward_msg(prior)
    module.update()
    phi, weights = module.model.topics, module.model.topic_weights
    inputs = [words, reports.probs, other.probs]
    for d in range(4):
        above = prior[d] if with_prior else weights

        def joint(leave_out, use_prior, d=d, above=above):
            """(K, 4, 2) of the topic and both classes below, unnormalized."""
            table = np.ones((K, 4, 2))
            for k, i, j in itertools.product(range(K), range(4), range(2)):
                table[k, i, j] = phi[1][k, i] * phi[2][k, j]
                table[k, i, j] *= above[k] if use_prior else 1.0
                if 0 not in leave_out:
                    table[k, i, j] *= np.prod(phi[0][k] ** words[d])
                if 1 not in leave_out:
                    table[k, i, j] *= inputs[1][d, i]
                if 2 not in leave_out:
                    table[k, i, j] *= inputs[2][d, j]
            return table / table.sum()

        evidence = joint((), not with_prior).sum(axis=(1, 2))
        assert_allclose(module.get_forward_msg()[d], evidence, rtol=1e-9)
        assert_allclose(module.posterior[d], joint((), True).sum(axis=(1, 2)), rtol=1e-9)
        back = [teller.get_backward_msg()[d] for teller in tellers]
        assert_allclose(back[1], joint((1,), True).sum(axis=(0, 2)), rtol=1e-9)
        assert_allclose(back[2], joint((2,), True).sum(axis=(0, 1)), rtol=1e-9)
        others = joint((0,), True).sum(axis=(1, 2))
        assert_allclose(back[0], others @ phi[0], rtol=1e-6)


def test_an_observer_of_the_same_classes_is_told_the_topic_in_its_own_numbers():
    labels, words, _, _ = documents()
    taken_for_one = np.array([2, 2, 1])[labels]  # class 0 is left over
    report = srk.Categorical(0.01 + 0.97 * np.eye(K)[taken_for_one])
    module, (_, teller) = connected([words, report])
    told = np.asarray(teller.get_backward_msg()).argmax(axis=1)
    assert metrics.clustering_accuracy(labels, told) > 0.9
    assert_array_equal(told[labels == 2], 1)
    assert set(told[labels < 2]) == {0, 2}
    others = srk.Categorical.from_log(module.model.beliefs([words, report]).others[1]).probs
    assert_allclose(teller.get_backward_msg(), others[:, module.model.topic_of_class(1)], rtol=1e-9)

    apart, (_, teller) = connected([words, report], shared_classes=False)
    others = srk.Categorical.from_log(apart.model.beliefs([words, report]).others[1]).probs
    assert_allclose(teller.get_backward_msg(), others @ apart.model.topics[1], rtol=1e-9)


def test_a_mixture_learns_from_words_to_tell_apart_what_it_took_for_one():
    rng, labels = np.random.default_rng(0), np.arange(300) % K
    points = np.array([[0.0, 0.0], [0.0, 1.5], [9.0, 0.0]])[labels] + rng.normal(size=(300, 2))
    points[labels == 2] *= [1.0, 4.0]  # long enough to be taken for two
    words = rng.multinomial(30, 0.02 + 0.94 * np.eye(K)[labels])
    accuracy = {}
    for shared in (True, False):
        gmm1 = gmm.GMM(K, category=labels, save_dir=None)
        gmm1.connect(srk.Observation(points, name="points"))
        mlda1 = mlda.MLDA(K, shared_classes=shared, save_dir=None)
        mlda1.connect(srk.Observation(words, name="words"), gmm1)
        history = srk.Graph(mlda1, seed=0).fit(rounds=4, verbose=0).history["gmm/accuracy"]
        accuracy[shared] = history[-1]
        assert history[0] < 0.8
    assert accuracy[True] > 0.99
    assert accuracy[True] > accuracy[False]


@pytest.mark.parametrize("with_prior", [False, True])
def test_mixed_documents_tell_each_input_what_the_others_say(with_prior):
    _, words, sounds, _ = documents()
    module, tellers = connected([words, sounds], alpha=0.3)
    model, prior = module.model, np.random.default_rng(4).dirichlet(np.ones(K), len(words))
    module.trainable = False
    if with_prior:
        module.set_backward_msg(prior)
    module.update()
    factor = prior if with_prior else 1.0
    alone = [
        model.predict([words, None]) * factor,
        model.predict([None, sounds]) * factor,
    ]
    for m in (0, 1):
        theta = alone[1 - m] / alone[1 - m].sum(axis=1, keepdims=True)
        assert_allclose(tellers[m].get_backward_msg(), theta @ model.topics[m], rtol=1e-5)
    both = model.predict([words, sounds])
    assert_allclose(np.asarray(module.get_forward_msg()), both, rtol=1e-9)
    posterior = both * factor
    assert_allclose(module.posterior, posterior / posterior.sum(axis=1, keepdims=True), rtol=1e-9)


@pytest.mark.parametrize("alpha", [0, 0.3])
def test_a_missing_modality_is_one_that_was_left_out(alpha):
    _, words, _, reports = documents()
    model = fitted(alpha)
    expected = model.predict([words, None])
    for nothing in (
        np.full((90, 4), np.nan),
        np.zeros((90, 4)),
        srk.Categorical(reports.probs, np.ones(90, bool)),
        np.full((90, 4), 0.25),
    ):
        assert_allclose(model.predict([words, nothing]), expected, rtol=1e-9)
    some = np.array(reports)
    some[3:7] = np.nan
    found = model.predict([words, some])
    assert_allclose(found[3:7], expected[3:7], rtol=1e-9)
    assert_allclose(found[7:], model.predict([words, reports])[7:], rtol=1e-9)
    nothing_at_all = model.predict([np.full((2, 12), np.nan), None])
    assert_allclose(nothing_at_all, np.tile(model.topic_weights, (2, 1)), rtol=1e-9)


def test_a_missing_modality_equals_summing_over_all_that_it_may_hold():
    _, words, _, _ = documents()
    single = np.eye(5)[np.arange(90) % 5]
    report = srk.Categorical(0.1 + 0.6 * np.eye(4)[np.arange(90) % 4])
    for other, size in ((single, 5), (report, 4)):
        model = srk.MultimodalLDA(K, design_effects=1, seed=0, n_init=2)
        model.fit([words, other], epochs=5, verbose=0)
        every = [np.tile(row, (90, 1)) for row in np.eye(size)]
        logs = [model.log_likelihood([words, one]) for one in every]
        without = model.log_likelihood([words, None])
        assert_allclose(np.logaddexp.reduce(logs), without, rtol=1e-10)
        chances = np.exp(np.array(logs) - without).T
        assert_allclose(model.predict_modality([words, None], 1), chances, rtol=1e-8)
        posterior = sum(
            chance[:, None] * model.predict([words, one])
            for chance, one in zip(chances.T, every, strict=True)
        )
        assert_allclose(posterior, model.predict([words, None]), rtol=1e-8)


@pytest.mark.parametrize("options", [{}, {"alpha": 0.3}, {"inference": "gibbs"}])
def test_a_modality_may_be_missing_in_learning_and_come_later(options):
    labels, words, sounds, _ = documents(150)
    model = srk.MultimodalLDA(K, seed=0, **options)
    model.fit([words, np.full((150, 5), np.nan)], verbose=0)
    assert metrics.clustering_accuracy(labels, model.predict([words, None]).argmax(axis=1)) > 0.9
    assert_allclose(model.topics[1], 0.2)
    often = 50 * sounds
    model.fit([words, often], verbose=0)
    assert metrics.clustering_accuracy(labels, model.predict([None, often]).argmax(axis=1)) > 0.85
    assert_array_equal(model.lengths, [12, 300])
    if not model.is_mixed:
        assert model._effects()[1] == pytest.approx(50, rel=0.5)


@pytest.mark.parametrize("alpha", [0, 0.3])
def test_any_modality_is_predicted_from_the_others(alpha):
    labels, words, sounds, _ = documents()
    model = srk.MultimodalLDA(K, alpha=alpha, seed=0)
    model.fit([words, sounds], verbose=0)
    sounds_from_words = model.predict_modality([words, None], 1)
    assert_allclose(sounds_from_words.sum(axis=1), 1.0)
    assert_allclose(sounds_from_words, model.predict_modality([words, sounds], 1), rtol=1e-9)
    assert np.mean(sounds_from_words.argmax(axis=1) == labels) > 0.9
    words_from_sounds = model.predict_modality([None, sounds], 0)
    assert np.mean(words_from_sounds.argmax(axis=1) // 4 == labels) > 0.7


def test_evidence_does_not_hold_the_prior():
    _, words, _, reports = documents()
    module, _ = connected([words, reports])
    module.trainable = False
    module.set_backward_msg(np.full((90, K), 1.0 / K))
    module.update()
    before = np.array(module.get_forward_msg())
    module.set_backward_msg(np.random.default_rng(0).dirichlet(np.ones(K), 90))
    module.update()
    assert_array_equal(np.array(module.get_forward_msg()), before)


@pytest.mark.parametrize("options", [{}, {"alpha": 0.3}, {"inference": "gibbs"}])
def test_a_first_update_under_a_prior_takes_the_numbers_of_topics_from_it(options):
    labels, words, sounds, _ = documents()
    module = mlda.MLDA(K, [12, 6], seed=0, save_dir=None, **options)
    module.connect(Teller(words), Teller(sounds))
    hint = np.full((90, K), 0.25) + 0.25 * np.eye(K)[labels]
    module.set_backward_msg(hint)
    module.update()
    assert np.mean(np.argmax(module.get_forward_msg(), axis=1) == labels) > 0.9
    module.set_backward_msg(None)
    before = module.posterior.argmax(axis=1)
    for _ in range(3):
        module.update()
    assert np.mean(module.posterior.argmax(axis=1) == before) > 0.9  # and keeps them


# Learning -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"alpha": 0.1}, {"inference": "gibbs"}])
def test_classes_are_found_and_two_modalities_are_better_than_one(options):
    labels, words, sounds, _ = documents(300)
    accuracy = {}
    for name, x in {"words": [words], "sounds": [sounds], "both": [words, sounds]}.items():
        model = srk.MultimodalLDA(K, seed=0, **options)
        model.fit(x, verbose=0)
        accuracy[name] = metrics.clustering_accuracy(labels, model.predict(x).argmax(axis=1))
    assert accuracy["both"] > 0.95
    assert accuracy["both"] >= max(accuracy["words"], accuracy["sounds"])


@pytest.mark.parametrize("alpha", [0, 0.3])
def test_sparse_and_dense_counts_give_one_result(alpha):
    _, words, _, reports = documents()
    wide = np.hstack([words, np.zeros((90, 60), int)])
    results = []
    for form in (np.asarray, sparse.csr_array, sparse.dok_array, lambda x: x.astype("float32")):
        model = srk.MultimodalLDA(K, alpha=alpha, seed=0, n_init=2)
        model.fit([form(wide), reports], epochs=10, verbose=0)
        results.append(model.predict([form(wide), reports]))
    for other in results[1:]:
        assert_allclose(other, results[0], rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"alpha": 0.3}])
def test_other_numbers_of_words_and_classes_change_nothing(options):
    """Words and the classes of a report in another order: the same topics."""
    _, words, _, reports = documents()
    some_words, some_classes = np.random.default_rng(1).permutation(12), [2, 0, 3, 1]
    inputs = [
        [words, reports],
        [words[:, some_words], srk.Categorical(reports.probs[:, some_classes])],
    ]
    prior = np.random.default_rng(4).dirichlet(np.ones(K), 90)  # starts are then no draw
    found = []
    for x in inputs:
        model = srk.MultimodalLDA(K, seed=0, design_effects=2, **options)
        model.fit({"x": x, "class_prior": prior}, epochs=5, verbose=0)
        found.append((model.predict(x), *model.topics))
    assert_allclose(found[1][0], found[0][0], rtol=1e-6)
    assert_allclose(found[1][1], found[0][1][:, some_words], rtol=1e-6)
    assert_allclose(found[1][2], found[0][2][:, some_classes], rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"alpha": 0.3}])
def test_other_numbers_of_topics_change_nothing_else(options):
    _, words, _, reports = documents()
    prior = np.random.default_rng(4).dirichlet(np.ones(K), 90)
    order = [2, 0, 1]
    found = []
    for above in (prior, prior[:, order]):
        model = srk.MultimodalLDA(K, seed=0, design_effects=2, **options)
        x = {"x": [words, reports], "class_prior": above}
        history = model.fit(x, epochs=5, verbose=0).history
        found.append((model.predict(x), *model.topics, *history.values()))
    assert_allclose(found[1][0], found[0][0][:, order], rtol=1e-6)
    for m in (1, 2):
        assert_allclose(found[1][m], found[0][m][order], rtol=1e-6)
    assert_allclose(found[1][3], found[0][3], rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"alpha": 0.3}, {"inference": "gibbs"}])
def test_every_word_is_counted_once(options):
    _, words, sounds, _ = documents()
    words, sounds = words.astype(float), sounds.astype(float)
    words[3], sounds[4] = np.nan, np.nan
    model = srk.MultimodalLDA(K, seed=0, design_effects=1, **options)
    model.fit([words, sounds], epochs=5, verbose=0)
    for counted, given in zip(model.state.words, (words, sounds), strict=True):
        assert_allclose(counted.sum(axis=0), np.nansum(given, axis=0), rtol=1e-9)


def test_proportions_do_not_say_how_many_words_they_stand_for():
    labels, words, sounds, reports = documents(150)
    x = [part / part.sum(axis=1, keepdims=True) for part in (words, sounds)]
    with (
        pytest.warns(UserWarning, match="modality 0 .* sum to 1.*modality_weights"),
        pytest.warns(UserWarning, match="modality 1 .* sum to 1.*modality_weights"),
    ):
        srk.MultimodalLDA(K, seed=0).fit(x, epochs=1, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = srk.MultimodalLDA(K, modality_weights=[50, 50], seed=0)
        model.fit(x, verbose=0)
        srk.MultimodalLDA(K, seed=0).fit([np.eye(K)[labels], reports], epochs=1, verbose=0)
    assert metrics.clustering_accuracy(labels, model.predict(x).argmax(axis=1)) > 0.95


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.coo_matrix])
def test_observations_of_sparse_counts_are_those_of_dense_ones(form, monkeypatch):
    labels, words, _, _ = documents()
    monkeypatch.setattr(storage, "MEMORY_LIMIT", 1000)
    monkeypatch.setattr(storage, "CHUNK_BYTES", 2000)
    posteriors = []
    for counts in (words, form(words)):
        module = mlda.MLDA(K, category=labels, save_dir=None, n_init=2, itr=5)
        module.connect(srk.Observation(counts, name="words"))
        graph = srk.Graph(module, seed=0)
        graph.fit(1, verbose=0)
        posteriors.append((module.posterior, graph.predict(counts)))
    assert_array_equal(*(known for known, _ in posteriors))
    assert_array_equal(*(predicted for _, predicted in posteriors))


def test_weights_are_what_every_document_has():
    _, words, sounds, reports = documents()
    words = words.copy()
    words[2] = 0
    model = srk.MultimodalLDA(K, alpha=0.5, modality_weights=[200, 50, 30], seed=0)
    model.fit([words, sounds, reports], epochs=2, verbose=0)
    for m, total in enumerate([200, 50, 30]):
        counted = model.state.words[m].sum()
        assert_allclose(counted, total * (89 if m == 0 else 90), rtol=1e-9)
    gibbs = srk.MultimodalLDA(K, inference="gibbs", modality_weights=[200, 50, 30], seed=0)
    gibbs.fit([words, sounds, reports], epochs=2, verbose=0)
    assert [w.sum() for w in gibbs.state.words] == [200 * 89, 50 * 90, 30 * 90]


def test_weights_say_how_much_modalities_count_beside_each_other():
    _, words, sounds, _ = documents()
    model = {}
    for weights in ([100, 100], [200, 200], [100, 10]):
        model[weights[1]] = srk.MultimodalLDA(K, modality_weights=weights, seed=0)
        model[weights[1]].fit([words, sounds], verbose=0)
    once, twice = (model[total].predict([words, sounds]) for total in (100, 200))
    same = (once.T @ twice).argmax(axis=1)  # starts are drawn, and number topics
    assert_allclose(twice[:, same], once, atol=0.02)
    powers = {name: np.array(one.prior.words) / one.beta for name, one in model.items()}
    assert_allclose(powers[10], powers[100], rtol=0.3)  # of the tenth of the sounds


def test_repeating_every_word_says_nothing_new():
    _, words, sounds, _ = documents()
    once, often = (srk.MultimodalLDA(K, seed=0) for _ in range(2))
    once.fit([words, sounds], verbose=0)
    often.fit([words, 50 * sounds], verbose=0)
    found = [
        model.predict(x).argmax(axis=1)
        for model, x in ((once, [words, sounds]), (often, [words, 50 * sounds]))
    ]
    assert metrics.clustering_accuracy(*found) > 0.9
    ratio = often._effects()[1] / once._effects()[1]
    assert ratio == pytest.approx(50, rel=0.5)


@pytest.mark.parametrize("alpha", [0, 0.3])
def test_parts_of_the_documents_add_up(alpha):
    _, words, _, reports = documents()
    whole, parted = fitted(alpha), fitted(alpha)
    whole.merge(whole.statistics([words, reports]))
    parts = [slice(0, 20), slice(20, 21), slice(21, None)]
    parted.merge(*(parted.statistics([words[rows], reports.take(rows)]) for rows in parts))
    for one, other in zip(whole.get_weights(), parted.get_weights(), strict=True):
        assert_allclose(one, other, rtol=1e-8)
    counted = sum(w.sum() for w in whole.state.words)
    parted.partial_fit([words[:10], reports.take(slice(0, 10))])
    assert sum(w.sum() for w in parted.state.words) > counted


@pytest.mark.parametrize("alpha", [0, 0.3])
def test_documents_do_not_depend_on_their_neighbors(alpha):
    _, words, _, reports = documents()
    model = fitted(alpha)
    whole = model.predict([words, reports])
    part = model.predict([words[7:9], reports.take(slice(7, 9))])
    assert_allclose(part, whole[7:9], rtol=1e-9)


@pytest.mark.parametrize(
    "figure, options",
    [
        ("log_posterior", {}),
        ("log_predictive", {"alpha": 0.3}),
        ("log_joint", {"inference": "gibbs"}),
    ],
)
def test_fit_goes_on_reports_every_sweep_and_can_be_stopped(figure, options):
    _, words, sounds, _ = documents()
    model = srk.MultimodalLDA(K, seed=0, tolerance=None, n_init=1, **options)
    history = model.fit([words, sounds], epochs=7, verbose=0)
    assert list(history.history) == [figure] and len(history.history[figure]) == 7
    if figure == "log_posterior":
        again = model.fit([words, sounds], epochs=5, verbose=0).history[figure]
        assert again[0] >= history.history[figure][-1] - 1e-6
        assert (np.diff(again) >= -1e-6).all()

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    history = model.fit([words, sounds], epochs=7, callbacks=[Stop()], verbose=0)
    assert len(history.history[figure]) == 2


def test_perplexity_is_that_of_predicted_words():
    _, words, sounds, _ = documents()
    model = srk.MultimodalLDA(K, alpha=0.2, seed=0)
    model.fit([words, sounds], verbose=0)
    theta = model.predict([words, None])
    expected = [
        np.exp(-np.sum(x * np.log(theta @ phi)) / x.sum())
        for x, phi in zip([words, sounds], model.topics, strict=True)
    ]
    assert_allclose(model.perplexity([words, sounds], given=[words, None]), expected)
    itself = model.perplexity([words, sounds])
    assert itself[1] < expected[1]
    rng = np.random.default_rng(0)
    noise = [rng.permuted(words, axis=1), rng.permuted(sounds, axis=1)]
    assert (model.perplexity(noise) > itself).all()


@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_perplexity_is_of_words_that_are_there_and_of_the_same_documents(alpha):
    _, words, sounds, _ = documents()
    model = srk.MultimodalLDA(K, alpha=alpha, seed=0)
    model.fit([words, sounds], epochs=3, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.perplexity([words, None])
    assert np.isfinite(found[0]) and np.isnan(found[1])
    for number in (1, 5):
        with pytest.raises(ValueError, match=f"of the 90 documents of x. Received: {number}"):
            model.perplexity([words, sounds], given=[words[:number], sounds[:number]])


def test_any_number_of_topics():
    _, words, _, reports = documents(30)
    for options in ({}, {"alpha": 0.1}, {"inference": "gibbs"}):
        for topics in (1, 130):
            model = srk.MultimodalLDA(topics, seed=0, n_init=1, **options)
            model.fit([words, reports], epochs=3, verbose=0)
            found = model.predict([words, reports])
            assert found.shape == (30, topics) and np.isfinite(found).all()


def test_documents_are_drawn():
    model = fitted()
    (words, reports), theta = model.sample(500, topic=1, seed=0)
    assert words.shape == (500, 12) and reports.shape == (500,)
    assert_array_equal(words.sum(axis=1), 12)
    assert_allclose(words.mean(axis=0) / 12, model.topics[0][1], atol=0.03)
    assert_allclose(np.bincount(reports, minlength=4) / 500, model.topics[1][1], atol=0.08)
    assert_array_equal(theta.argmax(axis=1), 1)
    for lengths in ([5, 1], 5.0):
        (words, _), _ = model.sample(3, lengths=lengths, seed=0)
        assert_array_equal(words.sum(axis=1), 5)
    for lengths in ([5], [5.5, 1], [-1, 1]):
        with pytest.raises(ValueError, match="`lengths` must"):
            model.sample(3, lengths=lengths)
    _, theta = fitted(alpha=0.5).sample(400, seed=0)
    assert_allclose(theta.mean(axis=0), 1 / 3, atol=0.06)


# Files ----------------------------------------------------------------------------------------

LOADS = """
    import numpy as np, keras, kserket
    model = keras.saving.load_model("model.keras")
    words, reports = np.load("words.npy"), np.load("reports.npy")
    np.save("found.npy", model.predict([words, reports]))
    history = model.fit([words, reports], epochs=2, verbose=0)
    np.save("figures.npy", next(iter(history.history.values())))
"""


@pytest.mark.parametrize("options", [{}, {"alpha": 0.3, "beta": [0.1, 0.2]}])
def test_models_are_saved_and_go_on(options):
    _, words, _, reports = documents()
    model = fitted(**options)
    model.save("model.keras")
    np.save("words.npy", words)
    np.save("reports.npy", reports.probs)
    subprocess.run([sys.executable, "-c", textwrap.dedent(LOADS)], check=True, timeout=1200)
    assert_array_equal(np.load("found.npy"), model.predict([words, reports]))
    history = model.fit([words, reports], epochs=2, verbose=0).history
    assert_allclose(np.load("figures.npy"), next(iter(history.values())))


@pytest.mark.parametrize("options", [{}, {"inference": "gibbs", "alpha": [0.2, 0.3, 0.4, 0.5]}])
def test_graphs_are_saved_and_go_on(options, tmp_path):
    _, points, words, gmm1, _ = composed()
    mlda1 = mlda.MLDA(4, [100, 100], name="tied", save_dir=None, itr=10, **options)
    mlda1.connect(srk.Observation(words, name="words"), gmm1)
    graph = srk.Graph(mlda1, seed=0)
    graph.fit(rounds=2, verbose=0)
    graph.save(tmp_path / "g.kserket")
    again = srk.load_graph(tmp_path / "g.kserket")
    given = {"points": points, "words": None}
    for outputs in ("tied", "words"):
        assert_array_equal(*(one.predict(given, outputs=outputs) for one in (graph, again)))
    for one in (graph, again):
        one.fit(rounds=1, verbose=0)
    for one, other in zip(graph.get_weights(), again.get_weights(), strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("alpha", [0, 0.3])
def test_call_and_export_say_what_predict_says(alpha):
    _, words, _, reports = documents()
    model = fitted(alpha, modality_weights=[20, 10])
    x = [words.astype("float32"), reports.probs.astype("float32")]
    x[0][3], x[1][4] = np.nan, np.nan
    expected = model.predict(x)
    assert_allclose(model(x).numpy(), expected, atol=1e-5)
    prior = np.random.default_rng(0).dirichlet(np.ones(K), 90)
    told = {"x": x, "class_prior": prior}
    assert_allclose(model(told).numpy(), model.predict(told), atol=1e-5)
    model.export("served", verbose=False)
    served = tf.saved_model.load("served")
    assert_allclose(served.serve([tf.constant(part) for part in x]).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("number", [-1, 2, 5])
def test_topics_and_modalities_that_are_not_there_are_refused(number):
    model = srk.MultimodalLDA(2, seed=0)
    x = [np.eye(3), np.eye(3)]
    model.fit(x, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="`topic` must be a class, 0 to 1"):
        model.sample(3, topic=number)
    with pytest.raises(ValueError, match=f"`modality` must be one of 0 to 1. Received: {number}"):
        model.predict_modality(x, number)


@pytest.mark.parametrize("options", [{}, {"alpha": 0.5}, {"inference": "gibbs"}])
def test_without_a_sweep_it_has_started(options):
    model = srk.MultimodalLDA(2, seed=0, **options)
    history = model.fit(np.eye(4), epochs=0, verbose=0)
    assert model.is_fitted and history.epoch == []
    assert_allclose(model.predict(np.eye(4)).sum(axis=1), 1.0)


def test_unfitted_models_and_bad_input_say_so():
    labels, words, sounds, reports = documents()
    model = srk.MultimodalLDA(K)
    with pytest.raises(RuntimeError, match="Call fit"):
        model.predict([words, sounds])
    with pytest.raises(ValueError, match="one row per document"):
        model.fit([words, None])
    with pytest.raises(ValueError, match="one row per document"):
        model.fit([words, sounds[:-1]])
    with pytest.raises(ValueError, match="not negative"):
        model.fit([words, -sounds])
    assert not model.is_fitted
    model.fit([words, reports], epochs=1, verbose=0)
    for bad in ([words], [words, sounds], [words, reports, sounds], [words, words[:, :4]]):
        with pytest.raises(ValueError):
            model.predict(bad)
    with pytest.raises(ValueError, match="class_prior"):
        model.predict({"x": [words, reports], "class_prior": np.full((3, K), 1 / K)})
    with pytest.raises(ValueError, match="x and class_prior"):
        model.predict({"words": words})
    with pytest.raises(ValueError, match="beta.*one number per modality"):
        srk.MultimodalLDA(K, beta=[0.1, 0.1, 0.1]).fit([words, sounds], verbose=0)
    with pytest.raises(ValueError, match=r"`beta` of modality 1 must be a number, or 5 of them"):
        srk.MultimodalLDA(K, beta=[np.full(12, 0.1), np.full(4, 0.1)]).fit([words, sounds])


@pytest.mark.parametrize(
    "options",
    [
        {"num_topics": 0},
        {"alpha": -1.0},
        {"alpha": [0.1, 0.2]},
        {"beta": 0.0},
        {"beta": None},
        {"beta": []},
        {"modality_weights": 1e300},
        {"design_effects": 1e-320},
        {"modality_weights": [100, -1]},
        {"modality_weights": [100, None]},
        {"beta": "symmetric"},
        {"alpha": "auto"},
        {"design_effects": 0},
        {"inference": "vb"},
        {"n_init": 0},
        {"inference": "gibbs", "alpha": 0},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=list(options)[-1]):
        srk.MultimodalLDA(**({"num_topics": K} | options))


def test_modules_name_their_own_options():
    for bad in (1e300, [10, -1], "much"):
        with pytest.raises(ValueError, match="`weights` must be positive"):
            mlda.MLDA(K, bad, save_dir=None)


@pytest.mark.parametrize("alpha", [0, 0.5])
def test_documents_without_a_word_teach_nothing(alpha):
    empty = np.zeros((5, 12))
    model = srk.MultimodalLDA(K, alpha=alpha, seed=0)
    with pytest.raises(ValueError, match="5 documents without a single word"):
        model.fit(empty, verbose=0)
    assert not model.is_fitted
    model.fit(documents()[1], epochs=3, verbose=0)
    before = model.get_weights()
    for learn in (model.fit, model.partial_fit):
        for counts in (empty, 1e200 * documents()[1]):
            with contextlib.suppress(ValueError):
                learn(counts)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert_array_equal(old, new)


@pytest.mark.parametrize("options", [{}, {"alpha": 0.5}, {"inference": "gibbs"}])
def test_a_prior_that_is_the_same_for_all_documents_hides_no_topic(options):
    labels, words, _, _ = documents()
    for row in ([0.34, 0.33, 0.33], [0.4, 0.3, 0.3]):
        x = {"x": words, "class_prior": np.tile(row, (len(labels), 1))}
        model = srk.MultimodalLDA(K, seed=0, **options)
        model.fit(x, epochs=50, verbose=0)
        assert metrics.clustering_accuracy(labels, model.predict(words).argmax(axis=1)) > 0.9


@pytest.mark.parametrize("alpha", [0, 0.5])
def test_module_and_model_agree_under_sure_priors(alpha):
    model = fitted(alpha)
    _, words, _, reports = documents()
    worst = model.predict([words, reports]).argmin(axis=1)
    logs = np.full((len(words), K), -900.0)
    logs[:, 0] = 0.0
    logs[np.arange(len(words)), worst] = -800.0
    prior = srk.Categorical.from_log(logs)
    module, _ = connected([words, reports], alpha=alpha)
    module.model = model
    inputs = [words * 100, reports]  # words against a prior that is sure of something else
    inferred = module.infer(module.read(inputs, prior)).posterior
    found = model.predict({"x": inputs, "class_prior": prior})
    assert_allclose(found, inferred.probs, atol=1e-12)
    if not alpha:
        logs = sum(model.beliefs(inputs).evidence[None]) - np.log(model.topic_weights)
        assert_array_equal(found.argmax(axis=1), (logs + prior.log_probs).argmax(axis=1))


# One rule, read once --------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"alpha": 0.5}, {"weights": [20, 4]}])
def test_an_update_reads_each_input_once_and_infers_once(options, monkeypatch):
    calls = []

    def counted(function, name):
        def call(*args, **kwargs):
            calls.append(name)
            return function(*args, **kwargs)

        return call

    _, words, _, reports = documents()
    module, tellers = connected([words, reports], **options)
    monkeypatch.setattr(word_counts, "read", counted(word_counts.read, "read"))
    model = module.model
    monkeypatch.setattr(model, "beliefs", counted(model.beliefs, "beliefs"))
    module.update()
    assert calls == ["read", "beliefs"]
    data = module.read([words, reports], None)
    assert module.logs["log_likelihood"] == module.evaluate(data)["log_likelihood"]
    assert_allclose(module.logs["log_likelihood"], model.log_likelihood([words, reports]).mean())


CHANGES = {
    "fit": lambda model, other, x: model.fit([10 * x[0], x[1]], epochs=2, verbose=0),
    "set_weights": lambda model, other, x: model.set_weights(other.get_weights()),
    "assign": lambda model, other, x: [
        mine.assign(theirs) for mine, theirs in zip(model.weights, other.weights, strict=True)
    ],
    "merge": lambda model, other, x: model.merge(other.statistics(x)),
}


@pytest.mark.parametrize(
    "options", [{}, {"alpha": 0.5}, {"weights": [20, 4]}, {"shared_classes": False}]
)
def test_the_rule_on_tensors_follows_every_change_of_weights(options):
    labels, words, _, _ = documents()
    rows = np.arange(len(labels))
    told = srk.Categorical(
        0.1 + 0.7 * np.eye(K)[(labels + 1) % K], (rows % 7 == 0) & (rows % 5 > 0)
    )
    words = np.where((rows % 5 == 0)[:, None], np.nan, words)
    module, _ = connected([words, told], **options)
    other, _ = connected([words[::-1].copy(), told], **options)
    prior = srk.Categorical(np.random.default_rng(0).dirichlet(np.ones(K), len(labels)))
    start = module.model.get_weights()
    for change in [CHANGES["assign"]] if "alpha" in options else CHANGES.values():
        module.model.set_weights(start)
        stale = module.terms()
        change(module.model, other.model, [words, told])
        now = module.terms()
        assert any(
            np.abs(a - b).max() > 1e-6 for a, b in zip(stale.topics, now.topics, strict=True)
        )
        for above, dtype, terms in ((None, "float32", ()), (prior, "float64", (now,))):
            expected = module.infer(module.read([words, told], above))
            inputs = [
                tf.constant(words, dtype),
                core_tensors.Categorical(tf.constant(told.log_probs, dtype)),
            ]
            log_prior = above and core_tensors.Categorical(tf.constant(above.log_probs, dtype))
            found = module.tensor_infer(inputs, log_prior, *terms)
            assert found.posterior.array.dtype == dtype
            pairs = zip(
                [found.posterior, found.evidence, *found.downward],
                [expected.posterior, expected.evidence, *expected.downward],
                strict=True,
            )
            for tensor, message in pairs:
                array = core_tensors.as_array(tensor).numpy()
                tolerance = 1e-6 if dtype == "float64" else 1e-3
                assert_allclose(array, np.asarray(message), atol=tolerance)


def test_a_first_fit_that_fails_leaves_the_model_free():
    _, words, sounds, _ = documents()
    model = srk.MultimodalLDA(K, beta=[np.full(12, 0.1), 0.1], seed=0, n_init=2)
    with pytest.raises(ValueError, match="or 5 of them"):
        model.fit([sounds, words], verbose=0)
    with pytest.raises(ValueError, match="without a single word"):
        model.fit([0 * words, 0 * sounds], verbose=0)
    assert not model.built
    model.fit([words, sounds], epochs=2, verbose=0)


def test_counts_that_are_not_finite_are_not_kept(monkeypatch):
    model = fitted()
    before = model.get_weights()
    _, words, _, reports = documents()
    found = model.found
    broken = found._replace(effects=np.full(2, np.nan))
    monkeypatch.setattr(topic_learning, "learn", lambda *args: broken)
    with pytest.raises(FloatingPointError, match="not finite"):
        model.fit([words, reports], verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert_array_equal(old, new)


def test_the_top_of_two_keeps_apart_what_the_lower_one_knows():
    for seed in range(3):
        labels = np.random.default_rng(seed).permutation(np.arange(50) % 10)
        below = mlda.MLDA(10, category=labels, save_dir=None, name="below")
        below.connect(srk.Observation(20 * np.eye(10)[labels]))
        top = mlda.MLDA(10, category=labels, save_dir=None, name="top")
        top.connect(srk.Observation(np.eye(10)[np.where(labels == 8, 2, labels)]), below)
        history = srk.Graph(top, seed=seed).fit(rounds=3, verbose=0).history
        assert history["below/accuracy"] == history["top/accuracy"] == [1.0] * 3


def test_class_probabilities_in_an_array_are_a_report_whatever_rows_are_missing():
    labels, words, _, _ = documents()
    silent = np.arange(len(labels)) == 4
    probs = 0.8 * np.eye(K)[labels] + 0.2 / K
    filled = srk.Categorical(probs, silent)
    found = []
    for message in (filled, np.where(silent[:, None], np.nan, probs)):
        module = mlda.MLDA(K, save_dir=None, seed=0)
        module.connect(srk.Observation(words), Teller(message))
        module.update()
        assert module.model.reports == [False, True]
        assert isinstance(module.inputs[1].get_backward_msg(), srk.Categorical)
        found.append(module.posterior)
    assert_allclose(found[1], found[0], rtol=1e-9)


def test_module_refuses_what_it_cannot_read():
    _, words, _, _ = documents()
    module = mlda.MLDA(K, [1, 2], save_dir=None)
    module.connect(Teller(words))
    with pytest.raises(ValueError, match="`weights` must hold one number for each"):
        module.update()
    module = mlda.MLDA(K, save_dir=None)
    module.connect(Teller(words - 3.0))
    with pytest.raises(ValueError, match="not negative.*gmm.GMM between"):
        module.update()
    module.connect(Teller(np.ones((5, 2, 2))))
    with pytest.raises(ValueError, match="Reshape"):
        module.update()


# In a graph -----------------------------------------------------------------------------------


def composed(num_documents=240):
    """Points and words of the same objects: points blur two classes, words another two."""
    rng = np.random.default_rng(1)
    labels = np.arange(num_documents) % 4
    centers = np.array([[0.0, 0.0], [1.2, 0.0], [4.0, 0.0], [4.0, 4.0]])
    points = centers[labels] + 0.5 * rng.normal(size=(num_documents, 2))
    topics = np.full((4, 8), 0.02)
    for k, words in enumerate([(0, 1), (2, 3), (4, 5), (4, 5)]):
        topics[k, words] += 0.42
    topics[3, 5:7] += (-0.15, 0.15)
    words = np.array([rng.multinomial(10, topics[k]) for k in labels])
    gmm1 = gmm.GMM(4, category=labels, save_dir=None)
    gmm1.connect(srk.Observation(points, name="points"))
    mlda1 = mlda.MLDA(4, [100, 100], category=labels, save_dir=None)
    mlda1.connect(srk.Observation(words, name="words"), gmm1)
    return labels, points, words, gmm1, mlda1


def test_composition_beats_its_parts_and_teaches_them():
    labels, points, words, gmm1, mlda1 = composed()
    history = srk.Graph(mlda1, seed=0).fit(rounds=3, verbose=0).history
    alone = gmm.GMM(4, category=labels, save_dir=None, seed=0)
    alone.connect(srk.Observation(points))
    alone.update()
    speech = mlda.MLDA(4, category=labels, save_dir=None, seed=0)
    speech.connect(srk.Observation(words))
    speech.update()
    parts = alone.logs["accuracy"], speech.logs["accuracy"]
    assert history["mlda/accuracy"][-1] > max(parts) + 0.03
    assert gmm1.logs["accuracy"] > alone.logs["accuracy"] + 0.03


def test_graphs_predict_either_modality_from_the_other_and_are_served():
    labels, points, words, gmm1, mlda1 = composed()
    mm1 = mm.MarkovModel(save_dir=None, itr=5)
    mm1.connect(mlda1)
    graph = srk.Graph(mm1, seed=0)
    graph.fit(rounds=2, verbose=0)
    predicted = graph.predict({"points": points}, outputs="words")
    assert predicted.shape == words.shape
    assert_allclose(predicted.sum(axis=1), 1.0, atol=1e-5)
    graph = srk.Graph(mlda1)
    data = {"points": points[:50], "words": words[:50].astype(float)}
    expected = graph.predict(data)
    graph.export("served")
    served = tf.saved_model.load("served").signatures["classify"]
    found = served(**{name: tf.constant(x, "float32") for name, x in data.items()})["mlda"]
    assert_allclose(found.numpy(), expected, atol=1e-4)


def test_topic_models_stand_above_topic_models():
    labels, words, sounds, _ = documents(150)
    low = mlda.MLDA(K, name="low", save_dir=None, category=labels)
    low.connect(srk.Observation(words, name="words"), srk.Observation(sounds, name="sounds"))
    high = mlda.MLDA(K, [100, 50], name="high", save_dir=None, category=labels)
    more = np.random.default_rng(5).multinomial(4, np.eye(6)[labels] * 0.7 + 0.05)
    high.connect(low, srk.Observation(more, name="more"))
    graph = srk.Graph(high, seed=0)
    graph.fit(rounds=3, verbose=0)
    assert high.logs["accuracy"] >= low.logs["accuracy"] - 0.02 and high.logs["accuracy"] > 0.95
    generated = graph.generate(200, component=labels[:200] if len(labels) >= 200 else 0, seed=0)
    assert {name: x.shape for name, x in generated.items()} == {
        "words": (200, 12),
        "sounds": (200, 5),
        "more": (200, 6),
    }


def test_a_module_below_that_knows_every_class_keeps_apart_what_looks_alike():
    for seed in range(20):
        srk.Module.reset_names()
        labels = np.random.default_rng(seed).permutation(np.arange(50) % 10)
        counts = np.eye(10)[np.where(labels == 8, 2, labels)]
        below = srk.Module("below")
        below.set_forward_msg(srk.Categorical(np.eye(10)[labels]))
        module = mlda.MLDA(10, itr=20, category=labels, save_dir=None, seed=seed, n_init=2)
        module.connect(srk.Observation(counts), below)
        module.update()
        assert module.logs["accuracy"] == 1.0


def test_a_report_that_no_topic_explains_counts_alike_on_arrays_and_tensors():
    values = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    topics = np.array([[1.0, 0.0, 0.0], [1e-200, 0.5, 0.5]])
    found = document_classes.modality_log_likelihood(
        document_classes.Modality(values.copy(), is_report=True), topics
    )
    parts = tf.constant(values), tf.constant(topics), tf.constant(1.0, "float64")
    served = rule._tensor_log_likelihood(*parts, True)
    np.testing.assert_allclose(served, found, rtol=1e-12)
    assert found[1, 0] == np.log(floors.SMALLEST) and found[0, 1] > np.log(floors.SMALLEST)
    single = rule._tensor_log_likelihood(*(tf.cast(part, "float32") for part in parts), True)
    np.testing.assert_allclose(single[1, 0], np.log(floors.smallest("float32")), rtol=1e-6)
