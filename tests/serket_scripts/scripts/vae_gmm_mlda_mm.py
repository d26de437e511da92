"""The largest tutorial: images and words under one topic model, in an order."""

import numpy as np

import kserket as srk
from kserket import gmm, mlda, mm, vae

obs1 = srk.Observation(np.loadtxt("images.txt"))
obs2 = srk.Observation(np.loadtxt("words.txt"))
data_category = np.loadtxt("category.txt")

vae1 = vae.VAE(8, itr=20, batch_size=50)
gmm1 = gmm.GMM(5, category=data_category)
mlda1 = mlda.MLDA(5, [200, 200], category=data_category)
mm1 = mm.MarkovModel()

vae1.connect(obs1)
gmm1.connect(vae1)
mlda1.connect(obs2, gmm1)
mm1.connect(mlda1)

for it in range(2):
    vae1.update()
    gmm1.update()
    mlda1.update()
    mm1.update()
