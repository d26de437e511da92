"""Models without gradients keep Keras' manners: callbacks, progress, statistics, export."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import kserket
from kserket.core import progress

RNG = np.random.default_rng(0)
POINTS = np.concatenate([RNG.normal(size=(40, 2)), RNG.normal(size=(40, 2)) + 6])
COUNTS = RNG.multinomial(12, [[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]], size=(40, 2)).reshape(80, 3)
STEPS = np.eye(3)[np.arange(80) % 3] * 0.7 + 0.1

MODELS = {
    "mixture": (lambda: kserket.GaussianMixture(2, n_init=2, seed=0, tolerance=None), POINTS),
    "sampler": (lambda: kserket.GaussianMixture(2, inference="gibbs", seed=0), POINTS),
    "chain": (lambda: kserket.MarkovChain(3, n_init=2, seed=0, tolerance=None), STEPS),
    "documents": (lambda: kserket.MultimodalLDA(2, n_init=2, seed=0, tolerance=None), COUNTS),
    "topics": (
        lambda: kserket.MultimodalLDA(2, alpha=0.5, n_init=2, seed=0, tolerance=None),
        COUNTS,
    ),
    "topic sampler": (
        lambda: kserket.MultimodalLDA(2, inference="gibbs", n_init=2, seed=0),
        COUNTS,
    ),
}
every_model = pytest.mark.parametrize(("make", "x"), MODELS.values(), ids=MODELS)


class Keep(keras.callbacks.Callback):
    """Keeps the weights after every sweep."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())


@every_model
def test_callbacks_see_what_each_sweep_arrived_at(make, x):
    whole, keep = make(), Keep()
    whole.fit(x, epochs=4, callbacks=[keep], verbose=0)
    assert len(keep.weights) == 4
    for seen, final in zip(keep.weights[-1], whole.get_weights(), strict=True):
        assert np.array_equal(seen, final)
    plain = make()
    plain.fit(x, epochs=4, verbose=0)
    for seen, final in zip(whole.get_weights(), plain.get_weights(), strict=True):
        assert np.array_equal(seen, final)


@every_model
def test_early_stopping_puts_the_best_sweep_back(make, x):
    model, keep = make(), Keep()
    figure = next(iter(make().fit(x, epochs=1, verbose=0).history))
    stop = keras.callbacks.EarlyStopping(
        figure, mode="max", min_delta=1e9, patience=2, restore_best_weights=True
    )
    history = model.fit(x, epochs=9, callbacks=[keep, stop], verbose=0)
    assert len(history.epoch) == 3
    assert model.is_fitted
    for restored, first in zip(model.get_weights(), keep.weights[0], strict=True):
        assert np.array_equal(restored, first)


@every_model
def test_checkpoints_hold_a_fitted_model(make, x, tmp_path):
    path = tmp_path / "{epoch}.keras"
    model = make()
    model.fit(x, epochs=2, callbacks=[keras.callbacks.ModelCheckpoint(path)], verbose=0)
    loaded = keras.models.load_model(tmp_path / "2.keras")
    assert np.allclose(loaded.predict(x), model.predict(x), rtol=0, atol=1e-12)


@every_model
def test_progress_is_silent_brief_or_patient(make, x, capsys, monkeypatch):
    make().fit(x, epochs=3, verbose=0)
    make().fit(x, epochs=3)
    assert capsys.readouterr().out == ""
    model = make()
    (figure,) = model.fit(x, epochs=3, verbose=2).history
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{model.name} - 3 sweeps - {figure}: ")
    ticks = itertools.count(step=40)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(ticks)))
    make().fit(x, epochs=3)
    assert "sweep 2/3" in capsys.readouterr().out
    with pytest.raises(ValueError, match="verbose"):
        make().fit(x, epochs=3, verbose="loud")


@every_model
def test_merge_needs_statistics_and_a_fitted_model(make, x):
    with pytest.raises(ValueError, match="one part of the data at least"):
        make().merge()
    model = make()
    model.fit(x, epochs=1, verbose=0)
    with pytest.raises(RuntimeError, match="not been fitted"):
        make().merge(model.statistics(x))


@every_model
@pytest.mark.parametrize(
    "make_callback",
    [
        lambda folder: keras.callbacks.TensorBoard(folder, histogram_freq=1),
        lambda folder: keras.callbacks.CSVLogger(f"{folder}/figures.csv"),
        lambda folder: keras.callbacks.ModelCheckpoint(
            f"{folder}/last.weights.h5", save_weights_only=True
        ),
        lambda folder: keras.callbacks.TerminateOnNaN(),
    ],
    ids=["TensorBoard", "CSVLogger", "weights", "TerminateOnNaN"],
)
def test_callbacks_of_keras_work_without_an_optimizer(make, x, make_callback, tmp_path):
    plain, watched = make(), make()
    expected = plain.fit(x, epochs=2, verbose=0)
    history = watched.fit(x, epochs=2, callbacks=make_callback(str(tmp_path)), verbose=0)
    assert history.history == expected.history


class Die(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@every_model
def test_a_fit_that_was_interrupted_goes_on_from_its_backup(make, x, tmp_path):
    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    for model in (make(), make()):  # a process each
        try:
            history = model.fit(x, epochs=6, callbacks=[backup(), Die()], verbose=0)
        except KeyboardInterrupt:
            assert (tmp_path / "backup").exists()
    assert history.epoch == [3, 4, 5] and model.is_fitted
    assert not (tmp_path / "backup").exists()


@every_model
def test_callbacks_that_set_a_learning_rate_are_refused_before_anything_changes(make, x):
    model = make()
    model.fit(x, epochs=1, verbose=0)
    before = model.get_weights()
    for callback in (
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
        keras.callbacks.ReduceLROnPlateau("bound"),
        keras.callbacks.TensorBoard("logs", write_steps_per_second=True),
    ):
        with pytest.raises(ValueError, match="by sweeps, without .*eave .*out"):
            model.fit(x, callbacks=[callback], verbose=0)
    for weight, old in zip(model.get_weights(), before, strict=True):
        assert np.array_equal(weight, old)


@every_model
def test_evaluate_is_the_mean_log_likelihood(make, x):
    model = make()
    with pytest.raises(RuntimeError, match="has not been fitted"):
        model.evaluate(x)
    model.fit(x, epochs=2, verbose=0)
    expected = model.log_likelihood(x).mean()
    assert model.evaluate(x, verbose=0) == pytest.approx(expected, rel=1e-12)
    assert model.evaluate(x, return_dict=True) == {"log_likelihood": model.evaluate(x)}
    assert model.test_on_batch(x) == model.evaluate(x)


def test_evaluate_takes_what_belongs_to_x():
    mixture = kserket.GaussianMixture(2, seed=0)
    mixture.fit(POINTS, verbose=0)
    weight = np.arange(80.0)
    expected = np.average(mixture.log_likelihood(POINTS), weights=weight)
    assert mixture.evaluate(POINTS, sample_weight=weight) == pytest.approx(expected)
    prior = np.tile([0.9, 0.1], (80, 1))
    expected = mixture.log_likelihood(POINTS, prior).mean()
    assert mixture.evaluate({"x": POINTS, "class_prior": prior}) == pytest.approx(expected)
    variance = np.full(POINTS.shape, 0.1)
    variance[:3] = np.inf  # rows that were not observed
    expected = mixture.evaluate(POINTS[3:])
    assert mixture.evaluate({"x": POINTS, "variance": variance}) == pytest.approx(expected)
    assert mixture.evaluate(kserket.Gaussian(POINTS, variance)) == pytest.approx(expected)
    with pytest.raises(ValueError, match="nothing to evaluate"):
        mixture.evaluate({"x": POINTS[:3], "variance": variance[:3]})
    chain = kserket.MarkovChain(3, seed=0)
    chain.fit(STEPS, verbose=0)
    expected = np.sum(chain.log_likelihood(STEPS, lengths=[30, 50])) / 80
    assert chain.evaluate(STEPS, lengths=[30, 50]) == pytest.approx(expected)


@every_model
def test_what_keras_does_by_gradients_says_what_to_do_instead(make, x):
    model = make()
    with pytest.raises(TypeError, match=r"by sweeps.*Call fit\(x\)"):
        model.compile("adam", loss="mse")
    with pytest.raises(TypeError, match="no train_on_batch.*(partial_fit|merge)"):
        model.train_on_batch(x)


class Batches(keras.utils.PyDataset):
    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = slice(20 * index, 20 * index + 20)
        return tuple(part[rows] for part in self.parts)


@every_model
def test_datasets_are_read_once_from_front_to_back(make, x):
    expected = make()
    expected.fit(x, epochs=2, verbose=0)
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(17)
    for data in (dataset, dataset.map(lambda x: {"x": x}), Batches(x, np.zeros(80))):
        model = make()
        model.fit(data, epochs=2, verbose=0)
        np.testing.assert_array_equal(model.predict(data), expected.predict(x))
        assert model.evaluate(data) == expected.evaluate(x)
    for wrong, text in (
        (dataset.repeat(), "with an end"),
        (Batches(x, x, np.ones(80)), "sample_weight"),
        (dataset.take(0), "empty"),
        (tf.data.Dataset.from_tensor_slices(x), r"batch\(256\)"),
    ):
        with pytest.raises((TypeError, ValueError), match=text):
            make().fit(wrong, verbose=0)


@every_model
@pytest.mark.parametrize("tolerance", ["abc", [1], {}, -1.0, np.nan, np.inf, True])
def test_a_tolerance_is_a_finite_number(make, x, tolerance):
    with pytest.raises(ValueError, match="`tolerance` must be a finite number >= 0, or None"):
        type(make()).from_config({**make().get_config(), "tolerance": tolerance})
