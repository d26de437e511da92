"""The Keras model: `GaussianMixture`."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kserket import storage
from kserket.core import messages
from kserket.core.options import check_choice, check_counts
from kserket.core.sweep_model import SweepModel
from kserket.gmm import tensors
from kserket.gmm.inputs import check
from kserket.inference import gaussian_gibbs, gaussian_mixture
from kserket.inference.umap_clusters import group_probabilities, umap_clusters


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
        n_init: Number of starts by k-means, of which the best by the bound is taken.
        warm_start: Whether a fit goes on from the last one. Else each starts afresh, on the data as
            they are then, and components take the numbers of the old ones that they share most
            samples with.
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
        n_init=30,
        warm_start=True,
        keep_groups=False,
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
        check_counts(num_components=num_components)
        hyper = {
            "weight_concentration": weight_concentration,
            "mean_precision": mean_precision,
            "degrees_of_freedom": degrees_of_freedom,
        }
        for option, value in hyper.items():
            if value is not None and not value > 0:
                raise ValueError(f"`{option}` must be positive or None. Received: {value!r}")
        super().__init__(n_init=n_init, tolerance=tolerance, seed=seed, **kwargs)
        self.num_components = int(num_components)
        self.inference = inference
        self.init = init
        self.warm_start = bool(warm_start)
        self.keep_groups = bool(keep_groups)
        self.hyper_parameters = hyper
        self.assignments = self.groups = None

    # Parameters -------------------------------------------------------------------------

    def build(self, input_shape):
        shape = input_shape["x"] if isinstance(input_shape, dict) else input_shape
        components, features = self.num_components, int(shape[-1])
        self.num_features = features
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
        self._parameters = self._add_parameters(sizes)
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
    def means(self):
        """Component means (K, D)."""
        return self._fitted().mean

    @property
    def covariances(self):
        """Component covariances (K, D, D)."""
        return gaussian_mixture.covariances(self._fitted())

    @property
    def mixing_weights(self):
        """Expected mixing weights (K,)."""
        concentration = self._fitted().weight_concentration
        return concentration / concentration.sum()

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
            ValueError: If shapes do not agree or values are not finite.
        """
        data = self._data(x, sample_weight)
        return self._fit(data, epochs, callbacks, verbose, self._make_rng())

    def _fit(self, data, epochs, callbacks, verbose, rng):
        """`fit` on checked data with a given generator."""
        if not self.built:
            self.build(data["x"].shape)
        before = None
        if not self.is_fitted:
            self._start(data, rng)
        elif not self.warm_start:
            before = self._start_afresh(data, rng)
        told = _tells_classes(data)
        if self.knows_groups_of(len(data["x"])):
            data = {**data, "class_prior": self._beside_groups(data["class_prior"])}
        if self.inference == "variational":
            adopt, figure = self._assign, "bound"

            def run(report):
                return self._run_variational(data, epochs, report)
        else:
            x, figure = data["x"], "log_joint"
            if data["variance"] is not None:
                x = x + np.sqrt(data["variance"]) * rng.standard_normal(x.shape)
            data = {**data, "x": x}

            def run(report):
                return self._run_gibbs(data, epochs, rng, report)

            def adopt(chain):
                self._assign_chain(chain, x)

        history = self._sweep(run, adopt, figure, epochs, callbacks, verbose)
        if not self.warm_start:
            self.assignments = self._classes(data)
            if before is not None and not told:
                self._renumber(before)
        return history

    def _start_afresh(self, data, rng):
        """As before the first fit; what was learned stays if that fails.

        Returns:
            The classes (N,) of the data until now.
        """
        learned, before = self.get_weights(), self.assignments
        if before is None or len(before) != len(data["x"]):  # other data
            before = self._classes(data)
        assignments, groups = self.assignments, self.groups
        self.assignments = self.groups = None
        self.set_weights([np.zeros_like(weight) for weight in learned])
        try:
            self._start(data, rng)
        except BaseException:
            self.set_weights(learned)
            self.assignments, self.groups = assignments, groups
            raise
        return before

    def _renumber(self, before):
        """Gives each component the number of the old one that it shares most data with.

        Args:
            before: Classes (N,) of the data under the old components.
        """
        from scipy.optimize import linear_sum_assignment

        shared = np.zeros((self.num_components, self.num_components))
        np.add.at(shared, (before, self.assignments), 1)
        _, order = linear_sum_assignment(shared, maximize=True)
        self._assign(gaussian_mixture.State(*(field[order] for field in self.state)))
        numbers = np.argsort(order)
        self.assignments = numbers[self.assignments]
        if self.groups is not None:
            self.groups = np.where(self.groups < 0, -1, numbers[self.groups])

    def _classes(self, data):
        """The most probable class (N,) of each datum."""
        log_likelihood = self.log_likelihood(data["x"], data["variance"])
        log_posterior = self._log_posterior(log_likelihood, data["class_prior"])
        return storage.apply(lambda part: part.argmax(axis=1), log_posterior)

    def _start(self, data, rng):
        """Sets hyper-parameters and, for variational sweeps or a start from groups, a state."""
        grouped = self.init == "umap" and not _tells_classes(data)
        if grouped:
            groups = umap_clusters(data["x"], self.num_components, rng, self._weight(data) > 0)
            if self.keep_groups:
                self.groups = groups
            groups = group_probabilities(groups, self.num_components)
            data = {**data, "class_prior": groups}
        given = {name: value for name, value in self.hyper_parameters.items() if value is not None}
        prior, state = self._default_prior(data, given), None
        learns_prior = given.keys() <= {"weight_concentration"}
        if learns_prior or self.inference == "variational":
            state, prior, _ = gaussian_mixture.start(
                prior=prior,
                num_components=self.num_components,
                n_init=self.n_init,
                rng=rng,
                learn_prior=learns_prior,
                learn_weights=not given,
                **data,
            )
        self._assign(prior, prefix="prior_")
        if grouped:
            state = gaussian_mixture.start(prior=prior, learn_prior=False, **data).state
        if grouped or self.inference == "variational":
            self._assign(state)

    def knows_groups_of(self, num_samples):
        """Whether groups of that many samples were found and kept."""
        return self.groups is not None and len(self.groups) == num_samples

    def _beside_groups(self, prior):
        """Class probabilities (N, K) of what the groups and a prior, or None, say together."""
        kept = group_probabilities(self.groups, self.num_components)
        if prior is None:
            return kept
        return messages.product([messages.Categorical(part) for part in (kept, prior)]).probs

    def _run_variational(self, data, epochs, report):
        """The `State` that sweeps lead to."""
        state, _, _ = gaussian_mixture.fit(
            prior=self.prior,
            state=self.state,
            num_sweeps=epochs,
            tolerance=self.tolerance,
            callback=report,
            **data,
        )
        return state

    def _run_gibbs(self, data, epochs, rng, report):
        """The `GibbsState` that sweeps over x, a draw where it has a variance, lead to."""
        x, assignments = data["x"], self.assignments
        if assignments is None or len(assignments) != len(x):
            assignments = None  # a start, or the classes that were learned before, on other data
            if self.is_fitted:
                assignments = self._classes({**data, "variance": None})
        chain, _ = gaussian_gibbs.sample(
            x,
            self.prior,
            num_components=self.num_components,
            num_sweeps=epochs,
            rng=rng,
            assignments=assignments,
            class_prior=data["class_prior"],
            callback=report,
        )
        return chain

    def _assign_chain(self, chain, x):
        self.assignments = np.array(chain.assignments)
        self._assign(
            gaussian_gibbs.posterior_state(self.prior, x, self.assignments, self.num_components)
        )

    def _default_prior(self, data, given):
        """The user's hyper-parameters, a dict, and defaults that suit the data for the rest."""
        weight = self._weight(data)
        mean, variance = storage.moments(data["x"], weight)
        if data["variance"] is not None:
            variance = (
                variance + storage.total(_finite_sum, data["variance"], weight) / weight.sum()
            )
        if not given.get("degrees_of_freedom", len(mean)) > len(mean) - 1:
            raise ValueError(
                f"`degrees_of_freedom` must be above D - 1 = {len(mean) - 1}. "
                f"Received: {given['degrees_of_freedom']}"
            )
        prior = gaussian_mixture.default_prior(mean, variance, self.num_components)
        return prior._replace(**given)

    @staticmethod
    def _weight(data):
        """How much each datum counts, (N,): nothing where its variance is infinite."""
        weight, variance = data["sample_weight"], data["variance"]
        weight = np.ones(len(data["x"])) if weight is None else np.asarray(weight, "float64")
        if variance is not None:
            weight = weight * storage.apply(lambda part: np.isfinite(part).all(axis=1), variance)
        if not weight.sum() > 0:
            raise ValueError("No datum counts: `sample_weight` is zero or `variance` infinite.")
        return weight

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
        data = self._data(x, sample_weight)
        return gaussian_mixture.statistics(self.prior, self._fitted(), **data)

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
        log_likelihood = tensors.log_likelihood(
            belief, double["x"], double.get("variance"), self.inference
        )
        if "class_prior" in double:
            log_prior = ops.log(ops.maximum(double["class_prior"], 1e-300))
        else:
            log_prior = tensors.expected_log_weights(belief["weight_concentration"], self.inference)
        return ops.softmax(log_likelihood + log_prior, axis=-1)

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
        log_likelihood = self.log_likelihood(data["x"], data["variance"])
        return storage.apply(np.exp, self._log_posterior(log_likelihood, data["class_prior"]))

    def log_likelihood(self, x, variance=None):
        """log p(x | component), up to a constant of the datum: what the data alone say.

        Args:
            x: Array (N, D).
            variance: Optional (N, D).

        Returns:
            Float64 array (N, K): expected under the posterior over parameters (variational),
            or the posterior predictive (sampler).
        """
        state = self._fitted()
        if self.inference == "gibbs":
            return gaussian_gibbs.log_predictive(state, x)
        return gaussian_mixture.log_likelihood(state, x, variance)

    def frozen_log_likelihood(self, x, variance=None):
        """`log_likelihood` in few TensorFlow operations, for export: parameters are constants.

        Args:
            x: Tensor (N, D), whose precision the answer has.
            variance: Optional tensor (N, D).

        Returns:
            Tensor (N, K).
        """
        with tf.init_scope():  # the values of now, also while a function is being traced
            state = self._fitted()
            peaks = np.diagonal(self.log_likelihood(state.mean))  # where every distance is 0
        return tensors.frozen_log_likelihood(state, peaks, x, variance, self.inference)

    def score_samples(self, x, class_prior=None):
        """log p(x) of each datum, parameters integrated out.

        Args:
            x: Array (N, D).
            class_prior: Optional (N, K) in the place of the mixing weights.

        Returns:
            Float64 array (N,).

        Reference:
            The Student t mixture of Bishop, "Pattern Recognition and Machine Learning",
            equation 10.81.
        """
        log_likelihood = gaussian_gibbs.log_predictive(self._fitted(), np.asarray(x))
        log_weights = np.log(self.mixing_weights)
        return storage.apply(
            lambda part, prior: np.logaddexp.reduce(
                part + (log_weights if prior is None else _floored_log(prior)), axis=1
            ),
            log_likelihood,
            class_prior,
        )

    def lower_bound(self, x, *, sample_weight=None):
        """The variational bound on log p(data), in nats.

        Args:
            x: As in `fit`.
            sample_weight: Optional (N,).

        Returns:
            A float.
        """
        data = self._data(x, sample_weight)
        statistics = gaussian_mixture.statistics(self.prior, self._fitted(), **data)
        return gaussian_mixture.lower_bound(
            self.prior, self.state, statistics, uses_class_prior=data["class_prior"] is not None
        )

    def sample(self, num_samples, component=None, seed=None):
        """Draws data from the expected mixture.

        Args:
            num_samples: How many.
            component: Draw from this one only, or one for each sample.
            seed: Integer or `numpy.random.Generator`.

        Returns:
            `(x, components)`, arrays (num_samples, D) and (num_samples,).
        """
        rng = np.random.default_rng(seed)
        means, factors = self.means, np.linalg.cholesky(self.covariances)
        if component is None:
            components = rng.choice(len(means), size=num_samples, p=self.mixing_weights)
        else:
            components = np.broadcast_to(component, (num_samples,))
        noise = rng.standard_normal((num_samples, means.shape[1]))
        return means[components] + np.einsum("nij,nj->ni", factors[components], noise), components

    def _log_posterior(self, log_likelihood, class_prior):
        """Normalised log responsibilities (N, K)."""
        log_weights = ops.convert_to_numpy(
            tensors.expected_log_weights(
                ops.convert_to_tensor(self.state.weight_concentration), self.inference
            )
        )

        def normalise(log_likelihood, prior):
            joint = log_likelihood + (log_weights if prior is None else _floored_log(prior))
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
            **self.hyper_parameters,
        }


def _tells_classes(data):
    """Whether a class prior says of some datum which class it is in."""
    prior = data["class_prior"]
    return prior is not None and gaussian_mixture.says_something(prior)


def _floored_log(probs):
    """Logarithms of probabilities, finite."""
    return np.log(np.maximum(probs, 1e-300))


def _finite_sum(variance, weight):
    """Weighted sum (D,) of the rows (n, D) of variances that are finite."""
    return weight @ np.where(np.isfinite(variance), variance, 0.0)
