"""`Graph.fit(n_init=...)`: the best of several runs by log p(x)."""

import json

import numpy as np
import pytest

import kserket as srk
from kserket import gmm, mm


def graph_of(x, folder=None, **options):
    gmm1 = gmm.GMM(3, itr=3, n_init=1, save_dir=folder)
    mm1 = mm.MarkovModel(itr=3, n_init=1, save_dir=folder, **options)
    gmm1.connect(srk.Observation(x))
    mm1.connect(gmm1)
    return srk.Graph(mm1, seed=0)


@pytest.fixture
def x():
    rng = np.random.default_rng(3)
    means = 1.2 * np.array([[0, 0], [1, 0], [0, 1]])
    return means[np.arange(90) // 6 % 3] + rng.normal(size=(90, 2))


def run_of(x, start):
    graph = graph_of(x)
    graph["gmm"].start = graph["mm"].start = start
    graph.fit(1, verbose=0)
    return graph


def weights_of(graph):
    return np.concatenate([np.ravel(weight) for weight in graph.get_weights()])


def test_the_best_run_stays(x, tmp_path):
    scores = [run_of(x, start).evaluate(x)["log_likelihood"] for start in range(4)]
    assert len(set(scores)) > 1
    graph = graph_of(x, tmp_path)
    history = graph.fit(1, n_init=4, verbose=0)
    assert len(history.epoch) == 1
    assert graph.evaluate(x)["log_likelihood"] == max(scores)
    best = int(np.argmax(scores))
    np.testing.assert_array_equal(weights_of(graph), weights_of(run_of(x, best)))
    assert len(list(tmp_path.glob("module*_gmm/Pdz_learn.txt"))) == 1


def test_one_run_is_that_without(x):
    graph, plain = graph_of(x), graph_of(x)
    graph.fit(1, n_init=1, verbose=0)
    plain.fit(1, verbose=0)
    np.testing.assert_array_equal(weights_of(graph), weights_of(plain))


def test_runs_that_ended_are_not_repeated(x, tmp_path):
    graph = graph_of(x)
    graph.fit(2, n_init=3, backup_dir=tmp_path, verbose=0)
    found = json.loads((tmp_path / "starts.json").read_text())
    assert len(found["scores"]) == 3
    for path in tmp_path.glob("*.kserket"):  # as if killed before the first round ended
        path.unlink()
    del found["scores"]["2"]
    (tmp_path / "starts.json").write_text(json.dumps(found))
    again = graph_of(x)
    again.fit(2, n_init=3, backup_dir=tmp_path, verbose=0)
    np.testing.assert_array_equal(weights_of(again), weights_of(graph))
    finished = graph_of(x)
    finished.fit(2, n_init=3, backup_dir=tmp_path, verbose=0)
    np.testing.assert_array_equal(weights_of(finished), weights_of(graph))


@pytest.mark.parametrize("content", [b"", b"\xff{", b"[]", b'{"run": 1, "scores": {"a": "b"}}'])
def test_damaged_scores_count_as_none(x, tmp_path, content):
    (tmp_path / "starts.json").write_bytes(content)
    damaged, plain = graph_of(x), graph_of(x)
    damaged.fit(1, n_init=2, backup_dir=tmp_path, verbose=0)
    plain.fit(1, n_init=2, verbose=0)
    np.testing.assert_array_equal(weights_of(damaged), weights_of(plain))


def test_the_choice_is_saved(x, tmp_path):
    graph = graph_of(x)
    graph.fit(1, n_init=4, verbose=0)
    graph.save(tmp_path / "graph.kserket")
    again = srk.load_graph(tmp_path / "graph.kserket")
    assert again["gmm"].start == graph["gmm"].start
    again.fit(1, verbose=0)
    graph.fit(1, verbose=0)
    np.testing.assert_array_equal(weights_of(again), weights_of(graph))


def test_what_cannot_be_chosen_is_an_error(x):
    graph = graph_of(x)
    graph.fit(1, verbose=0)
    with pytest.raises(ValueError, match="has done 1 rounds"):
        graph.fit(1, n_init=2, verbose=0)
    for wrong in (0, -1, 1.5):
        with pytest.raises(ValueError, match="n_init"):
            graph_of(x).fit(1, n_init=wrong, verbose=0)
    first = gmm.GMM(2, itr=2, n_init=1, save_dir=None)
    second = gmm.GMM(2, itr=2, n_init=1, save_dir=None, name="above")
    first.connect(srk.Observation(x))
    second.connect(first)
    graph = srk.Graph(second, seed=0)
    with pytest.raises(ValueError, match="chooses among runs"):
        graph.fit(1, n_init=2, verbose=0)
    assert graph.round == 0 and first.model is None


@pytest.mark.slow
def test_runs_in_processes_of_their_own_choose_the_same(x):
    alone, beside = graph_of(x), graph_of(x)
    alone.fit(1, n_init=2, verbose=0)
    beside.fit(1, n_init=2, n_jobs=2, verbose=0)
    np.testing.assert_array_equal(weights_of(alone), weights_of(beside))
