"""Multinomial autoencoder: describes what it reads by counts of latent words.

    q = softmax(encoder(x)),   z ~ Multinomial(N, q),   x ~ p(x | decoder(z))

    L = -kl_weight * N * KL( q || p ) + E_q[ log p(x|z) ]

Reads data x; sends the expected counts N q up, which a topic model reads as words, and the
reconstruction of x down; takes p, probabilities of the latent words for each sample, from above
(uniform while nothing came). While it learns, draws are relaxed (Gumbel-softmax).

Reference: Kuniyasu, Nakamura, Taniguchi and Nagai, "Robot concept acquisition based on
interaction between probabilistic and deep generative models", Frontiers in Computer Science
3:618069, 2021; Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax", ICLR
2017.
"""

from kserket.mnvae.model import MultinomialVAE
from kserket.mnvae.module import MNVAE

__all__ = ["MNVAE", "MultinomialVAE"]
