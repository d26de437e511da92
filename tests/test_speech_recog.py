"""Recordings as counts of words that a graph may correct."""

import importlib.util
import pathlib
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.io import wavfile

import kserket as srk
from kserket import mlda, speech_recog
from kserket.inference import hypotheses, vocabulary
from kserket.speech_recog import recognizers
from kserket.speech_recog.recordings import Recordings

HEARD = {
    "a": [(["nine"], -1.0), (["mine"], -1.5), (["red", "nine"], -3.0)],
    "b": [(["five"], -0.5), (["hive"], -2.5)],
    "c": [(["red", "hive"], -2.0)],
    "silence": [],
}
WORDS = ["nine", "mine", "red", "five", "hive"]


def made(samples=("a", "b", "c"), heard=HEARD, **options):
    options = {"recognizer": heard.get, "save_dir": None} | options
    return speech_recog.SpeechRecog(list(samples), **options)


def by_hand(recordings, prior=None, score_weight=1.0):
    """Expected counts (V,) of one sample, from the lists."""
    total = np.zeros(len(WORDS))
    for name in recordings:
        rows = np.array([[words.count(w) for w in WORDS] for words, _ in HEARD[name]])
        logs = score_weight * np.array([score for _, score in HEARD[name]])
        if prior is not None:
            logs = logs + rows @ np.log(np.asarray(prior) / np.sum(prior))
        total += np.exp(logs - np.logaddexp.reduce(logs)) @ rows
    return total


# Equations -------------------------------------------------------------------------------


@pytest.mark.parametrize("score_weight", [0.0, 0.5, 1.0])
def test_counts_are_expected_under_score_and_words(score_weight):
    speech = made(["a", ["b", "a"], "c"], score_weight=score_weight)
    speech.update()
    assert speech.words == WORDS
    samples = ["a"], ["b", "a"], ["c"]
    expected = [by_hand(one, None, score_weight) for one in samples]
    assert_allclose(speech.get_forward_msg(), expected)
    prior = np.random.default_rng(0).dirichlet(np.ones(5), 3)
    speech.set_backward_msg(3 * prior)  # expected counts as well as probabilities
    speech.update()
    expected = [by_hand(one, p, score_weight) for one, p in zip(samples, prior, strict=True)]
    assert_allclose(speech.get_forward_msg(), expected)
    assert_allclose(speech.get_forward_msg()[2], [0, 0, 1, 0, 1])


def test_draws_have_the_expected_counts_as_their_mean():
    proposed = made(["a"] * 4000, resample="one", seed=3)
    proposed.update()
    counts = proposed.get_forward_msg()
    assert set(np.unique(counts)) <= {0.0, 1.0}
    assert_allclose(counts.mean(axis=0), by_hand(["a"])[:3], atol=0.03)
    again = made(["a"] * 4000, resample="one", seed=3)
    again.update()
    assert_array_equal(again.get_forward_msg(), counts)
    again.update()
    assert (again.get_forward_msg() != counts).any()


def test_a_sentence_without_words_counts_only_where_there_is_no_other():
    heard = {"x": [([], 0.0), (["red"], -9.0)], "y": [([], 0.0)], "z": []}
    speech = made("xyz", heard)
    speech.update()
    assert_array_equal(speech.get_forward_msg(), [[1], [0], [0]])


def test_impossible_words_and_far_scores_lose_without_overflow():
    heard = {"x": [(["a"], -1e6), (["b"], -1e6 - 1), (["c"], -2e6)]}
    speech = made("x", heard)
    speech.update()
    speech.set_backward_msg([[0.0, 1.0, 0.0]])
    speech.update()
    assert_allclose(speech.get_forward_msg(), [[0, 1, 0]], atol=1e-12)
    assert_allclose(speech.infer(speech.get_messages().inputs, np.zeros((1, 3))).evidence.sum(), 1)


def test_hypotheses_as_an_array():
    table = hypotheses.table([[[([3, 1], -1.0)]], [[([2], 0.0), ([], -2.0)], []]], (2, 2, 3))
    assert table.shape == (2, 2, 2, 5)
    assert_array_equal(table[0, 0, 0], [-1.0, 2, 3, 1, 0])
    assert_array_equal(table[..., 1], [[[2, -1], [-1, -1]], [[1, 0], [-1, -1]]])
    hypotheses.check(table, 4)
    for spoiled in (table[0], table - 0.5, np.where(table == 3, 4, table), np.full((1, 9), 1.0)):
        with pytest.raises(ValueError, match="Hypotheses must"):
            hypotheses.check(spoiled, 4)
    with pytest.raises(ValueError, match="3 recordings"):
        hypotheses.table([[[], [], []]], (2, 2, 3))


def test_words_in_few_texts_are_left_out():
    texts = [["a", "b", "b"], ["a", "c"], ["d", "a", "c"]]
    assert vocabulary.extended([], texts) == ["a", "b", "c", "d"]
    assert vocabulary.extended(["c"], texts, least=2) == ["c", "a"]


# Module ----------------------------------------------------------------------------------


def test_a_sample_that_was_not_heard_is_missing():
    speech = made(["a", None, "silence"])
    speech.update()
    counts = speech.get_forward_msg()
    assert np.isnan(counts[1]).all() and (counts[2] == 0).all()
    assert 0 < speech.logs["sure"] < 1


def test_the_recognizer_is_asked_once_for_each_recording():
    asked = []

    def recognizer(recording):
        asked.append(recording)
        return HEARD[recording]

    speech = made(["a", ["b", "c"]], recognizer=recognizer)
    for _ in range(3):
        speech.update()
    assert asked == ["a", "b", "c"]


def test_lists_are_cut_and_rare_words_left_out():
    speech = made(nbest=1)
    assert speech.words == ["nine", "five", "red", "hive"]
    speech = made(["a", "a", "b", "c"], threshold=2)  # "five" is proposed once
    assert speech.words == ["nine", "mine", "red", "hive"]
    speech.update()
    assert_array_equal(speech.get_forward_msg()[2], [0, 0, 0, 1])


def simulated(seed, num_objects=120):
    """Objects of four kinds with a word each, of which the recognizer's first guess errs."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(num_objects) % 4
    heard, said = {}, [f"w{kind}" for kind in kinds]
    for n, word in enumerate(said):
        others = [f"w{w}" for w in rng.permutation(16)[:6] if f"w{w}" != word]
        order = [word, *others] if rng.random() < 0.5 else [others[0], word, *others[1:]]
        heard[str(n)] = [([w], -0.3 * rank) for rank, w in enumerate(order)]
    return heard, np.array(said), kinds


def test_what_is_seen_corrects_what_is_heard():
    heard, said, kinds = simulated(0)
    speech = made(heard, heard)
    seen = srk.Observation(np.random.default_rng(1).poisson(1 + 5 * np.eye(4)[kinds]), "seen")
    mlda1 = mlda.MLDA(4, category=kinds, seed=0, save_dir=None)
    mlda1.connect(speech, seen)
    graph = srk.Graph(mlda1, seed=0)

    def accuracy(counts):
        return (np.array(speech.words)[np.asarray(counts).argmax(axis=1)] == said).mean()

    first = np.mean([part[0][0] == [word] for part, word in zip(heard.values(), said, strict=True)])
    speech.update()
    assert accuracy(speech.get_forward_msg()) == first < 0.6
    graph.fit(rounds=4, verbose=0)
    assert accuracy(speech.get_forward_msg()) > 0.9 and mlda1.logs["accuracy"] > 0.9

    new = {"recordings": ["0", "1", None], "seen": seen.data[:3]}
    classes, counts = graph.predict(new, ["mlda", "speech_recog"]).values()
    assert accuracy(np.vstack([counts[:2], speech.get_forward_msg()[2:]])) > 0.9
    assert_array_equal(classes.argmax(axis=1), mlda1.posterior.argmax(axis=1)[:3])

    graph.save("graph.kserket")
    loaded = srk.load_graph("graph.kserket")
    with pytest.raises(RuntimeError, match="recognizer"):
        loaded.predict(new)
    loaded["recordings"].recognizer = heard.get
    assert_allclose(loaded.predict(new, "mlda"), classes, atol=1e-6)
    assert loaded["speech_recog"].get_config() == {**speech.get_config(), "save_dir": None}
    more, once = graph.fit(rounds=1, verbose=0), loaded.fit(rounds=1, verbose=0)
    assert more.history["mlda/log_likelihood"][-1] == once.history["mlda/log_likelihood"][-1]


def test_files_and_recognition(tmp_path):
    speech = made(["a", "b", "c"], save_dir=tmp_path)
    speech.update()
    folder = tmp_path / "module000_speech_recog"
    assert {path.name for path in folder.iterdir()} == {"parameters.h5", "word.txt", "dict.txt"}
    assert_allclose(np.loadtxt(folder / "word.txt"), speech.get_forward_msg())
    assert (folder / "dict.txt").read_text(encoding="utf-8").split() == WORDS
    assert srk.Module("next").get_name() == "module001_next"  # it and its recordings are one
    srk.Module.reset_names()
    heard = {"x": [(["new", "red"], 0.0), (["red", "nine"], -5.0)], "y": [(["new", "hive"], 0.0)]}
    for options in ({"load_dir": folder, "save_dir": None}, {"save_dir": tmp_path}):
        again = made("xy", heard, mode="recog", **options)
        again.update()
        assert again.words == WORDS
        assert_array_equal(again.get_forward_msg(), [[1, 0, 1, 0, 0], [0, 0, 0, 0, 1]])
        srk.Module.reset_names()
    with pytest.raises(FileNotFoundError, match="learned nothing"):
        made(mode="recog", load_dir=tmp_path / "nowhere")


def test_wrong_messages_from_above_are_refused():
    speech = made()
    speech.update()
    before = speech.get_forward_msg()
    with pytest.raises(ValueError, match="shape"):
        speech.set_backward_msg(np.ones((3, 4)))
    speech.set_backward_msg(-np.ones((3, 5)))
    with pytest.raises(ValueError, match="needs probabilities"):
        speech.update()
    assert speech.get_forward_msg() is before


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"nbest": 0}, ValueError, "nbest"),
        ({"threshold": 0}, ValueError, "threshold"),
        ({"lmp": [8]}, ValueError, "lmp"),
        ({"lmp": [-1, 0]}, ValueError, "lmp"),
        ({"resample": "best"}, ValueError, "resample.*'expected'"),
        ({"score_weight": -1}, ValueError, "score_weight"),
        ({"mode": "lern"}, ValueError, "mode"),
        ({"seed": -1}, ValueError, "seed"),
        ({"samples": ["silence"]}, ValueError, "no word"),
        ({"recognizer": lambda x: ["nine"]}, ValueError, "recognizer.*'a'"),
        ({"recognizer": lambda x: [("nine", 0.0)]}, ValueError, "recognizer.*'a'"),
        ({"recognizer": lambda x: [(["nine"], np.nan)]}, ValueError, "recognizer.*'a'"),
        ({"recognizer": lambda x: None}, ValueError, "recognizer.*'a'"),
    ],
)
def test_options_are_checked(options, error, words):
    with pytest.raises(error, match=words):
        made(**options)


def test_more_recordings_of_a_sample_than_learned_from_are_refused():
    source = Recordings(["a", ["b", "c"]], recognizer=HEARD.get)
    assert source.read_samples([["a", "b"]], "x").shape == source.data[:1].shape
    with pytest.raises(ValueError, match="3 recordings"):
        source.read_samples([["a", "b", "c"]], "x")


def test_the_extra_is_named_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(ImportError, match=r"pip install \"kserket\[speech\]\""):
        speech_recog.SpeechRecog(["a.wav"])


def test_a_recognizer_hears_no_zeros_and_no_difference_in_loudness_or_silence():
    sound = np.random.default_rng(0).normal(size=400) * np.hanning(402)[1:-1]
    heard = recognizers._in_a_room(sound)
    assert (np.abs(heard) > 0).all() and len(heard) <= 400 + 2 * recognizers.SAMPLE_RATE // 5
    assert_allclose(recognizers._in_a_room(0.01 * np.pad(sound, [50, 900])), 0.01 * heard)
    assert not recognizers._in_a_room(np.zeros(100)).any()


@pytest.fixture(scope="module")
def say():
    """`speaker()` of benchmarks/speech.py: what eSpeak NG makes of a word."""
    pytest.importorskip("pocketsphinx", reason="needs the extra speech")
    pytest.importorskip("espeakng_loader", reason="needs espeakng-loader")
    path = pathlib.Path(__file__).parent.parent / "benchmarks" / "speech.py"
    spec = importlib.util.spec_from_file_location("speech", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    return benchmark.speaker()


SAID = ["seven", "orange", "window", "yellow"]


def test_one_of_a_list_of_words_is_recognized(tmp_path, say):
    paths = [tmp_path / f"{word}.wav" for word in SAID]
    for word, path in zip(SAID, paths, strict=True):
        wavfile.write(path, *say(word))
    of_these = speech_recog.PocketSphinx(words=SAID)
    assert [of_these(path)[0][0] for path in paths] == [[word] for word in SAID]
    assert of_these(paths[0]) == of_these(paths[0])
    speech = speech_recog.SpeechRecog(paths, recognizer=of_these, save_dir=None)
    speech.update()
    assert speech.get_forward_msg().shape == (4, len(speech.words))
    wavfile.write(tmp_path / "silence.wav", 16000, np.zeros(8000, "int16"))
    assert isinstance(of_these(tmp_path / "silence.wav"), list)
    with pytest.raises(ValueError, match="pronunciation.*zrgh"):
        speech_recog.PocketSphinx(words=["zrgh"])


def test_any_english_is_recognized_between_exact_zeros(tmp_path, say):
    """A synthesizer's silence is exactly zero, which no microphone's is."""
    path = tmp_path / "said.wav"
    recognizer, found = speech_recog.PocketSphinx(), []
    for word in ["train", "nurse", "coffee", "yellow"]:
        rate, samples = say(word)
        wavfile.write(path, rate, np.pad(samples, rate // 4))
        proposed = recognizer(path)
        scores = [score for _, score in proposed]
        assert len(scores) == 10 and scores == sorted(scores, reverse=True)
        found.append([word] in [words for words, _ in proposed])
    assert sum(found) >= 3
