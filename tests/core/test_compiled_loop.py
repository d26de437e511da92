"""Training in one compiled loop: the arithmetic of ordinary steps, and users' own layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from kserket.core import compiled_loop


def make(*layers, optimizer="sgd"):
    """A regression model whose `train_step` is Keras' own."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 4)).astype("float32")
    return x, x.sum(axis=1, keepdims=True).astype("float32")


def test_full_batch_steps_equal_those_of_fit(data):
    mine, keras_own = make(optimizer="adam"), make(optimizer="adam")
    history = compiled_loop.fit(mine, data, batch_size=10, epochs=3, seed=0)
    expected = keras_own.fit(*data, batch_size=10, epochs=3, shuffle=False, verbose=0)
    for got, wanted in zip(mine.get_weights(), keras_own.get_weights(), strict=True):
        assert_allclose(got, wanted, rtol=1e-5)
    assert_allclose(history.history["loss"], expected.history["loss"], rtol=1e-5)


def test_every_sample_counts_once_an_epoch_and_the_order_follows_the_seed(data):
    class Counter(keras.Model):
        def __init__(self):
            super().__init__()
            self.seen = self.add_weight(shape=(10,), initializer="zeros", trainable=False)
            self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False)
            self.last = self.add_weight(shape=(), initializer="zeros", trainable=False)
            self.built = True

        def train_step(self, batch):
            (rows,) = batch
            self.seen.assign(self.seen + tf.reduce_sum(tf.one_hot(rows, 10), axis=0))
            self.steps.assign_add(1.0)
            self.last.assign(tf.cast(rows[0], "float32"))
            return self.get_metrics_result()

    lasts = []
    for seed in (0, 0, 1, 2, 3):
        model = Counter()
        model.compile("sgd")
        compiled_loop.fit(model, (np.arange(10),), batch_size=4, epochs=2, seed=seed)
        assert_array_equal(model.seen.numpy(), np.full(10, 2.0))
        assert float(model.steps) == 6  # two whole batches and a rest, twice
        lasts.append(float(model.last))
    assert lasts[0] == lasts[1] and len(set(lasts)) > 1


def test_layers_that_behave_otherwise_in_training(data):
    model = make(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5))
    before = [weight.copy() for weight in model.get_weights()]
    compiled_loop.fit(model, data, batch_size=5, epochs=2, seed=0)
    moving_mean = next(w for w in model.weights if w.name == "moving_mean")
    assert np.abs(moving_mean.numpy()).max() > 0
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    assert_array_equal(model.predict(data[0], verbose=0), model.predict(data[0], verbose=0))


def test_callbacks_see_epochs_and_may_stop_them(data):
    seen = []

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((epoch, sorted(logs)))
            self.model.stop_training = epoch == 1

    model = make()
    history = compiled_loop.fit(model, data, batch_size=10, epochs=5, seed=0, callbacks=[Stop()])
    assert seen == [(0, ["loss"]), (1, ["loss"])]
    assert history.epoch == [0, 1]
    history = compiled_loop.fit(
        model, data, batch_size=10, epochs=1, seed=0
    )  # a stop does not last
    assert history.epoch == [0]


def test_loss_is_the_mean_over_samples_of_ragged_batches(data):
    model = make(optimizer=keras.optimizers.SGD(0.0))
    history = compiled_loop.fit(model, data, batch_size=4, epochs=1, seed=0)
    expected = np.mean((model.predict(data[0], verbose=0) - data[1]) ** 2)
    assert_allclose(history.history["loss"], expected, rtol=1e-5)


def test_a_second_fit_and_another_batch_size_trace_nothing_anew(data):
    traces = []

    class Counting(keras.Sequential):
        def train_step(self, batch):
            traces.append(1)
            return super().train_step(batch)

    model = Counting([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    compiled_loop.fit(model, data, batch_size=10, epochs=2, seed=0)
    count = len(traces)
    compiled_loop.fit(model, data, batch_size=3, epochs=2, seed=1)
    model.optimizer.learning_rate = 0.0
    before = model.get_weights()
    compiled_loop.fit(model, data, batch_size=3, epochs=1, seed=1)
    assert len(traces) == count
    for got, wanted in zip(model.get_weights(), before, strict=True):
        assert_array_equal(got, wanted)  # and a changed learning rate takes effect


def test_a_second_fit_goes_on_with_the_optimizer_of_half_precision(data):
    model = make(optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()))
    compiled_loop.fit(model, data, batch_size=5, epochs=1, seed=0)
    scale, size = model.optimizer.dynamic_scale, len(model.optimizer.variables)
    compiled_loop.fit(model, data, batch_size=5, epochs=1, seed=0)
    assert model.optimizer.dynamic_scale is scale
    assert len(model.optimizer.variables) == size
    assert int(model.optimizer.iterations) == 4


def test_many_models_in_one_process_print_nothing(data, caplog):
    for _ in range(8):
        compiled_loop.fit(make(), data, batch_size=5, epochs=1, seed=0)
    assert caplog.records == []
