"""Sentences as counts of words, and what every observation of features promises."""

import importlib.util
import pathlib
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import kserket as srk
from kserket import bow, mlda, utils
from kserket.inference import vocabulary

SENTENCES = ["A red ball.", "a red, red cup", "the green ball"]
WORDS = ["a", "red", "ball", "cup", "the", "green"]
COUNTS = [[1, 1, 1, 0, 0, 0], [1, 2, 0, 1, 0, 0], [0, 0, 1, 0, 1, 1]]


def made(sentences=SENTENCES, **options):
    return bow.BoW(sentences, **({"save_dir": None} | options))


def test_counts_are_those_of_words_in_the_order_in_which_they_come():
    bow1 = made()
    assert bow1.words == WORDS and bow1.name == "Bow"
    assert_array_equal(bow1.data, COUNTS)
    assert_array_equal(bow1.get_forward_msg(), COUNTS)


def test_words_of_a_text():
    assert vocabulary.words_of("Don't STOP, me-now 42!") == ["don't", "stop", "me", "now", "42"]
    assert vocabulary.words_of("...") == []


@pytest.mark.parametrize(
    "sentences",
    [tuple(SENTENCES), np.array(SENTENCES), np.array(SENTENCES, dtype=object)],
    ids=["tuple", "array of strings", "array of objects"],
)
def test_kinds_of_lists(sentences):
    assert_array_equal(made(sentences).data, COUNTS)


def test_any_tokenizer():
    bow1 = made(["abca", "bb"], tokenizer=list)
    assert bow1.words == ["a", "b", "c"]
    assert_array_equal(bow1.data, [[2, 1, 1], [0, 2, 0]])
    with pytest.raises(TypeError, match="tokenizer.*function"):
        made(tokenizer="letters")
    with pytest.raises(TypeError, match="tokenizer.*strings"):
        made(tokenizer=lambda sentence: [1, 2])


def test_the_vocabulary_grows_while_it_learns_and_no_longer():
    bow1 = made()
    bow1.set_data(["a blue ball"])
    assert bow1.words == [*WORDS, "blue"]
    assert_array_equal(bow1.data, [[1, 0, 1, 0, 0, 0, 1]])
    assert_array_equal(bow1.read_samples(["a new ball", "blue"], "x").sum(axis=1), [2, 1])
    bow1.mode = "recog"
    bow1.set_data(["a violet cup"])
    assert bow1.words == [*WORDS, "blue"] and bow1.data.sum() == 2


def test_a_sample_without_a_sentence_is_missing():
    bow1 = made([None, *SENTENCES])
    assert np.isnan(bow1.data[0]).all()
    assert_array_equal(bow1.data[1:], COUNTS)
    with pytest.raises(ValueError, match="observed"):
        made([None, None])


@pytest.mark.parametrize(
    "sentences, error, words",
    [
        ("one sentence", TypeError, "list of samples"),
        (None, TypeError, "set_data"),
        ([], ValueError, "observed"),
        (["...", "!"], ValueError, "no word"),
        ([pathlib.Path("a.txt")], TypeError, "strings or None"),
        ([["a", "list"]], TypeError, "strings or None"),
    ],
)
def test_what_is_no_list_of_sentences_is_refused(sentences, error, words):
    with pytest.raises(error, match=words):
        made(sentences)
    assert srk.Module("next").number == 0  # no number was taken


def test_files_and_recognition(tmp_path):
    bow1 = made(save_dir=tmp_path)
    folder = tmp_path / "module000_Bow"
    names = {path.name for path in folder.iterdir()}
    assert names == {"parameters.h5", "histograms.txt", "dict.txt"}
    assert_array_equal(np.loadtxt(folder / "histograms.txt"), COUNTS)
    assert (folder / "dict.txt").read_text(encoding="utf-8").split() == WORDS
    before = (folder / "parameters.h5").read_bytes()
    again = made(["a new cup"], mode="recog", load_dir=folder)
    assert again.words == bow1.words
    assert_array_equal(again.data, [[1, 0, 0, 1, 0, 0]])
    srk.Module.reset_names()
    made(["a cup"], mode="recog", save_dir=tmp_path)  # from the folder that it would write
    assert (folder / "parameters.h5").read_bytes() == before
    longer = made(["a new cup"], load_dir=folder)  # learning goes on
    assert longer.words == [*WORDS, "new"]


def test_files_that_are_no_vocabulary_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="learned nothing.*load_dir="):
        made(mode="recog", load_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="neither save_dir nor load_dir"):
        made(mode="recog")
    made(save_dir=tmp_path)
    path = tmp_path / "module000_Bow" / "parameters.h5"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="Learn again"):
        made(mode="recog", load_dir=path.parent)


def test_a_graph_predicts_from_sentences_and_is_saved_with_its_vocabulary():
    color, thing = ["red", "blue"], ["ball", "cup", "box"]
    sentences = [f"the {color[n % 2]} {thing[n % 3]}" for n in range(30)]
    bow1 = made(sentences)
    mlda1 = mlda.MLDA(2, itr=20, seed=0, save_dir=None)
    mlda1.connect(bow1)
    graph = srk.Graph(mlda1, seed=0)
    graph.fit(rounds=1, verbose=0)
    new = ["a red thing", None, "blue"]
    expected = graph.predict(new)
    assert_array_equal(expected, graph.predict(bow1.read_samples(new, "x")))
    assert_array_equal(expected.argmax(axis=1)[[0, 2]], mlda1.posterior.argmax(axis=1)[:2])
    graph.save("graph.kserket")
    loaded = srk.load_graph("graph.kserket")
    assert loaded["Bow"].words == bow1.words
    assert_array_equal(loaded.predict(new), expected)
    assert not list(pathlib.Path().glob("module*"))
    graph.save("small.kserket", include_data=False)
    assert_array_equal(srk.load_graph("small.kserket").predict(new), expected)


def test_features_alone_know_no_sentences():
    bow1 = made(np.array(COUNTS))
    assert_array_equal(bow1.data, COUNTS)
    with pytest.raises(RuntimeError, match="has not learned"):
        bow1.read_samples(SENTENCES, "Bow")


def test_a_state_from_a_file_is_checked():
    bow1 = made()
    for words in ("text", np.zeros((2, 3)), np.array([[65], [65]]), np.array([[2**31]])):
        with pytest.raises(ValueError, match="cannot be used by BoW"):
            bow1.set_state({**bow1.get_state(), "parameters": {"words": words}})
        assert bow1.words == WORDS


def test_new_words_reach_a_topic_model_through_a_buffer():
    bow1, buffer = made(SENTENCES), utils.Buffer()
    mlda1 = mlda.MLDA(2, itr=10, seed=0, save_dir=None)
    buffer.connect(bow1)
    mlda1.connect(buffer)
    buffer.update()
    mlda1.update()
    bow1.set_data(["a blue whale", "the blue whale"])
    buffer.update()
    mlda1.update()
    assert buffer.get_forward_msg().shape == (5, 8) and mlda1.posterior.shape == (5, 2)


def test_a_failure_changes_nothing(tmp_path):
    bow1 = made(save_dir=tmp_path)
    data, before = bow1.data, (tmp_path / "module000_Bow" / "dict.txt").read_bytes()
    for sentences in ([3.5], ["a new one"] * 2):
        with pytest.raises((TypeError, ValueError)):
            bow1.set_data(sentences, same_samples=True)
        assert bow1.words == WORDS and bow1.data is data
        assert (tmp_path / "module000_Bow" / "dict.txt").read_bytes() == before


def test_japanese_needs_its_extra(monkeypatch):
    assert vocabulary.is_japanese("赤い") and not vocabulary.is_japanese("red 红")
    monkeypatch.setitem(sys.modules, "janome", None)
    monkeypatch.setitem(sys.modules, "janome.tokenizer", None)
    with pytest.raises(ImportError, match=r"pip install \"kserket\[japanese\]\""):
        made(["赤いボール"])
    assert made(["赤いボール"], tokenizer=list).words == list("赤いボール")[:4] + ["ル"]


@pytest.mark.skipif(importlib.util.find_spec("janome") is None, reason="needs janome")
def test_japanese_sentences_are_split():
    assert made(["赤いボール", "赤いカップ"]).words == ["赤い", "ボール", "カップ"]
