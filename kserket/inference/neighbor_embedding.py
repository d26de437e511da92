"""Points of few dimensions for data on curved sheets: UMAP, and places for new data.

Reference:
    L. McInnes, J. Healy and J. Melville, UMAP: Uniform Manifold Approximation and Projection for
    Dimension Reduction, arXiv:1802.03426 (2018).
"""

import warnings
from typing import NamedTuple

import numpy as np

NUM_NEIGHBORS = 10
NUM_FEATURES = 10  # of the embedding, at most
MAX_SAMPLES = 100_000  # that are embedded


class Units(NamedTuple):
    """The affine map that takes data to the precision UMAP works in."""

    location: np.ndarray  # (D,)
    scale: np.ndarray  # () or (D,)

    def __call__(self, x):
        """Data (N, D) as float32, without loss where they are far from 0 or of extreme size."""
        if self.location.any():
            x = x - self.location
        if (self.scale != 1.0).any():
            x = x / self.scale
        return x.astype("float32", copy=False)


def units(x, standardize=False):
    """The `Units` of data (N, D): neighbors stay neighbors in them.

    Features far from 0 are taken about their mean, and all of them by one factor where squares
    would overflow or vanish.

    Args:
        x: (N, D).
        standardize: Whether each feature shall have mean 0 and variance 1, unless it is constant.

    Returns:
        `Units`.
    """
    mean, deviation = x.mean(axis=0, dtype="float64"), x.std(axis=0, dtype="float64")
    if standardize:
        varies = deviation > 8.0 * np.finfo(x.dtype).eps * np.abs(mean)
        return Units(mean, np.where(varies, deviation, 1.0))
    location = np.where(np.abs(mean) > 1e3 * deviation, mean, 0.0)
    largest = float(np.abs(x - location if location.any() else x).max())
    is_usual = largest == 0.0 or 1e-12 < largest < 1e12
    return Units(location, np.array(1.0 if is_usual else largest))


def check_installed(instead=""):
    """Raises ImportError unless umap-learn is there.

    Args:
        instead: What else the error proposes.
    """
    try:
        import umap  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"UMAP needs umap-learn: `pip install kserket[umap]`{instead}."
        ) from error


def embed(x, seed, num_features=NUM_FEATURES, num_neighbors=NUM_NEIGHBORS, places=None):
    """UMAP with tight groups.

    Args:
        x: (N, D) float32.
        seed: Integer.
        num_features: P, at most D.
        num_neighbors: Of each datum, fewer than N.
        places: (N, P) to start from, or None.

    Returns:
        Places (N, P), float32.

    Raises:
        ImportError: If umap-learn is not installed.
    """
    check_installed()
    import umap

    model = umap.UMAP(
        n_components=min(num_features, x.shape[1]),
        n_neighbors=num_neighbors,
        min_dist=0.0,
        init="spectral" if places is None else places,
        random_state=seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a graph in several parts
        return model.fit_transform(x)
