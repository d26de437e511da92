"""Data to try models on: real digits that need no network, MNIST, and mixtures with known truth."""

import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kserket.arrays import as_numbers
from kserket.core.options import (
    check_flag,
    check_path,
    check_positive,
    check_positive_int,
    make_rng,
)
from kserket.typing import Array, PathLike, Seed


class MixtureData(NamedTuple):
    """Samples of a Gaussian mixture together with everything that made them."""

    x: np.ndarray  # (N, D) float64
    y: np.ndarray  # (N,) int, the component each sample was drawn from
    means: np.ndarray  # (K, D)
    covariances: np.ndarray  # (K, D, D)
    mixing_weights: np.ndarray  # (K,)
    responsibilities: np.ndarray  # (N, K) p(y | x) under the true parameters


class TutorialData(NamedTuple):
    """The data of Serket's tutorials: digits seen and heard."""

    images: np.ndarray  # (N, 784) float32 in [0, 1]
    speech: np.ndarray | None  # (N, V) float32 counts; None where only images came
    labels: np.ndarray  # (N,) int


def load_digits() -> tuple[Array, Array]:
    """Loads the 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn.

    Returns:
        (x, y): x (1797, 64) float32 in [0, 1], y (1797,) int64 in 0..9.

    Reference:
        E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """
    from sklearn.datasets import load_digits as load

    x, y = load(return_X_y=True)
    return (x / 16).astype("float32"), y.astype("int64")


def load_mnist(
    path: PathLike | None = None, *, flatten: bool = True
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Loads MNIST from a local file, or else through `keras.datasets`, which may download it.

    Args:
        path: An `mnist.npz` with `x_train`, `y_train`, `x_test`, `y_test` as Keras distributes it.
            Default: the file that the environment variable `KSERKET_MNIST` names, if it is set.
        flatten: True gives images (N, 784), False (N, 28, 28).

    Returns:
        ((x_train, y_train), (x_test, y_test)): 60,000 and 10,000 images, float32 in [0, 1], and
        their labels, int64 in 0..9.

    Raises:
        TypeError: If `path` is no path.
        FileNotFoundError: If the named file does not exist, or nothing is named and Keras cannot
            reach its copy.
        ValueError: If the file is not such an archive.

    Reference:
        Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998.
    """
    if path is None:
        path = os.environ.get("KSERKET_MNIST") or None
    if path is not None:
        check_path(path=path)
        arrays = _read_npz(path, ("x_train", "y_train", "x_test", "y_test"))
    else:
        arrays = _keras_mnist()
    splits: Any = []
    for x, y in (arrays[:2], arrays[2:]):
        if x.ndim != 3 or x.dtype.kind not in "ui" or y.shape != x.shape[:1]:
            raise ValueError(
                "MNIST must hold images (N, height, width) of whole numbers 0..255 and labels "
                f"(N,). Received: {x.dtype} {x.shape} and {y.dtype} {y.shape} from {path}"
            )
        x = x.reshape(len(x), -1) if flatten else x
        splits.append((_unit_interval(x), y.astype("int64")))
    return tuple(splits)


def make_mixture(
    num_samples: int = 300,
    num_components: int = 3,
    num_features: int = 2,
    separation: float = 6.0,
    seed: Seed = None,
    *,
    mixing_weights: ArrayLike | None = None,
    spherical: bool = False,
) -> MixtureData:
    """Draws samples from a Gaussian mixture with known parameters.

    Args:
        num_samples: N.
        num_components: K.
        num_features: D.
        separation: Distance between the two closest means; each component's variance is 1 on
            average over the directions.
        seed: Int or `np.random.Generator`. Default: different data each time.
        mixing_weights: (K,) probabilities of the components. Default: all the same.
        spherical: True makes every covariance the identity; False makes them ellipses of random
            shape and direction.

    Returns:
        `MixtureData`. Its `responsibilities.argmax(1)` is the best that any classifier can do.

    Raises:
        ValueError: If a count is below one, the separation negative, or the weights are not (K,)
            probabilities.
    """
    sizes = {
        "num_samples": num_samples,
        "num_components": num_components,
        "num_features": num_features,
    }
    check_positive_int(**sizes)
    num_samples, num_components, num_features = map(int, sizes.values())
    check_positive(separation=separation, allow_zero=True, most=1e100)
    check_flag(spherical=spherical)
    if mixing_weights is None:
        weights = np.full(num_components, 1 / num_components)
    else:
        weights = np.asarray(as_numbers(mixing_weights, "`mixing_weights`"), dtype="float64")
        if (
            weights.shape != (num_components,)
            or not np.all(weights >= 0)
            or abs(sum(weights) - 1) > 1e-6
        ):
            raise ValueError(
                f"`mixing_weights` must be {num_components} probabilities that sum to 1. "
                f"Received: {mixing_weights}"
            )
    rng = make_rng(seed)
    means = _spread_means(num_components, num_features, separation, rng)
    if spherical:
        covariances = np.tile(np.eye(num_features), (num_components, 1, 1))
    else:
        covariances = _random_covariances(num_components, num_features, rng)
    y = rng.choice(num_components, size=num_samples, p=weights / weights.sum())
    factors = np.linalg.cholesky(covariances)
    noise = rng.standard_normal((num_samples, num_features))
    x = means[y] + np.einsum("nij,nj->ni", factors[y], noise)
    responsibilities = _responsibilities(x, means, factors, weights)
    return MixtureData(x, y, means, covariances, weights, responsibilities)


def load_serket_tutorial(path: PathLike) -> TutorialData:
    """Loads the data of Serket's tutorials: images of digits, and histograms of spoken ones.

    Args:
        path: An `.npz` file with `images`, `labels` and possibly `speech`; or the folder with the
            tutorial's text files: `data1.txt` (images), `data2.txt` (speech), `category.txt`
            (labels), or `data.txt` and `category.txt` where there are only images.

    Returns:
        `TutorialData`.

    Raises:
        TypeError: If `path` is no path.
        FileNotFoundError: If the file or one of the folder's files does not exist.
        ValueError: If a file cannot be read, parts are no finite numbers or not of the same length,
            or labels are not whole.
    """
    check_path(path=path)
    path = Path(path)
    images, speech, labels = _read_folder(path) if path.is_dir() else _read_tutorial_npz(path)
    for name, values, ndim in (("images", images, 2), ("speech", speech, 2), ("labels", labels, 1)):
        if values is None:  # speech
            continue
        if values.ndim != ndim or values.shape[:1] != labels.shape[:1]:
            shapes = [getattr(v, "shape", None) for v in (images, speech, labels)]
            raise ValueError(
                f"{path}: `{name}` must have {ndim} dimensions and as many rows as there are "
                f"labels. Received: images {shapes[0]}, speech {shapes[1]}, labels {shapes[2]}"
            )
        if values.dtype.kind not in "fiub" or not np.isfinite(values).all():
            raise ValueError(f"{path}: `{name}` must be finite numbers. Received: {values.dtype}")
    if (labels % 1 != 0).any():
        raise ValueError(f"{path}: `labels` must be whole numbers. Received: {np.unique(labels)}")
    speech = None if speech is None else speech.astype("float32")
    return TutorialData(_unit_interval(images), speech, labels.astype("int64"))


def _unit_interval(images):
    """Images as float32 in [0, 1], whether they came as 0..255 or as fractions."""
    scale = 255 if images.dtype.kind in "ui" or images.max(initial=0) > 1 else 1
    return np.divide(images, scale, dtype="float32")


def _read_npz(path, names, optional=()):
    """The named arrays of an archive, in order; None for an optional one that is not there."""
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"There is no file {path}. Expected an .npz with {', '.join(names)}."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in (*names, *optional) if name in archive}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(
            f"{path} is not an .npz archive of plain arrays, or is damaged: {error}"
        ) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"{path} does not hold {', '.join(missing)}. Received: {sorted(found)}")
    return [found.get(name) for name in (*names, *optional)]


def _read_tutorial_npz(path):
    """Images, speech or None, and labels of the tutorial's archive."""
    images, labels, speech = _read_npz(path, ("images", "labels"), optional=("speech",))
    return images, speech, labels


def _read_folder(folder):
    """Images, speech or None, and labels from the tutorial's text files."""
    both = (folder / "data1.txt").exists() or (folder / "data2.txt").exists()
    names = ["data1.txt", "data2.txt"] if both else ["data.txt"]
    arrays = []
    for name in [*names, "category.txt"]:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"There is no {name} in {folder}. The tutorials' folders hold category.txt and "
                "either data.txt, or data1.txt (images) and data2.txt (speech)."
            )
        try:
            arrays.append(np.loadtxt(folder / name, ndmin=1 if name == "category.txt" else 2))
        except ValueError as error:
            raise ValueError(f"{folder / name} is not a table of numbers: {error}") from error
    images, labels = arrays[0], arrays[-1]
    return images, arrays[1] if both else None, labels


def _keras_mnist():
    """MNIST's four arrays from Keras' cache or its server."""
    import keras

    try:
        train, test = keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception when it cannot download
        raise FileNotFoundError(
            "MNIST is not on this machine and could not be downloaded. Copy mnist.npz here from a "
            "machine that has it (Keras keeps it in ~/.keras/datasets), then call "
            'load_mnist("path/to/mnist.npz") or set the environment variable KSERKET_MNIST. '
            f"Keras said: {error}"
        ) from error
    return [*train, *test]


def _spread_means(num_components, num_features, separation, rng, num_candidates=20):
    """Means (K, D) spread over space, the closest two at the asked distance, their center at 0.

    Each mean is the one of several normal candidates that is farthest from those before it.
    """
    from scipy.spatial.distance import cdist, pdist

    means = rng.standard_normal((1, num_features))
    while len(means) < num_components:
        candidates = rng.standard_normal((num_candidates, num_features))
        farthest = cdist(candidates, means).min(axis=1).argmax()
        means = np.vstack([means, candidates[farthest]])
    means -= means.mean(axis=0)
    return means * (separation / pdist(means).min()) if num_components > 1 else means


def _random_covariances(num_components, num_features, rng):
    """Covariances (K, D, D) with random axes and trace D; axes' variances differ up to 4 times."""
    axes = np.linalg.qr(rng.standard_normal((num_components, num_features, num_features)))[0]
    variances = rng.uniform(0.5, 2.0, size=(num_components, num_features))
    variances *= num_features / variances.sum(axis=1, keepdims=True)
    return np.einsum("kij,kj,klj->kil", axes, variances, axes)


def _responsibilities(x, means, factors, weights):
    """p(component | x) (N, K) of the mixture with Cholesky factors (K, D, D)."""
    from scipy.linalg import solve_triangular
    from scipy.special import softmax

    logits = np.empty((len(x), len(means)))
    with np.errstate(divide="ignore"):  # a component of weight 0 has log weight -inf
        log_weights = np.log(weights)
    for k, (mean, factor) in enumerate(zip(means, factors, strict=True)):
        whitened = solve_triangular(factor, (x - mean).T, lower=True)
        log_det = np.log(np.diag(factor)).sum()
        logits[:, k] = log_weights[k] - log_det - 0.5 * np.square(whitened).sum(axis=0)
    return softmax(logits, axis=1)
