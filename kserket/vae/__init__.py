"""Variational autoencoder: compresses what it reads to a few real numbers.

    z ~ N(mu, diag(mu_variance)),   x ~ p(x | decoder(z))
    q(z | x) = N(mean(x), diag(variance(x)))

    L = -kl_weight * KL( q(z|x) || N(mu, diag(mu_variance)) ) + E_q[ log p(x|z) ]

Reads data x; sends q(z|x) up and the reconstruction of x down; takes mu, one row per sample,
from above (0 while nothing came), with mu_variance = 1 as Serket has it.

Reference: Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014; Nakamura, Nagai and
Taniguchi, "SERKET", Frontiers in Neurorobotics 12:25, 2018.
"""

from kserket.vae.model import VariationalAutoencoder
from kserket.vae.module import VAE

__all__ = ["VAE", "VariationalAutoencoder"]
