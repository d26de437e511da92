"""The one `update()` that every learning module shares."""

import contextlib
import pathlib
import random
import warnings
import zlib
from typing import NamedTuple

import keras
import numpy as np

from kserket import metrics
from kserket.core import messages, result_folder, tensors
from kserket.core.checking import check_data
from kserket.core.module import Module, Observation
from kserket.core.options import check_choice, check_labels, check_seed
from kserket.core.progress import showing_steps
from kserket.core.rollback import has_finite_weights, rolled_back_on_divergence


class Inference(NamedTuple):
    """What one pass of a module over its inputs concludes.

    Attributes:
        evidence: What the inputs say about the module's latent variable; it goes up.
        downward: A list with one message per input; None sends nothing to that one.
        posterior: `Categorical`: evidence times what came from above; None for a module that
            does not classify.
    """

    evidence: object
    downward: list
    posterior: messages.Categorical | None = None


def as_inference(module, inference):
    """What a module's `infer` returned, its posterior as a `Categorical` where it was an array.

    Args:
        module: The `Module`.
        inference: What was returned.

    Returns:
        An `Inference`.

    Raises:
        TypeError: If it is something else.
        ValueError: If the posterior holds no class probabilities.
    """
    if not isinstance(inference, Inference):
        raise TypeError(
            f"infer() of {module.get_name()} must return a kserket.Inference(evidence, downward, "
            f"posterior). Received: {type(inference).__name__}"
        )
    if inference.posterior is None:
        return inference
    try:
        return inference._replace(posterior=messages.as_categorical(inference.posterior))
    except ValueError as error:
        raise ValueError(
            f"The posterior of {module.get_name()} holds no class probabilities. {error}"
        ) from error


class LearningModule(Module):
    """Base of the modules that own a model and let it learn.

    A subclass writes `build_model`, `learn` and `infer`; where they apply also `check`,
    `settings` and `text_files`. Then it has the whole life of a module: `update()`, learning
    and recognition, result files, seeds, `Graph`.

    Args:
        name: The module's name.
        mode: "learn" trains in every `update()`; "recog" only infers, with parameters that an
            earlier run saved.
        labels: Optional classes (N,) of any kind, used to score and for nothing else.
        save_dir: The folder in which `module001_{name}/` is made. None writes nothing.
        load_dir: A module's own folder, written by an earlier run. Recognition, and a module that
            is not `trainable` when it is first updated, read their parameters from there (by
            default from the folder this module would write); learning starts from them.
        seed: Integer that, with `name` and the round, determines all randomness. None draws
            one at the first update, so that `keras.utils.set_random_seed` is honoured.

    Attributes:
        text_limit: Most numbers in one text file, 10 million. A larger array, such as the
            reconstruction of 60,000 images, is not written; None writes all.

    Raises:
        ValueError: If an option is unknown.
    """

    parameters_file = "parameters.h5"
    _saved = (
        *Module._saved,
        *("mode", "trainable", "seed", "seed_key", "fingerprint", "text_limit"),
        *("_belongs_to", "_input_shapes", "_posterior"),
    )
    text_limit = 10_000_000
    evidence_uses_prior = True  # whether `infer` gives other evidence or messages under a prior

    def __init__(self, name, mode="learn", *, labels=None, save_dir=".", load_dir=None, seed=None):
        check_choice("mode", mode, "learn", "recog")
        seed, labels = check_seed(seed), check_labels(labels)  # before a number is taken
        super().__init__(name, learnable=mode == "learn")
        self.mode = mode
        self.labels = labels
        self.save_dir = None if save_dir is None else pathlib.Path(save_dir)
        self.load_dir = None if load_dir is None else pathlib.Path(load_dir)
        self.seed = seed
        self.seed_key = name
        self.model = None
        self.trainable = True
        self.callbacks = []
        self.on_step = None
        self.fingerprint = None
        self._belongs_to = None
        self._input_shapes = None
        self._posterior = None
        self._warnings = set()

    # What a family writes ---------------------------------------------------------------

    def build_model(self, inputs):
        """Makes the model for these inputs, its weights built.

        Args:
            inputs: List of messages or arrays, one per connected module.

        Returns:
            A `keras.Model`, or anything with `get_parameters` and `set_parameters` below.
        """
        raise TypeError(f"{type(self).__name__} must define build_model(inputs).")

    def learn(self, inputs, prior, rng):
        """Trains `self.model`, going on from where it is.

        Args:
            inputs: List of messages or arrays.
            prior: The message from above, or None.
            rng: `numpy.random.Generator` of this seed, module and round.

        Returns:
            Dict of figures, such as `{"loss": 101.5}`.
        """
        raise TypeError(f"{type(self).__name__} must define learn(inputs, prior, rng).")

    def infer(self, inputs, prior):
        """What the model, as it is, concludes. Changes nothing.

        Args:
            inputs: List of messages or arrays.
            prior: The message from above, or None.

        Returns:
            An `Inference`.
        """
        raise TypeError(f"{type(self).__name__} must define infer(inputs, prior).")

    def infer_learned(self, inputs, prior):
        """`infer` in a round: for samples that were learned from, of which more may be known."""
        return self.infer(inputs, prior)

    def check(self, inputs, prior):
        """Raises ValueError if inputs or prior cannot be used; called before anything changes."""

    def settings(self):
        """Dict of JSON values that saved parameters must agree with, such as sizes."""
        return {}

    def text_files(self, inference):
        """Serket's text files: dict from name, with `{mode}` in it, to array."""
        return {}

    def figures(self, inference):
        """Dict of figures of an update that tell how well it went without any label."""
        return {}

    def evaluate(self, inputs, prior):
        """Dict of figures of the model on these inputs, means over samples, in nats."""
        return {}

    def generate(self, latent, num_samples, rng):
        """Draws what the inputs would hold.

        Args:
            latent: This module's own latent variable, drawn by the module above or asked for:
                classes (num_samples,) or vectors (num_samples, D); None draws it here.
            num_samples: How many.
            rng: `numpy.random.Generator`.

        Returns:
            List with one array per input: classes or vectors for a module, data for an
            observation.
        """
        raise TypeError(f"{type(self).__name__} cannot generate: it defines no generate().")

    def get_config(self):
        """The constructor's arguments, with what was set since in the place of what was given."""
        config = super().get_config()
        now = {name: getattr(self, name) for name in (*self._saved, "save_dir", "load_dir")}
        now |= dict.fromkeys(("labels", "category"), self.labels)
        return config | {name: value for name, value in now.items() if name in config}

    def tensor_infer(self, inputs, prior):
        """`infer` in TensorFlow operations, for `Graph.export`.

        Written here for a Keras model that maps one input to what the module sends up. Beside
        it a module may have `tensor_decode(latent)` and `tensor_generate(latent, seed)`, which
        return a list with one tensor per input: what a latent variable (N, K) or (N, D) means
        for it, and a draw of it.

        Args:
            inputs: List of tensors, `kserket.core.tensors.Gaussian` or `Categorical`.
            prior: `Categorical` from above, or None.

        Returns:
            A `kserket.core.tensors.Inference`.

        Raises:
            TypeError: If this module needs a method of its own.
        """
        if not isinstance(self.model, keras.Model) or prior is not None or len(inputs) != 1:
            raise TypeError(
                f"{self.get_name()} cannot be exported: {type(self).__name__} must define "
                "tensor_infer(inputs, prior)."
            )
        output = self.model(tensors.as_array(inputs[0]), training=False)
        if self._posterior is None:
            return tensors.Inference(output, [None])
        message = tensors.from_log(keras.ops.log(output))
        return tensors.Inference(message, [None], message)

    # The round --------------------------------------------------------------------------

    def update(self):
        """One round of this module: read, learn or load, infer, write, send.

        Raises:
            RuntimeError: If nothing is connected, or an input has sent nothing yet.
            FileNotFoundError: In recognition or with `trainable=False`, if nothing was learned.
            FloatingPointError: If learning diverged. The model is what it was before then, and
                nothing has been written or sent.
            ValueError: If inputs, messages or saved parameters do not fit. Nothing has been
                changed or written then.
        """
        inputs, prior = self.get_observations(), self.get_backward_msg()
        self._check(inputs, prior)
        self.ensure_model(inputs)
        logs = self._learn(inputs, prior) if self.mode == "learn" and self.trainable else {}
        inference = as_inference(self, self.infer_learned(inputs, prior))
        self.logs = {
            **logs,
            **self.figures(inference),
            **self._score(inference),
            "message_change": messages.change(self.get_forward_msg(), inference.evidence),
        }
        result_folder.write(self, inference)
        self.set_forward_msg(inference.evidence)
        self._posterior = inference.posterior
        self.send_backward_msgs(inference.downward)
        self.rounds += 1

    def ensure_model(self, inputs):
        """The model, made (and in recognition loaded) at the first call.

        Args:
            inputs: List of messages or arrays, as `build_model` gets them.

        Returns:
            `self.model`.
        """
        shapes = [list(np.shape(message)[1:]) for message in inputs]
        if self.model is not None:
            if shapes != self._input_shapes:
                raise ValueError(
                    f"{self.get_name()} was built for samples of shape "
                    f"{_join(self._input_shapes)} and now reads {_join(shapes)}. "
                    "Use a new module for other data."
                )
            return self.model
        must_load = self.mode == "recog" or not self.trainable or self.load_dir is not None
        found = result_folder.read_parameters(self, shapes) if must_load else None
        with _python_seed(int(self._make_rng().integers(2**31))), self._devices():
            self.model = self.build_model(inputs)
        if found is not None:
            arrays, fingerprint = found
            try:
                self.set_parameters(arrays)
            except Exception:
                self.model = None
                raise
            self.fingerprint = self._belongs_to = fingerprint
        self._input_shapes = shapes
        return self.model

    @property
    def labels(self):
        """Classes (N,) that are scored against, or None; may be set when other data come."""
        return self._labels

    @labels.setter
    def labels(self, labels):
        self._labels = check_labels(labels)

    @property
    def posterior(self):
        """Class probabilities (N, K) of the last update: evidence times what came from above."""
        return None if self._posterior is None else self._posterior.probs

    @property
    def folder(self):
        """The folder of this module's result files, or None."""
        return None if self.save_dir is None else self.save_dir / self.get_name()

    def forget_samples(self):
        super().forget_samples()
        self._posterior = None

    # Parameters -------------------------------------------------------------------------

    def get_parameters(self):
        """The model's parameters: dict from name to array."""
        return dict(zip(_weight_names(self.model), self.model.get_weights(), strict=True))

    def set_parameters(self, arrays):
        """Puts saved parameters into the model.

        Args:
            arrays: Dict as `get_parameters` returns it; further entries are ignored.

        Raises:
            ValueError: If one is missing or its shape differs.
        """
        names = _weight_names(self.model)
        for name, weight in zip(names, self.model.weights, strict=True):
            if name not in arrays or arrays[name].shape != tuple(weight.shape):
                got = arrays[name].shape if name in arrays else "nothing"
                raise ValueError(
                    f"The saved parameters do not fit {self.get_name()}: {name} needs shape "
                    f"{tuple(weight.shape)}, the file holds {got}. Build the module with the "
                    "settings and networks it was learned with."
                )
        self.model.set_weights([arrays[name] for name in names])

    # Private ----------------------------------------------------------------------------

    def _learn(self, inputs, prior):
        """`learn`, of which nothing stays if it diverges."""
        with rolled_back_on_divergence(self), showing_steps(self):
            logs = self.learn(inputs, prior, self._make_rng())
            if "loss" in logs and not (
                np.isfinite(logs["loss"]) and has_finite_weights(self.model)
            ):
                raise FloatingPointError(
                    f"{self.get_name()} has diverged: its loss is {logs['loss']}, or its weights "
                    "are not finite. Its model is what it was before this update, and nothing was "
                    "written or sent. Scale the data, or lower the learning rate."
                )
        return logs

    def _warn_once(self, text):
        """Warns of something that a user should look into, once in a module's life."""
        if text not in self._warnings:
            self._warnings.add(text)
            warnings.warn(f"{self.get_name()} {text}", stacklevel=4)

    def _check(self, inputs, prior):
        """Everything that can be wrong with inputs and prior, before anything changes."""
        name, rows = self.get_name(), len(inputs[0])
        if prior is not None and len(prior) != rows:
            raise ValueError(
                f"{name} reads {rows} samples, but the message from above holds {len(prior)}. "
                f"Both must hold one row per sample. {name}.set_backward_msg(None) forgets it."
            )
        if self.labels is not None and len(self.labels) != rows:
            raise ValueError(
                f"{name} reads {rows} samples, but `category` holds {len(self.labels)} labels. "
                f"Set {self.name or 'module'}.labels to one label per sample, or to None."
            )
        for module, message in zip(self.inputs, inputs, strict=True):
            if not isinstance(module, Observation):  # which checked its data when it took them
                check_data(np.asarray(message), module.get_name(), allow_missing=True)
        if prior is not None:
            check_data(np.asarray(prior), f"The message from above to {name}")
        missing = [messages.missing_rows(message) for message in inputs]
        if all(mask is not None and mask.all() for mask in missing):
            raise ValueError(f"{name} reads missing rows only. It needs one that was observed.")
        self.check(inputs, prior)

    def _check_classes(self, prior, num_classes):
        """Raises ValueError unless a prior is class probabilities (N, K), or None."""
        if prior is not None:
            try:
                messages.as_categorical(prior, num_classes)
            except ValueError as error:
                raise ValueError(
                    f"{self.get_name()} needs class probabilities from above. {error}"
                ) from error

    def _make_rng(self):
        if self.seed is None:
            self.seed = random.randrange(2**31)
        return np.random.default_rng([self.seed, zlib.crc32(self.seed_key.encode()), self.rounds])

    def _score(self, inference):
        """Scores against the labels, where there are both."""
        if self.labels is None or inference.posterior is None:
            return {}
        return metrics.clustering_scores(self.labels, inference.posterior.classes)


def check_learned(module):
    """Raises RuntimeError if a module has a model to learn and has learned nothing yet.

    Args:
        module: Any `Module`.
    """
    if isinstance(module, LearningModule) and module.model is None:
        raise RuntimeError(
            f"{module.get_name()} has learned nothing yet. Call graph.fit() or update() first."
        )


@contextlib.contextmanager
def _python_seed(seed):
    """Python's `random` at a seed for a while: layers without a seed of their own draw theirs."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _weight_names(model):
    """One name per weight, in order: its own, numbered where it is not the first of it."""
    seen, names = {}, []
    for weight in model.weights:
        seen[weight.name] = seen.get(weight.name, 0) + 1
        names.append(weight.name + (f"_{seen[weight.name]}" if seen[weight.name] > 1 else ""))
    return names


def _join(shapes):
    return " and ".join(str(tuple(shape)) for shape in shapes)
