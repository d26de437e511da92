"""The Keras model: `GaussianMixture`."""

import warnings
from typing import Any, Literal, Self

import keras
import numpy as np
from numpy.typing import ArrayLike

from kserket.arrays import as_numbers
from kserket.core.keywords import suggests
from kserket.core.options import check_choice, check_flag, check_positive, check_positive_int, shown
from kserket.core.user_line import user_level
from kserket.gmm.data import read
from kserket.gmm.scoring import MixtureScoring
from kserket.inference import gaussian_mixture, outliers
from kserket.inference.gaussian_mixture import learning, scoring
from kserket.inference.gaussian_mixture.data import check_counts, prepared
from kserket.typing import Callbacks, Verbose

_LARGEST_GAP = 1e150  # its square is finite


@keras.saving.register_keras_serializable(package="kserket")
class GaussianMixture(MixtureScoring):
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
        num_components: Number of components K. None finds it at the first fit, by the evidence of
            the data (that fit's `class_prior` has it, where there is one); it stays until a fit
            starts afresh (`warm_start=False`). Until then `num_components` reads None.
        max_components: How many components `num_components=None` finds at most.
        sparse: Whether components that the data do not need stay empty: the fit starts from as many
            classes as `num_components=None` would find, K at most, and mixing weights have a
            sparse prior. A class prior replaces both.
        inference: "variational" (variational Bayes), or "gibbs" (Serket's collapsed sampler).
        init: Where the first fit starts: "kmeans" (from k-means++), "umap" (a mixture over a
            UMAP embedding, for data on curved sheets, such as images; needs umap-learn), or "prior"
            (from the class prior; before one decides, all components are one Gaussian of the data
            and tell no classes apart).
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
            same samples. "alone" does so while no class prior decides, and leaves samples free
            under one, as agents of a naming game must be. Else they are a start and no more. New
            samples are in no group: `predict` knows x alone. A start under a class prior that
            decides looks for no groups; with `warm_start=False` those found before stay.
        resolution: How far the values of a feature lie apart where they are recorded on a grid: a
            number or (D,), 0 for exact data. None finds it at the first fit, from data that come
            without a variance. gap^2 / 12 is the variance that each datum then has.
        allow_missing: Whether cells of x may be NaN or masked: what was not observed is integrated
            out (variational inference, not by UMAP). Rows that are NaN throughout say nothing.
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
        num_components: int | None,
        *,
        max_components: int = 50,
        sparse: bool = False,
        inference: Literal["variational", "gibbs"] = "variational",
        init: Literal["kmeans", "umap", "prior"] = "kmeans",
        n_init: int | None = None,
        warm_start: bool = True,
        keep_groups: bool | Literal["alone"] = False,
        power_transform: bool = False,
        resolution: ArrayLike | None = None,
        allow_missing: bool = False,
        weight_concentration: float | None = None,
        mean_precision: float | None = None,
        degrees_of_freedom: float | None = None,
        tolerance: float | None = 1e-6,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_choice("inference", inference, "variational", "gibbs")
        check_choice("init", init, "kmeans", "umap", "prior")
        flags = {"power_transform": power_transform, "allow_missing": allow_missing}
        check_flag(warm_start=warm_start, sparse=sparse, **flags)
        if not (isinstance(keep_groups, str) and keep_groups == "alone"):
            check_flag(keep_groups=keep_groups)
        if sparse and init != "kmeans":
            raise ValueError(f"`sparse` needs init='kmeans'. Received: init={init!r}")
        if keep_groups and init != "umap":
            raise ValueError(f"`keep_groups` needs init='umap'. Received: init={init!r}")
        if allow_missing and (inference != "variational" or init == "umap"):
            raise ValueError(
                "`allow_missing` needs inference='variational', and another start than 'umap'. "
                f"Received: inference={inference!r}, init={init!r}"
            )
        if power_transform and inference != "variational":
            raise ValueError(
                "`power_transform` needs inference='variational'. "
                f"Received: inference={inference!r}"
            )
        check_positive_int(max_components=max_components)
        if num_components is not None:
            check_positive_int(num_components=num_components)
        elif init == "prior":
            raise ValueError("init='prior' takes its components from above: give their number.")
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
        self.finds_number = num_components is None
        self._number = None if num_components is None else int(num_components)
        self.max_components = int(max_components)
        self.sparse = bool(sparse)
        self.inference = inference
        self.init = init
        self.warm_start = bool(warm_start)
        self.keep_groups = keep_groups if keep_groups == "alone" else bool(keep_groups)
        self.learns_powers = bool(power_transform)
        self.allow_missing = bool(allow_missing)
        self.resolution = resolution
        self.weight_concentration = weight_concentration
        self.mean_precision = mean_precision
        self.degrees_of_freedom = degrees_of_freedom
        self.hyper_parameters = {
            name: value if value is None else float(value) for name, value in hyper.items()
        }

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
        found = self.found
        new = self.finds_number and (found is None or not self.warm_start)
        with self.learning_columns(x):
            data = self._read(x, sample_weight)
            history, _ = self.sweep(
                data, found, epochs, callbacks, verbose, self._make_rng(), finds_number=new
            )
        return history

    def sweep(
        self,
        data: Any,
        found: Any,
        num_sweeps: int,
        callbacks: Callbacks,
        verbose: Verbose,
        rng: np.random.Generator,
        learn: Any = learning.learn,
        finds_number: bool = False,
    ) -> Any:
        """`fit` of checked data, from what was found before.

        Args:
            data: `inference.gaussian_mixture.data.Data`.
            found: `Found`, with groups and classes where samples are known, or None.
            num_sweeps: Number of sweeps.
            callbacks: As in `fit`.
            verbose: As in `fit`.
            rng: `numpy.random.Generator`.
            learn: What learns, with the arguments of `inference.gaussian_mixture.learning.learn`.
            finds_number: Whether to find the number of components.

        Returns:
            A `keras.callbacks.History`, and the `Found` that was adopted.

        Raises:
            ValueError: If learning fails. The model is what it was before then.
        """
        check_counts(data)
        if found is None and data.variance is None:
            _, text = outliers.find(data.x, self.columns)
            if text is not None:
                warnings.warn(
                    f"{self.name}: {text}. A mixture may spend a component on them. If they are "
                    "errors, or stand for what was not observed, set them to NaN, with "
                    "allow_missing=True: such cells are integrated out. In a graph, "
                    "Observation(valid_range=(low, high)) does so.",
                    stacklevel=user_level(),
                )
        if finds_number:
            self._check_number("num_components", callbacks)
        elif not self.built:
            self.build(data.x.shape)
        number, before, result = self.num_components, self.get_weights(), None
        options = self._options()._replace(num_components=None if finds_number else number)

        def run(report):
            nonlocal result
            result = learn(data, options, found, rng, num_sweeps, report)
            return lambda: result

        figure = "bound" if self.inference == "variational" else "log_joint"
        try:
            history = self._sweep(
                run,
                lambda reach: self.adopt(reach()),
                figure,
                num_sweeps,
                callbacks,
                verbose,
                len(data.x),
            )
        except Exception:
            self.resize(number if before else None, data.x.shape[1])
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
        with self.learning_columns(x):
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
        data = prepared(data.seen()[0], found)
        return gaussian_mixture.statistics(
            found.prior, found.state, data.x, data.variance, data.log_prior, data.weight
        )

    def _update(self, statistics):
        state = gaussian_mixture.maximize(self.prior, gaussian_mixture.merge(*statistics))
        self.adopt(self.found._replace(state=state))

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
        return bound + scoring.log_slopes(data, self.power_transform)

    def _read(self, x, sample_weight=None):
        """Checked inputs, `inference.gaussian_mixture.data.Data`."""
        return read(
            self.by_columns(x),
            num_components=self.num_components,
            num_features=self.num_features if self.built else None,
            sample_weight=sample_weight,
            gibbs=self.inference == "gibbs",
            allow_missing=self.allow_missing,
        )

    def _options(self):
        """The options of learning."""
        names = learning.Options._fields
        return learning.Options(**{name: getattr(self, name) for name in names})

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_components": None if self.finds_number else self.num_components,
            "max_components": self.max_components,
            "sparse": self.sparse,
            "inference": self.inference,
            "init": self.init,
            "warm_start": self.warm_start,
            "keep_groups": self.keep_groups,
            "power_transform": self.learns_powers,
            "resolution": self.resolution,
            "allow_missing": self.allow_missing,
            **self.hyper_parameters,
        }
