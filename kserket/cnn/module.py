"""Serket's `CNN.CNNFeatureExtractor`."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kserket.cnn.images import load_images
from kserket.core import messages, tensors
from kserket.core.inference import Inference
from kserket.core.module import Module
from kserket.core.node import Node
from kserket.core.observation import Observation
from kserket.core.options import check_positive_int
from kserket.core.registry import register_module
from kserket.typing import PathLike


@register_module("kserket")
class CNNFeatureExtractor(Module):
    """Serket's `CNN.CNNFeatureExtractor`: features of images from any Keras model.

    It reads an observation of images. Where it is given files it makes that observation itself,
    under the name "images". The network learns nothing here.

    Args:
        filenames: List of paths of images (PNG, JPEG, BMP, GIF), where None stands for a sample
            without one; or array of images (N, height, width, channels), or (N, height, width)
            where they are gray. None instead of the list: `connect` it to an observation.
        name: Module name.
        model: A `keras.Model` of images, or the path of its `.keras` file. Nothing is downloaded.
        layer: Name of the layer whose output the features are; None is the last one.
        preprocessing: A Keras layer or model that the images pass first, such as
            `keras.layers.Rescaling(1 / 255)`. None passes them on, 0 to 255 if they are files.
        batch_size: Images at a time.

    Messages:
        Reads: images (N, height, width, channels) or (N, height, width), from one module. They are
            resized if the model has a size of its own, and a gray one has all three channels of a
            model that sees color. Missing rows stay missing.
        Forward: features (N, D). Backward: none, and what comes from above is ignored.

    Raises:
        FileNotFoundError: If an image or the model's file is not there.
        TypeError: If `model` is no Keras model.
        ValueError: If the model does not take images, or has no such layer.

    Reference:
        Donahue et al., "DeCAF: a deep convolutional activation feature for generic visual
        recognition", ICML 2014.

    Example:

    ```python
    import keras
    import numpy as np

    from kserket import cnn

    network = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(name="features"),
            keras.layers.Dense(10),
        ]
    )
    images = np.random.default_rng(0).random((5, 16, 16, 3))
    cnn1 = cnn.CNNFeatureExtractor(images, model=network, layer="features")
    cnn1.update()
    print(cnn1.get_forward_msg().shape)  # (5, 8)
    ```
    """

    links_samples = False
    evidence_uses_prior = False
    predicts_inputs = False

    def __init__(
        self,
        filenames: Any = None,
        name: str = "CNNFeatureExtracter",
        *,
        model: keras.Model | PathLike | None = None,
        layer: str | None = None,
        preprocessing: keras.layers.Layer | None = None,
        batch_size: int = 32,
    ) -> None:
        check_positive_int(batch_size=batch_size)
        network = _of_images(_loaded(model), layer, preprocessing)
        source = None
        if filenames is not None:
            source = Observation(_images(filenames, network), "images", allow_missing=True)
            Node.next_number(source.number)  # Serket numbers the two as one module
        super().__init__(name, learnable=False)
        self.model, self.batch_size = network, batch_size
        if source is not None:
            self.connect(source)
            self.update()  # features are there from the start, as Serket's are

    def get_config(self) -> dict[str, Any]:
        """What makes it again above an observation of images."""
        return {"name": self.name, "model": self.model, "batch_size": self.batch_size}

    def update(self) -> None:
        """Reads images and sends their features."""
        self.set_forward_msg(self.infer(self.get_messages().inputs, None).evidence)

    def takes_shape(self, before: tuple[int, ...], now: tuple[int, ...]) -> bool:
        """The network decides which images it takes."""
        return True

    def infer(self, inputs: list[Any], prior: Any) -> Inference:
        """The features of images. Changes nothing.

        Args:
            inputs: List of one array (N, height, width, channels) or (N, height, width).
            prior: Not used.

        Returns:
            An `Inference` without posterior.
        """
        if len(inputs) != 1:
            raise ValueError(f"{self.get_name()} reads one module. Received: {len(inputs)}")
        self._check_images(np.shape(inputs[0]))
        missing = messages.missing_rows(inputs[0])
        parts = []
        for start in range(0, len(inputs[0]), self.batch_size):
            part = np.asarray(inputs[0][start : start + self.batch_size], "float32")
            features = self.model(_with_channels(np.nan_to_num(part), self.model), training=False)
            parts.append(keras.ops.convert_to_numpy(features))
        features = np.concatenate(parts)
        if missing is not None:
            features[missing] = np.nan
        return Inference(features, [None])

    def terms(self) -> Any:
        return ()

    def tensor_infer(self, inputs: list[Any], prior: Any) -> tensors.Inference:
        """`infer` on tensors.

        Args:
            inputs: List of one tensor.
            prior: Not used.
        """
        images = tf.cast(tensors.as_array(inputs[0]), "float32")
        missing = tf.reduce_all(tf.math.is_nan(tf.reshape(images, [tf.shape(images)[0], -1])), 1)
        seen = tf.where(tf.math.is_nan(images), tf.zeros_like(images), images)
        features = self.model(_with_channels(seen, self.model), training=False)
        features = tf.where(missing[:, None], tf.fill(tf.shape(features), np.nan), features)
        return tensors.Inference(features, [None])

    def _check_images(self, shape):
        """Raises ValueError unless the network takes images of a shape (N, ...)."""
        channels = self.model.input_shape[-1]
        given = 1 if len(shape) == 3 else shape[-1]
        if len(shape) not in (3, 4) or (channels is not None and given not in (1, channels)):
            raise ValueError(
                f"{self.get_name()} reads images (N, height, width) or (N, height, width, "
                f"{channels or 'channels'}). Received: {tuple(shape)}"
            )


def _loaded(model):
    """The Keras model that was given, or lies in a file."""
    if isinstance(model, (str, os.PathLike)):
        if not os.path.isfile(model):
            raise FileNotFoundError(f"There is no file {os.fspath(model)} with a Keras model.")
        model = keras.saving.load_model(model, compile=False)
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a keras.Model, or the path of its .keras file: such as "
            "keras.applications.MobileNetV3Small(include_top=False, pooling='avg'), with weights "
            f"that you have. Received: {model!r}"
        )
    return model


def _of_images(model, layer, preprocessing):
    """A model from images of any size to features: resized, preprocessed, up to a layer."""
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise ValueError(
            "`model` must take one batch of images (N, height, width, channels). Its input shape "
            f"is {shape}."
        )
    if layer is not None:
        names = [one.name for one in model.layers]
        if layer not in names:
            raise ValueError(f"`layer` must be one of {names}. Received: {layer!r}")
        model = keras.Model(model.inputs[0], model.get_layer(layer).output)
    height, width, channels = shape[1:]
    resizes, is_flat = None not in (height, width), len(model.output_shape) == 2
    if is_flat and not resizes and preprocessing is None:
        return model
    images = keras.Input((None, None, channels), name="images")
    x = keras.layers.Resizing(height, width, antialias=True)(images) if resizes else images
    x = model(x if preprocessing is None else preprocessing(x))
    return keras.Model(images, x if is_flat else keras.layers.Flatten()(x))


def _images(given, network):
    """Images as an array, from files where paths were given."""
    if isinstance(given, np.ndarray) and given.dtype.kind in "OU":
        given = given.tolist()
    if not isinstance(given, (list, tuple)):
        return given
    if not given:
        raise ValueError("`filenames` must name an image at least. Received: []")
    seen = [one for one in given if one is not None]
    if not seen or not all(isinstance(one, (str, os.PathLike)) for one in seen):
        return given
    resizing = [one for one in network.layers if isinstance(one, keras.layers.Resizing)]
    size = (resizing[0].height, resizing[0].width) if resizing else None
    return load_images(given, size, network.input_shape[-1] or 3)


def _with_channels(images, network):
    """Images (N, height, width, channels), gray ones with the channels that a network sees."""
    if len(images.shape) == 3:
        images = images[..., None]
    channels = network.input_shape[-1]
    if channels is not None and images.shape[-1] == 1 and channels > 1:
        images = keras.ops.repeat(images, channels, axis=-1)
    return images
