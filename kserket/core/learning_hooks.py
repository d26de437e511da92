"""The hooks of a module that learns, each with a default, and what may be set on it."""

from __future__ import annotations

import random
import zlib
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from kserket import hosts
from kserket.core import parameters, tensors
from kserket.core.attributes import Folder, OwnFolder
from kserket.core.inference import Inference
from kserket.core.messenger import Received
from kserket.core.module import Module
from kserket.core.options import (
    check_choice,
    check_flag,
    check_labels,
    check_needs_no_optimizer,
    check_seed,
)
from kserket.core.progress import Steps
from kserket.row_names import row_names_of
from kserket.typing import Array, Mode, hook


class LearningHooks(OwnFolder, Module):
    """What a module that learns does with its model; a subclass writes what it can do.

    Mode, seed, labels and folders are checked when they are set.

    Attributes:
        load_dir: The folder of an earlier run, or None.
        seed_key: What tells its random numbers from those of others with the same seed.
    """

    parameters_file = "parameters.h5"
    model_class = keras.Model  # what `build_model` makes, if it is a Keras model
    load_dir = Folder()
    seed_key: str
    start = 0  # which of several runs of a graph this is
    _seed: int | None
    callbacks: list[keras.callbacks.Callback]
    on_step: Any
    _posterior: Any
    _callbacks_were_asked_for = False

    @hook
    def build_model(self, *data: Any) -> Any:
        """Makes the model for these data, its weights built.

        Args:
            *data: What `read` returned. A module without a `read` of its own receives `inputs`
                alone, the list of messages or arrays.

        Returns:
            A `keras.Model`, or anything with `get_parameters` and `set_parameters` below.
        """
        raise TypeError(f"{type(self).__name__} must define build_model(inputs).")

    @hook
    def learn(self, *data_and_rng: Any) -> dict[str, float]:
        """Trains `self.model`, going on from where it is.

        Args:
            *data_and_rng: What `read` returned, as in `infer`, and the `numpy.random.Generator` of
                this seed, module and round: `learn(inputs, prior, rng)` or `learn(data, rng)`.

        Returns:
            Dict of figures that learning has anyway, such as `{"loss": 101.5}`.
        """
        raise TypeError(f"{type(self).__name__} must define learn(inputs, prior, rng).")

    @hook
    def infer(self, *data: Any) -> Inference:
        """What the model concludes in its present state. Changes nothing.

        Args:
            *data: What `read` returned: `inputs, prior`, or one value of your own.

        Returns:
            An `Inference`.
        """
        raise TypeError(f"{type(self).__name__} must define infer(inputs, prior).")

    @hook
    def infer_learned(self, *data: Any) -> Inference:
        """`infer` in a round: for samples that were learned from, of which more may be known.

        Args:
            *data: As in `infer`.

        Returns:
            An `Inference`; by default that of `infer`.
        """
        return self.infer(*data)

    def settings(self) -> dict[str, Any]:
        """Dict of JSON values that saved parameters must agree with, such as sizes."""
        return {}

    def text_files(self, inference: Inference) -> dict[str, Any]:
        """Serket's text files.

        Args:
            inference: The `Inference` of the update.

        Returns:
            Dict from file name, with `{mode}` in it, to array (N, ...).
        """
        return {}

    def figures(self, inference: Inference) -> dict[str, float]:
        """Figures of an update that tell how well it went without any label.

        Args:
            inference: The `Inference` of the update.

        Returns:
            Dict of numbers.
        """
        return {}

    @property
    def asked_classes(self) -> int | None:
        """How many classes a user asked for and expects samples in; None where that is no aim."""
        return None

    def advice(self, live: int, num_seen: int) -> str | None:
        """What to warn of where classes are empty after a fit, or None.

        Args:
            live: How many classes are the likeliest of a sample at least.
            num_seen: Number of samples that were observed.

        Returns:
            What goes on after the module's name.
        """
        asked = self.asked_classes
        if asked is None or live >= asked:
            return None
        if num_seen < asked:
            return (
                f"was asked for {asked} classes, more than there are samples. Ask for fewer, or "
                "give more samples."
            )
        return (
            f"was asked for {asked} classes, and samples lie in {live} of them. The data may show "
            "fewer, or the start was poor. See docs/faq.md, 'It found one class only, or fewer "
            "than I asked for'."
        )

    def read(self, inputs: list[Any], prior: Any) -> Any:
        self.check(inputs, prior)
        return Received(inputs, prior)

    def check_callbacks(self, callbacks: list[keras.callbacks.Callback]) -> None:
        if getattr(self.model_class, "optimizer", True) is None:
            check_needs_no_optimizer(self.get_name(), callbacks)

    def widen(self, shapes: list[list[int]]) -> bool:
        """Makes the model read samples of more features than before, and keeps what it learned.

        Args:
            shapes: Shape of a sample of each input, lists.

        Returns:
            Whether it could. By default no model can.
        """
        return False

    def takes_shape(self, before: tuple[int, ...], now: tuple[int, ...]) -> bool:
        can_widen = type(self).widen is not LearningHooks.widen
        return super().takes_shape(before, now) or (can_widen and is_wider([before], [now]))

    def get_parameters(self) -> dict[str, Array]:
        """The model's parameters: dict from name to array."""
        return parameters.by_name(self.model)

    def set_parameters(self, arrays: dict[str, Any]) -> None:
        """Puts saved parameters into the model.

        Args:
            arrays: Dict as `get_parameters` returns it; further entries are ignored.

        Raises:
            ValueError: If one is missing or its shape differs.
        """
        parameters.set_by_name(self.model, arrays, self.get_name())

    def keras_rule(self, inputs: list[Any], prior: Any) -> tensors.Inference:
        """A `tensor_infer` for modules whose `infer` returns what a Keras model of one input does.

        Name it in the class: `tensor_infer = LearningModule.keras_rule`.

        Args:
            inputs: List of one tensor or message.
            prior: None: such a module does not hear what comes from above.

        Returns:
            A `kserket.core.tensors.Inference`: class probabilities if the last update had a
            posterior.

        Raises:
            TypeError: If the module hears something from above, or reads several modules.
        """
        if not isinstance(self.model, keras.Model) or prior is not None or len(inputs) != 1:
            raise TypeError(
                f"{self.get_name()} cannot be exported by keras_rule, which is for a Keras model "
                f"of one input and nothing above: {type(self).__name__} must define "
                "tensor_infer(inputs, prior)."
            )
        output = self.model(tensors.as_array(inputs[0]), training=False)
        if self._posterior is None:
            return tensors.Inference(output, [None])
        message = tensors.from_log(keras.ops.log(output))
        return tensors.Inference(message, [None], message)

    def fit_callbacks(self, total: int, unit: str) -> list[keras.callbacks.Callback]:
        """The callbacks of this update: the user's, and those of progress and Ctrl-C.

        Give them to `model.fit(callbacks=)` in `learn`. Without them `module_callbacks` of
        `Graph.fit` are not called, and an update cannot be stopped before it ends.

        Args:
            total: How many epochs, sweeps or steps this update has at most.
            unit: What they are called in the progress line, such as "epoch".

        Returns:
            List of Keras callbacks.
        """
        self._callbacks_were_asked_for = True
        return [*self.callbacks, Steps(self, total, unit)]

    # What may be set between updates ------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """ "learn" or "recog"; may be set between updates."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        check_choice("mode", mode, "learn", "recog")
        self._mode = mode

    @property
    def trainable(self) -> bool:
        """Whether `update()` learns in mode "learn"; may be set between updates."""
        return self._trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        check_flag(trainable=trainable)
        self._trainable = bool(trainable)

    @property
    def learnable(self) -> bool:
        """Whether `update()` changes parameters: in mode "learn", and while `trainable`."""
        return self.mode == "learn" and self.trainable

    @property
    def seed(self) -> int | None:
        """The integer that determines all randomness, or None until one is drawn."""
        return self._seed

    @seed.setter
    def seed(self, seed: int | None) -> None:
        self._seed = check_seed(seed)
        self._owns_seed = seed is not None

    @property
    def owns_seed(self) -> bool:
        """Whether it was given a seed of its own, which no graph replaces."""
        return self._owns_seed

    def take_seed(self, seed: int | None, key: str) -> bool:
        """Takes a graph's seed, unless this module was given one of its own.

        Args:
            seed: Integer.
            key: What tells this module's random numbers from those of others in the graph.

        Returns:
            Whether it was taken.
        """
        if self._owns_seed:
            return False
        self._seed, self.seed_key = seed, key
        return True

    def settle_seed(self) -> None:
        """Draws a seed if there is none yet."""
        if self._seed is None:
            self._seed = hosts.from_first_host(random.randrange(2**31))

    def _make_rng(self):
        self.settle_seed()
        numbers = [self.seed, zlib.crc32(self.seed_key.encode()), self.rounds]
        return np.random.default_rng([*numbers, self.start] if self.start else numbers)

    @property
    def keep_rounds(self) -> bool:
        """Whether the files of every update are kept; may be set between updates."""
        return self._keep_rounds

    @keep_rounds.setter
    def keep_rounds(self, keep_rounds: bool) -> None:
        check_flag(keep_rounds=keep_rounds)
        self._keep_rounds = bool(keep_rounds)

    @property
    def labels(self) -> Array | None:
        """Classes (N,) that are scored against, or None; may be set when other data come."""
        return self._labels

    @labels.setter
    def labels(self, labels: ArrayLike | None) -> None:
        self._labels, self._row_names = check_labels(labels), row_names_of(labels)


def is_wider(before, now):
    """Whether all samples are vectors, none shorter than before.

    Args:
        before: List of shapes of a sample, one per input.
        now: Another one.
    """
    if len(before) != len(now) or any(len(shape) != 1 for shape in (*before, *now)):
        return False
    return all(old[0] <= new[0] for old, new in zip(before, now, strict=True))
