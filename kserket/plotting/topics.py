"""Pictures of a topic model: the words of its classes, and what each modality says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kserket.arrays import as_numbers
from kserket.core.options import check_positive_int
from kserket.plotting.sources import is_source, opinions_of, topics_of
from kserket.plotting.style import INK, check_texts, finish, new_axes, plain, pyplot
from kserket.typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDEST = 7.2  # inches, of a page of two columns
_RELEVANCE = 0.6  # weight of P(word | class) beside its ratio to P(word)


def plot_topics(
    source: Any,
    *,
    num_words: int = 5,
    words: Any = None,
    names: Any = None,
    axes: Any = None,
) -> Array:
    """Draws the words, or features, that each class has most of, in each modality.

    Words are ordered by relevance, which weighs how probable a word is in the class and how much
    more probable than in all classes together. A cell is the darker, the more probable its word;
    the probability stands below it.

    Args:
        source: Array (K, V), P(word | class), or a list of M, one for each modality; or an MLDA,
            its model, or a graph that holds one.
        num_words: How many words of each class.
        words: A list of the V words, for several modalities a list of M lists; None instead of one
            numbers them. Default: columns of DataFrames that were observed, else numbers.
        names: Names of the M modalities. Default: those of the modules, or numbers.
        axes: M matplotlib Axes. Default: a new figure, panels side by side where they fit.

    Returns:
        Array (M,) of the Axes.

    Raises:
        TypeError: If names are no lists of names.
        ValueError: If rows are not probabilities, names are too few or too many, there are fewer
            Axes than modalities, or nothing here has topics.

    Reference:
        Sievert and Shirley, "LDAvis: a method for visualizing and interpreting topics", ACL
        workshop on interactive language learning, 2014.
    """
    check_positive_int(num_words=num_words)
    topics, weights, found_words, found_names = topics_of(source)
    topics = [_probabilities(part, f"Modality {m}") for m, part in enumerate(topics)]
    names = _named(names, len(topics), found_names or [f"modality {m}" for m in range(len(topics))])
    words = _words(words, topics, found_words)
    shown = [min(int(num_words), part.shape[1]) for part in topics]
    if axes is None:
        axes = _panels(words, shown, len(topics[0]))
    axes = np.atleast_1d(np.asarray(axes, object)).ravel()
    if len(axes) < len(topics):
        raise ValueError(f"{len(topics)} modalities need as many Axes. Received: {len(axes)}")
    for ax, part, own, name, number in zip(axes, topics, words, names, shown, strict=False):
        _draw_words(ax, part, weights, own, number)
        place = ax.get_subplotspec()
        is_left = place is None or place.is_first_col()
        finish(ax, str(name), "rank", "class" if is_left else None, grid=False)
    return axes[: len(topics)]


def plot_modalities(
    source: Any,
    posterior: Any = None,
    *,
    names: Any = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws how well each modality alone tells the classes apart that all find together.

    A cell is the share of the samples of a class that the modality alone sorts into it, the column
    "all" that of all samples. Beside the name stands how much it says of a sample on average, in
    bits: how far its opinion is from the classes' shares. Much said with little agreement is sure
    and wrong. Samples that were not observed in a modality do not count there.

    Args:
        source: A list of M arrays (N, K), the class probabilities that each modality alone states,
            rows of NaN where it was not observed; or an MLDA, or a graph that holds one.
        posterior: With arrays, the class probabilities (N, K) of all together.
        names: Names of the M modalities. Default: those of the modules, or numbers.
        title: Text above the picture.
        ax: Matplotlib axes; None makes new ones.

    Returns:
        The axes.

    Raises:
        TypeError: If `names` is no list of names.
        ValueError: If rows are not probabilities, shapes differ, or nothing here has modalities.
    """
    found_names = None
    if is_source(source):
        source, posterior, found_names = opinions_of(source)
    opinions, joint = _opinions(source, posterior)
    number = len(opinions)
    names = _named(names, number, found_names or [f"modality {m}" for m in range(number)])
    classes, num_classes = joint.argmax(axis=1), joint.shape[1]
    table = np.full((number, num_classes + 1), np.nan)
    rows = []
    for m, (name, opinion) in enumerate(zip(names, opinions, strict=True)):
        seen = np.flatnonzero(~np.isnan(opinion).any(axis=1))
        right = opinion[seen].argmax(axis=1) == classes[seen]
        table[m, 0] = right.mean() if len(seen) else np.nan
        for k in np.unique(classes[seen]):
            table[m, k + 1] = right[classes[seen] == k].mean()
        rows.append(f"{plain(name)}\n{_bits(opinion[seen], joint):.1f} bits")
    size = 0.42 * num_classes + 1.9, 0.5 * number + 0.9
    ax = new_axes(ax, np.maximum(size, (3.3, 1.6)), title)
    _draw_cells(ax, table, 1.0, lambda m, k: _share(table[m, k]))
    ax.axvline(0.5, color="white", lw=4)
    ax.set_xticks(range(num_classes + 1), ["all", *map(str, range(num_classes))])
    ax.set_yticks(range(number), rows)
    finish(ax, title, "class of all together", None, grid=False)
    return ax


def _panels(words, shown, num_classes):
    """Axes (M,) of a new figure, side by side if a page is wide enough, else stacked."""
    longest = [max(len(str(word)) for word in own) for own in words]
    widths = [
        number * np.clip(0.075 * length + 0.2, 0.5, 1.4) + 0.35
        for number, length in zip(shown, longest, strict=True)
    ]
    beside, height = sum(widths) <= _WIDEST, 0.36 * num_classes + 0.75
    size = (sum(widths), height) if beside else (max(widths), height * len(words))
    _, axes = pyplot().subplots(
        1 if beside else len(words),
        len(words) if beside else 1,
        figsize=np.maximum(size, (3.3, 0)),
        layout="constrained",
        squeeze=False,
        width_ratios=widths if beside else None,
        dpi=150,
    )
    return axes.ravel()


def _draw_words(ax, topics, weights, words, number):
    """Words (K, number) in cells shaded by their probability."""
    chosen = _most_relevant(topics, weights, number)
    values = np.take_along_axis(topics, chosen, axis=1)
    longest = max(len(str(words[index])) for index in chosen.flat)
    room = 72 / ax.figure.dpi * ax.get_window_extent().width / number  # points of a cell
    size = float(np.clip(room / (0.62 * longest + 0.8), 4.5, 9))

    def text(k, rank):
        return f"{words[chosen[k, rank]]}\n{_share(values[k, rank])}"

    _draw_cells(ax, values, float(values.max()) or 1.0, text, size)
    ax.set_xticks(range(number), range(1, number + 1))
    ax.set_yticks(range(len(topics)), range(len(topics)))


def _draw_cells(ax, values, largest, text, size=8.0):
    """Cells shaded by values (R, C) up to the largest, each with a text; NaN stays empty."""
    ax.imshow(values, cmap="Blues", vmin=0, vmax=1.1 * largest, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            color = "white" if value > 0.6 * largest else INK
            label = text(row, column)
            ax.text(
                column, row, label, ha="center", va="center", fontsize=size, color=color,
                linespacing=0.95,
            )  # fmt: skip
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def _most_relevant(topics, weights, number):
    """Which words (K, number) are the most relevant to each class."""
    weights = np.full(len(topics), 1 / len(topics)) if weights is None else weights
    overall = weights @ topics
    with np.errstate(divide="ignore", invalid="ignore"):
        relevance = np.log(topics) - (1 - _RELEVANCE) * np.log(overall)
    relevance = np.where(topics > 0, relevance, -np.inf)
    return np.argsort(-relevance, axis=1, kind="stable")[:, :number]


def _share(value):
    """A share without its leading zero: .97, 1.0."""
    return "1.0" if value > 0.995 else f"{value:.2f}"[1:]


def _bits(opinion, joint):
    """Mean KL divergence of opinions (n, K) from the shares of the classes, in bits."""
    if not len(opinion):
        return 0.0
    shares = np.maximum(joint.mean(axis=0), np.finfo("float64").tiny)
    safe = np.maximum(opinion, np.finfo("float64").tiny)
    return float((opinion * np.log2(safe / shares)).sum(axis=1).mean())


def _opinions(opinions, posterior):
    """Class probabilities, those of each modality and of all together, checked."""
    if not isinstance(opinions, (list, tuple)) or not len(opinions) or posterior is None:
        raise ValueError(
            "plot_modalities needs a list of arrays (N, K), one for each modality, and `posterior` "
            "(N, K); or an MLDA or a graph that holds one."
        )
    joint = _probabilities(posterior, "`posterior`")
    parts = []
    for m, part in enumerate(opinions):
        part = np.asarray(as_numbers(part, f"Modality {m}", allow_missing=True), "float64")
        if part.shape != joint.shape:
            raise ValueError(
                f"Modality {m} must have the shape of `posterior`, {joint.shape}. "
                f"Received: {part.shape}"
            )
        seen = ~np.isnan(part).all(axis=1)
        if seen.any():
            _probabilities(part[seen], f"Modality {m}")
        parts.append(part)
    return parts, joint


def _probabilities(values, name):
    """Array (R, C) of rows that sum to one; ValueError of anything else."""
    values = np.asarray(as_numbers(values, name), "float64")
    fits = values.ndim == 2 and values.size > 0
    if not fits or not (values >= 0).all() or not np.allclose(values.sum(axis=1), 1, atol=1e-4):
        raise ValueError(
            f"{name} needs probabilities, two axes and each row summing to one. "
            f"Received: shape {values.shape}"
        )
    return values


def _named(names, number, default):
    """Names of the modalities, as many as there are."""
    names = default if names is None else check_texts(names)
    if len(names) != number:
        raise ValueError(f"`names` must hold {number} names. Received: {len(names)}")
    return names


def _words(words, topics, found):
    """A list of the words of each modality."""
    if words is None:
        words = found or [None] * len(topics)
    elif len(topics) == 1 and not any(word is None or np.ndim(word) for word in words):
        words = [words]
    if len(words) != len(topics):
        raise ValueError(
            f"`words` must hold a list for each of {len(topics)} modalities. Received: {len(words)}"
        )
    lists = []
    for part, own in zip(topics, words, strict=True):
        own = list(range(part.shape[1])) if own is None else check_texts(own)
        if len(own) != part.shape[1]:
            raise ValueError(
                f"`words` must name the {part.shape[1]} words of the modality. Received: {len(own)}"
            )
        lists.append(own)
    return lists
