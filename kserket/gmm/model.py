"""The Keras model: `GaussianMixture`."""

from typing import Any, Literal, Self

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import ArrayLike

from kserket import storage
from kserket.arrays import as_numbers
from kserket.core.keywords import suggests
from kserket.core.named_inputs import named_inputs
from kserket.core.options import (
    check_choice,
    check_classes,
    check_flag,
    check_nonnegative_int,
    check_positive,
    check_positive_int,
    make_rng,
    shown,
)
from kserket.core.sweep_model import SweepModel
from kserket.gmm import rule
from kserket.gmm.data import read
from kserket.inference import gaussian_gibbs, gaussian_mixture
from kserket.inference.gaussian_mixture import learning
from kserket.inference.power_transform import PowerTransform
from kserket.typing import Callbacks, Floats, Integers, Seed, Verbose

_LARGEST_GAP = 1e150  # its square is finite


@keras.saving.register_keras_serializable(package="kserket")
class GaussianMixture(SweepModel):
    """A Bayesian mixture of Gaussians, learned by variational Bayes or Gibbs sampling.

    A model without gradients: `fit` counts sweeps as epochs, its parameters are non-trainable
    weights. `predict` gives responsibilities (N, K). Inputs are x (N, D), or a dict of x and

    - `variance` (N, D): x is then the mean of a Gaussian, and E[xx'] = mean mean' +
      diag(variance) enters the statistics;
    - `class_prior` (N, K): class probabilities of each datum, instead of the mixing
      weights.

    A second `fit` goes on from where the first ended, unless `warm_start=False`. Components keep
    their numbers from fit to fit; a start under a class prior takes their meaning from that, if it
    tells samples apart. One that is the same for all samples changes how probable classes are.

    Results do not depend on the features' units. Features that are recorded on a grid, such as 0/1
    columns, counts and codes, are found (see `resolution`).

    Args:
        num_components: Number of components K.
        inference: "variational" (variational Bayes), or "gibbs" (Serket's collapsed sampler).
        init: Where the first fit starts: "kmeans" (from k-means++), or "umap" (a mixture over a
            UMAP embedding, for data on curved sheets, such as images; needs umap-learn).
        n_init: Number of starts by k-means, of which the best by the bound is taken; None makes 30,
            fewer of data of more than 150 features, whose sweeps take long.
        warm_start: Whether a fit goes on from the last one. Else each starts afresh, on the data as
            they are then, and components take the numbers of the old ones that they share most
            samples with.
        power_transform: Whether each feature passes through a curve that takes skewness away, a
            Yeo-Johnson power transform, learned with the mixture at the first fit (variational
            inference only). For tables of measurements; the first fit takes several times as
            long. `prior` and `state` speak of the transformed data, everything else of the data.
        keep_groups: With `init="umap"`, whether the groups that a fit starts from stay evidence
            of each sample's class, beside x, in its sweeps; in a graph also in later updates of the
            same samples. Else they are a start and no more. New samples are in no group: `predict`
            knows x alone. A start under a class prior that decides finds no groups, so that with
            `warm_start=False` an update under such a prior keeps none.
        resolution: How far the values of a feature lie apart where they are recorded on a grid: a
            number or (D,), 0 for exact data. None finds it at the first fit, from data that come
            without a variance. gap^2 / 12 is the variance that each datum then has.
        weight_concentration: Dirichlet concentration of each mixing weight; None is learned with
            the next two, and 1 where they are given or a class prior replaces the weights.
        mean_precision: How many data the prior mean of a component counts as. If this and the
            next are None, both are learned from the data at the first fit, and with them which
            covariance to expect, by the bound (empirical Bayes); if one is given, the other is 1
            or D + 2.
        degrees_of_freedom: Degrees of freedom of the Wishart prior: the more, the more alike are
            the components' covariances.
        tolerance: Sweeps end early when the bound per sample gains less than this; None does
            every sweep.
        seed: Integer that determines starts and sampling.
        **kwargs: `name`.

    Raises:
        ValueError: If an option is unknown.

    Reference:
        Bishop, "Pattern Recognition and Machine Learning", section 10.2 (variational);
        Murphy, "Conjugate Bayesian analysis of the Gaussian distribution", 2007 (predictive).

    Example:

    ```python
    import kserket

    x, labels, *_ = kserket.datasets.make_mixture(300, 3, 2, seed=0)
    model = kserket.GaussianMixture(3, seed=0)
    model.fit(x, epochs=50, verbose=0)
    print(kserket.metrics.clustering_accuracy(labels, model.predict(x).argmax(axis=1)))
    ```
    """

    def __init__(
        self,
        num_components: int,
        *,
        inference: Literal["variational", "gibbs"] = "variational",
        init: Literal["kmeans", "umap"] = "kmeans",
        n_init: int | None = None,
        warm_start: bool = True,
        keep_groups: bool = False,
        power_transform: bool = False,
        resolution: ArrayLike | None = None,
        weight_concentration: float | None = None,
        mean_precision: float | None = None,
        degrees_of_freedom: float | None = None,
        tolerance: float | None = 1e-6,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_choice("inference", inference, "variational", "gibbs")
        check_choice("init", init, "kmeans", "umap")
        check_flag(warm_start=warm_start, keep_groups=keep_groups, power_transform=power_transform)
        if keep_groups and init != "umap":
            raise ValueError(f"`keep_groups` needs init='umap'. Received: init={init!r}")
        if power_transform and inference != "variational":
            raise ValueError(
                "`power_transform` needs inference='variational'. "
                f"Received: inference={inference!r}"
            )
        check_positive_int(num_components=num_components)
        hyper = {
            "weight_concentration": weight_concentration,
            "mean_precision": mean_precision,
            "degrees_of_freedom": degrees_of_freedom,
        }
        check_positive(**{name: value for name, value in hyper.items() if value is not None})
        if resolution is not None:
            gaps = as_numbers(resolution, "`resolution`").astype("float64")
            valid = (gaps >= 0) & (gaps <= _LARGEST_GAP)  # false for NaN
            if gaps.ndim > 1 or not gaps.size or not valid.all():
                raise ValueError(
                    "`resolution` must be a number from 0 to 1e150, one for each feature, or None. "
                    f"Received: {shown(resolution)}"
                )
            resolution = gaps.tolist()
        super().__init__(n_init=n_init, tolerance=tolerance, seed=seed, **kwargs)
        self.num_components = int(num_components)
        self.inference = inference
        self.init = init
        self.warm_start = bool(warm_start)
        self.keep_groups = bool(keep_groups)
        self.learns_powers = bool(power_transform)
        self.resolution = resolution
        self.hyper_parameters = {
            name: value if value is None else float(value) for name, value in hyper.items()
        }

    # Parameters -------------------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
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
        """What was learned, `inference.gaussian_mixture.learning.Found`; None before fit."""
        if not self.is_fitted:
            return None
        gaps = self._parameters["resolution"].numpy()
        return learning.Found(self.prior, self.state, self.power_transform, gaps)

    @property
    def power_transform(self) -> Any:
        """What data pass through, `inference.power_transform.PowerTransform`; None if nothing."""
        if not self.learns_powers or not self.is_fitted:
            return None
        return self._gather(PowerTransform, "transform_")

    @property
    def means(self) -> Floats:
        """Component means (K, D); medians under a power transform."""
        mean, transform = self._fitted().mean, self.power_transform
        return mean if transform is None else transform.inverse(mean)

    @property
    def covariances(self) -> Floats:
        """Component covariances (K, D, D); under a power transform to first order at `means`."""
        covariances, transform = gaussian_mixture.covariances(self._fitted()), self.power_transform
        if transform is None:
            return covariances
        slopes = np.exp(-transform.log_slope(self.means))
        return covariances * slopes[:, :, None] * slopes[:, None, :]

    @property
    def mixing_weights(self) -> Floats:
        """Expected mixing weights (K,)."""
        concentration = self._fitted().weight_concentration
        return concentration / concentration.sum()

    def adopt(self, found: Any) -> None:
        """Takes over what learning has found.

        Args:
            found: `inference.gaussian_mixture.learning.Found`.

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
        for prefix, part in parts.items():
            self._assign(part, prefix)
        self._parameters["resolution"].assign(found.resolution)

    # Learning ---------------------------------------------------------------------------

    @suggests
    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        epochs: int = 100,
        callbacks: Callbacks = (),
        verbose: Verbose = "auto",
    ) -> keras.callbacks.History:
        """Runs sweeps over the data.

        Args:
            x: Array (N, D), a `Gaussian` message, or a dict of `x`, `variance` and
                `class_prior`.
            y: Not used.
            sample_weight: Optional (N,), not negative (variational inference only).
            epochs: Number of sweeps.
            callbacks: Keras callbacks; an epoch is a sweep.
            verbose: 0 is silent, "auto" shows a fit that takes long, 1 shows every fit.

        Returns:
            A `keras.callbacks.History` of `bound` (or `log_joint` for the sampler), in nats.

        Raises:
            ValueError: If shapes do not agree, values are not finite, or no datum counts.
        """
        data = self._read(x, sample_weight)
        history, _ = self.sweep(data, self.found, epochs, callbacks, verbose, self._make_rng())
        return history

    def sweep(
        self,
        data: Any,
        found: Any,
        num_sweeps: int,
        callbacks: Callbacks,
        verbose: Verbose,
        rng: np.random.Generator,
    ) -> Any:
        """`fit` of checked data, from what was found before.

        Args:
            data: `inference.gaussian_mixture.learning.Data`.
            found: `Found`, with groups and classes where samples are known, or None.
            num_sweeps: Number of sweeps.
            callbacks: As in `fit`.
            verbose: As in `fit`.
            rng: `numpy.random.Generator`.

        Returns:
            A `keras.callbacks.History`, and the `Found` that was adopted.

        Raises:
            ValueError: If learning fails. The model is what it was before then.
        """
        learning.check_counts(data)
        if not self.built:
            self.build(data.x.shape)
        before, result = self.get_weights(), None

        def run(report):
            nonlocal result
            result = learning.learn(data, self._options(), found, rng, num_sweeps, report)
            return lambda: result

        figure = "bound" if self.inference == "variational" else "log_joint"
        try:
            history = self._sweep(
                run, lambda reach: self.adopt(reach()), figure, num_sweeps, callbacks, verbose
            )
        except Exception:
            self.set_weights(before)
            raise
        return history, result

    @suggests
    def partial_fit(self, x: Any, *, sample_weight: ArrayLike | None = None) -> Self:
        """Adds data to what was learned, in one pass, and forgets them.

        The first call starts from these data as `fit` does, with one sweep.

        Args:
            x: As in `fit`.
            sample_weight: Optional (N,).

        Returns:
            The model itself.
        """
        if not self.is_fitted:
            self.fit(x, sample_weight=sample_weight, epochs=1, verbose=0)
            return self
        before = gaussian_mixture.statistics_of(self.prior, self._fitted())
        return self.merge(before, self.statistics(x, sample_weight=sample_weight))

    def statistics(self, x: Any, *, sample_weight: ArrayLike | None = None) -> Any:
        """What one sweep over these data adds up, under the parameters as they are.

        Args:
            x: As in `fit`.
            sample_weight: Optional (N,).

        Returns:
            `inference.gaussian_mixture.Statistics`: sums over the data, so that those of parts
            may be computed anywhere and given to `merge` together.
        """
        self._fitted()
        return self._statistics(self._read(x, sample_weight))

    def _statistics(self, data):
        """`statistics` of checked data."""
        found = self.found
        data = learning.prepared(data.seen()[0], found)
        return gaussian_mixture.statistics(
            found.prior, found.state, data.x, data.variance, data.log_prior, data.weight
        )

    def _update(self, statistics):
        state = gaussian_mixture.maximize(self.prior, gaussian_mixture.merge(*statistics))
        self.adopt(self.found._replace(state=state))

    # Use --------------------------------------------------------------------------------

    def call(self, inputs: Any) -> Any:
        """Responsibilities (N, K), as TensorFlow operations.

        Args:
            inputs: Tensor x (N, D), or a dict of x, `variance` and `class_prior`.
        """
        inputs = inputs if isinstance(inputs, dict) else {"x": inputs}
        double = {name: ops.cast(part, "float64") for name, part in inputs.items()}
        x, variance, log_prior, heard = double["x"], double.get("variance"), None, None
        if variance is not None:
            finite = ops.isfinite(variance)
            heard = ops.cast(ops.all(finite, axis=1, keepdims=True), "float64")
            variance = ops.where(finite, variance, 0.0)
        if "class_prior" in double:
            log_prior = ops.log(double["class_prior"])
        terms = self.terms()
        likelihood = rule.density(terms, x, variance)
        _, log_posterior = rule.conclude(likelihood, terms.log_weights, log_prior, heard)
        return tf.nn.softmax(log_posterior, axis=-1)

    def terms(self) -> Any:
        """What densities need, `gmm.rule.Terms`: tensors that follow every change of weights."""
        weights = {name: weight.value for name, weight in self._parameters.items()}
        return rule.terms(weights, self.inference)

    @suggests
    def predict(
        self, x: Any, batch_size: int | None = None, verbose: Any = 0, **kwargs: Any
    ) -> Floats:
        """Responsibilities of data.

        Args:
            x: As in `fit`.
            batch_size: Not needed; data are read in chunks.
            verbose: Not used.
            **kwargs: Ignored.

        Returns:
            Float64 array (N, K).
        """
        self._fitted()
        data = self._read(x)
        posterior = self.conclude(data, self.likelihood(data))[1]
        return storage.apply(_probabilities, posterior)

    def component_log_likelihood(self, x: ArrayLike, variance: ArrayLike | None = None) -> Floats:
        """log p(x | component), up to a constant of the datum: what the data alone say.

        Args:
            x: Array (N, D), or a `Gaussian` message.
            variance: Optional (N, D).

        Returns:
            Float64 array (N, K): expected under the posterior over parameters (variational),
            or the posterior predictive (sampler).

        Raises:
            ValueError: If shapes do not fit or values are not finite.
        """
        self._fitted()
        data = self._read(x if variance is None else {"x": x, "variance": variance})
        likelihood = self.likelihood(data)
        if data.missing is not None:
            likelihood[data.missing] = 0.0
        return likelihood

    def likelihood(self, data: Any) -> Floats:
        """`component_log_likelihood` of checked data, (N, K); missing rows have no meaning."""
        return learning.component_log_likelihood(data, self.found, self.inference)

    def conclude(self, data: Any, likelihood: Floats) -> Any:
        """What is sent up and the posterior, of checked data.

        Args:
            data: `inference.gaussian_mixture.learning.Data`.
            likelihood: (N, K), what `likelihood` returned, and whatever else is known.

        Returns:
            Evidence and posterior, logarithms (N, K) that are not normalized.
        """
        log_weights = learning.log_weights(self._fitted(), self.inference)
        heard = None if data.missing is None else ~data.missing[:, None]
        if data.log_prior is None:
            both = storage.apply(
                lambda part, heard: rule.conclude(part, log_weights, None, heard)[0],
                likelihood,
                heard,
            )
            return both, both
        return storage.apply(
            lambda part, prior, heard: rule.conclude(part, log_weights, prior, heard),
            likelihood,
            data.log_prior,
            heard,
        )

    def log_likelihood(self, x: Any, class_prior: ArrayLike | None = None) -> Floats:
        """log p(x) of each datum, parameters integrated out.

        Args:
            x: Array (N, D).
            class_prior: Optional (N, K), used instead of the mixing weights.

        Returns:
            Float64 array (N,).

        Raises:
            ValueError: If shapes do not fit or values are not finite.

        Reference:
            The Student t mixture of Bishop, "Pattern Recognition and Machine Learning",
            equation 10.81.
        """
        self._fitted()
        data = self._read(x if class_prior is None else {"x": x, "class_prior": class_prior})
        return self.log_density(data)

    def score_samples(self, x: Any, class_prior: ArrayLike | None = None) -> Floats:
        """`log_likelihood`, by the name that scikit-learn has for it."""
        return self.log_likelihood(x, class_prior)

    def component_log_density(self, data: Any) -> Floats:
        """log p(x | component), parameters integrated out, of checked data: (N, K) in nats."""
        state, transform = self._fitted(), self.power_transform
        if transform is None:
            return gaussian_gibbs.log_predictive(state, data.x)
        likelihood = gaussian_gibbs.log_predictive(state, storage.apply(transform.forward, data.x))
        return storage.apply(
            lambda part, x: part + transform.log_slope(x).sum(axis=1, keepdims=True),
            likelihood,
            data.x,
        )

    def log_density(self, data: Any) -> Floats:
        """`log_likelihood` of checked data, (N,); missing rows have no meaning."""
        log_weights = np.log(self.mixing_weights)
        return storage.apply(
            lambda part, prior: np.logaddexp.reduce(
                part + (log_weights if prior is None else prior), axis=1
            ),
            self.component_log_density(data),
            data.log_prior,
        )

    def _mean_log_likelihood(self, x, sample_weight=None):
        parts = named_inputs(x, "class_prior")
        scores = self.score_samples(parts["x"], parts.get("class_prior"))
        return np.average(scores, weights=self._read(parts, sample_weight).weight)

    def lower_bound(self, x: Any, *, sample_weight: ArrayLike | None = None) -> float:
        """The variational bound on log p(data), in nats.

        Args:
            x: As in `fit`.
            sample_weight: Optional (N,).

        Returns:
            A float.
        """
        state, (data, _) = self._fitted(), self._read(x, sample_weight).seen()
        bound = gaussian_mixture.lower_bound(
            self.prior,
            state,
            self._statistics(data),
            uses_class_prior=data.log_prior is not None,
        )
        return bound + learning.log_slopes(data, self.power_transform)

    @suggests
    def sample(
        self, num_samples: int, component: ArrayLike | None = None, seed: Seed = None
    ) -> tuple[Floats, Integers]:
        """Draws data from the expected mixture.

        Args:
            num_samples: How many.
            component: Draw from this one only, or from one per sample (num_samples,).
            seed: Integer or `numpy.random.Generator`.

        Returns:
            `(x, components)`, arrays (num_samples, D) and (num_samples,).

        Raises:
            ValueError: If `num_samples` is not a whole number, or `component` is not a class.
        """
        check_nonnegative_int(num_samples=num_samples)
        rng = make_rng(seed)
        state, transform = self._fitted(), self.power_transform
        means = state.mean
        factors = np.linalg.cholesky(gaussian_mixture.covariances(state))
        if component is None:
            components = rng.choice(len(means), size=num_samples, p=self.mixing_weights)
        else:
            components = check_classes("component", component, num_samples, len(means))
        noise = rng.standard_normal((num_samples, means.shape[1]))
        x = means[components] + np.einsum("nij,nj->ni", factors[components], noise)
        if transform is not None:
            x = transform.inverse(x)
        return x, components

    def _read(self, x, sample_weight=None):
        """Checked inputs, `inference.gaussian_mixture.learning.Data`."""
        return read(
            x,
            num_components=self.num_components,
            num_features=self.num_features if self.built else None,
            sample_weight=sample_weight,
            gibbs=self.inference == "gibbs",
        )

    def _options(self):
        """The options of learning."""
        names = learning.Options._fields
        return learning.Options(**{name: getattr(self, name) for name in names})

    def _signature(self):
        shape = (None, self.num_features)
        return [keras.layers.InputSpec(shape=shape, dtype="float32", name="x")]

    def get_build_config(self) -> dict[str, Any] | None:
        return {"input_shape": (None, self.num_features)} if self.built else None

    def load_own_variables(self, store: Any) -> None:
        entries = {name: store[name] for name in store.keys()}
        for name in ("assignments", "groups"):  # of samples, in files of 0.1
            entries.pop(name, None)
        if len(entries) - ("num_fits" in entries) < len(self.weights):
            entries[str(len(self.weights) - 1)] = np.zeros(self.num_features)  # resolution
        super().load_own_variables(entries)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "inference": self.inference,
            "init": self.init,
            "warm_start": self.warm_start,
            "keep_groups": self.keep_groups,
            "power_transform": self.learns_powers,
            "resolution": self.resolution,
            **self.hyper_parameters,
        }


def _probabilities(logs):
    """Rows (n, K) of probabilities, from logarithms that are not normalized."""
    return np.exp(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))
