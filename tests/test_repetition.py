"""Several seeds of one graph."""

import functools
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm

X, LABELS, *_ = srk.datasets.make_mixture(60, 2, 2, separation=3.0, seed=0)


def make(x, seed):
    top = gmm.GMM(2, itr=5, n_init=1, category=LABELS, save_dir=None)
    top.connect(srk.Observation(x))
    return srk.Graph(top, seed=seed)


@pytest.fixture(scope="module")
def runs():
    return srk.repeat(functools.partial(make, X), seeds=3, rounds=2)


def test_each_run_is_that_of_its_seed(runs):
    assert runs.seeds == [0, 1, 2]
    graph = make(X, 1)
    assert runs.histories[1] == graph.fit(rounds=2, verbose=0).history
    assert_allclose(runs.scores[1]["log_likelihood"], graph.evaluate(X)["gmm/log_likelihood"])
    assert_array_equal(runs.graph(1).predict(X), graph.predict(X))


def test_the_best_run_is_chosen_without_labels(runs):
    values = runs.figures["log_likelihood"]
    assert runs.best() == np.argmax(values)
    assert runs.best("gmm/bound") == np.argmax(runs.figures["gmm/bound"])
    assert runs.graph().seed == runs.best()
    with pytest.raises(KeyError, match="No run has the figure 'loss'"):
        runs.best("loss")


def test_the_table_shows_mean_spread_and_each_run(runs):
    values = runs.figures["gmm/accuracy"]
    assert values.shape == (3,)
    (line,) = [line for line in repr(runs).splitlines() if line.startswith("gmm/accuracy")]
    numbers = [float(part) for part in line.split()[1:]]
    assert_allclose(numbers, [values.mean(), values.std(), *values], rtol=1e-2, atol=1e-3)
    pandas = pytest.importorskip("pandas")
    assert isinstance(runs.to_frame(), pandas.DataFrame)


def test_one_run_of_one_round_has_no_spread():
    found = srk.repeat(functools.partial(make, X), seeds=1, rounds=1)
    assert "gmm/accuracy" in repr(found)
    assert not re.search(r"\b(inf|nan)\b|message_change", repr(found))


def test_curves_have_bands(runs):
    axes = runs.plot(metrics=["accuracy"])
    assert len(axes) == 1


def test_processes_find_the_same(runs):
    found = srk.repeat(functools.partial(make, X), seeds=[2, 0], n_jobs=2, rounds=2)
    assert found.histories == [runs.histories[2], runs.histories[0]]


def test_what_is_refused():
    with pytest.raises(ValueError, match="different"):
        srk.repeat(functools.partial(make, X), seeds=[1, 1])
    with pytest.raises(ValueError, match="seeds"):
        srk.repeat(functools.partial(make, X), seeds=0)
    with pytest.raises(TypeError, match="function of a seed"):
        srk.repeat(make(X, 0))
    with pytest.raises(TypeError, match="must return a kserket.Graph"):
        srk.repeat(lambda seed: seed, seeds=1)
    with pytest.raises(ValueError, match="pickled"):
        srk.repeat(lambda seed: make(X, seed), seeds=2, n_jobs=2)
    graph = make(X, 0)
    graph.fit(rounds=1, verbose=0)
    with pytest.raises(ValueError, match="new graph for each seed"):
        srk.repeat(lambda seed: graph, seeds=1)
