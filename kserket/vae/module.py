"""Its module: `VAE`."""

import numbers
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from kserket import storage
from kserket.core import messages, tensors
from kserket.core.autoencoder.coding import CHUNK
from kserket.core.autoencoder.module import FORMER_NAMES, AutoencoderModule
from kserket.core.options import is_whole
from kserket.core.registry import register_module
from kserket.typing import Floats, Mode, PathLike
from kserket.vae.data import read_prior
from kserket.vae.model import VariationalAutoencoder

_DRAWS = 10  # of each z, of which a bound of the graph is the mean
_FORMER_ORDER = (
    *("latent_dim", "epoch", "name", "batch_size", "KLD_weight", "RE", "load_dir", "loss_step"),
)


@register_module("kserket")
class VAE(AutoencoderModule):
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
    learns_over_hosts = True
    former_names = {**FORMER_NAMES, "KLD_weight": "KL_param"}

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
        options = {
            "latent_dim": latent_dim,
            "kernel_stddev": weight_stddev,
            "encoder_units": hidden_encoder_dim,
            "decoder_units": hidden_decoder_dim,
            "kl_weight": KL_param,
            "likelihood": likelihood,
            "variance": variance,
        }
        networks = encoder, decoder
        common = save_dir, load_dir, seed, keep_rounds
        super().__init__(name, mode, options, networks, itr, batch_size, learning_rate, *common)
        self.model: VariationalAutoencoder | Any

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

    def _check_prior(self, prior):
        if prior is not None and np.shape(prior)[1:] != (self.latent_dim,):
            raise ValueError(
                f"{self.get_name()} needs a message of shape (N, {self.latent_dim}) from above. "
                f"Received: shape {np.shape(prior)}"
            )

    def _read_prior(self, prior, shape):
        return read_prior(prior, shape)

    def _conclude(self, statistics, data):
        mean, variance = statistics
        evidence = messages.Gaussian(mean, data.filled(variance, np.float32(np.inf)))
        return evidence, data.filled(mean, data.prior["mu"])  # a missing row by what is expected

    def latent_bound(self, data: Any) -> Floats:
        x, scores = data.observed()["x"], np.zeros(len(data.x))
        rng = np.random.default_rng(0)

        def score(part):
            _, variance = self.model.encode_unchecked(part)
            entropy = 0.5 * np.log(2 * np.pi * np.e * variance.astype("float64")).sum(axis=1)
            return entropy + self.model.expected_log_likelihood(part, num_samples=_DRAWS, seed=rng)

        if len(x):
            observed = slice(None) if data.missing is None else ~data.missing
            scores[observed] = storage.apply(score, x, chunk_rows=CHUNK)
        return scores

    def joint_log_likelihood(self, data: Any, below: list[Any]) -> Floats | None:
        if below[0] is not None:
            return None
        mean, variance = self.model.encode_unchecked(data.x)
        expected = -0.5 * (np.log(2 * np.pi) + mean**2 + variance).sum(axis=1, dtype="float64")
        if data.missing is not None:
            expected[data.missing] = 0.0
        return self.latent_bound(data) + expected

    def tensor_infer(self, inputs: list[Any], prior: Any) -> tensors.Inference:
        x = tensors.as_gaussian(inputs[0])
        mean, variance = self.model.encode_tensor(x.mean)
        if x.missing is not None:  # as messages.Gaussian has it
            mean = ops.where(x.missing[:, None], ops.zeros_like(mean), mean)
        return tensors.Inference(tensors.Gaussian(mean, variance, x.missing), [None])
