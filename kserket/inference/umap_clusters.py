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

NUM_NEIGHBORS = 10
NUM_FEATURES = 10  # of the embedding, at most
MAX_SAMPLES = 100_000  # that are embedded; the rest say nothing of how to start
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
    try:
        import umap
    except ImportError as error:
        raise ImportError(
            "A start by UMAP needs umap-learn: `pip install kserket[umap]`, "
            "or start by k-means (init='kmeans')."
        ) from error
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
    sample = _single_precision(storage.gather(x, chosen, np.promote_types(x.dtype, "float32")))
    embed = umap.UMAP(
        n_components=min(NUM_FEATURES, sample.shape[1]),
        n_neighbors=NUM_NEIGHBORS,
        min_dist=0.0,
        random_state=seed,
        n_jobs=1,
    )
    mixture = GaussianMixture(num_clusters, n_init=10, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a graph in several parts, and of slow convergence
        found = mixture.fit_predict(embed.fit_transform(sample))
    groups = np.full(len(x), -1)
    groups[chosen] = found
    return groups


def _single_precision(x):
    """Data (N, D) in the precision that UMAP works in, without loss.

    Features far from 0 are taken about their mean, and all of them by one factor where squares
    would overflow or vanish: neighbors stay neighbors.
    """
    mean = x.mean(axis=0, dtype="float64")
    far = np.abs(mean) > 1e3 * x.std(axis=0, dtype="float64")
    if far.any():
        x = x - np.where(far, mean, 0.0)
    largest = float(np.abs(x).max())
    if largest > 0.0 and not 1e-12 < largest < 1e12:
        x = x / largest
    return x.astype("float32", copy=False)


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
