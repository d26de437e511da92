"""What distinguishes the classes that a graph has found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike

from kserket import bow, cnn, mlda, mm, vae, views
from kserket.arrays import as_numbers
from kserket.core.checking import check_data
from kserket.core.columns import names_of
from kserket.core.frames import import_pandas
from kserket.core.graph import Graph
from kserket.core.messages import missing_rows
from kserket.core.options import check_positive_int, shown
from kserket.preprocessing import image_shape_of
from kserket.typing import Floats

_SHOWN = 5  # features of each class in a printout
_LARGEST_UNNAMED = 6  # root of how many columns without names a table may have to be no image


class Explanation(NamedTuple):
    """What `explain` found of K classes and D features.

    Attributes:
        kind: "table", "words" or "images".
        features: List of D names: columns, words, or numbers of pixels.
        sizes: (K,) expected number of samples of each class.
        profile: (K, D) the mean of each feature in each class; P(word | class); or the prototype of
            each class, flat.
        effects: (K, D) how far each feature lies above (below 0) what it is in all other classes:
            in standard deviations within these groups, Cohen's d; for words z-scores of the log
            odds ratio.
        image_shape: Shape of a prototype; None of a table or words.
        transitions: (K, K) P(next class = column | class = row) where a Markov model names the
            classes, else None.
    """

    kind: str
    features: list[Any]
    sizes: Floats
    profile: Floats
    effects: Floats
    image_shape: tuple[int, ...] | None = None
    transitions: Floats | None = None

    def top(self, num_features: int = _SHOWN) -> list[list[tuple[Any, float]]]:
        """What distinguishes each class most, by size of the effect; of words those it has more.

        Args:
            num_features: How many features of each class at most.

        Returns:
            List of K lists of pairs of a feature and its effect.
        """
        check_positive_int(num_features=num_features)
        result = []
        for effects in self.effects:
            order = np.argsort(
                -effects if self.kind == "words" else -np.abs(effects), kind="stable"
            )
            chosen = [
                (self.features[number], float(effects[number])) for number in order[:num_features]
            ]
            result.append([pair for pair in chosen if pair[1] > 0 or self.kind != "words"])
        return result

    def to_frame(self) -> Any:
        """A pandas DataFrame: a row for each class and feature, columns "profile" and "effect".

        Raises:
            ImportError: If pandas is not installed.
        """
        pandas = import_pandas()
        rows = [range(len(self.sizes)), self.features]
        index = pandas.MultiIndex.from_product(rows, names=["class", "feature"])
        columns = {"profile": self.profile.ravel(), "effect": self.effects.ravel()}
        return pandas.DataFrame(columns, index=index)

    def plot(self, num_features: int = 12, *, title: str | None = None, ax: Any = None) -> Any:
        """Draws it: prototypes of images, else effects of the features that distinguish most.

        Args:
            num_features: How many features or words at most, of words as many for each class and
                one at least.
            title: Text above the picture.
            ax: Matplotlib axes; None makes new ones.

        Returns:
            The Axes.
        """
        from kserket.plotting.style import INK, finish, new_axes

        check_positive_int(num_features=num_features)
        number = len(self.sizes)
        if self.image_shape is not None:
            ax = new_axes(ax, (0.9 * number + 0.4, 1.6), title)
            tiles = self.profile.reshape(number, *self.image_shape)
            low, high = float(tiles.min()), float(tiles.max())
            tiles = (tiles - low) / ((high - low) or 1.0)
            tiles = np.pad(tiles, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=1.0)
            picture = np.concatenate(list(tiles), axis=1)
            ax.imshow(picture if picture.shape[2] == 3 else picture.mean(axis=2), cmap="gray")
            width = tiles.shape[2]
            ax.set_xticks(width * (np.arange(number) + 0.5), range(number))
            ax.set_yticks([])
            finish(ax, title, "class", None, grid=False)
            ax.spines[:].set_visible(False)
            return ax
        if self.kind == "words":
            best = np.argsort(-self.effects, axis=1, kind="stable")
            own = best[:, : max(1, num_features // number)]
            chosen = np.array(list(dict.fromkeys(own.ravel().tolist())))
        else:
            strength = np.abs(self.effects).max(axis=0)
            chosen = np.argsort(-strength, kind="stable")[:num_features]
        effects = self.effects[:, chosen].T
        size = 0.6 * number + 2.6, 0.32 * len(chosen) + 1.1
        ax = new_axes(ax, size, title)
        largest = float(np.abs(effects).max()) or 1.0
        ax.imshow(effects, cmap="PuOr_r", vmin=-largest, vmax=largest, aspect="auto")
        for (row, column), effect in np.ndenumerate(effects):
            color = "white" if abs(effect) > 0.6 * largest else INK
            text = f"{effect:+.1f}"
            ax.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
        ax.set_xticks(range(number), [f"{k}" for k in range(number)])
        ax.set_yticks(range(len(chosen)), [str(self.features[feature]) for feature in chosen])
        unit = "log odds, z" if self.kind == "words" else "standard deviations from the others"
        finish(ax, title, f"class ({unit})", None, grid=False)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        return ax

    def __repr__(self) -> str:
        if self.image_shape is not None:
            height, width, _ = self.image_shape
            sizes = ", ".join(f"{number} ({size:.0f})" for number, size in enumerate(self.sizes))
            return f"prototypes of {height} x {width} pixels, drawn by plot(): class {sizes}"
        lines = []
        for number, (size, features) in enumerate(zip(self.sizes, self.top(), strict=True)):
            listed = ", ".join(f"{feature} {effect:+.1f}" for feature, effect in features)
            lines.append(f"class {number} ({size:.0f}): {listed}")
        side = math.isqrt(len(self.features))
        if self.features == list(range(side**2)) and side > _LARGEST_UNNAMED:
            lines.append(f"(If these are images, pass image_shape=({side}, {side}).)")
        return "\n".join(lines)


def explain(
    graph: Any,
    observation: str | None = None,
    *,
    x: Any = None,
    probabilities: ArrayLike | None = None,
    names: Sequence[Any] | None = None,
    image_shape: tuple[int, ...] | None = None,
) -> Explanation:
    """What distinguishes the classes of a graph, in the terms of an observation.

    Counts of words, which a topic model reads, are compared by log odds ratios; images by the
    prototypes that a VAE decodes from the mean latent variables of each class (mean images, where
    there is none); other data by means of each feature and standardized differences to all other
    classes. Samples count by the probability of their class.

    A model alone, such as a `GaussianMixture`, and an estimator of scikit-learn are explained by
    data `x`, in the units that these have: those of the table where a pipeline scales it.

    Args:
        graph: A graph that has learned; classes are those of its module at the top. Or a model, an
            estimator or a pipeline that gives class probabilities of `x`.
        observation: Name of the observation to explain them by; needed where there are several.
        x: Data (N, D), in place of those of the observation.
        probabilities: Class probabilities (N, K) of these data. None takes those of the last update
            for the observation's own data, and asks the graph (the model, the estimator) for
            others.
        names: Names of the D features; None takes those of the columns of a DataFrame.
        image_shape: `(H, W)` or `(H, W, C)` of flat images. None knows images by their shape, by
            a module that describes their strokes, and square ones of which a VAE or a CNN reads.

    Returns:
        An `Explanation`: print it, `plot()` it, or `to_frame()`.

    Raises:
        KeyError: If there is no such observation.
        TypeError: If `graph` is nothing that gives class probabilities.
        ValueError: If nothing has learned, the module at the top states no classes, a model or an
            estimator comes without `x`, or data do not fit.

    Reference:
        J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988; B. Monroe,
        M. Colaresi and K. Quinn, "Fightin' Words: Lexical feature selection and evaluation for
        identifying the content of political conflict", Political Analysis 16(4), 2008.

    Example:

    ```python
    import kserket as srk
    from sklearn.datasets import load_wine

    wine = load_wine()
    graph = srk.recipes.table(wine.data, K=3, seed=0)
    graph.fit(rounds=1)
    print(srk.explain(graph, names=wine.feature_names))
    ```
    """
    graph = getattr(graph, "graph_", graph)  # of a `GraphClusterer`
    probabilities = None if probabilities is None else _checked(probabilities, "`probabilities`")
    if not isinstance(graph, Graph):
        return _explain_model(graph, observation, x, probabilities, names, image_shape)
    source = _observation(graph, observation)
    if probabilities is None:
        probabilities = _probabilities(graph, source, x)
    if names is None:
        names = source.feature_names or names_of(x)
    data = source.data if x is None else source.read_samples(x, graph.names[source])
    readers = [module for module in graph.modules if source in module.inputs]
    is_words = isinstance(source, bow.BoW) or any(isinstance(one, mlda.MLDA) for one in readers)
    if image_shape is None and not is_words:
        image_shape = _image_shape(readers, np.shape(data)[1:])
    found = _compared(
        data,
        probabilities,
        names,
        "words" if is_words else "table",
        image_shape,
        _transitions(graph.tops[0]),
        graph.names[source],
    )
    decoder = next((one for one in readers if isinstance(one, vae.VAE)), None)
    if found.kind != "images" or decoder is None:
        return found
    latents = graph.predict({graph.names[source]: data}, outputs=graph.names[decoder])
    means = probabilities.T @ latents / np.maximum(found.sizes, 1e-12)[:, None]
    prototypes = np.asarray(decoder.model.decode(means), "float64")
    return found._replace(profile=prototypes.reshape(len(means), -1))


def _explain_model(model, observation, x, probabilities, names, image_shape):
    """`explain` of a model or an estimator, which hold no data."""
    predict = getattr(model, "predict_proba", None)
    if predict is None and isinstance(model, keras.Model):
        predict = model.predict
    name = type(model).__name__
    if predict is None and probabilities is None:
        raise TypeError(
            "`graph` must be a Graph, or a model or estimator that gives class probabilities. "
            f"Received: {shown(model)}"
        )
    if observation is not None:
        raise ValueError(
            f"`observation` names data of a Graph, and {name} holds none. Pass them as `x`."
        )
    if x is None:
        raise ValueError(f"{name} holds no data. Pass those to explain its classes by as `x`.")
    if probabilities is None:
        answer = predict(x)
        if isinstance(answer, (dict, list, tuple)):
            raise TypeError(
                f"`graph` must give class probabilities (N, K). {name} answers with several arrays."
            )
        probabilities = _checked(answer, f"What {name} answers")
    names = names_of(x) if names is None else names
    kind = "words" if isinstance(model, mlda.MultimodalLDA) else "table"
    data = check_data(x, "`x`", allow_missing=True, allow_gaps=True)
    if image_shape is None:
        image_shape = _image_shape([], np.shape(data)[1:])
    return _compared(data, probabilities, names, kind, image_shape, _transitions(model), "`x`")


def _compared(data, probabilities, names, kind, image_shape, transitions, place):
    """An `Explanation` by the data themselves.

    Args:
        data: Array (N, ...).
        probabilities: (N, K).
        names: Names of the features, or None.
        kind: "table" or "words".
        image_shape: Shape of images, if these are some.
        transitions: (K, K), or None.
        place: What holds the data, for errors.
    """
    if len(data) != len(probabilities):
        raise ValueError(
            f"{place} holds {len(data)} samples, and there are classes of "
            f"{len(probabilities)}. Both need one row per sample."
        )
    shape = np.shape(data)[1:]
    if kind == "words" and image_shape is not None:
        raise ValueError("`image_shape` is for images, and these are counts of words.")
    if image_shape is not None:
        image_shape = image_shape_of((len(probabilities), *shape), image_shape)
    missing = missing_rows(data)
    if missing is not None:
        data, probabilities = np.asarray(data)[~missing], probabilities[~missing]
    names = _names(names, math.prod(shape))
    if kind == "words":
        profile, effects = _words(data, probabilities)
    else:
        kind = "table" if image_shape is None else "images"
        flat = np.asarray(data, "float64").reshape(len(data), -1)
        profile, effects = _differences(flat, probabilities)
    sizes = probabilities.sum(axis=0)
    return Explanation(kind, names, sizes, profile, effects, image_shape, transitions)


def _observation(graph, name):
    """The observation that was named, or the only one."""
    if name is None and len(graph.observations) == 1:
        return next(iter(graph.observations.values()))
    if name is None:
        raise KeyError(
            f"Say which data the classes are explained by: `observation`, one of "
            f"{list(graph.observations)}."
        )
    if name not in graph.observations:
        raise KeyError(
            f"`observation` must name one of {list(graph.observations)}. Received: {shown(name)}"
        )
    return graph.observations[name]


def _checked(given, name):
    """Class probabilities (N, K), checked."""
    given = as_numbers(given, name)
    if given.ndim != 2 or not np.isfinite(given).all() or (given < 0).any():
        raise ValueError(
            f"{name} must be class probabilities (N, K), finite and not negative. "
            f"Received: shape {given.shape}"
        )
    return np.asarray(given, "float64")


def _probabilities(graph, source, x):
    """Class probabilities (N, K) of the data that are explained."""
    top = graph.tops[0]
    found = top.posterior
    if found is None:
        raise ValueError(
            f"{graph.names[top]} states no classes of the data that the graph holds. Fit the "
            "graph, or give `probabilities`."
        )
    if x is None:
        return np.asarray(found, "float64")
    return np.asarray(graph.predict({graph.names[source]: x}, outputs=graph.names[top]), "float64")


def _transitions(top):
    """Transition matrix (K, K) of a Markov model, or None."""
    chain = top.model if isinstance(top, mm.MarkovModel) else top
    return np.asarray(chain.transition_matrix) if isinstance(chain, mm.MarkovChain) else None


def _names(names, number):
    """Names of features, a list; their numbers where none were given."""
    names = list(range(number)) if names is None else list(names)
    if len(names) != number:
        raise ValueError(f"`names` must hold {number} names. Received: {len(names)}")
    return names


def _image_shape(readers, shape):
    """`(H, W, C)` of samples that are images, or None."""
    if len(shape) in (2, 3):
        return (*shape, 1)[:3]
    for module in readers:
        if isinstance(module, views.OrientedGradients):
            return module._image_shape((1, *shape))
    side = math.isqrt(shape[0])
    reads_images = any(isinstance(module, (vae.VAE, cnn.CNNFeatureExtractor)) for module in readers)
    return (side, side, 1) if side > 3 and side * side == shape[0] and reads_images else None


def _differences(x, probabilities):
    """Means (K, D) of each class, and Cohen's d (K, D) between each class and all others."""
    seen = ~np.isnan(x)  # each column by the cells that were observed
    sizes = probabilities.sum(axis=0)[:, None] if seen.all() else probabilities.T @ seen
    center = x.mean(axis=0) if seen.all() else np.nanmean(x, axis=0)
    x = np.where(seen, x - center, 0.0)
    sums, squares = probabilities.T @ x, probabilities.T @ x**2
    others = sizes.sum(axis=0) - sizes
    inside = sums / np.maximum(sizes, 1e-12)
    outside = (sums.sum(axis=0) - sums) / np.maximum(others, 1e-12)
    rest = squares.sum(axis=0) - squares
    variance = (squares - sizes * inside**2 + rest - others * outside**2) / (sizes + others)
    difference = np.where((sizes > 0) & (others > 0), inside - outside, 0.0)
    deviation = np.sqrt(np.maximum(variance, 0.0))
    tiny = 1e-9 * np.maximum(np.sqrt((x**2).mean(axis=0)), np.abs(center))
    effects = np.divide(difference, deviation, np.zeros_like(difference), where=deviation > tiny)
    return inside + center, effects


def _words(counts, probabilities):
    """P(word | class) (K, V), and z-scores (K, V) of log odds against all other classes."""
    counts = np.asarray((counts.T @ probabilities).T, "float64")
    total = counts.sum(axis=0)
    number = max(float(total.sum()), 1e-12)
    prior = np.maximum(total / number * len(total), 1e-6)
    inside = counts + prior
    outside = total - counts + prior
    all_inside, all_outside = (part.sum(axis=1, keepdims=True) for part in (inside, outside))
    odds = np.log(inside / (all_inside - inside)) - np.log(outside / (all_outside - outside))
    sums = counts.sum(axis=1, keepdims=True)
    profile = np.divide(counts, sums, np.zeros_like(counts), where=sums > 0)
    return profile, odds / np.sqrt(1.0 / inside + 1.0 / outside)
