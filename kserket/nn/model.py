"""The Keras model: `SupervisedHead`."""

import math
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kserket.core.attributes import Fixed
from kserket.core.given_networks import call, shapes_of
from kserket.core.options import check_positive_int, check_seed, shown
from kserket.nn import losses

RATE = 0.01  # step size of Adam on the logarithms of a message
_UNITS = 64  # of the default network's hidden layer
_DECAY, _SQUARES_DECAY, _EPSILON = 0.9, 0.999, 1e-7


def check_network(network: Any) -> None:
    """Raises TypeError unless a network is a Keras model, or None."""
    if network is not None and not isinstance(network, keras.Model):
        raise TypeError(f"`network` must be a Keras model, or None. Received: {shown(network)}")


@keras.saving.register_keras_serializable(package="kserket")
class SupervisedHead(keras.Model):
    """A network from class probabilities to a target, and what a target says of the class.

    `fit(p, y)`, `evaluate(p, y)` and `predict(p)` are those of Keras. The loss is part of the
    model, since a message depends on it; `compile` takes the optimizer, and metrics.

    The default network has one hidden layer of 64 ReLU units. Where its loss is one of real
    numbers, such as "mse", it works on standardized targets, whose location and scale the first
    `fit` (or `adapt`) finds: results do not depend on units.

    Args:
        num_classes: Number of classes K.
        target_shape: Shape of a target, such as (20,); () for a number per sample.
        network: Keras model from (N, K) to what the loss compares with the target; None makes the
            default network.
        loss: Name of a Keras loss, a `keras.losses.Loss`, or a function of target and output.
        num_outputs: Number of classes of the target, where it holds their numbers.
        seed: Integer that determines the default network's initial weights.
        **kwargs: `name`, `dtype`, as every Keras model has them.

    Raises:
        TypeError: If the network is not a Keras model.
        ValueError: If an option is unknown, or the network's output does not suit the target.

    Example:

    ```python
    import numpy as np
    from kserket import nn

    rng = np.random.default_rng(0)
    classes = rng.integers(3, size=300)
    p = 0.1 + 0.7 * np.eye(3)[classes]
    y = np.array([[0.0, 1.0], [2.0, 0.0], [4.0, 5.0]])[classes] + 0.1 * rng.normal(size=(300, 2))
    head = nn.SupervisedHead(3, (2,), seed=0)
    head.compile("adam")
    head.fit(p, y, epochs=20, verbose=0)
    print(head.predict(p[:2], verbose=0), head.log_message(y[:2]).argmax(axis=1), classes[:2])
    ```
    """

    num_classes, target_shape, num_outputs, seed = Fixed(), Fixed(), Fixed(), Fixed()

    def __init__(
        self,
        num_classes: int,
        target_shape: tuple[int, ...],
        network: keras.Model | None = None,
        loss: Any = "mse",
        *,
        num_outputs: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_positive_int(num_classes=num_classes, num_outputs=num_outputs or 1)
        check_network(network)
        super().__init__(**kwargs)
        self.num_classes, self.target_shape = int(num_classes), tuple(target_shape)
        self.loss_function = keras.losses.get(loss)
        self.seed, self._given = check_seed(seed), network is not None
        self.num_outputs = num_outputs
        self.network = self._default_network() if network is None else network
        self._check_network()
        shape = (1, *self.target_shape)
        for name in ("location", "scale"):  # a scale of 0 has not been found yet
            options = {"shape": shape, "dtype": "float64", "trainable": False, "autocast": False}
            setattr(self, name, self.add_weight(name=name, initializer="zeros", **options))
        self.built = True

    @property
    def is_adapted(self) -> bool:
        """Whether location and scale of the target are known: something has been learned."""
        return bool(np.asarray(self.scale).any())

    @property
    def is_sparse(self) -> bool:
        """Whether targets are numbers of classes."""
        return losses.is_sparse(self.loss_function)

    @property
    def output_size(self) -> int:
        """Number of the network's outputs on the last axis."""
        return self._num_outputs

    def _default_network(self):
        """One hidden layer, and as many outputs as the target has."""
        shape = self.target_shape or (1,)
        if self.is_sparse:
            shape = (self.num_outputs or 2,)
        activation = losses.activation(self.loss_function)
        if losses.reads_logits(self.loss_function):
            activation = None
        starts = [
            keras.initializers.GlorotUniform(None if self.seed is None else self.seed + part)
            for part in range(2)
        ]
        layers = [keras.layers.Dense(_UNITS, "relu", kernel_initializer=starts[0])]
        layers += [keras.layers.Dense(math.prod(shape), kernel_initializer=starts[1])]
        layers += [keras.layers.Reshape(shape)] * (len(shape) > 1)
        layers += [keras.layers.Activation(activation)] * (activation is not None)
        return keras.Sequential([keras.Input((self.num_classes,)), *layers], name="network")

    def _check_network(self):
        """Raises ValueError unless the network reads classes and returns what the loss needs."""
        x = keras.Input((self.num_classes,))
        returns = shapes_of(call("network", self.network, x, "class probabilities"))
        wanted = (None, *(self.target_shape or (1,)))
        if self.is_sparse:  # a number on the last axis stands for scores of each class
            wanted = wanted[:-1] if wanted[-1] == 1 else wanted
            suits = returns[:-1] == wanted
            wanted = (*wanted, "number of classes")
        else:
            suits = returns == wanted
        if not suits:
            raise ValueError(
                f"`network` must return {wanted}, which suits targets of shape "
                f"{self.target_shape} and the loss. Received: one that returns {returns}"
            )
        self._num_outputs = int(returns[-1])

    def adapt(self, y: Any) -> None:
        """Finds location and scale of the target, which `fit` does once if you do not.

        Args:
            y: Array (N, ...).
        """
        y = np.asarray(y, "float64")
        location, scale = np.zeros(self.location.shape), np.ones(self.location.shape)
        real = losses.activation(self.loss_function) is None
        if real and not self._given:
            location[0], found = y.mean(axis=0), y.std(axis=0)
            scale[0] = np.where(found > 1e-9 * (np.abs(location[0]) + found), found, 1.0)
        self.location.assign(location)
        self.scale.assign(scale)

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> keras.callbacks.History:
        """`keras.Model.fit`, after `adapt` if that has not been called.

        Args:
            x: Class probabilities (N, K).
            y: Targets (N, ...).
            **kwargs: What else `keras.Model.fit` takes.

        Raises:
            ValueError: If x is no array, and `adapt` has not been called.
        """
        if not self.is_adapted:
            if y is None:
                raise ValueError("Call adapt(y) before fitting a data set: targets are not known.")
            self.adapt(y)
        return super().fit(x, y, **kwargs)

    def call(self, x: Any, training: bool | None = None) -> Any:
        """What the network returns for class probabilities (N, K)."""
        return self.network(x, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        """Mean loss of standardized targets; see `keras.Model.compute_loss`."""
        values = self._per_sample(y, y_pred)
        if sample_weight is not None:
            values = values * ops.cast(ops.reshape(sample_weight, [-1]), values.dtype)
        return sum(self.losses, ops.mean(values))

    def _per_sample(self, y, output):
        """Loss of each sample, (N,)."""
        y = ops.cast(y, "float64")
        if len(y.shape) == len(self.target_shape) + 2:
            y = ops.squeeze(y, -1)  # Keras adds an axis to targets of one number
        y = ops.cast((y - self.location) / self.scale, "float32")
        if not self.target_shape:
            y = y[:, None]
        return losses.per_sample(self.loss_function, y, ops.cast(output, "float32"))

    def predict_tensor(self, p: Any) -> Any:
        """The expected target (N, ...) of class probabilities (N, K); of classes, the likeliest.

        Args:
            p: Tensor (N, K).
        """
        output = self.network(ops.cast(p, "float32"), training=False)
        shape = (-1, *self.target_shape)
        if self.is_sparse:
            return ops.reshape(ops.cast(ops.argmax(output, axis=-1), "float64"), shape)
        if losses.reads_logits(self.loss_function):
            output = keras.activations.get(losses.activation(self.loss_function))(output)
        output = ops.reshape(ops.cast(output, "float64"), shape)
        return self.location + self.scale * output

    def log_message(self, y: Any, steps: int = 5000, batch_size: int | None = None) -> Any:
        """What targets say of the class: logarithms of q, where q minimizes loss(f(q), y).

        Found by Adam from uniform probabilities on, for each sample by itself.

        Args:
            y: Array (N, ...), nothing missing.
            steps: Number of steps.
            batch_size: Samples at a time; None is all. It changes the memory that is needed.

        Returns:
            Array (N, K), rows normalized.
        """
        y = np.asarray(y, "float64")
        size = batch_size or max(1, len(y))
        parts = [
            self._compiled_message(tf.constant(y[start : start + size]), tf.constant(steps))
            for start in range(0, len(y), size)
        ]
        return np.concatenate([np.zeros((0, self.num_classes)), *parts])

    @property
    def _compiled_message(self):
        """`message_tensor`, compiled once for each loss."""
        cache = vars(self).get("_message_cache")
        if cache is None or cache[0] is not self.loss_function:
            spec = tf.TensorSpec((None, *self.target_shape), "float64")
            function = tf.function(
                self.message_tensor, input_signature=[spec, tf.TensorSpec((), "int32")]
            )
            cache = self.loss_function, function.get_concrete_function()
            object.__setattr__(self, "_message_cache", cache)  # neither tracked nor exported
        return cache[1]

    def message_tensor(self, y: Any, steps: Any) -> Any:
        """`log_message` in TensorFlow operations.

        Args:
            y: Tensor (N, ...).
            steps: Number of steps.
        """
        start = tf.zeros([tf.shape(y)[0], self.num_classes], "float32")

        def step(count, logits, mean, square):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                output = self.network(tf.nn.softmax(logits), training=False)
                loss = tf.reduce_sum(self._per_sample(y, output))
            gradient = tape.gradient(loss, logits)
            mean = _DECAY * mean + (1 - _DECAY) * gradient
            square = _SQUARES_DECAY * square + (1 - _SQUARES_DECAY) * gradient**2
            count, number = count + 1, tf.cast(count + 1, "float32")
            size = tf.sqrt(square / (1 - _SQUARES_DECAY**number)) + _EPSILON
            return count, logits - RATE * mean / (1 - _DECAY**number) / size, mean, square

        steps = tf.where(tf.shape(y)[0] > 0, steps, 0)
        _, logits, _, _ = tf.while_loop(
            lambda count, *_: count < steps, step, (tf.constant(0), start, start, start)
        )
        return tf.cast(tf.nn.log_softmax(logits), "float64")

    def get_config(self) -> dict[str, Any]:
        loss = self.loss_function
        loss = None if isinstance(loss, losses.ScriptLoss) else keras.losses.serialize(loss)
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "target_shape": list(self.target_shape),
            "network": keras.saving.serialize_keras_object(self.network) if self._given else None,
            "loss": loss,
            "num_outputs": self.num_outputs,
            "seed": self.seed,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        network = config["network"]
        if network is not None:
            network = keras.saving.deserialize_keras_object(network, custom_objects=custom_objects)
        return cls(**{**config, "network": network})
