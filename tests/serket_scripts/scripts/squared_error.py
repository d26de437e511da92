"""The VAE's squared error, and the number of epochs by position."""

import numpy as np

import kserket as srk
from kserket import vae

obs = srk.Observation(np.loadtxt("points.txt"))
vae1 = vae.VAE(2, 20, batch_size=50, KLD_weight=0.1, RE="MSE")
vae1.connect(obs)
vae1.update()
assert np.loadtxt("module001_vae/loss.txt").shape == (20,)
