"""What a Gaussian mixture has learned: Keras weights, read and written."""

from typing import Any

import keras
import numpy as np

from kserket.core.attributes import ReadOnly
from kserket.core.sweep_model import SweepModel
from kserket.inference import gaussian_mixture
from kserket.inference.gaussian_mixture.data import Found
from kserket.inference.power_transform import PowerTransform
from kserket.typing import Floats


class MixtureParameters(SweepModel):
    """Parameters of a `GaussianMixture`, and what is known of them without data."""

    num_components = ReadOnly("_number")

    def build(self, input_shape: Any) -> None:
        if self.num_components is None:
            raise ValueError(
                f"{self.name} finds its number of components in data: call fit(x) before build()."
            )
        shape = input_shape["x"] if isinstance(input_shape, dict) else input_shape
        components, features = self.num_components, int(shape[-1])
        sizes = {
            "prior_weight_concentration": (),
            "prior_mean": (features,),
            "prior_mean_precision": (),
            "prior_degrees_of_freedom": (),
            "prior_scatter": (features, features),
            "weight_concentration": (components,),
            "mean": (components, features),
            "mean_precision": (components,),
            "degrees_of_freedom": (components,),
            "scatter": (components, features, features),
        }
        if self.learns_powers:
            sizes |= {f"transform_{name}": (features,) for name in PowerTransform._fields}
        sizes["resolution"] = (features,)
        self._parameters = self._add_parameters(sizes)
        self.num_features = features
        self.built = True

    _signed = (
        *("mean", "scatter", "prior_mean", "prior_scatter"),
        *("transform_power", "transform_location", "transform_mean"),
    )

    def check_parameters(self) -> None:
        """As in `SweepModel`; a fitted mixture's covariances must be positive definite, too."""
        super().check_parameters()
        if not self.is_fitted:
            return
        scatter, freedom = self.state.scatter, self.state.degrees_of_freedom
        scale = np.sqrt(np.maximum(np.diagonal(scatter, axis1=1, axis2=2), 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = scatter / (scale[:, :, None] * scale[:, None, :])
        if not np.isfinite(scaled).all() or (np.linalg.eigvalsh(scaled) < -1e-6).any():
            raise ValueError(f"The parameter scatter of {self.name} must be positive definite.")
        if (freedom <= self.num_features - 1).any() or (self.state.mean_precision <= 0).any():
            raise ValueError(
                f"The degrees of freedom of {self.name} must be more than "
                f"{self.num_features - 1}, and its mean_precision positive."
            )

    @property
    def is_fitted(self) -> bool:
        """Whether the parameters come from data."""
        return self.built and float(self._parameters["mean_precision"][0]) > 0

    @property
    def prior(self) -> Any:
        """The hyper-parameters in force, `inference.gaussian_mixture.Prior`."""
        if not self.built:
            self._fitted()  # raises
        return self._gather(gaussian_mixture.Prior, "prior_")

    @property
    def state(self) -> Any:
        """The posterior over parameters, `inference.gaussian_mixture.State`; None before fit."""
        return self._gather(gaussian_mixture.State) if self.is_fitted else None

    @property
    def found(self) -> Any:
        """What was learned, `inference.gaussian_mixture.data.Found`; None before fit."""
        if not self.is_fitted:
            return None
        gaps = self._parameters["resolution"].numpy()
        prior = self._gather(gaussian_mixture.Prior, "prior_")
        return Found(prior, self._gather(gaussian_mixture.State), self.power_transform, gaps)

    @property
    def power_transform(self) -> Any:
        """What data pass through, `inference.power_transform.PowerTransform`; None if nothing."""
        if not self.learns_powers or not self.is_fitted:
            return None
        return self._gather(PowerTransform, "transform_")

    @property
    def means(self) -> Floats:
        """Component means (K, D); medians under a power transform."""
        self._fitted()
        return self.found.means()

    @property
    def covariances(self) -> Floats:
        """Component covariances (K, D, D); under a power transform to first order at `means`."""
        self._fitted()
        return self.found.covariances()

    @property
    def mixing_weights(self) -> Floats:
        """Expected mixing weights (K,)."""
        concentration = self._fitted().weight_concentration
        return concentration / concentration.sum()

    def adopt(self, found: Any) -> None:
        """Takes over what learning has found.

        Args:
            found: `inference.gaussian_mixture.data.Found`.

        Raises:
            ValueError: If it is not finite. Nothing is changed then.
        """
        parts = {"prior_": found.prior, "": found.state, "transform_": found.transform}
        parts = {prefix: part for prefix, part in parts.items() if part is not None}
        if not all(np.isfinite(field).all() for part in parts.values() for field in part):
            raise ValueError(
                f"{self.name} cannot learn from these data: their squares overflow. Scale the "
                "data. Nothing was changed."
            )
        self.resize(*found.state.mean.shape)
        for prefix, part in parts.items():
            self._assign(part, prefix)
        self._parameters["resolution"].assign(found.resolution)

    def resize(self, num_components: int | None, num_features: int) -> None:
        """Builds the model anew, unless it has so many components; all parameters are then zero.

        Args:
            num_components: K; None leaves the model without parameters.
            num_features: D.
        """
        if self.built and num_components == self.num_components:
            return
        self._tracker.unlock()
        for weight in list(self.weights):
            self._untrack_variable(weight)
        self._parameters, self.built, self._number = {}, False, num_components
        if num_components is not None:
            self.build((None, num_features))

    def _signature(self):
        shape = (None, self.num_features)
        return [keras.layers.InputSpec(shape=shape, dtype="float32", name="x")]

    def get_build_config(self) -> dict[str, Any] | None:
        if not self.built:
            return None
        return {
            "input_shape": (None, self.num_features),
            "num_components": self.num_components,
        }

    def build_from_config(self, config: dict[str, Any]) -> None:
        self._number = config.get("num_components", self.num_components)  # not in 0.1.0
        super().build_from_config({"input_shape": config["input_shape"]})

    def load_own_variables(self, store: Any) -> None:
        entries = {name: store[name] for name in store.keys()}
        for name in ("assignments", "groups"):  # of samples, in files of 0.1
            entries.pop(name, None)
        if len(entries) - ("num_fits" in entries) < len(self.weights):
            entries[str(len(self.weights) - 1)] = np.zeros(self.num_features)  # resolution
        super().load_own_variables(entries)
