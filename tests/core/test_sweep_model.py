"""Models without gradients keep Keras' manners: callbacks, progress, statistics, export."""

import itertools

import keras
import numpy as np
import pytest

import kserket
from kserket.core import progress

RNG = np.random.default_rng(0)
POINTS = np.concatenate([RNG.normal(size=(40, 2)), RNG.normal(size=(40, 2)) + 6])
COUNTS = RNG.multinomial(12, [[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]], size=(40, 2)).reshape(80, 3)
STEPS = np.eye(3)[np.arange(80) % 3] * 0.7 + 0.1

MODELS = {
    "mixture": (lambda: kserket.GaussianMixture(2, n_init=2, seed=0, tolerance=None), POINTS),
    "sampler": (lambda: kserket.GaussianMixture(2, inference="gibbs", seed=0), POINTS),
    "chain": (lambda: kserket.MarkovChain(3, n_init=2, seed=0, tolerance=-np.inf), STEPS),
    "documents": (lambda: kserket.MultimodalLDA(2, n_init=2, seed=0, tolerance=-np.inf), COUNTS),
    "topics": (
        lambda: kserket.MultimodalLDA(2, alpha=0.5, n_init=2, seed=0, tolerance=-np.inf),
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
