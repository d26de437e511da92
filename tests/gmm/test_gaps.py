"""Rows of which single cells were not observed: what these could be is integrated out."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.datasets import load_wine

import kserket as srk
from kserket import GaussianMixture, gmm, mlda, mm, vae, views
from kserket.gmm import rule
from kserket.inference.gaussian_mixture import gaps, sweep

GRID = np.linspace(-60.0, 60.0, 4001)


@pytest.fixture(scope="module")
def points():
    """Three classes of 80, correlated, x (240, 3) and with a fifth of its cells taken away."""
    data = srk.datasets.make_mixture(240, 3, 3, seed=3)
    gone = np.random.default_rng(0).random(data.x.shape) < 0.2
    return data.x, np.where(gone, np.nan, data.x), data.y


@pytest.fixture(scope="module", params=[False, True], ids=["straight", "curves"])
def model(points, request):
    model = GaussianMixture(3, power_transform=request.param, allow_missing=True, n_init=3, seed=0)
    model.fit(points[1], verbose=0)
    return model


def with_values(row, column):
    """A row with each value of the grid in a column."""
    rows = np.repeat(row[None], len(GRID), axis=0)
    rows[:, column] = GRID
    return rows


def integral(log_densities):
    """log of the integral over the grid, (K,) of (G, K)."""
    return np.log(np.trapezoid(np.exp(log_densities), GRID, axis=0))


def graph_of(x, **options):
    top = gmm.GMM(3, n_init=3, save_dir=None, **options)
    top.connect(srk.Observation(x, "table", allow_missing=True))
    graph = srk.Graph(top, seed=0)
    graph.fit(2, verbose=0)
    return graph


# Against brute force ------------------------------------------------------------------------


@pytest.mark.parametrize("column", range(3))
def test_density_is_the_integral_over_what_was_not_observed(model, points, column):
    row = points[0][7].copy()
    row[column] = np.nan
    expected = integral(model.log_likelihood(with_values(row, column))[:, None])
    assert_allclose(model.log_likelihood(row[None]), expected, atol=1e-5)


@pytest.mark.parametrize("variance", [None, 0.3])
def test_a_completion_is_the_conditional_of_the_expected_density(points, variance):
    model = GaussianMixture(3, n_init=1, seed=0)
    model.fit(points[0], epochs=5, verbose=0)
    row = points[0][5].copy()
    row[1] = np.nan
    spread = None if variance is None else np.array([[variance, 0.0, 2 * variance]])
    belief = model.state.normal_wishart
    (found,) = gaps.Completions(gaps.of_block(row[None], spread), belief, np.zeros(3))
    densities = sweep.log_likelihood(model.state, with_values(row, 1))
    if variance is None:
        assert_allclose(found.log_density[:, 0], integral(densities), atol=1e-8)
    weights = np.exp(densities - densities.max(axis=0))
    weights /= weights.sum(axis=0)
    mean = weights.T @ GRID
    assert_allclose(found.values[:, 0, 1], mean, atol=1e-6)
    assert_allclose(found.covariances[:, 0, 1, 1], weights.T @ GRID**2 - mean**2, rtol=1e-5)


def test_evidence_is_expected_under_the_belief_about_parameters(points):
    model = GaussianMixture(1, seed=0)
    model.fit(points[0][:20], verbose=0)
    state, rng = model.state, np.random.default_rng(0)
    scale = np.linalg.inv(state.scatter[0])
    precisions = stats.wishart(state.degrees_of_freedom[0], scale).rvs(4000, random_state=rng)
    covariances = np.linalg.inv(precisions)
    means = state.mean[0] + np.einsum(
        "nij,nj->ni",
        np.linalg.cholesky(covariances / state.mean_precision[0]),
        rng.normal(size=(4000, 3)),
    )
    seen, x = [0, 2], points[0][3]
    pairs = zip(means[:, seen], covariances[:, seen][:, :, seen], strict=True)
    drawn = [stats.multivariate_normal(*pair).logpdf(x[seen]) for pair in pairs]
    found = sweep.log_likelihood(state, np.array([[x[0], np.nan, x[2]]]))
    assert_allclose(found, np.mean(drawn), atol=0.05)


# Learning -----------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", [0.0, 0.5])
def test_the_bound_never_falls(points, resolution):
    model = GaussianMixture(
        3, allow_missing=True, n_init=1, tolerance=None, resolution=resolution, seed=1
    )
    bounds = model.fit(points[1], epochs=30, verbose=0).history["bound"]
    assert np.diff(bounds).min() > -1e-9
    assert_allclose(model.lower_bound(points[1]), model.fit(points[1], epochs=1).history["bound"])


def test_data_without_gaps_learn_what_they_learned(points):
    plain, other = GaussianMixture(3, seed=0), GaussianMixture(3, allow_missing=True, seed=0)
    for model in (plain, other):
        model.fit(points[0], epochs=5, verbose=0)
    assert_array_equal(plain.means, other.means)


def test_a_column_of_nothing_is_an_error(points):
    x = points[1].copy()
    x[:, 1] = np.nan
    model = GaussianMixture(2, allow_missing=True)
    with pytest.raises(ValueError, match="Column 1 holds nothing but NaN.*Leave it out"):
        model.fit(x, verbose=0)
    model.take_columns([["height", "width", "weight"]])
    with pytest.raises(ValueError, match="Column 'width' holds nothing but NaN"):
        model.fit(x, verbose=0)
    assert not model.is_fitted


@pytest.mark.parametrize("unit", [1e-8, 1e6])
def test_units_and_order_of_columns_do_not_matter(points, unit):
    x = points[1]
    factors = np.array([unit, 1.0, 1.0 / unit])
    classes = []
    for data in (x, x * factors, x[:, [2, 0, 1]]):
        model = GaussianMixture(3, allow_missing=True, n_init=3, seed=0)
        model.fit(data, verbose=0)
        classes.append(model.predict(data).argmax(axis=1))
    for found in classes[1:]:
        assert srk.metrics.adjusted_rand_index(classes[0], found) > 0.95


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_wines_with_gaps(share):
    x, cultivars = load_wine(return_X_y=True)
    gone = np.random.default_rng(0).random(x.shape) < share
    x = np.where(gone, np.nan, x)
    assert np.isnan(x).any(axis=1).sum() > 120
    graph = graph_of(x, power_transform=True)
    found = graph["gmm"].posterior.argmax(axis=1)
    assert srk.metrics.clustering_accuracy(cultivars, found) > 0.9
    assert np.isfinite(srk.explain(graph).effects).all()


def test_the_number_of_classes_is_found_with_gaps(points):
    model = GaussianMixture(None, allow_missing=True, n_init=3, seed=0)
    model.fit(points[1], verbose=0)
    assert model.num_components in (2, 3, 4)


def test_masked_cells_and_missing_rows(points):
    x = points[1].copy()
    x[:4] = np.nan
    model = GaussianMixture(3, allow_missing=True, n_init=2, seed=0)
    model.fit(np.ma.masked_invalid(x), epochs=10, verbose=0)
    assert_allclose(model.predict(x)[:4], np.repeat(model.predict(x)[:1], 4, axis=0))
    model.save("mixture.keras")
    again = keras.models.load_model("mixture.keras")
    assert_allclose(again.predict(x), model.predict(x))
    assert_allclose(model(x), model.predict(x), atol=1e-6)


# In a graph ---------------------------------------------------------------------------------


def test_a_graph_predicts_and_serves_rows_with_gaps(points):
    x, with_gaps, _ = points
    graph = graph_of(with_gaps, power_transform=True, resolution=0.1)
    answers, top = graph.predict(with_gaps), graph["gmm"]
    assert graph.program.is_compiled
    by_infer = top.infer([with_gaps], None).posterior
    assert_allclose(answers, by_infer, atol=1e-6)
    assert graph.evaluate(with_gaps)["gmm/log_likelihood"] > -np.inf
    graph.export("served")
    classify = tf.saved_model.load("served").signatures["classify"]
    unreadable = with_gaps.copy()
    unreadable[3, 0] = np.inf
    found = classify(table=tf.constant(unreadable, "float32"))["gmm"].numpy()
    assert np.isnan(found[3]).all()
    assert_allclose(np.delete(found, 3, 0), np.delete(answers, 3, 0), atol=1e-5)
    graph.save("graph.kserket")
    assert_array_equal(srk.load_graph("graph.kserket").predict(with_gaps), answers)
    graph["table"].set_data(x)
    graph.fit(1, verbose=0)
    graph["table"].set_data(with_gaps)


def test_a_graph_fills_gaps_by_the_other_cells_and_the_classes(points):
    x, with_gaps, _ = points
    with_gaps = with_gaps.copy()
    with_gaps[2] = np.nan  # of which nothing is known
    graph = graph_of(with_gaps, power_transform=True)
    cells = graph.predict(with_gaps, outputs="table")
    assert graph.program.is_compiled
    seen = ~np.isnan(with_gaps)
    assert_array_equal(cells[seen], with_gaps[seen])
    posterior, model = graph.predict(with_gaps), graph["gmm"].model
    assert_allclose(cells[2], posterior[2] @ model.means)
    transform = model.power_transform
    curved = transform.forward(with_gaps)
    for row in np.flatnonzero(seen.any(axis=1) & ~seen.all(axis=1)):
        o, h, expected = seen[row], ~seen[row], 0.0
        for k, share in enumerate(posterior[row]):
            mean, scatter = model.state.mean[k], model.state.scatter[k]
            filled = mean.copy()
            deviation = np.linalg.solve(scatter[np.ix_(o, o)], curved[row, o] - mean[o])
            filled[h] += scatter[np.ix_(h, o)] @ deviation
            expected = expected + share * transform.inverse(filled[None])[0]
        assert_allclose(cells[row, h], expected[h], rtol=1e-6)
    assert_allclose(graph.predict(with_gaps, outputs="table", batch_size=7), cells)
    graph.program.is_compiled = False
    assert_allclose(graph.predict(with_gaps, outputs="table"), cells, rtol=1e-5)
    assert_array_equal(graph.predict(x, outputs="table"), x)


def test_gaps_of_one_sense_are_filled_and_the_other_is_predicted(points):
    x, with_gaps, _ = points
    top = mlda.MLDA(3, save_dir=None)
    readers = {"hand": with_gaps, "ear": 2 * x}
    for name, data in readers.items():
        readers[name] = gmm.GMM(3, n_init=2, name=f"gmm_{name}", save_dir=None)
        readers[name].connect(srk.Observation(data, name, allow_missing=True))
    top.connect(*readers.values())
    graph = srk.Graph(top, seed=0)
    graph.fit(1, verbose=0)
    answer = graph.predict({"hand": with_gaps}, outputs=["hand", "ear"])
    seen = ~np.isnan(with_gaps)
    assert_array_equal(answer["hand"][seen], with_gaps[seen])
    classes = graph.predict({"hand": with_gaps}, outputs="gmm_hand")
    found = graph["gmm_hand"].model.found
    assert_allclose(answer["hand"], sweep.fill_given_classes(found.state, with_gaps, classes))
    alone = graph.predict({"ear": 2 * x}, outputs="hand")
    assert np.linalg.norm(alone - x) < 0.5 * np.linalg.norm(x - x.mean(axis=0))


def test_rows_of_many_features_go_one_at_a_time(points, monkeypatch):
    graph = graph_of(points[1])
    together = graph.predict(points[1])
    monkeypatch.setattr(rule, "_ELIMINATED_AT_ONCE", 0)
    graph.program = None
    assert_allclose(graph.predict(points[1]), together, atol=1e-12)


def test_a_row_without_a_cell_is_what_the_others_say(points):
    graph = graph_of(points[0])
    row = np.array([[np.nan, np.nan, np.nan], [0.0, np.nan, np.nan]])
    assert_allclose(graph.predict(row)[0], graph["gmm"].model.mixing_weights, atol=0.05)


# Where it is not possible -------------------------------------------------------------------


def test_modules_that_need_whole_rows_refuse_them_before_they_are_connected(points):
    obs = srk.Observation(points[1], "table", allow_missing=True)
    for reader in (
        vae.VAE(2, save_dir=None, likelihood="gaussian"),
        views.UMAP(save_dir=None),
        gmm.GMM(3, inference="gibbs", save_dir=None),
        gmm.GMM(3, init="umap", save_dir=None),
    ):
        with pytest.raises(ValueError, match="table has rows with single cells of NaN.*Impute"):
            reader.connect(obs)
        assert reader.inputs == () and obs.readers == ()


def test_data_with_gaps_do_not_come_later_either(points):
    obs = srk.Observation(points[0], "table", allow_missing=True)
    reader = vae.VAE(2, itr=1, likelihood="gaussian", save_dir=None)
    reader.connect(obs)
    graph = srk.Graph(reader, seed=0)
    graph.fit(1, verbose=0)
    for give in (obs.set_data, obs.set_forward_msg, graph.predict):
        with pytest.raises(ValueError, match="Remove or impute"):
            give(points[1])


def test_a_chain_that_learns_jointly_needs_whole_rows(points):
    top = mm.MarkovModel(joint=True, save_dir=None)
    below = gmm.GMM(3, save_dir=None)
    below.connect(srk.Observation(points[1], allow_missing=True))
    top.connect(below)
    with pytest.raises(ValueError, match="joint=True.*Impute single cells"):
        srk.Graph(top, seed=0).fit(1, verbose=0)


def test_gaps_must_be_allowed(points):
    with pytest.raises(ValueError, match="not finite"):
        GaussianMixture(3).fit(points[1])
    with pytest.raises(ValueError, match="allow_missing=True"):
        srk.Observation(points[1])
    x = points[1].copy()
    x[0, 0] = np.inf
    for take in (GaussianMixture(3, allow_missing=True).fit, lambda x: graph_of(x)):
        with pytest.raises(ValueError, match="1 value that is not finite"):
            take(x)
    for options in ({"inference": "gibbs"}, {"init": "umap"}):
        with pytest.raises(ValueError, match="`allow_missing` needs"):
            GaussianMixture(3, allow_missing=True, **options)


def test_scikit_learn_estimator_takes_them(points):
    from kserket.sklearn import GaussianMixture, GraphClusterer

    for estimator in (GaussianMixture(3), GraphClusterer(srk.recipes.table, n_clusters=3)):
        with pytest.raises(ValueError, match=r"contains NaN.*\(allow_missing=True\)"):
            estimator.fit(points[1])
    for build in (None, srk.recipes.table):
        options = {"n_clusters": 3, "rounds": 1, "random_state": 0, "allow_missing": True}
        clusters = GraphClusterer(build, **options).fit(points[1])
        assert srk.metrics.clustering_accuracy(points[2], clusters.predict(points[1])) > 0.9
    found = GaussianMixture(3, allow_missing=True, n_init=2, random_state=0).fit(points[1])
    assert np.isfinite(found.score_samples(points[1])).all()
