"""Several runs of a graph from other random numbers; the best by log p(x), or its bound, stays."""

import copy
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from kserket import hosts
from kserket.core import files
from kserket.core.learning_module import LearningModule


def choose_start(graph, n_init, n_jobs, backup=None, **options):
    """Gives a graph that has learned nothing the random numbers of its best run.

    Run 0 has those that the graph has anyway. Each run is one of a copy, which writes no files. A
    run that comes first wins ties. The scores are kept beside the backup, if there is one, so that
    runs that ended are not repeated.

    Args:
        graph: The `Graph`.
        n_init: How many runs; None or 1 has nothing to choose.
        n_jobs: Number of processes; None runs one after another in this one.
        backup: `Backup` or None.
        **options: Of `Graph.fit`: `rounds`, `tolerance`, `schedule`.

    Raises:
        ValueError: If nothing says how probable the data are in the whole graph, not even a bound.
    """
    if n_init is None or n_init == 1:
        return
    learners = [module for module in graph.modules if isinstance(module, LearningModule)]
    for module in learners:
        module.settle_seed()
    if n_jobs not in (None, 1):
        hosts.check_one_host("`n_jobs`", "processes of a host cannot meet those of others.")
    path, scores = None, {}
    if backup is not None:
        path = backup.folder / "starts.json"
        run = [backup.identity, options, [module.seed for module in learners]]
        run = json.loads(json.dumps(run, default=str))
        scores = _of_first_host(_known(path, run), n_init)
    left = [start for start in range(n_init) if start not in scores]
    for start, score in zip(left, _scores(graph, left, n_jobs, options), strict=True):
        scores[start] = score
        if path is not None and hosts.host_index() == 0:
            with files.writing(path) as file:
                file.write(json.dumps({"run": run, "scores": scores}).encode())
    best = max(range(n_init), key=scores.get)
    for module in learners:
        module.start = best


def _known(path, run):
    """Scores by start that a file holds of this run; none of another one, or if it is damaged."""
    try:
        known = json.loads(path.read_text())
        return {int(k): float(v) for k, v in known["scores"].items() if known["run"] == run}
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _of_first_host(scores, n_init):
    """The scores that the first host knows."""
    known = [scores.get(start, np.nan) for start in range(n_init)]
    known = hosts.from_first_host(np.array(known))
    return {start: float(score) for start, score in enumerate(known) if not np.isnan(score)}


def _scores(graph, starts, n_jobs, options):
    """The score of each start, one after another."""
    if not starts:
        return
    data = {module: module.data for module in graph.observations.values()}
    if n_jobs is None or n_jobs == 1:
        for start in starts:
            yield _score(_copy(graph, data), start, options)
        return
    twin = _copy(graph, data)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(n_jobs, len(starts)), mp_context=context) as pool:
        jobs = [pool.submit(_score, twin, start, options) for start in starts]
        for job in jobs:
            yield job.result()


def _copy(graph, data):
    """A copy of a graph that shares its data and writes nothing."""
    kept = {id(part): part for part in data.values()}
    kept |= {id(module.strategy): module.strategy for module in graph.modules}
    twin = copy.deepcopy(graph, kept)
    for module in twin.modules:
        module.write_below(None)
    return twin


def _score(graph, start, options):
    """Mean log p(x) after a run, or its bound."""
    for module in graph.modules:
        if isinstance(module, LearningModule):
            module.start, module.warns_of_empty = start, False
    graph.fit(verbose=0, **options)
    x = {name: module.data for name, module in graph.observations.items()}
    figures = graph.evaluate(x)
    score = figures.get("log_likelihood", figures.get("bound"))
    if score is None:
        raise ValueError(
            "`n_init` chooses among runs by log p(x) of the whole graph or a bound of it, which "
            f"evaluate() gives where one is known: see concepts. Received: n_init for {graph!r}. "
            "Choose by a figure of its modules instead, over graphs of several seeds."
        )
    if hosts.num_hosts() == 1:
        return score
    rows = max(len(part) for part in x.values())
    total, rows = hosts.sum_over_hosts((rows * score, rows))
    return total / rows
