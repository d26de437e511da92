"""Its module: `UMAP`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kserket import storage
from kserket.core import messages, tensors
from kserket.core.attributes import Fixed
from kserket.core.inference import Inference
from kserket.core.learning_module import LearningModule
from kserket.core.options import check_flag, check_positive_int
from kserket.core.registry import register_module
from kserket.inference import neighbor_embedding
from kserket.typing import Floats, Mode, PathLike

_BLOCK = 2_000_000  # distances held at a time


class Embedding(NamedTuple):
    """Data that were embedded, and where they lie: what new data are compared with.

    Attributes:
        samples: (M, D) float32, in `units`.
        places: (M, P) float32.
        units: `neighbor_embedding.Units`.
    """

    samples: np.ndarray
    places: np.ndarray
    units: neighbor_embedding.Units

    def locate(self, x: Any, num_neighbors: int) -> Any:
        """The median place (N, P) of the nearest neighbors of data in `units`, a tensor (N, D)."""
        center = self.samples.mean(axis=0)
        samples = self.samples - center
        nearness = tf.matmul(x - center, samples, transpose_b=True) - 0.5 * (samples**2).sum(axis=1)
        nearest = tf.math.top_k(nearness, num_neighbors).indices
        places = tf.sort(tf.gather(tf.constant(self.places), nearest), axis=1)
        middle = (num_neighbors - 1) // 2, num_neighbors // 2
        return 0.5 * (places[:, middle[0]] + places[:, middle[1]])


@register_module("kserket")
class UMAP(LearningModule):
    """Lays data out flat, by their nearest neighbors: a UMAP embedding for a mixture above.

    Data such as images lie on curved sheets, where near neighbors belong together and distant
    points of one class need not be alike. In the embedding classes are tight groups.

    It embeds in the first update, and again where the data it reads are others. A new sample lies
    at the median place of its nearest neighbors among those that were embedded, which sorts better
    than UMAP's own transform, and much faster. It needs umap-learn (`pip install kserket[umap]`)
    to learn, and nothing to predict.

    Args:
        num_features: Dimensions P of the embedding; as many as the data have, if these are fewer.
        num_neighbors: Nearest neighbors of each sample that are looked at.
        name: Module name.
        mode: "learn" or "recog" (recognition).
        standardize: Whether each feature is brought to unit variance first, as those of a table in
            several units need.
        save_dir: Folder in which `module002_umap/` is made; None writes nothing.
        load_dir: A module's own folder to take parameters from.
        seed: Integer that determines all randomness.
        keep_rounds: Whether the files of every update are kept, see `LearningModule`.

    Messages:
        Reads: x (N, ...), from one module; the mean of a `Gaussian`. Missing rows stay missing.
        Forward: places (N, P). Backward: none, and what comes from above is ignored.

    Files:
        `parameters.h5`, `z_{mode}.txt` (N, P).

    Raises:
        ImportError: If it learns and umap-learn is not installed.
        ValueError: If an option is no positive integer, or there are too few samples.

    Reference:
        McInnes, Healy and Melville, "UMAP: Uniform Manifold Approximation and Projection for
        Dimension Reduction", arXiv:1802.03426, 2018.

    Example:

    ```python
    import kserket as srk
    from kserket import gmm, views

    x, labels = srk.datasets.load_digits()
    umap1 = views.UMAP()
    gmm1 = gmm.GMM(10, category=labels)
    umap1.connect(srk.Observation(x))
    gmm1.connect(umap1)
    history = srk.Graph(gmm1, seed=0).fit(rounds=1)
    print(history.history["gmm/accuracy"])
    ```
    """

    links_samples = False
    evidence_uses_prior = False
    predicts_inputs = False
    draws_inputs = False
    num_features, num_neighbors, standardize = Fixed(), Fixed(), Fixed()
    model: Any  # an `Embedding`, or None

    def __init__(
        self,
        num_features: int = neighbor_embedding.NUM_FEATURES,
        num_neighbors: int = neighbor_embedding.NUM_NEIGHBORS,
        name: str = "umap",
        mode: Mode = "learn",
        *,
        standardize: bool = False,
        save_dir: PathLike | None = ".",
        load_dir: PathLike | None = None,
        seed: int | None = None,
        keep_rounds: bool = False,
    ) -> None:
        check_positive_int(num_features=num_features, num_neighbors=num_neighbors)
        check_flag(standardize=standardize)
        super().__init__(
            name, mode, save_dir=save_dir, load_dir=load_dir, seed=seed, keep_rounds=keep_rounds
        )
        self.num_features, self.num_neighbors = int(num_features), int(num_neighbors)
        self.standardize = bool(standardize)

    def settings(self) -> dict[str, Any]:
        names = "num_features", "num_neighbors", "standardize"
        return {name: getattr(self, name) for name in names}

    def check(self, inputs: list[Any], prior: Any) -> None:
        if len(inputs) != 1:
            raise ValueError(f"{self.get_name()} reads one module. Received: {len(inputs)}")

    def build_model(self, inputs: list[Any]) -> Embedding:
        size = int(np.prod(np.shape(inputs[0])[1:]))
        scale = np.ones(size if self.standardize else ())
        units = neighbor_embedding.Units(np.zeros(size), scale)
        places = np.zeros((0, min(self.num_features, size)), "float32")
        return Embedding(np.zeros((0, size), "float32"), places, units)

    def get_parameters(self) -> dict[str, Any]:
        location, scale = self.model.units
        places = {"samples": self.model.samples, "places": self.model.places}
        return {**places, "location": location, "scale": scale}

    def set_parameters(self, arrays: dict[str, Any]) -> None:
        size, features = self.model.samples.shape[1], self.model.places.shape[1]
        number = len(arrays["samples"]) if np.ndim(arrays.get("samples")) else 0
        shapes = {
            "samples": (number, size),
            "places": (number, features),
            "location": (size,),
            "scale": (size,) if self.standardize else (),
        }
        for name, shape in shapes.items():
            found = arrays.get(name)
            if found is None or np.shape(found) != shape or not np.isfinite(found).all():
                raise ValueError(
                    f"The saved parameters do not fit {self.get_name()}: {name} must be finite, of "
                    f"shape {shape}. Received: {'nothing' if found is None else np.shape(found)}"
                )
        units = neighbor_embedding.Units(
            np.asarray(arrays["location"]), np.asarray(arrays["scale"])
        )
        self.model = Embedding(
            np.asarray(arrays["samples"], "float32"),
            np.asarray(arrays["places"], "float32"),
            units,
        )

    def learn(self, inputs: list[Any], prior: Any, rng: np.random.Generator) -> dict[str, float]:
        x, seed = inputs[0], int(rng.integers(2**31 - 1))
        rows, before = self._embedded_rows(x), self.model
        needed = max(self.num_features, self.num_neighbors) + 3
        if len(rows) < needed:
            raise ValueError(
                f"{self.get_name()} needs {needed} samples at least, more than it has neighbors "
                f"({self.num_neighbors}) and features ({self.num_features}). Received: {len(rows)}"
            )
        units, samples = self._read(x, rows)
        if np.array_equal(samples, before.samples):
            return {}
        same = len(samples) == len(before.samples)
        places = neighbor_embedding.embed(
            samples, seed, self.num_features, self.num_neighbors, before.places if same else None
        )
        self.model = Embedding(samples, places, units)
        return {}

    def infer(self, inputs: list[Any], prior: Any) -> Inference:
        x, model = inputs[0], self._learned
        missing = messages.missing_rows(x)

        def locate(part):
            part = np.nan_to_num(np.asarray(part)).reshape(len(part), -1)
            block = max(1, _BLOCK // len(model.samples))
            pieces = [part[first : first + block] for first in range(0, len(part), block)]
            points = [tf.constant(model.units(piece)) for piece in pieces]
            return np.concatenate([model.locate(p, self.num_neighbors).numpy() for p in points])

        places = storage.apply(locate, np.asarray(x))
        if missing is not None:
            places = np.where(missing[:, None], np.float32("nan"), places)
        return Inference(places, [None])

    def infer_learned(self, inputs: list[Any], prior: Any) -> Inference:
        """As `infer`, but samples that were embedded lie where they were laid."""
        inference, model = self.infer(inputs, prior), self._learned
        rows = self._embedded_rows(inputs[0])
        if len(rows) != len(model.samples):
            return inference
        _, samples = self._read(inputs[0], rows)
        places = np.array(inference.evidence)
        known = (samples == model.samples).all(axis=1)
        places[rows[known]] = model.places[known]
        return Inference(places, [None])

    def text_files(self, inference: Inference) -> dict[str, Floats]:
        return {"z_{mode}.txt": np.nan_to_num(inference.evidence)}

    def tensor_infer(self, inputs: list[Any], prior: Any) -> tensors.Inference:
        """`infer` on tensors.

        Args:
            inputs: List of one tensor or message.
            prior: Not used.
        """
        model, x = self._learned, tensors.as_gaussian(inputs[0])
        mean = tf.reshape(x.mean, [-1, model.samples.shape[1]])
        missing = tensors.missing_rows(mean) if x.missing is None else x.missing
        mean = tf.where(missing[:, None], tf.zeros_like(mean), mean)
        location, scale = model.units
        mean = (mean - tf.constant(location, mean.dtype)) / tf.constant(scale, mean.dtype)
        places = model.locate(tf.cast(mean, "float32"), self.num_neighbors)
        places = tf.where(missing[:, None], tf.constant(np.nan, places.dtype), places)
        return tensors.Inference(places, [None])

    @property
    def _learned(self) -> Embedding:
        """Its model; RuntimeError before something was embedded."""
        if self.model is None or not len(self.model.samples):
            raise RuntimeError(f"{self.get_name()} has learned nothing yet. Call update() first.")
        return self.model

    def _embedded_rows(self, x):
        """Which rows (M,) of data are embedded: all that are not missing, or a sample of them."""
        missing = messages.missing_rows(x)
        rows = np.arange(len(x)) if missing is None else np.flatnonzero(~missing)
        most = neighbor_embedding.MAX_SAMPLES
        if len(rows) > most:  # the same ones for the same data
            rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
        return rows

    def _read(self, x, rows):
        """`Units` of some rows of data, and these in them, (M, D) float32."""
        x = np.asarray(x)
        sample = storage.gather(x, rows, np.promote_types(x.dtype, "float32"))
        sample = sample.reshape(len(rows), -1)
        units = neighbor_embedding.units(sample, self.standardize)
        return units, units(sample)
