"""One graph from several seeds: how far its figures spread, and which run is the best."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import numpy as np

from kserket.core.frames import import_pandas
from kserket.core.graph import Graph
from kserket.core.options import check_nonnegative_int, check_positive_int, shown
from kserket.typing import Array

_OF_WHOLE = "log_likelihood", "bound"  # figures of a whole graph


class Repetition(NamedTuple):
    """What `repeat` found: one entry for each run.

    Attributes:
        seeds: List of R seeds.
        histories: List of R dicts, as `Graph.fit` returns them in `history`.
        scores: List of R dicts of the "log_likelihood" of the whole graph, mean log p(x) of the
            data that were learned from, or its "bound"; empty where neither is known, see
            `Graph.evaluate`.
        make_graph: The function that made the graphs.
        options: Dict of what `fit` was given.
    """

    seeds: list[int]
    histories: list[dict[str, list[float]]]
    scores: list[dict[str, float]]
    make_graph: Callable[[int], Graph]
    options: dict[str, Any]

    @property
    def figures(self) -> dict[str, Array]:
        """Figures of the last round of each run, and those of `scores`: dict of arrays (R,)."""
        runs = [
            {name: values[-1] for name, values in history.items()} | scores
            for history, scores in zip(self.histories, self.scores, strict=True)
        ]
        names = dict.fromkeys(name for run in runs for name in run)
        return {name: np.array([run.get(name, np.nan) for run in runs]) for name in names}

    def best(self, figure: str | None = None) -> int:
        """The seed of the run with the highest figure; the first of equal ones.

        Args:
            figure: Name of one of `figures`. None is that of `scores`.

        Raises:
            KeyError: If no run has such a figure.
        """
        figures, hint = self.figures, ""
        if figure is None:
            figure = next((name for name in _OF_WHOLE if name in figures), _OF_WHOLE[0])
            hint = " It, or its bound, is known of some graphs, see Graph.evaluate."
        if not isinstance(figure, str) or figure not in figures:
            raise KeyError(f"No run has the figure {shown(figure)}.{hint} Known: {list(figures)}")
        values = figures[figure]
        return self.seeds[int(np.argmax(np.where(np.isnan(values), -np.inf, values)))]

    def graph(self, seed: int | None = None) -> Graph:
        """The graph of one run, learned once more, which ends where it ended.

        Args:
            seed: One of `seeds`; None is `best()`.

        Returns:
            A fitted `Graph`.

        Raises:
            ValueError: If there was no run of this seed.
        """
        seed = self.best() if seed is None else seed
        if seed not in self.seeds:
            raise ValueError(f"`seed` must be one of {self.seeds}. Received: {shown(seed)}")
        graph = _checked(self.make_graph(seed), self.make_graph)
        graph.fit(verbose=0, **self.options)
        return graph

    def plot(self, **options: Any) -> Array:
        """Draws figures by round as mean and standard deviation over runs.

        Args:
            **options: Those of `kserket.plotting.plot_history`.

        Returns:
            Array (P,) of the Axes.
        """
        from kserket.plotting import plot_history

        return plot_history(list(self.histories), **options)

    def to_frame(self) -> Any:
        """`figures` as a pandas DataFrame: a row for each run, by seed.

        Raises:
            ImportError: If pandas is not installed.
        """
        return as_frame(self.figures, self.seeds, "seed")

    def __repr__(self) -> str:
        figures = self.figures
        width = max([len(name) for name in figures] + [6])
        lines = [f"{'figure':{width}} {'mean':>10} {'sd':>10}  " + _row(self.seeds, "seed {}")]
        for name, values in figures.items():
            if np.isinf(values).all():  # the change of first messages: nothing came before them
                continue
            known = np.isfinite(values).all()
            mean = f"{values.mean():.4g}" if known else "-"
            spread = f"{values.std():.3g}" if known and len(values) > 1 else "-"
            lines.append(f"{name:{width}} {mean:>10} {spread:>10}  " + _row(values, "{:.4g}"))
        return "\n".join(lines)


def as_frame(columns: dict[str, Any], index: Any, name: str) -> Any:
    """A pandas DataFrame.

    Args:
        columns: Dict of arrays (R,).
        index: Its rows, R.
        name: What the rows are.

    Raises:
        ImportError: If pandas is not installed.
    """
    pandas = import_pandas()
    return pandas.DataFrame(columns, index=pandas.Index(index, name=name))


def repeat(
    make_graph: Callable[[int], Graph],
    seeds: int | Iterable[int] = 5,
    *,
    n_jobs: int | None = None,
    **options: Any,
) -> Repetition:
    """Learns a graph from several seeds: what is the same in all runs is not luck.

    Args:
        make_graph: Function of a seed that returns a connected `Graph` that has learned nothing,
            such as `lambda seed: srk.recipes.table(x, 3, seed)`. Labels in `category` score each
            run and decide nothing.
        seeds: Number of seeds, from 0; or the seeds.
        n_jobs: Number of processes; None runs one after another in this one. Several need a
            function that can be pickled, such as `functools.partial(srk.recipes.table, x, 3)` with
            the seed as its next argument, and a script with `if __name__ == "__main__":`.
        **options: Of `Graph.fit`, such as `rounds`.

    Returns:
        A `Repetition`: print it for mean, standard deviation and each run; `plot()` draws curves
        with bands; `graph()` is the best run.

    Raises:
        TypeError: If `make_graph` makes no graph.
        ValueError: If a seed is not a whole number, one comes twice, or `make_graph` cannot be
            pickled for processes.

    Example:

    ```python
    import kserket as srk
    from sklearn.datasets import load_iris

    x = load_iris().data
    runs = srk.repeat(lambda seed: srk.recipes.table(x, 3, seed), seeds=3, rounds=1)
    print(runs)
    print(runs.best())
    ```
    """
    if isinstance(seeds, (int, np.integer)):
        check_positive_int(seeds=seeds)
        seeds = range(int(seeds))
    seeds = list(seeds)
    check_nonnegative_int(**{f"seeds[{number}]": seed for number, seed in enumerate(seeds)})
    seeds = [int(seed) for seed in seeds]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must be one at least, all different. Received: {shown(seeds)}")
    if not callable(make_graph):
        raise TypeError(f"`make_graph` must be a function of a seed. Received: {shown(make_graph)}")
    check_positive_int(n_jobs=1 if n_jobs is None else n_jobs)
    if n_jobs is None or n_jobs == 1 or len(seeds) == 1:
        runs = [_run(make_graph, seed, options) for seed in seeds]
    else:
        runs = _in_processes(make_graph, seeds, n_jobs, options)
    histories, scores = zip(*runs, strict=True)
    return Repetition(seeds, list(histories), list(scores), make_graph, dict(options))


def _in_processes(make_graph, seeds, n_jobs, options):
    """The runs of all seeds, in their order."""
    try:
        ForkingPickler.dumps((make_graph, options))
    except Exception as error:  # whatever keeps an object from being sent
        raise ValueError(
            "Several processes need a `make_graph` and options that can be pickled: a function of "
            f"a module, or functools.partial of one. {error}"
        ) from error
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(n_jobs, len(seeds)), mp_context=context) as pool:
        jobs = [pool.submit(_run, make_graph, seed, options) for seed in seeds]
        return [job.result() for job in jobs]


def _run(make_graph, seed, options):
    """History and scores of one seed."""
    graph = _checked(make_graph(seed), make_graph)
    history = graph.fit(verbose=0, **options).history
    x = {name: module.data for name, module in graph.observations.items()}
    scores, learners = graph.evaluate(x), set(graph.modules) - set(graph.observations.values())
    whole = {name: scores[name] for name in _OF_WHOLE if name in scores}
    if not whole and len(learners) == 1:  # then its own is that of the whole graph
        own = scores.get(f"{graph.names[learners.pop()]}/log_likelihood")
        whole = {} if own is None else {"log_likelihood": own}
    return dict(history), whole


def _checked(graph, make_graph):
    """What `make_graph` returned, if it is a graph that has learned nothing."""
    if not isinstance(graph, Graph):
        raise TypeError(
            f"`make_graph` must return a kserket.Graph. {make_graph!r} returned: {shown(graph)}"
        )
    if graph.round:
        raise ValueError(
            f"`make_graph` must make a new graph for each seed. {make_graph!r} returned one that "
            f"has done {graph.round} rounds."
        )
    return graph


def _row(values, form):
    texts = [form.format(value) if np.isfinite(value) else "-" for value in values]
    return " ".join(f"{text:>9}" for text in texts)
