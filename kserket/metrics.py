"""Scores of a clustering against known labels. Labels score, they never decide anything.

Cluster numbers mean nothing by themselves: every score here is unchanged when clusters are renamed.
Labels may be of any kind that can be compared for equality (integers, floats such as `np.loadtxt`
returns, strings), and clusters may be more or fewer than labels.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kserket import hosts
from kserket.labels import as_labels
from kserket.row_names import check_row_order, row_names_of
from kserket.typing import Array

__all__ = [
    "ConfusionMatrix",
    "adjusted_rand_index",
    "clustering_accuracy",
    "clustering_scores",
    "confusion_matrix",
    "match_labels",
    "normalized_mutual_information",
]


class ConfusionMatrix(NamedTuple):
    """Counts of samples by true label (rows) and cluster (columns), partners on the diagonal."""

    counts: np.ndarray  # (R, C) int, C >= R; counts[i, i] are the samples counted as right
    labels: np.ndarray  # (R,) the true labels, sorted
    clusters: list  # (C,) the cluster of each column; None where a label has no cluster


def clustering_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Fraction of samples that are right under the best one-to-one naming of clusters by labels.

    Args:
        y_true: (N,) true labels.
        y_pred: (N,) clusters.

    Returns:
        Float in [0, 1]. Samples of a cluster left without a label count as wrong.

    Raises:
        ValueError: If the two are not of the same length, empty, not one-dimensional, or hold NaN
            or None.

    Reference:
        H. W. Kuhn, "The Hungarian method for the assignment problem", 1955.
    """
    counts, _, _, rows, columns = _match(y_true, y_pred)
    return float(counts[rows, columns].sum() / counts.sum())


def match_labels(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Array, dict[Any, Any]]:
    """Renames clusters by the labels that fit them best, each label used once at most.

    Args:
        y_true: (N,) true labels.
        y_pred: (N,) clusters.

    Returns:
        (matched, mapping): `matched` (N,) is `y_pred` in the names of `y_true`, and `mapping` the
        dict from cluster to name. Clusters beyond the number of labels get names that no label
        has: the numbers after the largest, or "cluster 7" where labels are not numbers.

    Raises:
        ValueError: As `clustering_accuracy`.
    """
    counts, labels, clusters, rows, columns = _match(y_true, y_pred)
    names = dict(zip(columns.tolist(), labels[rows].tolist(), strict=True))
    taken = set(labels.tolist())
    for column in sorted(set(range(len(clusters))) - set(names)):
        if labels.dtype.kind in "biuf":
            name = max(taken) + 1
        else:
            name = f"cluster {clusters[column]}"
            while name in taken:
                name += "'"
        names[column] = name
        taken.add(name)
    by_column = np.array([names[column] for column in range(len(clusters))])
    matched = by_column[np.searchsorted(clusters, as_labels(y_pred, "`y_pred`"))]
    return matched, dict(zip(clusters.tolist(), by_column.tolist(), strict=True))


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike) -> ConfusionMatrix:
    """Counts labels against clusters, with each label's partner on the diagonal.

    Args:
        y_true: (N,) true labels.
        y_pred: (N,) clusters.

    Returns:
        `ConfusionMatrix`. A label without a cluster has a column of zeros, clusters without a label
        come last; the trace divided by N is `clustering_accuracy`.

    Raises:
        ValueError: As `clustering_accuracy`.
    """
    counts, labels, clusters, rows, columns = _match(y_true, y_pred)
    spare = np.setdiff1d(np.arange(len(clusters)), columns)
    order = np.full(len(labels) + len(spare), -1)
    order[rows] = columns
    order[len(labels) :] = spare
    sorted_counts = np.where(order >= 0, counts[:, order], 0)
    return ConfusionMatrix(
        sorted_counts, labels, [None if c < 0 else clusters[c].item() for c in order]
    )


def adjusted_rand_index(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Agreement of two partitions over pairs of samples, corrected for chance: 1 same, 0 chance.

    Args:
        y_true: (N,) true labels.
        y_pred: (N,) clusters.

    Returns:
        Float in [-0.5, 1].

    Reference:
        L. Hubert and P. Arabie, "Comparing partitions", 1985.
    """
    from sklearn.metrics import adjusted_rand_score

    _, _, true, predicted = _encode(y_true, y_pred)
    return float(adjusted_rand_score(true, predicted))


def normalized_mutual_information(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mutual information of labels and clusters over the mean of their entropies.

    Args:
        y_true: (N,) true labels.
        y_pred: (N,) clusters.

    Returns:
        Float in [0, 1]; not corrected for chance, so that it grows with the number of clusters.

    Reference:
        A. Strehl and J. Ghosh, "Cluster ensembles", 2002 (with the arithmetic mean).
    """
    from sklearn.metrics import normalized_mutual_info_score

    _, _, true, predicted = _encode(y_true, y_pred)
    return float(normalized_mutual_info_score(true, predicted))


def clustering_scores(y_true: ArrayLike, y_pred: ArrayLike) -> dict[str, float]:
    """The three usual scores at once.

    Args:
        y_true: (N,) true labels.
        y_pred: (N,) clusters.

    Returns:
        Dict of `accuracy`, `nmi` and `ari`.

    Raises:
        ValueError: As `clustering_accuracy`.
    """
    return {
        "accuracy": clustering_accuracy(y_true, y_pred),
        "nmi": normalized_mutual_information(y_true, y_pred),
        "ari": adjusted_rand_index(y_true, y_pred),
    }


def pairs_of_hosts(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Array, Array]:
    """Labels and clusters of the samples of all hosts, up to names and order, which score alike.

    Counts of pairs are exchanged, not samples.

    Args:
        y_true: (N,) true labels of the samples of this host.
        y_pred: (N,) clusters.

    Returns:
        Two integer arrays, with an entry for each sample of all hosts.
    """
    labels, clusters, true, predicted = _encode(y_true, y_pred)
    all_labels = np.unique(hosts.gather_rows(labels))
    all_clusters = np.unique(hosts.gather_rows(clusters))
    counts = np.zeros((len(all_labels), len(all_clusters)), np.int64)
    rows, columns = np.searchsorted(all_labels, labels), np.searchsorted(all_clusters, clusters)
    np.add.at(counts, (rows[true], columns[predicted]), 1)
    counts = hosts.sum_over_hosts(counts)
    rows, columns = np.indices(counts.shape)
    return np.repeat(rows, counts.ravel()), np.repeat(columns, counts.ravel())


def _match(y_true, y_pred):
    """Counts (R, C), labels (R,), clusters (C,), and the best pairs (min(R, C),) of row, column."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics.cluster import contingency_matrix

    labels, clusters, true, predicted = _encode(y_true, y_pred)
    counts = contingency_matrix(true, predicted)
    return counts, labels, clusters, *linear_sum_assignment(counts, maximize=True)


def _encode(y_true, y_pred):
    """Sorted names of labels (R,) and clusters (C,), and both inputs as (N,) positions in them."""
    check_row_order(("`y_true`", row_names_of(y_true)), ("`y_pred`", row_names_of(y_pred)))
    true, predicted = as_labels(y_true, "`y_true`"), as_labels(y_pred, "`y_pred`")
    if len(true) != len(predicted) or len(true) == 0:
        raise ValueError(
            "`y_true` and `y_pred` must have the same length, and at least one sample. "
            f"Received: {len(true)} and {len(predicted)}"
        )
    labels, true = np.unique(true, return_inverse=True)
    clusters, predicted = np.unique(predicted, return_inverse=True)
    return labels, clusters, true, predicted
