"""What every module that turns files or texts into features promises, whatever it extracts."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.io import wavfile

import kserket as srk
from kserket import bow, cnn, gmm, hac, speech_recog

HEARD = {
    "a": [(["red", "ball"], -1.0), (["bread"], -1.5)],
    "b": [(["blue"], -0.5)],
    "c": [(["red"], -0.5), (["blue", "ball"], -0.7)],
    "d": [(["ball"], -2.0)],
}


def sentences():
    return ["a red ball", "a blue cup", "the red cup", "a ball"]


def sounds():
    for n, slope in enumerate((900, -900, 400, 0)):
        t = np.arange(4000) / 8000
        samples = np.sin(2 * np.pi * (600 + slope * t) * t)
        wavfile.write(f"{n}.wav", 8000, samples.astype("float32"))
    return [f"{n}.wav" for n in range(4)]


def pictures():
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 3), "uint8")
    for n, image in enumerate(images):
        keras.utils.save_img(f"{n}.png", image, scale=False)
    return [f"{n}.png" for n in range(4)]


def network():
    layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input((6, 6, 3)), *layers])


MAKERS = {  # samples, a module of them, and the observation that takes new ones
    "bag of words": (sentences, bow.BoW, "Bow"),
    "sounds": (
        sounds,
        lambda paths, **options: hac.HACFeatureExtractor(paths, [3, 3, 3], n_mels=40, **options),
        "HACFeatureExtracter",
    ),
    "pictures": (
        pictures,
        lambda paths, save_dir: cnn.CNNFeatureExtractor(paths, model=network()),
        "images",
    ),
    "speech": (
        lambda: list(HEARD),
        lambda names, **options: speech_recog.SpeechRecog(names, recognizer=HEARD.get, **options),
        "recordings",
    ),
}


@pytest.fixture(params=MAKERS)
def extractor(request):
    """Samples, a function that makes a module of them, and the observation's name."""
    if request.param == "sounds" and importlib.util.find_spec("librosa") is None:
        pytest.skip("needs librosa, the extra audio")
    samples, make, name = MAKERS[request.param]
    return samples(), make, name


def sent(module):
    """What it sends up, (N, ...)."""
    module.update()
    return np.asarray(module.get_forward_msg())


def gmm_of(module):
    """A mixture that reads it."""
    gmm1 = gmm.GMM(2, itr=3, n_init=1, save_dir=None)
    gmm1.connect(module)
    return gmm1


def test_a_sample_of_none_is_missing_in_learning_and_prediction_and_after_loading(extractor):
    samples, make, name = extractor
    module = make([*samples[:2], None, *samples[2:]], save_dir=None)
    features = sent(module)
    assert np.isfinite(features[:2]).all() and features[:2].any()
    assert_array_equal(np.isnan(features).all(axis=1), [False, False, True, False, False])
    graph = srk.Graph(gmm_of(module), seed=0)
    graph.fit(rounds=1, verbose=0)
    new = {name: [samples[3], None, samples[0]]}
    held = graph[name].data[[4, 2, 0]]
    if name == "images":  # an observation of arrays
        new = {name: held}
    assert_array_equal(graph[name].read_samples(new[name], name), held)
    expected = graph.predict(new)
    graph.save("graph.kserket")
    loaded = srk.load_graph("graph.kserket")
    if name == "recordings":
        loaded[name].recognizer = HEARD.get
    assert_array_equal(loaded.predict(new), expected)
    assert loaded[module.name].get_config().keys() == module.get_config().keys()


def test_what_cannot_be_read_changes_nothing(extractor):
    samples, make, name = extractor
    module = make(samples, save_dir="results")
    before = sent(module)
    graph = srk.Graph(gmm_of(module))
    held = np.array(graph[name].data)
    written = {path: path.read_bytes() for path in pathlib.Path("results").rglob("*.*")}
    with pytest.raises((TypeError, ValueError, FileNotFoundError, KeyError)):
        graph[name].set_data(["nowhere", samples[0], 3.5, samples[1]])
    assert_array_equal(graph[name].data, held)
    assert_array_equal(sent(module), before)
    assert {p: p.read_bytes() for p in pathlib.Path("results").rglob("*.*")} == written
