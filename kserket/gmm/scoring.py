"""What a fitted Gaussian mixture says of data, and data drawn from it."""

from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import ArrayLike

from kserket import storage
from kserket.core.keywords import suggests
from kserket.core.options import check_classes, check_nonnegative_int, make_rng
from kserket.gmm import rule
from kserket.gmm.parameters import MixtureParameters
from kserket.inference import gaussian_gibbs, gaussian_mixture
from kserket.inference.gaussian_mixture import scoring
from kserket.typing import Floats, Integers, Seed


class MixtureScoring(MixtureParameters):
    """Classes and densities of data under a `GaussianMixture`."""

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
        likelihood = rule.density(terms, x, variance, self.allow_missing)
        _, log_posterior = rule.conclude(likelihood, terms.log_weights, log_prior, heard)
        return tf.nn.softmax(log_posterior, axis=-1)

    def terms(self) -> Any:
        """What densities need, `gmm.rule.Terms`: tensors that follow every change of weights."""
        weights = {name: weight.value for name, weight in self._parameters.items()}
        return rule.terms(weights, self.inference)

    @suggests
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = 0,
        *,
        as_frame: bool = False,
        **kwargs: Any,
    ) -> Floats | Any:
        """Responsibilities of data.

        Args:
            x: As in `fit`.
            batch_size: Not needed; data are read in chunks.
            verbose: Not used.
            as_frame: Whether the answer is a pandas DataFrame with the index of that in x.
            **kwargs: Ignored.

        Returns:
            Float64 array (N, K), or a DataFrame with columns "component/0", "component/1", ...
        """
        self._fitted()
        framed = self.framing(x, as_frame)
        data = self._read(x)
        log_weights = scoring.log_weights(self.state, self.inference)
        posterior = rule.conclude_rows(data, self.likelihood(data), log_weights)[1]
        return framed(storage.apply(_probabilities, posterior), "component")

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
        return scoring.component_log_likelihood(data, self.found, self.inference)

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
            lambda part, x: part + np.nansum(transform.log_slope(x), axis=1, keepdims=True),
            likelihood,
            data.x,
        )

    def expected_component_log_density(self, data: Any) -> Floats | None:
        """A bound from below of E[log p(z | component)], z a Gaussian with the data's variance.

        Args:
            data: Checked data with a variance.

        Returns:
            (N, K) in nats; None where data pass through curves.
        """
        if self.power_transform is not None:
            return None
        return gaussian_gibbs.expected_log_predictive(self._fitted(), data.x, data.variance)

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
        data = self._read(x, sample_weight)
        weight = np.ones(len(data.x)) if data.weight is None else data.weight
        if data.missing is not None:
            weight = np.where(data.missing, 0.0, weight)
        if not weight.any():
            raise ValueError(f"{self.name} has nothing to evaluate: no row of x was observed.")
        return np.average(self.log_density(data), weights=weight)

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


def _probabilities(logs):
    """Rows (n, K) of probabilities, from logarithms that are not normalized."""
    return np.exp(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))
