"""Graphs whose modules send different numbers of rows, for tests of prediction and export."""

import numpy as np

import kserket as srk
from kserket import gmm, mlda, utils


def summed_views(num_things, name="obs"):
    """Three views of each thing, a mixture of three classes over them, and sums for each thing.

    Args:
        num_things: How many.
        name: That of the observation.

    Returns:
        What `make_mixture` returns of the views, and the `GroupSum`.
    """
    points = srk.datasets.make_mixture(3 * num_things, 3, 2, separation=5.0, seed=0)
    mixture = gmm.GMM(3, itr=5, n_init=1, save_dir=None)
    groups = utils.GroupSum(np.arange(3 * num_things) // 3)
    mixture.connect(srk.Observation(points.x, name=name))
    groups.connect(mixture)
    return points, groups


def views_and_words():
    """A graph of the views of 30 things beside words, after two rounds.

    Returns:
        The graph, arrays of views and of words, and labels (90,) of the views.
    """
    points, groups = summed_views(30, "views")
    words = 1.5 * np.eye(3)[points.y[::3]] + 1.0
    top = mlda.MLDA(3, itr=5, n_init=1, save_dir=None)
    top.connect(groups, srk.Observation(words, name="words"))
    graph = srk.Graph(top, seed=0)
    graph.fit(2, verbose=0)
    return graph, (points.x, words), points.y
