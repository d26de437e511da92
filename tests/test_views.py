"""Modules that describe what observations hold: gradients, neighbors, and all side by side."""

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import gmm, preprocessing, views

SHAPES = {
    "square": ((8, 8), None, 2),
    "flat": ((64,), None, 3),
    "flat, not square": ((60,), (10, 6), 2),
    "odd": ((11, 9), None, 4),
    "one channel": ((8, 8, 1), None, 2),
    "in color": ((12, 8, 3), None, 4),
    "flat in color": ((108,), (6, 6, 3), 3),
}


def updated(module, data, **options):
    module.connect(srk.Observation(data, **options))
    module.update()
    return module


@pytest.mark.parametrize("shape, image_shape, cell_size", SHAPES.values(), ids=SHAPES)
def test_gradients_are_those_of_preprocessing_and_served_alike(shape, image_shape, cell_size):
    images = np.random.default_rng(0).random((5, *shape), "float32")
    images[3] = 0.5  # of one color
    images[4] = np.nan
    options = {"cell_size": cell_size, "image_shape": image_shape}
    module = updated(views.OrientedGradients(**options), images, allow_missing=True)
    height, width, channels = preprocessing.image_shape_of(images.shape, image_shape)
    gray = images[:4].reshape(4, height, width, channels).mean(axis=3)
    expected = preprocessing.oriented_gradients(gray, cell_size=cell_size).reshape(4, -1)
    assert_allclose(module.get_forward_msg()[:4], expected, atol=1e-6)
    assert np.isnan(module.get_forward_msg()[4]).all()
    served = module.tensor_infer([tf.constant(images)], None).evidence.numpy()
    assert_allclose(served[:4], expected, atol=2e-3)  # a root, steep near 0
    assert_allclose(served[:4] ** 2, expected**2, atol=1e-5)
    assert np.isnan(served[4]).all()


def test_gradients_are_answered_by_litert_as_by_predict():
    images = np.random.default_rng(0).random((60, 6, 4), "float32")
    gradients = views.OrientedGradients(num_orientations=2, cell_size=2)
    gradients.connect(srk.Observation(images, name="images"))
    mixture = gmm.GMM(3, save_dir=None)
    mixture.connect(gradients)
    graph = srk.Graph(mixture, seed=0)
    graph.fit(rounds=1, verbose=0)
    graph.export("gradients.tflite")
    classify = tf.lite.Interpreter("gradients.tflite").get_signature_runner("classify")
    for rows in (slice(60), slice(1)):
        assert_allclose(
            classify(images=images[rows])["gmm"], graph.predict(images[rows]), atol=1e-5
        )


def test_gradients_refuse_what_is_no_image():
    module = views.OrientedGradients()
    module.connect(srk.Observation(np.ones((3, 10))))
    with pytest.raises(ValueError, match="gradients cannot read these images.*image_shape="):
        module.update()
    with pytest.raises(ValueError, match="cell_size"):
        views.OrientedGradients(cell_size=0)


def test_observations_stand_side_by_side_and_are_served_alike():
    rng = np.random.default_rng(0)
    images, table = rng.random((5, 2, 3), "float32"), rng.normal(size=(5, 2))
    images[1] = np.nan  # a sample that was not seen
    table[3, 0] = np.nan  # a gap
    beside, mixture = views.Concatenate(), gmm.GMM(2, save_dir=None)
    beside.connect(*(srk.Observation(x, allow_missing=True) for x in (images, table)))
    beside.update()
    joined = np.c_[images.reshape(5, -1), table]
    joined[[1, 3]] = np.nan
    assert_array_equal(beside.get_forward_msg(), joined)
    assert beside.get_forward_msg().dtype == np.float64
    served = beside.tensor_infer([tf.constant(images), tf.constant(table)], None).evidence
    assert_array_equal(served.numpy(), joined)
    mixture.connect(beside)
    mixture.update()
    assert_array_equal(mixture.posterior[1], mixture.posterior[3])
    with pytest.raises(ValueError, match="same number of samples"):
        beside.infer([images, table[:4]], None)


@pytest.fixture(scope="module")
def islands():
    """Two groups that are far apart, and new data of them."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    x = rng.normal(size=(60, 4)) + 8.0 * labels[:, None]
    return x, labels, rng.normal(size=(7, 4)) + 8.0 * (np.arange(7) % 2)[:, None]


@pytest.fixture(scope="module")
def learned(islands, tmp_path_factory):
    pytest.importorskip("umap")
    srk.Module.reset_names()
    data = np.concatenate([islands[0], np.full((1, 4), np.nan)])
    module = views.UMAP(2, 5, seed=0, save_dir=tmp_path_factory.mktemp("umap"))
    return updated(module, data, allow_missing=True)


def test_groups_lie_apart_and_missing_rows_stay_missing(learned, islands):
    places = np.asarray(learned.get_forward_msg())
    assert places.shape == (61, 2) and np.isnan(places[60]).all()
    assert_array_equal(places[:60], learned.model.places)
    first, second = (places[:60][islands[1] == label] for label in (0, 1))
    spread = max(part.std(axis=0).max() for part in (first, second))
    assert np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)) > 2 * spread


def test_new_data_lie_at_the_median_of_their_neighbors(learned, islands):
    x, _, new = islands
    distances = np.linalg.norm(new[:, None] - x, axis=2)
    nearest = np.argsort(distances, axis=1)[:, :5]
    expected = np.median(learned.model.places[nearest], axis=1)
    assert_allclose(learned.infer([new], None).evidence, expected, rtol=1e-6)
    served = learned.tensor_infer([tf.constant(new)], None).evidence
    assert_allclose(served, expected, rtol=1e-6)


def test_the_same_data_are_embedded_once_and_others_again(learned, islands):
    before = learned.model
    learned.update()
    assert learned.model is before
    other = updated(views.UMAP(2, 5, seed=0, save_dir=None), islands[0])
    places = other.model.places
    other.inputs[0].set_data(islands[0][::-1].copy())
    other.update()
    assert not np.array_equal(other.model.places, places)


def test_recognition_reads_what_was_learned(learned, islands):
    srk.Module.reset_names()
    module = views.UMAP(2, 5, mode="recog", save_dir=learned.folder.parent)
    module.connect(srk.Observation(islands[2]))
    module.number = learned.number
    module.update()
    assert_array_equal(module.get_forward_msg(), learned.infer([islands[2]], None).evidence)
    with pytest.raises(ValueError, match="num_neighbors"):
        wrong = views.UMAP(2, 6, mode="recog", load_dir=learned.folder, save_dir=None)
        updated(wrong, islands[2])


def test_units_do_not_matter_where_features_are_standardized(islands):
    pytest.importorskip("umap")
    units, origin = np.array([1.0, 1e-3, 1e6, 10.0]), np.array([0.0, 5.0, 1e7, -3.0])
    x, options = islands[0], {"seed": 0, "standardize": True, "save_dir": None}
    one, other = (updated(views.UMAP(2, 5, **options), part) for part in (x, x * units + origin))
    assert_allclose(one.model.samples, other.model.samples, atol=1e-4)
    assert_allclose(one.model.samples.std(axis=0), 1.0, rtol=1e-5)


def test_too_few_samples_and_a_wrong_number_of_inputs():
    pytest.importorskip("umap")
    module = views.UMAP(save_dir=None)
    module.connect(srk.Observation(np.random.default_rng(0).random((12, 3))))
    with pytest.raises(ValueError, match="umap needs 13 samples at least.*Received: 12"):
        module.update()
    with pytest.raises(ValueError, match="num_features"):
        views.UMAP(0)


def test_nothing_goes_back_from_a_view():
    obs, x = srk.Observation(np.random.default_rng(0).random((9, 64)), "eye"), np.eye(9)
    gradients, together = views.OrientedGradients(), views.Concatenate()
    umap1, top = views.UMAP(save_dir=None), gmm.GMM(2, save_dir=None)
    gradients.connect(obs)
    together.connect(gradients, srk.Observation(x, "ear"))
    umap1.connect(together)
    top.connect(umap1)
    graph = srk.Graph(top)
    assert [module.sends_back for module in (gradients, together, umap1, top)] == [False] * 3 + [
        True
    ]
    assert graph.to_mermaid().count("-.->") == 1
    dashed = [patch for patch in graph.plot().patches if patch.get_linestyle() == "--"]
    assert len(dashed) == 1
