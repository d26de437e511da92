"""Data that a graph is scored on after each round, and what objects show of themselves."""

import keras
import numpy as np
import pytest

import kserket as srk
from kserket import gmm, vae
from kserket.core.messages import Deferred


def make(**options):
    x, y, *_ = srk.datasets.make_mixture(120, 3, 2, seed=0)
    gmm1 = gmm.GMM(3, itr=2, n_init=2, category=y[:90], save_dir=None, **options)
    gmm1.connect(srk.Observation(x[:90]))
    return srk.Graph(gmm1, seed=0), x[90:], y[90:]


def test_validation_figures_stand_in_the_history_as_evaluate_gives_them():
    graph, x, y = make()
    history = graph.fit(3, verbose=0, validation_data=(x, y))
    scores = graph.evaluate(x, y)
    assert {f"val_{name}" for name in scores} <= set(history.history)
    for name, value in scores.items():
        assert history.history[f"val_{name}"][-1] == pytest.approx(value)
        assert len(history.history[f"val_{name}"]) == 3
    assert "val_gmm/accuracy" not in make()[0].fit(1, verbose=0, validation_data=x).history


def test_validation_changes_nothing_that_is_learned():
    watched, x, _ = make()
    watched.fit(2, verbose=0, validation_data=x)
    alone = make()[0]
    alone.fit(2, verbose=0)
    np.testing.assert_array_equal(watched["gmm"].posterior, alone["gmm"].posterior)


def test_early_stopping_watches_validation_figures():
    graph, x, _ = make()
    figure = "val_gmm/log_likelihood"
    stop = keras.callbacks.EarlyStopping(figure, patience=0, min_delta=1e3, mode="max")
    graph.fit(9, callbacks=[stop], verbose=0, validation_data=x)
    assert graph.round == 2


@pytest.mark.parametrize(
    "wrong, said",
    [
        (lambda x, y: x[:, :1], "obs"),
        (lambda x, y: {"other": x}, "must be named"),
        (lambda x, y: (x, y[:5]), "5 labels of 30 samples"),
        (lambda x, y: (x, y, y), "a tuple of 3"),
        (lambda x, y: ((x, y), y), r"Of a pair \(data, labels\) give the data alone"),
    ],
)
def test_wrong_validation_data_are_refused_before_the_first_round(wrong, said):
    graph, x, y = make()
    with pytest.raises(ValueError, match=said):
        graph.fit(1, verbose=0, validation_data=wrong(x, y))
    assert graph.round == 0


def test_values_out_of_range_are_refused_before_the_first_round_too():
    x = np.random.default_rng(0).random((30, 6))
    vae1 = vae.VAE(2, itr=1, save_dir=None)
    vae1.connect(srk.Observation(x, "pixels"))
    graph = srk.Graph(vae1, seed=0)
    said = r"pixels ranges from .* as what \w+_vae learns from was scaled, such as x / 255\.$"
    with pytest.raises(ValueError, match=f"`validation_data` must be .*{said}"):
        graph.fit(1, verbose=0, validation_data=255 * x)
    assert vae1.rounds == 0 and vae1.model is None
    graph.fit(1, verbose=0, validation_data=x)
    for method in (graph.predict, graph.evaluate):
        with pytest.raises(ValueError, match=said):
            method(255 * x)


IMAGES = np.zeros((5, 6, 4, 1))


@pytest.mark.parametrize(
    "data, cure",
    [
        (IMAGES[0], r"Of one sample pass x\[None\]\.$"),
        (IMAGES.reshape(5, -1), r"Pass x\.reshape\(-1, 6, 4, 1\)\.$"),
        (IMAGES[..., 0], r"Pass x\.reshape\(-1, 6, 4, 1\)\.$"),
        (np.moveaxis(IMAGES, -1, 1), r"pass np\.moveaxis\(x, 1, -1\)\.$"),
        (IMAGES.swapaxes(1, 2), r"Received: \(4, 6, 1\)$"),
    ],
)
def test_samples_of_another_shape_are_refused_with_what_helps(data, cure):
    graph = srk.Graph(srk.Observation(IMAGES, "images"))
    with pytest.raises(ValueError, match=rf"images holds samples of shape \(6, 4, 1\).*{cure}"):
        graph.predict(data)


def test_objects_show_what_they_are_made_of_and_what_they_found():
    graph, x, _ = make()
    name = graph["gmm"].get_name()
    assert repr(graph["gmm"]) == f"<GMM {name}; K=3, itr=2, n_init=2>"
    assert repr(graph).endswith("; 0 rounds done>")
    graph.fit(1, verbose=0)
    assert "accuracy " in repr(graph["gmm"]) and "log_likelihood " in repr(graph["gmm"])
    assert repr(graph).endswith("; 1 round done>")
    text = repr(graph["gmm"].get_forward_msg())
    assert text.startswith("<Categorical message, shape=(90, 3)\n[[") and text.count("\n") < 10

    def compute():
        raise AssertionError("a picture of it computed it")

    assert repr(Deferred((5, 2), compute)) == "<Deferred message, shape=(5, 2)>"


def test_a_notebook_draws_a_graph_and_a_table_without_matplotlib(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    graph, *_ = make()
    before = plt.get_fignums()
    assert graph._repr_html_().startswith("<svg") and plt.get_fignums() == before
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    assert graph._repr_html_().startswith("<pre>Graph of 2 modules")
