"""The Keras model: `GaussianMixture`."""

import numbers

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kserket import storage
from kserket.core.options import (
    check_choice,
    check_classes,
    check_nonnegative_int,
    check_positive_int,
)
from kserket.core.sweep_model import SweepModel
from kserket.gmm import tensors
from kserket.gmm.inputs import check
from kserket.gmm.learning import learn
from kserket.gmm.starts import any_weight_of, transformed
from kserket.inference import gaussian_gibbs, gaussian_mixture
from kserket.inference.power_transform import PowerTransform


@keras.saving.register_keras_serializable(package="kserket")
class GaussianMixture(SweepModel):
    """A Bayesian mixture of Gaussians, learned by variational Bayes or Gibbs sampling.

    A model without gradients: `fit` counts sweeps as epochs, its parameters are non-trainable
    weights. `predict` gives responsibilities (N, K). Inputs are x (N, D), or a dict of x and

    - `variance` (N, D): x is then the mean of a Gaussian, and E[xx'] = mean mean' +
      diag(variance) enters the statistics;
    - `class_prior` (N, K): class probabilities of each datum, in the place of the mixing
      weights.

    A second `fit` goes on from where the first ended, unless `warm_start=False`. Components keep
    their numbers from fit to fit; a start under a class prior takes their meaning from that.

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
            of each sample's class, beside x, in its sweeps and in those of later fits that read
            as many samples (taken to be the same). Else they are a start and no more. New samples
            are in no group: `predict` knows x alone. A start under a class prior finds no groups.
        weight_concentration: Dirichlet concentration of each mixing weight; None is learned with
            the next two, and 1 where they are given or a class prior stands in place of weights.
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
        num_components,
        *,
        inference="variational",
        init="kmeans",
        n_init=None,
        warm_start=True,
        keep_groups=False,
        power_transform=False,
        weight_concentration=None,
        mean_precision=None,
        degrees_of_freedom=None,
        tolerance=1e-6,
        seed=None,
        **kwargs,
    ):
        check_choice("inference", inference, "variational", "gibbs")
        check_choice("init", init, "kmeans", "umap")
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
        for option, value in hyper.items():
            if value is not None and not (isinstance(value, numbers.Real) and 0 < value < np.inf):
                raise ValueError(
                    f"`{option}` must be a positive, finite number or None. Received: {value!r}"
                )
        super().__init__(n_init=n_init, tolerance=tolerance, seed=seed, **kwargs)
        self.num_components = int(num_components)
        self.inference = inference
        self.init = init
        self.warm_start = bool(warm_start)
        self.keep_groups = bool(keep_groups)
        self.learns_powers = bool(power_transform)
        self.hyper_parameters = hyper
        self.assignments = self.groups = None

    # Parameters -------------------------------------------------------------------------

    def build(self, input_shape):
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
        self._parameters = self._add_parameters(sizes)
        self.num_features = features
        self.built = True

    @property
    def is_fitted(self):
        """Whether the parameters come from data."""
        return self.built and float(self._parameters["mean_precision"][0]) > 0

    @property
    def prior(self):
        """The hyper-parameters in force, `inference.gaussian_mixture.Prior`."""
        if not self.built:
            self._fitted()  # raises
        return self._gather(gaussian_mixture.Prior, "prior_")

    @property
    def state(self):
        """The posterior over parameters, `inference.gaussian_mixture.State`; None before fit."""
        return self._gather(gaussian_mixture.State) if self.is_fitted else None

    @property
    def power_transform(self):
        """What data pass through, `inference.power_transform.PowerTransform`; None if nothing."""
        if not self.learns_powers or not self.is_fitted:
            return None
        return self._gather(PowerTransform, "transform_")

    @property
    def means(self):
        """Component means (K, D); medians under a power transform."""
        mean, transform = self._fitted().mean, self.power_transform
        return mean if transform is None else transform.inverse(mean)

    @property
    def covariances(self):
        """Component covariances (K, D, D); under a power transform to first order at `means`."""
        covariances, transform = gaussian_mixture.covariances(self._fitted()), self.power_transform
        if transform is None:
            return covariances
        slopes = np.exp(-transform.log_slope(self.means))
        return covariances * slopes[:, :, None] * slopes[:, None, :]

    @property
    def mixing_weights(self):
        """Expected mixing weights (K,)."""
        concentration = self._fitted().weight_concentration
        return concentration / concentration.sum()

    def set_weights(self, weights):
        """Puts in parameters. What others said of each sample's class does not outlive them.

        Args:
            weights: What `get_weights` returned. Groups, which a warm start finds only once,
                stay.
        """
        super().set_weights(weights)
        self.assignments = None
        if not self.warm_start:
            self.groups = None

    # Learning ---------------------------------------------------------------------------

    def fit(
        self,
        x,
        y=None,
        *,
        sample_weight=None,
        epochs=100,
        callbacks=(),
        verbose="auto",
    ):
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
        data = self._data(x, sample_weight)
        return learn(self, data, epochs, callbacks, verbose, self._make_rng())

    def knows_groups_of(self, num_samples):
        """Whether groups of that many samples were found and kept."""
        return self.groups is not None and len(self.groups) == num_samples

    def partial_fit(self, x, *, sample_weight=None):
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

    def statistics(self, x, *, sample_weight=None):
        """What one sweep over these data adds up, under the parameters as they are.

        Args:
            x: As in `fit`.
            sample_weight: Optional (N,).

        Returns:
            `inference.gaussian_mixture.Statistics`: sums over the data, so that those of parts
            may be computed anywhere and given to `merge` together.
        """
        state = self._fitted()
        data = transformed(self._data(x, sample_weight), self.power_transform)
        return gaussian_mixture.statistics(self.prior, state, **data)

    def _update(self, statistics):
        self._assign(gaussian_mixture.maximize(self.prior, gaussian_mixture.merge(*statistics)))

    # Use --------------------------------------------------------------------------------

    def call(self, inputs):
        """Responsibilities (N, K), as TensorFlow operations.

        Args:
            inputs: x (N, D), or a dict of x, `variance` and `class_prior`.
        """
        inputs = inputs if isinstance(inputs, dict) else {"x": inputs}
        double = {name: ops.cast(part, "float64") for name, part in inputs.items()}
        belief = {name: weight.value for name, weight in self._parameters.items()}
        x, variance = double["x"], double.get("variance")
        if self.learns_powers:
            names = (f"transform_{name}" for name in PowerTransform._fields)
            transform = PowerTransform(*(belief[name] for name in names))
            x, variance = tensors.transformed(transform, x, variance)
        class_prior = double.get("class_prior")
        return tensors.responsibilities(belief, x, variance, class_prior, self.inference)

    def predict(self, x, batch_size=None, verbose=0, **kwargs):
        """Responsibilities of data.

        Args:
            x: As in `fit`.
            batch_size: Not needed; data are read in chunks.
            verbose: Not used.
            **kwargs: Ignored.

        Returns:
            Float64 array (N, K).
        """
        data = self._data(x)
        log_likelihood = self._log_likelihood(data["x"], data["variance"])
        return storage.apply(np.exp, self._log_posterior(log_likelihood, data["class_prior"]))

    def log_likelihood(self, x, variance=None):
        """log p(x | component), up to a constant of the datum: what the data alone say.

        Args:
            x: Array (N, D).
            variance: Optional (N, D).

        Returns:
            Float64 array (N, K): expected under the posterior over parameters (variational),
            or the posterior predictive (sampler).

        Raises:
            ValueError: If shapes do not fit or values are not finite.
        """
        data = self._data(x if variance is None else {"x": x, "variance": variance})
        return self._log_likelihood(data["x"], data["variance"])

    def _log_likelihood(self, x, variance=None):
        """`log_likelihood` of checked data."""
        data = transformed({"x": x, "variance": variance}, self.power_transform)
        return self._transformed_log_likelihood(**data)

    def _transformed_log_likelihood(self, x, variance=None):
        """`log_likelihood` of checked data after the power transform, if there is one."""
        if self.inference == "gibbs":
            return gaussian_gibbs.log_predictive(self._fitted(), x)
        return gaussian_mixture.log_likelihood(self._fitted(), x, variance)

    def frozen_log_likelihood(self, x, variance=None):
        """`log_likelihood` in few TensorFlow operations, for export: parameters are constants.

        Args:
            x: Tensor (N, D), whose precision the answer has.
            variance: Optional tensor (N, D).

        Returns:
            Tensor (N, K).
        """
        with tf.init_scope():  # the values of now, also while a function is being traced
            state, transform = self._fitted(), self.power_transform
            at_means = self._transformed_log_likelihood(state.mean)
            peaks = np.diagonal(at_means)  # where every distance is 0
        if transform is not None:
            x, variance = tensors.transformed(transform, x, variance)
        return tensors.frozen_log_likelihood(state, peaks, x, variance, self.inference)

    def frozen_sample(self, latent, seed):
        """Draws data in TensorFlow operations, for export: parameters are constants.

        Args:
            latent: Tensor (N, K) of class probabilities, whose precision the answer has.
            seed: Tensor of two integers.

        Returns:
            Tensor (N, D).
        """
        with tf.init_scope():
            state, transform = self._fitted(), self.power_transform
            factors = np.linalg.cholesky(gaussian_mixture.covariances(state))
            means, factors = (tf.constant(part, latent.dtype) for part in (state.mean, factors))
        mean = latent @ means
        noise = tf.random.stateless_normal(tf.shape(mean), seed, dtype=latent.dtype)
        x = mean + tf.einsum("nk,kij,nj->ni", latent, factors, noise)
        return x if transform is None else tensors.untransformed(transform, x)

    def score_samples(self, x, class_prior=None):
        """log p(x) of each datum, parameters integrated out.

        Args:
            x: Array (N, D).
            class_prior: Optional (N, K) in the place of the mixing weights.

        Returns:
            Float64 array (N,).

        Raises:
            ValueError: If shapes do not fit or values are not finite.

        Reference:
            The Student t mixture of Bishop, "Pattern Recognition and Machine Learning",
            equation 10.81.
        """
        data = self._data(x if class_prior is None else {"x": x, "class_prior": class_prior})
        return self._score_samples(data["x"], data["class_prior"])

    def _score_samples(self, x, class_prior=None):
        """`score_samples` of checked data."""
        state, transform = self._fitted(), self.power_transform
        y = transformed({"x": x, "variance": None}, transform)["x"]
        log_likelihood = gaussian_gibbs.log_predictive(state, y)
        log_weights = np.log(self.mixing_weights)

        def log_density(part, prior, x):
            result = np.logaddexp.reduce(_joint(part, log_weights, prior), axis=1)
            if transform is not None:
                result += transform.log_slope(x).sum(axis=1)
            return result

        x = None if transform is None else x
        return storage.apply(log_density, log_likelihood, class_prior, x)

    def lower_bound(self, x, *, sample_weight=None):
        """The variational bound on log p(data), in nats.

        Args:
            x: As in `fit`.
            sample_weight: Optional (N,).

        Returns:
            A float.
        """
        state, data = self._fitted(), self._data(x, sample_weight)
        statistics = gaussian_mixture.statistics(
            self.prior, state, **transformed(data, self.power_transform)
        )
        bound = gaussian_mixture.lower_bound(
            self.prior, state, statistics, uses_class_prior=data["class_prior"] is not None
        )
        return bound + self.log_slopes(data)

    def log_slopes(self, data):
        """What the power transform adds to the log density of all data; 0 without one.

        Args:
            data: Dict of x, variance, class_prior and sample_weight, as `inputs.check` returns it.
        """
        transform = self.power_transform
        if transform is None:
            return 0.0

        def weighted(x, weight):
            return weight @ transform.log_slope(x).sum(axis=1)

        return float(storage.total(weighted, data["x"], any_weight_of(data)))

    def sample(self, num_samples, component=None, seed=None):
        """Draws data from the expected mixture.

        Args:
            num_samples: How many.
            component: Draw from this one only, or one for each sample.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            `(x, components)`, arrays (num_samples, D) and (num_samples,).

        Raises:
            ValueError: If `num_samples` is no whole number, or `component` no class.
        """
        check_nonnegative_int(num_samples=num_samples)
        rng = np.random.default_rng(seed)
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

    def _log_posterior(self, log_likelihood, class_prior):
        """Normalised log responsibilities (N, K)."""
        concentration = self._parameters["weight_concentration"].numpy()
        log_weights = tensors.expected_log_weights(concentration, self.inference).numpy()

        def normalise(part, prior):
            joint = _joint(part, log_weights, prior)
            return joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)

        return storage.apply(normalise, log_likelihood, class_prior)

    def _data(self, x, sample_weight=None):
        """Checked inputs as the inference functions take them."""
        num_features = self.num_features if self.built else None
        return check(x, sample_weight, self.num_components, num_features, self.inference)

    def _signature(self):
        shape = (None, self.num_features)
        return [keras.layers.InputSpec(shape=shape, dtype="float32", name="x")]

    def get_build_config(self):
        return {"input_shape": (None, self.num_features)} if self.built else None

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for name in ("assignments", "groups"):
            if getattr(self, name) is not None:
                store[name] = getattr(self, name)

    def load_own_variables(self, store):
        entries = {name: store[name] for name in store.keys()}
        for name in ("assignments", "groups"):
            values = entries.pop(name, None)
            setattr(self, name, None if values is None else np.asarray(values))
        super().load_own_variables(entries)

    def get_config(self):
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "inference": self.inference,
            "init": self.init,
            "warm_start": self.warm_start,
            "keep_groups": self.keep_groups,
            "power_transform": self.learns_powers,
            **self.hyper_parameters,
        }


def _joint(log_likelihood, log_weights, class_prior):
    """log p(x, component), (n, K): a class prior stands in the place of the mixing weights."""
    if class_prior is None:
        return log_likelihood + log_weights
    with np.errstate(divide="ignore"):  # what a prior rules out stays so, whatever x says
        return log_likelihood + np.log(class_prior)
