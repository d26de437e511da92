"""Four eyes, each of which sees a quarter of a digit, learn from each other: `kserket demo`.

Each eye is a Gaussian mixture over its 16 pixels. A topic model (MLDA) joins the four, and tells
each what the others say. Everything is scored on images that took no part in learning: each eye by
itself, and all subsets of the eyes together, once where the mixtures only report to the topic model
and once where they also hear from it. Labels are read by these scores, and by nothing else.

    kserket demo --seeds 0 1 2 --rounds 4 --out demo
"""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from kserket import datasets, gmm, metrics, mlda
from kserket.core.graph import Graph
from kserket.core.module import Module
from kserket.core.observation import Observation
from kserket.plotting import plot_history
from kserket.plotting.style import FAINT, INK, color_of, finish, pyplot

NUM_CLASSES = 10
FIRST, SECOND = slice(None, 4), slice(4, None)
EYES = {  # rows and columns that each sees
    "upper left": (FIRST, FIRST),
    "upper right": (FIRST, SECOND),
    "lower left": (SECOND, FIRST),
    "lower right": (SECOND, SECOND),
}
NUM_NEW = 500
SUBSETS = [open for size in range(1, 5) for open in itertools.combinations(EYES, size)]
SHOWN = {  # what is drawn of new images: open eyes
    "all": list(EYES),
    "three": ["upper left", "upper right", "lower left"],
    "two": ["upper right", "lower left"],
    "one": ["upper left"],
}


def run(seeds: Sequence[int], rounds: int, folder: pathlib.Path, quick: bool = False) -> None:
    """Learns, prints scores and writes pictures.

    Args:
        seeds: Integers, one for each repetition.
        rounds: Number of rounds.
        folder: Where pictures are written.
        quick: Whether little is learned, to try whether it runs.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    pyplot()
    x, labels = datasets.load_digits()
    if quick:
        x, labels, seeds, rounds = x[-800:], labels[-800:], seeds[:1], 1
    images, num_known = x.reshape(-1, 8, 8), len(x) - NUM_NEW
    known, new = slice(None, num_known), slice(num_known, None)
    print(
        f"{num_known:,} digits of 8 x 8 pixels to learn from, without labels, and {NUM_NEW} new "
        "ones.\nFour eyes see a quarter of each: four mixtures -> MLDA."
    )
    graphs, scores = [], []
    for seed in seeds:
        ways = [
            learn(images[known], labels[known], seed, rounds, messages, 2 if quick else None)
            for messages in (False, True)
        ]
        scores.append([score(graph, images[new], labels[new]) for graph in ways])
        graphs.append(ways[1])
        one_way, both = (way[-1] for way in scores[-1])
        print(f"seed {seed}: four eyes {one_way:.3f} one way, {both:.3f} with messages", flush=True)
    table = summary(scores)
    report(table, x[known], x[new], labels[new])
    draw(graphs[0], table, images[new], labels[new], folder)
    print(f"\nPictures are in {folder}/")


def learn(
    images: Any, labels: Any, seed: int, rounds: int, messages: bool, n_init: int | None = None
) -> Graph:
    """A graph of the four eyes.

    Args:
        images: (N, 8, 8).
        labels: (N,), to score in `graph.history`.
        seed: Integer.
        rounds: Number of rounds.
        messages: Whether the topic model sends its classes back to the eyes.
        n_init: How many starts of each mixture; None is the default.
    """
    Module.reset_names()
    eyes = []
    for name, pixels in quarters(images).items():
        options = {"name": f"eye {name}", "category": labels, "n_init": n_init, "save_dir": None}
        eye = gmm.GMM(NUM_CLASSES, **options)
        eye.connect(Observation(pixels, name))
        eyes.append(eye)
    top = mlda.MLDA(NUM_CLASSES, name="together", category=labels, save_dir=None)
    top.connect(*eyes, backward=messages)
    graph = Graph(top, seed=seed)
    graph.fit(rounds=rounds, verbose=0)
    return graph


def quarters(images: Any) -> dict[str, Any]:
    """What each eye sees: dict from name to (N, 16)."""
    return {name: images[:, r, c].reshape(len(images), 16) for name, (r, c) in EYES.items()}


def see(images: Any, eyes: Sequence[str]) -> dict[str, Any]:
    """Data of `Graph.predict` where some eyes are open; None is a closed one."""
    return {name: x if name in eyes else None for name, x in quarters(images).items()}


def score(graph: Graph, images: Any, labels: Any) -> list[float]:
    """Accuracy for each of `SUBSETS`; an eye by itself is asked directly."""
    scores = []
    for eyes in SUBSETS:
        answer = graph.predict(see(images, eyes), outputs="together")
        scores.append(metrics.clustering_accuracy(labels, answer.argmax(axis=1)))
    return scores


def summary(scores: Sequence[Any]) -> dict[str, Any]:
    """Accuracies by what is open, each (runs, 2): one way and with messages."""
    values = np.array(scores)
    sizes = np.array([len(eyes) for eyes in SUBSETS])
    table = {eyes[0]: values[:, :, i] for i, eyes in enumerate(SUBSETS[:4])}
    for size, name in ((2, "any two"), (3, "any three"), (4, "all four")):
        table[name] = values[:, :, sizes == size].mean(axis=2)
    return table


def report(table: dict[str, Any], known: Any, new: Any, labels: Any) -> None:
    """Prints mean and standard deviation over seeds, and what one method does with all pixels."""
    from sklearn.cluster import KMeans

    print(f"\nAccuracy on new images, {len(table['all four'])} seeds\n")
    print(f"{'open eyes':<12}{'one way':>16}{'with messages':>18}")
    for name, values in table.items():
        cells = (f"{m:.3f} ± {s:.3f}" for m, s in zip(values.mean(0), values.std(0), strict=True))
        print(f"{name:<12}{next(cells):>16}{next(cells):>18}")
    classes = KMeans(NUM_CLASSES, n_init=10, random_state=0).fit(known).predict(new)
    print(f"\nk-means on whole images: {metrics.clustering_accuracy(labels, classes):.3f}")


# Pictures ---------------------------------------------------------------------------------


def draw(graph: Graph, table: dict[str, Any], images: Any, labels: Any, folder: Any) -> None:
    """Writes `eyes.png`, `rounds.png` and `graph.png`.

    Args:
        graph: The one with messages.
        table: What `summary` returned.
        images: New images (N, 8, 8).
        labels: (N,).
        folder: Where.
    """
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    plt = pyplot()
    figure, axes = plt.subplots(
        1, 2, figsize=(12, 3.5), width_ratios=(1.4, 1), layout="constrained", dpi=150
    )
    draw_imagined(axes[0], graph, images, labels)
    draw_scores(axes[1], table)
    figure.savefig(folder / "eyes.png")
    figures = {n: v for n, v in graph.history.history.items() if n.endswith("/accuracy")}
    plot_history(figures)[0].figure.savefig(folder / "rounds.png")
    graph.plot().figure.savefig(folder / "graph.png")
    plt.close("all")


def draw_imagined(ax: Any, graph: Graph, images: Any, labels: Any) -> None:
    """New digits: what open eyes see, in gray, and what the others expect, in blue."""
    import matplotlib

    chosen = [np.flatnonzero(labels == digit)[0] for digit in range(NUM_CLASSES)]
    images, step = images[chosen], 10
    canvas = np.ones((step * len(SHOWN) - 1, step * NUM_CLASSES - 1, 3))
    blues = matplotlib.colormaps["Blues"]
    for row, eyes in enumerate(SHOWN.values()):
        expected = graph.predict(see(images, eyes), outputs=list(EYES))
        for name, (r, c) in EYES.items():
            for column, pixels in enumerate(np.clip(expected[name], 0.0, 1.0)):
                if name in eyes:
                    colors = np.repeat(1.0 - images[column][r, c][..., None], 3, axis=2)
                else:
                    colors = blues(pixels.reshape(4, 4))[..., :3]
                top = step * row + (r == SECOND) * 4
                left = step * column + (c == SECOND) * 4
                canvas[top : top + 4, left : left + 4] = colors
    ax.imshow(canvas, interpolation="nearest")
    ax.set_yticks(step * np.arange(len(SHOWN)) + 3.5, SHOWN, fontsize=10, color=INK)
    ax.set_ylabel("open eyes", fontsize=10, color=INK)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    title = "New digits: what open eyes see (gray), and what closed ones expect (blue)"
    ax.set_title(title, fontsize=11, color=INK, loc="left")


def draw_scores(ax: Any, table: dict[str, Any]) -> None:
    """Accuracies one way and with messages; a dot for each seed."""
    labels = "eyes that only report", "eyes that hear the others"
    colors = color_of(1), color_of(0)
    for place, values in enumerate(reversed(list(table.values()))):
        ax.plot(values.mean(axis=0), [place, place], color=FAINT, lw=3, zorder=1)
        for way, (color, label) in enumerate(zip(colors, labels, strict=True)):
            style = {"color": color, "marker": "os"[way], "s": 42, "alpha": 0.75, "zorder": 2}
            style["label"] = label if place == 0 else None
            ax.scatter(values[:, way], np.full(len(values), place), **style)
    ax.set_yticks(range(len(table)), reversed(list(table)))
    finish(ax, "New digits recognized", "accuracy", "open eyes")
    ax.legend(frameon=False, fontsize=9, loc="upper right")
