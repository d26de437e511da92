"""What scripts do with messages outside of modules: methods of arrays."""

import numpy as np

import kserket as srk
from kserket import gmm, vae

obs = srk.Observation(np.loadtxt("images.txt"))
vae1, gmm1 = vae.VAE(4, itr=10, batch_size=50), gmm.GMM(5)
vae1.connect(obs)
gmm1.connect(vae1)
vae1.update()
gmm1.update()

Pdz = gmm1.get_forward_msg()
best = Pdz.argmax(1)
assert (best == np.argmax(Pdz, axis=1)).all() and Pdz.T.shape == (5, 100)
Pdz = Pdz.copy()
Pdz[Pdz < 0.01] = 0
sharp = (Pdz.T / Pdz.sum(1)).T
assert np.allclose(sharp.sum(axis=1), 1)
z = vae1.get_forward_msg()
assert z.reshape(-1).shape == (400,) and z.max() >= z.min() and len(z.tolist()) == 100
x_hat = obs.get_backward_msg()
assert x_hat.astype(np.float32).reshape(-1, 8, 8).shape == (100, 8, 8)
