"""The one `update()` that every learning module shares."""

from __future__ import annotations

import contextlib
import pathlib
import random
import warnings
import zlib
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike

from kserket import metrics
from kserket.core import messages, result_folder, tensors
from kserket.core.checking import check_data
from kserket.core.loaded import check_state
from kserket.core.module import Module, Observation, Received, call
from kserket.core.options import (
    Folder,
    check_choice,
    check_flag,
    check_labels,
    check_needs_no_optimizer,
    check_path,
    check_seed,
)
from kserket.core.progress import Steps, showing_steps
from kserket.core.rollback import has_finite_weights, rolled_back_on_error
from kserket.typing import Array, Floats, Mode, PathLike, hook

# What a saved graph keeps of every module that learns.
_STATE = (
    *("mode", "trainable", "seed", "seed_key", "_owns_seed", "fingerprint", "text_limit"),
    *("_belongs_to", "_input_shapes", "_posterior"),
)


class Inference(NamedTuple):
    """What one pass of a module over its inputs concludes.

    Attributes:
        evidence: What the inputs say about the module's latent variable; it goes up.
        downward: A list with one message per input; None sends nothing to that one.
        posterior: `Categorical`: evidence times what came from above; None for a module that
            does not classify.
    """

    evidence: Any
    downward: list[Any]
    posterior: messages.Categorical | None = None


def as_inference(module: Module, inference: Any) -> Inference:
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

    A subclass writes three hooks, and those of the others that apply. Each has a default.

    | what you write | when it is called | default |
    |---|---|---|
    | `build_model` | once, before the first `learn` | none |
    | `learn` | in every update that learns; all randomness from `rng` | none |
    | `infer` | after it, and for new data; changes nothing | none |
    | `check` | first: raise here what cannot be used | accepts everything |
    | `read` | after it: the data that the other hooks receive | messages as they came |
    | `infer_learned` | after `learn` instead of `infer` | `infer` |
    | `evaluate` | in `Graph.evaluate` | no figures |
    | `figures` | after `infer` in an update | no figures |
    | `settings` | when parameters are written or read | no settings |
    | `text_files` | when result files are written | no files |
    | `get_parameters`, `set_parameters` | for a model that is not from Keras | a Keras model's |
    | `widen` | when samples have more features than before | no model can |

    What you then get: `update()`, learning and recognition, result files, seeds, callbacks and
    progress (`fit_callbacks`), scores against labels, rollback of an update that fails, saving.

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
            one at the first update, so that `keras.utils.set_random_seed` is honored.
        keep_rounds: Whether the files of every update are kept, too, in folders `000`, `001`, ...
            beside those of the last one. May be set between updates.

    Attributes:
        text_limit: Most numbers in one text file, 10 million. A larger array, such as the
            reconstruction of 60,000 images, is not written; None writes all.

    Raises:
        ValueError: If an option is unknown.
    """

    parameters_file = "parameters.h5"
    model_class = keras.Model  # what `build_model` makes, if it is a Keras model
    text_limit = 10_000_000
    save_dir, load_dir = Folder(), Folder()
    former_names = {"catogory": "category"}  # a misprint of Serket's manual

    def __init__(
        self,
        name: str,
        mode: Mode = "learn",
        *,
        labels: ArrayLike | None = None,
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
        seed: int | None = None,
        keep_rounds: bool = False,
    ) -> None:
        check_choice("mode", mode, "learn", "recog")
        for option, folder in {"save_dir": save_dir, "load_dir": load_dir}.items():
            if folder is not None:
                check_path(**{option: folder})
        check_flag(keep_rounds=keep_rounds)
        seed, labels = check_seed(seed), check_labels(labels)  # before a number is taken
        super().__init__(name)
        self.mode = mode
        self.labels = labels
        self.save_dir, self.load_dir = save_dir, load_dir
        self.seed = seed
        self.seed_key = name
        self.keep_rounds = keep_rounds
        self.model = None
        self.trainable = True
        self.callbacks: list[keras.callbacks.Callback] = []
        self.on_step = None
        self.fingerprint = None
        self._belongs_to = None
        self._input_shapes = None
        self._posterior: messages.Categorical | None = None
        self._warnings: set[str] = set()

    # What a family writes ---------------------------------------------------------------

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

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the values that attributes of their names have now."""
        config = super().get_config()
        now = {**self.get_state(), "save_dir": self.save_dir, "load_dir": self.load_dir}
        now |= dict.fromkeys(("labels", "category"), self.labels)
        now["keep_rounds"] = self.keep_rounds
        return config | {name: value for name, value in now.items() if name in config}

    def write_below(self, folder: PathLike | None) -> None:
        self.save_dir = folder

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), **{name: getattr(self, name) for name in _STATE}}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        for name in _STATE:
            setattr(self, name, state.get(name, getattr(self, name)))

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

    def read(self, inputs: list[Any], prior: Any) -> Any:
        self.check(inputs, prior)
        return Received(inputs, prior)

    def check_options(self, num_samples: int | None) -> None:
        name = self.get_name()
        check_state(self, self.get_state())
        if self.labels is None or num_samples is None:
            return
        if len(self.labels) != num_samples:
            raise ValueError(
                f"{name} reads {num_samples} samples, but `category` holds {len(self.labels)} "
                f"labels. Set {self.name or 'module'}.labels to one label per sample, or to None."
            )

    def check_callbacks(self, callbacks: list[keras.callbacks.Callback]) -> None:
        if getattr(self.model_class, "optimizer", True) is None:
            check_needs_no_optimizer(self.get_name(), callbacks)

    # The round --------------------------------------------------------------------------

    def update(self) -> None:
        """One round of this module: read, learn or load, infer, write, send.

        Raises:
            RuntimeError: If nothing is connected, or an input has sent nothing yet.
            FileNotFoundError: In recognition or with `trainable=False`, if nothing was learned.
            FloatingPointError: If learning diverged.
            OSError: If a file cannot be written.
            ValueError: If inputs, messages or saved parameters do not fit.

        Whatever is raised, the module is what it was before, and nothing was written or sent.
        """
        inputs, prior = self.get_messages()
        self._check(inputs, prior)
        data = self.read(inputs, prior)
        with rolled_back_on_error(self):
            self.ensure_model(data, [list(np.shape(message)[1:]) for message in inputs])
            logs = self._learn(data) if self.learnable and not _all_missing(inputs) else {}
            inference = as_inference(self, call(self.infer_learned, data))
            self.logs = {
                **logs,
                **self.figures(inference),
                **self._score(inference),
                "message_change": messages.change(self.get_forward_msg(), inference.evidence),
            }
            self.set_forward_msg(inference.evidence)
            self._posterior = inference.posterior
            self.send_backward_msgs(inference.downward)
            result_folder.write(self, inference)
            self.rounds += 1

    def ensure_model(self, data: Any, shapes: list[list[int]]) -> Any:
        """The model, made (and in recognition loaded) at the first call.

        Args:
            data: What `read` returned.
            shapes: Shape of a sample of each input, lists.

        Returns:
            `self.model`.
        """
        if self.model is not None:
            if shapes != self._input_shapes:
                self._take_shapes(shapes)
            return self.model
        must_load = self.mode == "recog" or not self.trainable or self.load_dir is not None
        found = result_folder.read_parameters(self, shapes) if must_load else None
        with _python_seed(int(self._make_rng().integers(2**31))), self._devices():
            self.model = self._build(data)
        if found is not None:
            try:
                result_folder.take(self, found)
            except Exception:
                self.model = None
                raise
            self.fingerprint = self._belongs_to = found.fingerprint
        self._input_shapes = shapes
        return self.model

    def recog(self, load_dir: PathLike | None = None) -> None:
        """One update in mode "recog": infers, writes files named `_recog`, and sends messages.

        Args:
            load_dir: A module's own folder to take parameters from first. By default it keeps those
                that it has, or takes them from where `load_dir` of the module says.

        Raises:
            ValueError: If something does not fit, or whatever else `update()` raises. The module is
                then what it was.
        """
        if load_dir is not None:
            check_path(load_dir=load_dir)
        before = {name: vars(self)[name] for name in ("_mode", "load_dir", "model")}
        self.mode = "recog"
        if load_dir is not None:
            self.load_dir, self.model = load_dir, None
        try:
            LearningModule.update(self)
        except Exception:
            vars(self).update(before)
            raise
        self.mode = before["_mode"]

    def predict(self) -> list[Any]:
        """What the module predicts of its inputs from the message from above alone.

        Without such a message, from what it has learned alone. The predictions are sent down, and
        nothing else is changed.

        Returns:
            List with an array per input.

        Raises:
            RuntimeError: If nothing has been learned.
        """
        check_learned(self)
        inputs, prior = self.get_messages()
        silent = [messages.silent(message) for message in inputs]
        inference = as_inference(self, call(self.infer, self.read(silent, prior)))
        self.send_backward_msgs(inference.downward)
        return [None if part is None else np.array(part) for part in inference.downward]

    @property
    def keep_rounds(self) -> bool:
        """Whether the files of every update are kept; may be set between updates."""
        return self._keep_rounds

    @keep_rounds.setter
    def keep_rounds(self, keep_rounds: bool) -> None:
        check_flag(keep_rounds=keep_rounds)
        self._keep_rounds = bool(keep_rounds)

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

    @property
    def labels(self) -> Array | None:
        """Classes (N,) that are scored against, or None; may be set when other data come."""
        return self._labels

    @labels.setter
    def labels(self, labels: ArrayLike | None) -> None:
        self._labels = check_labels(labels)

    @property
    def posterior(self) -> Floats | None:
        """Class probabilities (N, K) of the last update: evidence times what came from above."""
        return None if self._posterior is None else self._posterior.probs

    @property
    def folder(self) -> pathlib.Path | None:
        """The folder of this module's result files, or None."""
        return None if self.save_dir is None else self.save_dir / self.get_name()

    def forget_samples(self) -> None:
        super().forget_samples()
        self._posterior = None

    # Parameters -------------------------------------------------------------------------

    def get_parameters(self) -> dict[str, Array]:
        """The model's parameters: dict from name to array."""
        return dict(zip(_weight_names(self.model), self.model.get_weights(), strict=True))

    def set_parameters(self, arrays: dict[str, Any]) -> None:
        """Puts saved parameters into the model.

        Args:
            arrays: Dict as `get_parameters` returns it; further entries are ignored.

        Raises:
            ValueError: If one is missing or its shape differs.
        """
        names = _weight_names(self.model)
        for name, weight in zip(names, self.model.weights, strict=True):
            found, shape = arrays.get(name), tuple(weight.shape)
            if found is None or found.shape != shape or not _is_cast(found, weight):
                got = "nothing" if found is None else f"{found.shape}, {found.dtype}"
                raise ValueError(
                    f"The saved parameters do not fit {self.get_name()}: {name} needs shape "
                    f"{shape}, {weight.dtype}; the file holds {got}. Build the module with the "
                    "settings and networks it was learned with."
                )
        self.model.set_weights([arrays[name] for name in names])

    # Private ----------------------------------------------------------------------------

    def widen(self, shapes: list[list[int]]) -> bool:
        """Makes the model read samples of more features than before, and keeps what it learned.

        Args:
            shapes: Shape of a sample of each input, lists.

        Returns:
            Whether it could. By default no model can.
        """
        return False

    def takes_shape(self, before: tuple[int, ...], now: tuple[int, ...]) -> bool:
        can_widen = type(self).widen is not LearningModule.widen
        return super().takes_shape(before, now) or (can_widen and _is_wider([before], [now]))

    def _take_shapes(self, shapes):
        """Widens the model where samples have more features now; else raises ValueError."""
        if not (_is_wider(self._input_shapes, shapes) and self.widen(shapes)):
            raise ValueError(
                f"{self.get_name()} was built for samples of shape "
                f"{_join(self._input_shapes)} and now reads {_join(shapes)}. "
                "Use a new module for other data."
            )
        self._input_shapes = shapes

    def class_names(self, classes: Any) -> Any:
        """Classes in the names of the labels, as files hold them; their numbers where none fit.

        Args:
            classes: Integers (N,), negative where there is none.

        Returns:
            Array (N,). Labels that are no numbers name nothing.
        """
        if self.labels is None or self.labels.dtype.kind not in "biuf":
            return classes
        known = np.asarray(classes) >= 0  # else it has none
        names = np.array(classes, dtype=np.result_type(classes, self.labels))
        names[known] = metrics.match_labels(self.labels[known], names[known])[0]
        return names

    def _build(self, data):
        """`build_model`, which takes inputs alone where the module has no `read` of its own."""
        return self.build_model(data.inputs if isinstance(data, Received) else data)

    def _learn(self, data):
        """`learn`; FloatingPointError if it diverges."""
        self._callbacks_were_asked_for = False
        with showing_steps(self):
            logs = call(self.learn, data, self._make_rng())
            if "loss" in logs and not (
                np.isfinite(logs["loss"]) and has_finite_weights(self.model)
            ):
                raise FloatingPointError(
                    f"{self.get_name()} has diverged: its loss is {logs['loss']}, or its weights "
                    "are not finite. Its model is what it was before this update, and nothing was "
                    "written or sent. Scale the data, or lower the learning rate."
                )
        if self.callbacks and not self._callbacks_were_asked_for:
            self._warn_once(
                "was given module_callbacks, and its learn() calls none of them. Give its fit the "
                "callbacks that self.fit_callbacks(epochs, 'epoch') returns."
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
        self.check_options(rows)
        for module, message in zip(self.inputs, inputs, strict=True):
            if not isinstance(module, Observation):  # which checked its data when it took them
                check_data(np.asarray(message), module.get_name(), allow_missing=True)
        if prior is not None:
            check_data(np.asarray(prior), f"The message from above to {name}")
        starts = self.learnable and self.rounds == 0 and self.load_dir is None
        if starts and _all_missing(inputs):
            raise ValueError(
                f"{name} reads missing rows only. To learn for the first time it needs one that "
                "was observed."
            )

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
        if self._seed is None:
            self._seed = random.randrange(2**31)
        return np.random.default_rng([self.seed, zlib.crc32(self.seed_key.encode()), self.rounds])

    def _score(self, inference):
        """Scores against the labels, where there are both."""
        if self.labels is None or inference.posterior is None:
            return {}
        return metrics.clustering_scores(self.labels, inference.posterior.classes)


def check_learned(module: Module) -> None:
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


def _all_missing(inputs):
    """Whether no row of any input was observed."""
    missing = [messages.missing_rows(message) for message in inputs]
    return all(mask is not None and mask.all() for mask in missing)


def _is_wider(before, now):
    """Whether all samples are vectors, none shorter than before."""
    if len(before) != len(now) or any(len(shape) != 1 for shape in (*before, *now)):
        return False
    return all(old[0] <= new[0] for old, new in zip(before, now, strict=True))


def _is_cast(array, weight):
    """Whether an array and a weight hold numbers of one kind, such as floating point."""
    return (array.dtype.kind in "fV") == keras.backend.is_float_dtype(weight.dtype)


def _join(shapes):
    return " and ".join(str(tuple(shape)) for shape in shapes)
