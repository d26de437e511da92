"""Images described by counts of latent words, beside words that were heard."""

import numpy as np
import tensorflow.compat.v1 as tf

import kserket as srk
from kserket import mlda, mnvae


class mnvae_images(mnvae.MNVAE):
    def build_encoder(self, x, latent_dim):
        h_encoder = tf.keras.layers.Dense(32, activation=tf.nn.relu)(x)
        return tf.keras.layers.Dense(latent_dim)(h_encoder)

    def build_decoder(self, z):
        h_decoder = tf.keras.layers.Dense(32, activation=tf.nn.relu)(z)
        logits = tf.keras.layers.Dense(64)(h_decoder)
        optimizer = tf.train.AdamOptimizer(learning_rate=0.003)
        return logits, optimizer


obs1 = srk.Observation(np.loadtxt("images.txt"))
obs2 = srk.Observation(np.loadtxt("words.txt"))
data_category = np.loadtxt("category.txt")

mnvae1 = mnvae_images(
    latent_dim=10, N=50, tau=1, rate=0.001, epoch=30, batch_size=50, KLD_weights=[1, 50]
)
mlda1 = mlda.MLDA(5, [50, 50], category=data_category)

mnvae1.connect(obs1)
mlda1.connect(mnvae1, obs2)

for i in range(2):
    mnvae1.update()
    mlda1.update()

pictures = mnvae1.predict()[0]
assert pictures.shape == (100, 64) and 0 <= pictures.min() and pictures.max() <= 1
assert np.loadtxt("module002_mnvae/Pdz_learn.txt").shape == (100, 10)
