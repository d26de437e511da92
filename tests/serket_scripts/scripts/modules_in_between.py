"""Sums of groups, and a text file on the way."""

import numpy as np

import kserket as srk
from kserket import gmm, mlda, utils

group_idx = np.arange(100) // 4
obs = srk.Observation(np.loadtxt("points.txt"))
gmm1 = gmm.GMM(5)
scenes = utils.GroupSum(group_idx)
saver = utils.TextSaver("scenes.txt")
mlda1 = mlda.MLDA(3, [100])

gmm1.connect(obs)
scenes.connect(gmm1)
saver.connect(scenes)
mlda1.connect(saver)

for i in range(2):
    gmm1.update()
    scenes.update()
    saver.update()
    mlda1.update()
assert np.loadtxt("scenes.txt").shape == (25, 5)
