"""What the modules of all autoencoders have in common: `AutoencoderModule`."""

import abc
import collections
import contextlib
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from kserket import hosts, storage
from kserket.core import compiled_loop, messages, optimizers, tensors
from kserket.core.attributes import Fixed
from kserket.core.autoencoder import fitting
from kserket.core.autoencoder.data import Data
from kserket.core.autoencoder.inputs import check_unit_interval
from kserket.core.autoencoder.model import LARGEST, Autoencoder
from kserket.core.autoencoder.networks import Networks, own_networks
from kserket.core.inference import Inference
from kserket.core.keywords import in_words_of
from kserket.core.learning_module import LearningModule
from kserket.core.node import is_data
from kserket.core.options import LARGEST_SINGLE, check_positive, check_positive_int
from kserket.typing import Array, Mode

FORMER_NAMES = {  # what Serket's autoencoders call their options
    "epoch": "itr",
    "RE": {
        "BCE": {"likelihood": "bernoulli"},
        "MSE": {"likelihood": "gaussian", "variance": 1.0},
    },
    "loss_step": None,  # losses of every epoch are kept
}
_NETWORKS = "encoder", "decoder"


class AutoencoderModule(LearningModule, metaclass=abc.ABCMeta):
    """Base of the modules that own an autoencoder.

    A family states `model_class`, what it accepts from above (`_check_prior`, `_read_prior`) and
    what it sends up (`_conclude`, `tensor_infer`).

    Args:
        name: Module name.
        mode: "learn" or "recog".
        options: Dict of the model's options but its networks.
        networks: Keras models for encoder and decoder, or None.
        itr: Number of epochs, or of steps on the whole data.
        batch_size: Batch size; None takes the whole data in every step.
        learning_rate: Step size of Adam.
        *common: `save_dir`, `load_dir`, `seed` and `keep_rounds` of `LearningModule`.
    """

    parameters_file = "model.ckpt"
    links_samples = False
    evidence_uses_prior = False

    latent_dim, likelihood, variance, encoder, decoder = (Fixed() for _ in range(5))
    hidden_encoder_dim, hidden_decoder_dim, weight_stddev = Fixed(), Fixed(), Fixed()
    _words = {  # noqa: RUF012  what modules call options of their models
        "kernel_stddev": "weight_stddev",
        "kl_weight": "KL_param",
        "encoder_units": "hidden_encoder_dim",
        "decoder_units": "hidden_decoder_dim",
    }

    def __init__(
        self,
        name: str,
        mode: Mode,
        options: dict[str, Any],
        networks: tuple[Any, Any],
        itr: int,
        batch_size: int | None,
        learning_rate: float,
        *common: Any,
    ) -> None:
        check_positive_int(itr=itr, batch_size=1 if batch_size is None else batch_size)
        check_positive(learning_rate=learning_rate, most=LARGEST_SINGLE)
        with in_words_of(type(self), self.model_class, **self._words):
            model = self.model_class(**dict(zip(_NETWORKS, networks, strict=True)), **options)
        super().__init__(name, mode, None, *common)
        self.model: Any
        self._options = options
        self.itr, self.batch_size = int(itr), batch_size and int(batch_size)
        self._learning_rate = float(learning_rate)
        self.encoder, self.decoder = networks
        self.latent_dim, self.likelihood = model.latent_dim, model.likelihood
        self.variance, self.weight_stddev = model.variance, model.kernel_stddev
        self.hidden_encoder_dim = model.encoder_units
        self.hidden_decoder_dim = model.decoder_units
        self._losses: list[float] = []

    build_encoder = None
    build_decoder = None

    @property
    def kl_weight(self) -> float:
        """alpha, the weight of the KL divergence."""
        if self.model is None:
            return self._options["kl_weight"]
        return float(self.model.kl_weight.numpy())

    @kl_weight.setter
    def kl_weight(self, value: float) -> None:
        check_positive(kl_weight=value, allow_zero=True, most=LARGEST)
        self._options["kl_weight"] = float(value)
        if self.model is not None:
            self.model.kl_weight.assign(value)

    KL_param = kl_weight

    @property
    def learning_rate(self) -> float:
        """Step size of Adam; may be set between updates."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        check_positive(learning_rate=value, most=LARGEST_SINGLE)
        self._learning_rate = float(value)
        if self.model is not None:
            self.model.optimizer.learning_rate = self._learning_rate

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config | ({"KL_param": self.kl_weight} if "KL_param" in config else {})

    def get_state(self) -> dict[str, Any]:
        return {
            **super().get_state(),
            "itr": self.itr,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "losses": self._losses,
            "kl_weight": self.kl_weight,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.itr = state.get("itr", self.itr)
        self.batch_size = state.get("batch_size", self.batch_size)
        self._learning_rate = state.get("learning_rate", self._learning_rate)
        self._losses, self.kl_weight = state["losses"], state["kl_weight"]

    def check_options(self, num_samples: int | None) -> None:
        super().check_options(num_samples)
        if self.model is None and len(self.inputs) == 1 and is_data(self.inputs[0]):
            given = dict(zip(_NETWORKS, (self.encoder, self.decoder), strict=True))
            networks = Networks(given, self.latent_dim, None, None, None, self.model_class.heads)
            with self._own_words():
                networks.check_given(np.shape(self.inputs[0].get_forward_msg())[1:])

    def settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("latent_dim", "likelihood", "variance")}

    def read(self, inputs: list[Any], prior: Any) -> Any:
        check_positive_int(itr=self.itr, batch_size=self.batch_size or 1)  # may have been set since
        if len(inputs) != 1:
            raise ValueError(
                f"{self.get_name()} reads one module. Received: {len(inputs)}. "
                "Concatenate the data, or use one module for each."
            )
        self._check_prior(prior)
        if self.sends_back and isinstance(inputs[0], messages.Categorical):
            below = self.inputs[0].get_name()
            raise ValueError(
                f"{self.get_name()} reads class probabilities of {below}, and predicts "
                "numbers, which cannot be sent back there. Read without sending back: "
                f"{self.name or 'vae'}.connect({self.inputs[0].name or 'module'}, backward=False)."
            )
        if self.likelihood == "bernoulli":
            check_unit_interval(np.asarray(inputs[0]), self.inputs[0].get_name())
        parts = self._read_prior(prior, (len(inputs[0]), self.latent_dim))
        return Data(np.asarray(inputs[0]), parts, messages.missing_rows(inputs[0]))

    @abc.abstractmethod
    def _check_prior(self, prior):
        """Raises ValueError if a message from above, or None, cannot be used."""

    @abc.abstractmethod
    def _read_prior(self, prior, shape):
        """A message from above, or None, as arrays of this shape by the model's input names."""

    @abc.abstractmethod
    def _conclude(self, statistics, data):
        """What goes up, and the latent variables (N, L) that x is reconstructed from.

        Args:
            statistics: What the model's `encode` returns.
            data: `Data`.
        """

    def check_observed(self, x: ArrayLike, name: str) -> None:
        if self.likelihood == "bernoulli":
            cure = f"Scale it as what {self.get_name()} learns from was scaled, such as x / 255."
            check_unit_interval(x, name, cure)

    def build_model(self, data: Any) -> Autoencoder:
        shape = data.x.shape[1:]
        seed = int(self._make_rng().integers(2**31 - 8))
        networks, optimizer = own_networks(self, shape)
        with self._own_words():
            model = self.model_class(
                **self._options, **networks, seed=seed, name=tensors.identifier(self.name)
            )
            model.adapt(data.observed()["x"])
        model.compile(optimizer or keras.optimizers.Adam(self.learning_rate))
        self._learning_rate = float(np.asarray(model.optimizer.learning_rate))
        return model

    @contextlib.contextmanager
    def _own_words(self):
        """Errors about networks name the module, and `build_encoder` where that made them."""
        words = {name: f"build_{name}" for name in _NETWORKS if getattr(self, f"build_{name}")}
        try:
            with in_words_of(type(self), self.model_class, **words):
                yield
        except ValueError as error:
            raise ValueError(f"{self.get_name()}: {error}") from error.__cause__

    def learn(self, data: Any, rng: np.random.Generator) -> dict[str, float]:
        parts = data.observed()
        self.model.seed_generator.state.assign([int(rng.integers(2**31)), 0])
        with self._rate_kept():
            history = compiled_loop.fit(
                self.model,
                (parts,),
                batch_size=self.batch_size or len(parts["x"]),
                epochs=self.itr,
                seed=int(rng.integers(2**31)),
                callbacks=[*self._schedule(), *self.fit_callbacks(self.itr, "epoch")],
                dtypes=(fitting.dtypes(self.model, parts),),
            )
        self._losses = history.history["loss"]
        fitting.warn_of_probabilities(self.model, parts["x"])
        return {name: values[-1] for name, values in history.history.items()}

    @contextlib.contextmanager
    def _rate_kept(self):
        """What callbacks make of the optimizer's `learning_rate` in an update ends with it."""
        optimizer = self.model.optimizer
        own = np.float32(optimizer.learning_rate) == np.float32(self.learning_rate)
        try:
            yield
        finally:
            if own and isinstance(optimizer.learning_rate, keras.Variable):  # else a user's own
                optimizer.learning_rate = self.learning_rate

    def _schedule(self):
        """Keras callbacks of every fit, before the user's."""
        return []

    def infer(self, data: Any) -> Inference:
        statistics = self.model.encode_unchecked(data.x)
        if not storage.every(lambda part: np.isfinite(part).all(axis=1), statistics[0]):
            raise FloatingPointError(
                f"{self.get_name()} has diverged: posterior means are not finite. Its model is "
                "what it was before this update, and nothing was written or sent. Scale the data, "
                "or lower the learning rate."
            )
        evidence, latent = self._conclude(statistics, data)
        reconstruction = messages.Deferred(data.x.shape, lambda: self.model.decode(latent))
        return Inference(evidence, [reconstruction])

    def figures(self, inference: Inference) -> dict[str, float]:
        """Latent dimensions that carry something: what is sent of them has a variance above 0.01.

        Reference: Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", 2016.
        """
        latent, missing = np.asarray(inference.evidence), messages.missing_rows(inference.evidence)
        if missing is not None:
            latent = storage.apply(np.nan_to_num, latent)
        _, spread = hosts.moments(latent, None if missing is None else ~missing)
        active = int((spread > 0.01).sum())
        if active == 0 and self.mode == "learn":
            self.warn_once(
                "has collapsed: no latent dimension carries anything of the data, so modules "
                "above have nothing to learn from. Lower KL_param, train longer, or use the "
                "likelihood that the data have."
            )
        return {"active_units": active}

    def evaluate(self, data: Any) -> dict[str, float]:
        parts = data.observed()
        if len(parts["x"]) == 0:
            return {}
        sums = collections.Counter()
        for rows in storage.chunks(*parts.values()):
            part = {name: storage.read(array, rows) for name, array in parts.items()}
            figures = self.model.evaluate(part, verbose=0, return_dict=True, batch_size=4096)
            sums.update({name: value * len(part["x"]) for name, value in figures.items()})
        return {name: value / len(parts["x"]) for name, value in sums.items()}

    def generate(self, latent: Any, num_samples: int, rng: np.random.Generator) -> list[Any]:
        if latent is None:
            return [self.model.sample(num_samples, seed=rng)]
        return [self.model.decode(np.asarray(latent, "float32"))]

    def terms(self) -> Any:
        return ()

    def tensor_decode(self, latent: Any) -> list[Any]:
        return [self.model.decode_tensor(latent)]

    def tensor_generate(self, latent: Any, seed: Any) -> list[Any]:
        return self.tensor_decode(latent)

    def text_files(self, inference: Inference) -> dict[str, Any]:
        files = {
            "z_{mode}.txt": np.asarray(inference.evidence),
            "x_hat_{mode}.txt": inference.downward[0],
        }
        if self.mode == "learn":
            files["loss.txt"] = np.array(self._losses)
        return files

    def get_parameters(self) -> dict[str, Array]:
        state = optimizers.state(self.model)
        return {**super().get_parameters(), **{name: part.numpy() for name, part in state.items()}}

    def set_parameters(self, arrays: dict[str, Any]) -> None:
        alpha = self.kl_weight
        if self.likelihood == "gaussian":  # files without location and scale
            arrays = {**self.model.standardization.unchanged(), **arrays}
        super().set_parameters(arrays)
        self.model.kl_weight.assign(alpha)
        if not self.model.optimizer.built:
            with self.device_scope():
                self.model.optimizer.build(self.model.trainable_variables)
        if optimizers.restore(self.model, arrays):
            if isinstance(self.model.optimizer.learning_rate, keras.Variable):
                self.model.optimizer.learning_rate = self.learning_rate
        elif self.mode == "learn":
            self.warn_once(
                "takes the saved weights, but starts its optimizer afresh: the one that was saved "
                "has other variables."
            )
