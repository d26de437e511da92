"""Learns, then recognizes other rows with the parameters in the folders."""

import numpy as np

import kserket as srk
from kserket import gmm, mlda, vae


def build(images, words, mode):
    srk.Module.reset_names()
    obs1, obs2 = srk.Observation(images), srk.Observation(words)
    vae1 = vae.VAE(8, itr=20, batch_size=50, mode=mode)
    gmm1 = gmm.GMM(5, mode=mode)
    mlda1 = mlda.MLDA(5, [200, 200], mode=mode)
    vae1.connect(obs1)
    gmm1.connect(vae1)
    mlda1.connect(obs2, gmm1)
    return vae1, gmm1, mlda1


images, words = np.loadtxt("images.txt"), np.loadtxt("words.txt")
for mode, rows in (("learn", slice(0, 80)), ("recog", slice(80, 100))):
    for module in build(images[rows], words[rows], mode):
        module.update()
assert len(np.loadtxt("module004_mlda/Pdz_recog.txt")) == 20
