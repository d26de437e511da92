"""New data in other units than those that a graph holds."""

import numpy as np
import pytest

import kserket as srk
from kserket import gmm
from kserket.core.units import difference, sizes_of

X = np.random.default_rng(0).random((50, 12))
COUNTS = np.random.default_rng(0).poisson(1, (50, 12))


@pytest.mark.parametrize(
    ("known", "new", "differs"),
    [
        (X, 255 * X, True),
        (255 * X, X[:1], True),
        ((255 * X).astype("uint8"), X, True),
        (X - 0.5, 100 * X - 50, True),
        (X, np.where(X > 0.8, np.nan, 255 * X), True),
        (X, 5 * X, False),
        (X, np.zeros((3, 12)), False),  # black images
        (X, np.full((3, 12), np.nan), False),
        (np.r_[X, 0 * X[:9]], X[:3] / 255, True),
        (X[:19], 255 * X, False),  # too few are known
        (X[:, :2], X[:1, :2] / 255, False),  # by chance so small
        (COUNTS, 40 * COUNTS, False),  # long documents
        (COUNTS, COUNTS / 100, True),
        (np.zeros((50, 12)), X, False),
    ],
)
def test_units_differ_where_most_samples_are_much_larger_or_smaller(known, new, differs):
    assert (difference(sizes_of(known), new) is not None) == differs
    assert (difference(sizes_of(known.reshape(len(known), 2, -1)), new) is not None) == differs


def test_a_graph_warns_with_and_without_its_data(tmp_path):
    model = gmm.GMM(2, save_dir=None)
    obs = srk.Observation(X, "light")
    model.connect(obs)
    graph = srk.Graph(model, seed=0)
    graph.fit(rounds=1, verbose=0)
    graph.save(tmp_path / "graph.kserket", include_data=False)
    for one in (graph, srk.load_graph(tmp_path / "graph.kserket")):
        one.predict(X[:3])
        for ask in (one.predict, one.evaluate):
            with pytest.warns(UserWarning, match="light seems to come in other units"):
                ask(255 * X[:3])
    obs.set_data(255 * X)
    graph.predict(255 * X[:3])


@pytest.mark.parametrize("sizes", [5, (50,), (50, 0.1, "b", True), (50, 0.1, np.nan, True)])
def test_a_file_with_other_sizes_is_refused(sizes, tmp_path):
    model, obs = gmm.GMM(2, save_dir=None), srk.Observation(X, "light")
    model.connect(obs)
    obs.get_state = lambda: {**type(obs).get_state(obs), "sizes": sizes}
    srk.Graph(model, seed=0).save(tmp_path / "graph.kserket")
    with pytest.raises(ValueError, match="cannot have sizes="):
        srk.load_graph(tmp_path / "graph.kserket")
