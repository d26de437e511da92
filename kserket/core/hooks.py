"""The hooks of a module, each with a default, so that a graph never asks whether there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from kserket.core.messenger import Messenger, call
from kserket.typing import Array, Floats, PathLike, hook


class Hooks(Messenger):
    """What a module concludes, writes, draws and serves; a subclass writes what it can do."""

    evidence_uses_prior = True
    passes_through = False
    leaves_out_inputs = False
    takes_order = False  # whether it can learn together with a reader that learns an order
    learns_below = False  # whether it learns together with the module that it reads
    links_samples = True
    reads_sequences = False  # whether it has `lengths` of the sequences in the samples
    draws_inputs = True
    reads_gaps = False  # whether it can read rows of data of which single cells are NaN
    # How many rows it reads and sends, where these are its own.
    num_rows: tuple[int, int] | None = None
    tensor_decode: Callable[..., list[Any]] | None = None
    _input_shapes: Any = None  # shapes of a sample of each input, from when a model was made
    tensor_generate: Callable[..., list[Any]] | None = None

    @property
    def most_tensor_rows(self) -> int | None:
        """Rows beyond which `infer` is faster than `tensor_infer`; None where it never is."""
        return None

    @property
    def posterior(self) -> Floats | None:
        """Evidence times everything that came from above, (N, K), or None."""
        return None

    @property
    def holds_data(self) -> bool:
        """Whether it keeps rows of an observation that the observation no longer has."""
        return False

    def check_options(self, num_samples: int | None) -> None:
        """Raises ValueError if something that was set cannot be used.

        Called for every module of a graph before the first one learns in a round, so that a round
        is all or nothing.

        Args:
            num_samples: How many samples will be read, or None where that is not known yet.
        """

    def check_callbacks(self, callbacks: list[keras.callbacks.Callback]) -> None:
        """Raises ValueError if Keras callbacks cannot watch this module's own fits.

        Called for every module before the first one learns, as `check_options` is.

        Args:
            callbacks: Those of `module_callbacks` that name this module.
        """
        if callbacks:
            raise ValueError(
                f"`module_callbacks` names {self.get_name()}, which fits no model that callbacks "
                "could watch. Leave it out."
            )

    def check(self, inputs: list[Any], prior: Any) -> None:
        """Raises ValueError if inputs or prior cannot be used; called before anything changes.

        Args:
            inputs: List of messages or arrays, one per connected module.
            prior: The product of what came from above, or None.
        """

    def read(self, inputs: list[Any], prior: Any) -> Any:
        """Turns messages into the data that the other hooks work on, checked once.

        By default the messages themselves, after `check`; the hooks then receive `inputs` and
        `prior` as two arguments: `infer(inputs, prior)`; a module that writes `update()` itself
        receives arrays. What a `read` of your own returns they receive as one: `infer(data)`.

        Args:
            inputs: List of messages or arrays, one per connected module, with a row per sample.
            prior: The product of what came from above, or None.

        Returns:
            `Received`, or data of any other type.

        Raises:
            ValueError: If they cannot be used. Nothing has been changed then.
        """
        self.check(inputs, prior)
        return self._as_heard(inputs, prior)

    @hook
    def infer(self, *data: Any) -> Any:
        """What the module concludes in its present state. Changes nothing.

        Args:
            *data: What `read` returned: `inputs, prior`, or one value of your own.

        Returns:
            A `kserket.Inference`.

        Raises:
            TypeError: If the module does not define it.
        """
        raise TypeError(
            f"{self.get_name()} defines update() only. To predict new data it needs "
            "infer(inputs, prior), which returns a kserket.Inference and changes nothing."
        )

    @hook
    def evaluate(self, *data: Any) -> dict[str, float]:
        """How well the module describes data.

        Args:
            *data: As in `infer`.

        Returns:
            Dict of figures, means over samples, in nats. Empty by default.
        """
        return {}

    @hook
    def class_log_densities(self, *data: Any) -> Floats | None:
        """log p(what it reads | its class) of each sample, for the likelihood of a whole graph.

        Args:
            *data: As in `infer`; a prior is not looked at.

        Returns:
            Float64 array (N, K) in nats, rows of 0 where a sample is missing; None (the default)
            where it is not known exactly.
        """
        return None

    @hook
    def latent_bound(self, *data: Any) -> Floats | None:
        """E_q[log p(x|z)] + H(q) of a module that sends up q(z|x), for a bound of a whole graph.

        Args:
            *data: As in `infer`; a prior is not looked at.

        Returns:
            Float64 array (N,) in nats, 0 where a sample is missing; None (the default) where it is
            not known.
        """
        return None

    def joint_class_log_densities(self, data: Any, below: list[Any]) -> Floats | None:
        """log p(everything below | its class), as `class_log_densities` if it reads observations.

        Args:
            data: What `read` returned.
            below: For each input what this hook gives there, (N, K); its `latent_bound`, (N,), of
                a module that sends up q(z|x); None of an observation.

        Returns:
            Float64 array (N, K) in nats; None where it is not known exactly.
        """
        is_known = all(part is None for part in below)
        return call(self.class_log_densities, data) if is_known else None

    def joint_log_likelihood(self, data: Any, below: list[Any]) -> Floats | None:
        """log p(everything below) of the module at the top.

        Args:
            data: What `read` returned.
            below: As in `joint_class_log_densities`.

        Returns:
            Float64 array (N,) in nats, parts whose sum is the log likelihood of all samples; None
            (the default) where it is not known exactly.
        """
        return None

    def order_below(self, num_samples: int, num_classes: int) -> Any:
        """What it knows of the order of the classes that it reads, before both learn together.

        Asked by a module that `takes_order`, when it learns, of readers that `learns_below`.

        Args:
            num_samples: N.
            num_classes: K.

        Returns:
            What the module below understands, such as `inference.mixture_chain.Order`.

        Raises:
            TypeError: If the module does not define it.
        """
        raise TypeError(f"{type(self).__name__} must define order_below().")

    def take_order(self, found: Any) -> None:
        """Takes over what both have learned, in the update that follows.

        Args:
            found: What the module below learned, such as `inference.mixture_chain.Fit`.

        Raises:
            TypeError: If the module does not define it.
        """
        raise TypeError(f"{type(self).__name__} must define take_order().")

    def generate(self, latent: Any, num_samples: int, rng: np.random.Generator) -> list[Any]:
        """Draws what the inputs would hold.

        Args:
            latent: This module's own latent variable, drawn by the module above or asked for:
                classes (num_samples,) or vectors (num_samples, D); None draws it here.
            num_samples: How many.
            rng: `numpy.random.Generator`.

        Returns:
            List with one array per input: classes or vectors for a module, data for an
            observation.

        Raises:
            TypeError: If the module does not define it.
        """
        raise TypeError(f"{self.get_name()} cannot generate: it defines no generate().")

    def check_observed(self, x: ArrayLike, name: str) -> None:
        """Raises ValueError if new data of an observation that this module reads cannot be used.

        Called before anything is predicted. By default `read` of these data, where the module
        reads nothing else.

        Args:
            x: Array (N, ...), rows of NaN missing.
            name: What the observation is called.
        """
        if len(self.inputs) == 1:
            self.read([x], None)

    def fill_gaps(self, x: Array, answer: Array) -> Array | None:
        """New data of an observation that it reads, with what it expects in their gaps.

        Asked by `Graph.predict` of modules that can read rows with gaps (`reads_gaps`).

        Args:
            x: Array (N, D), NaN where a cell was not observed.
            answer: What it concluded of them, such as class probabilities (N, K).

        Returns:
            Array (N, D) without NaN; None (the default) where the other cells of a row say no more
            of a gap than `answer` does, whose prediction then stands there.
        """
        return None

    def takes_shape(self, before: tuple[int, ...], now: tuple[int, ...]) -> bool:
        """Whether samples of an input may come in another shape.

        Args:
            before: The shape that they had.
            now: The shape that they would have.
        """
        return self._input_shapes is None

    @hook
    def tensor_infer(self, inputs: list[Any], prior: Any) -> Any:
        """`infer` in TensorFlow operations, for `Graph.export` and a compiled `Graph.predict`.

        A module without it predicts by `infer`, and cannot be exported. Beside it a module may have
        `tensor_decode(latent)` and `tensor_generate(latent, seed)` (None where absent), which
        return a list with one tensor per input: what a latent variable (N, K) or (N, D) means for
        it, and a draw of it. What is computed from parameters belongs in `terms`.

        Args:
            inputs: List of tensors, `kserket.core.tensors.Gaussian` or `Categorical`.
            prior: `Categorical` from above, or None.

        Returns:
            A `kserket.core.tensors.Inference`.

        Raises:
            TypeError: If the module does not define it.
        """
        raise TypeError(
            f"{self.get_name()} cannot be exported: {type(self).__name__} defines no "
            "tensor_infer(inputs, prior), which says in TensorFlow what infer() says in NumPy."
        )

    @property
    def has_tensor_rule(self) -> bool:
        """Whether the module defines `tensor_infer`."""
        return type(self).tensor_infer is not Hooks.tensor_infer

    def terms(self) -> Any:
        """What `tensor_infer` needs of the parameters, computed once for as long as they stay.

        Called in NumPy, and again as soon as a variable of `model` has another value.
        `tensor_infer`, `tensor_decode` and `tensor_generate` receive it as their last argument,
        arrays as tensors: floating-point ones in the precision of the messages.

        Returns:
            A NamedTuple, list or dict of arrays and None. An empty one says that the rule needs
            nothing but the variables that it reads where it runs, such as those of Keras layers;
            the hooks are called without it. None says nothing: what was computed from parameters
            while the rule was traced is taken to be part of it, which is then traced again after
            every change.
        """
        return None

    def sample_terms(self, num_samples: int) -> dict[str, Any]:
        """Entries of `terms`, a NamedTuple, that belong to samples rather than to parameters.

        Args:
            num_samples: How many samples are asked for.

        Returns:
            Dict from name of an entry to array (num_samples, ...). Empty by default.
        """
        return {}

    def tensor_num_rows(self, terms: Any) -> Any:
        """How many rows it sends, where that is not how many it reads (`num_rows`).

        Args:
            terms: What `terms` and `sample_terms` returned, tensors.

        Returns:
            A number or a tensor (). That of `num_rows` by default.
        """
        return self.num_rows[1]

    def write_below(self, folder: PathLike | None) -> None:
        """Says where files are written from now on; called when a graph is loaded from a file.

        A file does not decide where a program writes. A module that writes files of its own
        overrides this.

        Args:
            folder: The folder, or None: nothing is written.
        """
