"""Its module: `MNVAE`."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from kserket import storage
from kserket.core import messages, tensors
from kserket.core.attributes import Fixed
from kserket.core.autoencoder.model import LARGEST
from kserket.core.autoencoder.module import FORMER_NAMES, AutoencoderModule
from kserket.core.inference import Inference
from kserket.core.options import check_positive, check_positive_int, shown
from kserket.core.registry import register_module
from kserket.mnvae.model import MultinomialVAE
from kserket.mnvae.objective import as_counts
from kserket.typing import Mode, PathLike

COLDEST = 0.5  # temperature at which annealing ends
_ORDER = (
    *("latent_dim", "N", "tau", "rate", "itr", "name", "batch_size"),
    *("KLD_weights", "RE", "load_dir", "loss_step"),
)


def _in_units_of_counts(value, given):
    """Serket's `KLD_weights`, which weigh KL(q||p), as weights of N KL(q||p)."""
    draws = given.get("N", 1)
    check_positive_int(N=draws)
    return {"KL_param": [float(weight) / draws for weight in np.atleast_1d(value)]}


@register_module("kserket")
class MNVAE(AutoencoderModule):
    """Serket's `mnvae.MNVAE`: describes what it reads by counts of latent words.

    A topic model above reads the counts as it reads words, and sends down which words it expects of
    each sample: what is learned of images and sounds shapes how images are described, and an image
    can be predicted from words alone. The network and its optimizer live on from round to round.

    Args:
        latent_dim: Number of latent words L.
        N: Number of draws of a sample: how many words it counts for.
        tau: Temperature of the relaxed draws in the first epoch.
        rate: By how much the logarithm of the temperature falls in an epoch, down to a temperature
            of 0.5. It goes on falling from one update to the next.
        itr: Number of iterations in one update: epochs when `batch_size` is given, else steps
            on the whole data.
        name: Module name.
        batch_size: Batch size; None takes the whole data in every step.
        KL_param: Weight of the KL divergence N KL(q||p) of the counts, where 1 is the bound of
            log p(x); or a pair: of the first update and of all later ones.
            `mnvae1.kl_weight = 2.0` changes it between updates.
        mode: "learn" or "recog" (recognition).
        weight_stddev: Standard deviation of the initial weights.
        hidden_encoder_dim: Number of nodes in the encoder.
        hidden_decoder_dim: Number of nodes in the decoder.
        encoder: Keras model to use instead of the documented network, see `MultinomialVAE`.
            Subclasses may define `build_encoder(x, latent_dim)` instead, which returns logits.
        decoder: Likewise; subclasses may define `build_decoder(z)`, which returns logits
            (Bernoulli) or the mean (Gaussian), or a pair of these and the optimizer to use.
        likelihood: "bernoulli" for data in [0, 1], or "gaussian".
        variance: Variance of the Gaussian likelihood, in the units of the data squared; None
            learns that of standardized data.
        learning_rate: Step size of Adam; also on parameters that were learned with another.
        save_dir: Folder in which `module001_mnvae/` is made; None writes nothing.
        load_dir: A module's own folder to take parameters from.
        seed: Integer that determines all randomness.
        keep_rounds: Whether the files of every update are kept, see `LearningModule`.

    Messages:
        Reads: x (N, ...), from one module; class probabilities with `backward=False` only.
        Forward: expected counts N q (N, latent_dim), rows of NaN where x is missing; with one draw
            `Categorical` q.
        Backward: the reconstruction, shape of x, made when it is first read.
        Prior: `Categorical` (N, latent_dim): probabilities of the latent words.

    Files:
        `model.ckpt` (TensorFlow checkpoint), `loss.txt` (one line per iteration of the last
        update), `x_hat_{mode}.txt` (probabilities or means), `z_{mode}.txt` (expected counts),
        `Pdz_{mode}.txt` (probabilities of the latent words).

    Raises:
        ValueError: If an option is unknown, data are outside [0, 1] with the Bernoulli
            likelihood, or a reconstruction would have to be sent to a module of classes.

    Reference:
        Kuniyasu, Nakamura, Taniguchi and Nagai, "Robot concept acquisition based on interaction
        between probabilistic and deep generative models", Frontiers in Computer Science 3:618069,
        2021.

    Example:

    ```python
    import kserket as srk
    from kserket import mlda, mnvae

    x, labels = srk.datasets.load_digits()
    words = [[20 * (label == word) for word in range(10)] for label in labels]
    mnvae1 = mnvae.MNVAE(16, N=50, itr=2, batch_size=256, save_dir=None)
    mlda1 = mlda.MLDA(10, [50, 20], itr=10, category=labels, save_dir=None)
    mnvae1.connect(srk.Observation(x, name="image"))
    mlda1.connect(mnvae1, srk.Observation(words, name="words"))
    graph = srk.Graph(mlda1, seed=0)
    graph.fit(rounds=2, verbose=0)
    print(graph.predict({"words": words[:5]}, outputs="image").shape)
    ```
    """

    model_class = MultinomialVAE
    N, tau, rate = Fixed(), Fixed(), Fixed()
    former_names = {**FORMER_NAMES, "KLD_weights": _in_units_of_counts}
    _words = {**AutoencoderModule._words, "num_draws": "N", "temperature": "tau"}  # noqa: RUF012

    def __init__(
        self,
        latent_dim: int,
        N: int = 1,
        tau: float = 1.0,
        rate: float = 1e-4,
        itr: int = 5000,
        name: str = "mnvae",
        batch_size: int | None = None,
        *,
        KL_param: float | Sequence[float] = 1.0,
        mode: Mode = "learn",
        weight_stddev: float = 0.1,
        hidden_encoder_dim: int = 100,
        hidden_decoder_dim: int = 100,
        encoder: keras.Model | None = None,
        decoder: keras.Model | None = None,
        likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
        variance: float | None = None,
        learning_rate: float = 0.001,
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
        seed: int | None = None,
        keep_rounds: bool = False,
    ) -> None:
        check_positive(rate=rate, allow_zero=True)
        self._kl_weights = _pair(KL_param)
        options = {
            "latent_dim": latent_dim,
            "num_draws": N,
            "temperature": tau,
            "kernel_stddev": weight_stddev,
            "encoder_units": hidden_encoder_dim,
            "decoder_units": hidden_decoder_dim,
            "kl_weight": self._kl_weights[0],
            "likelihood": likelihood,
            "variance": variance,
        }
        networks = encoder, decoder
        common = save_dir, load_dir, seed, keep_rounds
        super().__init__(name, mode, options, networks, itr, batch_size, learning_rate, *common)
        self.model: MultinomialVAE | Any
        self.N, self.tau, self.rate = int(N), float(tau), float(rate)

    @staticmethod
    def former_order(args: tuple[Any, ...]) -> tuple[str, ...] | None:
        """Names of positional arguments, the last ones as Serket has them.

        Args:
            args: Tuple.
        """
        return _ORDER if len(args) <= len(_ORDER) else None

    @property
    def kl_weight(self) -> Any:
        """Weight of the KL divergence in the next update; may be set to a number or a pair."""
        return self._kl_weights[min(self.rounds, 1)]

    @kl_weight.setter
    def kl_weight(self, value: float | Sequence[float]) -> None:
        self._kl_weights = _pair(value)

    KL_param = kl_weight

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config | ({"KL_param": list(self._kl_weights)} if "KL_param" in config else {})

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "kl_weights": list(self._kl_weights)}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.kl_weight = state["kl_weights"]

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "N": self.N}

    def learn(self, data: Any, rng: np.random.Generator) -> dict[str, float]:
        self.model.kl_weight = self.kl_weight
        return super().learn(data, rng)

    def _schedule(self):
        return [_Annealing(self.rate, min(self.tau, COLDEST))]

    def _check_prior(self, prior):
        self._check_classes(prior, self.latent_dim)

    def _read_prior(self, prior, shape):
        if prior is None:
            return {"class_prior": np.broadcast_to(np.float32(1.0 / shape[1]), shape)}
        return {"class_prior": messages.as_categorical(prior).probs}

    def _conclude(self, statistics, data):
        (probs,) = statistics
        latent = storage.apply(
            lambda part: as_counts(part, self.N), data.filled(probs, data.prior["class_prior"])
        )
        if self.N == 1:
            return messages.Categorical(probs, data.missing), latent
        return data.filled(latent, np.float32(np.nan)), latent

    def tensor_infer(self, inputs: list[Any], prior: Any) -> tensors.Inference:
        x = tensors.as_gaussian(inputs[0])
        (probs,) = self.model.encode_tensor(x.mean)
        if self.N == 1:
            return tensors.Inference(tensors.from_log(ops.log(probs), x.missing), [None])
        counts = self.N * probs
        if x.missing is not None:
            counts = ops.where(x.missing[:, None], np.nan, counts)
        return tensors.Inference(counts, [None])

    def tensor_decode(self, latent: Any) -> list[Any]:
        return super().tensor_decode(as_counts(latent, self.N, ops))

    def generate(self, latent: Any, num_samples: int, rng: np.random.Generator) -> list[Any]:
        if latent is not None:
            latent = as_counts(np.asarray(latent, "float32"), self.N)
        return super().generate(latent, num_samples, rng)

    def text_files(self, inference: Inference) -> dict[str, Any]:
        files = super().text_files(inference)
        counts = files["z_{mode}.txt"]
        return {**files, "Pdz_{mode}.txt": storage.apply(lambda part: part / self.N, counts)}


class _Annealing(keras.callbacks.Callback):
    """Lowers the temperature after every epoch.

    Args:
        rate: By how much its logarithm falls.
        coldest: Where it ends.
    """

    def __init__(self, rate, coldest):
        super().__init__()
        self.factor, self.coldest = math.exp(-rate), coldest

    def on_epoch_end(self, epoch, logs=None):
        now = float(self.model.temperature.numpy())
        self.model.temperature = max(now * self.factor, min(now, self.coldest))


def _pair(value):
    """Weights of the first update and of later ones, from one number or two."""
    numbers = np.ravel(value).tolist() if np.ndim(value) <= 1 else []
    if len(numbers) not in (1, 2):
        raise ValueError(
            "`KL_param` must be a number, or a pair: of the first update and of later ones. "
            f"Received: KL_param={shown(value)}"
        )
    for number in numbers:
        check_positive(KL_param=number, allow_zero=True, most=LARGEST)
    return float(numbers[0]), float(numbers[-1])
