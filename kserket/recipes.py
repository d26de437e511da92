"""Graphs that are good to begin with: one line for a kind of data.

Each function returns a connected `Graph` that has learned nothing yet. `graph.fit()` without
arguments does what is recommended. The graph is made of public modules: print it, plot it, or write
it out, as the guide "Recipes" does, and change it. Settings depend on the size and kind of the data
alone, never on labels.

Each takes `(data, K, seed)`, so that `kserket.sklearn.GraphClusterer(recipes.table)` makes an
estimator of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from kserket import bow, gmm, mlda, mm, storage, vae, views
from kserket.core.autoencoder.networks import latent_dim_of
from kserket.core.checking import has_gaps
from kserket.core.graph import Graph
from kserket.core.keywords import suggests
from kserket.core.observation import Observation
from kserket.core.units import are_counts
from kserket.core.user_line import user_level
from kserket.inference import outliers
from kserket.inference.sequences import check_lengths
from kserket.preprocessing import image_shape_of
from kserket.row_names import check_row_order, row_names_of
from kserket.typing import Data

_LARGE_SIDE = 16  # pixels from which on gradients say more than the pixels themselves
_CELLS = 7  # of gradients along a side: cells of 4 pixels in 28
_DARKEST_OF_BYTES = 100  # from which on values up to 255 are taken for bytes
_FAINT = 0.25  # largest value of images that have hardly any contrast
_TRAINING = 40_000  # images that a VAE sees in one round
_MANY_FEATURES = 25  # from which on a sense is read by its neighbors
_FEWEST_SEEN, _LEAST_SEEN = 20, 0.1  # samples, and a share of them, that have all senses


@suggests
def images(
    x: Data,
    K: int | None = None,
    seed: int | None = None,
    *,
    encoder: keras.Model | None = None,
    decoder: keras.Model | None = None,
) -> Graph:
    """Images: neighbors find the classes, and a variational autoencoder learns them.

    One view leads. The images' oriented gradients (below 16 x 16 pixels, the pixels) are laid out
    by UMAP and sorted by a mixture. A VAE reads the pixels; the mixture over its latent variables
    starts from the classes of the first. A topic model joins both. The graph sorts new images,
    draws images of each class (`generate`), and is saved and exported as a whole.

    Args:
        x: Images (N, H, W), (N, H, W, C) or flat and square (N, D), values in [0, 1]; with negative
            values the likelihood is Gaussian. Rows of NaN were not observed.
        K: Number of classes. None counts the groups in the embedding, of which a class may have
            several, and leaves the VAE out.
        seed: Integer that determines all randomness.
        encoder: Keras model from a sample of x to what a VAE needs, see `vae.VAE`; None makes one.
            Networks that were made for a number of latent variables decide it.
        decoder: Keras model from latent variables to a sample of x; None makes one.

    Returns:
        A `Graph` of "images"; its classes are those of "mlda" ("gmm_view" without K).

    Raises:
        ValueError: If these are no images, values lie between 0 and more than 1, or a network does
            not fit, or is given without K.

    Example:

    ```python
    import kserket as srk

    x, labels = srk.datasets.load_digits()
    graph = srk.recipes.images(x[:300], K=10, seed=0)
    graph.fit(rounds=2)
    print(graph.predict(x[300:303]).argmax(axis=1))
    ```
    """
    observation = Observation(x, "images", allow_missing=True)
    shape = image_shape_of(observation.data.shape)
    likelihood = _likelihood_of_images(observation)
    view = gmm.GMM(K, name="gmm_view", save_dir=None)
    view.connect(_neighbors_of_images(observation, shape))
    if K is None:
        if encoder is not None or decoder is not None:
            raise ValueError("`encoder` and `decoder` need K: without it there is no VAE.")
        return Graph(view, seed=seed)
    num_images, is_large = len(observation.data), np.prod(shape) >= _LARGE_SIDE**2
    units = 300 if is_large else 100
    vae1 = vae.VAE(
        latent_dim_of(encoder, decoder) or (18 if is_large else 10),
        itr=int(np.clip(_TRAINING // num_images, 2, 40)),
        batch_size=min(128, num_images),
        hidden_encoder_dim=units,
        hidden_decoder_dim=units,
        KL_param=1.0 if is_large else 1 / 16,
        encoder=encoder,
        decoder=decoder,
        likelihood=likelihood,
        learning_rate=0.001,
        save_dir=None,
    )
    gmm1 = gmm.GMM(K, itr=1, init="prior", save_dir=None)
    top = mlda.MLDA(K, itr=1, save_dir=None)  # more of a poor VAE would blur the view's classes
    vae1.connect(observation)
    gmm1.connect(vae1)
    top.connect(view, gmm1)
    return Graph(top, seed=seed)


@suggests
def table(x: Data, K: int | None = None, seed: int | None = None) -> Graph:
    """A table of measurements: a mixture with curves that take skewness out of each column.

    Args:
        x: Array or DataFrame (N, D) of numbers. Cells that are NaN were not observed. Nor are
            those that lie far out, ten times as far from their column's median as 99 % of it, and
            numbers far from all others that many samples share, such as -999; a warning names them.
        K: Number of classes; None finds it.
        seed: Integer that determines all randomness.

    Returns:
        A `Graph` of "table" under "gmm".

    Raises:
        TypeError: If a column holds no numbers.
        ValueError: If a number is infinite.

    Example:

    ```python
    import kserket as srk
    from sklearn.datasets import load_iris

    x = load_iris().data
    graph = srk.recipes.table(x, K=3, seed=0)
    graph.fit()
    print(graph.predict(x[:3]).round(2))
    ```
    """
    observation = _measurements(x, "table")
    top = gmm.GMM(K, name="gmm", power_transform=True, save_dir=None)
    top.connect(observation)
    return Graph(top, seed=seed)


@suggests
def documents(x: Any, K: int | None = None, seed: int | None = None) -> Graph:
    """Documents: words are counted, and each document has one topic.

    Args:
        x: List of N strings, or counts (N, V), an array or a scipy sparse matrix.
        K: Number of topics; None finds it.
        seed: Integer that determines all randomness.

    Returns:
        A `Graph` of "documents" under "mlda".

    Raises:
        TypeError: If these are neither strings nor numbers.
        ValueError: If counts are negative.

    Example:

    ```python
    import kserket as srk

    texts = ["a red ball", "the red cup", "red and round", "it barks", "a dog barks", "the dog"]
    graph = srk.recipes.documents(texts, K=2, seed=0)
    graph.fit()
    print(graph.predict(["a red dog", "it barks"]).round(2))
    ```
    """
    top = mlda.MLDA(K, save_dir=None)
    top.connect(_words(x, "documents"))
    return Graph(top, seed=seed)


@suggests
def senses(x: Mapping[str, Any], K: int | None = None, seed: int | None = None) -> Graph:
    """Several senses of the same things: each is sorted by itself, and all are joined.

    What a sense is read by depends on its data: words are counted; images and vectors of many
    features are laid out by their neighbors, and a mixture sorts them; a mixture with curves sorts
    vectors of few features. All vectors side by side are one more sense, "together", which may tell
    what none of them tells alone, where at least a tenth of the samples has all of them. A topic
    model joins the senses, learns how far each can be trusted, and tells each what the others say.
    Rows of NaN are samples that a sense has not observed; of vectors of few features single cells
    may be NaN, too.

    Args:
        x: Dict from the name of a sense to its data of N samples: images (N, H, W) or
            (N, H, W, C) with values in [0, 1], or some of them negative; vectors (N, D); a list of
            strings or None; or counts of words as a scipy sparse matrix. A dense array of counts is
            read as vectors, with a warning.
        K: Number of classes. None finds it: each sense has classes of its own, which the topic
            model joins.
        seed: Integer that determines all randomness.

    Returns:
        A `Graph` of these observations under "mlda". `predict` takes any of them.

    Raises:
        TypeError: If `x` is not a dict of data.
        ValueError: If it holds no sense, numbers of samples differ, or values of images lie between
            0 and more than 1.

    Example:

    ```python
    import kserket as srk
    from sklearn.datasets import load_wine

    x = load_wine().data
    graph = srk.recipes.senses({"taste": x[:, :9], "color": x[:, 9:]}, K=3, seed=0)
    graph.fit()
    print(graph.predict({"color": x[:3, 9:]}).round(2))
    ```
    """
    if not isinstance(x, Mapping):
        raise TypeError(
            f"`x` must be a dict from the name of a sense to its data. Received: {type(x).__name__}"
        )
    return Graph(_joined(x, K), seed=seed)


@suggests
def sequence(
    x: Data | Mapping[str, Any],
    K: int | None = None,
    seed: int | None = None,
    *,
    lengths: ArrayLike | None = None,
) -> Graph:
    """A sequence: a Markov model learns in which order states follow each other.

    Over one array it learns together with the mixture that sorts the steps; after it, where single
    cells are missing. Over several senses it reads the topic model that joins them, as `senses`
    makes it, and tells each of them what comes before and after.

    Args:
        x: Array (N, D): N steps in time, of which cells that are NaN were not observed; or a dict
            of several senses, as `senses` takes it, of which each sample is a step.
        K: Number of states. None finds it first, without knowing the order.
        seed: Integer that determines all randomness.
        lengths: Lengths (S,) of the sequences in the steps; None is one sequence.

    Returns:
        A `Graph` of "sequence" under "gmm" under "mm", whose states are those of each step; of
        several senses, these under "mlda" under "mm".

    Raises:
        ValueError: If `lengths` do not add up to N, numbers of steps differ, or an array has more
            axes.

    Example:

    ```python
    import numpy as np

    import kserket as srk

    states = np.arange(300) // 20 % 3
    x = np.eye(3)[states] + 0.6 * np.random.default_rng(0).normal(size=(300, 3))
    graph = srk.recipes.sequence(x, K=3, seed=0)
    graph.fit()
    print(graph.predict(x).argmax(axis=1)[:40])
    ```
    """
    if isinstance(x, Mapping):
        below, joint = _joined(x, K, lengths), False
    else:
        observation = Observation(x, "sequence", allow_missing=True)
        _check_steps(observation.data)
        check_lengths(lengths, len(observation.data))
        below, joint = gmm.GMM(K, save_dir=None), K is not None and not has_gaps(observation.data)
        below.connect(observation)
    mm1 = mm.MarkovModel(lengths=lengths, joint=joint, save_dir=None)
    mm1.connect(below)
    return Graph(mm1, seed=seed)


def _joined(x, K, lengths=None):
    """A topic model over senses, by name."""
    if not x:
        raise ValueError("`x` must hold one sense at least. Received: {}")
    check_row_order(*((name, row_names_of(data)) for name, data in x.items()))
    observations = {name: _words(data, name) for name, data in x.items()}
    sizes = {name: len(source.data) for name, source in observations.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"All senses need the same number of samples. Received: {sizes}")
    check_lengths(lengths, next(iter(sizes.values())))
    for name, source in observations.items():
        if source.data.ndim > 2:
            _range_of_images(source, f"Images of {name!r}")
        elif not _is_words(x[name]):
            _warn_of_counts(source.data, name)
    readers = [
        source if _is_words(x[name]) else _reader(name, source, K, source.data.shape[1:])
        for name, source in observations.items()
    ]
    vectors = [
        source
        for name, source in observations.items()
        if not _is_words(x[name]) and source.data.ndim == 2
    ]
    if len(vectors) > 1 and _enough_seen(vectors):
        together = views.Concatenate()
        together.connect(*vectors)
        size = sum(source.data.shape[1] for source in vectors)
        readers.append(_reader("together", together, K, (size,)))
    top = mlda.MLDA(K, save_dir=None)
    top.connect(*readers)
    return top


def _measurements(x, name):
    """An `Observation` of a table whose valid range leaves out what lies far out; warns of it."""
    observation = Observation(x, name, allow_missing=True)
    if observation.data.ndim != 2:
        return observation
    limits, text = outliers.find(observation.data, observation.columns)
    if text is None:
        return observation
    warnings.warn(
        f"recipes.table takes cells as not observed where {text}. So it does in new data. Where "
        "they are values like others, make the graph by hand: gmm.GMM(K, power_transform=True).",
        stacklevel=user_level(),
    )
    return Observation(x, name, allow_missing=True, valid_range=limits)


def _enough_seen(observations):
    """Whether enough samples have all of some observations, (N, D), to be read side by side."""
    seen = True
    for source in observations:
        seen = seen & storage.apply(lambda part: ~np.isnan(part).any(axis=1), source.data)
    return np.sum(seen) >= max(_FEWEST_SEEN, _LEAST_SEEN * np.size(seen))


def _check_steps(x):
    """Raises ValueError unless steps are rows."""
    if x.ndim > 2:
        number, length = x.shape[:2]
        raise ValueError(
            f"`x` must hold a row for each step, (N, D). Received: shape {x.shape}. Give {number} "
            f"sequences of {length} steps one after the other: x.reshape(-1, {x.shape[-1]}) with "
            f"lengths=[{length}] * {number}; steps that are images as a sense: {{'images': x}}."
        )


def _warn_of_counts(x, name):
    """Warns of vectors (N, D) that look like counts of words."""
    if (
        storage.every(are_counts, x)
        and storage.total(lambda part: np.sum(part > 0), x) < x.size / 2
    ):
        warnings.warn(
            f"{name!r} holds whole numbers, most of them 0, and is read as vectors. If these are "
            "counts, give them as scipy.sparse.csr_matrix(x) to have them read as words.",
            stacklevel=user_level(),
        )


def _range_of_images(observation, what="Images"):
    """The least and the largest value of images; ValueError unless they fit in [0, 1]."""
    low, high = storage.extent(observation.data)
    if low >= 0.0 and high > 1.0:
        most = 255 if _DARKEST_OF_BYTES < high <= 255 else high
        raise ValueError(
            f"{what} must have values in [0, 1]. Received: {low:g} to {high:g}. Divide these, "
            f"and new ones for predict(), by the largest value that there can be, such as {most:g}."
        )
    return low, high


def _likelihood_of_images(observation):
    """The likelihood that images have, by their range."""
    low, high = _range_of_images(observation)
    if low < 0.0:
        return "gaussian"
    if 0.0 < high < _FAINT:
        warnings.warn(
            f"Images reach {high:g} of 1 only, of which a VAE learns little. Divide these, and new "
            "ones for predict(), by the largest value that there can be.",
            stacklevel=user_level(),
        )
    return "bernoulli"


def _neighbors_of_images(observation, shape, name="umap"):
    """A UMAP of images: of their gradients, or of small ones themselves."""
    umap, source, side = views.UMAP(name=name, save_dir=None), observation, min(shape[:2])
    if side >= _LARGE_SIDE:
        source = views.OrientedGradients(cell_size=max(4, side // _CELLS))
        source.connect(observation)
    umap.connect(source)
    return umap


def _words(x, name):
    """An observation of sentences or of counts."""
    if _is_text(x):
        return bow.BoW(list(x), name, save_dir=None)
    return Observation(x, name, allow_missing=True)


def _is_text(x):
    """Whether these are sentences; None stands for one that was not observed."""
    if isinstance(x, (str, bytes)) or not hasattr(x, "__iter__") or hasattr(x, "tocsr"):
        return False
    if hasattr(x, "columns"):  # of a DataFrame one would see the names
        return False
    first = next((one for one in x if one is not None), None)
    return isinstance(first, str)


def _is_words(x):
    """Whether these are sentences, or counts of words."""
    return _is_text(x) or hasattr(x, "tocsr")


def _reader(name, data, K, shape):
    """What a topic model reads of a sense, connected to where its data (N, *shape) come from."""
    if len(shape) > 1:
        source = _neighbors_of_images(data, image_shape_of((1, *shape)), f"umap_{name}")
    elif shape[0] >= _MANY_FEATURES:
        source = views.UMAP(name=f"umap_{name}", standardize=True, save_dir=None)
        source.connect(data)
    else:
        source = data
    reader = gmm.GMM(K, name=f"gmm_{name}", power_transform=source is data, save_dir=None)
    reader.connect(source)
    return reader
