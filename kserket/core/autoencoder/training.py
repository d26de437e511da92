"""What an autoencoder minimizes, and a step toward it."""

import math
import warnings
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kserket.core import compiled_loop
from kserket.core.autoencoder.inputs import among, sample_shape
from kserket.core.autoencoder.objective import (
    bounded,
    cross_entropy,
    float32,
    gaussian_cost,
    rows,
)
from kserket.core.autoencoder.propagation import Propagation


class Training(Propagation):
    """Loss, metrics and steps of an `Autoencoder`."""

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The negative bound: mean over samples of reconstruction + kl_weight * kl.

        To it come the penalties of the networks' layers: regularizers, `add_loss`.

        Args:
            x: The inputs, x alone or with the prior.
            y: Not used: the target is x.
            y_pred: What the networks gave, or None to run them.
            sample_weight: Optional (N,).
            training: Whether z is sampled.

        Returns:
            A scalar tensor; on several replicas this one's part, of which the sum is the mean.
        """
        if y_pred is None or "decoded" not in y_pred:
            y_pred = self._propagate(x, training)
        reconstruction, kl = self._terms(x, y_pred)
        self._reconstruction_metric.update_state(reconstruction, sample_weight=sample_weight)
        self._kl_metric.update_state(kl, sample_weight=sample_weight)
        loss = reconstruction + self.kl_weight * kl
        total = self._sum(ops.zeros_like(loss), loss, sample_weight=sample_weight)
        total = total / ops.cast(y_pred["batch_size"], total.dtype)
        for penalty in self.losses:
            total = total + ops.cast(self._aggregate_additional_loss(penalty), total.dtype)
        return total

    def _terms(self, inputs, outputs):
        """Negative log likelihood and KL divergence of each sample, both (N,)."""
        x, decoded = rows(float32(outputs["x"])), rows(outputs["decoded"])
        if self.likelihood == "bernoulli":
            reconstruction = cross_entropy(x, decoded)
        else:
            reconstruction = gaussian_cost(x, decoded, self._log_variance())
            reconstruction = reconstruction + self.standardization.log_volume()
        return reconstruction, self._divergence(outputs["statistics"], self._by_name(inputs))

    def _log_variance(self):
        """Of standardized data: the one that is learned, or of each feature (D,) the given one."""
        if self.variance is None:
            return bounded(self.log_variance)
        scale = ops.reshape(self.standardization.scale, (-1,))
        return math.log(self.variance) - 2.0 * ops.log(scale)

    def train_step(self, data: Any) -> Any:
        """One step of the optimizer on one batch."""
        x, y, sample_weight = self._unpack(data)
        with tf.GradientTape() as tape:
            outputs = self._propagate(x, training=True)
            loss = self.compute_loss(x, y, outputs, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        if self.trainable_weights:
            gradients = tape.gradient(scaled, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        else:
            warnings.warn("The model has no trainable weights: it learns nothing.", stacklevel=2)
        return self._figures(loss, x, y, outputs, sample_weight)

    def test_step(self, data: Any) -> Any:
        """The figures of one batch, at the expectation of z."""
        x, y, sample_weight = self._unpack(data)
        outputs = self._propagate(x, training=False)
        loss = self.compute_loss(x, y, outputs, sample_weight, training=False)
        return self._figures(loss, x, y, outputs, sample_weight)

    def _figures(self, loss, x, y, outputs, sample_weight):
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        share = outputs["batch_size"] / replicas
        self._loss_tracker.update_state(loss * replicas, sample_weight=share)
        predictions = {"reconstruction": self._reconstruct(outputs["decoded"])}
        return self.compute_metrics(x, y, predictions, sample_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Metrics given to `compile` compare x (or y, where there is one) with `reconstruction`."""
        target = self._by_name(x)["x"] if y is None else y
        return super().compute_metrics(x, target, y_pred["reconstruction"], sample_weight)

    def _unpack(self, data):
        """A batch as x, y and weights, the model built for it.

        Raises:
            ValueError: If the prior is given as y.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        shape = sample_shape(self._by_name(x)["x"].shape)
        if not self.built:
            with tf.init_scope():
                self.build((None, *shape))
        if y is not None and y.shape[1:] == (self.latent_dim,) != shape:
            raise ValueError(
                f"Keras reads batches (x, {self.input_names[1]}) as (x, y), and this model needs "
                f"no y. Yield ({among(self.input_names)},), a tuple of one."
            )
        return x, y, sample_weight

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Keras averages the first batch over devices, which fails if their shares differ."""
        strategy = self.distribute_strategy
        if iterator is not None and strategy.num_replicas_in_sync > 1:
            _, _, batches = next(iter(iterator))
            data_batch = tf.nest.map_structure(
                lambda part: strategy.experimental_local_results(part)[0], next(batches)
            )
            iterator = None
        super()._maybe_symbolic_build(iterator, data_batch)

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None, **kwargs: Any
    ) -> None:
        """`keras.Model.compile`; the loss is always the negative bound.

        Args:
            optimizer: Name or `keras.optimizers.Optimizer`.
            loss: Not used; a warning is given if it is not None.
            loss_weights: Likewise.
            **kwargs: What `keras.Model.compile` takes: `metrics` compare x with its
                reconstruction.
        """
        if loss is not None or loss_weights is not None:
            warnings.warn(
                f"{type(self).__name__} minimizes the negative bound: `loss` and `loss_weights` "
                "of compile() are not used. Choose `likelihood` and `kl_weight` of the model; give "
                "other figures as `metrics`.",
                stacklevel=2,
            )
        super().compile(optimizer, **kwargs)
        compiled_loop.reset(self)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model as it was; Keras leaves this to models with their own `compile`.

        Args:
            config: What `get_compile_config` returned.
        """
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)
