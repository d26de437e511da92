"""Rounds of messages and learning: every module's `update()`, from the data upwards."""

import math

import keras
import numpy as np

from kserket.core.learning_module import LearningModule
from kserket.core.observation import Observation
from kserket.core.options import (
    check_dict,
    check_nonnegative_int,
    check_path,
    check_positive_int,
    check_tolerance,
    is_whole,
    shown,
)
from kserket.core.prediction import read_data
from kserket.core.progress import Progress, stopping_on_interrupt
from kserket.core.restarts import choose_start
from kserket.core.rollback import rolled_back_on_error
from kserket.core.saving import Backup
from kserket.core.watching import check_callbacks
from kserket.labels import as_labels


def run_rounds(
    graph,
    rounds,
    callbacks,
    verbose,
    validation_data,
    tolerance,
    schedule,
    module_callbacks,
    backup_dir,
    n_init=None,
    n_jobs=None,
):
    """Runs rounds; see `Graph.fit`."""
    if not is_whole(rounds) and np.ndim(rounds):
        raise TypeError(
            "Graph.fit() takes no data: they are in the observations, where set_data() replaces "
            f"them. Pass a number of rounds: fit(rounds=5). Received: {shown(rounds)}"
        )
    check_nonnegative_int(rounds=rounds)
    check_tolerance(tolerance=tolerance)
    if backup_dir is not None:
        check_path(backup_dir=backup_dir)
    counts = {"n_init": n_init, "n_jobs": n_jobs}
    check_positive_int(**{name: count for name, count in counts.items() if count is not None})
    if n_init is not None and graph.round:
        raise ValueError(
            f"`n_init` is for a graph that has learned nothing; this one has done {graph.round} "
            "rounds. Make a new one, or leave it out."
        )
    how = {"rounds": int(rounds), "tolerance": tolerance, "schedule": schedule}
    updates = _updates(graph, schedule)
    module_callbacks = {
        graph[name]: check_callbacks(given)
        for name, given in check_dict(
            "callbacks by module name", module_callbacks=module_callbacks
        ).items()
    }
    for module, own in module_callbacks.items():
        module.check_callbacks(own)
    validate = _validation(graph, validation_data)
    options = check_callbacks(callbacks), verbose, validate, tolerance, updates, module_callbacks
    if backup_dir is None:
        choose_start(graph, n_init, n_jobs, **how)
        return _run(graph, int(rounds), *options)
    with Backup(graph, backup_dir, rounds, schedule).held() as backup:
        left = backup.resume()
        if not graph.round:
            choose_start(graph, n_init, n_jobs, backup, **how)
        return _run(graph, left, *options, backup)


def _run(
    graph, rounds, callbacks, verbose, validate, tolerance, updates, module_callbacks, backup=None
):
    progress = Progress(graph.round + rounds, verbose, first=graph.round)
    observers = keras.callbacks.CallbackList(
        [graph.history, *callbacks],
        model=graph,
        epochs=graph.round + rounds,
        steps=len(graph.modules),
        verbose=0,
    )
    graph.stop_training = False
    kept = graph.history.history, graph.history.epoch
    try:
        observers.on_train_begin()
    finally:  # one history over all calls of fit
        graph.history.history, graph.history.epoch = kept
    figures = {}
    with stopping_on_interrupt(graph):
        for _ in range(rounds):
            observers.on_epoch_begin(graph.round)
            _check_modules(graph, updates)
            with rolled_back_on_error(*graph.modules):
                reported = _run_round(graph, progress, observers, updates, module_callbacks)
                reported |= validate()
            progress.end_round(graph.round, reported)
            figures = _aligned(graph.history, reported)
            graph.round += 1
            observers.on_epoch_end(graph.round - 1, figures)
            stops = graph.stop_training or _settled(reported, tolerance)
            if backup is not None and not graph.interrupted:
                backup.save(stops)
            if stops:
                break
    observers.on_train_end(figures)
    return graph.history


def _validation(graph, data):
    """A function that scores validation data; what `evaluate` would refuse is refused here."""
    if data is None:
        return dict
    x, labels = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
    if isinstance(data, tuple) and len(data) != 2:
        raise ValueError(
            "`validation_data` must be data as predict() takes them, or a tuple (data, labels). "
            f"Received: a tuple of {len(data)}."
        )
    try:
        held_out = read_data(graph, x)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"`validation_data` must be data as predict() takes them. {error}"
        ) from error
    if labels is not None:
        labels = as_labels(labels, "The labels of `validation_data`")
        rows = {len(part) for part in held_out.values()}
        if rows != {len(labels)} and not any(module.num_rows for module in graph.modules):
            raise ValueError(
                f"`validation_data` needs a label for each sample. Received: {len(labels)} labels "
                f"of {max(rows)} samples."
            )

    def validate():
        return {f"val_{name}": value for name, value in graph.evaluate(x, labels).items()}

    return validate


def _updates(graph, schedule):
    """Dict from module to its updates in a round, where the caller named it."""
    schedule = check_dict("numbers of updates by module name", schedule=schedule)
    check_nonnegative_int(**{f"schedule[{name!r}]": count for name, count in schedule.items()})
    return {graph[name]: int(count) for name, count in schedule.items()}


def _check_modules(graph, updates):
    """Finds what a module would refuse in this round before the first one learns."""
    for module in graph.modules:
        if updates.get(module, 1) > 0:
            module.check_options(_num_rows(module))


def _num_rows(module):
    """How many samples a module will read, where that is known before it does; else None."""
    if isinstance(module, Observation):
        return len(module.data)
    if not isinstance(module, LearningModule) or not module.inputs:
        return None
    source = module.inputs[0]
    keeps_rows = isinstance(source, (Observation, LearningModule))
    return _num_rows(source) if keeps_rows else None


def _run_round(graph, progress, observers, updates, module_callbacks):
    """Every module's updates, from the data upwards; the figures of the round."""
    figures = {}
    for step, (module, name) in enumerate(graph.names.items()):

        def watch(done, total, unit, name=name):
            progress.step(graph.round, name, done, total, unit)
            return graph.interrupted  # true: the module stops here

        module.callbacks, module.on_step = module_callbacks.get(module, []), watch
        observers.on_train_batch_begin(step)
        try:
            for _ in range(updates.get(module, 1)):
                module.update()
        finally:
            module.on_step, module.callbacks = None, []
        for figure, value in module.logs.items():
            figures[f"{name}/{figure}"] = value
        loss = module.logs.get("loss")
        observers.on_train_batch_end(step, figures if loss is None else figures | {"loss": loss})
    return figures


def _aligned(history, figures):
    """The figures of a round, and the history before it, NaN where only the other names one."""
    for name in figures:
        history.history.setdefault(name, [math.nan] * len(history.epoch))
    return dict.fromkeys(history.history, math.nan) | figures


def _settled(figures, tolerance):
    """Whether every module's message changed by less than the tolerance, if there is one."""
    if tolerance is None:
        return False
    changes = [value for name, value in figures.items() if name.endswith("/message_change")]
    return bool(changes) and max(changes) < tolerance
