"""The way of a batch through encoder and decoder."""

import abc
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kserket.core.autoencoder import decoder_output
from kserket.core.autoencoder.inputs import by_name, is_shape, sample_shape
from kserket.core.autoencoder.objective import float32, rows
from kserket.core.data_export import DataExport
from kserket.core.devices import batch_share


class Propagation(DataExport, metaclass=abc.ABCMeta):
    """Encoder, one z and decoder of an `Autoencoder`, in TensorFlow operations.

    A family says what its latent variables are by these attributes and the abstract methods. What
    its encoder returns are the statistics of q(z|x): a tuple of tensors (N, L).

    Attributes:
        input_names: Names of the inputs, "x" first and then the parts of the prior.
        heads: Dict from the names of the statistics, as a user's encoder may return them, to the
            names of the layers that give them.
    """

    input_names: tuple[str, ...]
    heads: dict[str, str]

    @abc.abstractmethod
    def _statistics(self, outputs):
        """The statistics in single precision, from the list of what the encoder returned."""

    @abc.abstractmethod
    def _noise(self, batch_size):
        """What `_latent` makes z of, for every row of a batch: a tensor (batch_size, ...)."""

    @abc.abstractmethod
    def _latent(self, statistics, noise=None):
        """One z (N, L) from statistics and noise; without noise the expectation of z."""

    @abc.abstractmethod
    def _divergence(self, statistics, prior):
        """KL( q(z|x) || p(z) ) of each sample, (N,); `prior` a dict of tensors (N, L) or None."""

    @abc.abstractmethod
    def _posterior(self, statistics):
        """Dict from what `predict` calls the statistics to tensors (N, L)."""

    def build(self, input_shape: Any) -> None:
        self._data_shape = sample_shape(self._by_name(input_shape, is_leaf=is_shape)["x"])
        self.encoder = self._networks.encoder(self.data_shape, self.encoder_units)
        self.decoder = self._networks.decoder(self.data_shape, self.decoder_units)
        if self._networks.given["decoder"] is not None:
            end = (self.decoder, self.latent_dim, self.compute_dtype)
            self._activation = decoder_output.activation_of(*end)
            if (
                self.likelihood == "bernoulli"
                and self._activation in decoder_output.PROBABILITIES
                and decoder_output.activation_of(*end, training=True) != self._activation
            ):
                warnings.warn(
                    "Layers such as dropout follow the decoder's last "
                    f"{decoder_output.PROBABILITIES[self._activation]}, so that in training it "
                    "returns no probabilities. Move them in front of it.",
                    stacklevel=2,
                )
        if self.likelihood == "gaussian":
            self.log_variance = self.add_weight(
                name="log_variance",
                shape=(),
                initializer="zeros",
                dtype="float32",
                trainable=self.variance is None,
            )
            self.standardization.build((None, *self.data_shape))
        elif self._activation in decoder_output.BOUNDED:
            name, consequence = decoder_output.BOUNDED[self._activation]
            warnings.warn(
                f"The decoder ends in {name}. With the Bernoulli likelihood its output is read as "
                f"logits, so that of all probabilities {consequence}. Leave the activation out, or "
                "end in a sigmoid.",
                stacklevel=2,
            )
        self._compiled_decode = tf.function(
            self.decoder_output, autograph=False, reduce_retracing=True
        )
        self.built = True

    def get_build_config(self) -> dict[str, Any] | None:
        if not self.built:
            return None
        return {
            "input_shape": (None, *self.data_shape),
            "frozen": [not layer.trainable for layer in self._network_layers()],
        }

    def build_from_config(self, config: dict[str, Any]) -> None:
        super().build_from_config(config)
        for layer, is_frozen in zip(self._network_layers(), config.get("frozen", ()), strict=False):
            if is_frozen:
                layer.trainable = False

    def _network_layers(self):
        """All layers of encoder and decoder, those within others after them."""
        return [*self.encoder._flatten_layers(), *self.decoder._flatten_layers()]

    def build_for(self, x: Any) -> None:
        """Builds the model for a batch if it is not built.

        Args:
            x: Array (N, ...), or what has the shape of one.
        """
        if not self.built:
            with self.distribute_strategy.scope():
                self.build((None, *sample_shape(x.shape)))

    @property
    def reads_given_logits(self) -> bool:
        """Whether the user's decoder is taken to return logits."""
        has_own = self._networks.given["decoder"] is not None
        return has_own and self.likelihood == "bernoulli" and self._activation is None

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Posterior and reconstruction.

        Args:
            inputs: Tensor x (N, ...), or a dict or list that holds x and the prior.
            training: Whether z is sampled; else it is its expectation.

        Returns:
            Dict of what describes q(z|x), tensors (N, L), and `reconstruction` (N, ...): the
            probabilities or means that the decoder gives.
        """
        outputs = self._propagate(inputs, training)
        results = {
            **self._posterior(outputs["statistics"]),
            "reconstruction": self._reconstruct(outputs["decoded"]),
        }
        if training:
            return results
        is_finite = _finite_rows(outputs["x"])
        return {name: _where(is_finite, part, np.nan) for name, part in results.items()}

    def encode_tensor(self, x: Any) -> Any:
        """`encode` in TensorFlow operations, without checks.

        Args:
            x: Tensor (N, ...).

        Returns:
            Tuple of tensors (N, L), NaN where a row is not finite.
        """
        x = self._encoder_input(x)
        is_finite, parts = _finite_rows(x), self._posterior(self._encode(x)).values()
        return tuple(_where(is_finite, part, np.nan) for part in parts)

    def decode_tensor(self, z: Any) -> Any:
        """`decode` in TensorFlow operations, without checks.

        Args:
            z: Tensor (N, L).

        Returns:
            Tensor (N, ...).
        """
        return self._reconstruct(self.decoder_output(ops.cast(z, "float32")))

    def _propagate(self, inputs, training, noise=None):
        """Encoder, one z, decoder: dict of x, statistics, decoded, in float32.

        `x` is what the encoder reads, `decoded` what `decoder_output` returns. `batch_size`
        counts the rows of all replicas. Noise is drawn for all of them, so that it does not depend
        on how many devices there are.
        """
        parts = self._by_name(inputs)
        x = self._encoder_input(parts["x"], parts["x_low"])
        statistics = self._encode(x, training)
        batch_size, own_rows = batch_share(ops.shape(statistics[0])[0])
        if training and noise is None:
            noise = own_rows(self._noise(batch_size))
        return {
            "x": x,
            "statistics": statistics,
            "decoded": self.decoder_output(self._latent(statistics, noise), training),
            "batch_size": batch_size,
        }

    def _encoder_input(self, x, x_low=None):
        """What the encoder reads: x, standardized under the Gaussian likelihood."""
        if self.likelihood == "gaussian":
            return self.standardization(x, x_low)
        return ops.cast(x, "float32")

    def _encode(self, x, training=False):
        """The statistics of q(z|x), from what `_encoder_input` returns."""
        return self._statistics(keras.tree.flatten(self.encoder(x, training=training)))

    def _parts(self, inputs):
        if not isinstance(inputs, (list, tuple)):
            return super()._parts(inputs)
        fits = len(inputs) <= len(self.input_names)  # else an error, where inputs are read
        return dict(zip(self.input_names, inputs, strict=False)) if fits else {}

    def _by_name(self, inputs, is_leaf=None):
        """Inputs by name; None where not given."""
        return by_name(inputs, self.input_names, is_leaf)

    def decoder_output(self, z: Any, training: bool = False) -> Any:
        """What the decoder says of x, before `reconstruction` makes it probabilities or means.

        Args:
            z: Tensor (N, L).
            training: Whether layers act as in training.

        Returns:
            Tensor (N, ...): logits, or means of standardized data.
        """
        if self._activation in decoder_output.PROBABILITIES and self.likelihood == "bernoulli":
            if tf.executing_eagerly():  # the logits are found in a graph only
                return self._compiled_decode(z, training)
            decoded = self.decoder(ops.cast(z, self.compute_dtype), training=training)
            return float32(decoder_output.logits(decoded))
        decoded = float32(self.decoder(ops.cast(z, self.compute_dtype), training=training))
        if self.likelihood == "gaussian" and self._activation is not None:
            return self.standardization(decoded)  # its range is one of the data
        return decoded

    def _reconstruct(self, decoded):
        """Probabilities or means of x (N, ...), from what `decoder_output` returned."""
        if self.likelihood == "bernoulli":
            return ops.sigmoid(decoded)
        return self.standardization.invert(decoded)


def _finite_rows(x):
    """Which rows of a tensor (N, ...) are finite, (N,), in operations that LiteRT has."""
    return ops.all(ops.abs(rows(float32(x))) <= np.finfo("float32").max, axis=1)


def _where(flag, tensor, other):
    """A tensor (N, ...) where a flag (N,) is true, else a number."""
    return ops.where(ops.reshape(flag, (-1, *[1] * (len(tensor.shape) - 1))), tensor, other)
