import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.patches import Ellipse

import kserket as srk
from kserket import mlda, plotting
from kserket.core import messages
from kserket.plotting.style import spread


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    pyplot.close("all")


class FakeModule:
    """What plotting needs of a module."""

    def __init__(self, forward=None, backward=None, inputs=(), **attributes):
        self.forward, self.backward, self.inputs = forward, backward, inputs
        self.mailbox = SimpleNamespace(prior=lambda: backward)
        self.__dict__.update(attributes)

    def get_forward_msg(self):
        return self.forward

    def get_backward_msg(self):
        return self.backward

    def get_observations(self):
        return [module.forward for module in self.inputs]


def drawn_points(ax):
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])


def texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.fixture
def mixture():
    rng = np.random.default_rng(0)
    means = np.array([[0.0, 0.0, 0.0], [6.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    covariances = np.array([np.diag([1.0, 0.25, 0.01]), np.eye(3) / 9, np.eye(3) / 4])
    y = np.repeat([0, 1, 2], 40)
    z = rng.standard_normal((120, 3)) @ np.diag([0.5, 0.5, 0.01]) + means[y]
    return z, y, means, covariances


def test_latent_projects_on_principal_components(mixture):
    z, y, *_ = mixture
    ax = plotting.plot_latent(z, y)
    points = drawn_points(ax)
    assert points.shape == (120, 2)
    variances = np.sort(np.linalg.eigvalsh(np.cov(z.T)))[::-1]
    np.testing.assert_allclose(np.cov(points.T), np.diag(variances[:2]), atol=1e-9)
    shares = 100 * variances / variances.sum()
    assert ax.get_xlabel() == f"PCA 1 ({shares[0]:.0f} % of variance)"
    assert ax.get_ylabel() == f"PCA 2 ({shares[1]:.0f} % of variance)"
    assert texts(ax) == ["0", "1", "2"]
    assert not ax.patches


def test_latent_of_two_dimensions_is_drawn_as_it_is(mixture):
    z = mixture[0][:, :2]
    ax = plotting.plot_latent(z, mixture[1].astype(float), title="Now")
    np.testing.assert_allclose(drawn_points(ax), z)
    assert ax.get_xlabel() == "latent dimension 0"
    assert ax.get_title(loc="left") == "Now"
    assert texts(ax) == ["0", "1", "2"]  # labels as np.loadtxt gives them, read as numbers


def test_ellipses_are_one_and_two_standard_deviations():
    angle = np.pi / 6
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    covariance = rotation @ np.diag([9.0, 4.0]) @ rotation.T
    z = np.random.default_rng(0).standard_normal((50, 2))
    ax = plotting.plot_latent(z, means=[[1.0, 2.0]], covariances=[covariance])
    one, two = (p for p in ax.patches if isinstance(p, Ellipse))
    assert tuple(one.center) == tuple(two.center) == pytest.approx((1.0, 2.0))
    assert (one.width, one.height) == pytest.approx((6, 4))
    assert (two.width, two.height) == pytest.approx((12, 8))
    assert one.angle % 180 == pytest.approx(30)


def test_ellipses_are_projected_with_the_points(mixture):
    z, y, means, covariances = mixture
    responsibilities = np.eye(3)[y]
    ax = plotting.plot_latent(z, responsibilities, means=means, covariances=covariances)
    ellipses = ax.patches
    assert len(ellipses) == 6
    # The third direction hardly varies: distances of means survive, and so do the round ellipses.
    centers = np.array([ellipse.center for ellipse in ellipses[::2]])
    distances = np.linalg.norm(centers[:, None] - centers, axis=-1)
    np.testing.assert_allclose(
        distances, np.linalg.norm(means[:, None] - means, axis=-1), rtol=1e-3
    )
    assert (ellipses[2].width, ellipses[2].height) == pytest.approx((2 / 3, 2 / 3), rel=1e-3)


def test_responsibilities_give_color_and_certainty():
    z = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    responsibilities = np.array([[1.0, 0.0, 0.0], [0.4, 0.6, 0.0], [0.0, 1.0, 0.0]])
    means, covariances = np.zeros((3, 2)), np.tile(np.eye(2), (3, 1, 1))
    ax = plotting.plot_latent(z, responsibilities, means=means, covariances=covariances)
    colors = ax.collections[0].get_facecolors()
    np.testing.assert_array_equal(colors[1, :3], colors[2, :3])
    assert not np.allclose(colors[0, :3], colors[2, :3])
    assert colors[1, 3] < colors[2, 3] == colors[0, 3]
    assert len(ax.patches) == 4  # nobody belongs to the third component


def test_more_than_ten_clusters_differ_by_marker():
    rng = np.random.default_rng(0)
    ax = plotting.plot_latent(rng.standard_normal((230, 2)), np.arange(230) % 23)
    assert sorted(len(c.get_offsets()) for c in ax.collections) == [30, 100, 100]
    markers = {c.get_paths()[0].vertices.tobytes() for c in ax.collections}
    assert len(markers) == 3
    assert len(texts(ax)) == 23


def test_cluster_names_do_not_overlap():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((60, 2)) * 0.01
    ax = plotting.plot_latent(z, np.arange(60) % 6, names=[f"cluster {k}" for k in range(6)])
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_spread_moves_apart_what_overlaps_and_nothing_else():
    places = np.array([[50.0, 50.0], [51.0, 50.0], [80.0, 80.0]])
    sizes = np.full((3, 2), 10.0)
    moved = spread(places, sizes, (0, 0), (100, 100))
    assert abs(moved[0] - moved[1]).max() >= 9.5
    np.testing.assert_array_equal(moved[2], places[2])
    np.testing.assert_allclose(spread(places[:1] - 60, sizes[:1], (0, 0), (100, 100)), [[5, 5]])


def test_latent_of_a_module_and_of_a_graph(mixture):
    z, y, means, covariances = mixture
    message = SimpleNamespace(responsibilities=np.eye(3)[y], means=means, covariances=covariances)
    below = FakeModule(forward=np.zeros((120, 5)))
    vae = FakeModule(forward=z, backward=message, inputs=(below,))
    graph = SimpleNamespace(modules=[below, vae])
    expected = plotting.plot_latent(z, np.eye(3)[y], means=means, covariances=covariances)
    for source in (vae, graph):
        ax = plotting.plot_latent(source)
        np.testing.assert_array_equal(drawn_points(ax), drawn_points(expected))
        assert len(ax.patches) == 6 and texts(ax) == texts(expected)
    assert len(plotting.plot_latent(FakeModule(forward=z)).patches) == 0
    with pytest.raises(ValueError, match="no latent points: no module"):
        plotting.plot_latent(FakeModule())


def test_latent_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match=r"at least 2.*\(5, 1\)"):
        plotting.plot_latent(np.zeros((5, 1)))
    with pytest.raises(ValueError, match="must have 5 rows.*4"):
        plotting.plot_latent(np.zeros((5, 2)), np.zeros(4))


def test_points_that_are_not_finite_are_left_out(mixture):
    z, y, *_ = mixture
    expected = drawn_points(plotting.plot_latent(z[1:], y[1:]))
    z[0] = np.nan
    ax = plotting.plot_latent(z, y)
    np.testing.assert_allclose(drawn_points(ax), expected)
    assert texts(ax) == ["0", "1", "2"]
    with pytest.raises(ValueError, match="a point that is finite"):
        plotting.plot_latent(np.full((3, 2), np.nan))


def test_samples_that_were_not_observed_are_not_drawn(mixture):
    z, y, means, covariances = mixture
    variance = np.full(z.shape, 0.5)
    variance[0] = np.inf
    evidence = messages.Gaussian(z, variance)
    prior = messages.Mixture(np.eye(3)[y], means, covariances)
    module = FakeModule(forward=evidence, backward=prior)
    assert len(drawn_points(plotting.plot_latent(module))) == len(z) - 1
    seen = FakeModule(forward=evidence.take(slice(1, None)), backward=prior.take(slice(1, None)))
    heights, expected = (
        [bar.get_height() for bar in plotting.plot_active_units(source).patches]
        for source in (module, seen)
    )
    np.testing.assert_allclose(heights, expected)


def test_names_of_components_are_those_of_all_or_of_the_ones_that_occur(mixture):
    z, y, *_ = mixture
    responsibilities = np.eye(4)[[0, 2, 3]][y]  # nobody is in component 1
    for names in (list("abcd"), list("acd")):
        assert texts(plotting.plot_latent(z, responsibilities, names=names)) == ["a", "c", "d"]
    with pytest.raises(ValueError, match=r"labels \[0, 2, 3\]. Received: 2 names"):
        plotting.plot_latent(z, responsibilities, names=list("ab"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": [[7], [8], [9]]}, "one label for each point"),
        ({"means": np.zeros((2, 4))}, r"`means` must be \(K, 3\)"),
        ({"means": np.zeros((2, 3)), "covariances": np.ones((2, 3))}, r"must be \(2, 3, 3\)"),
    ],
)
def test_latent_refuses_shapes_that_do_not_fit(options, said):
    with pytest.raises(ValueError, match=said):
        plotting.plot_latent(np.eye(3), **options)


def test_reconstructions_show_input_above_output():
    x = np.random.default_rng(0).random((5, 6))
    ax = plotting.plot_reconstructions(x, 1 - x, image_shape=(2, 3), num_images=3)
    canvas = np.asarray(ax.images[0].get_array().filled(np.nan))
    assert canvas.shape == (2 * 3 - 1, 3 * 4 - 1)  # tiles of 2 x 3 with gaps of one pixel
    np.testing.assert_array_equal(canvas[:2, 4:7], x[2].reshape(2, 3))
    np.testing.assert_array_equal(canvas[3:, 8:], 1 - x[4].reshape(2, 3))
    assert np.isnan(canvas[2]).all() and np.isnan(canvas[:, 3]).all()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["input", "output"]


def test_reconstructions_of_a_module_and_of_a_graph():
    x = np.random.default_rng(0).random((4, 2, 2))
    obs = FakeModule(forward=x, backward=x**2)
    vae = FakeModule(forward=np.zeros((4, 2)), inputs=(obs,))
    gmm = FakeModule(inputs=(vae,))
    for source in (vae, SimpleNamespace(modules=[obs, vae, gmm])):
        canvas = plotting.plot_reconstructions(source).images[0].get_array()
        np.testing.assert_array_equal(canvas[:2, :2], x[0])
        np.testing.assert_array_equal(canvas[3:, :2], x[0] ** 2)
    obs.backward = None
    with pytest.raises(ValueError, match="sent its data anything"):
        plotting.plot_reconstructions(vae)


@pytest.mark.parametrize("columns", [1, 8])
def test_names_of_rows_lie_inside_the_picture(columns):
    ax = plotting.plot_generated(np.ones((10, columns, 28, 28)))
    ax.figure.canvas.draw()
    assert min(label.get_window_extent().x0 for label in ax.get_yticklabels()) >= 0


def test_images_of_all_shapes():
    for shape in ((9,), (3, 3), (3, 3, 1)):
        ax = plotting.plot_generated(np.ones((2, 4, *shape)))
        assert ax.images[0].get_array().shape == (2 * 4 - 1, 4 * 4 - 1)
    ax = plotting.plot_generated(np.zeros((2, 4, 3, 3, 3)), names=["a", "b"])
    canvas = ax.images[0].get_array()
    assert canvas.shape == (7, 15, 3)
    assert canvas[0, 0].max() == 0 and canvas[3].min() == 1  # black tiles, white gaps
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    for images in (np.zeros((2, 4, 10)), np.zeros((2, 9))):
        with pytest.raises(ValueError, match="Received"):
            plotting.plot_generated(images)
    with pytest.raises(ValueError, match=r"one shape.*\(2, 9\) and \(3, 9\)"):
        plotting.plot_reconstructions(np.zeros((2, 9)), np.zeros((3, 9)))


@pytest.mark.parametrize("channels", [(), (3,)])
def test_an_image_that_was_not_observed_stays_empty_beside_the_others(channels):
    x = np.random.default_rng(0).random((3, 4, 4, *channels))
    expected = np.asarray(plotting.plot_reconstructions(x, x).images[0].get_array())
    gone = x.copy()
    gone[0] = np.nan
    image = plotting.plot_reconstructions(gone, x).images[0]
    assert image.get_clim() == (0, 1)
    drawn = np.ma.filled(image.get_array(), np.nan)
    np.testing.assert_array_equal(drawn[:, 5:], expected[:, 5:])


def test_images_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match="no images to draw"):
        plotting.plot_reconstructions(np.zeros((0, 16)), np.zeros((0, 16)))
    with pytest.raises(ValueError, match="no images that could be guessed"):
        plotting.plot_generated(np.zeros((2, 2, 4, 4, 2)))
    with pytest.raises(ValueError, match="each of 2 rows of images. Received: 3 names"):
        plotting.plot_generated(np.zeros((2, 2, 16)), names=list("abc"))


def test_generated_images_of_a_graph():
    words = srk.Observation(np.random.default_rng(1).integers(1, 5, (30, 7)), name="words")
    images = srk.Observation(np.random.default_rng(0).integers(0, 4, (30, 16)), name="images")
    top = mlda.MLDA(3, itr=2, n_init=1, save_dir=None)
    top.connect(words, images)
    graph = srk.Graph(top, seed=0)
    with pytest.raises(ValueError, match="Call fit"):
        plotting.plot_generated(graph)
    graph.fit(verbose=0)
    ax = plotting.plot_generated(graph, num_images=5, seed=0)
    expected = [graph.generate(5, component=0, outputs="images", seed=0)]
    canvas = ax.images[0].get_array().filled(np.nan)
    assert canvas.shape == (3 * 4 + 2, 5 * 4 + 4)  # three classes, five images of 4 x 4 each
    np.testing.assert_allclose(canvas[:4, :4].ravel(), expected[0][0], rtol=1e-6)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["class 0", "class 1", "class 2"]
    with pytest.raises(ValueError, match="could be guessed"):
        plotting.plot_generated(graph, output="words")


def test_history_has_a_panel_per_family():
    history = {
        "vae/kl": [0.5, 0.4, 0.3],
        "vae/loss": [3.0, 2.0, 1.0],
        "gmm/log_likelihood": [-9.0, -8.0, -7.0],
        "gmm/bound": [-900.0, -800.0, -700.0],
        "gmm/accuracy": [0.5, 0.6, 0.6001],
        "mlda/accuracy": [0.5, 0.6, 0.6],
        "gmm/message_change": [None, 0.2, 0.1],
        "gmm/live_classes": [10, 10, 10],
        "gmm/nothing": [np.nan] * 3,
    }
    axes = plotting.plot_history(SimpleNamespace(history=history), title="Five rounds")
    shown = {ax.get_title(loc="left"): [line.get_label() for line in ax.lines] for ax in axes}
    assert shown == {
        "loss (nats)": ["vae/loss", "vae/kl"],
        "log likelihood": ["gmm/log_likelihood"],
        "lower bound": ["gmm/bound"],
        "score against labels": ["gmm/accuracy", "mlda/accuracy"],
        "change of message": ["gmm/message_change"],
    }  # the number of live classes never changed
    np.testing.assert_array_equal(axes[0].lines[0].get_xydata(), [[1, 3], [2, 2], [3, 1]])
    np.testing.assert_array_equal(axes[4].lines[0].get_xydata(), [[2, 0.2], [3, 0.1]])
    assert axes[1].lines[0].get_color().tolist() == axes[4].lines[0].get_color().tolist()
    axes[3].figure.canvas.draw()
    upper, lower = (text.get_window_extent() for text in axes[3].texts)
    assert not upper.overlaps(lower)  # though the two lines end in one place


def test_history_wraps_and_draws_what_is_asked_for():
    history = {f"gmm/figure_{k}": [0.0, float(k)] for k in range(1, 8)}
    history |= {"gmm/live_classes": [10, 10], "vae/loss": [2.0, 1.0]}
    axes = plotting.plot_history(history)
    assert len(axes) == 8 and {ax.get_subplotspec().colspan.start for ax in axes} == {0, 1, 2}
    assert len(plotting.plot_history(history, constants=True)) == 9

    def drawn(metrics):
        axes = plotting.plot_history(history, metrics=metrics)
        return [line.get_label() for ax in axes for line in ax.lines]

    assert drawn("vae") == drawn(["loss"]) == drawn(["vae/loss"]) == ["vae/loss"]
    assert drawn(["live_classes"]) == ["gmm/live_classes"]
    with pytest.raises(ValueError, match="no figure 'accuracy'. Choose among: gmm/figure_1, "):
        drawn(["accuracy"])
    with pytest.raises(TypeError, match="`history` must be a dict"):
        plotting.plot_history(5)


def test_history_of_several_runs_is_mean_and_deviation():
    runs = [{"gmm/accuracy": [0.5, 0.7]}, {"gmm/accuracy": [0.7, 0.9, 0.8]}]
    (ax,) = plotting.plot_history([SimpleNamespace(history=run) for run in runs])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.6, 0.8, 0.8])
    band = ax.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose([band[:, 1].min(), band[:, 1].max()], [0.5, 0.9])


@pytest.mark.parametrize("seed", range(3))
def test_names_of_lines_stand_in_the_order_in_which_these_end(seed):
    ends = np.random.default_rng(seed).permutation(8) / 100
    curves = {f"m{index}/loss": [0.0, 9.0, end] for index, end in enumerate(ends)}
    (ax,) = plotting.plot_history(curves)
    heights = [text.get_window_extent().y0 for text in ax.texts]
    np.testing.assert_array_equal(np.argsort(heights), np.argsort(ends))
    assert np.diff(np.sort(heights)).min() > 5


def test_a_single_round_is_a_whole_number():
    (ax,) = plotting.plot_history({"gmm/accuracy": [0.5]})
    low, high = ax.get_xlim()
    assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [1]


def test_history_draws_on_given_axes():
    _, axes = pyplot.subplots(1, 2)
    drawn = plotting.plot_history({"a/loss": [1.0], "b/accuracy": [0.5]}, axes=axes)
    assert list(drawn) == list(axes)
    with pytest.raises(ValueError, match="2 panels"):
        plotting.plot_history({"a/loss": [1.0], "b/accuracy": [0.5]}, axes=axes[0])
    with pytest.raises(ValueError, match="no figures yet"):
        plotting.plot_history({})


def test_confusion_shows_matched_counts():
    y_true = np.array([0.0, 0.0, 0.0, 1.0, 1.0])
    y_pred = np.array([7, 7, 8, 9, 9])
    ax = plotting.plot_confusion(y_true, y_pred)
    assert texts(ax) == ["2", "0", "1", "0", "2", "0"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["7", "9", "8"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1"]
    assert ax.get_title(loc="left") == "80.0% of 5 right"
    np.testing.assert_allclose(ax.images[0].get_array(), [[2 / 3, 0, 1 / 3], [0, 1, 0]])


def test_counts_of_many_classes_are_as_large_as_their_cells():
    labels = np.arange(60) % 30
    assert plotting.plot_confusion(labels, labels).texts[0].get_fontsize() == 10
    _, small = pyplot.subplots(figsize=(3, 3))
    assert plotting.plot_confusion(labels, labels, ax=small).texts[0].get_fontsize() < 6


def test_confusion_of_a_module_and_of_a_graph():
    posterior = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    gmm = FakeModule(labels=np.array(["a", "b", "b"]), posterior=posterior)
    for source in (gmm, SimpleNamespace(modules=[FakeModule(), gmm, FakeModule(labels=None)])):
        ax = plotting.plot_confusion(source)
        assert texts(ax) == ["1", "0", "0", "2"]
    with pytest.raises(ValueError, match="labels and a posterior"):
        plotting.plot_confusion(FakeModule())


def test_active_units_are_sorted_and_counted():
    ax = plotting.plot_active_units([0.001, 2.0, 0.5])
    assert [bar.get_height() for bar in ax.patches] == [2.0, 0.5, 0.001]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "0"]
    assert ax.get_title(loc="left").startswith("2 of 3 dimensions active")
    assert ax.patches[0].get_facecolor() == ax.patches[1].get_facecolor()
    assert ax.patches[1].get_facecolor() != ax.patches[2].get_facecolor()
    with pytest.raises(ValueError, match=r"vector.*\(2, 2\)"):
        plotting.plot_active_units(np.zeros((2, 2)))


def test_the_title_of_collapsed_units_fits_and_no_bar_goes_below_zero():
    ax = plotting.plot_active_units(np.zeros(3))
    ax.figure.draw_without_rendering()
    assert ax.get_title(loc="left") == "0 of 3 dimensions active (KL above 0.01 nats)"
    assert ax._left_title.get_window_extent().x1 <= ax.figure.bbox.x1
    assert ax.get_ylim()[0] == 0
    with pytest.raises(ValueError, match=r"vector.*\(0,\)"):
        plotting.plot_active_units([])


def test_active_units_of_a_module_measure_kl_from_its_prior():
    evidence = SimpleNamespace(mean=np.array([[1.0, 3.0]]), variance=np.array([[1.0, np.e]]))
    ax = plotting.plot_active_units(FakeModule(forward=evidence, backward=np.array([[1.0, 3.0]])))
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx([0.5 * (np.e - 2), 0.0])


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plotting.plot_latent(np.eye(4), [0, 0, 1, 1], ax=ax),
        lambda ax: plotting.plot_reconstructions(np.eye(4), np.eye(4), ax=ax),
        lambda ax: plotting.plot_generated(np.zeros((2, 2, 4)), ax=ax),
        lambda ax: plotting.plot_confusion([0, 1], [1, 0], ax=ax),
        lambda ax: plotting.plot_active_units([1.0, 2.0], ax=ax),
    ],
)
def test_given_axes_are_used_and_returned(draw):
    before = matplotlib.rcParams.copy()
    _, ax = pyplot.subplots()
    assert draw(ax) is ax
    assert len(pyplot.get_fignums()) == 1
    assert draw(None) is not ax
    assert matplotlib.rcParams == before


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "kserket\[viz\]"'):
        plotting.plot_active_units([1.0])


def test_signs_stand_against_the_classes_of_each_agent():
    signs = np.array([0, 0, 1, 1, 2, -1])
    own = np.array([2, 2, 0, 1, 1, 0]), np.array([0, 1, 1, 1, -1, 2])
    axes = plotting.plot_signs(signs, own, names=["anna", "ben"])
    assert texts(axes[0]) == ["2", "0", "0", "0", "1", "1", "0", "0", "1"]
    assert [label.get_text() for label in axes[0].get_xticklabels()] == ["2", "0", "1"]
    assert axes[0].get_title(loc="left") == "anna: 80.0% as signs"
    assert axes[1].get_title(loc="left") == "ben: 75.0% as signs"
    _, mine = pyplot.subplots(1, 2)
    assert (plotting.plot_signs(signs, own, axes=mine) == mine).all()


def test_signs_of_a_game():
    probs = np.eye(3)[[0, 1, 2, 2]] * 0.7 + 0.1
    sources = [srk.Module(name) for name in ("anna", "ben")]
    for source, order in zip(sources, ([0, 1, 2], [2, 0, 1]), strict=True):
        source.set_forward_msg(probs[:, order])
    naming = srk.tt.NamingGame(save_dir=None, seed=0)
    naming.connect(*sources)
    with pytest.raises(ValueError, match="agreed on signs"):
        plotting.plot_signs(naming)
    naming.update()
    axes = plotting.plot_signs(naming)
    assert [ax.get_title(loc="left").split(":")[0] for ax in axes] == ["anna", "ben"]
    assert sum(int(text) for text in texts(axes[1])) == 4


@pytest.mark.parametrize(
    "signs, classes, said",
    [
        ([0, 1], None, "list of arrays"),
        ([0, 1], [[0, 1, 1]], r"\(3,\)"),
        ([0.5, 1], [[0, 1]], "whole numbers"),
        ([0, -1], [[-1, 1]], "no sample in common"),
    ],
)
def test_signs_that_cannot_be_drawn(signs, classes, said):
    with pytest.raises(ValueError, match=said):
        plotting.plot_signs(signs, classes)


def test_figures_of_agents_share_a_panel():
    names = ("game/anna_ari", "game/sign_ari", "game/agreement", "game/own_agreement")
    axes = plotting.plot_history({name: [0.1, 0.2] for name in names})
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles == ["score against labels", "agreement of agents (kappa)"]
