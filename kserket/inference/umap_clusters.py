"""Where a mixture may start from: groups of data that hang together through their neighbors.

k-means looks for round groups in the space itself. Data such as images lie on curved sheets, where
near neighbors belong together and distant points of one group need not be alike. UMAP lays such
sheets out flat, from the graph of nearest neighbors alone, and an ordinary mixture finds the
groups there.

Reference:
    L. McInnes, J. Healy and J. Melville, UMAP: Uniform Manifold Approximation and Projection for
    Dimension Reduction, arXiv:1802.03426 (2018); R. McConville, R. Santos-Rodriguez,
    R. J. Piechocki and I. Craddock, N2D: (Not Too) Deep Clustering via Clustering the Local
    Manifold of an Autoencoded Embedding, ICPR (2020), who cluster the latents of an autoencoder so.
"""

import warnings

import numpy as np

from kserket import storage
from kserket.inference import neighbor_embedding
from kserket.inference.neighbor_embedding import MAX_SAMPLES, NUM_FEATURES, NUM_NEIGHBORS

_DOUBT = 0.01  # probability that a datum is in any other group than the one it was sorted into


def umap_clusters(x, num_clusters, rng, counted=None):
    """Groups by a mixture of Gaussians over a UMAP embedding.

    Args:
        x: (N, D) data, or the means of Gaussian data; an array in memory or in a file.
        num_clusters: K.
        rng: `numpy.random.Generator`, which decides both embedding and mixture.
        counted: Boolean (N,): rows that are looked at, or None for all.

    Returns:
        Integers (N,) from 0 to K - 1, -1 where a row was not looked at.

    Raises:
        ImportError: If umap-learn is not installed.
        ValueError: If there are too few data to embed.
    """
    neighbor_embedding.check_installed(", or start by k-means (init='kmeans')")
    from sklearn.mixture import GaussianMixture

    chosen = np.arange(len(x)) if counted is None else np.flatnonzero(counted)
    if len(chosen) > MAX_SAMPLES:
        chosen = np.sort(rng.choice(chosen, MAX_SAMPLES, replace=False))
    if len(chosen) < max(num_clusters, NUM_FEATURES, NUM_NEIGHBORS) + 3:
        raise ValueError(
            f"A start by UMAP needs more data than it has neighbors ({NUM_NEIGHBORS}), features "
            f"({NUM_FEATURES}) and components ({num_clusters}). Received: {len(chosen)} data. "
            "Use init='kmeans'."
        )
    seed = int(rng.integers(2**31 - 1))
    sample = storage.gather(x, chosen, np.promote_types(x.dtype, "float32"))
    places = neighbor_embedding.embed(neighbor_embedding.units(sample)(sample), seed)
    mixture = GaussianMixture(num_clusters, n_init=10, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of slow convergence
        found = mixture.fit_predict(places)
    groups = np.full(len(x), -1)
    groups[chosen] = found
    return groups


def group_probabilities(groups, num_clusters):
    """What it says of a datum's class that it was sorted into a group.

    Args:
        groups: Integers (N,), below 0 where a datum was not looked at.
        num_clusters: K.

    Returns:
        (N, K) rows summing to one: nearly one-hot, or uniform where a datum was not looked at.
    """
    rows = np.full((num_clusters + 1, num_clusters), _DOUBT / num_clusters)
    np.fill_diagonal(rows, 1.0 - _DOUBT + _DOUBT / num_clusters)
    rows[num_clusters] = 1.0 / num_clusters
    return rows[np.where(np.asarray(groups) < 0, num_clusters, groups)]
