"""The documented networks, and the user's, as Keras models of one form."""

import math

import keras
import tensorflow as tf

from kserket.core.optimizers import as_keras_optimizer
from kserket.core.options import shown


def check_network(**options):
    """Checks that options are networks that can be called, or None.

    Args:
        **options: Values by name.

    Raises:
        TypeError: If one is not.
    """
    for option, value in options.items():
        if value is not None and (isinstance(value, type) or not callable(value)):
            raise TypeError(f"`{option}` must be a Keras model, or None. Received: {shown(value)}")


def own_networks(module, shape):
    """The user's networks, given as models or by `build_encoder` and `build_decoder`.

    Args:
        module: `AutoencoderModule`.
        shape: Of a sample.

    Returns:
        Dict of `encoder` and `decoder`, and the optimizer that came with the latter, or None.
    """
    optimizer = None
    networks = {"encoder": module.encoder, "decoder": module.decoder}
    if module.build_encoder is not None:
        x = keras.Input(shape)
        outputs = module.build_encoder(x, module.latent_dim)
        networks["encoder"] = keras.Model(
            x, list(outputs) if isinstance(outputs, tuple) else outputs
        )
    if module.build_decoder is not None:
        z = keras.Input((module.latent_dim,))
        decoded = module.build_decoder(z)
        if isinstance(decoded, (tuple, list)) and len(decoded) == 2:
            decoded, given = decoded  # Serket's (logits, optimizer)
            optimizer = as_keras_optimizer(given, module.learning_rate, "build_decoder")
        networks["decoder"] = keras.Model(z, decoded)
    return networks, optimizer


class Networks:
    """Builds encoder and decoder.

    Args:
        given: Dict of the user's `encoder` and `decoder`, each a Keras model or None.
        latent_dim: L.
        kernel_stddev: Standard deviation of the truncated normal that kernels start from.
        seed: Integer or None.
        dtype: The dtype policy of their layers.
        heads: Dict from what the encoder returns, by name, to the names of the layers for it.
    """

    def __init__(self, given, latent_dim, kernel_stddev, seed, dtype, heads):
        self.given, self.latent_dim, self.kernel_stddev = given, latent_dim, kernel_stddev
        self.seed, self.dtype, self.heads = seed, dtype, heads

    def encoder(self, shape, units):
        """Keras model from x to what `heads` names, each (N, L).

        Args:
            shape: Of a sample.
            units: Width of the default network's hidden layer.

        Raises:
            ValueError: If its output does not fit.
        """
        x, given = keras.Input(shape, name="x"), self.given["encoder"]
        if given is None:
            outputs = [self._dense(units, "encoder_hidden", 1, "relu")(_flat(x))]
        else:
            outputs = _in_order(given(x), self.heads)
        wanted = [(None, self.latent_dim)] * len(self.heads)
        is_head = given is not None and _shapes(outputs) == wanted
        if len(outputs) == 1 and not is_head:
            features = _flat(outputs[0])
            outputs = [
                self._dense(self.latent_dim, name, offset)(features)
                for offset, name in enumerate(self.heads.values(), start=2)
            ]
        if _shapes(outputs) != wanted:
            raise ValueError(
                f"`encoder` must return [{', '.join(self.heads)}], each of shape "
                f"(None, {self.latent_dim}), a dict of these, or one tensor of features. "
                f"Received: {_shapes(outputs)}"
            )
        return keras.Model(x, outputs, name="encoder")

    def decoder(self, shape, units):
        """Keras model from z (N, L) to what stands for x, (N, ...).

        Args:
            shape: Of a sample.
            units: Width of the default network's hidden layer.

        Raises:
            ValueError: If its output does not fit.
        """
        z, given = keras.Input((self.latent_dim,), name="z"), self.given["decoder"]
        if given is None:
            hidden = self._dense(units, "decoder_hidden", 4, "relu")(z)
            output = self._dense(math.prod(shape), "reconstruction", 5)(hidden)
            output = keras.layers.Reshape(shape)(output) if len(shape) > 1 else output
        else:
            output = given(z)
        received = keras.tree.map_structure(lambda part: tuple(part.shape), output)
        if received != (None, *shape):
            raise ValueError(
                f"`decoder` must return the shape of x, {(None, *shape)}, as one tensor. "
                f"Received: {received}"
            )
        return keras.Model(z, output, name="decoder")

    def _dense(self, units, name, offset, activation=None):
        seed = None if self.seed is None else self.seed + offset
        start = keras.initializers.TruncatedNormal(stddev=self.kernel_stddev, seed=seed)
        return keras.layers.Dense(
            units, activation=activation, kernel_initializer=start, name=name, dtype=self.dtype
        )


def _flat(tensor):
    return keras.layers.Flatten()(tensor) if len(tensor.shape) > 2 else tensor


def _shapes(outputs):
    return [tuple(output.shape) for output in outputs]


def _in_order(outputs, names):
    """What the user's encoder returns, as a list: what is named here, or features."""
    if not isinstance(outputs, dict):
        return tf.nest.flatten(outputs)
    if outputs.keys() != set(names):
        named = " and ".join(f'"{name}"' for name in names)
        raise ValueError(
            f"An `encoder` that returns a dict must name its entries {named}. "
            f"Received: {sorted(outputs)}"
        )
    return [outputs[name] for name in names]
