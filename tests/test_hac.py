"""Recordings as histograms of acoustic co-occurrences."""

import importlib.util
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.io import wavfile

import kserket as srk
from kserket import hac, mlda
from kserket.core import sound
from kserket.inference import acoustic_cooccurrences

needs_librosa = pytest.mark.skipif(
    importlib.util.find_spec("librosa") is None, reason="needs librosa, the extra audio"
)
RATE = 8000


def vowel(formants, pitch, seconds, rate=RATE):
    """A sum of harmonics that are loud near the formants."""
    t = np.arange(int(seconds * rate)) / rate
    harmonics = pitch * np.arange(1, int(rate / 2 / pitch))
    loudness = sum(np.exp(-(((harmonics - formant) / 150) ** 2)) for formant in formants)
    return (loudness[:, None] * np.sin(2 * np.pi * harmonics[:, None] * t)).sum(axis=0)


def word(vowels, pitch):
    """Vowels one after the other, not louder than 1."""
    shapes = {"a": (800, 1200), "i": (300, 2300), "u": (350, 700)}
    samples = np.concatenate([vowel(shapes[v], pitch, 0.3) for v in vowels])
    return 0.9 * samples / np.abs(samples).max()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Three words, each at four pitches, in cyclic order."""
    folder, rng = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    paths = []
    for pitch in (110, 125, 140, 160):
        for vowels in ("aiu", "uia", "iau"):
            samples = word(vowels, pitch) + 0.002 * rng.normal(size=3 * int(0.3 * RATE))
            paths.append(folder / f"{vowels}{pitch}.wav")
            wavfile.write(paths[-1], RATE, samples.astype("float32"))
    return paths


OPTIONS = {"ks": [4, 4, 4], "n_fft": 512, "hop_length": 128, "n_mels": 40}


def made(filenames, **options):
    return hac.HACFeatureExtractor(filenames, **(OPTIONS | {"save_dir": None} | options))


# Equations -------------------------------------------------------------------------------


def test_pairs_of_codes_are_counted_at_each_lag():
    codes = np.array([0, 1, 1, 2, 0, 2])
    found = acoustic_cooccurrences.histogram(codes, 3, [1, 3, 9]).reshape(3, 3, 3)
    expected = np.zeros((3, 3, 3))
    for number, lag in enumerate([1, 3, 9]):
        for t in range(lag, len(codes)):
            expected[number, codes[t], codes[t - lag]] += 1
    assert_array_equal(found, expected)
    assert_array_equal(found.sum(axis=(1, 2)), [5, 3, 0])


def test_the_code_of_a_frame_is_its_nearest_center():
    rng = np.random.default_rng(0)
    frames, codebook = rng.normal(size=(50, 3)), rng.normal(size=(6, 3))
    distances = ((frames[:, None] - codebook) ** 2).sum(axis=2)
    codes = acoustic_cooccurrences.encode(frames.astype("float32"), codebook)
    assert_array_equal(codes, distances.argmin(axis=1))


def test_a_codebook_needs_different_frames():
    frames = np.repeat([[0.0, 1.0], [5.0, 5.0]], 10, axis=0)
    centers = acoustic_cooccurrences.make_codebook(frames, 2, seed=0)
    assert_allclose(centers[centers[:, 0].argsort()], [[0, 1], [5, 5]])
    with pytest.raises(ValueError, match="hold 2.*`ks`"):
        acoustic_cooccurrences.make_codebook(frames, 3, seed=0)


# Sound -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32", "float64"])
def test_recordings_of_all_kinds_are_read_alike(kind, tmp_path):
    x = 0.5 * np.sin(np.arange(400) / 7)
    scale = {"uint8": 128, "int16": 2**15, "int32": 2**31}.get(kind, 1)
    samples = np.round(x * scale) if scale > 1 else x
    samples = samples + (128 if kind == "uint8" else 0)
    wavfile.write(tmp_path / "x.wav", RATE, samples.astype(kind))
    found, rate = sound.read(tmp_path / "x.wav")
    assert rate == RATE
    assert_allclose(found, x, atol=1 / 128 if kind == "uint8" else 1e-4)


def test_channels_are_averaged_and_rates_changed(tmp_path):
    x = np.sin(2 * np.pi * 100 * np.arange(16000) / 16000)
    wavfile.write(tmp_path / "x.wav", 16000, np.stack([x, 0 * x], axis=1).astype("float32"))
    samples, rate = sound.read(tmp_path / "x.wav", RATE)
    assert rate == RATE and len(samples) == 8000
    expected = 0.5 * np.sin(2 * np.pi * 100 * np.arange(8000) / 8000)
    assert_allclose(samples[100:-100], expected[100:-100], atol=1e-3)


def test_what_is_no_recording_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.wav"):
        sound.read(tmp_path / "nowhere.wav")
    (tmp_path / "text.wav").write_text("no sound at all")
    with pytest.raises(ValueError, match="text.wav cannot be read.*ffmpeg"):
        sound.read(tmp_path / "text.wav")
    wavfile.write(tmp_path / "none.wav", RATE, np.zeros(0, "int16"))
    with pytest.raises(ValueError, match="none.wav"):
        sound.read(tmp_path / "none.wav")


# Module ----------------------------------------------------------------------------------


@needs_librosa
def test_features_are_those_of_the_definition(recordings):
    import librosa

    hac1 = made(recordings, lags=[3, 1], n_mfcc=7)
    assert hac1.data.shape == (12, 2 * 3 * 4**2)
    x, rate = sound.read(recordings[4])
    cepstrum = librosa.feature.mfcc(y=x, sr=rate, n_mfcc=7, n_fft=512, hop_length=128, n_mels=40)
    slopes = [librosa.feature.delta(cepstrum, order=order, mode="nearest") for order in (1, 2)]
    expected = []
    for s, stream in enumerate([cepstrum, *slopes]):
        book = hac1.parameters[f"codebook{s}"]
        codes = ((stream.T[:, None] - book) ** 2).sum(axis=2).argmin(axis=1)
        for lag in (3, 1):
            pairs = np.zeros((4, 4))
            np.add.at(pairs, (codes[lag:], codes[:-lag]), 1)
            expected.append(pairs.ravel())
    assert_array_equal(hac1.data[4], np.concatenate(expected))


@needs_librosa
def test_codebooks_are_those_of_all_recordings(recordings, tmp_path):
    """Of the first alone, other sounds would all be its nearest one (Serket's defect)."""
    for name, formants in {"a": (800, 1200), "i": (300, 2300)}.items():
        wavfile.write(tmp_path / f"{name}.wav", RATE, vowel(formants, 120, 0.4).astype("float32"))
    hac1 = made([tmp_path / "a.wav", tmp_path / "i.wav"], ks=[2, 1, 1], lags=[1])
    first, second = hac1.data[:, :4]
    assert first.argmax() != second.argmax()
    assert first.max() > 0.8 * first.sum() and second.max() > 0.8 * second.sum()


@needs_librosa
def test_words_of_the_same_sounds_are_told_apart_by_their_order(recordings):
    hac1 = made(recordings)
    mlda1 = mlda.MLDA(3, category=np.arange(12) % 3, seed=0, save_dir=None)
    mlda1.connect(hac1)
    graph = srk.Graph(mlda1, seed=0)
    graph.fit(rounds=1, verbose=0)
    assert mlda1.logs["accuracy"] == 1.0
    expected = graph.predict([recordings[5], None])
    assert_array_equal(expected[0].argmax(), mlda1.posterior[5].argmax())
    graph.save("graph.kserket")
    loaded = srk.load_graph("graph.kserket")
    assert_array_equal(loaded.predict([recordings[5], None]), expected)
    assert loaded["HACFeatureExtracter"].get_config() == hac1.get_config()


@needs_librosa
def test_files_recognition_and_seeds(recordings, tmp_path):
    hac1 = made(recordings, save_dir=tmp_path)
    folder = tmp_path / "module000_HACFeatureExtracter"
    assert {path.name for path in folder.iterdir()} == {"parameters.h5", "hac.txt"}
    assert_array_equal(np.loadtxt(folder / "hac.txt"), hac1.data)
    assert_array_equal(made(recordings).data, hac1.data)
    again = made([recordings[3], None], mode="recog", load_dir=folder)
    assert_array_equal(again.data[0], hac1.data[3])
    assert np.isnan(again.data[1]).all()
    hac1.set_data(recordings[:2])  # the codebooks stay
    assert_array_equal(hac1.data, made(recordings).data[:2])
    with pytest.raises(ValueError, match="settings"):
        made(recordings, mode="recog", load_dir=folder, ks=[5, 4, 4])
    with pytest.raises(ValueError, match="settings"):
        made(recordings, mode="recog", load_dir=folder, n_mfcc=12)


@needs_librosa
def test_recordings_of_another_rate_are_resampled(recordings, tmp_path):
    hac1 = made(recordings)
    x, _ = sound.read(recordings[0], 2 * RATE)
    wavfile.write(tmp_path / "twice.wav", 2 * RATE, x.astype("float32"))
    (again,) = hac1.read_samples([tmp_path / "twice.wav"], "x")
    assert np.abs(again - hac1.data[0]).sum() < 0.2 * hac1.data[0].sum()
    assert int(made(recordings[:3], sample_rate=6000).parameters["sample_rate"]) == 6000


@needs_librosa
def test_a_short_recording_counts_what_is_in_it(recordings, tmp_path):
    wavfile.write(tmp_path / "short.wav", RATE, word("a", 120)[:600].astype("float32"))
    (row,) = made(recordings).read_samples([tmp_path / "short.wav"], "x")
    assert row.sum() == 3 * (3 + 0)  # five frames: three pairs at lag 2, none at lag 5


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"ks": [4, 4]}, ValueError, "`ks`.*three codebooks"),
        ({"ks": [4, 4, 0]}, ValueError, "`ks`.*positive integers"),
        ({"ks": "444"}, ValueError, "`ks`"),
        ({"lags": []}, ValueError, "`lags`"),
        ({"lags": [1.5]}, ValueError, "`lags`"),
        ({"sample_rate": 0}, ValueError, "sample_rate"),
        ({"seed": -1}, ValueError, "seed"),
        ({"mode": "lern"}, ValueError, "mode"),
        ({"filenames": "a.wav"}, TypeError, "list of samples"),
    ],
)
def test_options_are_checked(options, error, words):
    with pytest.raises(error, match=words):
        made(**({"filenames": ["a.wav"]} | options))


@needs_librosa
def test_an_unknown_option_of_the_cepstrum_is_refused(recordings):
    with pytest.raises(TypeError, match="n_mcff"):
        made(recordings[:1], n_mcff=3)


def test_the_extra_is_named_where_it_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "librosa", None)
    wavfile.write(tmp_path / "a.wav", RATE, word("a", 120).astype("float32"))
    with pytest.raises(ImportError, match=r"pip install \"kserket\[audio\]\""):
        made([tmp_path / "a.wav"])
    assert made(np.ones((2, 5))).data.shape == (2, 5)  # features need no sound
