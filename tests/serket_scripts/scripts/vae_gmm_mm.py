"""A mixture of latent vectors whose classes follow each other."""

import numpy as np

import kserket as srk
from kserket import gmm, mm, vae

obs = srk.Observation(np.loadtxt("images.txt"))
data_category = np.loadtxt("category.txt")

vae1 = vae.VAE(8, itr=20, batch_size=50)
gmm1 = gmm.GMM(5, category=data_category)
mm1 = mm.MarkovModel()

vae1.connect(obs)
gmm1.connect(vae1)
mm1.connect(gmm1)

for i in range(2):
    vae1.update()
    gmm1.update()
    mm1.update()
