"""Gaussian mixture: sorts real vectors into classes.

    pi ~ Dirichlet(a),   (mu_k, Lambda_k) ~ Normal-Wishart,   c_d ~ pi,   x_d ~ N(mu_c, Lambda_c^-1)

Reads x; sends P(c_d | x_d) up and each datum's class means (and covariances) down; takes class
probabilities from above, one row per sample, instead of pi.

Reference: Bishop, "Pattern Recognition and Machine Learning", section 10.2; Nakamura, Nagai and
Taniguchi, "SERKET", Frontiers in Neurorobotics 12:25, 2018.
"""

from kserket.gmm.model import GaussianMixture
from kserket.gmm.module import GMM

__all__ = ["GMM", "GaussianMixture"]
