"""Rounds of messages and learning: every module's `update()`, from the data upwards."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np

from kserket.core.callback_target import check_watch_rounds
from kserket.core.host_group import working_together
from kserket.core.host_rounds import check_same_everywhere, hosts_of, shown_here
from kserket.core.learning_module import LearningModule
from kserket.core.observation import Observation
from kserket.core.options import (
    check_callbacks,
    check_dict,
    check_nonnegative_int,
    check_path,
    check_positive_int,
    check_tolerance,
    is_whole,
    shown,
)
from kserket.core.parameters import rolled_back_on_error
from kserket.core.prediction import check_labels_in_order, check_observed, read_data, warn_of_units
from kserket.core.progress import Progress, stopping_on_interrupt
from kserket.core.restarts import choose_start
from kserket.core.saving import Backup
from kserket.hosts import any_host, from_first_host
from kserket.labels import as_labels


class Plan(NamedTuple):
    """What rounds are to do: options of `Graph.fit`, or what `_checked` made of them.

    Attributes:
        rounds: Number of rounds.
        tolerance: Stops after a round in which no message changed by as much; None runs all.
        schedule: Dict from a module, or its name, to its updates in a round.
        callbacks: Keras callbacks of the graph.
        verbose: What is shown.
        validation: Held-out data; then the function that scores them.
        module_callbacks: Dict from a module, or its name, to Keras callbacks of its own fits.
    """

    rounds: Any
    tolerance: Any
    schedule: Any
    callbacks: Any
    verbose: Any
    validation: Any
    module_callbacks: Any


def run_rounds(graph, plan, backup_dir=None, n_init=None, n_jobs=None):
    """Runs rounds; see `Graph.fit`.

    Args:
        graph: The `Graph`.
        plan: `Plan`, as the caller gave it.
        backup_dir: Folder, or None.
        n_init: Number of starts, or None.
        n_jobs: Number of processes, or None.

    Returns:
        `graph.history`.
    """
    with working_together(hosts_of(graph)):
        return _run_together(graph, plan, backup_dir, n_init, n_jobs)


def _run_together(graph, plan, backup_dir, n_init, n_jobs):
    """`run_rounds`, where it is settled which hosts there are."""
    checked = _checked(graph, plan)
    if backup_dir is not None:
        check_path(backup_dir=backup_dir)
    counts = {"n_init": n_init, "n_jobs": n_jobs}
    check_positive_int(**{name: count for name, count in counts.items() if count is not None})
    if n_init is not None and graph.round:
        raise ValueError(
            f"`n_init` is for a graph that has learned nothing; this one has done {graph.round} "
            "rounds. Make a new one, or leave it out."
        )
    check_same_everywhere(graph, plan, backup_dir is not None, n_init)
    how = {"rounds": checked.rounds, "tolerance": plan.tolerance, "schedule": plan.schedule}
    if backup_dir is None:
        choose_start(graph, n_init, n_jobs, **how)
        return _run(graph, checked)
    with Backup(graph, backup_dir, plan.rounds, plan.schedule).held() as backup:
        checked = checked._replace(rounds=backup.resume())
        if not graph.round:
            choose_start(graph, n_init, n_jobs, backup, **how)
        return _run(graph, checked, backup)


def _checked(graph, plan):
    """The plan with modules instead of their names, lists of callbacks, and a function."""
    if not is_whole(plan.rounds) and np.ndim(plan.rounds):
        raise TypeError(
            "Graph.fit() takes no data: they are in the observations, where set_data() replaces "
            f"them. Pass a number of rounds: fit(rounds=5). Received: {shown(plan.rounds)}"
        )
    check_nonnegative_int(rounds=plan.rounds)
    check_tolerance(tolerance=plan.tolerance)
    given = check_dict("callbacks by module name", module_callbacks=plan.module_callbacks)
    own = {graph[name]: check_callbacks(callbacks) for name, callbacks in given.items()}
    for module, callbacks in own.items():
        module.check_callbacks(callbacks)
    return plan._replace(
        rounds=int(plan.rounds),
        schedule=_updates(graph, plan.schedule),
        callbacks=check_watch_rounds(graph, plan.callbacks),
        validation=_validation(graph, plan.validation),
        module_callbacks=own,
    )


def _run(graph, plan, backup=None):
    """Runs the rounds of a checked plan."""
    last = graph.round + plan.rounds
    progress = Progress(last, shown_here(plan.verbose), first=graph.round)
    observers = keras.callbacks.CallbackList(
        [graph.history, *plan.callbacks],
        model=graph,
        epochs=last,
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
    with stopping_on_interrupt(graph), graph.running():
        for _ in range(plan.rounds):
            observers.on_epoch_begin(graph.round)
            _check_modules(graph, plan.schedule)
            with rolled_back_on_error(*graph.modules):
                reported = _run_round(graph, plan, progress, observers)
                reported |= plan.validation()
            progress.end_round(graph.round, reported)
            figures = _aligned(graph.history, reported)
            graph.round += 1
            observers.on_epoch_end(graph.round - 1, figures)
            stops = any_host(graph.stop_training or _settled(reported, plan.tolerance))
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
        check_observed(graph, held_out)
        warn_of_units(graph, held_out)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"`validation_data` must be data as predict() takes them. {error}"
        ) from error
    if labels is not None:
        check_labels_in_order(x, labels, "The labels of `validation_data`")
        labels = as_labels(labels, "The labels of `validation_data`")
        rows = {len(part) for part in held_out.values()}
        if rows != {len(labels)} and not any(module.num_rows for module in graph.modules):
            raise ValueError(
                f"`validation_data` needs a label for each sample. Received: {len(labels)} labels "
                f"of {max(rows)} samples."
            )

    def validate():
        figures = graph.evaluate(x, labels)
        values = from_first_host([float(value) for value in figures.values()])
        return {f"val_{name}": value for name, value in zip(figures, values, strict=True)}

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


def _run_round(graph, plan, progress, observers):
    """Every module's updates, from the data upwards; the figures of the round."""
    figures = {}
    for step, (module, name) in enumerate(graph.names.items()):

        def watch(done, total, unit, name=name):
            progress.step(graph.round, name, done, total, unit)
            return graph.interrupted  # true: the module stops here

        module.callbacks, module.on_step = plan.module_callbacks.get(module, []), watch
        observers.on_train_batch_begin(step)
        try:
            for _ in range(plan.schedule.get(module, 1)):
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
