"""Scores, samples and pictures of a graph; messages that do not settle."""

import concurrent.futures
import copy
import itertools
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from grouped_views import summed_views, views_and_words

import kserket as srk
from kserket import gmm, metrics, mlda, mm, vae
from kserket.core import program, tensors
from kserket.core.beliefs import pass_messages
from kserket.core.prediction import read_data


@pytest.fixture(scope="module")
def mixture():
    return srk.datasets.make_mixture(240, 3, 2, separation=9.0, seed=0)


@pytest.fixture(scope="module")
def fitted(mixture):
    gmm1 = gmm.GMM(3, itr=20, save_dir=None)
    gmm1.connect(srk.Observation(mixture.x))
    graph = srk.Graph(gmm1, seed=0)
    graph.fit(1, verbose=0)
    return graph


@pytest.fixture(scope="module")
def chain(mixture):
    low, high = mixture.x.min(axis=0), mixture.x.max(axis=0)
    vae1 = vae.VAE(2, itr=5, batch_size=80, KL_param=0.01, save_dir=None)
    gmm1 = gmm.GMM(3, itr=10, save_dir=None)
    vae1.connect(srk.Observation((mixture.x - low) / (high - low), name="points"))
    gmm1.connect(vae1)
    graph = srk.Graph(gmm1, seed=0)
    graph.fit(1, verbose=0)
    return graph


def test_evaluate_scores_every_module(chain, mixture):
    x = chain.observations["points"].data
    figures = chain.evaluate(x, mixture.y)
    assert {"vae/loss", "vae/kl", "gmm/log_likelihood", "gmm/nmi", "gmm/ari"} <= set(figures)
    classes = chain.predict(x).argmax(axis=1)
    assert figures["gmm/accuracy"] == metrics.clustering_accuracy(mixture.y, classes)
    assert not any(name.endswith("accuracy") for name in chain.evaluate(x))


def test_log_likelihood_is_that_of_the_predictive_mixture(fitted, mixture):
    from scipy.special import logsumexp
    from scipy.stats import multivariate_t

    state = fitted["gmm"].model.state
    weights = state.weight_concentration / state.weight_concentration.sum()
    terms = []
    for k in range(3):
        df = state.degrees_of_freedom[k] - 1.0  # nu - D + 1 with D = 2
        spread = (state.mean_precision[k] + 1) / (state.mean_precision[k] * df)
        density = multivariate_t(state.mean[k], spread * state.scatter[k], df=df)
        terms.append(np.log(weights[k]) + density.logpdf(mixture.x))
    expected = logsumexp(terms, axis=0).mean()
    assert fitted.evaluate(mixture.x)["gmm/log_likelihood"] == pytest.approx(expected, rel=1e-9)


def test_batches_give_what_the_whole_gives(chain):
    x = chain.observations["points"].data
    whole = chain.predict(x, outputs=["gmm", "points"])
    parts = chain.predict(x, outputs=["gmm", "points"], batch_size=77)
    for name in whole:
        assert np.allclose(whole[name], parts[name], atol=1e-6)


def test_generate_draws_from_the_class_that_was_asked_for(fitted):
    samples = fitted.generate(500, component=2, seed=0)
    assert samples.shape == (500, 2)
    module = fitted["gmm"].model
    error = np.sqrt(np.diag(module.covariances[2]) / 500)
    assert (np.abs(samples.mean(axis=0) - module.means[2]) < 5 * error).all()
    assert np.array_equal(samples, fitted.generate(500, component=2, seed=0))


def test_generate_takes_a_class_a_sample_and_draws_classes_by_their_weights(fitted):
    classes = np.arange(60) % 3
    samples = fitted.generate(60, component=classes, seed=1)
    assert metrics.clustering_accuracy(classes, fitted.predict(samples).argmax(axis=1)) > 0.9
    drawn = fitted.predict(fitted.generate(900, seed=2)).mean(axis=0)
    assert np.allclose(drawn, fitted["gmm"].model.mixing_weights, atol=0.08)
    with pytest.raises(ValueError, match="whole numbers"):
        fitted.generate(2, component=0.5)


@pytest.mark.parametrize("component", [-1, 3, [0, 1, 5]])
def test_generate_knows_the_classes_there_are(fitted, component):
    with pytest.raises(ValueError, match="`component` must be a class, 0 to 2. Received"):
        fitted.generate(3, component=component)
    with pytest.raises(ValueError, match="`component` must be a class, 0 to 2. Received"):
        fitted["gmm"].model.sample(3, component=component)


def test_generate_tells_what_it_cannot_start_from(chain):
    with pytest.raises(ValueError, match="one for each of 3 samples"):
        chain.generate(3, component=[0, 1])
    with pytest.raises(ValueError, match="module of classes.*_vae sends none"):
        chain.generate(3, component=0, top="vae")
    with pytest.raises(ValueError, match="`top` must be.*'points' is an observation"):
        chain.generate(3, top="points")
    assert chain.generate(3, top="vae").shape == (3, 2)


@pytest.mark.parametrize("wrong", [-5, 0, 2.5])
def test_numbers_of_samples_and_passes_are_counts(fitted, mixture, wrong):
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        fitted.predict(mixture.x, batch_size=wrong)
    with pytest.raises(ValueError, match="`max_passes` must be a positive integer"):
        fitted.predict(mixture.x, max_passes=wrong)
    with pytest.raises(ValueError, match="`max_passes` must be a positive integer"):
        fitted.evaluate(mixture.x, max_passes=wrong)
    whole = fitted.predict(mixture.x)
    assert np.allclose(fitted.predict(mixture.x, batch_size=100.0, max_passes=9.0), whole)


def test_generate_goes_down_to_the_data(chain):
    assert chain.generate(7, component=1, seed=0).shape == (7, 2)
    assert chain.generate(7, top="vae", seed=0).shape == (7, 2)
    assert chain.generate(7, outputs=["points"], seed=0).shape == (7, 2)


def test_messages_that_do_not_settle_are_reported(mixture):
    class Contrary(srk.Module):
        """Always sends down the opposite of what it hears."""

        def infer(self, inputs, prior):
            (heard,) = (np.asarray(message) for message in inputs)
            self.calls += 1
            turned = np.roll(heard, self.calls, axis=1)
            return srk.Inference(srk.Categorical(turned), [srk.Categorical(turned)])

        def update(self):
            self.calls = 0
            inference = self.infer(self.get_observations(), self.get_backward_msg())
            self.set_forward_msg(inference.evidence)

    gmm1 = gmm.GMM(3, itr=5, save_dir=None, seed=0)
    gmm1.connect(srk.Observation(np.concatenate([mixture.x[:30]] * 2)))
    other = Contrary(name="contrary")
    other.connect(gmm1)
    third = Contrary(name="third")
    third.connect(gmm1)
    graph = srk.Graph(other, third)
    graph.fit(1, verbose=0)
    with pytest.warns(UserWarning, match="have not settled after 4 passes"):
        graph.predict(mixture.x[:9], max_passes=4)


def test_drawing_shows_modules_messages_and_shapes(chain):
    text = chain.to_mermaid()
    assert text.startswith("flowchart BT")
    assert 'vae -->|"Gaussian (240, 2)"| gmm' in text
    assert 'gmm -.->|"Mixture (240, 2)"| vae' in text
    pytest.importorskip("matplotlib")
    axes = chain.plot()
    written = {item.get_text() for item in axes.texts}
    assert {"points", "vae", "gmm", "Gaussian (240, 2)", "Mixture (240, 2)"} <= written
    assert chain.plot(ax=axes) is axes


def test_data_of_observations_of_one_name_must_be_as_long():
    first, second = srk.Observation(np.eye(3)), srk.Observation(np.eye(3))  # "obs" and "obs_2"
    graph = srk.Graph(first, second)
    with pytest.raises(ValueError, match=r"same number of samples.*'obs': 4, 'obs_2': 3"):
        graph.predict({"obs": np.ones((4, 3)), "obs_2": np.ones((3, 3))}, outputs="obs")


class Told(srk.LearningModule):
    """Concludes what a function of its inputs returns."""

    def __init__(self, conclude, category=None):
        super().__init__("told", labels=category, save_dir=None)
        self.conclude = conclude

    def build_model(self, inputs):
        return object()

    def learn(self, inputs, prior, rng):
        return {}

    def infer(self, inputs, prior):
        return self.conclude(np.asarray(inputs[0]))


def test_a_posterior_may_be_an_array():
    x, labels = np.eye(3)[[0, 1, 2, 1]], [0, 1, 2, 1]
    module = Told(lambda x: srk.Inference(x, [None], posterior=x), labels)
    module.connect(srk.Observation(x))
    graph = srk.Graph(module)
    assert graph.fit(1, verbose=0).history["told/accuracy"] == [1.0]
    np.testing.assert_array_equal(module.posterior, x)
    np.testing.assert_array_equal(graph.predict(x[:2]), x[:2])
    assert graph.evaluate(x, labels)["told/accuracy"] == 1.0


@pytest.mark.parametrize(
    ("conclude", "error", "said"),
    [
        (lambda x: (x, [None], x), TypeError, "told must return a kserket.Inference.*tuple"),
        (lambda x: srk.Inference(x, [None], 2 * x), ValueError, "posterior of .*told.*sum 2"),
    ],
)
def test_what_is_no_inference_is_named(conclude, error, said):
    module = Told(conclude)
    module.connect(srk.Observation(np.eye(3)))
    with pytest.raises(error, match=said):
        module.update()
    assert module.get_forward_msg() is None


# Compiled prediction ------------------------------------------------------------------------


def by_infer(graph, x):
    """What the module at the top concludes, by `infer` of every module."""
    beliefs = pass_messages(graph, read_data(graph, x), 50, 1e-10)
    return beliefs.answer(graph.tops[0])


def assert_as_infer(graph, x, compiled=True):
    answers = graph.predict(x, tolerance=1e-10)
    assert graph.program.is_compiled == compiled
    np.testing.assert_allclose(answers, by_infer(graph, x), atol=1e-6)
    return answers


@pytest.fixture
def sequence():
    """GMM+MM over steps whose order says something, and the steps."""
    rng = np.random.default_rng(0)
    steps = 1.5 * np.eye(3)[np.arange(60) // 4 % 3] + rng.normal(size=(60, 3))
    gmm1 = gmm.GMM(3, itr=5, n_init=1, save_dir=None)
    mm1 = mm.MarkovModel(itr=5, n_init=1, save_dir=None)
    gmm1.connect(srk.Observation(steps))
    mm1.connect(gmm1)
    graph = srk.Graph(mm1, seed=0)
    graph.fit(1, verbose=0)
    return graph, steps


@pytest.mark.parametrize(
    "options", [{"allowed_transitions": "left-right"}, {"duration": "poisson", "max_duration": 9}]
)
def test_exact_chains_of_many_steps_go_by_infer(monkeypatch, options):
    rng = np.random.default_rng(0)
    steps = 2.0 * np.eye(3)[np.arange(320) // 20 % 3] + rng.normal(size=(320, 3))
    gmm1 = gmm.GMM(3, itr=5, n_init=1, save_dir=None)
    mm1 = mm.MarkovModel(itr=5, n_init=1, lengths=[200, 120], save_dir=None, **options)
    gmm1.connect(srk.Observation(steps))
    mm1.connect(gmm1)
    graph = srk.Graph(mm1, seed=0)
    graph.fit(1, verbose=0)
    answers = graph.predict(steps, tolerance=1e-10)
    assert graph.program is None
    monkeypatch.setattr("kserket.mm.module._FEW_STEPS", 320)
    np.testing.assert_allclose(answers, assert_as_infer(graph, steps), atol=1e-9)


def test_answers_follow_every_change_of_parameters(sequence):
    graph, steps = sequence
    answers = [assert_as_infer(graph, steps)]
    before, model = graph.get_weights(), graph["gmm"].model
    means = next(weight for weight in model.weights if weight.path.endswith("/mean"))
    parameters = graph["mm"].get_parameters()

    def shrink():
        means.assign(0.8 * means)

    def load():
        name = next(name for name, array in parameters.items() if array.shape == (3, 3))
        rows = 0.5 * parameters[name] + 0.5 * parameters[name][::-1]
        graph["mm"].set_parameters({**parameters, name: rows})

    def replace():
        other = copy.deepcopy(model)
        other.set_weights([1.1 * np.array(weight) for weight in model.weights])
        graph["gmm"].model = other

    changes = [shrink, lambda: graph.set_weights(before), load, lambda: graph.fit(2, verbose=0)]
    for change in (*changes, replace):
        change()
        answers.append(assert_as_infer(graph, steps))
    for old, new in itertools.pairwise(answers):
        assert np.abs(old - new).max() > 1e-5


def test_answers_follow_lengths(sequence):
    graph, steps = sequence
    answers = []
    for lengths in (None, [20, 40], np.array([35, 25], "int16"), [10, 50]):
        graph["mm"].lengths = lengths
        answers.append(assert_as_infer(graph, steps))
    for old, new in itertools.pairwise(answers):
        assert np.abs(old - new).max() > 1e-4


def test_a_graph_that_has_predicted_is_copied_pickled_and_saved(sequence):
    graph, steps = sequence
    expected = graph.predict(steps)
    graph.save("graph.kserket")
    for again in (
        copy.deepcopy(graph),
        pickle.loads(pickle.dumps(graph)),
        srk.load_graph("graph.kserket"),
    ):
        np.testing.assert_array_equal(again.predict(steps), expected)


def test_threads_get_the_same(sequence):
    graph, steps = sequence
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(graph.predict, [steps] * 8))
    for answer in answers:
        np.testing.assert_array_equal(answer, answers[0])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int64"])
def test_data_of_any_type(sequence, dtype):
    graph, steps = sequence
    assert_as_infer(graph, np.abs(10 * steps).astype(dtype))


def test_rows_that_are_missing_and_one_function_for_any_number(chain, mixture):
    x = np.array(chain.observations["points"].data)
    rows = np.where(np.arange(len(x))[:, None] % 3, x, np.nan)
    assert_as_infer(chain, rows)
    program, functions = chain.program, len(chain.program._functions)
    for size in (1, 2, 57):
        assert_as_infer(chain, rows[-size:])
    chain.predict(rows, max_passes=7, tolerance=1e-3)
    assert chain.program is program and len(program._functions) == functions
    predicted = chain.predict(rows, outputs=["points", "vae"])
    beliefs = pass_messages(chain, read_data(chain, rows), 50, 1e-10)
    for name, answer in predicted.items():
        np.testing.assert_allclose(answer, beliefs.answer(chain[name]), atol=1e-5)


def test_blocks_give_the_whole_to_the_last_bit(chain, monkeypatch):
    x = np.tile(chain.observations["points"].data, (9, 1))
    monkeypatch.setattr(program, "_BLOCK_ROWS", 10**6)
    whole = chain.predict(x, outputs=["gmm", "points"])
    monkeypatch.setattr(program, "_BLOCK_ROWS", 500)
    parts = chain.predict(x, outputs=["gmm", "points"])
    for name, answer in whole.items():
        np.testing.assert_array_equal(parts[name], answer)


class Squared(srk.LearningModule):
    """A classifier that does more than its Keras model: it squares probabilities."""

    links_samples = False

    def build_model(self, inputs):
        start = keras.initializers.RandomNormal(seed=0)
        return keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(3, "softmax", kernel_initializer=start)]
        )

    def learn(self, inputs, prior, rng):
        return {}

    def infer(self, inputs, prior):
        log_probs = 2.0 * np.log(self.model(np.asarray(inputs[0], "float32")).numpy())
        said = srk.Categorical.from_log(log_probs)
        above = said if prior is None else srk.product([said, prior])
        return srk.Inference(said, [None], above)


def test_a_module_in_numpy_in_the_middle_is_exact():
    x = np.random.default_rng(0).normal(size=(40, 3))
    squared, mm1 = Squared("squared", save_dir=None), mm.MarkovModel(itr=3, n_init=1, save_dir=None)
    squared.connect(srk.Observation(x))
    mm1.connect(squared)
    graph = srk.Graph(mm1, seed=0)
    graph.fit(1, verbose=0)
    assert_as_infer(graph, x, compiled=False)
    with pytest.raises(TypeError, match="_squared cannot be exported.*tensor_infer"):
        graph.export("served")


def test_a_rule_that_says_something_else_than_infer_is_not_used():
    class Wrong(Squared):
        tensor_infer = srk.LearningModule.keras_rule

    module = Wrong("wrong", save_dir=None)
    x = np.random.default_rng(0).normal(size=(40, 3))
    module.connect(srk.Observation(x))
    graph = srk.Graph(module, seed=0)
    graph.fit(1, verbose=0)
    with pytest.warns(UserWarning, match=r"wrong concludes in TensorFlow differs by.*infer\(\)"):
        answers = graph.predict(x)
    np.testing.assert_allclose(answers, by_infer(graph, x), atol=1e-12)


def test_a_rule_that_holds_numbers_is_traced_again_when_they_change():
    class Scaled(Squared):
        factor = 2.0

        def __init__(self, power):
            super().__init__("scaled", save_dir=None)
            self.power = power

        def infer(self, inputs, prior):
            probs = self.model(np.asarray(inputs[0], "float32")).numpy().astype(float)
            said = srk.Categorical.from_log(self.power * np.log(probs))
            return srk.Inference(said, [None], said)

        def tensor_infer(self, inputs, prior):
            with tf.init_scope():
                kernel, bias = self.model.get_weights()  # as they are now
            logits = tf.cast(inputs[0], "float32") @ kernel + bias
            said = tensors.from_log(self.power * tf.cast(logits, "float64"))
            return tensors.Inference(said, [None], said)

    module = Scaled(2.0)
    x = np.random.default_rng(0).normal(size=(40, 3))
    module.connect(srk.Observation(x))
    graph = srk.Graph(module, seed=0)
    graph.fit(1, verbose=0)
    answers = [assert_as_infer(graph, x)]
    module.power = 3.0
    answers.append(assert_as_infer(graph, x))
    module.model.set_weights([5.0 * array for array in module.model.get_weights()])
    answers.append(assert_as_infer(graph, x))
    for old, new in itertools.pairwise(answers):
        assert np.abs(old - new).max() > 1e-3


def test_what_cannot_be_predicted_is_refused_as_in_an_update(chain, sequence):
    with pytest.raises(ValueError, match="points"):
        chain.predict(-5.0 * np.ones((3, 2)))
    chain.predict(0.5 * np.ones((3, 2)))
    assert chain.program.is_compiled


def test_groups_beside_another_sense_may_be_missing():
    graph, (x, words), labels = views_and_words()
    alone = graph.predict({"words": words})
    nothing = np.full(x.shape, np.nan)
    np.testing.assert_array_equal(alone, graph.predict({"views": nothing, "words": words}))
    assert graph.predict({"views": x}).shape == (30, 3)
    both = graph.predict({"views": x, "words": words})
    assert np.abs(both - alone).max() > 1e-4
    with pytest.raises(ValueError, match="same number of samples.*'words': 29"):
        graph.predict({"views": x, "words": words[1:]})
    scores = graph.evaluate({"views": x, "words": words}, labels)
    assert "gmm/accuracy" in scores and "mlda/accuracy" not in scores
    assert "mlda/accuracy" in graph.evaluate({"views": x, "words": words}, labels[::3])


def test_other_data_have_groups_of_their_own(tmp_path):
    points, sums = summed_views(20)
    mlda1 = mlda.MLDA(3, itr=5, n_init=1, save_dir=None)
    mlda1.connect(sums)
    graph = srk.Graph(mlda1, seed=0)
    graph.fit(1, verbose=0)
    before = graph.predict(points.x)
    with pytest.raises(ValueError, match="groupsum.group_idx|same number"):
        graph.predict(points.x[:6])
    sums.group_idx = [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(graph.predict(points.x[:6]), before[:2], atol=1e-6)
    sums.group_idx = [1, 1, 1, 0, 0, 0]
    np.testing.assert_allclose(graph.predict(points.x[:6]), before[1::-1], atol=1e-6)
    assert set(graph.evaluate(points.x[:6])) >= {"gmm/log_likelihood", "mlda/log_likelihood"}
    graph.save(tmp_path / "scenes.kserket")
    loaded = srk.load_graph(tmp_path / "scenes.kserket")
    np.testing.assert_array_equal(loaded["groupsum"].group_idx, sums.group_idx)
    with pytest.raises(ValueError, match="group_idx"):
        sums.group_idx = [0.5]
    assert len(sums.group_idx) == 6
