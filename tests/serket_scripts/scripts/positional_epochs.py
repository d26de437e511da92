"""Networks in a subclass with arguments by position, and TensorFlow's former optimizer."""

import numpy as np
import tensorflow.compat.v1 as tf

import kserket as srk
from kserket import gmm, mlda, mm, vae


class vae_first(vae.VAE):
    def build_encoder(self, x, latent_dim):
        h_encoder = tf.keras.layers.Dense(32, activation=tf.nn.relu)(x)
        mu = tf.keras.layers.Dense(latent_dim)(h_encoder)
        logvar = tf.keras.layers.Dense(latent_dim)(h_encoder)
        return mu, logvar

    def build_decoder(self, z):
        h_decoder = tf.keras.layers.Dense(32, activation=tf.nn.relu)(z)
        logits = tf.keras.layers.Dense(64)(h_decoder)
        optimizer = tf.train.AdamOptimizer(learning_rate=0.003)
        return logits, optimizer


obs1 = srk.Observation(np.loadtxt("images.txt"))
obs2 = srk.Observation(np.loadtxt("words.txt"))
data_category = np.loadtxt("category.txt")
vae1 = vae_first(8, 20, "vae", 50)
gmm1 = gmm.GMM(5, category=data_category)
mlda1 = mlda.MLDA(5, [200, 200], category=data_category)
mm1 = mm.MarkovModel()
vae1.connect(obs1)
gmm1.connect(vae1)
mlda1.connect(obs2, gmm1)
mm1.connect(mlda1)
for i in range(2):
    vae1.update()
    gmm1.update()
    mlda1.update()
    mm1.update()
assert abs(vae1.learning_rate - 0.003) < 1e-9
x_hat = vae1.predict()[0]
assert x_hat.shape == (100, 64) and 0 <= x_hat.min() and x_hat.max() <= 1
