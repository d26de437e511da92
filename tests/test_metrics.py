import itertools

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from kserket import metrics


def best_accuracy_by_trying(y_true, y_pred):
    """The largest agreement over every one-to-one naming of clusters by labels."""
    labels, clusters = np.unique(y_true), np.unique(y_pred)
    names = list(labels) + [None] * len(clusters)
    best = 0
    for chosen in set(itertools.permutations(names, len(clusters))):
        naming = dict(zip(clusters, chosen, strict=True))
        best = max(best, sum(naming[p] == t for t, p in zip(y_true, y_pred, strict=True)))
    return best / len(y_true)


@pytest.mark.parametrize("num_labels, num_clusters", [(4, 4), (4, 2), (2, 4), (1, 3), (3, 1)])
@pytest.mark.parametrize("seed", range(5))
def test_accuracy_is_the_best_over_all_namings(num_labels, num_clusters, seed):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(num_labels, size=30)
    y_pred = rng.integers(num_clusters, size=30)
    expected = best_accuracy_by_trying(y_true, y_pred)
    assert metrics.clustering_accuracy(y_true, y_pred) == pytest.approx(expected)
    matched, _ = metrics.match_labels(y_true, y_pred)
    assert np.mean(matched == y_true) == pytest.approx(expected)
    confusion = metrics.confusion_matrix(y_true, y_pred)
    assert np.trace(confusion.counts) / 30 == pytest.approx(expected)


def test_accuracy_is_optimal_where_swapping_pairs_stops_early():
    # No swap of two clusters gains anything on the diagonal, a rotation of all three does.
    counts = np.array([[5, 6, 0], [0, 5, 6], [6, 0, 5]])
    for i, j in itertools.combinations(range(3), 2):
        assert counts[i, j] + counts[j, i] <= counts[i, i] + counts[j, j]
    y_true = np.repeat(np.repeat(range(3), 3), counts.ravel())
    y_pred = np.repeat(np.tile(range(3), 3), counts.ravel())
    assert metrics.clustering_accuracy(y_true, y_pred) == pytest.approx(18 / 33)


def test_renaming_clusters_changes_no_score():
    rng = np.random.default_rng(0)
    y_true = rng.integers(5, size=200)
    y_pred = np.where(rng.random(200) < 0.7, y_true, rng.integers(5, size=200))
    renamed = np.array([40, -1, 7, 3, 12])[y_pred]
    for score in (
        metrics.clustering_accuracy,
        metrics.adjusted_rand_index,
        metrics.normalized_mutual_information,
    ):
        assert score(y_true, renamed) == pytest.approx(score(y_true, y_pred))
        assert score(y_true, y_pred) < 1 == score(y_true, (y_true + 1) % 5)


def test_labels_of_any_kind():
    y_pred = np.array([2, 2, 0, 0, 1, 1])
    for y_true in ([0.0, 0.0, 1.0, 1.0, 2.0, 2.0], list("aabbcc"), [True] * 2 + [False] * 4):
        expected = 1 if len(set(y_true)) == 3 else 4 / 6
        assert metrics.clustering_accuracy(y_true, y_pred) == pytest.approx(expected)
    # Float labels that are not whole numbers are names like any other.
    assert metrics.adjusted_rand_index([0.5, 0.5, 1.5], [0, 0, 1]) == 1.0
    assert metrics.normalized_mutual_information([0.5, 0.5, 1.5], [0, 0, 1]) == 1.0


def test_match_labels_names_every_cluster_once():
    matched, mapping = metrics.match_labels([3, 3, 3, 8, 8, 8], [1, 1, 0, 2, 2, 5])
    assert mapping == {0: 9, 1: 3, 2: 8, 5: 10}
    np.testing.assert_array_equal(matched, [3, 3, 9, 8, 8, 10])
    matched, mapping = metrics.match_labels(["cat", "cat", "dog"], [4, 4, 4])
    assert mapping == {4: "cat"}
    assert matched.tolist() == ["cat"] * 3
    assert metrics.match_labels(["cat", "cat"], [4, 7])[1] == {4: "cat", 7: "cluster 7"}
    named = ["cluster 1", "cluster 1", "b"]
    assert metrics.match_labels(named, [0, 1, 2])[0].tolist() == ["cluster 1", "cluster 1'", "b"]
    assert metrics.match_labels([True, True, False], [0, 1, 2])[0].tolist() == [True, 2, False]


def test_confusion_matrix_with_more_labels_than_clusters():
    confusion = metrics.confusion_matrix(["a", "b", "b", "c", "c", "c"], [5, 5, 5, 6, 6, 6])
    assert confusion.labels.tolist() == ["a", "b", "c"]
    assert confusion.clusters == [None, 5, 6]
    np.testing.assert_array_equal(confusion.counts, [[0, 1, 0], [0, 2, 0], [0, 0, 3]])


def test_confusion_matrix_with_more_clusters_than_labels():
    confusion = metrics.confusion_matrix([0, 0, 0, 1, 1], [7, 7, 8, 9, 9])
    assert confusion.clusters == [7, 9, 8]
    np.testing.assert_array_equal(confusion.counts, [[2, 0, 1], [0, 2, 0]])


def test_indices_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    y_true, y_pred = rng.integers(4, size=(2, 60))
    assert metrics.adjusted_rand_index(y_true, y_pred) == adjusted_rand_score(y_true, y_pred)
    expected = normalized_mutual_info_score(y_true, y_pred)
    assert metrics.normalized_mutual_information(y_true, y_pred) == expected


@pytest.mark.parametrize(
    "y_true, y_pred, message",
    [
        ([0, 1], [0, 1, 1], "same length.*2 and 3"),
        ([], [], "at least one sample"),
        ([0, 1], [[0.5, 0.5], [0.1, 0.9]], r"argmax\(axis=1\).*shape \(2, 2\)"),
        ([0.0, np.nan], [0, 1], "1 NaN or None, the first at row 1"),
        (["a", np.nan], [0, 1], "1 NaN or None, the first at row 1"),
        (np.array([None, 3, np.nan], object), [0, 1, 2], "2 NaN or None, the first at row 0"),
        ([[0], [1]], [0, 1], r"labels.ravel\(\).*shape \(2, 1\)"),
    ],
)
def test_bad_input_is_named(y_true, y_pred, message):
    for score in (metrics.clustering_accuracy, metrics.match_labels, metrics.adjusted_rand_index):
        with pytest.raises(ValueError, match=message):
            score(y_true, y_pred)


@pytest.mark.parametrize(
    "labels",
    [[1j, 2], np.array(["2020-01-01", "2020-01-02"], "M8[D]"), [np.inf, 1], [[1], [2, 3]], None],
    ids=repr,
)
def test_labels_are_numbers_or_strings(labels):
    for arguments in ((labels, [0, 1]), ([0, 1], labels)):
        with pytest.raises((TypeError, ValueError), match="`y_(true|pred)`"):
            metrics.clustering_accuracy(*arguments)


def test_objects_that_are_numbers_score_as_numbers():
    counts, labels, clusters = metrics.confusion_matrix([0, 0, 1], np.array([3, 3, 4], object))
    assert counts.tolist() == [[2, 0], [0, 1]] and clusters == [3, 4] and labels.tolist() == [0, 1]
