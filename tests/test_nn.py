"""The head: what it learns, what its message says, missing targets, losses, files."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm, nn

N, K = 90, 3
CLASSES = np.arange(N) % K
PROBS = 0.1 + 0.7 * np.eye(K)[CLASSES]  # rows sum to 1
MEANS = np.array([[0.0, 5.0], [10.0, 0.0], [-10.0, -5.0]])
Y = MEANS[CLASSES] + np.random.default_rng(0).normal(size=(N, 2))


def linear(kernel):
    """A network without hidden layers, its kernel (K, D)."""
    network = keras.Sequential(
        [keras.Input((len(kernel),)), keras.layers.Dense(kernel.shape[1], use_bias=False)]
    )
    network.set_weights([kernel])
    return network


def head(y=Y, probs=PROBS, **options):
    """A head above observations, after an update."""
    defaults = {"itr1": 60, "itr2": 100, "batch_size1": 30, "learning_rate": 0.02}
    module = nn.NN(**{**defaults, "save_dir": None, "seed": 0, **options})
    below = srk.Observation(probs, name="classes", allow_missing=True)
    target = srk.Observation(y, name="target", allow_missing=True)
    module.connect(below, target)
    module.update()
    return module, below, target


def test_message_is_where_the_target_comes_from():
    """Of a linear network and squares: least squares on the simplex, in closed form."""
    model = nn.SupervisedHead(3, (3,), linear(2.0 * np.eye(3, dtype="float32")))
    model.adapt(np.zeros((1, 3)))
    q = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [1 / 3, 1 / 3, 1 / 3]])
    found = np.exp(model.log_message(2.0 * q, steps=1500))
    assert_allclose(found, q, atol=1e-3)
    corner = np.exp(model.log_message(np.array([[9.0, 0.0, 0.0]]), steps=3000))
    assert corner[0, 0] > 0.999  # outside: the nearest point of the simplex


def test_message_does_not_depend_on_other_samples_nor_on_blocks():
    model = nn.SupervisedHead(K, (2,), seed=1)
    model.adapt(Y)
    whole = model.log_message(Y[:20], steps=50)
    assert_allclose(model.log_message(Y[:20], steps=50, batch_size=7), whole, atol=1e-4)
    assert_allclose(model.log_message(Y[3:4], steps=50), whole[3:4], atol=1e-4)
    assert model.log_message(Y[:0]).shape == (0, K)


def test_the_first_step_goes_down_the_gradient_at_the_input():
    kernel = np.random.default_rng(0).normal(size=(3, 2)).astype("float32")
    model = nn.SupervisedHead(3, (2,), linear(kernel))
    model.adapt(np.zeros((1, 2)))
    y, q = np.array([[1.0, -2.0]]), np.full(3, 1 / 3)
    gradient = kernel @ (q @ kernel - y[0])
    gradient = q * (gradient - q @ gradient)
    expected = -0.01 * np.sign(gradient)  # Adam's first step
    found = model.log_message(y, steps=1)[0]
    assert_allclose(found - found.mean(), expected - expected.mean(), atol=1e-5)


def test_what_goes_where():
    module, below, target = head()
    message = np.asarray(below.get_backward_msg())
    assert (message.argmax(axis=1) == CLASSES).all()
    product = PROBS * message
    evidence = np.asarray(module.get_forward_msg())
    assert_allclose(evidence, product / product.sum(axis=1)[:, None], atol=1e-9)
    assert np.abs(np.asarray(target.get_backward_msg()) - MEANS[CLASSES]).mean() < 2.0
    prior = np.random.default_rng(1).dirichlet(np.ones(K), N)
    module.trainable = False
    module.set_backward_msg(prior)
    module.mode = "recog"
    module.update()
    assert_allclose(np.asarray(module.get_forward_msg()), evidence, atol=1e-6)
    sent = message * prior
    assert_allclose(np.asarray(below.get_backward_msg()), sent / sent.sum(1)[:, None], atol=1e-6)


def test_missing_targets_send_nothing_and_are_predicted():
    y = np.where(np.arange(N)[:, None] < 12, Y, np.nan)
    module, below, target = head(y)
    message = np.asarray(below.get_backward_msg())
    assert_allclose(message[12:], 1 / K)
    assert (message[:12].argmax(axis=1) == CLASSES[:12]).all()
    error = np.asarray(target.get_backward_msg())[12:] - MEANS[CLASSES[12:]]
    assert np.abs(error).mean() < 2.0
    alone, _, _ = head(Y[:12], PROBS[:12])  # the others teach it nothing
    for name, array in alone.get_parameters().items():
        assert_allclose(module.get_parameters()[name], array, rtol=1e-5, atol=1e-6)


def test_without_any_target_nothing_is_learned_and_later_it_is():
    module, below, target = head(np.full((N, 2), np.nan))
    assert_allclose(np.asarray(below.get_backward_msg()), 1 / K)
    assert not module.model.is_adapted and "loss" not in module.logs
    target.set_data(Y, same_samples=True)
    module.update()
    assert (np.asarray(below.get_backward_msg()).argmax(axis=1) == CLASSES).all()


def test_rows_of_the_classifier_may_be_missing():
    probs = PROBS.copy()
    probs[:5] = np.nan
    module, below, _ = head(probs=probs)
    evidence = module.get_forward_msg()
    assert evidence.missing is None
    assert_allclose(np.asarray(evidence)[:5], np.asarray(below.get_backward_msg())[:5], atol=1e-9)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_units_do_not_matter(unit):
    module, below, target = head()
    scaled, below_scaled, target_scaled = head(unit * Y + 100 * unit)
    assert_allclose(scaled.logs["loss"], module.logs["loss"], rtol=1e-3)
    assert_allclose(
        np.asarray(below_scaled.get_backward_msg()), np.asarray(below.get_backward_msg()), atol=1e-3
    )
    predicted = np.asarray(target_scaled.get_backward_msg()) / unit - 100
    assert_allclose(predicted, np.asarray(target.get_backward_msg()), atol=1e-2)


def test_a_constant_column_says_nothing():
    columns = np.column_stack([Y, np.full(N, 1e6 + 0.1)])
    _, below, target = head(columns)
    assert (np.asarray(below.get_backward_msg()).argmax(axis=1) == CLASSES).all()
    assert_allclose(np.asarray(target.get_backward_msg())[:, 2], 1e6 + 0.1, atol=0.5)


NAMES = (CLASSES + 1.0)[:, None]  # 1 to 3: no class is called 0
TARGETS = {
    "names": (NAMES, "sparse_categorical_crossentropy"),
    "names, an object": (NAMES, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
    "one-hot": (np.eye(K)[CLASSES], "categorical_crossentropy"),
    "yes or no": (1.0 * (MEANS > 0)[CLASSES], keras.losses.BinaryCrossentropy(from_logits=True)),
    "one number": (MEANS[CLASSES, :1], "mae"),
    "small images": (MEANS[CLASSES][:, None, :].repeat(2, axis=1), "mse"),
}


@pytest.mark.parametrize("target", TARGETS)
def test_losses(target):
    y, loss = TARGETS[target]
    module, below, observation = head(y, loss=loss)
    predicted = np.asarray(observation.get_backward_msg())
    assert predicted.shape == y.shape
    scale = np.abs(y).max()
    assert np.abs(predicted - y).mean() < 0.25 * scale
    if y.ndim == 2 and y.shape[1] == K:
        assert_allclose(predicted.sum(axis=1), 1.0, atol=1e-5)
    message = np.asarray(below.get_backward_msg())
    if target != "yes or no":
        assert (message.argmax(axis=1) == CLASSES).all()
    graph = srk.Graph(module)
    new = {"classes": PROBS[:4]}
    assert_allclose(graph.predict(new, "target"), predicted[:4], atol=1e-4)


def test_wrong_targets_and_networks_are_refused():
    for y, loss, said in (
        (NAMES - 2, "sparse_categorical_crossentropy", "whole numbers"),
        (Y, "categorical_crossentropy", "probabilities"),
    ):
        with pytest.raises(ValueError, match=said):
            head(y, loss=loss)
    with pytest.raises(ValueError, match="network. must return .None, 2."):
        head(network=linear(np.ones((K, 5), "float32")))
    with pytest.raises(ValueError, match=r"network. must take class.*one that takes .None, 9."):
        head(network=linear(np.ones((9, 2), "float32")))
    with pytest.raises(TypeError, match="network"):
        nn.NN(network="dense")
    with pytest.raises(ValueError, match="no_such_loss"):
        nn.NN(loss="no_such_loss")
    module, _, target = head(NAMES, loss="sparse_categorical_crossentropy")
    target.set_data(NAMES + 5)
    with pytest.raises(ValueError, match="from 0 to 3"):
        module.update()
    with pytest.raises(ValueError, match="two modules, a classifier and a target"):
        alone = nn.NN(save_dir=None)
        alone.connect(srk.Observation(PROBS))
        alone.update()


def few_names(seed=0):
    """A mixture of points, and a head that knows one name in ten."""
    rng = np.random.default_rng(seed)
    x = 6.0 * np.eye(K)[CLASSES] + rng.normal(size=(N, K))
    y = np.where(np.arange(N)[:, None] < 9, NAMES, np.nan)
    gmm1 = gmm.GMM(K, save_dir=None)
    nn1 = nn.NN(
        80,
        100,
        learning_rate=0.02,
        loss="sparse_categorical_crossentropy",
        save_dir=None,
    )
    gmm1.connect(srk.Observation(x, name="point"))
    nn1.connect(gmm1, srk.Observation(y, name="name", allow_missing=True))
    graph = srk.Graph(nn1, seed=seed)
    graph.fit(rounds=2, verbose=0)
    return graph, x, y


def test_few_names_name_all_and_a_file_predicts_the_same(tmp_path):
    graph, x, y = few_names()
    named = graph.predict({"point": x}, "name")
    assert (named == NAMES).mean() > 0.95
    points = graph.predict({"name": NAMES[:3]}, "point")  # from a name alone
    assert_array_equal(points.argmax(axis=1), CLASSES[:3])
    graph.save(tmp_path / "head.kserket")
    np.save(tmp_path / "x.npy", x)
    code = (
        "import numpy as np, kserket as srk; "
        "graph = srk.load_graph('head.kserket'); "
        "np.save('named.npy', graph.predict({'point': np.load('x.npy')}, 'name'))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300)
    assert_array_equal(np.load(tmp_path / "named.npy"), named)
    again = srk.load_graph(tmp_path / "head.kserket")
    for one in (graph, again):
        one.fit(rounds=1, verbose=0)
    for name, array in graph["nn"].get_parameters().items():
        assert_array_equal(again["nn"].get_parameters()[name], array)


def test_exported_it_answers_as_in_python(tmp_path):
    graph, x, y = few_names()
    graph.export(tmp_path / "served", dtype="float64")
    served = tf.saved_model.load(tmp_path / "served").signatures["classify"]
    answer = served(point=tf.constant(x), name=tf.constant(y))["nn"]
    assert_allclose(answer, graph.predict({"point": x, "name": y}), atol=1e-3)


def test_recognition_knows_names_that_are_not_there(tmp_path):
    module, _, _ = head(NAMES, loss="sparse_categorical_crossentropy", save_dir=tmp_path)
    new, _, target = head(
        np.full((N, 1), np.nan),
        loss="sparse_categorical_crossentropy",
        mode="recog",
        save_dir=None,
        load_dir=module.folder,
    )
    assert_array_equal(target.get_backward_msg(), NAMES)


class Script(nn.NN):
    def model(self, x, y, input_dim, output_dim):
        h = tf.keras.layers.Dense(16, activation="relu")(x)
        out = tf.keras.layers.Dense(output_dim)(h)
        loss = tf.reduce_mean(tf.reduce_sum(tf.square(out - y), axis=1))
        return loss, tf.compat.v1.train.AdamOptimizer(0.02)


class Strange(nn.NN):
    def model(self, x, y, input_dim, output_dim):
        return tf.reduce_mean(tf.square(y)), None


def test_a_script_states_network_loss_and_optimizer():
    module = Script(150, 200, batch_size1=30, save_dir=None, seed=0)
    below, target = srk.Observation(PROBS), srk.Observation(Y)
    module.connect(below, target)
    module.update()
    assert_allclose(float(module.model.optimizer.learning_rate), 0.02, rtol=1e-6)
    output = module.model.network.predict(PROBS, verbose=0)
    loss = np.square(output - Y).sum(axis=1).mean()
    assert_allclose(module.model.evaluate(PROBS, Y, verbose=0), loss, rtol=1e-4)
    assert (np.asarray(below.get_backward_msg()).argmax(axis=1) == CLASSES).all()
    strange = Strange(5, 5, save_dir=None)
    strange.connect(below, target)
    with pytest.raises(ValueError, match="model.. of Strange must return a loss"):
        strange.update()


def test_the_model_is_a_keras_model(tmp_path):
    model = nn.SupervisedHead(K, (2,), seed=0)
    model.compile("adam", metrics=["mae"])
    history = model.fit(PROBS, Y, epochs=3, validation_split=0.2, verbose=0).history
    assert {"loss", "mae", "val_loss"} <= set(history)
    model.save(tmp_path / "head.keras")
    again = keras.saving.load_model(tmp_path / "head.keras")
    assert_allclose(again.predict(PROBS, verbose=0), model.predict(PROBS, verbose=0), rtol=1e-6)
    assert_allclose(again.log_message(Y, 20), model.log_message(Y, 20), atol=1e-6)
