"""Its module: `NN`."""

import inspect
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kserket.core import compiled_loop, messages, tensors
from kserket.core.attributes import Fixed
from kserket.core.inference import Inference
from kserket.core.learning_module import LearningModule
from kserket.core.node import is_data
from kserket.core.options import LARGEST_SINGLE, check_classes, check_positive, check_positive_int
from kserket.core.registry import register_module
from kserket.nn import losses, script_model
from kserket.nn.data import Data, read
from kserket.nn.model import SupervisedHead, check_network
from kserket.typing import Mode, PathLike

_STATE = "itr1", "itr2", "batch_size1", "batch_size2", "learning_rate", "_loss_values"


@register_module("kserket")
class NN(LearningModule):
    """Serket's `nn.NN`: a network from a module's classes to a target, and a message back.

    It learns from samples whose target is there, predicts the target of the others, and tells the
    classifier below which class a target speaks for. Subclasses may define Serket's
    `model(x, y, input_dim, output_dim)`, which returns a loss and an optimizer.

    Args:
        itr1: Number of iterations in which the network learns in one update: epochs when
            `batch_size1` is given, else steps on the whole data.
        itr2: Number of steps in which the message is found.
        name: Module name.
        batch_size1: Batch size of learning; None takes the whole data in every step.
        batch_size2: Samples whose message is found at a time; None is all. It changes nothing but
            the memory that is needed.
        mode: "learn" or "recog" (recognition).
        network: Keras model from class probabilities (N, K) to the target (N, ...), instead of one
            hidden layer of 64 ReLU units.
        loss: Name of a Keras loss, such as "mse", "categorical_crossentropy" or
            "sparse_categorical_crossentropy", or a `keras.losses.Loss`.
        learning_rate: Step size of Adam for the network.
        category: Optional classes (N,), used to score and for nothing else.
        save_dir: Folder in which `module003_nn/` is made; None writes nothing.
        load_dir: A module's own folder to take parameters from.
        seed: Integer that determines all randomness.
        keep_rounds: Whether the files of every update are kept, see `LearningModule`.

    Messages:
        Reads: `Categorical` (N, K) of a classifier, and the target (N, ...): an observation, or
            another module. Missing rows in either.
        Forward: `Categorical` (N, K): the classifier's probabilities times what the target says.
        Backward: to the classifier, what the target says times what came from above (a missing
            target says nothing); to the target, what is predicted without it.
        Prior: `Categorical` (N, K), uniform by default.

    Files:
        `parameters.h5`, `loss.txt` (one line per iteration of the last update),
        `message_{mode}.txt` (N, K), what the classifier was sent, `Pdz_{mode}.txt` (N, K), and
        with `category` `acc_{mode}.txt`.

    Raises:
        ValueError: If an option is unknown, or classes, targets, network and loss do not fit.

    Reference:
        Taniguchi, Nakamura, Suzuki, Kuniyasu, Hayashi, Taniguchi, Horii and Nagai,
        "Neuro-SERKET", New Generation Computing 38, 2020.

    Example:

    ```python
    import numpy as np

    import kserket as srk
    from kserket import gmm, nn

    rng = np.random.default_rng(0)
    classes = np.arange(300) % 3
    x = 6.0 * np.eye(3)[classes] + rng.normal(size=(300, 3))
    y = np.where(np.arange(300) < 30, classes, np.nan)[:, None]  # the name of one in ten
    gmm1 = gmm.GMM(3, save_dir=None)
    nn1 = nn.NN(300, 300, loss="sparse_categorical_crossentropy", save_dir=None)
    gmm1.connect(srk.Observation(x, name="point"))
    nn1.connect(gmm1, srk.Observation(y, name="label", allow_missing=True))
    graph = srk.Graph(nn1, seed=0)
    graph.fit(rounds=2, verbose=0)
    print((graph.predict({"point": x}, "label")[:, 0] == classes).mean())
    ```
    """

    model_class = SupervisedHead
    links_samples = False
    network, loss = Fixed(), Fixed()
    category = LearningModule.labels
    former_names = {"seaquence_size": None}  # of networks that read sequences

    def __init__(
        self,
        itr1: int = 5000,
        itr2: int = 5000,
        name: str = "nn",
        batch_size1: int | None = None,
        batch_size2: int | None = None,
        mode: Mode = "learn",
        *,
        network: keras.Model | None = None,
        loss: Any = "mse",
        learning_rate: float = 0.001,
        category: Any = None,
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
        seed: int | None = None,
        keep_rounds: bool = False,
    ) -> None:
        check_positive(learning_rate=learning_rate, most=LARGEST_SINGLE)
        _check_counts(itr1, itr2, batch_size1, batch_size2)
        keras.losses.get(loss)  # a wrong one is an error here
        check_network(network)
        super().__init__(
            name,
            mode,
            labels=category,
            save_dir=save_dir,
            load_dir=load_dir,
            seed=seed,
            keep_rounds=keep_rounds,
        )
        self.model: SupervisedHead | Any
        self.itr1, self.itr2 = int(itr1), int(itr2)
        self.batch_size1, self.batch_size2 = batch_size1, batch_size2
        self.network, self.learning_rate = network, learning_rate
        self.loss = keras.losses.get(loss) if isinstance(loss, dict) else loss  # of a file
        self._loss_values: list[float] = []

    @property
    def learning_rate(self) -> float:
        """Step size of Adam; may be set between updates."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        check_positive(learning_rate=value, most=LARGEST_SINGLE)
        self._learning_rate = float(value)

    def check_options(self, num_samples: int | None) -> None:
        _check_counts(self.itr1, self.itr2, self.batch_size1, self.batch_size2)
        super().check_options(num_samples)

    def get_config(self) -> dict[str, Any]:
        loss = self.loss if isinstance(self.loss, str) else keras.losses.serialize(self.loss)
        return {**super().get_config(), "loss": loss}

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), **{name: getattr(self, name) for name in _STATE}}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        for name in _STATE:
            setattr(self, name, state.get(name, getattr(self, name)))

    def read(self, inputs: list[Any], prior: Any) -> Data:
        data = read(inputs, prior, self.get_name())
        self._check_target(data.y[data.told], self.inputs[1].get_name())
        return data

    def check_observed(self, x: Any, name: str) -> None:
        if not is_data(self.inputs[0]):  # else nothing tells which of the two it is
            x, missing = np.asarray(x), messages.missing_rows(x)
            self._check_target(x if missing is None else x[~missing], name)

    def _check_target(self, y, name):
        """Raises ValueError if targets do not suit the loss."""
        loss = keras.losses.get(self.loss)
        wanted = None
        if losses.is_sparse(loss):
            learned = self.model is not None and self.model.is_adapted
            most = (self.model.output_size if learned else np.inf) - 1
            if ((y != np.round(y)) | (y < 0) | (y > most)).any():
                wanted = f"numbers of classes, from 0 to {most:g}" if learned else "whole numbers"
        elif losses.activation(loss) in ("sigmoid", "softmax") and ((y < 0) | (y > 1)).any():
            wanted = "probabilities, from 0 to 1"
        if wanted:
            raise ValueError(
                f"{self.get_name()} with loss={self.loss!r} needs a target of {wanted}. {name} "
                f"ranges from {np.min(y):g} to {np.max(y):g}. Choose another loss, or a `network` "
                "with more outputs."
            )

    def build_model(self, data: Data) -> SupervisedHead:
        network, loss, optimizer, num_outputs = self.network, self.loss, None, None
        if self._is_script:
            network, loss, optimizer = self._from_script(data.log_probs.shape[1], data.y.shape)
        if losses.is_sparse(keras.losses.get(self.loss)):
            num_outputs = _count_classes(data)
        model = SupervisedHead(
            data.log_probs.shape[1],
            data.y.shape[1:],
            network,
            loss,
            num_outputs=num_outputs,
            seed=int(self._make_rng().integers(2**31 - 8)),
            name=tensors.identifier(self.name),
        )
        model.compile(optimizer or keras.optimizers.Adam(self.learning_rate))
        return model

    @property
    def _is_script(self):
        """Whether the class states network and loss by Serket's `model`."""
        return inspect.isfunction(getattr(type(self), "model", None))

    def _from_script(self, num_classes, shape):
        """Network, loss and optimizer that a script's `model` states for targets (N, D)."""
        if len(shape) != 2:
            raise ValueError(
                f"model() of {type(self).__name__} reads targets (N, D). Received: shape {shape}"
            )
        return script_model.read(self, num_classes, shape[1])

    def learn(self, data: Data, rng: np.random.Generator) -> dict[str, float]:
        rows = data.told & (data.seen | (data.log_prior is not None))
        if not rows.any():
            return {}
        y, targets = data.y[rows], data.y[data.told]
        if not self.model.is_adapted:
            if self.model.is_sparse and self.network is None:  # it may have seen no name before
                with self.device_scope():
                    self.model = self.build_model(data)
            self.model.adapt(targets)
        self._wired()
        if not self._is_script:  # which brings its own
            self.model.optimizer.learning_rate = self.learning_rate
        history = compiled_loop.fit(
            self.model,
            (data.belief[rows], y),
            batch_size=self.batch_size1 or len(y),
            epochs=self.itr1,
            seed=int(rng.integers(2**31)),
            callbacks=self.fit_callbacks(self.itr1, "epoch"),
            dtypes=("float32", "float64"),
        )
        self._loss_values = history.history["loss"]
        return {name: values[-1] for name, values in history.history.items()}

    def _log_message(self, data):
        """What targets say of the class, (N, K); 0 where there is none, or nothing was learned."""
        logs = np.zeros(data.log_probs.shape)
        if self.model.is_adapted:
            logs[data.told] = self._wired().log_message(
                data.y[data.told], self.itr2, self.batch_size2
            )
        return logs

    def _wired(self):
        """The model, its loss stated again where it is a script's and was left out of a file."""
        if self._is_script and self.model.loss_function is None:
            shape = (None, *self.model.target_shape)
            self.model.loss_function = self._from_script(self.model.num_classes, shape)[1]
        return self.model

    def infer(self, data: Data) -> Inference:
        logs, told = self._log_message(data), data.told & self.model.is_adapted
        evidence = messages.Categorical.from_log(data.log_probs + logs, ~(data.seen | told))
        heard = 0.0 if data.log_prior is None else data.log_prior
        predicted = messages.Deferred(data.y.shape, lambda: self._predict(data.belief))
        return Inference(
            evidence,
            [messages.Categorical.from_log(logs + heard), predicted],
            messages.Categorical.from_log(evidence.log_probs + heard),
        )

    def _predict(self, probs):
        """Expected targets of class probabilities."""
        parts = [
            keras.ops.convert_to_numpy(self.model.predict_tensor(probs[start : start + 4096]))
            for start in range(0, len(probs), 4096)
        ]
        return np.concatenate(parts)

    def evaluate(self, data: Data) -> dict[str, float]:
        if not (data.told.any() and self.model.is_adapted):
            return {}
        self._wired()
        return self.model.evaluate(
            data.belief[data.told], data.y[data.told], verbose=0, return_dict=True, batch_size=4096
        )

    def generate(self, latent: Any, num_samples: int, rng: np.random.Generator) -> list[Any]:
        num_classes = self.model.num_classes
        latent = rng.integers(num_classes, size=num_samples) if latent is None else latent
        latent = check_classes("latent", latent, num_samples, num_classes)
        return [latent, self._predict(np.eye(num_classes)[latent])]

    def terms(self) -> Any:
        return ()

    def tensor_infer(self, inputs: list[Any], prior: Any) -> tensors.Inference:
        """`infer` in TensorFlow operations; see `Module.tensor_infer`."""
        classes, target = tensors.without_gaps(inputs[0]), inputs[1]
        if not tensors.is_categorical(target):
            target = tensors.as_gaussian(target)
        y = tf.cast(target.array, "float64")
        unseen, untold = (
            tf.zeros(tf.shape(y)[:1], "bool") if part.missing is None else part.missing
            for part in (classes, target)
        )
        untold |= tf.reduce_all(self.model.scale.value == 0)  # nothing was learned
        told = tf.where(~untold)
        said = self._wired().message_tensor(tf.gather_nd(y, told), self.itr2)
        log_probs = classes.log_probs
        log_probs = tf.where(unseen[:, None], tf.zeros_like(log_probs), log_probs)
        logs = tf.scatter_nd(told, said, tf.shape(log_probs, tf.int64))
        logs = tf.cast(logs, log_probs.dtype)
        heard = tf.zeros_like(logs) if prior is None else prior.log_probs
        belief = tensors.from_log(log_probs + heard)
        evidence = tensors.from_log(log_probs + logs, unseen & untold)
        return tensors.Inference(
            evidence,
            [tensors.from_log(logs + heard), *self.tensor_decode(belief.array)[1:]],
            tensors.from_log(evidence.log_probs + heard),
        )

    def tensor_decode(self, latent: Any) -> list[Any]:
        return [latent, tf.cast(self.model.predict_tensor(latent), latent.dtype)]

    def tensor_generate(self, latent: Any, seed: Any) -> list[Any]:
        return self.tensor_decode(latent)

    def text_files(self, inference: Inference) -> dict[str, Any]:
        files = {
            "message_{mode}.txt": inference.downward[0].probs,
            "Pdz_{mode}.txt": inference.posterior.probs,
        }
        if self.mode == "learn" and self._loss_values:
            files["loss.txt"] = np.array(self._loss_values)
        return files

    def set_parameters(self, arrays: dict[str, Any]) -> None:
        """Those of a network of as many outputs as the file has, where that is the default one."""
        last = arrays.get("bias_2")
        if self.network is None and self.model.is_sparse and last is not None:
            if len(last) != self.model.output_size:
                config = {**self.model.get_config(), "num_outputs": len(last)}
                self.model = SupervisedHead.from_config(config)
                self.model.compile(keras.optimizers.Adam(self.learning_rate))
        super().set_parameters(arrays)


def _count_classes(data):
    """How many classes targets name, 2 at least."""
    return int(data.y[data.told].max(initial=1)) + 1


def _check_counts(itr1, itr2, batch_size1, batch_size2):
    """Raises ValueError unless they are whole numbers, or None where that is allowed."""
    check_positive_int(
        itr1=itr1,
        itr2=itr2,
        batch_size1=1 if batch_size1 is None else batch_size1,
        batch_size2=1 if batch_size2 is None else batch_size2,
    )
