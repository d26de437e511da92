"""What Keras callbacks ask of a model, for a graph."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from kserket.core import parameters
from kserket.core.loaded import check_parameters
from kserket.core.module import Module
from kserket.core.options import OF_OPTIMIZERS, check_callbacks
from kserket.core.parameters import rolled_back_on_error


class CallbackTarget:
    """Modules that Keras callbacks may watch, stop, and put earlier weights back into.

    Attributes:
        modules: List of the modules.
        stop_training: Whether a callback wants it to stop.
        interrupted: Whether Ctrl-C stopped it.
    """

    modules: list[Module]

    def __init__(self) -> None:
        self._history = keras.callbacks.History()
        self._history.set_model(self)
        self._history.epoch = []
        self.stop_training = self.interrupted = self._is_running = False
        self.optimizer = self.train_function = None  # what Keras callbacks look for in a model

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While rounds run, in which callbacks are called."""
        before, self._is_running = self._is_running, True
        try:
            yield
        finally:
            self._is_running = before

    @property
    def history(self) -> keras.callbacks.History:
        """`keras.callbacks.History` of all rounds."""
        return self._history

    @history.setter
    def history(self, history: keras.callbacks.History) -> None:
        """Ignored: Keras assigns every History that it calls, after each epoch."""

    def get_weights(self) -> list[Any]:
        """What every module has learned, one list.

        Returns:
            The weights of each Keras model, arrays; a copy of each model of another kind.
        """
        weights: list[Any] = []
        for model in (module.model for module in self._learned()):
            weights += model.get_weights() if _is_keras(model) else [copy.deepcopy(model)]
        return weights

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Puts back what `get_weights` returned. Messages stay as they are until the next round.

        Args:
            weights: The list.

        Raises:
            TypeError: If a weight holds something else than numbers.
            ValueError: If there are more or fewer than `get_weights` returns now, one has another
                shape or cannot have been learned. No module has changed then.
        """
        learned, weights = self._learned(), list(weights)
        sizes = [len(m.model.weights) if _is_keras(m.model) else 1 for m in learned]
        if len(weights) != sum(sizes):
            raise ValueError(
                f"`weights` must be what get_weights() returned, {sum(sizes)} entries. "
                f"Received: {len(weights)}"
            )
        parts = []
        for module, size in zip(learned, sizes, strict=True):
            own, weights = weights[:size], weights[size:]
            if _is_keras(module.model):
                own = parameters.checked(module.model, own, module.get_name())
            parts.append(own)
        with rolled_back_on_error(*learned):
            for module, own in zip(learned, parts, strict=True):
                if _is_keras(module.model):
                    module.model.set_weights(own)
                    check_parameters(module.model, f"{module.get_name()}, given such weights,")
                else:
                    module.model = copy.deepcopy(own[0])

    def _learned(self):
        """The modules that have a model."""
        return [module for module in self.modules if module.model is not None]


def _is_keras(model):
    return isinstance(model, keras.Model)


def check_watch_rounds(graph, callbacks):
    """Callbacks of rounds as a list.

    Args:
        graph: The `Graph`.
        callbacks: As Keras takes them.

    Raises:
        TypeError: If something is no callback.
        ValueError: If one needs what a graph does not have.
    """
    callbacks = check_callbacks(callbacks)
    for callback in callbacks:
        needs, cure = _needs(callback)
        if needs and not cure:
            fits = [name for module, name in graph.names.items() if _takes(module, callback)]
            cure = "Leave it out."
            if fits:
                cure = f"Give it to a module that has: module_callbacks={{{fits[0]!r}: callback}}."
        if needs:
            raise ValueError(
                f"{type(callback).__name__} in `callbacks` needs {needs}, and a graph has none "
                f"of its own. {cure}"
            )
    return callbacks


def _needs(callback):
    """What a callback needs that only a single Keras model has, and the cure where it is known."""
    kinds, optimizer = keras.callbacks, "an optimizer"
    if isinstance(callback, kinds.BackupAndRestore):
        return "a file of weights", "Call fit(backup_dir=...) instead."
    if isinstance(callback, kinds.OrbaxCheckpoint):
        return "a file of weights", 'ModelCheckpoint("graph.keras") saves the whole graph.'
    if isinstance(callback, kinds.ModelCheckpoint) and callback.save_weights_only:
        return "a file of weights", "Leave save_weights_only=True out: it saves the whole graph."
    if isinstance(callback, kinds.TensorBoard):
        if callback.histogram_freq or callback.embeddings_freq:
            return "layers, for histogram_freq and embeddings_freq,", None
        return (optimizer if callback.write_steps_per_second else None), None
    return (optimizer if isinstance(callback, OF_OPTIMIZERS) else None), None


def _takes(module, callback):
    """Whether a callback can watch a module's own fits."""
    try:
        module.check_callbacks([callback])
    except ValueError:
        return False
    return True
