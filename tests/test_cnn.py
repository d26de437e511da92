"""Features of images from a Keras model."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

import kserket as srk
from kserket import cnn, gmm
from kserket.cnn.images import load_images


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, activation="relu", name="convolution"),
            keras.layers.GlobalAveragePooling2D(name="pooled"),
            keras.layers.Dense(2, name="classes"),
        ]
    )


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3)).astype("uint8")


def write_images(images):
    paths = [f"{n:03d}.png" for n in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        tf.io.write_file(path, tf.io.encode_png(image))
    return paths


def up_to(network, layer):
    return keras.Model(network.inputs[0], network.get_layer(layer).output)


@pytest.mark.parametrize("layer", ["pooled", "convolution", None])
def test_features_are_the_output_of_a_layer(network, images, layer):
    cnn1 = cnn.CNNFeatureExtractor(images, model=network, layer=layer, batch_size=7)
    expected = up_to(network, layer or "classes")(images.astype("float32")).numpy()
    features = cnn1.get_forward_msg()
    assert_allclose(features, expected.reshape(20, -1), rtol=1e-5, atol=1e-4)
    assert cnn1.inputs[0].name == "images" and cnn1.logs == {}


def test_files_are_arrays_and_a_model_may_lie_in_a_file(network, images):
    network.save("network.keras")
    options = {"layer": "pooled", "preprocessing": keras.layers.Rescaling(1 / 255)}
    from_files = cnn.CNNFeatureExtractor(write_images(images), model="network.keras", **options)
    from_array = cnn.CNNFeatureExtractor(images, model=network, **options)
    assert_array_equal(from_files.inputs[0].data, images)
    assert_allclose(from_files.get_forward_msg(), from_array.get_forward_msg(), rtol=1e-5)
    expected = up_to(network, "pooled")(images.astype("float32") / 255).numpy()
    assert_allclose(from_array.get_forward_msg(), expected, rtol=1e-5, atol=1e-6)


def test_the_extractor_and_its_images_are_one_number(network, images):
    cnn1 = cnn.CNNFeatureExtractor(images, model=network)
    assert cnn1.get_name() == "module000_CNNFeatureExtracter"
    assert srk.Module("next").get_name() == "module001_next"


def test_images_of_another_size_and_gray_ones(network, images):
    plain = np.broadcast_to(images[:, :1, :1], images.shape)  # of one color each
    wide = np.broadcast_to(images[:, :1, :1], (20, 12, 20, 3))
    assert_allclose(
        cnn.CNNFeatureExtractor(wide, model=network).get_forward_msg(),
        cnn.CNNFeatureExtractor(plain, model=network).get_forward_msg(),
        rtol=1e-5,
    )
    gray = images[..., 0]
    as_color = np.repeat(gray[..., None], 3, axis=-1)
    assert_allclose(
        cnn.CNNFeatureExtractor(gray, model=network).get_forward_msg(),
        cnn.CNNFeatureExtractor(as_color, model=network).get_forward_msg(),
        rtol=1e-6,
    )


def test_a_graph_of_images(network, images):
    images[10:] //= 8
    cnn1 = cnn.CNNFeatureExtractor(model=network, layer="pooled")
    gmm1 = gmm.GMM(2, itr=10, n_init=2, seed=0, save_dir=None)
    cnn1.connect(srk.Observation(images.astype("float32"), allow_missing=True))
    gmm1.connect(cnn1)
    graph = srk.Graph(gmm1, seed=0)
    graph.fit(rounds=1, verbose=0)
    assert len(set(gmm1.posterior.argmax(axis=1)[:10])) == 1
    new = images[[0, 19]].astype("float32")
    expected = graph.predict(new)
    holes = np.concatenate([new, np.full((1, 8, 8, 3), np.nan, "float32")])
    assert_allclose(graph.predict(holes)[:2], expected, atol=1e-6)
    assert cnn1.infer([holes], None).evidence.shape == (3, 4)
    assert np.isnan(cnn1.infer([holes], None).evidence[2]).all()
    graph.save("graph.kserket")
    assert_allclose(srk.load_graph("graph.kserket").predict(new), expected, atol=1e-6)
    graph.export("served")
    classify = tf.saved_model.load("served").signatures["classify"]
    (name,) = classify.structured_input_signature[1]
    (served,) = (
        value for value in classify(**{name: tf.constant(new)}).values() if value.shape == (2, 2)
    )
    assert_allclose(served, expected, atol=1e-6)


def test_images_from_files():
    rng = np.random.default_rng(1)
    small, large = (rng.integers(0, 256, (n, n, 3)).astype("uint8") for n in (4, 6))
    paths = write_images([small])
    tf.io.write_file("large.png", tf.io.encode_png(large))
    assert_array_equal(load_images(paths), small[None])
    assert load_images([*paths, "large.png"], (5, 5)).shape == (2, 5, 5, 3)
    assert load_images(paths, channels=1).shape == (1, 4, 4, 1)
    with pytest.raises(ValueError, match="large.png.*size="):
        load_images([*paths, "large.png"])
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        load_images(["nowhere.png"])
    pathlib.Path("text.png").write_text("no image")
    with pytest.raises(ValueError, match="text.png cannot be read"):
        load_images(["text.png"])


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"model": None}, TypeError, "keras.Model.*None"),
        ({"model": "nowhere.keras"}, FileNotFoundError, "nowhere.keras"),
        ({"layer": "no such"}, ValueError, "layer.*convolution"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"model": keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])}, ValueError, "im"),
        ({"filenames": []}, ValueError, "filenames"),
        ({"filenames": np.zeros((2, 8, 8, 2))}, ValueError, "reads images"),
        ({"filenames": np.zeros((2, 8))}, ValueError, "reads images"),
    ],
)
def test_what_cannot_be_used_is_refused(network, images, options, error, words):
    with pytest.raises(error, match=words):
        cnn.CNNFeatureExtractor(**{"filenames": images, "model": network, **options})
