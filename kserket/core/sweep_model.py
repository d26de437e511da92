"""Keras models that learn by sweeps over the data and have no gradient."""

import functools
import inspect
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from kserket.core.attributes import refuse_change
from kserket.core.data_export import DataExport
from kserket.core.host_group import group_of, working_together
from kserket.core.keywords import KERAS_OPTIONS, check_keywords, keywords
from kserket.core.options import (
    check_callbacks,
    check_flag,
    check_needs_no_optimizer,
    check_nonnegative_int,
    check_positive_int,
    check_seed,
    check_tolerance,
)
from kserket.core.progress import showing_sweeps
from kserket.typing import Verbose

ROWS_FOR_THREADS = (
    50_000  # from here on the products of a sweep are large enough for several threads
)


class SweepModel(DataExport):
    """Base of the mixtures, chains and topic models: what their `fit` and files have in common.

    A sweep stands where Keras has an epoch. Parameters are non-trainable double precision
    weights. A subclass has `is_fitted` and `state`, and writes `_update`, `_signature` and
    `_mean_log_likelihood`.

    Args:
        n_init: Number of starts of the first fit; None where the model decides.
        tolerance: What a sweep must gain for another one to follow; None does every sweep.
        seed: Integer that determines starts and sampling, or None.
        **kwargs: What `keras.Model` takes.

    Raises:
        ValueError: If `n_init` is neither a positive integer nor None, or `seed` neither an integer
            >= 0 nor None.
    """

    optimizer = None  # what Keras' callbacks look for in a model

    def __init__(
        self, *, n_init: int | None, tolerance: float | None, seed: int | None = None, **kwargs: Any
    ) -> None:
        check_keywords(type(self).__name__, kwargs, keywords(type(self)) | KERAS_OPTIONS)
        if n_init is not None:
            check_positive_int(n_init=n_init)
        check_tolerance(tolerance=tolerance)
        kwargs.setdefault("dtype", "float64")
        super().__init__(**kwargs)
        self.n_init = n_init if n_init is None else int(n_init)
        self.tolerance = tolerance if tolerance is None else float(tolerance)
        self.seed = check_seed(seed)
        self._num_fits = 0

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self) and name in _options(type(self)):
            refuse_change(self, name)
        super().__setattr__(name, value)

    def merge(self, *statistics: Any) -> Self:
        """One update of the parameters from the statistics of all parts of the data.

        Args:
            *statistics: What `statistics` returned for each part, under the same parameters.

        Returns:
            The model itself.

        Raises:
            RuntimeError: If the model has not been fitted yet.
            ValueError: If no statistics are given.
        """
        if not statistics:
            raise ValueError(
                "merge() needs the statistics of one part of the data at least: "
                "model.merge(model.statistics(x))."
            )
        self._fitted()
        self._update(statistics)
        return self

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        *,
        return_dict: bool = False,
        verbose: Verbose = 0,
        **options: Any,
    ) -> Any:
        """The mean log likelihood of data.

        Args:
            x: As in `fit`.
            y: Not used.
            return_dict: Whether to return a dict, as Keras does on request.
            verbose: Not used.
            **options: What belongs to x in `fit`, such as the `lengths` of sequences.

        Returns:
            Mean log likelihood per sample, step or document, in nats; or `{"log_likelihood": it}`.

        Raises:
            RuntimeError: If the model has not been fitted yet.
            ValueError: If x does not fit.
        """
        check_flag(return_dict=return_dict)
        known = {*inspect.signature(self._mean_log_likelihood).parameters, "return_dict", "verbose"}
        check_keywords(f"{type(self).__name__}.evaluate", options, known)
        self._fitted()
        value = float(self._mean_log_likelihood(x, **options))
        return {"log_likelihood": value} if return_dict else value

    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        return_dict: bool = False,
    ) -> Any:
        """`evaluate`.

        Args:
            x: As in `fit`.
            y: Not used.
            sample_weight: Must be None.
            return_dict: As in `evaluate`.
        """
        options: Any = {} if sample_weight is None else {"sample_weight": sample_weight}
        return self.evaluate(x, return_dict=return_dict, **options)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Not needed.

        Raises:
            TypeError: Always: there is no optimizer and no loss.
        """
        raise TypeError(
            f"{type(self).__name__} learns by sweeps, without optimizer, loss or metrics. "
            "Call fit(x); compile() is not needed."
        )

    def train_on_batch(self, x: Any, y: Any = None, **kwargs: Any) -> None:
        """Not possible.

        Raises:
            TypeError: Always: a sweep needs all data.
        """
        add = "partial_fit(x)" if hasattr(self, "partial_fit") else "merge(statistics(x), ...)"
        raise TypeError(
            f"{type(self).__name__} has no train_on_batch(): a sweep sees all data. Call fit(x), "
            f"or {add} where data come in parts."
        )

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        store["num_fits"] = np.array(self._num_fits)

    def load_own_variables(self, store: Any) -> None:
        entries = {name: store[name] for name in store.keys()}
        self._num_fits = int(np.asarray(entries.pop("num_fits", 0)))
        super().load_own_variables(entries)
        self.check_parameters()

    def get_config(self) -> dict[str, Any]:
        options = {"n_init": self.n_init, "tolerance": self.tolerance, "seed": self.seed}
        return {**super().get_config(), **options}

    _signed: tuple[str, ...] = ()  # names of the parameters that may be negative

    def check_parameters(self) -> None:
        """Checks that the parameters can have been learned, as those of a file are.

        Raises:
            ValueError: If one is not finite, or negative where it cannot be.
        """
        for name, weight in self._parameters.items() if self.built else ():
            value = weight.numpy()
            if not np.isfinite(value).all():
                raise ValueError(f"The parameter {name} of {self.name} must be finite.")
            if name not in self._signed and (value < 0).any():
                raise ValueError(f"The parameter {name} of {self.name} must not be negative.")

    def _check_number(self, option, callbacks):
        """Raises ValueError for a callback that loads weights before their number is found."""
        for callback in check_callbacks(callbacks):
            if isinstance(callback, keras.callbacks.BackupAndRestore):
                raise ValueError(
                    f"{self.name} finds `{option}` in this fit, and BackupAndRestore loads weights "
                    f"before it. Give `{option}`, or leave the callback out."
                )

    def _update(self, statistics):
        """Puts in the parameters that follow from a tuple of statistics."""
        raise TypeError(f"{type(self).__name__} must define _update(statistics).")

    def _mean_log_likelihood(self, x):
        """The figure of `evaluate`, a float."""
        raise TypeError(f"{type(self).__name__} must define _mean_log_likelihood(x).")

    def _add_parameters(self, shapes):
        """Weights by name, from their shapes by name; all zero."""
        return {
            name: self.add_weight(
                name=name, shape=shape, initializer="zeros", trainable=False, dtype="float64"
            )
            for name, shape in shapes.items()
        }

    def _gather(self, kind, prefix=""):
        """The weights named by the fields of a `NamedTuple` class, after a prefix, as one."""
        return kind(*(self._parameters[prefix + name].numpy() for name in kind._fields))

    def _assign(self, values, prefix=""):
        """Puts the fields of a `NamedTuple` into the weights named by them, after a prefix."""
        for name, value in zip(values._fields, values, strict=True):
            self._parameters[prefix + name].assign(value)

    def _fitted(self):
        """`state`; RuntimeError before the first fit."""
        if not self.is_fitted:
            raise RuntimeError(f"{self.name} has not been fitted yet. Call fit(x) first.")
        return self.state

    def _check_built(self):
        self._fitted()

    def _make_rng(self):
        return np.random.default_rng(None if self.seed is None else [self.seed, self._num_fits])

    def _sweep(self, run, adopt, figure, epochs, callbacks, verbose, num_rows):
        """Learns under Keras callbacks, which see the parameters that each sweep arrived at.

        Args:
            run: Called with `report(sweep, num_sweeps, value, reached)`, which it calls after
                each sweep; returns what the last one reached.
            adopt: Called with what a sweep reached; puts it into the weights.
            figure: Name of `value` in logs and history.
            epochs: Number of sweeps.
            callbacks: Keras callbacks. One that has `reads_weights = False` does not cause
                weights to be written in every sweep.
            verbose: As in `fit`.
            num_rows: N, rows of the data.

        Returns:
            A `keras.callbacks.History`.
        """
        check_nonnegative_int(epochs=epochs)
        callbacks = check_callbacks(callbacks)
        check_needs_no_optimizer(self.name, callbacks)
        are_read = any(getattr(callback, "reads_weights", True) for callback in callbacks)
        observers = keras.callbacks.CallbackList(
            callbacks, add_history=True, model=self, epochs=epochs, steps=1, verbose=0
        )
        self.stop_training = False
        with (
            working_together(group_of(self.distribute_strategy)),
            showing_sweeps(self.name, figure, verbose) as show,
            threads_for(num_rows),
        ):

            def report(sweep, num_sweeps, value, reached):
                if are_read:
                    adopt(reached)
                observers.on_epoch_begin(done + sweep - 1)
                observers.on_epoch_end(done + sweep - 1, {figure: float(value)})
                show(done + sweep, num_sweeps, float(value))
                if self.stop_training or (done and done + sweep >= num_sweeps):
                    raise StopIteration

            observers.on_train_begin()
            done, self._initial_epoch = self._initial_epoch or 0, None  # BackupAndRestore sets it
            if done < epochs or not epochs:
                adopt(run(report))
            observers.on_train_end()
        self._num_fits += 1
        return self.history


def threads_for(num_rows):
    """Within it products of few rows use one thread, those of many what the process allows.

    Where threads of two libraries, or another process, share a core, each small product waits for
    threads that wait for each other, which takes many times as long as the product itself.

    Args:
        num_rows: N, rows of the data.

    Returns:
        A context manager.
    """
    return threadpool_limits(1 if num_rows < ROWS_FOR_THREADS else None, user_api="blas")


@functools.lru_cache
def _options(cls):
    """What the constructor of the library's class takes; a subclass has its own way with its own.

    Options that Keras changes itself, such as `name`, are left out.
    """
    own = next(base for base in cls.__mro__ if base.__module__.partition(".")[0] == "kserket")
    return keywords(own) - KERAS_OPTIONS
