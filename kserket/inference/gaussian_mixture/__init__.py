"""Variational Bayes for mixtures of Gaussians with Normal-Wishart and Dirichlet priors.

    pi ~ Dirichlet(weight_concentration, ..., weight_concentration)
    (mu_k, Lambda_k) ~ NormalWishart(mean, mean_precision, degrees_of_freedom, scatter)
    z_n ~ Categorical(pi), or Categorical(class_prior_n) where a class prior is given
    x_n ~ Normal(mu_{z_n}, Lambda_{z_n}^-1), known exactly or up to an independent variance

A sweep is `statistics` (E step: one pass over the data) then `maximize` (M step). Statistics are
plain sums over data about the prior's mean: those of chunks add up to those of the whole.

Cold sweeps begin at a `start`, which also learns the prior.

Reference:
    C. M. Bishop, Pattern Recognition and Machine Learning (2006), section 10.2. Default prior:
    C. Fraley and A. E. Raftery, Bayesian regularization for normal mixture estimation and
    model-based clustering, Journal of Classification 24 (2007).
"""

from kserket.inference.gaussian_mixture.fitting import fit
from kserket.inference.gaussian_mixture.parameters import (
    Prior,
    State,
    Statistics,
    covariances,
    default_prior,
    expected_log_weights,
    lower_bound,
    maximize,
    mean_weights,
    merge,
    no_statistics,
    statistics_of,
    varying,
)
from kserket.inference.gaussian_mixture.starts import Start, initialize, start
from kserket.inference.gaussian_mixture.sweep import (
    log_likelihood,
    log_responsibilities,
    statistics,
    statistics_from_responsibilities,
)

__all__ = [
    "Prior",
    "Start",
    "State",
    "Statistics",
    "covariances",
    "default_prior",
    "expected_log_weights",
    "fit",
    "initialize",
    "log_likelihood",
    "log_responsibilities",
    "lower_bound",
    "maximize",
    "mean_weights",
    "merge",
    "no_statistics",
    "start",
    "statistics",
    "statistics_from_responsibilities",
    "statistics_of",
    "varying",
]
