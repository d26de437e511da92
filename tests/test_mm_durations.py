"""Markov models whose states last for durations of a law of their own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm, metrics, mm, plotting
from kserket.inference import durations, markov_chain, reported_chain
from kserket.mm import rule

MEANS = np.array([6.0, 15.0, 30.0])


TRUE = reported_chain.State(
    np.ones(3) / 3,
    (1 - np.eye(3)) / 2,
    np.eye(3),
    durations.Durations(1 / MEANS, np.zeros(3), 60),
)


def motion(num_steps, seed, noise=1.0):
    """States that last Poisson times, and class probabilities of each step."""
    rng = np.random.default_rng(seed)
    chain = TRUE.initial, TRUE.transitions
    states = markov_chain.sample(*chain, [num_steps], rng, TRUE.lasting)
    seen = 1.2 * np.eye(3)[states] + noise * rng.normal(size=(num_steps, 3))
    return states, np.exp(markov_chain.normalize(1.2 * seen / noise**2))


@pytest.fixture(scope="module")
def fitted():
    states, x = motion(900, 0)
    model = srk.MarkovChain(3, trust=float("inf"), duration="poisson", max_duration=60, seed=0)
    history = model.fit(x, epochs=25, verbose=0).history["log_posterior"]
    return model, x, states, history


def test_durations_are_learned_and_help_to_find_the_states(fitted):
    model, x, states, history = fitted
    assert (np.diff(history) > -1e-8).all()
    assert_allclose(model.expected_durations, MEANS, rtol=0.35)
    assert_array_equal(np.diag(model.transition_matrix), 0.0)
    assert_allclose(model.transition_matrix.sum(axis=1), 1.0)
    assert_allclose(model.duration_probabilities.sum(axis=1), 1.0)
    assert model.duration_probabilities.shape == (3, 60)
    plain = srk.MarkovChain(3, trust=float("inf"), seed=0)
    plain.fit(x, epochs=25, verbose=0)
    new_states, new = motion(3000, 1)
    paths = [one.most_likely_path(new) for one in (model, plain)]
    with_laws, without = (np.mean(path == new_states) for path in paths)
    assert with_laws > without and with_laws > 0.8
    assert model.evaluate(new) > plain.evaluate(new)
    assert_allclose(plain.expected_durations, 1 / (1 - np.diag(plain.transition_matrix)))


@pytest.mark.parametrize("seed", [0, 3])
def test_a_start_of_short_states_does_not_hold_poisson_laws(seed):
    _, x = motion(900, seed, noise=1.5)
    model = srk.MarkovChain(3, trust=np.inf, duration="poisson", max_duration=60, seed=0)
    reached = model.fit(x, epochs=30, verbose=0).history["log_posterior"][-1]
    score = reported_chain.expect(np.log(x), TRUE).log_likelihood
    assert reached > reported_chain.objective(score, TRUE, model.prior)
    assert_allclose(model.expected_durations, MEANS, rtol=0.35)


def test_a_negative_binomial_begins_as_the_markov_chain_does():
    _, x = motion(150, 2)
    plain = srk.MarkovChain(3, seed=0, trust=float("inf"), tolerance=None)
    model = srk.MarkovChain(3, seed=0, trust=float("inf"), duration="negative_binomial")
    plain.fit(x, epochs=1, verbose=0)
    history = model.fit(x, epochs=12, verbose=0).history["log_posterior"]
    assert (np.diff(history) > -1e-8).all() and len(history) > 3
    assert (model.state.durations.dispersion != 1).all()


def test_served_equals_predicted(fitted, tmp_path):
    model, x, *_ = fitted
    x = x[:60].copy()
    x[[7, 50]] = 1 / 3
    gaps = x.copy()
    gaps[[7, 50]] = np.nan
    assert_allclose(model(x).numpy(), model.predict(x), atol=1e-9)
    assert_allclose(model.predict(gaps), model.predict(x))
    prior = np.tile([0.5, 0.3, 0.2], (60, 1))
    both = {"x": x, "class_prior": prior}
    assert_allclose(model(both).numpy(), model.predict(both), atol=1e-9)
    model.save(tmp_path / "chain.keras")
    again = keras.saving.load_model(tmp_path / "chain.keras")
    assert_array_equal(again.predict(x), model.predict(x))
    assert again.get_config() == model.get_config()
    for one, other in zip(again._counted, model._counted, strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("limit", [1, 2, 12])
def test_rule_equals_the_recursion(limit, dtype, tolerance):
    rng = np.random.default_rng(limit)
    evidence, lengths = 3.0 * rng.normal(size=(24, 3)), [1, 15, 8]
    laws = durations.Durations(np.array([0.3, 0.1, 1.0]), np.array([0.0, 0.5, 1.0]), limit)
    transitions = np.array([[0, 0.5, 0.5], [1, 0, 0], [0.2, 0.8, 0]])
    chain = rng.dirichlet(np.ones(3)), transitions
    starts = np.isin(np.arange(24), [0, 1, 16])
    for sizes, where in ((None, None), (lengths, starts)):
        expected = markov_chain.smooth(evidence, *chain, sizes, laws.lasting()).log_context
        parts = (tf.constant(part, dtype) for part in (evidence, *chain))
        found = rule.lasting_context(*parts, laws.lasting(), where).numpy().astype("float64")
        assert_allclose(np.exp(markov_chain.normalize(found)), np.exp(expected), atol=tolerance)


def test_parts_add_up_and_more_sequences_go_on(fitted):
    model, x, *_ = fitted
    lengths, size = [200, 100, 600], 300
    whole = model.statistics(x, lengths=lengths)
    parts = model.statistics(x[:size], lengths=lengths[:2]), model.statistics(x[size:])
    once, twice = (srk.MarkovChain.from_config(model.get_config()) for _ in range(2))
    for one, given in ((once, [whole]), (twice, parts)):
        one.adopt(model.state, model._counted)
        one.merge(*given)
    for one, other in zip(once.get_weights(), twice.get_weights(), strict=True):
        assert_allclose(one, other, rtol=1e-9)
    once.partial_fit(x[:100], lengths=[50, 50])
    assert once._counted.durations.shape == (2, 3, 60)
    once.set_weights([weight[::-1] for weight in once.get_weights()])
    with pytest.raises(RuntimeError, match="set by hand"):
        once.partial_fit(x[:100])


def test_zeros_stay_zeros():
    rng = np.random.default_rng(3)
    lasts = 8 + rng.poisson(4, size=(5, 3))
    states = np.concatenate([np.repeat(np.arange(3), row) for row in lasts])
    x = rng.dirichlet(np.ones(3), len(states)) + np.eye(3)[states]
    x, lengths = x / x.sum(axis=1, keepdims=True), lasts.sum(axis=1)
    options = {"duration": "poisson", "max_duration": 40, "seed": 0}
    model = srk.MarkovChain(3, allowed_transitions="left-right", **options)
    model.fit(x, lengths=lengths, epochs=15, verbose=0)
    assert_array_equal(model.transition_matrix, [[0, 1, 0], [0, 0, 1], [0, 0, 1]])
    assert model.expected_durations[2] == np.inf
    assert_allclose(model.expected_durations[:2], lasts[:, :2].mean(axis=0), atol=1.5)
    path = model.most_likely_path(x, lengths=lengths)
    assert np.mean(path == states) > 0.97
    once = [[False, True, True], [True, True, True], [True, True, True]]
    model = srk.MarkovChain(3, allowed_transitions=once, **options)
    model.fit(x, lengths=lengths, epochs=3, verbose=0)
    assert model.expected_durations[0] == 1.0
    path = model.most_likely_path(x, lengths=lengths)
    drawn = model.sample(500, seed=0)
    for steps in (path, drawn):
        assert not ((steps[1:] == 0) & (steps[:-1] == 0)).any()


def test_paths_are_counted_in_samples_too():
    _, x = motion(120, 4)
    model = srk.MarkovChain(3, duration="negative_binomial", num_paths=20, n_init=2, seed=0)
    model.fit(x, epochs=3, verbose=0)
    paths = model.sample_paths(x, 200, seed=0)
    shares = np.mean(paths[:, :, None] == np.arange(3), axis=0)
    assert_allclose(shares, model.predict(x), atol=0.15)


@pytest.mark.parametrize("joint", [False, True])
def test_graphs_predict_score_and_come_back(joint, tmp_path):
    rng = np.random.default_rng(5)
    states, _ = motion(240, 5)
    x = 2.5 * np.array([[0, 0], [1, 0], [0, 1]])[states] + 0.7 * rng.normal(size=(240, 2))
    gmm1 = gmm.GMM(3, n_init=1, save_dir=None)
    mm1 = mm.MarkovModel(
        joint=joint, n_init=3, itr=5, duration="poisson", lengths=[100, 140], save_dir=None
    )
    gmm1.connect(srk.Observation(x))
    mm1.connect(gmm1)
    graph = srk.Graph(mm1, seed=0)
    history = graph.fit(rounds=2, verbose=0).history
    if joint:
        assert history["gmm/bound"][1] > history["gmm/bound"][0] - 1e-6
    probs = graph.predict(x)
    assert_allclose(probs, mm1.posterior, atol=1e-9)
    data = mm1.read(mm1.get_observations(), None)
    densities = gmm1.class_log_densities(gmm1.read(gmm1.get_observations(), None))
    chain = mm1.model.state
    evidence = np.log(np.exp(densities) @ chain.reports.T)
    whole = markov_chain.smooth(
        evidence, chain.initial, chain.transitions, data.lengths, chain.lasting
    )
    assert_allclose(graph.evaluate(x)["log_likelihood"], whole.log_likelihood / 240, rtol=1e-6)
    assert_allclose(np.sort(mm1.model.expected_durations), MEANS, rtol=0.35)
    assert metrics.clustering_accuracy(states, probs.argmax(axis=1)) > 0.97
    graph.save(tmp_path / "graph.kserket")
    again = srk.load_graph(tmp_path / "graph.kserket")
    assert_array_equal(again.predict(x), probs)
    assert again.evaluate(x) == graph.evaluate(x)


def test_an_exported_graph_answers_as_it_predicts(tmp_path):
    states, _ = motion(120, 6)
    rng = np.random.default_rng(6)
    x = 2.5 * np.array([[0, 0], [1, 0], [0, 1]])[states] + 0.7 * rng.normal(size=(120, 2))
    gmm1 = gmm.GMM(3, n_init=1, save_dir=None)
    mm1 = mm.MarkovModel(itr=5, duration="negative_binomial", max_duration=40, save_dir=None)
    gmm1.connect(srk.Observation(x, name="obs"))
    mm1.connect(gmm1)
    graph = srk.Graph(mm1, seed=0)
    graph.fit(rounds=1, verbose=0)
    graph.export(str(tmp_path / "served"))
    serve = tf.saved_model.load(str(tmp_path / "served")).signatures["classify"]
    (name,) = (name for name in serve.structured_outputs if "mm" in name)
    for rows in (x, x[20:50], x[:1]):
        rows = rows.astype("float32")
        expected = graph.predict(rows)
        assert_allclose(serve(obs=tf.constant(rows))[name], expected, atol=1e-5)


def test_what_is_no_law():
    with pytest.raises(ValueError, match="`duration` must be 'poisson' or 'negative_binomial'"):
        srk.MarkovChain(2, duration="normal")
    with pytest.raises(ValueError, match="max_duration"):
        mm.MarkovModel(duration="poisson", max_duration=0)
    with pytest.raises(ValueError, match="duration_prior"):
        srk.MarkovChain(2, duration="poisson", duration_prior=0.0)


def test_durations_are_drawn_beside_their_law(fitted):
    model, x, *_ = fitted
    ax = plotting.plot_durations(model.most_likely_path(x), law=model)
    areas = [part for part in ax.collections if part.get_label() == "law"]
    assert len(areas) == 3
    with pytest.raises(ValueError, match="law"):
        plotting.plot_durations([0, 1, 0], law=np.ones((1, 5)))
