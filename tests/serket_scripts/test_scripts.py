"""Scripts as Serket users write them, run with their import lines changed and nothing else."""

import pathlib
import runpy
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.io import wavfile
from test_ros import write_bag

import kserket as srk

ROOT = pathlib.Path(__file__).parent.parent.parent
SCRIPTS = sorted((pathlib.Path(__file__).parent / "scripts").glob("*.py"))


@pytest.fixture
def data_files():
    """Five classes of 20 rows, in cyclic order, as images, points and two kinds of counts."""
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 5
    patterns = rng.random((5, 64)) < 0.4
    images = np.clip(0.9 * patterns[labels] + 0.1 * rng.random((100, 64)), 0, 1)
    centers = 6.0 * rng.normal(size=(5, 4))
    words = rng.poisson(0.3 + 4.0 * np.eye(5)[labels].repeat(2, axis=1))
    sounds = rng.poisson(0.3 + 4.0 * np.eye(5)[labels].repeat(3, axis=1))
    np.savetxt("images.txt", images)
    np.savetxt("points.txt", centers[labels] + rng.normal(size=(100, 4)))
    np.savetxt("words.txt", words)
    np.savetxt("sounds.txt", sounds)
    np.savetxt("category.txt", labels)
    things = ["red ball", "blue cup", "green box", "yellow bear", "white duck"]
    pathlib.Path("sentences.txt").write_text("\n".join(f"a {things[n]}" for n in labels))


def image_files():
    """Twenty images, and a network of images in a file."""
    pathlib.Path("images").mkdir()
    for n, image in enumerate(np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3), "uint8")):
        tf.io.write_file(f"images/{n:03d}.png", tf.io.encode_png(image))
    pixels = keras.Input((12, 12, 3))
    features = keras.layers.Conv2D(8, 3, activation="relu")(pixels)
    keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(features)).save("cnn.keras")


def recordings():
    """Nine recordings of half a second, three of a kind: a tone that rises, falls or stays."""
    pathlib.Path("wavs").mkdir()
    t = np.arange(8000) / 16000
    for kind, slope in enumerate((800, -800, 0)):
        for n in range(3):
            pitch = 700 + 20 * n + slope * (t - 0.25)
            sound = np.sin(2 * np.pi * np.cumsum(pitch) / 16000)
            wavfile.write(f"wavs/{kind}{n}.wav", 16000, (10_000 * sound).astype("int16"))


def spoken_words():
    """Nine recordings of three words that eSpeak NG says."""
    pytest.importorskip("espeakng_loader", reason="needs espeakng-loader")
    pathlib.Path("wavs").mkdir()
    say = runpy.run_path(str(ROOT / "benchmarks" / "speech.py"))["speaker"]()
    for kind, word in enumerate(("apple", "orange", "window")):
        for n in range(3):
            wavfile.write(f"wavs/{kind}{n}.wav", *say(word, pitch=40 + 10 * n))


def bag():
    """A robot's positions and sentences that it heard."""
    pytest.importorskip("rosbags", reason="needs rosbags, the extra ros")
    write_bag(pathlib.Path("run"), "2")


MORE_FILES = {
    "images_by_cnn": image_files,
    "sounds_by_hac": recordings,
    "numbers_heard_and_seen": spoken_words,
    "places_from_a_bag": bag,
}


def test_scripts_are_found():
    assert len(SCRIPTS) >= 18


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_runs(script, data_files):
    srk.Module.reset_names()
    MORE_FILES.get(script.stem, lambda: None)()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            runpy.run_path(str(script), run_name="__main__")
        except ImportError as error:
            if "kserket[" not in str(error):
                raise
            pytest.skip(str(error))  # an extra that is not installed here
    for path in pathlib.Path().rglob("acc_learn.txt"):
        assert 0.2 < float(np.loadtxt(path)) <= 1.0
