"""The documented networks, and the user's, as Keras models of one form."""

import math

import keras
import tensorflow as tf

from kserket.core.given_networks import call, known_input_shapes, shapes_of
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
        outputs = list(outputs) if isinstance(outputs, tuple) else outputs
        networks["encoder"] = _model("build_encoder", x, outputs)
    if module.build_decoder is not None:
        z = keras.Input((module.latent_dim,))
        decoded = module.build_decoder(z)
        if isinstance(decoded, (tuple, list)) and len(decoded) == 2:
            decoded, given = decoded  # Serket's (logits, optimizer)
            optimizer = as_keras_optimizer(given, module.learning_rate, "build_decoder")
        networks["decoder"] = _model("build_decoder", z, decoded)
    return networks, optimizer


def _model(method, x, outputs):
    """A Keras model of what a method of the user's made of x."""
    try:
        return keras.Model(x, outputs)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"`{method}` must return tensors made of the one that it is given. "
            f"Received: {shown(outputs)}"
        ) from error


def latent_dim_of(encoder, decoder):
    """How many latent variables networks are made for, as far as they show it, or None.

    Args:
        encoder: Keras model, or None.
        decoder: Likewise.
    """
    takes = known_input_shapes(decoder)
    if takes:
        return takes[0][-1]
    returns = getattr(encoder, "outputs", None) if known_input_shapes(encoder) else None
    return returns[0].shape[-1] if returns and len(returns) > 1 else None


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

    def check_given(self, shape=None):
        """Checks networks that are built already; others are checked when they are called.

        Args:
            shape: Of a sample; None as long as no data are known.

        Raises:
            ValueError: If one cannot fit.
        """
        encoder, decoder = self.given["encoder"], self.given["decoder"]
        for known in known_input_shapes(encoder)[:1]:
            x = keras.Input(known[1:] if shape is None else shape)
            self._statistics(call("encoder", encoder, x, "data"))
        if known_input_shapes(decoder):
            self._decoded(decoder, shape)

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
            outputs = self._statistics(call("encoder", given, x, "data"))
        if given is None or not self._are_statistics(outputs):
            features = _flat(outputs[0])
            outputs = [
                self._dense(self.latent_dim, name, offset)(features)
                for offset, name in enumerate(self.heads.values(), start=2)
            ]
        return keras.Model(x, outputs, name="encoder")

    def _are_statistics(self, outputs):
        return shapes_of(outputs) == [(None, self.latent_dim)] * len(self.heads)

    def _statistics(self, outputs):
        """What the user's encoder returns, as a list: what is named here, or features."""
        named, width = ", ".join(self.heads), self.latent_dim
        if not isinstance(outputs, dict):
            outputs = tf.nest.flatten(outputs)
        elif outputs.keys() == set(self.heads):
            outputs = [outputs[name] for name in self.heads]
        else:
            entries = " and ".join(f'"{name}"' for name in self.heads)
            raise ValueError(
                f"An `encoder` that returns a dict must name its entries {entries}. "
                f"Received: {sorted(outputs)}"
            )
        if self._are_statistics(outputs) or len(outputs) == 1:
            return outputs
        cure = f"Give their layers {width} units, or choose another `latent_dim`."
        if known_input_shapes(self.given["decoder"]) == [(None, width)]:
            cure = f"Give their layers {width} units, as many as the `decoder` takes."
        if len(outputs) > len(self.heads):
            cure = f"Leave out what follows {named}: z is drawn by the model."
        raise ValueError(
            f"`encoder` must return [{named}], each of shape (None, {width}), a dict of these, or "
            f"one tensor of features. Received: {shapes_of(outputs)}. {cure}"
        )

    def decoder(self, shape, units):
        """Keras model from z (N, L) to what stands for x, (N, ...).

        Args:
            shape: Of a sample.
            units: Width of the default network's hidden layer.

        Raises:
            ValueError: If its output does not fit.
        """
        given = self.given["decoder"]
        if given is not None:
            return keras.Model(*self._decoded(given, shape), name="decoder")
        z = keras.Input((self.latent_dim,), name="z")
        hidden = self._dense(units, "decoder_hidden", 4, "relu")(z)
        output = self._dense(math.prod(shape), "reconstruction", 5)(hidden)
        output = keras.layers.Reshape(shape)(output) if len(shape) > 1 else output
        return keras.Model(z, output, name="decoder")

    def _decoded(self, given, shape=None):
        """z, and what the user's decoder makes of it: one tensor, of the shape of data if known."""
        z = keras.Input((self.latent_dim,), name="z")
        output = call("decoder", given, z, "latent variables")
        received = shapes_of(output)
        is_one = hasattr(output, "shape")
        if is_one and shape in (None, received[1:]):
            return z, output
        wanted = "the shape of x" if shape is None else f"the shape of x, {(None, *shape)}"
        cure = ""
        if is_one and None not in received[1:]:
            size, needed = math.prod(received[1:]), math.prod(shape)
            cure = f". Let it end in {needed} numbers, and keras.layers.Reshape({shape})."
            if size == needed:
                cure = f". Let it end in keras.layers.Reshape({shape})."
        raise ValueError(
            f"`decoder` must return {wanted}, as one tensor. Received: {received}{cure}"
        )

    def _dense(self, units, name, offset, activation=None):
        seed = None if self.seed is None else self.seed + offset
        start = keras.initializers.TruncatedNormal(stddev=self.kernel_stddev, seed=seed)
        return keras.layers.Dense(
            units, activation=activation, kernel_initializer=start, name=name, dtype=self.dtype
        )


def _flat(tensor):
    return keras.layers.Flatten()(tensor) if len(tensor.shape) > 2 else tensor
