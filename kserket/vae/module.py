"""Its module: `VAE`."""

import collections
import contextlib
import numbers
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from kserket import hosts, storage
from kserket.core import compiled_loop, messages, optimizers, tensors
from kserket.core.attributes import Fixed
from kserket.core.inference import Inference
from kserket.core.keywords import in_words_of
from kserket.core.learning_module import LearningModule
from kserket.core.options import LARGEST_SINGLE, check_positive, check_positive_int, is_whole
from kserket.core.registry import register_module
from kserket.typing import Array, Mode, PathLike
from kserket.vae import fitting
from kserket.vae.data import as_data
from kserket.vae.inputs import check_unit_interval
from kserket.vae.model import LARGEST, VariationalAutoencoder
from kserket.vae.networks import own_networks

_FORMER_ORDER = (
    *("latent_dim", "epoch", "name", "batch_size", "KLD_weight", "RE", "load_dir", "loss_step"),
)


@register_module("kserket")
class VAE(LearningModule):
    """Serket's `vae.VAE`: compresses what it reads to a few real numbers.

    A few rounds of `update()` in turn with a classifier above shape the latent space by the
    classes found in it. The network and its optimizer live on from round to round.

    Args:
        latent_dim: Number of dimensions of latent variables.
        weight_stddev: Standard deviation of the initial weights.
        itr: Number of iterations in one update: epochs when `batch_size` is given, else steps
            on the whole data.
        name: Module name.
        hidden_encoder_dim: Number of nodes in the encoder.
        hidden_decoder_dim: Number of nodes in the decoder.
        batch_size: Batch size; None takes the whole data in every step.
        KL_param: Weight alpha of the KL divergence. `vae1.kl_weight = 2.0` changes it
            between updates.
        mode: "learn" or "recog" (recognition).
        encoder: Keras model to use instead of the documented network, see
            `VariationalAutoencoder`. Subclasses may define `build_encoder(x, latent_dim)`
            instead, which returns mean and log variance, or what else such a model may.
        decoder: Likewise; subclasses may define `build_decoder(z)`, which returns logits
            (Bernoulli) or the mean (Gaussian), or a pair of these and the optimizer to use.
        likelihood: "bernoulli" for data in [0, 1], or "gaussian".
        variance: Variance of the Gaussian likelihood, in the units of the data squared; None
            learns that of standardized data.
        learning_rate: Step size of Adam; also on parameters that were learned with another.
        save_dir: Folder in which `module001_vae/` is made; None writes nothing.
        load_dir: A module's own folder to take parameters from.
        seed: Integer that determines all randomness.
        keep_rounds: Whether the files of every update are kept, see `LearningModule`.

    Messages:
        Reads: x (N, ...), from one module; class probabilities with `backward=False` only.
        Forward: `Gaussian` q(z|x) (N, latent_dim); as an array its mean.
        Backward: the reconstruction, shape of x, made when it is first read.
        Prior: mu (N, latent_dim), or a `Gaussian` with its variance.

    Files:
        `model.ckpt` (TensorFlow checkpoint), `loss.txt` (one line per iteration of the last
        update), `x_hat_{mode}.txt` (probabilities or means), `z_{mode}.txt` (posterior means).

    Raises:
        ValueError: If an option is unknown, data are outside [0, 1] with the Bernoulli
            likelihood, or a reconstruction would have to be sent to a module of classes.

    Reference:
        Nakamura, Nagai and Taniguchi, "SERKET", Frontiers in Neurorobotics 12:25, 2018.

    Example:

    ```python
    import kserket as srk
    from kserket import vae

    x, _ = srk.datasets.load_digits()
    obs = srk.Observation(x)
    vae1 = vae.VAE(10, itr=2, batch_size=256, seed=0)
    vae1.connect(obs)
    vae1.update()
    print(vae1.get_forward_msg().shape, vae1.logs["loss"])
    ```
    """

    model_class = VariationalAutoencoder
    parameters_file = "model.ckpt"
    links_samples = False
    evidence_uses_prior = False
    learns_over_hosts = True

    latent_dim, likelihood, encoder, decoder = Fixed(), Fixed(), Fixed(), Fixed()
    hidden_encoder_dim, hidden_decoder_dim, weight_stddev = Fixed(), Fixed(), Fixed()
    variance = Fixed()
    former_names = {
        "epoch": "itr",
        "KLD_weight": "KL_param",
        "RE": {
            "BCE": {"likelihood": "bernoulli"},
            "MSE": {"likelihood": "gaussian", "variance": 1.0},
        },
        "loss_step": None,  # losses of every epoch are kept
    }

    def __init__(
        self,
        latent_dim: int,
        weight_stddev: float = 0.1,
        itr: int = 5000,
        name: str = "vae",
        hidden_encoder_dim: int = 100,
        hidden_decoder_dim: int = 100,
        batch_size: int | None = None,
        KL_param: float = 1,
        mode: Mode = "learn",
        *,
        encoder: keras.Model | None = None,
        decoder: keras.Model | None = None,
        likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
        variance: float | None = None,
        learning_rate: float = 0.01,
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
        seed: int | None = None,
        keep_rounds: bool = False,
    ) -> None:
        check_positive_int(itr=itr, batch_size=1 if batch_size is None else batch_size)
        check_positive(learning_rate=learning_rate, most=LARGEST_SINGLE)
        self._options: dict[str, Any] = {
            "latent_dim": latent_dim,
            "kernel_stddev": weight_stddev,
            "encoder_units": hidden_encoder_dim,
            "decoder_units": hidden_decoder_dim,
            "kl_weight": KL_param,
            "likelihood": likelihood,
            "variance": variance,
        }
        words = {"kernel_stddev": "weight_stddev", "kl_weight": "KL_param"}
        words |= {f"{side}_units": f"hidden_{side}_dim" for side in ("encoder", "decoder")}
        with in_words_of(VAE, VariationalAutoencoder, **words):  # a wrong one is an error here
            VariationalAutoencoder(encoder=encoder, decoder=decoder, **self._options)
        super().__init__(name, mode, None, save_dir, load_dir, seed, keep_rounds)
        self.model: VariationalAutoencoder | Any
        self.itr, self.batch_size = int(itr), batch_size and int(batch_size)
        self._learning_rate = float(learning_rate)
        self.latent_dim, self.likelihood, self.variance = int(latent_dim), likelihood, variance
        self.encoder, self.decoder = encoder, decoder
        self.hidden_encoder_dim = int(hidden_encoder_dim)
        self.hidden_decoder_dim = int(hidden_decoder_dim)
        self.weight_stddev = float(weight_stddev)
        self._losses = []

    build_encoder = None
    build_decoder = None

    @staticmethod
    def former_order(args: tuple[Any, ...]) -> tuple[str, ...] | None:
        """Names of positional arguments in Serket's order since 2019, if they come in it.

        There a number of epochs stands second: any whole number but 1.0. Here it is a standard
        deviation.

        Args:
            args: Tuple.
        """
        if len(args) < 2 or not is_whole(args[1], least=1):
            return None
        return _FORMER_ORDER if args[1] > 1 or isinstance(args[1], numbers.Integral) else None

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

    def settings(self) -> dict[str, Any]:
        names = "latent_dim", "likelihood", "variance"
        return {name: getattr(self, name) for name in names}

    def read(self, inputs: list[Any], prior: Any) -> Any:
        check_positive_int(itr=self.itr, batch_size=self.batch_size or 1)  # may have been set since
        if len(inputs) != 1:
            raise ValueError(
                f"{self.get_name()} reads one module. Received: {len(inputs)}. "
                "Concatenate the data, or use one VAE for each."
            )
        if prior is not None and np.shape(prior)[1:] != (self.latent_dim,):
            raise ValueError(
                f"{self.get_name()} needs a message of shape (N, {self.latent_dim}) from above. "
                f"Received: shape {np.shape(prior)}"
            )
        if self.sends_back and isinstance(inputs[0], messages.Categorical):
            below = self.inputs[0].get_name()
            raise ValueError(
                f"{self.get_name()} reads class probabilities of {below}, and a VAE predicts "
                "numbers, which cannot be sent back there. Read without sending back: "
                f"{self.name or 'vae'}.connect({self.inputs[0].name or 'module'}, backward=False)."
            )
        self.check_observed(np.asarray(inputs[0]), self.inputs[0].get_name())
        return as_data(inputs[0], prior)

    def check_observed(self, x: ArrayLike, name: str) -> None:
        if self.likelihood == "bernoulli":
            check_unit_interval(x, name)

    def build_model(self, data: Any) -> VariationalAutoencoder:
        shape = data.x.shape[1:]
        seed = int(self._make_rng().integers(2**31 - 8))
        networks, optimizer = own_networks(self, shape)
        model = VariationalAutoencoder(
            **self._options, **networks, seed=seed, name=tensors.identifier(self.name)
        )
        model.adapt(data.observed(self.latent_dim)["x"])
        model.compile(optimizer or keras.optimizers.Adam(self.learning_rate))
        self._learning_rate = float(np.asarray(model.optimizer.learning_rate))
        return model

    def learn(self, data: Any, rng: np.random.Generator) -> dict[str, float]:
        parts = data.observed(self.latent_dim)
        self.model.seed_generator.state.assign([int(rng.integers(2**31)), 0])
        with self._rate_kept():
            history = compiled_loop.fit(
                self.model,
                (parts,),
                batch_size=self.batch_size or len(parts["x"]),
                epochs=self.itr,
                seed=int(rng.integers(2**31)),
                callbacks=self.fit_callbacks(self.itr, "epoch"),
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

    def infer(self, data: Any) -> Inference:
        missing = data.missing
        mean, variance = self.model.encode_unchecked(data.x)
        if not storage.every(lambda part: np.isfinite(part).all(axis=1), mean):
            raise FloatingPointError(
                f"{self.get_name()} has diverged: posterior means are not finite. Its model is "
                "what it was before this update, and nothing was written or sent. Scale the data, "
                "or lower the learning rate."
            )
        latent = mean
        if missing is not None:  # such a row is reconstructed from what is expected of it
            latent = storage.apply(_expected_where_missing, mean, missing, data.mu)
            variance = storage.apply(
                lambda part, silent: np.where(silent[:, None], np.float32(np.inf), part),
                variance,
                missing,
            )
        reconstruction = messages.Deferred(data.x.shape, lambda: self.model.decode(latent))
        return Inference(messages.Gaussian(mean, variance), [reconstruction])

    def figures(self, inference: Inference) -> dict[str, float]:
        """Latent dimensions that carry something: whose means vary by more than 0.01.

        Reference: Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", 2016.
        """
        mean, missing = inference.evidence.mean, inference.evidence.missing
        _, spread = hosts.moments(mean, None if missing is None else ~missing)
        active = int((spread > 0.01).sum())
        if active == 0 and self.mode == "learn":
            self.warn_once(
                "has collapsed: no latent dimension carries anything of the data, so modules "
                "above have nothing to learn from. Lower KL_param, train longer, or use the "
                "likelihood that the data have."
            )
        return {"active_units": active}

    def evaluate(self, data: Any) -> dict[str, float]:
        parts = data.observed(self.latent_dim)
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

    def tensor_infer(self, inputs: list[Any], prior: Any) -> tensors.Inference:
        x = tensors.as_gaussian(inputs[0])
        mean, variance = self.model.encode_tensor(x.mean)
        if x.missing is not None:  # as messages.Gaussian has it
            mean = ops.where(x.missing[:, None], ops.zeros_like(mean), mean)
        return tensors.Inference(tensors.Gaussian(mean, variance, x.missing), [None])

    def tensor_decode(self, latent: Any) -> list[Any]:
        return [self.model.decode_tensor(latent)]

    def tensor_generate(self, latent: Any, seed: Any) -> list[Any]:
        return self.tensor_decode(latent)

    def text_files(self, inference: Inference) -> dict[str, Any]:
        files = {
            "z_{mode}.txt": inference.evidence.mean,
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


def _expected_where_missing(mean, missing, expected):
    """Latent means (n, L), and what is expected of them, or 0, where rows are missing."""
    return np.where(missing[:, None], 0.0 if expected is None else expected, mean).astype("float32")
