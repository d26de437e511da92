"""The one `update()` that every learning module shares."""

from __future__ import annotations

import contextlib
import random
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kserket import hosts, metrics
from kserket.core import messages, result_folder
from kserket.core.checking import check_data
from kserket.core.echo import without_echo
from kserket.core.inference import Inference, as_inference
from kserket.core.learning_hooks import LearningHooks, is_wider
from kserket.core.loaded import check_state
from kserket.core.messenger import Received, call
from kserket.core.module import Module
from kserket.core.named_columns import NamedColumns
from kserket.core.node import is_data, row_names_below
from kserket.core.options import check_choice, check_flag, check_labels, check_path, check_seed
from kserket.core.parameters import has_finite_weights, rolled_back_on_error
from kserket.core.progress import showing_steps
from kserket.core.user_line import user_level
from kserket.row_names import check_row_order
from kserket.typing import Floats, Mode, PathLike

# What a saved graph keeps of every module that learns.
_STATE = (
    *("mode", "trainable", "seed", "seed_key", "_owns_seed", "start", "fingerprint", "text_limit"),
    *("_belongs_to", "_input_shapes", "_posterior"),
)


class LearningModule(LearningHooks):
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

    samples_in_state = ("_posterior",)
    text_limit = 10_000_000
    warns_of_empty = True  # false where a run is a trial
    former_names = {"catogory": "category"}  # a misprint of Serket's manual

    def __init__(
        self,
        name: str,
        mode: Mode = "learn",
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
        seed = check_seed(seed)  # before a number is taken
        check_labels(labels)
        super().__init__(name)
        self.mode = mode
        self.labels = labels
        self.save_dir, self.load_dir = save_dir, load_dir
        self.seed = seed
        self.seed_key = name
        self.keep_rounds = keep_rounds
        self.model = None
        self.trainable = True
        self.callbacks = []
        self.on_step = None
        self.fingerprint = None
        self._belongs_to = None
        self._input_shapes = None
        self._posterior: messages.Categorical | None = None
        self._live: tuple[int, int] | None = None
        self._warnings: set[str] = set()

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
        with self.host_scope():
            self._update()
        if self.on_step is None:  # not in a round of a graph, which warns after the last one
            self._warn_after_update()

    def _update(self):
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
            self.send_backward_msgs(without_echo(self, inputs, prior, inference.downward))
            result_folder.write(self, inference, self._input_shapes)
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
            self._name_columns()
            return self.model
        must_load = self.mode == "recog" or not self.trainable or self.load_dir is not None
        found = result_folder.read_parameters(self, shapes) if must_load else None
        with _python_seed(int(self._make_rng().integers(2**31))), self.device_scope():
            self.model = self._build(data)
        if found is not None:
            try:
                result_folder.take(self, found)
            except Exception:
                self.model = None
                raise
            self.fingerprint = self._belongs_to = found.fingerprint
        self._input_shapes = shapes
        self._name_columns()
        return self.model

    def _take_shapes(self, shapes):
        """Widens the model where samples have more features now; else raises ValueError."""
        if not (is_wider(self._input_shapes, shapes) and self.widen(shapes)):
            raise ValueError(
                f"{self.get_name()} was built for samples of shape "
                f"{_join(self._input_shapes)} and now reads {_join(shapes)}. "
                "Use a new module for other data."
            )
        self._input_shapes = shapes

    def _build(self, data):
        """`build_model`, which takes inputs alone where the module has no `read` of its own."""
        return self.build_model(data.inputs if isinstance(data, Received) else data)

    def restore_parameters(self, arrays: dict[str, Any]) -> None:
        """Makes the model for the messages that there are, and puts saved parameters into it.

        Args:
            arrays: Dict, as `get_parameters` returned it.
        """
        self.model = self._build(self.read(*self.get_messages()))
        self.set_parameters(arrays)

    def _name_columns(self):
        """Gives a Keras model the names of the columns that observations below have."""
        if isinstance(self.model, NamedColumns):
            self.model.take_columns([getattr(source, "columns", None) for source in self.inputs])

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
            self.warn_once(
                "was given module_callbacks, and its learn() calls none of them. Give its fit the "
                "callbacks that self.fit_callbacks(epochs, 'epoch') returns."
            )
        return logs

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
    def posterior(self) -> Floats | None:
        """Class probabilities (N, K) of the last update: evidence times what came from above."""
        return None if self._posterior is None else self._posterior.probs

    def forget_samples(self) -> None:
        super().forget_samples()
        self._posterior = None

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

    def check_options(self, num_samples: int | None) -> None:
        name = self.get_name()
        check_state(self, self.get_state())
        check_row_order(*row_names_below(self), ("`category`", self._row_names))
        if self.labels is None or num_samples is None:
            return
        if len(self.labels) != num_samples:
            raise ValueError(
                f"{name} reads {num_samples} samples, but `category` holds {len(self.labels)} "
                f"labels. Set {self.name or 'module'}.labels to one label per sample, or to None."
            )

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
            if not is_data(module):  # which checked its data when it took them
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
        """A prior as `Categorical` (N, K), or None; ValueError if it is something else."""
        if prior is None:
            return None
        try:
            return messages.as_categorical(prior, num_classes)
        except ValueError as error:
            raise ValueError(
                f"{self.get_name()} needs class probabilities from above. {error}"
            ) from error

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

    def _score(self, inference: Inference) -> dict[str, float]:
        """Scores against the labels, where there are both."""
        if self.labels is None or inference.posterior is None:
            return {}
        pairs = self.labels, inference.posterior.classes
        if hosts.num_hosts() > 1:
            pairs = metrics.pairs_of_hosts(*pairs)
        return metrics.clustering_scores(*pairs)

    def count_live(self, inference: Inference) -> int:
        """How many classes are the likeliest of a sample at least, of those of all hosts.

        Args:
            inference: The `Inference` of the update, with a posterior.
        """
        posterior, missing = inference.posterior, inference.evidence.missing
        counts = np.bincount(posterior.classes, minlength=posterior.shape[1])
        num_seen = len(posterior) if missing is None else int((~missing).sum())
        counts, num_seen = hosts.sum_over_hosts((counts, num_seen))
        live = int((counts > 0).sum())
        self._live = (live, int(num_seen)) if self.learnable else None
        return live

    def empty_classes(self) -> str | None:
        """A warning of classes without samples in the last update; None without reason for it.

        There is one for each update that learned. After it there is none until the next one.
        """
        counted, self._live = self._live, None
        return self.advice(*counted) if counted is not None and self.warns_of_empty else None

    def _warn_after_update(self):
        """Warns of empty classes after an update that no others follow in a loop.

        Where modules learn below, or some read this one, later rounds may mend them.
        """
        text, live = None, self._live
        last = not self.readers and not any(getattr(m, "learnable", False) for m in self.inputs)
        if last or (live is not None and live[0] == 1):
            text = self.empty_classes()
        if text is not None:
            self.warn_once(text)

    def warn_once(self, text: str) -> None:
        """Warns of something that a user should look into, once in a module's life.

        Args:
            text: What goes on after the module's name.
        """
        if text not in self._warnings:
            self._warnings.add(text)
            warnings.warn(f"{self.get_name()} {text}", stacklevel=user_level())


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


def _all_missing(inputs):
    """Whether no row of any input was observed, on any host."""
    missing = [messages.missing_rows(message) for message in inputs]
    return not hosts.any_host(not all(mask is not None and mask.all() for mask in missing))


def _join(shapes):
    return " and ".join(str(tuple(shape)) for shape in shapes)
