"""`MarkovChain` and `mm.MarkovModel`: messages against enumeration, and their lives."""

import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm, mm

NUM_STEPS, K = 5, 3


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def cycle(num_steps=240, num_states=4, sharpness=3.0, seed=0):
    """States in cyclic order, and class probabilities that find them more or less."""
    rng = np.random.default_rng(seed)
    states = np.arange(num_steps) % num_states
    log_probs = sharpness * np.eye(num_states)[states] + rng.gumbel(size=(num_steps, num_states))
    probs = np.exp(log_probs)
    return states, probs / probs.sum(axis=1, keepdims=True)


def fitted(trust=10.0, **options):
    """A chain of K states with parameters drawn at random."""
    rng = np.random.default_rng(1)
    model = srk.MarkovChain(K, trust=trust, **options)
    reports = np.eye(K) if np.isinf(trust) else rng.dirichlet(np.ones(K), K)
    model.set_weights([rng.dirichlet(np.ones(K)), rng.dirichlet(np.ones(K), K), reports])
    return model


class Teller(srk.Module):
    """Sends given class probabilities; hears what comes back."""

    def __init__(self, probs, name="teller"):
        super().__init__(name, learnable=False)
        self.set_forward_msg(srk.Categorical(probs))


def connected(probs, **options):
    """A module that reads `probs`, with random parameters that stay as they are."""
    teller, model = Teller(probs), mm.MarkovModel(save_dir=None, seed=0, **options)
    model.connect(teller)
    model.update()
    model.model.set_weights(fitted(options.get("trust", 10.0)).get_weights())
    model.trainable = False
    return teller, model


def enumerate_posterior(model, probs, prior=None, leave_out=(), leave_out_prior=()):
    """P(state of each step | ...) by summing over all paths and all reported classes."""
    initial, transitions, reports = model.get_weights()
    num_steps = len(probs)
    prior = np.ones((num_steps, K)) if prior is None else prior
    likelihood = probs @ reports.T
    posterior = np.zeros((num_steps, K))
    for step in range(num_steps):
        heard, above = likelihood.copy(), prior.copy()
        if "own" in leave_out:
            heard[step] = 1.0
        if "own" in leave_out_prior:
            above[step] = 1.0
        for path in itertools.product(range(K), repeat=num_steps):
            weight = initial[path[0]] * transitions[path[:-1], path[1:]].prod()
            weight *= (heard * above)[range(num_steps), path].prod()
            posterior[step, path[step]] += weight
    return posterior / posterior.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("trust", [10.0, np.inf])
@pytest.mark.parametrize("with_prior", [False, True])
def test_messages_equal_enumeration(rng, trust, with_prior):
    probs = rng.dirichlet(np.ones(K), NUM_STEPS)
    prior = rng.dirichlet(np.ones(K), NUM_STEPS) if with_prior else None
    teller, module = connected(probs, trust=trust)
    if with_prior:
        module.set_backward_msg(srk.Categorical(prior))
    module.update()
    expected = enumerate_posterior(module.model, probs, prior)
    assert_allclose(module.posterior, expected, atol=1e-12)
    without_above = enumerate_posterior(module.model, probs, prior, leave_out_prior=["own"])
    assert_allclose(module.get_forward_msg().probs, without_above, atol=1e-12)
    without_own = enumerate_posterior(module.model, probs, prior, leave_out=["own"])
    assert_allclose(teller.get_backward_msg().probs, without_own, atol=1e-12)


def test_two_readers_and_the_chain_equal_enumeration(rng):
    """A tree: each step's state is told of once from below and twice from above."""
    probs = rng.dirichlet(np.ones(K), NUM_STEPS)
    first, second = (rng.dirichlet(np.ones(K), NUM_STEPS) for _ in range(2))
    _, module = connected(probs)
    readers = [srk.Module("a"), srk.Module("b")]
    for reader, message in zip(readers, (first, second), strict=True):
        reader.connect(module)
        reader.send_backward_msgs([srk.Categorical(message)])
    module.update()
    heard = readers[0].get_observations()[0].probs  # what the chain and b say, without a at t
    others = first * second
    for step in range(NUM_STEPS):
        above = others.copy()
        above[step] = second[step]
        expected = enumerate_posterior(module.model, probs, above)[step]
        assert_allclose(heard[step], expected, atol=1e-12)


def test_own_evidence_does_not_come_back(rng):
    """What is sent down for a step does not depend on what the module below said of it."""
    probs = rng.dirichlet(np.ones(K), NUM_STEPS)
    teller, module = connected(probs)
    module.update()
    before = teller.get_backward_msg().probs
    probs[2] = [0.01, 0.01, 0.98]
    teller.set_forward_msg(srk.Categorical(probs))
    module.update()
    after = teller.get_backward_msg().probs
    assert_allclose(after[2], before[2], atol=1e-12)
    assert np.abs(after[[1, 3]] - before[[1, 3]]).max() > 1e-3


def test_missing_steps_are_foretold_by_the_others(rng):
    states, probs = cycle()
    mask = np.zeros(len(probs), bool)
    mask[50:53] = True
    teller = Teller(probs)
    teller.set_forward_msg(srk.Categorical(probs, missing=mask))
    module = mm.MarkovModel(save_dir=None, seed=0)
    module.connect(teller)
    module.update()
    assert_array_equal(module.posterior[mask].argmax(axis=1), states[mask])
    assert_allclose(module.posterior[mask], teller.get_backward_msg().probs[mask], atol=1e-12)


def test_lengths_equal_separate_sequences(rng):
    probs = rng.dirichlet(np.ones(K), 30)
    model, lengths = fitted(), [12, 1, 17]
    parts = np.split(probs, np.cumsum(lengths)[:-1])
    assert_allclose(
        model.predict(probs, lengths=lengths),
        np.concatenate([model.predict(part) for part in parts]),
        atol=1e-12,
    )
    assert_array_equal(
        model.most_likely_path(probs, lengths=lengths),
        np.concatenate([model.most_likely_path(part) for part in parts]),
    )
    whole = model.statistics(probs, lengths=lengths)
    once = fitted().merge(whole)
    inpieces = fitted().merge(*(model.statistics(part) for part in parts))
    for one, other in zip(once.get_weights(), inpieces.get_weights(), strict=True):
        assert_allclose(one, other, rtol=1e-9)


def test_learning_sequences_apart_or_one_after_another_is_the_same():
    """What joins two sequences is no transition: a cycle is learned, however it is cut."""
    _, probs = cycle(240, sharpness=1.5)
    lengths = [100, 1, 139]
    shuffled = np.concatenate([np.split(probs, np.cumsum(lengths)[:-1])[i] for i in (2, 0, 1)])
    one, other = (srk.MarkovChain(4, n_init=1, seed=0) for _ in range(2))
    one.fit(probs, lengths=lengths, verbose=0)
    other.fit(shuffled, lengths=[139, 100, 1], verbose=0)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("trust", [10.0, np.inf])
def test_other_numbers_of_classes_change_nothing_else(trust):
    _, probs = cycle(240, sharpness=1.5)
    order = [2, 0, 3, 1]
    one, other = (srk.MarkovChain(4, trust=trust, seed=0) for _ in range(2))
    history = [
        model.fit(x, verbose=0).history["log_posterior"][-1]
        for model, x in ((one, probs), (other, probs[:, order]))
    ]
    assert_allclose(*history, rtol=1e-6)
    assert_allclose(other.predict(probs[:, order]), one.predict(probs)[:, order], atol=1e-4)
    assert_allclose(other.transition_matrix, one.transition_matrix[np.ix_(order, order)], atol=1e-3)


def test_module_lengths_cut_the_sequence(rng):
    probs = rng.dirichlet(np.ones(K), 10)
    teller, module = connected(probs, lengths=[4, 6])
    module.update()
    model = module.model
    assert_allclose(
        module.posterior, np.concatenate([model.predict(probs[:4]), model.predict(probs[4:])])
    )
    module.lengths = [4, 5]
    with pytest.warns(UserWarning, match="10 steps as one sequence.*sum to 9.*predict.x, lengths"):
        module.update()
    assert_allclose(module.posterior, model.predict(probs))


@pytest.mark.parametrize("joint", [False, True])
def test_lengths_of_new_data_hold_for_a_call(joint):
    states = np.arange(120) // 5 % 3
    x = np.eye(3)[states] + 0.3 * np.random.default_rng(0).normal(size=(120, 3))
    gmm1 = gmm.GMM(3, save_dir=None)
    mm1 = mm.MarkovModel(lengths=[60, 60], joint=joint, n_init=2, save_dir=None)
    gmm1.connect(srk.Observation(x))
    mm1.connect(gmm1)
    graph = srk.Graph(mm1, seed=0)
    graph.fit(rounds=1, verbose=0)
    graph["mm"].lengths = None
    apart = [graph.predict(part) for part in (x[:7], x[7:20])]
    paths = [graph.segments(part) for part in (x[:7], x[7:20])]
    graph["mm"].lengths = [60, 60]
    assert_allclose(graph.predict(x[:20], lengths=[7, 13]), np.concatenate(apart), atol=1e-8)
    found = graph.segments(x[:20], lengths=[7, 13])
    later = [one._replace(start=one.start + 7, end=one.end + 7) for one in paths[1]]
    assert found == paths[0] + later
    true = [states[one.start] for one in found]
    assert len(set(zip(true, [one.state for one in found], strict=True))) == 3
    assert len(graph.evaluate(x[:20], lengths=[7, 13])) > 1
    assert_array_equal(graph["mm"].lengths, [60, 60])
    graph.fit(rounds=1, verbose=0)  # a cell that is run again
    for ask in (graph.predict, graph.evaluate, graph.segments):
        with pytest.raises(ValueError, match="number of steps, 20.*sum to 10"):
            ask(x[:20], lengths=[5, 5])
    with pytest.raises(ValueError, match="would cut sequences"):
        graph.predict(x[:20], lengths=[7, 13], batch_size=5)
    assert_array_equal(graph["mm"].lengths, [60, 60])


def test_a_forecast_is_where_the_transitions_lead():
    states = np.arange(90) // 4 % 3
    x = np.eye(3)[states] + 0.2 * np.random.default_rng(0).normal(size=(90, 3))
    graph = srk.recipes.sequence(x, K=3, seed=0)
    graph.fit(rounds=1, verbose=0)
    known = graph.predict(x[:10])
    ahead = graph.predict(np.vstack([x[:10], np.full((3, 3), np.nan)]))
    expected = known[-1]
    for foretold in ahead[-3:]:
        expected = expected @ graph["mm"].model.transition_matrix
        assert_allclose(foretold, expected, atol=1e-5)


def test_a_graph_without_a_chain_reads_no_lengths(rng):
    graph = srk.recipes.table(rng.normal(size=(30, 2)), K=2, seed=0)
    graph.fit(rounds=1, verbose=0)
    for ask in (graph.predict, graph.evaluate, graph.segments):
        with pytest.raises(ValueError, match="need a module that reads sequences"):
            ask(np.zeros((4, 2)), lengths=[2, 2])


def test_lengths_of_other_data_are_refused_in_learning(rng):
    module = mm.MarkovModel(lengths=[4, 5])
    module.connect(Teller(rng.dirichlet(np.ones(K), 10)))
    with pytest.raises(ValueError, match="number of steps, 10.*sum to 9.*Set graph.'mm'..lengths"):
        module.update()
    assert module.get_forward_msg() is None and not module.folder.exists()


@pytest.mark.parametrize("inference", ["exact", "sampled"])
def test_the_module_learns_an_order_and_improves_on_what_it_reads(inference):
    states, probs = cycle(sharpness=1.5)
    module = mm.MarkovModel(
        num_samp=30, inference=inference, category=states, itr=30, save_dir=None, seed=0
    )
    teller = Teller(probs)
    module.connect(teller)
    module.update()
    assert np.mean(probs.argmax(axis=1) == states) < 0.7
    assert np.mean(module.posterior.argmax(axis=1) == states) > 0.95
    assert np.mean(teller.get_backward_msg().probs.argmax(axis=1) == states) > 0.95
    assert_array_equal(module.model.transition_matrix.argmax(axis=1), [1, 2, 3, 0])


def test_a_mixture_learns_what_it_confused_from_the_chain():
    """Two states look almost alike; what comes before and after them tells them apart."""
    rng = np.random.default_rng(0)
    states = np.arange(600) % 5
    means = np.array([[0, 0], [6, 0], [0, 6], [6, 6], [6.0, 6.9]])
    x = means[states] + 0.5 * rng.normal(size=(600, 2))
    obs = srk.Observation(x)
    gmm1 = gmm.GMM(5, category=states, save_dir=None)
    mm1 = mm.MarkovModel(save_dir=None)
    gmm1.connect(obs)
    mm1.connect(gmm1)
    accuracy = srk.Graph(mm1, seed=0).fit(rounds=4, verbose=0).history["gmm/accuracy"]
    assert accuracy[0] < 0.95
    assert accuracy[-1] > 0.99


def test_a_second_update_goes_on_and_keeps_numbers():
    states, probs = cycle(sharpness=1.5)
    module = mm.MarkovModel(save_dir=None, seed=0)
    module.connect(Teller(probs))
    module.update()
    before, log_posterior = module.model.get_weights(), module.logs["log_posterior"]
    module.update()
    assert module.logs["log_posterior"] >= log_posterior - 1e-9
    for one, other in zip(before, module.model.get_weights(), strict=True):
        assert_allclose(one, other, atol=0.01)


def test_extreme_probabilities():
    probs = np.eye(K)[np.random.default_rng(0).integers(K, size=400)]
    module = mm.MarkovModel(save_dir=None, seed=0, trust=np.inf)
    module.connect(Teller(probs))
    module.update()
    assert np.isfinite(module.posterior).all()
    assert_allclose(module.posterior, probs, atol=1e-12)


# Files ------------------------------------------------------------------------------------


def test_files_and_recognition():
    _, probs = cycle()
    srk.Module.reset_names()
    module = mm.MarkovModel(seed=0)
    teller = Teller(probs)
    module.connect(teller)
    module.update()
    folder = module.folder
    assert {path.name for path in folder.iterdir()} == {
        "parameters.h5",
        "msg_learn.txt",
        "trans_prob_learn.txt",
    }
    assert_allclose(np.loadtxt(folder / "msg_learn.txt"), teller.get_backward_msg(), atol=1e-9)
    transitions = np.loadtxt(folder / "trans_prob_learn.txt")
    assert_allclose(transitions.sum(axis=1), 1.0)
    assert_allclose(transitions, module.model.transition_matrix, atol=1e-9)

    again = mm.MarkovModel(mode="recog", load_dir=folder)
    again.connect(Teller(probs[:100]))
    again.update()
    assert_allclose(again.posterior, module.model.predict(probs[:100]), rtol=1e-12)
    assert {path.name for path in again.folder.iterdir()} == {"msg_recog.txt"}


def test_recognition_before_learning():
    module = mm.MarkovModel(mode="recog")
    module.connect(Teller(cycle()[1]))
    with pytest.raises(FileNotFoundError, match="has learned nothing"):
        module.update()


def test_a_chain_of_another_size_is_refused():
    module = mm.MarkovModel(seed=0)
    module.connect(Teller(cycle(num_states=4)[1]))
    module.update()
    again = mm.MarkovModel(mode="recog", load_dir=module.folder)
    again.connect(Teller(cycle(num_states=3)[1]))
    with pytest.raises(ValueError, match="input_shapes"):
        again.update()


# The model --------------------------------------------------------------------------------


def test_call_equals_predict(rng):
    model = fitted()
    probs, prior = (rng.dirichlet(np.ones(K), 50) for _ in range(2))
    assert_allclose(model(probs).numpy(), model.predict(probs), atol=1e-12)
    inputs = {"x": probs, "class_prior": prior}
    assert_allclose(model(inputs).numpy(), model.predict(inputs), atol=1e-12)
    assert_allclose(model(probs[:1]).numpy(), model.predict(probs[:1]), atol=1e-12)


def test_call_survives_extreme_probabilities():
    model = fitted(trust=np.inf)
    probs = np.eye(K)[np.random.default_rng(0).integers(K, size=300)]
    assert np.isfinite(model(probs).numpy()).all()
    assert_allclose(model(probs).numpy(), model.predict(probs), atol=1e-9)


def test_saved_and_loaded_in_a_fresh_process(tmp_path):
    _, probs = cycle(num_states=K)
    model = srk.MarkovChain(K, trust=np.inf, seed=0)
    model.fit(probs, verbose=0)
    model.save(tmp_path / "chain.keras")
    np.save(tmp_path / "probs.npy", probs)
    script = (
        "import keras, numpy as np, kserket\n"
        "model = keras.saving.load_model('chain.keras')\n"
        "probs = np.load('probs.npy')\n"
        "np.save('answer.npy', model.predict(probs))\n"
        "model.fit(probs, epochs=3)\n"
        "np.save('transitions.npy', model.transition_matrix)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert_array_equal(np.load(tmp_path / "answer.npy"), model.predict(probs))
    model.fit(probs, epochs=3)
    assert_array_equal(np.load(tmp_path / "transitions.npy"), model.transition_matrix)
    assert keras.saving.load_model(tmp_path / "chain.keras").prior.trust == np.inf


def test_export(tmp_path):
    _, probs = cycle(num_states=K)
    model = srk.MarkovChain(K, seed=0)
    model.fit(probs, verbose=0)
    model.export(tmp_path / "chain", verbose=False)
    served = tf.saved_model.load(tmp_path / "chain")
    answer = served.serve(probs.astype("float32"))
    assert_allclose(answer.numpy(), model.predict(probs), atol=1e-5)


def test_config_round_trip():
    model = srk.MarkovChain(4, n_init=2, transition_prior=0.5, trust=np.inf, num_paths=7, seed=3)
    again = srk.MarkovChain.from_config(model.get_config())
    assert again.get_config() == model.get_config()


def test_a_graph_with_a_chain_is_saved(tmp_path):
    states, _ = cycle(num_states=K)
    x = np.eye(K)[states] + 0.4 * np.random.default_rng(0).normal(size=(len(states), K))
    gmm1 = gmm.GMM(K, save_dir=None)
    mm1 = mm.MarkovModel(save_dir=None, trust=np.inf, lengths=[100, 140])
    gmm1.connect(srk.Observation(x))
    mm1.connect(gmm1)
    graph = srk.Graph(mm1, seed=0)
    graph.fit(rounds=2, verbose=0)
    graph.save(tmp_path / "g.kserket")
    again = srk.load_graph(tmp_path / "g.kserket")
    assert_array_equal(again.predict(x), graph.predict(x))
    for one in (graph, again):
        one.fit(rounds=1, verbose=0)
    for one, other in zip(graph.get_weights(), again.get_weights(), strict=True):
        assert_array_equal(one, other)


def test_a_graph_with_a_chain_is_served_by_tensorflow():
    states, _ = cycle(num_states=K, num_steps=60)
    x = np.eye(K)[states] + 0.4 * np.random.default_rng(0).normal(size=(len(states), K))
    gmm1, mm1 = gmm.GMM(K, save_dir=None), mm.MarkovModel(save_dir=None)
    gmm1.connect(srk.Observation(x))
    mm1.connect(gmm1)
    graph = srk.Graph(mm1, seed=0)
    graph.fit(rounds=2, verbose=0)
    x[20] = np.nan
    signatures = graph.export("served", dtype="float64")
    assert "generate" in signatures
    served = tf.saved_model.load("served")
    answer = served.signatures["classify"](obs=tf.constant(x))["mm"]
    assert_allclose(answer.numpy(), graph.predict(x), atol=1e-5)
    components = tf.constant(np.repeat(np.arange(K), 200), "int32")
    drawn = served.signatures["generate"](component=components, seed=tf.constant(0))["obs"].numpy()
    mean = np.stack([part.mean(axis=0) for part in np.split(drawn, K)])
    expected = mm1.model.reports @ gmm1.model.means
    assert_allclose(mean, expected, atol=0.15)


@pytest.mark.parametrize("lengths", [[8, 8], [10, 20, 30]])
def test_an_exported_graph_takes_where_sequences_start(lengths):
    _, probs = cycle(num_states=K, num_steps=sum(lengths))
    module = mm.MarkovModel(itr=5, n_init=1, lengths=lengths, save_dir=None)
    module.connect(srk.Observation(probs))
    graph = srk.Graph(module, seed=0)
    graph.fit(rounds=1, verbose=0)
    expected = graph.predict(probs)
    graph.export("served")
    classify = tf.saved_model.load("served").signatures["classify"]
    assert set(classify.structured_input_signature[1]) == {"obs", "mm_starts"}
    starts = np.isin(np.arange(len(probs)), np.cumsum([0, *lengths]))
    found = classify(obs=tf.constant(probs, "float32"), mm_starts=tf.constant(starts))["mm"]
    assert_allclose(found, expected, atol=1e-5)
    ends = np.cumsum(lengths)[:-1]
    for part, answer in zip(np.split(probs, ends), np.split(expected, ends), strict=True):
        one = tf.zeros(len(part), "bool")
        found = classify(obs=tf.constant(part, "float32"), mm_starts=one)["mm"]
        assert_allclose(found, answer, atol=1e-5)


def test_history_and_callbacks():
    _, probs = cycle(num_states=K, sharpness=1.0)
    model = srk.MarkovChain(K, seed=0, tolerance=0.0)
    values = model.fit(probs, epochs=12, verbose=0).history["log_posterior"]
    assert np.diff(values).min() > -1e-8

    class StopAtThird(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 2

    assert len(model.fit(probs, callbacks=[StopAtThird()], verbose=0).epoch) == 3


def test_the_same_seed_gives_the_same(rng):
    probs = rng.dirichlet(np.ones(K), 60)
    one, other = (srk.MarkovChain(K, seed=4) for _ in range(2))
    one.fit(probs, verbose=0)
    other.fit(probs, verbose=0)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert_array_equal(a, b)


def test_samples_follow_the_chain():
    model = fitted()
    states = model.sample(20_000, seed=0)
    counts = np.zeros((K, K))
    np.add.at(counts, (states[:-1], states[1:]), 1)
    frequency = counts / counts.sum(axis=1, keepdims=True)
    assert_allclose(frequency, model.transition_matrix, atol=0.03)
    assert len(model.sample(lengths=[3, 4], seed=0)) == 7
    assert_array_equal(model.sample(50, seed=1), model.sample(50, seed=1))


@pytest.mark.parametrize(
    "options, text",
    [
        ({}, "needs `num_steps`, or"),
        ({"num_steps": 3, "lengths": [3]}, "needs `num_steps`, or"),
        ({"num_steps": 0}, "`num_steps` must be a positive integer"),
        ({"lengths": [3, 0]}, "`lengths` must be a list of positive"),
    ],
)
def test_samples_have_a_length(options, text):
    model = srk.MarkovChain(2, seed=0)
    model.fit(np.full((5, 2), 0.5), epochs=1, verbose=0)
    assert model.sample(lengths=[2, 3], seed=0).shape == (5,)
    with pytest.raises(ValueError, match=text):
        model.sample(**options)


def test_sampled_paths_have_the_marginals(rng):
    model, probs = fitted(), rng.dirichlet(np.ones(K), 6)
    paths = model.sample_paths(probs, 20_000, seed=0)
    frequency = np.mean(paths[:, :, None] == np.arange(K), axis=0)
    assert_allclose(frequency, model.predict(probs), atol=0.02)


def test_a_number_of_paths_is_a_whole_number(rng):
    probs = rng.dirichlet(np.ones(K), 6)
    model = srk.MarkovChain(K, num_paths=5.0, seed=0)
    assert model.fit(probs, epochs=2, verbose=0) and model.num_paths == 5
    assert model.sample_paths(probs, 2.0, seed=0).shape == (2, 6)
    for number in (0, -1, 2.5):
        with pytest.raises(ValueError, match="`num_paths` must be a positive integer"):
            model.sample_paths(probs, number)


def test_a_chain_needs_a_step():
    for call in (srk.MarkovChain(K).fit, fitted().predict):
        with pytest.raises(ValueError, match="one step at least"):
            call(np.zeros((0, K)))


def test_generated_classes_are_those_that_states_are_reported_as():
    _, module = connected(np.full((NUM_STEPS, K), 1 / K))
    (classes,) = module.generate(np.full(20_000, 1), 20_000, np.random.default_rng(0))
    frequency = np.bincount(classes, minlength=K) / 20_000
    assert_allclose(frequency, module.model.reports[1], atol=0.02)
    (drawn,) = module.generate(None, 10, np.random.default_rng(0))
    assert drawn.shape == (10,)
    (drawn,) = module.generate(2, 10, np.random.default_rng(0))  # one class for all
    assert drawn.shape == (10,)
    for latent in (K, -1, [0, 1], 0.5):
        with pytest.raises(ValueError, match="`latent` must be"):
            module.generate(latent, 3, np.random.default_rng(0))


# Sure evidence, zeros, and what follows from paths ------------------------------------------


@pytest.mark.parametrize("trust", [10.0, np.inf])
def test_sure_evidence_counts_in_full(trust):
    """Class 0 is excluded from above; what is left differs by 100 nats, both below exp(-745)."""
    model = fitted(trust)
    reported = srk.Categorical.from_log(np.array([[0.0, -800.0, -900.0]] * 3))
    prior = srk.Categorical.from_log(np.array([[-5000.0, 0.0, 0.0]] * 3))
    data = {"x": reported, "class_prior": prior}
    teller, module = connected(np.full((3, K), 1 / K), trust=trust)
    module.model.set_weights(model.get_weights())
    inference = module.infer(module.read([reported], prior))
    assert_allclose(model.predict(data), inference.posterior.probs, atol=1e-12)
    if np.isinf(trust):
        assert_array_equal(model.predict(data).argmax(axis=1), 1)
        assert_array_equal(model.most_likely_path(data), 1)
        assert_allclose(model.score_samples(data).sum(), -2400.0, atol=10.0)


LEFT_RIGHT = np.triu(np.ones((4, 4), bool)) & ~np.triu(np.ones((4, 4), bool), 2)


def passes(num_passes=6, seed=0):
    """States 0 1 2 3, each for a while, several times; what is heard; the lengths."""
    rng = np.random.default_rng(seed)
    stays = rng.integers(5, 15, size=(num_passes, 4))
    states = np.concatenate([np.repeat(np.arange(4), stay) for stay in stays])
    return states, stays.sum(axis=1), rng


@pytest.mark.parametrize("allowed", ["left-right", LEFT_RIGHT, LEFT_RIGHT.astype(int).tolist()])
def test_transitions_that_are_not_allowed_stay_zero(allowed):
    states, lengths, rng = passes()
    probs = rng.dirichlet(np.ones(4), len(states)) + 1.2 * np.eye(4)[states]
    probs /= probs.sum(axis=1, keepdims=True)
    model = srk.MarkovChain(4, allowed_transitions=allowed, seed=0)
    model.fit(probs, lengths=lengths, verbose=0)
    assert_array_equal(model.transition_matrix > 0, LEFT_RIGHT)
    assert np.mean(model.predict(probs, lengths=lengths).argmax(axis=1) == states) > 0.95
    path = model.most_likely_path(probs, lengths=lengths)
    assert LEFT_RIGHT[path[:-1], path[1:]][np.diff(np.repeat(np.arange(6), lengths)) == 0].all()
    again = srk.MarkovChain.from_config(model.get_config())
    assert_array_equal(again.prior.allowed, LEFT_RIGHT)
    model.partial_fit(probs, lengths=lengths)
    assert_array_equal(model.transition_matrix > 0, LEFT_RIGHT)
    call = model(probs[: lengths[0]]).numpy()
    assert_allclose(call, model.predict(probs[: lengths[0]]), atol=1e-9)


def test_a_mixture_under_a_left_right_chain_numbers_its_classes_in_time():
    states, lengths, rng = passes(seed=1)
    x = 4.0 * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])[states] + rng.normal(size=(len(states), 2))
    gmm1 = gmm.GMM(4, category=states, save_dir=None)
    mm1 = mm.MarkovModel(
        lengths=lengths, category=states, allowed_transitions="left-right", save_dir=None
    )
    gmm1.connect(srk.Observation(x))
    mm1.connect(gmm1)
    srk.Graph(mm1, seed=0).fit(rounds=3, verbose=0)
    assert_array_equal(mm1.model.transition_matrix > 0, LEFT_RIGHT)
    assert np.mean(mm1.posterior.argmax(axis=1) == states) > 0.95
    segments = mm1.segments()
    assert [segment.state for segment in segments] == [0, 1, 2, 3] * 6
    assert segments[0].start == 0 and segments[-1].end == len(states)
    assert np.isin(np.cumsum(lengths), [segment.end for segment in segments]).all()


@pytest.mark.parametrize("allowed", ["right-left", np.eye(3), [[1, 1], [0, 0]], [[0.5, 1], [1, 1]]])
def test_what_says_not_which_transitions_are_allowed(allowed):
    with pytest.raises(ValueError, match="`allowed_transitions` must be 'left-right'"):
        srk.MarkovChain(2, allowed_transitions=allowed)


def test_nan_rows_are_missing_steps(rng):
    model, probs = fitted(), rng.dirichlet(np.ones(K), 8)
    gaps, even = probs.copy(), probs.copy()
    gaps[[2, 5]], even[[2, 5]] = np.nan, 1 / K
    assert_allclose(model.predict(gaps), model.predict(even))
    gaps[3, 0] = np.nan
    with pytest.raises(ValueError, match="^x of MarkovChain"):
        model.predict(gaps)


def test_figures_per_step_per_sequence_and_mean(rng):
    model, probs, lengths = fitted(), rng.dirichlet(np.ones(K), 10), [4, 6]
    each = model.log_likelihood(probs, lengths=lengths)
    initial, transitions, reports = model.get_weights()
    logs = []
    for part in (probs[:4], probs[4:]):  # by enumeration
        likelihood = part @ reports.T
        paths = np.array(list(itertools.product(range(K), repeat=len(part))))
        weights = initial[paths[:, 0]] * transitions[paths[:, :-1], paths[:, 1:]].prod(axis=1)
        weights = weights * likelihood[np.arange(len(part)), paths].prod(axis=1)
        logs.append(np.log(weights.sum()))
    assert_allclose(model.sequence_log_likelihood(probs, lengths=lengths), logs)
    assert_allclose([each[:4].sum(), each[4:].sum()], logs)
    assert_allclose(model.evaluate(probs, lengths=lengths), each.mean())
    assert model.evaluate(probs, return_dict=True).keys() == {"log_likelihood"}
    assert_array_equal(model.score_samples(probs, lengths=lengths), each)


def test_partial_fit_adds_sequences(tmp_path):
    _, probs = cycle(240, sharpness=1.5)
    model = srk.MarkovChain(4, seed=0)
    model.partial_fit(probs)
    model.fit(probs, verbose=0)
    before, counted = model.transition_matrix, model._counted.transitions.sum()
    model.save(tmp_path / "chain.keras")
    again = keras.saving.load_model(tmp_path / "chain.keras")
    for one in (model, again):
        one.partial_fit(probs[:120], lengths=[60, 60])
        assert_allclose(one._counted.transitions.sum(), counted + 118)
    assert_array_equal(model.transition_matrix, again.transition_matrix)
    assert np.abs(model.transition_matrix - before).max() < 0.1
    with pytest.raises(RuntimeError, match="set by hand"):
        fitted().partial_fit(probs[:, :K])


def test_statistics_that_are_not_finite_change_nothing(rng):
    model, probs = fitted(), rng.dirichlet(np.ones(K), 8)
    before, statistics = model.get_weights(), model.statistics(probs)
    with pytest.raises(ValueError, match="finite"):
        model.merge(statistics, statistics._replace(transitions=np.full((K, K), np.nan)))
    for one, other in zip(before, model.get_weights(), strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "uint64", "float32"])
def test_lengths_of_any_type_of_number(rng, dtype):
    probs = rng.dirichlet(np.ones(K), 12)
    lengths = np.array([4, 8], dtype)
    expected = fitted().predict(probs, lengths=[4, 8])
    assert_array_equal(fitted().predict(probs, lengths=lengths), expected)
    assert fitted().sample(lengths=lengths, seed=0).shape == (12,)
    module = mm.MarkovModel(lengths=lengths, save_dir=None, itr=2)
    module.connect(Teller(probs))
    module.update()


# Errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_samp": 0}, "num_samp"),
        ({"itr": 2.5}, "itr"),
        ({"inference": "gibbs"}, "inference"),
        ({"n_init": 0}, "n_init"),
        ({"trust": -1}, "trust"),
        ({"transition_prior": 0}, "transition_prior"),
        ({"mode": "lern"}, "mode"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        mm.MarkovModel(**options)


def test_what_is_no_class_probability_is_refused():
    module = mm.MarkovModel(save_dir=None)
    module.connect(srk.Observation(np.ones((5, 3))))
    with pytest.raises(ValueError, match="class probabilities.*such as a GMM"):
        module.update()
    assert module.model is None


def test_several_inputs_are_refused():
    module = mm.MarkovModel(save_dir=None)
    module.connect(Teller(cycle()[1]), Teller(cycle()[1], "other"))
    with pytest.raises(ValueError, match="reads one module"):
        module.update()


def test_a_prior_of_other_classes_is_refused(rng):
    _, module = connected(rng.dirichlet(np.ones(K), 5))
    before = module.model.get_weights()
    with pytest.raises(ValueError, match="shape"):
        module.set_backward_msg(np.full((5, K + 1), 1 / (K + 1)))
    module.update()
    for one, other in zip(before, module.model.get_weights(), strict=True):
        assert_array_equal(one, other)


def test_using_a_chain_that_has_learned_nothing():
    with pytest.raises(RuntimeError, match="has not been fitted"):
        srk.MarkovChain(3).predict(np.full((4, 3), 1 / 3))
