"""The VAE as people cloned it: networks in a subclass, the optimizer beside the logits."""

import keras
import numpy as np

import kserket as srk
from kserket import gmm, vae


class ImageVAE(vae.VAE):
    def build_encoder(self, x, latent_dim):
        h = keras.layers.Dense(32, activation="relu")(x)
        mean = keras.layers.Dense(latent_dim)(h)
        log_variance = keras.layers.Dense(latent_dim)(h)
        return mean, log_variance

    def build_decoder(self, z):
        h = keras.layers.Dense(32, activation="relu")(z)
        logits = keras.layers.Dense(64)(h)
        optimizer = keras.optimizers.Adam(learning_rate=0.002)
        return logits, optimizer


obs = srk.Observation(np.loadtxt("images.txt"))
data_category = np.loadtxt("category.txt")

vae1 = ImageVAE(8, epoch=20, batch_size=50, KLD_weight=1, RE="BCE", loss_step=10)
gmm1 = gmm.GMM(5, category=data_category)

vae1.connect(obs)
gmm1.connect(vae1)

for i in range(2):
    print(i)
    vae1.update()
    gmm1.update()

assert abs(float(vae1.model.optimizer.learning_rate) - 0.002) < 1e-6
